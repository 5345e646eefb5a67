"""Users on LlamaIndex's workflow server, which has no users: every client can list, read and answer all runs.

    server = WorkflowServer(middleware=[Middleware(UserMiddleware, authenticate=session_user)])
    server.add_workflow("mail", agent, additional_events=EVENTS)

``authenticate`` is your function from a request to its user, or None. Each run that a client starts gets a handler id
that begins with a digest of its user. A path with another user's handler gets the response for a missing handler, so
nothing has to be stored. A list of all handlers, and a ``context`` sent by a client, are refused. The digest is not
secret: it is compared with the digest of the requesting user. Paths that LlamaIndex may add later are refused.
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
    """Return the beginning of this user's handler ids, including the dot."""
    who = User.of(user)
    return hashlib.sha256(f"{who.tenant}\0{who.id}".encode()).hexdigest()[:32] + "."


class UserMiddleware:
    """ASGI middleware that gives each request a user, and access only to this user's runs; see the module docstring."""

    def __init__(self, app: ASGIApp, authenticate: Authenticate) -> None:
        self.app, self.authenticate = app, authenticate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass on the server's start and end. A WebSocket is closed: the server has none."""
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
        except HTTPException as refused:  # the server's error handlers do not see it here
            return await _refusal(refused.status_code, "Refused.")(scope, receive, send)
        except Exception as error:  # the server would send the error's text to the client
            log.warning("authenticate failed: %s", type(error).__name__)
            return await _refusal(500, "The sign-in failed.")(scope, receive, send)
        found = await _allowed(request, user)
        if isinstance(found, JSONResponse):
            return await found(scope, receive, send)
        token = SERVED.set(user)
        try:
            await self.app(*(_with_body(scope, receive, found) if found is not None else (scope, receive)), send)
        finally:
            SERVED.reset(token)


async def _allowed(request: Request, user: User) -> JSONResponse | bytes | None:
    """Return a refusal of this request, its replaced body, or None to pass it on."""
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
            return _refusal(403, "This path is not available to users.")


async def _run_of(request: Request, user: User) -> JSONResponse | bytes:
    """Return the body of a request to run, with a handler id of this user. A client may name its own handler, to
    continue with it."""
    try:
        body: Any = json.loads(await request.body() or b"{}")
    except (ValueError, RecursionError):
        return _refusal(400, "The body is not JSON.")
    if not isinstance(body, dict):
        return _refusal(400, "The body is not a JSON object.")
    if body.get("context"):
        return _refusal(403, "A client may not send a run's context.")
    handler = body.get("handler_id") or handler_prefix(user) + secrets.token_urlsafe(12)
    if not isinstance(handler, str) or not handler.startswith(handler_prefix(user)):
        return _refusal(404, "Handler not found")
    return json.dumps({**body, "handler_id": handler}).encode()


def _with_body(scope: Scope, receive: Receive, body: bytes) -> tuple[Scope, Receive]:
    """Return the same request with another body."""
    kept = [(name, value) for name, value in scope["headers"] if name.lower() != b"content-length"]
    headers, waiting = [*kept, (b"content-length", str(len(body)).encode())], [body]

    async def replayed() -> Any:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return await receive()

    return {**scope, "headers": headers}, replayed


def _parts(scope: Scope) -> list[str]:
    """Return the parts of a request's path, relative to the server's mount point."""
    path, root = scope.get("path", ""), scope.get("root_path", "")
    below = path[len(root) :] if root and path.startswith(root) else path
    return [part for part in below.split("/") if part]


def _refusal(status: int, why: str) -> JSONResponse:
    return JSONResponse({"detail": why}, status_code=status)
