"""A provider's token endpoint and its other OAuth endpoints: sends the requests of `flow`, classifies the replies."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeVar

import httpx

from deputize.core.errors import ProviderUnavailable
from deputize.core.failures import Call, Kind, Outcome, classify, outcome_of, outcome_without_answer
from deputize.core.http import Http
from deputize.core.oauth import dpop, id_token
from deputize.core.oauth import messages as flow
from deputize.core.oauth.credential import token_of
from deputize.core.oauth.provider import App, Permissions, Provider
from deputize.core.oauth.refusals import log_refusal
from deputize.core.vault.grant import Account, Secret

T = TypeVar("T")
Make = Callable[[], httpx.Request]
"""Makes a new request on every call."""

log = logging.getLogger("deputize")

TOKEN_REQUEST_TIMEOUT_SECONDS: Final = 20.0
LATE: Final = "late"
"""Detail of a token request that the provider, or the gateway before it, did not answer in time."""
GATEWAY_TIMEOUTS: Final = (504, 524)
"""RFC 9110 15.6.5, and Cloudflare's own status for it."""
DISBELIEVED: Final = "bad_id_token"
"""Detail of a consent whose id_token failed verification."""
NAMELESS_ACCOUNT: Final = "no_identity"
"""Detail of a request for an account at a provider that never identifies it."""
NO_TOKEN: Final = "no_token"  # noqa: S105
"""Detail of a successful reply without a usable token."""
MAX_PAGES: Final = 100
LEAKED_AT_ONCE: Final = 1000
"""Tokens in one request of `end_leaked` (docs.github.com/en/rest/credentials/revoke)."""


class Refusal(Exception):
    """The provider refused a request, or the connection failed. ``outcome``: the classified reason."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.kind)
        self.outcome = outcome


class Unanswered(Refusal):
    """A refusal of the second attempt, when the first one may have been carried out and its answer was lost."""


class Endpoint:
    """One app at one provider, over one pooled client. Every error is a `Refusal`.

    ``seconds``: timeout of a request.
    """

    def __init__(
        self,
        http: Http,
        provider: Provider,
        app: App,
        clock: Callable[[], float] = time.time,
        seconds: float = TOKEN_REQUEST_TIMEOUT_SECONDS,
    ) -> None:
        self.http, self.provider, self.app, self.clock, self.seconds = http, provider, app, clock, seconds

    async def push(self, asked: Secret) -> str:
        """Return the URL for the browser: that of the authorization request, or of the pushed request (RFC 9126)."""
        if not self.provider.oauth.par_url:
            return asked.reveal()
        outcome = await self._ask("revoke", flow.push(self.provider, self.app, asked))
        return flow.pushed_url(self.provider, self.app, self._read(outcome, "no_request_uri", flow.parse_pushed))

    async def exchange(self, code: Secret, verifier: Secret, redirect_uri: str, nonce: str = "") -> flow.Tokens:
        """Exchange a code for tokens, once. The tokens are bound to a new key if the provider binds tokens. ``nonce``:
        the nonce of the authorization request. A key that the user entered is its own token, and the app's secret
        replaces it."""
        if credential := self.provider.apis.credential:
            key = token_of(credential, self.app.client_secret or code)
            if key is None:
                raise Refusal(outcome_of(Kind.INVALID_INPUT, NO_TOKEN, fix_by="user"))
            return flow.Tokens(key, None, frozenset(), 0.0)

        def request() -> httpx.Request:
            return flow.exchange(self.provider, self.app, code=code, verifier=verifier, redirect_uri=redirect_uri)

        try:
            tokens = await self._tokens("code", request, None)
        except Refusal as refused:
            log_refusal(self.provider, self.app, refused.outcome)
            raise
        return replace(tokens, nonce=nonce)

    async def refresh(self, refresh_token: Secret, proof_key: Secret | None = None) -> flow.Tokens:
        """Exchange a refresh token for tokens, once, bound to the same key, or to a new one if there was none."""
        return await self._tokens(
            "refresh", lambda: flow.refresh(self.provider, self.app, refresh_token=refresh_token), proof_key
        )

    async def issue(
        self, request: Make, parse: Callable[[Provider, Any, Secret | None], T], proof_key: Secret | None = None
    ) -> T:
        """Request tokens by another grant type (RFC 6749 4.5), and return the result of ``parse``. ``request``: called
        for each time that it is sent. ``parse``: receives the provider, the reply, and the proven key, if any."""
        key = proof_key or (dpop.new_key() if self.provider.oauth.dpop else None)
        outcome = await self._ask_proven("refresh", request, key)
        return self._read(outcome, NO_TOKEN, lambda provider, reply: parse(provider, reply, key))

    async def _tokens(self, call: Call, request: Make, proof_key: Secret | None) -> flow.Tokens:
        key = proof_key or (dpop.new_key() if self.provider.oauth.dpop else None)
        outcome = await self._ask_proven(call, request, key)
        return self._read(outcome, NO_TOKEN, lambda provider, reply: flow.parse_tokens(provider, reply, key))

    async def whoami(self, tokens: flow.Tokens, at: float) -> tuple[Account, dict[str, str]]:
        """Return the account of tokens, and the extra fields of its identity. ``at``: when they arrived (Unix seconds).

        The source is a verified id_token if there is one (`deputize.core.oauth.id_token`), else the provider's reply to
        the access token. A token bound to a resource (RFC 8707) is for no other API, so it cannot identify the account.
        """
        if not (self.provider.apis.identity.url or self.provider.oauth.jwks_url):
            raise Refusal(outcome_of(Kind.INVALID_INPUT, NAMELESS_ACCOUNT, fix_by="nobody"))
        if tokens.id_token is not None:
            claims = id_token.claims_of(
                self.provider, self.app, tokens.id_token, tokens.nonce, await self._key_set(), at
            )
            if isinstance(claims, str):
                raise self._invalid_id_token(claims)
            return await self._account(claims, tokens)
        if self.provider.oauth.jwks_url and self.provider.oauth.resource:
            raise self._invalid_id_token("is missing, and the access token is for its resource only")
        outcome = await self._ask_with(tokens, lambda: flow.identity(self.provider, access_token=tokens.access))
        return self._read(outcome, "no_identity", flow.parse_identity)

    async def _account(self, claims: Mapping[str, Any], tokens: flow.Tokens) -> tuple[Account, dict[str, str]]:
        """Return the account of verified claims. Its name may come from the userinfo endpoint."""
        provider, found = self.provider, self.provider.apis.identity.read(claims)
        named = found is not None and found[0].name != found[0].subject
        shown: Any = None
        if not named and provider.apis.identity.url and not provider.oauth.resource:
            try:
                asked = await self._ask_with(tokens, partial(flow.identity, provider, access_token=tokens.access))
                shown = asked.data
            except Refusal as refused:
                if found is None or refused.outcome.kind in (Kind.TRANSIENT, Kind.RATE_LIMITED):
                    raise
        if isinstance(shown, Mapping):
            if shown.get("sub") != claims["sub"]:  # OpenID Connect Core 5.3.2
                raise self._invalid_id_token("names another account than the userinfo endpoint")
            found = provider.apis.identity.read({**shown, **claims})
        if found is None:
            raise self._invalid_id_token("does not say what is known of an account")
        return found

    async def _key_set(self) -> Any:
        """Return the issuer's key set, or None if it has none."""
        try:
            request = flow.key_set(self.provider)
            answer = await self.http.send(request, timeout=self.seconds, max_bytes=id_token.MAX_KEY_SET_BYTES)
        except ProviderUnavailable as e:
            too_long, outcome = e.reason == "too_long", outcome_without_answer("read", sent=e.sent)
        else:
            rules, now = self.provider.rules, self.clock()
            outcome = classify(rules, "read", answer.status_code, answer.headers, answer.content, now=now)
            too_long = False
        if too_long:
            raise self._invalid_id_token("cannot be checked: the server's key set is too long")
        if outcome.kind in (Kind.TRANSIENT, Kind.RATE_LIMITED):
            raise Refusal(replace(outcome, data=None))
        return outcome.data if outcome.kind is Kind.OK else None

    def _invalid_id_token(self, why: str) -> Refusal:
        """Log for the operator why an id_token is invalid. Return the refusal for the user, who cannot fix it."""
        log.warning("The id_token of %s %s.", self.provider.name, why)
        return Refusal(outcome_of(Kind.INVALID_INPUT, DISBELIEVED, fix_by="nobody"))

    async def granted(self, tokens: flow.Tokens, asked: frozenset[str]) -> frozenset[str]:
        """Return the scopes of new tokens, from the reply or the provider's permissions. ``asked``: as requested."""
        if shown := self.provider.apis.permissions:
            return await self._rights(shown, tokens)
        if tokens.scopes is None:
            return asked if self.provider.oauth.absent_scope == "requested" else frozenset()
        return tokens.scopes

    async def shown_scopes(self, tokens: flow.Tokens) -> frozenset[str] | None:
        """Return a token's scopes from a response header, or None if the provider sends none."""
        if not (header := self.provider.apis.imports.scopes_header):
            return None
        request = flow.identity(self.provider, access_token=tokens.access)
        try:
            answer = await self.http.send(request, timeout=self.seconds, max_bytes=2**20)
        except ProviderUnavailable as e:
            outcome = outcome_without_answer("read", sent=e.sent)
        else:
            said = answer.headers.get(header) if answer.status_code == 200 else None
            return None if said is None else self.provider.oauth.normal(said)
        raise Refusal(outcome)

    async def is_of_app(self, token: Secret) -> bool | None:
        """Return True if an access token was issued to this app, or None if the provider does not say."""
        request = flow.is_of_app(self.provider, self.app, token=token)
        if request is None:
            return None
        try:
            answer = await self.http.send(request, timeout=self.seconds, max_bytes=2**20)
        except ProviderUnavailable as e:
            raise Refusal(outcome_without_answer("read", sent=e.sent)) from None
        if answer.status_code in (200, 404):
            return answer.status_code == 200
        if answer.status_code == 422:  # malformed or too many requests: says nothing about the token
            return None
        rules, now = self.provider.rules, self.clock()
        outcome = classify(rules, "revoke", answer.status_code, answer.headers, answer.content, now=now)
        raise Refusal(replace(outcome, data=None))

    async def _rights(self, shown: Permissions, tokens: flow.Tokens) -> frozenset[str]:
        """Return the permissions from all pages."""
        found = frozenset[str]()
        for page in range(1, MAX_PAGES + 1):
            outcome = await self._ask_with(tokens, partial(flow.permissions, shown, page, access_token=tokens.access))
            rights, more = self._read(outcome, "no_permissions", flow.parse_permissions)
            found |= rights
            if not more:
                break
        return found

    async def revoke(self, token: Secret, *, alone: bool = False) -> bool:
        """Revoke a token. Return False if the provider has no revocation. A dead token counts as revoked.

        ``alone``: revoke no other token of the account, if the provider supports that.
        """
        if not self.provider.oauth.revoke_url:
            return False
        try:
            await self._ask("revoke", flow.revoke(self.provider, self.app, token=token, alone=alone))
        except Refusal as refused:
            if refused.outcome.kind is not Kind.CONFLICT:
                raise
        return True

    def _read(self, outcome: Outcome, without: str, parse: Callable[[Provider, Any], T]) -> T:
        """Return the parsed content of a successful reply. Raises `Refusal` for a reply without it."""
        with suppress(ProviderUnavailable):
            return parse(self.provider, outcome.data)
        raise Refusal(replace(outcome, kind=Kind.TRANSIENT, detail=without, data=None))

    async def _ask(self, call: Call, request: httpx.Request) -> Outcome:
        return await _send(self.http, self.provider, call, lambda: request, self.clock(), self.seconds)

    async def _ask_with(self, tokens: flow.Tokens, request: Make) -> Outcome:
        """Send a request with an access token, and with a proof of possession if the token is bound to a key."""
        return await self._ask_proven("read", request, tokens.proof_key, tokens.access)

    async def _ask_proven(self, call: Call, request: Make, key: Secret | None, token: Secret | None = None) -> Outcome:
        """Send a request with a proof of the key, if there is a key."""

        def proven() -> httpx.Request:
            made = request()
            if key:
                dpop.prove(made, key, self.clock(), token=token)
            return made

        return await _send(self.http, self.provider, call, proven, self.clock(), self.seconds, key)


async def end_leaked(http: Http, provider: Provider, tokens: Sequence[Secret], now: float) -> None:
    """Revoke at most `LEAKED_AT_ONCE` tokens without their app. Raises `Refusal`. ``now``: Unix seconds."""
    await _send(http, provider, "revoke", lambda: flow.revoke_leaked(provider, tokens), now)


async def _send(
    http: Http,
    provider: Provider,
    call: Call,
    request: Make,
    now: float,
    timeout: float = TOKEN_REQUEST_TIMEOUT_SECONDS,
    proof_key: Secret | None = None,
) -> Outcome:
    first, again = request(), False
    try:
        answer = await http.send(first, timeout=timeout, max_bytes=2**20)
        if proof_key and dpop.asks_again(proof_key, str(first.url), answer):
            answer = await http.send(request(), timeout=timeout, max_bytes=2**20)  # new: no assertion is used twice
            again = dpop.asks_again(proof_key, str(first.url), answer)
    except ProviderUnavailable as e:
        outcome = outcome_without_answer(call, sent=e.sent)
        late = e.reason == "late"
    else:
        outcome = classify(provider.rules, call, answer.status_code, answer.headers, answer.content, now=now)
        late = answer.status_code in GATEWAY_TIMEOUTS
    if again:  # the server asks for another nonce again: its fault
        outcome = outcome_of(Kind.TRANSIENT, "use_dpop_nonce", backoff=True, safe=True)
    if late and call == "refresh":  # the server may still be processing it: do not repeat it at once
        outcome = replace(outcome, detail=LATE)
    if outcome.kind is not Kind.OK:
        raise Refusal(replace(outcome, data=None))
    return outcome
