"""Consent requests for the scopes that acts lack: the narrowest missing scopes, in one consent for each app."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from deputize.core.acts.provider_errors import MissingScope
from deputize.core.consent.consents import Consents
from deputize.core.consent.record import Other
from deputize.core.errors import AccountMismatch, ConsentRequired, DeputizeError, InvalidInput, ReconsentRequired
from deputize.core.grants.accounts import Accounts
from deputize.core.grants.grant_end import ENDS_SOON
from deputize.core.grants.refresh import GrantLost
from deputize.core.grants.sources.session import SESSION_ENDED, SESSION_EXPIRED, SESSION_NEEDED
from deputize.core.oauth.provider import App, Provider
from deputize.core.providers.origin import origin_change
from deputize.core.shared_services import Services
from deputize.core.tools.act import Act
from deputize.core.tools.required_scopes import Need, asks_of, wanted_of
from deputize.core.tools.tool import Tool
from deputize.core.user_requests import Consent
from deputize.core.vault.grant import Grant, User


class MissingScopes(Exception):
    """An act lacks scopes or a grant. Internal: callers of a deputy never receive this error. ``claims``: extra claims
    that the provider requires in the authorization request."""

    def __init__(self, act: Act, scopes: Sequence[str], held: Grant | None, why: str = "", claims: str = "") -> None:
        super().__init__("lacking")
        self.act, self.scopes, self.held, self.why, self.claims = act, scopes, held, why, claims


def as_missing_scopes(
    failure: GrantLost | MissingScope, providers: Mapping[str, Provider], act: Act, grant: Grant
) -> MissingScopes:
    """Return the error for scopes that the provider reports as missing, even if the vault recorded them as granted."""
    needs = act.needs
    if isinstance(failure, GrantLost):
        return MissingScopes(act, asks_of(needs), failure.grant, failure.reason)
    row = providers[grant.provider]
    covered = row.implied_scopes(grant.scopes)
    known = covered if failure.named else frozenset[str]()
    asks = asks_of(needs, covered) or wanted_of(needs, failure.needed, known)
    more = failure.needed if row.rules.challenge_names_all else () if asks else failure.needed[:1]
    asks = tuple(dict.fromkeys((*asks, *more))) or row.oauth.fallback_scopes  # a challenge that names none
    asks = tuple(scope for scope in asks if scope not in covered) or asks  # only the new ones, if there are any
    return MissingScopes(act, asks, grant, "scope_missing")


class Asking:
    """Requests consents for the scopes that an act lacks, or in advance."""

    def __init__(self, services: Services, accounts: Accounts, consents: Consents) -> None:
        self.vault, self.registry, self.accounts, self.consents = services.vault, services.registry, accounts, consents

    async def errors_for(
        self, blockers: Sequence[DeputizeError | MissingScopes | None], others: Sequence[MissingScopes] = ()
    ) -> list[DeputizeError | None]:
        """Return the errors with each `MissingScopes` replaced by the error to raise. All calls of one app share one
        consent, which also lists the scopes of ``others``. If the user has just refused some of the scopes, each call
        gets its own error."""
        lacking: dict[str, list[MissingScopes]] = {}
        for one in blockers:
            if isinstance(one, MissingScopes):
                lacking.setdefault(one.act.app, []).append(one)
        for other in others:
            if other.act.app in lacking:  # another app's consent is requested where its call is checked
                lacking[other.act.app].append(other)
        errors = {app: await self.consent_error(*those) for app, those in lacking.items()}

        async def error_for(one: MissingScopes) -> DeputizeError:
            error, those = errors[one.act.app], lacking[one.act.app]
            return error if isinstance(error, ConsentRequired) or len(those) == 1 else await self.consent_error(one)

        return [await error_for(one) if isinstance(one, MissingScopes) else one for one in blockers]

    async def consent_error(self, *lacking: MissingScopes) -> DeputizeError:
        """Return the error for acts that lack scopes. It has a consent for all of them, or says why consent is
        impossible."""
        act, held, why = lacking[0].act, lacking[0].held, lacking[0].why
        try:
            consent = await self.consents.require(
                act.user,
                self.registry.apps[act.app],
                [scope for one in lacking for scope in one.scopes],
                enough=[need.accepts for one in lacking for need in one.act.needs if need.ask in one.scopes],
                held=held if held is not None and held.status != "revoked" else None,
                account=act.account or "",
                ask=act.call.ask,
                thread=act.call.thread,
                why="" if why == "disconnected" else why,
                claims=next((one.claims for one in lacking if one.claims), ""),
                agent=act.agent,
            )
        except DeputizeError as refused:
            return refused
        label = self.registry.providers[act.provider].label
        if consent.reason_code:
            message, alone = _reconnect_message(label, why), act.user.unattended
            return ReconsentRequired(message, consent=consent, reason=why, unattended=alone)
        message = f"The user must allow this at {label} first."
        return ConsentRequired(message, consent=consent, unattended=act.user.unattended)

    async def request_consents(
        self, user: User, wanted: dict[str, list[Need]], account: str | None, other: Other, *, renew: bool = False
    ) -> list[Consent]:
        """Request one consent for each app whose needs are not met. ``other``: request another account than the
        connected one. ``renew``: request one in any case, with the scopes that the account has."""
        consents = []
        for name, needs in wanted.items():
            app = self.registry.apps[name]
            held = await self._load_held(user, app, account)
            scopes = self._scopes_to_ask(app, needs, held, other, renew=renew)
            if scopes is not None:
                one = await self.consents.require(
                    user,
                    app,
                    scopes,
                    enough=[need.accepts for need in needs],
                    held=held,
                    account=account or "",
                    why=ENDS_SOON if renew and held and held.status == "active" else "",
                    insist=True,
                    other=other,
                )
                consents.append(one)
        return consents

    async def needs_by_app(
        self, user: User, provider: str, scopes: Iterable[str], tools: Iterable[Tool], app: str, account: str | None
    ) -> dict[str, list[Need]]:
        """Return the needs of these scopes and tools, by app."""
        wanted: dict[str, list[Need]] = {}
        if provider or app:
            one = await self.accounts.choose_app(user, provider, app, account)
            wanted[one.name] = [Need(frozenset({s}), s) for s in self.registry.scopes(one.provider, scopes)]
        for tool in (one for one in tools if one.provider):
            serves = app if app and self.registry.serves(app, tool.provider) else ""
            one = await self.accounts.choose_app(user, tool.provider, serves, account)
            wanted.setdefault(one.name, []).extend(tool.usual_needs(self.registry.providers[one.provider].base))
        return wanted

    def _scopes_to_ask(
        self, app: App, needs: Iterable[Need], held: Grant | None, other: Other, *, renew: bool
    ) -> Sequence[str] | None:
        """Return the missing scopes to request, or None if no consent is needed."""
        row = self.registry.providers[app.provider]
        if other or (renew and held and held.status == "active"):
            had = held.scopes if held and other != "another" else frozenset[str]()
            moved = had - set(row.oauth.always_scopes) - row.apis.incompatible_scopes.keys()
            return [*asks_of(needs, moved), *moved]
        usable = held if held and held.status == "active" and not origin_change(held.origin, row, app) else None
        granted = row.implied_scopes(usable.scopes) if usable else None
        missing = asks_of(needs, granted or frozenset())
        return missing if missing or granted is None else None

    async def _load_held(self, user: User, app: App, account: str | None) -> Grant | None:
        """Return the grant to which a consent would add scopes, or None for a first or an additional account."""
        try:
            return await self.vault.find_undamaged(user, app.provider, app.name, account)
        except AccountMismatch:
            return None


def _reconnect_message(label: str, why: str) -> str:
    """Return the message for a grant that no longer exists."""
    if why in (SESSION_NEEDED, SESSION_EXPIRED, SESSION_ENDED):
        return f"The user's session has ended: sign in to the application again, or connect {label}."
    return f"{label} must be connected again first."


def other_account(add_account: bool, switch_account: bool) -> Other:
    """Return which other account a consent is for, from the arguments of `Deputy.connect`. Raises `InvalidInput` if
    both arguments are set."""
    if add_account and switch_account:
        raise InvalidInput("add_account and switch_account exclude each other.", fix_by="operator")
    return "another" if add_account else "switch" if switch_account else ""
