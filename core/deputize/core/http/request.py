"""Requests that are cheap to create, and connections to a checked IP address."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Final, TypeGuard

import httpx

from deputize.core.errors import InvalidInput

USER_AGENT: Final = "deputize/0.1"
"""Of all requests: to providers, to authorization servers and to public addresses."""
JSON_HEADERS: Final = {"accept": "application/json", "user-agent": USER_AGENT}
"""Of all requests to authorization servers, besides authentication."""


class LeanRequest(httpx.Request):
    """A request for an encoded URL, which is parsed on first use.

    ``url``: absolute, http or https, visible ASCII, without login and fragment; it is sent unchanged to ``netloc``
    (host and port, lower case). ``headers``: all headers except Host and Content-Length. Raises `InvalidInput` for any
    other URL, without quoting it.
    """

    def __init__(self, method: str, url: str, headers: Sequence[tuple[str, str]] = (), content: bytes = b"") -> None:
        match = _WRITTEN(url)
        if match is None:
            raise InvalidInput("The address of a request is not an encoded http or https URL.", fix_by="operator")
        self.scheme, self.netloc = match[1], match[2].lower()
        self.method, self.written, self.given, self.body = method, url, headers, content
        self.extensions = {}

    @functools.cached_property
    def url(self) -> httpx.URL:  # type: ignore[override]
        return httpx.URL(self.written)

    @functools.cached_property
    def headers(self) -> httpx.Headers:  # type: ignore[override]
        length = [("Content-Length", str(len(self.body)))] if self.body or self.method in _WITH_BODY else []
        return httpx.Headers([("Host", self.netloc), *self.given, *length])

    @functools.cached_property
    def stream(self) -> httpx.ByteStream:  # type: ignore[override]
        return httpx.ByteStream(self.body)

    @property
    def content(self) -> bytes:
        return self.body


def is_untouched(request: httpx.Request) -> TypeGuard[LeanRequest]:
    """Return True if the request's headers were neither read nor changed since its creation."""
    return isinstance(request, LeanRequest) and "headers" not in vars(request)


def _pinned(request: httpx.Request, address: str) -> httpx.Request:
    """Return the same request over a connection to this address, with its own Host, and TLS for its host name."""
    pinned = httpx.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": request.url.host},
    )
    return pinned


_WITH_BODY = ("POST", "PUT", "PATCH")
_WRITTEN = re.compile(
    r"(https?)://((?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?)(?:[/?][!-\"$-~]*)?"
).fullmatch
