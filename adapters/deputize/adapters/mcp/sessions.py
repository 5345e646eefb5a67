"""Sessions of the protocols before 2026-07-28, good at every worker and after a restart.

The SDK keeps a session in the process that opened it; at another one, or a later one, its id is unknown, and clients
end there. So the id that a client is given holds what the client has said of itself in its handshake, sealed for its
user, and a process that does not know the session opens it anew from that: the same handshake, by ourselves.

An id is a name and no right: each request has its user, and to anybody else the session does not exist. It holds no
state of calls, which is in the vault.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from mcp.server.request_state import AESGCMRequestStateCodec, InvalidRequestState
from mcp.server.streamable_http import LAST_EVENT_ID_HEADER, MCP_SESSION_ID_HEADER
from mcp.server.streamable_http_manager import DEFAULT_SESSION_IDLE_TIMEOUT
from mcp.shared.inbound import MCP_PROTOCOL_VERSION_HEADER
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deputize.core import Secret, User

__all__ = ["Sessions", "TakesAnswer"]

TakesAnswer: TypeAlias = Callable[[bytes, User], Awaitable[bool]]
"""Whether a body is this user's answer to what another worker has asked; then it is taken, see `forms`."""

MAX_OF_ONE: Final = 100
"""Sessions of one user that a process keeps: some clients open one for each call and end none."""
KEPT: Final = DEFAULT_SESSION_IDLE_TIMEOUT - 60.0
"""Seconds without a request after which a session is opened anew, before the SDK has ended it."""
LONGEST_HANDSHAKE: Final = 2**16

NOT_RESUMED: Final = PlainTextResponse(
    "No events are kept to resume from. Make the call again: it is handed its outcome.", 405, {"Allow": "POST"}
)
"""To who asks for the rest of a stream (``Last-Event-ID``): our events have no ids. A stream of its own would leave a
client waiting for ever, and the specification leaves 405 besides."""

NOT_ENDED: Final = PlainTextResponse(
    "A session holds nothing here, and ends by itself when it is not used.", 405, {"Allow": "GET, POST"}
)
"""To who deletes a session: any process opens it anew from its name, so none can end it (2025-11-25, Session
Management: a server may answer 405)."""

_ID, _VERSION = MCP_SESSION_ID_HEADER.encode(), MCP_PROTOCOL_VERSION_HEADER.encode()
_ACCEPT: Final = ((b"accept", b"application/json, text/event-stream"), (b"content-type", b"application/json"))


@dataclass
class _Session:
    """One that this process has open. ``id``: the SDK's; ``busy``: requests that it answers now."""

    id: bytes
    user: User
    used: float
    busy: int = 0

    @property
    def lives(self) -> bool:
        """Whether the SDK has it still."""
        return self.busy > 0 or self.used > time.monotonic() - KEPT


@dataclass
class Sessions:
    """``app``, the SDK's, with sessions that outlive its process. ``key``: the same in each process. ``takes`` is asked
    of what a session's client sends, before the SDK sees it."""

    app: ASGIApp
    key: Secret
    takes: TakesAnswer
    _open: dict[bytes, _Session] = field(default_factory=dict)
    _opening: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self._codec = AESGCMRequestStateCodec([self.key.reveal()])

    async def __call__(self, scope: Scope, receive: Receive, send: Send, user: User) -> None:
        """Answer this user's request."""
        headers = dict(scope["headers"])
        if headers.get(_VERSION, b"").decode("latin-1") in MODERN_PROTOCOL_VERSIONS:
            return await self.app(scope, receive, send)
        given = headers.get(_ID)
        if given is None:
            return await self._begun(scope, receive, send, user)
        if scope["method"] == "POST":
            body, receive = await _read(receive)
            if b'"method"' not in body and await self.takes(body, user):
                return await Response(status_code=202)(scope, receive, send)
        session = await self._of(scope, given, user)
        if session is None:  # or an id that nobody has: the SDK refuses it
            return await self.app(scope, receive, send)
        if scope["method"] == "GET" and LAST_EVENT_ID_HEADER.encode() in headers:
            return await NOT_RESUMED(scope, receive, send)
        if scope["method"] == "DELETE":
            self._open.pop(given, None)
            await self._by_ourselves(_with_id(scope, session.id), "DELETE", b"")
            return await NOT_ENDED(scope, receive, send)
        session.busy += 1
        try:
            await self.app(_with_id(scope, session.id), receive, _renaming(send, given))
        finally:
            session.busy, session.used = session.busy - 1, time.monotonic()

    async def _begun(self, scope: Scope, receive: Receive, send: Send, user: User) -> None:
        """A handshake, or what is refused for want of one."""
        body, again = await _read(receive)
        name = self._sealed(body, user)
        if name is None:
            return await self.app(scope, again, send)
        await self._make_room(scope, user)

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] < 400:
                self._open[name] = _Session(dict(message["headers"])[_ID], user, time.monotonic())
            await _renaming(send, name)(message)

        await self.app(scope, again, named)

    async def _of(self, scope: Scope, name: bytes, user: User) -> _Session | None:
        """The session of this name, opened anew where this process does not know it; None if it is not this user's."""
        async with self._opening:
            if (found := self._open.get(name)) and found.lives:
                return found if found.user == user else None
            said = self._handshake_of(name, user)
            if said is None:
                return None
            await self._make_room(scope, user)
            status, headers = await self._by_ourselves(_with_id(scope, b""), "POST", _message("initialize", said, id=0))
            if status != 200 or _ID not in headers:
                return None
            self._open[name] = _Session(headers[_ID], user, time.monotonic())
            ready = _with_id(scope, headers[_ID])
            await self._by_ourselves(ready, "POST", _message("notifications/initialized"))
            return self._open[name]

    async def _make_room(self, scope: Scope, user: User) -> None:
        """End what this user has not used for the longest time. Whoever comes back to it opens it anew."""
        self._open = {name: one for name, one in self._open.items() if one.lives}
        theirs = [(one.used, name) for name, one in self._open.items() if one.user == user and not one.busy]
        ended = [self._open.pop(name) for _, name in sorted(theirs)[: max(0, len(theirs) - MAX_OF_ONE + 1)]]
        for one in ended:
            await self._by_ourselves(_with_id(scope, one.id), "DELETE", b"")

    async def _by_ourselves(self, scope: Scope, method: str, body: bytes) -> tuple[int, dict[bytes, bytes]]:
        """What the SDK answers to a request that its client did not make: the status, and the headers."""
        found: list[Message] = []
        messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Message:
            return messages.pop() if messages else await asyncio.Future()

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                found.append(message)

        kept = [(name, value) for name, value in scope["headers"] if name in (b"host", b"origin", _ID)]
        await self.app({**scope, "method": method, "headers": [*kept, *_ACCEPT]}, receive, send)
        return found[0]["status"], dict(found[0]["headers"])

    # ------------------------------------------------------------- names

    def _sealed(self, body: bytes, user: User) -> bytes | None:
        """The name of the session that this handshake opens; None where it is none."""
        try:
            said = json.loads(body)
            params = said["params"]
            client, can = params["clientInfo"], params["capabilities"].get("elicitation")
            kept = {
                "protocolVersion": str(params["protocolVersion"])[:20],
                "clientInfo": {"name": str(client["name"])[:100], "version": str(client["version"])[:20]},
                "capabilities": {}
                if can is None
                else {"elicitation": {way: {} for way in ("form", "url") if way in can}},
            }
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return None
        if said.get("method") != "initialize":
            return None
        return self._codec.seal(json.dumps([user.tenant, user.id, kept]).encode()).encode()

    def _handshake_of(self, name: bytes, user: User) -> Mapping[str, Any] | None:
        """What the client of this session has said of itself; None where it is not this user's."""
        try:
            tenant, id, said = json.loads(self._codec.unseal(name.decode("latin-1")))
        except InvalidRequestState:
            return None
        return said if User(id, tenant) == user else None


def _message(method: str, params: Mapping[str, Any] | None = None, **id: int) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "method": method, "params": params or {}, **id}).encode()


def _with_id(scope: Scope, id: bytes) -> Scope:
    """``scope``, as a request in this session of the SDK's; without one, in none."""
    named = [(_ID, id)] if id else []
    return {**scope, "headers": [*(one for one in scope["headers"] if one[0] != _ID), *named]}


def _renaming(send: Send, name: bytes) -> Send:
    """``send``, where the session is called as its client knows it."""

    async def renamed(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [(key, name if key.lower() == _ID else value) for key, value in message["headers"]]
            message = {**message, "headers": headers}
        await send(message)

    return renamed


async def _read(receive: Receive) -> tuple[bytes, Receive]:
    """The first bytes of a body, as many as a handshake or an answer has, and a way to read all from its beginning."""
    body, read = b"", list[Message]()
    while not read or (read[-1].get("more_body") and len(body) <= LONGEST_HANDSHAKE):
        read.append(await receive())
        body += read[-1].get("body", b"")
    left = iter(read)

    async def again() -> Message:
        return next(left, None) or await receive()

    return body, again
