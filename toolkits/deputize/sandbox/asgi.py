"""The sandbox as an ASGI application: the first path segment is the production host."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import quote

import anyio

from deputize.sandbox.http_types import Ask, Reply, read_query

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Play = Callable[[Ask], "Outcome"]


class Outcome:
    """The result of a request: a reply, or None if it was lost, after ``delay`` seconds."""

    __slots__ = ("delay", "reply", "status")

    def __init__(self, reply: Reply, *, lost: bool, delay: float) -> None:
        self.status = reply.status
        self.reply = None if lost else reply
        self.delay = delay


def asgi_app(play: Play) -> AsgiApp:
    """Return an app over ``play``, which is not bound to an event loop."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            outcome = play(_ask(scope, await _body(receive)))
            if outcome.delay:
                await anyio.sleep(outcome.delay)
            await _send(outcome, send)

    return app


async def _lifespan(receive: Receive, send: Send) -> None:
    for step in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{step}.complete"})


async def _body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def _ask(scope: Scope, body: bytes) -> Ask:
    raw = scope.get("raw_path")
    path = raw.decode("latin-1").partition("?")[0] if raw else quote(scope["path"])
    root = quote(scope.get("root_path", ""))
    path = path.removeprefix(root)
    host, slash, rest = path.lstrip("/").partition("/")
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    query = read_query(scope.get("query_string", b"").decode("latin-1"))
    base = f"{scope['scheme']}://{headers['host']}{root}" if "host" in headers else ""
    return Ask(scope["method"], host, slash + rest, query, headers, body, base)


async def _send(outcome: Outcome, send: Send) -> None:
    """Send the reply. A lost reply starts without a body: the server then closes the connection."""
    reply = outcome.reply
    if reply is None:
        length = [(b"content-length", b"1000")]
        await send({"type": "http.response.start", "status": outcome.status, "headers": length})
        return
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers]
    if reply.status != 204:
        headers.append((b"content-length", str(len(reply.body)).encode()))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
