"""Users on LlamaIndex's workflow server, which itself knows none: whoever reaches it lists, reads and answers all runs.

    server = WorkflowServer(middleware=[Middleware(UserMiddleware, authenticate=session_user)])
    server.add_workflow("mail", agent, additional_events=EVENTS)

``authenticate`` is the host's: from a request to the user it comes from, or None. Each run a client starts is given a
handler id that begins with a digest of its user, and every path that names a handler is refused to others as if there
were none, so nothing has to be kept. A list of all handlers and a ``context`` sent by a client are refused. The digest
is no secret: it is compared with that of the user who asks. Paths that LlamaIndex may add later are refused.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from deputize.adapters.llamaindex.host import SERVED
from deputize.core import AnyUser, User, UserRequired

__all__ = ["UserMiddleware", "handler_prefix"]

Authenticate: TypeAlias = Callable[[Request], AnyUser | Awaitable[AnyUser]]

OF_A_HANDLER: Final = ("results", "events", "handlers")
READ_ONLY: Final = ("schema", "representation", "events")
RUNS: Final = ("run", "run-nowait")

log = logging.getLogger("deputize.adapters.llamaindex")


def handler_prefix(user: User | str) -> str:
    """How the ids of this user's handlers begin, up to and with the dot."""
    who = User.of(user)
    return hashlib.sha256(f"{who.tenant}\0{who.id}".encode()).hexdigest()[:32] + "."


class UserMiddleware:
    """Each request has a user, and reaches this user's own runs only; see the top of this module."""

    def __init__(self, app: ASGIApp, authenticate: Authenticate) -> None:
        self.app, self.authenticate = app, authenticate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the start and end of the server. A WebSocket is closed: the server has none."""
        if scope["type"] == "lifespan" or _parts(scope) == ["health"]:
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await self._request(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            said = self.authenticate(request)
            user = User.of(await said if inspect.isawaitable(said) else said)
        except UserRequired:
            return await _refusal(401, "Sign in first.")(scope, receive, send)
        except HTTPException as refused:  # no handler of the server's would see it out here
            return await _refusal(refused.status_code, "Refused.")(scope, receive, send)
        except Exception as error:  # the server would send its text to the client
            log.warning("authenticate failed: %s", type(error).__name__)
            return await _refusal(500, "Nobody could be signed in.")(scope, receive, send)
        found = await _allowed(request, user)
        if isinstance(found, JSONResponse):
            return await found(scope, receive, send)
        token = SERVED.set(user)
        try:
            await self.app(*(_with_body(scope, receive, found) if found is not None else (scope, receive)), send)
        finally:
            SERVED.reset(token)


async def _allowed(request: Request, user: User) -> JSONResponse | bytes | None:
    """The refusal of this request; or its body, where another is to be put in its place; or None to let it pass."""
    match _parts(request.scope):
        case ["workflows"]:
            return None
        case ["workflows", _, one] if one in READ_ONLY and request.method == "GET":
            return None
        case ["workflows", _, one] if one in RUNS and request.method == "POST":
            return await _run_of(request, user)
        case [one, handler, *_] if one in OF_A_HANDLER and handler.startswith(handler_prefix(user)):
            return None
        case [one, _, *_] if one in OF_A_HANDLER:
            return _refusal(404, "Handler not found")
        case _:
            return _refusal(403, "Not served to users.")


async def _run_of(request: Request, user: User) -> JSONResponse | bytes:
    """The body of a request to run, with a handler of this user; a client may name one of theirs, to go on with it."""
    try:
        body: Any = json.loads(await request.body() or b"{}")
    except (ValueError, RecursionError):
        return _refusal(400, "The body is no JSON.")
    if not isinstance(body, dict):
        return _refusal(400, "The body is no JSON object.")
    if body.get("context"):
        return _refusal(403, "A run's context is not taken from a client.")
    handler = body.get("handler_id") or handler_prefix(user) + secrets.token_urlsafe(12)
    if not isinstance(handler, str) or not handler.startswith(handler_prefix(user)):
        return _refusal(404, "Handler not found")
    return json.dumps({**body, "handler_id": handler}).encode()


def _with_body(scope: Scope, receive: Receive, body: bytes) -> tuple[Scope, Receive]:
    """The same request with another body."""
    kept = [(name, value) for name, value in scope["headers"] if name.lower() != b"content-length"]
    headers, waiting = [*kept, (b"content-length", str(len(body)).encode())], [body]

    async def replayed() -> Any:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return await receive()

    return {**scope, "headers": headers}, replayed


def _parts(scope: Scope) -> list[str]:
    """The parts of a request's path, below where the server is mounted."""
    path, root = scope.get("path", ""), scope.get("root_path", "")
    below = path[len(root) :] if root and path.startswith(root) else path
    return [part for part in below.split("/") if part]


def _refusal(status: int, why: str) -> JSONResponse:
    return JSONResponse({"detail": why}, status_code=status)
