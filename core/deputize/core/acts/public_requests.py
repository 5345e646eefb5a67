"""Requests without the user's credentials: a signed download, an upload address, a one-click unsubscribe.

Untrusted content may choose their addresses (CWE-918). So a URL must have https, the default port and a host name whose
addresses are all public. The connection goes to an address that was checked. No token, cookie or connection is shared
with other requests. Each redirect is checked in the same way. A custom transport may resolve the name a second time.
Then only TLS, which needs a certificate for the name, protects the request.
"""

from __future__ import annotations

import asyncio
import re
from typing import Final
from urllib.parse import urljoin

import httpx

from deputize.core.acts.build_request import LONGEST_URL, visible
from deputize.core.acts.provider_errors import REDIRECTS, lost_response
from deputize.core.acts.scrub_response import whole
from deputize.core.errors import InvalidInput, ProviderUnavailable
from deputize.core.failures import Kind, Outcome, classify, outcome_of, outcome_without_answer
from deputize.core.failures.standard import GENERIC
from deputize.core.http import Http, LeanRequest
from deputize.core.http.address_guard import is_public
from deputize.core.http.request import USER_AGENT
from deputize.core.oauth.discover import Resolve, addresses_of
from deputize.core.oauth.provider import Provider
from deputize.core.tools.steps import MAX_RESPONSE_BYTES, PublicRequest

MAX_REDIRECTS: Final = 3
REQUEST_TIMEOUT_SECONDS: Final = 60.0
DNS_TIMEOUT_SECONDS: Final = 5.0
_METHODS: Final = frozenset({"GET", "POST", "PUT"})
_NAME: Final = (
    r"((?=[^:]{4,253}(?::|$))(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9]))(?::443)?"
)
_HEADER: Final = r"cache-control|content-(?:disposition|encoding|language|md5)|x-(?:goog|amz|ms)-[a-z0-9-]{1,60}"
_OURS: Final = frozenset({Kind.REFRESH_ONCE, Kind.REAUTH, Kind.MISSING_SCOPE})


class PublicSender:
    """Sender of `PublicRequest`s. ``http``: a client that is not shared with requests that carry a token."""

    def __init__(self, http: Http, resolve: Resolve = addresses_of) -> None:
        self.http, self.resolve = http, resolve

    async def fetch(self, request: PublicRequest, provider: Provider) -> Outcome:
        """Return the outcome. A successful outcome has an `Answer` with the bytes as its data. ``provider``: the tool's
        provider.

        Redirects of reads are followed. For a write, a redirect is the response. Raises `InvalidInput` for a forbidden
        address.
        """
        if request.method not in _METHODS:
            raise InvalidInput("A request without credentials is GET, POST or PUT.", fix_by="operator")
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_SECONDS):
                return await self._follow_redirects(request, provider)
        except TimeoutError:
            return outcome_without_answer(request.call, sent=True)

    async def _follow_redirects(self, request: PublicRequest, provider: Provider) -> Outcome:
        url = request.url
        for _ in range(MAX_REDIRECTS + 1):
            try:
                answer = await self._send(request, url, provider)
            except ProviderUnavailable as failure:
                return lost_response(request.call, failure)
            goes_on = answer.headers.get("location", "") if answer.status_code in REDIRECTS else ""
            if not goes_on or request.call != "read":
                return _outcome_of(request, answer)
            url = _next_url(url, goes_on)
        return outcome_of(Kind.INVALID_INPUT, "too_many_redirects")

    async def _send(self, request: PublicRequest, url: str, provider: Provider) -> httpx.Response:
        # the connection is not reused
        headers = [("accept", "*/*"), ("user-agent", USER_AGENT), ("connection", "close")]
        headers += _signed_headers(request)
        if request.content_type:
            headers.append(("content-type", visible("content-type", request.content_type)))
        if len(url) > LONGEST_URL:
            raise _forbidden_address()
        try:
            made = LeanRequest(request.method, _sandbox_url(url, provider), headers, request.content or b"")
        except InvalidInput:  # the address is untrusted content, so the tool has no bug
            raise _forbidden_address() from None
        address = "" if _is_stand_in(made, provider) else await self._address(made)
        return await self.http.send(
            made, timeout=REQUEST_TIMEOUT_SECONDS, max_bytes=min(request.max_bytes, MAX_RESPONSE_BYTES), address=address
        )

    async def _address(self, made: LeanRequest) -> str:
        """Return the address to connect to. Raises `InvalidInput` unless all addresses of the host are public."""
        name = re.fullmatch(_NAME, made.netloc)
        if made.scheme != "https" or name is None:
            raise _forbidden_address()
        try:
            async with asyncio.timeout(DNS_TIMEOUT_SECONDS):
                found = await self.resolve(name[1])
        except (OSError, TimeoutError):
            raise ProviderUnavailable(f"{name[1]} could not be resolved (DNS).") from None
        if not found or not all(is_public(address) for address in found):
            raise _forbidden_address()
        return found[0]


def _signed_headers(request: PublicRequest) -> list[tuple[str, str]]:
    """Return the headers that the address requires. Raises `InvalidInput` for a header that is not allowed."""
    if request.headers and request.call == "read":
        raise InvalidInput("A read without credentials takes no headers.", fix_by="operator")
    found = {name.lower(): value for name, value in request.headers.items()}
    if refused := [name for name in found if not re.fullmatch(_HEADER, name)]:
        raise InvalidInput(f"The header {refused[0]!r} may not be sent without credentials.", fix_by="operator")
    return [(name, visible(name, value)) for name, value in found.items()]


def _next_url(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:  # brackets that hold no address
        raise _forbidden_address() from None


def _forbidden_address() -> InvalidInput:
    return InvalidInput(
        "This address may not be called (SSRF protection).", hint="Only https addresses of public hosts may be."
    )


def _sandbox_url(url: str, provider: Provider) -> str:
    """Return the URL, or its replacement at the sandbox if a sandbox simulates the provider."""
    if not provider.plain_http or not url.startswith("https://"):
        return url
    base = next((host for host in sorted(provider.apis.hosts) if is_loopback(host)), "")
    return f"http://{base}/{url.removeprefix('https://')}" if base else url


def _is_stand_in(made: LeanRequest, provider: Provider) -> bool:
    own = provider.plain_http and made.netloc in provider.apis.hosts
    return own and made.scheme == "http" and is_loopback(made.netloc)


def is_loopback(netloc: str) -> bool:
    """Return True if ``host`` or ``host:port`` is a loopback address."""
    return re.fullmatch(r"(?:127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?", netloc) is not None


def _outcome_of(request: PublicRequest, answer: httpx.Response) -> Outcome:
    status = answer.status_code
    if status < 300 or (status in REDIRECTS and request.call != "read"):
        return Outcome(Kind.OK, data=whole(status, answer.headers, answer.content))
    outcome = classify(GENERIC, request.call, status, answer.headers, answer.content)
    return outcome_of(Kind.HIDDEN_OR_NOT_FOUND) if outcome.kind in _OURS else outcome
