"""Sessions of the protocols before 2026-07-28, valid at every worker and after a restart.

The SDK keeps a session in the process that opened it. Another process does not know its id, and clients fail there. So
a session id contains the client's handshake, encrypted for its user. A process that does not know the session opens it
again with that handshake.

An id is only a name and grants nothing: each request names its user, and for any other user the session does not exist.
The id contains no state of calls. That state is in the vault.
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
"""Records a body that is this user's answer to another worker's question, and returns whether it is; see `forms`."""

MAX_SESSIONS_PER_USER: Final = 100
"""Sessions of one user that a process keeps: some clients open one for each call and never end it."""
SESSION_IDLE_SECONDS: Final = DEFAULT_SESSION_IDLE_TIMEOUT - 60.0
"""Seconds without a request after which a session is opened again, before the SDK ends it."""
MAX_HANDSHAKE_BYTES: Final = 2**16

NOT_RESUMED: Final = PlainTextResponse(
    "Streams cannot be resumed. Make the call again: it returns its outcome.", 405, {"Allow": "POST"}
)
"""The answer to ``Last-Event-ID``: deputize's events have no ids. A new stream would leave the client waiting for ever,
and the specification allows 405."""

NOT_ENDED: Final = PlainTextResponse(
    "Sessions hold no data and expire when they are not used.", 405, {"Allow": "GET, POST"}
)
"""The answer to DELETE: any process can open a session again from its name, so none can end it (2025-11-25, Session
Management: a server may answer 405)."""

_ID, _VERSION = MCP_SESSION_ID_HEADER.encode(), MCP_PROTOCOL_VERSION_HEADER.encode()
_ACCEPT: Final = ((b"accept", b"application/json, text/event-stream"), (b"content-type", b"application/json"))


@dataclass
class _Session:
    """An open session of this process. ``id``: the SDK's. ``busy``: number of requests in progress."""

    id: bytes
    user: User
    used: float
    busy: int = 0

    @property
    def lives(self) -> bool:
        """True if the SDK still has the session."""
        return self.busy > 0 or self.used > time.monotonic() - SESSION_IDLE_SECONDS


@dataclass
class Sessions:
    """The SDK's ``app``, with sessions that outlive its process.

    ``key``: the key of session ids, the same in each process. ``takes``: called with each message before the SDK.
    """

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
        if session is None:  # or an unknown id, which the SDK refuses
            return await self.app(scope, receive, send)
        if scope["method"] == "GET" and LAST_EVENT_ID_HEADER.encode() in headers:
            return await NOT_RESUMED(scope, receive, send)
        if scope["method"] == "DELETE":
            self._open.pop(given, None)
            await self._send_request(_with_id(scope, session.id), "DELETE", b"")
            return await NOT_ENDED(scope, receive, send)
        session.busy += 1
        try:
            await self.app(_with_id(scope, session.id), receive, _renaming(send, given))
        finally:
            session.busy, session.used = session.busy - 1, time.monotonic()

    async def _begun(self, scope: Scope, receive: Receive, send: Send, user: User) -> None:
        """Answer a handshake, or pass on a request without a session."""
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
        """Return the session with this name, opened again if this process does not know it; None unless it is this
        user's."""
        async with self._opening:
            if (found := self._open.get(name)) and found.lives:
                return found if found.user == user else None
            said = self._handshake_of(name, user)
            if said is None:
                return None
            await self._make_room(scope, user)
            status, headers = await self._send_request(_with_id(scope, b""), "POST", _message("initialize", said, id=0))
            if status != 200 or _ID not in headers:
                return None
            self._open[name] = _Session(headers[_ID], user, time.monotonic())
            ready = _with_id(scope, headers[_ID])
            await self._send_request(ready, "POST", _message("notifications/initialized"))
            return self._open[name]

    async def _make_room(self, scope: Scope, user: User) -> None:
        """End this user's least recently used sessions above the limit. Their next use opens them again."""
        self._open = {name: one for name, one in self._open.items() if one.lives}
        theirs = [(one.used, name) for name, one in self._open.items() if one.user == user and not one.busy]
        ended = [self._open.pop(name) for _, name in sorted(theirs)[: max(0, len(theirs) - MAX_SESSIONS_PER_USER + 1)]]
        for one in ended:
            await self._send_request(_with_id(scope, one.id), "DELETE", b"")

    async def _send_request(self, scope: Scope, method: str, body: bytes) -> tuple[int, dict[bytes, bytes]]:
        """Return the SDK's status and headers for a request that the client did not make."""
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
        """Return the name of the session that this handshake opens, or None if it is not a handshake."""
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
        """Return the handshake of this session, or None unless it is this user's."""
        try:
            tenant, id, said = json.loads(self._codec.unseal(name.decode("latin-1")))
        except InvalidRequestState:
            return None
        return said if User(id, tenant) == user else None


def _message(method: str, params: Mapping[str, Any] | None = None, **id: int) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "method": method, "params": params or {}, **id}).encode()


def _with_id(scope: Scope, id: bytes) -> Scope:
    """Return the scope as a request in this session of the SDK's. An empty id means no session."""
    named = [(_ID, id)] if id else []
    return {**scope, "headers": [*(one for one in scope["headers"] if one[0] != _ID), *named]}


def _renaming(send: Send, name: bytes) -> Send:
    """Return ``send`` with the SDK's session id replaced by the client's."""

    async def renamed(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [(key, name if key.lower() == _ID else value) for key, value in message["headers"]]
            message = {**message, "headers": headers}
        await send(message)

    return renamed


async def _read(receive: Receive) -> tuple[bytes, Receive]:
    """Return the first bytes of a body, enough for a handshake or an answer, and a ``receive`` that starts over."""
    body, read = b"", list[Message]()
    while not read or (read[-1].get("more_body") and len(body) <= MAX_HANDSHAKE_BYTES):
        read.append(await receive())
        body += read[-1].get("body", b"")
    left = iter(read)

    async def again() -> Message:
        return next(left, None) or await receive()

    return body, again
