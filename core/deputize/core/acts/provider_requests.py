"""Requests to providers with the user's token. No other module adds a token to a request.

The URL is built for the provider's host and checked again before the request is sent. Redirects are not followed. If
the provider rejects the token, it is refreshed once. Only safe requests are repeated. If the response to a write is
lost, the write is not repeated. The tool receives an error and may check for the result.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import field, replace
from itertools import count
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from deputize.core.acts.batched_reads import BatchedReads
from deputize.core.acts.build_request import address_of, headers_and_body
from deputize.core.acts.provider_errors import (
    REDIRECTS,
    SILENT,
    MissingScope,
    error_of,
    less_to_ask_for,
    lost_response,
    once_only,
    own_address,
)
from deputize.core.acts.public_requests import PublicSender, is_loopback
from deputize.core.acts.rate_limit import STRANGERS, Budgets
from deputize.core.acts.scrub_response import ScrubbedHeaders, scrub_token, whole
from deputize.core.errors import DeputizeError, InvalidInput, ProviderUnavailable, StoreUnavailable
from deputize.core.failures import STEP_UP, Kind, Outcome, RpcId, classify, is_refusal
from deputize.core.failures.parse import provider_reason
from deputize.core.failures.retry import retry_delay
from deputize.core.grants.refresh import REJECTED, GrantLost, Refresher
from deputize.core.grants.refresh_request import TOKEN_REFUSED, token_refused_error
from deputize.core.http import LeanRequest
from deputize.core.oauth import dpop
from deputize.core.oauth.credential import headers_of, url_of
from deputize.core.oauth.identity import NAMELESS
from deputize.core.oauth.provider import ApiRules, OAuthEndpoints, Provider
from deputize.core.provenance.store import UntrustedRecord
from deputize.core.providers.origin import moved, restrict_to_origin
from deputize.core.shared_services import Services
from deputize.core.tools.act import Act
from deputize.core.tools.act_key import ActKey
from deputize.core.tools.required_scopes import asks_of
from deputize.core.tools.steps import MAX_RESPONSE_BYTES, RESUME_TIMEOUT_SECONDS, PublicRequest, Repeat, Request
from deputize.core.value_object import Frozen, frozen
from deputize.core.vault.grant import Grant

NO_PROVIDER: Final = Provider("", "deputize", OAuthEndpoints("", ""), ApiRules({}, frozenset(), NAMELESS))
"""Null provider for tools without a provider, which work on the user's data here, such as stored files. Policy, ledger,
approval and audit treat their acts like any other. These acts have no token, and no approval lets them send requests.
Facts that only a provider knows about the user are missing."""
REQUEST_TIMEOUT_SECONDS: Final = 20.0
SLOW_REQUEST_TIMEOUT_SECONDS: Final = 60.0
LARGE_RESPONSE_BYTES: Final = 10 * 2**20
UNDONE: Final = "undone"
"""Detail of a response that redirects the same request (RFC 9110 15.4.8, 15.4.9), or of a JSON-RPC error that refuses
it: nothing was done here."""

READ_CONFIRMATION_SECONDS: Final = 1.0
"""Seconds after which an act looks again whether its grant has ended before it reads on."""
_SAYS_NOTHING: Final = frozenset({Kind.REFRESH_ONCE, Kind.REAUTH, Kind.TRANSIENT, Kind.AMBIGUOUS_WRITE})
"""Outcomes that do not prove that the token was accepted."""

HeadersAndBody = tuple[list[tuple[str, str]], bytes]

Claim = Callable[..., Awaitable[None]]
"""Awaited before each write is sent, with the seconds that it may take; with ``under_way=True`` while it takes longer.
Raises if the act may not write now."""


def fault_of(act: Act, what: str, hint: str = "") -> InvalidInput:
    """Return the error for a tool that breaks a rule. ``what``: the violation, as a clause that follows "it"."""
    return InvalidInput(f"{act.tool.name}: bug in the tool: it {what}.", hint=hint, fix_by="operator")


@frozen
class ProviderTransport(Frozen):
    """The services that send requests, shared by the acts of all users.

    ``services``: the HTTP client, the providers, the clock. ``refresher``: valid tokens. ``public``: the sender of
    requests without a token. ``budgets``: rate limits of users. ``provenance``: the record of untrusted content.
    """

    services: Services
    refresher: Refresher
    public: PublicSender
    budgets: Budgets
    provenance: UntrustedRecord
    in_step: BatchedReads = field(default_factory=BatchedReads)


class Exchange:
    """The requests of one act.

    ``wrote``: number of writes that the provider has not refused. ``doubt``: True if the response to a write was lost.
    ``incomplete``: data that successful responses reported as missing. ``held``: bytes of the responses.
    ``contacts``: addresses of people whom the user knows, by the responses to reads.
    """

    def __init__(self, transport: ProviderTransport, act: Act, grant: Grant) -> None:
        self.transport, self.act = transport, act
        self.use_grant(grant)
        self.wrote = self.held = 0
        self.doubt = False
        self.incomplete: list[str] = []
        self.contacts = set[str]()
        self._confirmed = time.monotonic()

    def use_grant(self, grant: Grant) -> None:
        """Send this grant's token from now on, and only to the hosts that its consent was for. Raises `InvalidInput` if
        the provider has changed since."""
        self.grant, self.provider, services = grant, NO_PROVIDER, self.transport.services
        if grant.provider:
            row = restrict_to_origin(services.providers[grant.provider], grant, services.apps[grant.app])
            self.provider = row.for_grant(grant.extra)

    @property
    def grant_name(self) -> str:
        """The identifier of the grant in this process: see `Run.grant`."""
        grant, user = self.grant, self.grant.user
        names = user.tenant, user.id, grant.provider, grant.app, grant.account.subject
        return ActKey.of(*names, grant.family).hex  # a new family may be of another account, if none is named

    async def confirm_grant(self) -> None:
        """Take the stored grant if its token differs, since it was refreshed or connected again while the act waited.

        Raises `GrantLost` if the grant has ended since the act began: the user was offboarded or has disconnected the
        account, and a provider that cannot be reached would still accept the token. Raises `MissingScope` if the user
        has meanwhile consented to less than the act needs.
        """
        vault, grant, begun = self.transport.services.vault, self.grant, time.monotonic()
        if not grant.provider:
            return
        now = await vault.get_grant(vault.record_key(grant))
        if now is None or now.status != "active":
            raise GrantLost(now.reason if now else grant.reason, now or grant)
        if now.access_token != grant.access_token:
            if missing := asks_of(self.act.needs, self.provider.implied_scopes(now.scopes)):
                raise MissingScope(missing)
            self.use_grant(now)
        self._confirmed = begun

    async def fetch(self, request: PublicRequest, claim: Claim) -> Any:
        """Return the response to a request without the user's credentials."""
        for attempt in count():
            if wait := self._wait_for_budget(STRANGERS):
                await self.transport.services.sleep(wait)
            if request.call != "read":
                await claim(SLOW_REQUEST_TIMEOUT_SECONDS)
            try:
                outcome = await self.transport.public.fetch(request, self.provider)
            except Exception as failure:
                self._note_doubt(request, failure)
                raise
            pause = self._pause(outcome, "read" if request.prepares else request.call, attempt)
            if outcome.kind is Kind.OK:
                return outcome.data
            if pause is None:
                raise error_of(outcome, urlsplit(request.url).hostname or "The address")
            await self.transport.services.sleep(pause)

    async def send(self, request: Request, claim: Claim) -> Any:
        """Return the provider's response. Safe requests are repeated after a failure."""
        url, call = self._url(request), request.call
        allowed = self.provider.apis.request_headers
        parts = headers_and_body(request, allowed)  # an invalid request fails before any write
        if request.resumes:  # a failing import must happen before anything is sent
            import deputize.core.acts.sse_resume  # noqa: F401
        for attempt in count():
            if wait := self._wait_for_budget(self.act.provider):
                await self.transport.services.sleep(wait)
            outcome, grant = await self._exchange(request, url, parts, claim)
            if outcome.kind is Kind.REFRESH_ONCE:
                self.use_grant(await self.transport.refresher.get_live(grant, failed=grant.access_token))
                if wait := self._wait_for_budget(self.act.provider):
                    await self.transport.services.sleep(wait)
                outcome, grant = await self._exchange(request, url, parts, claim)
            if self.transport.refresher.has_doubts(grant) and outcome.kind not in _SAYS_NOTHING:
                self.grant = grant = await self.transport.refresher.clear(grant)
            pause = self._pause(outcome, "read" if request.prepares else call, attempt)
            if outcome.kind is Kind.OK:
                self._note_contacts(call, outcome.data)
                return outcome.data
            if pause is None:
                failure = await self._failure(outcome, grant)
                if isinstance(failure, InvalidInput):
                    failure.hint = failure.hint or less_to_ask_for(outcome, request, self.act.arguments)
                raise failure
            await self.transport.services.sleep(pause)

    def _wait_for_budget(self, where: str) -> float:
        """Return the seconds to wait for the user's rate limit. Raises `RateLimited` if that is too long, unless the
        act has begun to write."""
        return self.transport.budgets.take(self.act.user, where, unavoidable=bool(self.wrote or self.doubt))

    def _pause(self, outcome: Outcome, call: Repeat, attempt: int) -> float | None:
        """Return the seconds until the request may be repeated, or None if it must not be. Also records what the
        outcome means for `wrote` and `doubt`."""
        if outcome.kind is Kind.OK:
            self.wrote += call != "read" and outcome.detail != UNDONE
            if outcome.warning:
                self.incomplete.append(outcome.warning)
            return None
        self.doubt |= outcome.kind is Kind.AMBIGUOUS_WRITE and call != "read"
        return retry_delay(outcome, attempt)

    def _note_contacts(self, call: Repeat, data: Any) -> None:
        """Add to `contacts` the people in this response whom the user knows. Adds nobody for a service account, whose
        mail is not the user's."""
        find, act = self.act.tool.contacts_in, self.act
        if find is not None and call == "read" and not act.organisation:
            self.contacts.update(find(data, self.grant.account.name, self.transport.services.clock()))

    def _note_doubt(self, request: Request | PublicRequest, failure: Exception) -> None:
        """Set `doubt` if this failed request was a write that may have been sent. deputize's own errors do not count,
        because they are raised before a request is sent."""
        own = isinstance(failure, DeputizeError | GrantLost | MissingScope)
        self.doubt |= request.call != "read" and not request.prepares and not own

    async def _exchange(self, request: Request, url: str, parts: HeadersAndBody, claim: Claim) -> tuple[Outcome, Grant]:
        """Send the request once. Return the outcome, and the grant whose token was sent."""
        grant = self.grant
        try:
            answer, grant = await self._send_once(request, url, parts, claim)
            if grant.proof_key and dpop.asks_again(grant.proof_key, url, answer):
                answer, grant = await self._send_once(request, url, parts, claim)
            if request.resumes:
                answer = await self._resume_stream(answer, request, url, grant)
            outcome = self._outcome_of(answer, request, grant)
            silent = request.idle_timeout and answer.extensions.get("late")
            return once_only(outcome) if silent else outcome, grant
        except ProviderUnavailable as e:
            return lost_response(request.call, e), grant
        except Exception as failure:
            self._note_doubt(request, failure)
            raise

    def _outcome_of(self, answer: httpx.Response, request: Request, grant: Grant) -> Outcome:
        """Return the outcome of a response. The token is masked wherever the response contains it."""
        status, content = answer.status_code, answer.content
        self.held += len(content)
        headers, content = ScrubbedHeaders(answer, grant.access_token), scrub_token(content, grant.access_token)
        if request.whole and status in REDIRECTS and "location" in headers:
            return Outcome(Kind.OK, detail=UNDONE if status in (307, 308) else "", data=whole(status, headers, None))
        outcome = classify(
            self.provider.rules,
            request.call,
            status,
            headers,
            b"" if request.raw and status < 300 else content,  # raw data is never interpreted as a refusal
            granted=grant.scopes,
            needs=() if status < 300 else [(n.ask, *sorted(n.accepts - {n.ask})) for n in self.act.needs],
            now=self.transport.services.clock(),
            rpc_id=rpc_id(request),
        )
        if request.whole and is_refusal(outcome):
            return Outcome(Kind.OK, detail=UNDONE, data=whole(status, headers, outcome.data))
        if outcome.kind is Kind.OK and (request.raw or request.whole):
            data = content if request.raw else outcome.data
            return replace(outcome, data=whole(status, headers, data) if request.whole else data)
        return outcome

    async def _send_once(
        self, request: Request, url: str, parts: HeadersAndBody, claim: Claim
    ) -> tuple[httpx.Response, Grant]:
        large = request.max_bytes > LARGE_RESPONSE_BYTES
        seconds = request.idle_timeout or (SLOW_REQUEST_TIMEOUT_SECONDS if large else REQUEST_TIMEOUT_SECONDS)
        reads, most = request.call == "read", min(request.max_bytes, MAX_RESPONSE_BYTES)
        needed = seconds + (RESUME_TIMEOUT_SECONDS if request.resumes else 0.0)
        keeper = _ClaimKeeper(None if reads else claim, needed) if request.idle_timeout else None
        if not reads:
            await claim(keeper.seconds if keeper else needed)
        elif time.monotonic() >= self._confirmed + READ_CONFIRMATION_SECONDS:
            await self.confirm_grant()
        grant = self.grant  # as confirmed just now
        made = self._with_token(request, url, grant, parts)
        async with self.transport.in_step if reads else nullcontext():
            http = self.transport.services.http
            how: dict[str, Any] = {"max_bytes": most, "cut": request.resumes}
            try:
                return await http.send(made, timeout=seconds, on_event=keeper, **how), grant
            except ProviderUnavailable as failure:
                if keeper and failure.reason == "late":
                    raise ProviderUnavailable(failure.message, sent=True, reason=SILENT) from None
                raise

    async def _resume_stream(self, answer: httpx.Response, request: Request, url: str, grant: Grant) -> httpx.Response:
        """Return the response after resuming an event stream that broke off: see `deputize.core.acts.sse_resume`."""
        from deputize.core.acts.sse_resume import UntilResponse, can_resume, rest_headers, resume_stream

        if not can_resume(answer, asked := rpc_id(request) or 0):
            return answer

        async def fetch(last: str, seconds: float) -> httpx.Response:
            rest = Request("GET", "", headers=rest_headers(request.headers, last))
            made = self._with_token(rest, url, grant, headers_and_body(rest, self.provider.apis.request_headers))
            most = min(request.max_bytes, MAX_RESPONSE_BYTES)
            enough = UntilResponse(asked)
            return await self.transport.services.http.send(
                made, timeout=seconds, max_bytes=most, cut=True, enough=enough
            )

        return await resume_stream(answer, asked, fetch, self.transport.services.sleep)

    def _with_token(self, request: Request, url: str, grant: Grant, parts: HeadersAndBody) -> LeanRequest:
        """Return the request with its token. Raises `InvalidInput` unless the host is the provider's own."""
        headers, content = parts
        made = LeanRequest(request.method, url, (), content)
        if made.scheme != "https" and not (self.provider.plain_http and is_loopback(made.netloc)):
            raise fault_of(self.act, "would send the token without TLS")
        if made.netloc not in self.provider.apis.hosts:
            row = self.transport.services.providers[self.act.provider]
            if made.netloc in row.apis.hosts:
                raise moved(grant, row)
            raise fault_of(self.act, f"would send the token to a host that is not {row.label}'s")
        if credential := self.provider.apis.credential:
            made.written = url_of(credential, url, grant.access_token)
            made.given = (*headers, *headers_of(credential, grant.access_token))
        elif key := grant.proof_key:
            shown = dpop.token_headers(key, made.method, url, grant.access_token, self.transport.services.clock())
            made.given = (*headers, *shown)
        else:
            made.given = (*headers, ("authorization", f"Bearer {grant.access_token.reveal()}"))
        return made

    def _url(self, request: Request) -> str:
        """Return the URL below the API's root."""
        name = request.api or self.act.tool.api
        root = self.provider.apis.roots.get(name)
        if root is None:
            raise InvalidInput(f"{self.provider.label} has no API called {name!r}.", fix_by="operator")
        return address_of(root, request)

    async def _failure(self, outcome: Outcome, grant: Grant) -> Exception:
        """Return the error to raise for a refusal."""
        if outcome.kind is Kind.REFRESH_ONCE:  # the refreshed token was refused too: maybe an outage, so keep the grant
            await self.transport.refresher.suspect(grant, TOKEN_REFUSED)
            if self.provider.rules.still_refused is None:
                return token_refused_error(self.provider.label, refreshed=True)
            outcome = self.provider.rules.still_refused
        if outcome.kind is Kind.REAUTH:  # so says the API; only the token endpoint knows
            if outcome.detail != STEP_UP:
                await self.transport.refresher.suspect(grant, outcome.detail or REJECTED)
            return GrantLost(outcome.detail or REJECTED, grant)
        if outcome.kind is Kind.MISSING_SCOPE and outcome.fix_by != "admin":
            return MissingScope(outcome.needed, named=outcome.certain)
        shown = own_address(self.provider, outcome.url)
        failure = error_of(outcome if shown == outcome.url else replace(outcome, url=shown), self.provider.label)
        failure.from_provider = await self._reason(outcome, grant)
        return failure

    async def _reason(self, outcome: Outcome, grant: Grant) -> dict[str, Any]:
        """Return the provider's reason for a refusal, after recording untrusted content in it. Empty if recording
        failed."""
        token = grant.access_token
        row = provider_reason(
            self.provider.rules,
            outcome.data,
            lambda text: scrub_token(text.encode(errors="replace"), token).decode(errors="replace"),
        )
        try:
            await self.transport.provenance.learn(self.act, grant.account, row)
        except StoreUnavailable:
            return {}
        return row


class _ClaimKeeper:
    """Keeps the claim of a write as long as its response reports progress. ``needed``: seconds that the response may
    take after each report. ``seconds``: to claim at first."""

    def __init__(self, claim: Claim | None, needed: float) -> None:
        self.claim, self.seconds, self._pause = claim, 1.5 * needed, needed / 2
        self._claimed = time.monotonic()

    async def __call__(self) -> None:
        """Extend the claim, at most twice in the time that is needed. Raises `ProviderUnavailable` if it is lost: the
        request was sent, and another run may look for its outcome soon."""
        if self.claim is None or time.monotonic() < self._claimed + self._pause:
            return
        try:
            await self.claim(self.seconds, under_way=True)
        except DeputizeError:
            raise ProviderUnavailable("The claim of a write was lost.", sent=True) from None
        self._claimed = time.monotonic()


def rpc_id(request: Request) -> RpcId | None:
    """Return the id of a JSON-RPC request, or None for a notification or any other request."""
    message = request.json
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        return None
    found: RpcId | None = message.get("id")
    return found
