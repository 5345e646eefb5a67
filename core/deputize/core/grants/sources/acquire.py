"""Grants that come from an app's source: obtained where an act lacks one, and obtained again where one runs out.

    held, active, wide enough              -> used
    none, lost, or too narrow              -> session token, asked where the act runs -> lock -> re-read -> source
    disconnected by the user               -> not obtained: the user is asked, as at any app
    no session, or the server says no      -> the user is asked, as at any app; a service account's act fails

One request for all that ask at the same time: whoever waits for the lock finds the grant that the first one brought,
or what it was refused with.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from deputize.core.audit.common_fields import OfApp
from deputize.core.audit.events import GrantNotObtained
from deputize.core.engine import Engine
from deputize.core.errors import (
    DeputizeError,
    InvalidInput,
    OrgBlocked,
    ProviderUnavailable,
    RateLimited,
    SettingsError,
)
from deputize.core.failures import Kind, Outcome, outcome_of
from deputize.core.grants.refresh_request import OTHER_ACCOUNT, Ask, refreshes
from deputize.core.grants.revocation_queue import RevocationQueue
from deputize.core.grants.sources import assertion, service_account
from deputize.core.grants.sources import token_exchange as exchange
from deputize.core.grants.sources.assertion import asserted_account
from deputize.core.grants.sources.inflight_requests import marked, stop
from deputize.core.grants.sources.refusal_cache import RefusedRequests
from deputize.core.grants.sources.service_account import refuse_to_ask
from deputize.core.grants.sources.session import SESSION_ENDED, NotObtained, TokenFor, session_token
from deputize.core.grants.sources.token_import import ImportedTokens, TokenImporter
from deputize.core.oauth.endpoint import NO_TOKEN, Endpoint, Refusal
from deputize.core.oauth.grant_sources import IdentityAssertion, ServiceAccount
from deputize.core.oauth.pkce import fingerprint
from deputize.core.oauth.provider import App
from deputize.core.oauth.token_reply import Tokens
from deputize.core.providers.origin import differs
from deputize.core.vault.grant import AnyUser, Grant, Secret, User
from deputize.core.vault.record import Record

if TYPE_CHECKING:
    from deputize.core.grants.sources.import_tokens import Given, Imported

EndGrant: TypeAlias = Callable[..., Awaitable[object]]
"""Ends a grant for a reason, here and at its provider."""

LOCK_WAIT: Final = 30.0
SECONDS: Final = 60.0
"""How long to wait for an answer of the server."""
AS_IT_WAS: Final = 60.0
"""Seconds in which a service account that was given less than it may have is believed to be given no more."""


class GrantSources:
    """The grants of apps that have a source. ``token_for``: gives the application's session token of a user.

    Set ``token_for`` once, before anything acts; it is called where the act runs, each time a token is needed.
    """

    token_for: TokenFor | None = None

    def __init__(self, engine: Engine, queue: RevocationQueue, end_grant: EndGrant) -> None:
        self.engine, self.vault, self.queue, self.end_grant = engine, engine.vault, queue, end_grant
        self.entrance, self.refused = TokenImporter(engine, queue), RefusedRequests(engine.clock)
        self._brought = dict[str, float]()
        for app in engine.apps.values():
            if isinstance(app.source, IdentityAssertion) and app.source.identity_app not in engine.apps:
                raise SettingsError(
                    f"The source of the app {app.name!r} goes through {app.source.identity_app!r}, which is no app.",
                    hint=f"Register the client at the company's provider as [apps.{app.source.identity_app}].",
                )

    async def ready(self, owner: User, app: App, held: Grant | None, missing: Sequence[str]) -> Grant | None:
        """The grant to use, obtained where that helps; ``missing``: the scopes that the act lacks in the one ``held``.

        Raises `NotObtained` where the user is to be asked, else a `DeputizeError`.
        """
        row = self.engine.providers[app.provider]
        if held is not None and held.status == "active":
            ours = app.source is not None and held.source == app.source.kind
            if not ours or differs(held.origin, row, app) or self._brings_no_other(owner, app, held, missing):
                return held
        elif held is None and await self._disconnected(owner, app):
            return None
        scopes = frozenset(missing) | (held.scopes if held else frozenset())
        ask, session = await self._ask(owner, app, scopes)
        return await self.engine.in_flight.run(partial(self._obtained, owner, app, ask, session, scopes, held))

    async def again(self, grant: Grant) -> Ask | None:
        """What brings new tokens for a grant that no refresh token renews; None where nothing does.

        Tokens of another account end, and are refused. Raises as `ready` does.
        """
        app = self.engine.apps.get(grant.app)
        if app is None or app.source is None or grant.source != app.source.kind or refreshes(grant):
            return None
        ask, _ = await self._ask(grant.user, app, grant.scopes)
        return ask if isinstance(app.source, ServiceAccount) else partial(self._of_account, ask, grant)

    async def session_ended(self, user: AnyUser) -> None:
        """The user's session is over: what came from it ends, here and at the provider, and requests that are under way
        come to nothing. The next session brings it again. What is meant to outlive a session stays: grants by consent,
        imported ones, and those on behalf of the user with a refresh token.

        To be called where the application hears of a logout; `deputize.core.web.signin.sign_in.SignIn` does it for its
        own.
        """
        who = User.of(user)
        for app in list(self.engine.apps.values()):
            if app.source is None or isinstance(app.source, ServiceAccount):
                continue
            await stop(self.vault, self.vault.key_prefix(who, app.provider, app.name))
            for grant in await self.vault.grants(who, app.provider, app.name):
                now: Grant | None = grant
                while now and now.status == "active" and now.source == app.source.kind and not refreshes(now):
                    await self.end_grant(now, SESSION_ENDED, replaced=True)
                    now = await self.vault.grant(self.vault.record_key(grant))  # a renewal may have been quicker

    async def import_tokens(
        self,
        user: AnyUser,
        provider: str,
        *,
        account: str,
        by: str,
        access_token: str | Secret | None = None,
        refresh_token: str | Secret | None = None,
        app: str = "",
        foreign: bool = False,
    ) -> Imported:
        """Take in tokens of a user that somebody has already; see `deputize.core.grants.sources.import_tokens`.

        ``account``: whose they are at the provider, by its name or id there. ``by``: who imports them, for the audit;
        never a model. The refresh token is used at once. ``foreign``: the access token may be of another client than
        the app. Raises `AccountMismatch` for tokens of another account than that one, or than the one the user has
        connected; `InvalidInput` for those that are dead, personal or another app's; nothing is changed then, but that
        a refresh token of another account ends where no live access token came with it.
        """
        from deputize.core.grants.sources.import_tokens import Given, check_tokens, imported, opaque  # no act needs it

        access, refresh = opaque(access_token), opaque(refresh_token)
        del access_token, refresh_token  # before anything can fail: else the frame of an error shows them
        who, one = User.of(user), self.engine.registry.app(provider, app)
        endpoint = self._endpoint(one)
        refuse_to_ask(one, endpoint.provider)
        why = check_tokens(endpoint.provider, access, refresh, foreign=foreign)
        if why or not account.strip() or not by.strip():
            raise InvalidInput(why or "An import names the account, and who imports it.", fix_by="operator")
        given = Given(user=who, access=access, refresh=refresh, account=account, by=by, foreign=foreign)
        await self.engine.audit.learn(who.tenant, who.id)
        take = partial(imported, self.entrance, endpoint)
        return await self.engine.in_flight.run(partial(self._imported, one, given, take))

    async def _imported(self, app: App, given: Given, take: Callable[..., Awaitable[Imported]]) -> Imported:
        async with self._alone(given.user, app):
            held = await self.vault.find_whole(given.user, app.provider, app.name)
            given = replace(given, held=held)
            async with marked(self.engine, given.user, app.provider, app.name) as mark:
                return await take(given, mark)

    # ------------------------------------------------------------- obtaining

    def _brings_no_other(self, owner: User, app: App, held: Grant, missing: Sequence[str]) -> bool:
        """Whether to act with this grant of the app's source: to ask again would only end its token under others."""
        source, row = app.source, self.engine.providers[app.provider]
        if not isinstance(source, ServiceAccount):
            return not missing
        if service_account.has_more(source, row, held):
            return False
        brought = self._brought.get(self.vault.key_prefix(owner, app.provider, app.name), float("-inf"))
        lately = self.engine.clock() < brought + AS_IT_WAS
        return not missing or lately or service_account.has_all(source, row, held)

    async def _ask(self, owner: User, app: App, scopes: frozenset[str]) -> tuple[Ask, str]:
        """The request for tokens of this user, with the session token of now in it, and the fingerprint of that."""
        source = app.source
        if isinstance(source, ServiceAccount):
            return partial(service_account.tokens, source=source), ""
        assert source is not None  # noqa: S101
        subject = await session_token(self.token_for, owner, source, self.engine.clock())
        if isinstance(source, IdentityAssertion):
            through = self.engine.apps[source.identity_app]
            company = self._endpoint(through)
            asked = partial(assertion.tokens, company=company, source=source, subject=subject, scopes=scopes)
            return asked, fingerprint(subject)
        return partial(exchange.tokens, source=source, subject=subject, scopes=scopes), fingerprint(subject)

    def _endpoint(self, app: App) -> Endpoint:
        engine = self.engine
        return Endpoint(engine.http, engine.providers[app.provider], app, engine.clock, SECONDS)

    async def _obtained(
        self, owner: User, app: App, ask: Ask, session: str, scopes: frozenset[str], held: Grant | None
    ) -> Grant | None:
        async with self._alone(owner, app):
            now = await self.vault.find(owner, app.provider, app.name, held.account.subject if held else None)
            if now and now.status == "active" and now != held:
                return now  # somebody else did it
            key = self.vault.key_prefix(owner, app.provider, app.name)
            self.refused.check(key, session)
            try:
                async with marked(self.engine, owner, app.provider, app.name) as mark:
                    grant = await self._entered(owner, app, ask, scopes, held, mark)
            except Refusal as refusal:
                self.refused.failed(key, session, refusal.outcome)
                raise await self._refusal_told(owner, app, refusal.outcome) from None
            self.refused.succeeded(key)
            if isinstance(app.source, ServiceAccount):
                self._brought[key] = self.engine.clock()
            return grant

    @asynccontextmanager
    async def _alone(self, owner: User, app: App) -> AsyncIterator[None]:
        """Nobody else gets a grant of this user for this app, as long as the block lasts. The lock of `redeem`."""
        async with AsyncExitStack() as lock:
            try:
                name = f"consent-{self.vault.key_prefix(owner, app.provider, app.name)}"
                await lock.enter_async_context(self.vault.store.lock(name, LOCK_WAIT))
            except TimeoutError:
                raise ProviderUnavailable("Another process is still asking for this grant.") from None
            yield

    async def _entered(
        self, owner: User, app: App, ask: Ask, scopes: frozenset[str], held: Grant | None, mark: Record
    ) -> Grant:
        """The grant that this request brings. Raises `Refusal`."""
        endpoint, source, asked_at = self._endpoint(app), app.source, self.engine.clock()
        tokens = await ask(endpoint)
        ours = source if isinstance(source, ServiceAccount) else None
        came = ImportedTokens(
            user=owner,
            tokens=tokens,
            asked_at=asked_at,
            source=source.kind if source else "",
            mark=mark,
            asked=ours.scopes if ours else scopes,
            subject=held.account.subject if held else "",
            known=service_account.account_of(app, ours) if ours else asserted_account(endpoint.provider, tokens),
            again=ours is not None,
        )
        return await self.entrance.enter(endpoint, came)

    async def _refusal_told(self, owner: User, app: App, outcome: Outcome) -> DeputizeError | NotObtained:
        """What a refusal means to whoever acts; the audit is told."""
        reason, kind = outcome.detail or str(outcome.kind), app.source.kind if app.source else ""
        of_app = OfApp(tenant=owner.tenant, user=owner.id, provider=app.provider, app=app.name)
        await self.engine.audit.record(GrantNotObtained(of_app, kind, reason))
        label = self.engine.providers[app.provider].label
        if outcome.kind is Kind.RATE_LIMITED:
            return RateLimited(f"{label} limits token requests.", retry_after=outcome.wait or None)
        if outcome.kind is Kind.TRANSIENT:
            if outcome.detail == NO_TOKEN:
                return ProviderUnavailable(
                    f"{label} answered without an access token.",
                    hint="If it stays so: token_type has to be Bearer, issued_token_type of an exchange access_token.",
                )
            return ProviderUnavailable(f"{label} could not give a token now.")
        if outcome.kind is Kind.REAUTH and not isinstance(app.source, ServiceAccount):
            return NotObtained(reason, outcome.claims)
        if outcome.kind is Kind.ORG_BLOCKED:
            return OrgBlocked(
                f"An administrator does not let the user use this at {label}: {reason.replace('_', ' ')}.",
                hint=f"Nobody but an administrator of {label} can change that.",
            )
        return InvalidInput(
            f"{label} gave no token by {kind.replace('_', ' ')}: {reason.replace('_', ' ')}.",
            hint=f"Check the source of the app {app.name!r}, its registration there, and what that may ask for.",
            fix_by="operator",
            reason=reason,
        )

    async def _of_account(self, ask: Ask, grant: Grant, endpoint: Endpoint) -> Tokens:
        """New tokens, if they are of the account that the grant is of."""
        asked_at = self.engine.clock()
        tokens = await ask(endpoint)
        try:
            account = asserted_account(endpoint.provider, tokens) or (await endpoint.whoami(tokens, asked_at))[0]
            if account.subject != grant.account.subject:
                raise Refusal(outcome_of(Kind.REAUTH, OTHER_ACCOUNT))
        except Refusal:
            await self.queue.end(grant.user, grant.provider, grant.app, tokens)
            raise
        return tokens

    async def _disconnected(self, owner: User, app: App) -> bool:
        """Whether the user has ended what was connected here: nobody but the user brings it back."""
        if isinstance(app.source, ServiceAccount):
            return False
        return any(one.status == "revoked" for one in await self.vault.grants(owner, app.provider, app.name))
