"""Grants from an app's source: obtained if an act lacks a grant, and obtained again if it expires.

    active, with enough scopes             -> used
    none, lost, or too few scopes          -> session token, requested where the act runs -> lock -> re-read -> source
    disconnected by the user               -> not obtained: the user is asked, as for any app
    no session, or the server refuses      -> the user is asked, as for any app; a service account's act fails

Concurrent callers share one request. A caller that waited for the lock finds the grant of the first caller, or the
reason of its refusal.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from deputize.core.audit.common_fields import OfApp
from deputize.core.audit.events import GrantNotObtained
from deputize.core.errors import (
    DeputizeError,
    InvalidInput,
    OrgBlocked,
    ProviderUnavailable,
    RateLimited,
    SettingsError,
)
from deputize.core.failures import Kind, Outcome, outcome_of
from deputize.core.grants.backoff import Backoff
from deputize.core.grants.consent_lock import LOCK_TIMEOUT_SECONDS, consent_lock
from deputize.core.grants.refresh_request import OTHER_ACCOUNT, Ask, has_refresh_token
from deputize.core.grants.revocation_queue import RevocationQueue
from deputize.core.grants.sources import assertion, service_account
from deputize.core.grants.sources import token_exchange as exchange
from deputize.core.grants.sources.assertion import asserted_account
from deputize.core.grants.sources.inflight_requests import mark_request, stop_requests
from deputize.core.grants.sources.service_account import refuse_to_ask
from deputize.core.grants.sources.session import SESSION_ENDED, NotObtained, TokenFor, session_token
from deputize.core.grants.sources.store_tokens import ImportedTokens, TokenImporter
from deputize.core.oauth.app import IdentityAssertion, ServiceAccount
from deputize.core.oauth.endpoint import NO_TOKEN, Endpoint, Refusal
from deputize.core.oauth.pkce import fingerprint
from deputize.core.oauth.provider import App
from deputize.core.oauth.token_reply import Tokens
from deputize.core.providers.origin import origin_change
from deputize.core.shared_services import Services
from deputize.core.vault.grant import AnyUser, Grant, Secret, User
from deputize.core.vault.record import Record

if TYPE_CHECKING:
    from deputize.core.grants.sources.import_tokens import Given, Imported

EndGrant: TypeAlias = Callable[..., Awaitable[object]]
"""Ends a grant for a reason, here and at its provider."""

TOKEN_REQUEST_TIMEOUT_SECONDS: Final = 60.0
"""Seconds to wait for the reply of the server."""
FEWER_SCOPES_TTL: Final = 60.0
"""Seconds for which a service account that got fewer scopes than it may have is not asked for again."""


class GrantSources:
    """The grants of apps that have a source. ``token_for``: returns your application's session token of a user.

    Set ``token_for`` once, before any act. It is called in the context of the act, each time a token is needed.
    """

    token_for: TokenFor | None = None

    def __init__(self, services: Services, queue: RevocationQueue, end_grant: EndGrant) -> None:
        self.services, self.vault, self.queue, self.end_grant = services, services.vault, queue, end_grant
        self.entrance, self.refused = TokenImporter(services, queue), RefusedRequests(services.clock)
        self._brought = dict[str, float]()
        for app in services.apps.values():
            if isinstance(app.source, IdentityAssertion) and app.source.identity_app not in services.apps:
                raise SettingsError(
                    f"The source of the app {app.name!r} goes through {app.source.identity_app!r}, which is no app.",
                    hint=f"Register the client at the company's provider as [apps.{app.source.identity_app}].",
                )

    async def obtain(self, owner: User, app: App, held: Grant | None, missing: Sequence[str]) -> Grant | None:
        """Return the grant to use, and obtain it if that helps. ``missing``: the scopes that the grant ``held`` lacks.

        Raises `NotObtained` if the user must be asked, or another `DeputizeError`.
        """
        row = self.services.providers[app.provider]
        if held is not None and held.status == "active":
            ours = app.source is not None and held.source == app.source.kind
            if not ours or origin_change(held.origin, row, app) or self._is_sufficient(owner, app, held, missing):
                return held
        elif held is None and await self._is_disconnected(owner, app):
            return None
        scopes = frozenset(missing) | (held.scopes if held else frozenset())
        ask, session = await self._ask(owner, app, scopes)
        return await self.services.in_flight.run(partial(self._obtain, owner, app, ask, session, scopes, held))

    async def renewal_request(self, grant: Grant) -> Ask | None:
        """Return the function that requests new tokens for a grant without a usable refresh token, or None.

        Tokens of another account are refused and revoked. Raises the errors of `obtain`.
        """
        app = self.services.apps.get(grant.app)
        if app is None or app.source is None or grant.source != app.source.kind or has_refresh_token(grant):
            return None
        ask, _ = await self._ask(grant.user, app, grant.scopes)
        return ask if isinstance(app.source, ServiceAccount) else partial(self._tokens_of_account, ask, grant)

    async def session_ended(self, user: AnyUser) -> None:
        """End the grants that came from the user's session, in the vault and at the provider, and stop requests in
        progress.

        They are obtained again with the user's next session. Not ended are grants by consent, imported grants, and
        on-behalf-of grants with a refresh token. Call this when your application learns of a logout;
        `deputize.core.web.signin.sign_in.SignIn` does so for its own.
        """
        who = User.of(user)
        for app in list(self.services.apps.values()):
            if app.source is None or isinstance(app.source, ServiceAccount):
                continue
            await stop_requests(self.vault, self.vault.key_prefix(who, app.provider, app.name))
            for grant in await self.vault.list_grants(who, app.provider, app.name):
                now: Grant | None = grant
                while now and now.status == "active" and now.source == app.source.kind and not has_refresh_token(now):
                    await self.end_grant(now, SESSION_ENDED, replaced=True)
                    now = await self.vault.get_grant(self.vault.record_key(grant))  # a renewal may have been faster

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
        """Import existing tokens of a user; see `deputize.core.grants.sources.import_tokens`.

        ``account``: the user's account, by name or id. ``by``: who imports the tokens, for the audit; never a model.
        The refresh token is used at once. ``foreign``: the access token may belong to another client than the app.

        Raises `AccountMismatch` for tokens of another account than the named or the connected one. Raises
        `InvalidInput` for tokens that are dead, personal or another app's. Then nothing is changed, with one exception:
        a refresh token of another account ends if it came without a live access token.
        """
        from deputize.core.grants.sources.import_tokens import (
            Given,
            check_tokens,
            import_tokens,
            to_secret,
        )  # imported here because no act needs it

        access, refresh = to_secret(access_token), to_secret(refresh_token)
        del access_token, refresh_token  # before anything can fail: a traceback would show them
        who, one = User.of(user), self.services.registry.app(provider, app)
        endpoint = self._endpoint(one)
        refuse_to_ask(one, endpoint.provider)
        why = check_tokens(endpoint.provider, access, refresh, foreign=foreign)
        if why or not str.strip(account) or not str.strip(by):
            raise InvalidInput(why or "An import names the account, and who imports it.", fix_by="operator")
        given = Given(user=who, access=access, refresh=refresh, account=account, by=by, foreign=foreign)
        await self.services.audit.learn(who.tenant, who.id)
        take = partial(import_tokens, self.entrance, endpoint)
        return await self.services.in_flight.run(partial(self._import, one, given, take))

    async def _import(self, app: App, given: Given, take: Callable[..., Awaitable[Imported]]) -> Imported:
        async with self._lock(given.user, app):
            held = await self.vault.find_undamaged(given.user, app.provider, app.name)
            given = replace(given, held=held)
            async with mark_request(self.services, given.user, app.provider, app.name) as mark:
                return await take(given, mark)

    # ------------------------------------------------------------- obtaining

    def _is_sufficient(self, owner: User, app: App, held: Grant, missing: Sequence[str]) -> bool:
        """Return True if this grant should be used, because a new request would bring no more scopes and would end its
        token for other callers."""
        source, row = app.source, self.services.providers[app.provider]
        if not isinstance(source, ServiceAccount):
            return not missing
        if service_account.has_more(source, row, held):
            return False
        brought = self._brought.get(self.vault.key_prefix(owner, app.provider, app.name), float("-inf"))
        lately = self.services.clock() < brought + FEWER_SCOPES_TTL
        return not missing or lately or service_account.has_all(source, row, held)

    async def _ask(self, owner: User, app: App, scopes: frozenset[str]) -> tuple[Ask, str]:
        """Return the function that requests this user's tokens with the session token, and that token's fingerprint."""
        source = app.source
        if isinstance(source, ServiceAccount):
            return partial(service_account.request_tokens, source=source), ""
        assert source is not None  # noqa: S101
        subject = await session_token(self.token_for, owner, source, self.services.clock())
        if isinstance(source, IdentityAssertion):
            through = self.services.apps[source.identity_app]
            company = self._endpoint(through)
            asked = partial(assertion.request_tokens, company=company, source=source, subject=subject, scopes=scopes)
            return asked, fingerprint(subject)
        return partial(exchange.request_tokens, source=source, subject=subject, scopes=scopes), fingerprint(subject)

    def _endpoint(self, app: App) -> Endpoint:
        services = self.services
        return Endpoint(
            services.http, services.providers[app.provider], app, services.clock, TOKEN_REQUEST_TIMEOUT_SECONDS
        )

    async def _obtain(
        self, owner: User, app: App, ask: Ask, session: str, scopes: frozenset[str], held: Grant | None
    ) -> Grant | None:
        async with self._lock(owner, app):
            now = await self.vault.find_grant(owner, app.provider, app.name, held.account.subject if held else None)
            if now and now.status == "active" and now != held:
                return now  # another caller obtained it
            key = self.vault.key_prefix(owner, app.provider, app.name)
            self.refused.check(key, session)
            try:
                async with mark_request(self.services, owner, app.provider, app.name) as mark:
                    grant = await self._enter(owner, app, ask, scopes, held, mark)
            except Refusal as refusal:
                self.refused.record_refusal(key, session, refusal.outcome)
                raise await self._audit_refusal(owner, app, refusal.outcome) from None
            self.refused.reset(key)
            if isinstance(app.source, ServiceAccount):
                self._brought[key] = self.services.clock()
            return grant

    @asynccontextmanager
    async def _lock(self, owner: User, app: App) -> AsyncIterator[None]:
        """Hold the lock of this user and app; see `redeem`."""
        async with AsyncExitStack() as lock:
            try:
                alone = consent_lock(self.vault, owner, app.provider, app.name, LOCK_TIMEOUT_SECONDS)
                await lock.enter_async_context(alone)
            except TimeoutError:
                raise ProviderUnavailable("Another process is still asking for this grant.") from None
            yield

    async def _enter(
        self, owner: User, app: App, ask: Ask, scopes: frozenset[str], held: Grant | None, mark: Record
    ) -> Grant:
        """Send this request and return its grant. Raises `Refusal`."""
        endpoint, source, asked_at = self._endpoint(app), app.source, self.services.clock()
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

    async def _audit_refusal(self, owner: User, app: App, outcome: Outcome) -> DeputizeError | NotObtained:
        """Audit a refusal, and return the error for the caller."""
        reason, kind = outcome.detail or str(outcome.kind), app.source.kind if app.source else ""
        of_app = OfApp(tenant=owner.tenant, user=owner.id, provider=app.provider, app=app.name)
        await self.services.audit.record(GrantNotObtained(of_app, kind, reason))
        label = self.services.providers[app.provider].label
        if outcome.kind is Kind.RATE_LIMITED:
            return RateLimited(f"{label} limits token requests.", retry_after=outcome.wait or None)
        if outcome.kind is Kind.TRANSIENT:
            if outcome.detail == NO_TOKEN:
                return ProviderUnavailable(
                    f"{label} answered without an access token.",
                    hint="If this persists: token_type must be Bearer, issued_token_type of an exchange access_token.",
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

    async def _tokens_of_account(self, ask: Ask, grant: Grant, endpoint: Endpoint) -> Tokens:
        """Send the request and return the new tokens. Raises if they belong to another account than the grant."""
        asked_at = self.services.clock()
        tokens = await ask(endpoint)
        subject = ""
        try:
            account = asserted_account(endpoint.provider, tokens) or (await endpoint.whoami(tokens, asked_at))[0]
            subject = account.subject
            if subject != grant.account.subject:
                raise Refusal(outcome_of(Kind.REAUTH, OTHER_ACCOUNT))
        except Refusal:
            await self.queue.end(grant.user, grant.provider, grant.app, tokens, subject=subject)
            raise
        return tokens

    async def _is_disconnected(self, owner: User, app: App) -> bool:
        """Return True if the user disconnected this app. Then only the user can connect it again."""
        if isinstance(app.source, ServiceAccount):
            return False
        return any(one.status == "revoked" for one in await self.vault.list_grants(owner, app.provider, app.name))


class RefusedRequests:
    """The last refusal of each request for a user's tokens, in this process, so that callers do not repeat the request.

    A refused session says nothing about the user's next session. A rate limit or an outage applies to all sessions.
    ``clock`` returns Unix seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._backoff, self._sessions = Backoff(clock), dict[str, str]()

    def check(self, key: str, session: str) -> None:
        """Raise the last refusal if it is too early to repeat the request. ``session``: the token's fingerprint."""
        pause = self._backoff.pause(key)
        if pause is None:
            return
        if pause.outcome.kind is not Kind.REAUTH:
            raise pause.error()
        if self._sessions.get(key) == session:
            raise NotObtained(pause.outcome.detail or str(Kind.REAUTH), pause.outcome.claims)

    def record_refusal(self, key: str, session: str, outcome: Outcome) -> None:
        """Record a refusal."""
        if self._sessions.get(key, session) != session:
            self._backoff.reset(key)  # so that the next pause is short again
        self._sessions[key] = session
        self._backoff.record_failure(key, outcome)

    def reset(self, key: str) -> None:
        """Forget the refusals, because a request was successful."""
        self._sessions.pop(key, None)
        self._backoff.reset(key)
