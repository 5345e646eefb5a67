"""Limits on the size of requests to our pages: more than any browser sends, and no more than we can handle.

Servers differ: some do not limit the head of a request, and your application's limits may be high.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from deputize.core.web.security_headers import plain_headers

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

MAX_ADDRESS: Final = 16384
"""Bytes of path and query. The codes of some providers take thousands."""
MAX_HEADERS: Final = 200
MAX_HEADER_BYTES: Final = 65536
"""Bytes of all headers together. On 127.0.0.1 a browser sends the cookies of all servers there."""

_REFUSALS: Final = {414: b"This address is too long.", 431: b"These request headers are too long."}


def limit_request_size(app: ASGIApp) -> ASGIApp:
    """Return ``app``, answering 414 or 431 (RFC 9110 15.5.15, RFC 6585 5) to a request with a longer head."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        status = _excess_status(scope) if scope["type"] == "http" else 0
        if not status:
            return await app(scope, receive, send)
        await send({"type": "http.response.start", "status": status, "headers": plain_headers()})
        await send({"type": "http.response.body", "body": _REFUSALS[status]})

    return guarded


def _excess_status(scope: Scope) -> int:
    headers = scope["headers"]
    if len(scope["path"]) + len(scope["query_string"]) > MAX_ADDRESS:
        return 414
    size = sum(len(name) + len(value) for name, value in headers)
    return 431 if len(headers) > MAX_HEADERS or size > MAX_HEADER_BYTES else 0
