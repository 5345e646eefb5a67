"""A web server on this machine only, inside your process, with guards against DNS rebinding and other accounts.

Every account of the machine can reach a server on loopback. Linux reports the account that opened a connection. If it
is unknown (another system, another namespace), the request is accepted, and only links and their cookies protect the
pages. root is always accepted, because root could read the vault as well.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import socket
import struct
import time
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from deputize.core.errors import SettingsError
from deputize.core.web.security_headers import plain_headers

if TYPE_CHECKING:
    import uvicorn
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_MAX_HEAD: Final = 2**17
"""Limit of a request's head, in bytes."""
_GRACE: Final = 4
"""Seconds for answers that are under way at the end: on a busy machine the page that says "connected" took longer than
one, and its user read of an internal error."""
_FOLLOW: Final = 2
"""Seconds in which a browser follows a redirect, on a busy machine too."""
_FAMILY: Final = {"127.0.0.1": socket.AF_INET, "::1": socket.AF_INET6}
_TABLES: Final = {4: "/proc/net/tcp", 16: "/proc/net/tcp6"}
_NOBODY: Final = -1


@asynccontextmanager
async def serve(app: ASGIApp, port: int = 0, host: str = "127.0.0.1") -> AsyncIterator[str]:
    """Serve ``app`` over http on the running loop, and yield the base URL: ``http://127.0.0.1:49152``.

    ``port`` 0 takes any free one. Your program's signal handlers and logging stay unchanged. There is no access log,
    which would show the ``code`` and ``state`` of callbacks. Raises `SettingsError` if the port is taken, the address
    is not a loopback one, or uvicorn is missing.
    """
    with _listen(host, port) as sock:
        server = _server(app)
        task = asyncio.create_task(server.serve(sockets=[sock]))
        try:
            while not server.started:
                if task.done():
                    task.result()
                    raise _startup_error()
                await asyncio.sleep(0.005)
            name = f"[{host}]" if ":" in host else host
            yield f"http://{name}:{sock.getsockname()[1]}"
        finally:
            server.should_exit = True
            await asyncio.shield(task)


def _listen(host: str, port: int) -> socket.socket:
    if host not in _FAMILY:
        raise SettingsError(
            "The local web server is for this machine only.",
            hint="Let it listen on 127.0.0.1 or ::1. For other machines, mount the application in a web server.",
        )
    sock = socket.socket(_FAMILY[host])
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen()  # here, because a taken port is an OSError; uvicorn would end the process
    except OSError as error:
        sock.close()
        raise unusable_port(host, port, error, "DEPUTIZE_PORT") from None
    return sock


def unusable_port(host: str, port: int, error: OSError, setting: str) -> SettingsError:
    """Return the error for a port that cannot be listened on. ``setting``: what names the port."""
    why = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
    return SettingsError(
        f"Port {port} on {host} {why}.",
        hint=f"End the program that listens there, or set {setting} to another one.",
    )


def _startup_error() -> SettingsError:
    return SettingsError("The local web server did not start: the application's own start-up failed.")


def _server(app: ASGIApp) -> uvicorn.Server:
    try:
        import uvicorn
    except ImportError:
        raise SettingsError("uvicorn is missing.", hint='pip install "deputize[web]"') from None

    class Loopback(uvicorn.Server):
        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield  # Ctrl-C belongs to the surrounding program

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            try:
                await super().startup(sockets)
            except SystemExit:  # in a task it would end the surrounding program
                raise _startup_error() from None

    return Loopback(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            ws="none",
            http="h11",  # httptools, where it is installed, has no bound for the head of a request
            h11_max_incomplete_event_size=_MAX_HEAD,
            proxy_headers=False,
            timeout_graceful_shutdown=_GRACE,
        )
    )


def require_host(app: ASGIApp, hosts: Collection[str]) -> ASGIApp:
    """Return ``app``, answering 400 to a request whose Host is none of ``hosts``: names, or names with a port.

    A foreign page can point its own name to 127.0.0.1 and read these pages as its own (DNS rebinding). But then the
    Host is the foreign name. A name without a port matches every port.
    """
    ours = frozenset(host.lower() for host in hosts)

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or _asks_for(scope, ours):
            await app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await send({"type": "http.response.start", "status": 400, "headers": plain_headers()})
            await send({"type": "http.response.body", "body": b"This address is not served here."})

    return guarded


def redirect_localhost(app: ASGIApp, path: str) -> ASGIApp:
    """Return ``app``, with GETs at ``localhost`` redirected to this server's address if the path matches ``path``.

    Some providers redirect browsers to loopback only under the name ``localhost``, where the pages' cookies are not
    sent. ``path`` is a pattern. The query stays the same. The target comes from the socket, never from the request.
    ``app`` gets all other requests.
    """
    ours, plain = re.compile(path.encode()), re.compile(rb"[!-~]{0,16384}")

    async def handed_on(scope: Scope, receive: Receive, send: Send) -> None:
        target = b""
        if scope["type"] == "http" and scope["method"] == "GET" and _is_asked_as(scope, "localhost"):
            raw, query = scope.get("raw_path") or b"", scope["query_string"]
            if ours.fullmatch(raw) and plain.fullmatch(query):
                target = _address(scope).encode() + raw + (b"?" + query if query else b"")
        if not target:
            return await app(scope, receive, send)
        headers = plain_headers((b"location", target), (b"referrer-policy", b"no-referrer"), (b"content-length", b"0"))
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    return handed_on


def _is_asked_as(scope: Scope, name: str) -> bool:
    """Return True if the request names this host, with the port on which it arrived."""
    asked = [value.decode("latin-1").lower() for key, value in scope["headers"] if key == b"host"]
    return asked == [f"{name}:{scope['server'][1]}"]


def _address(scope: Scope) -> str:
    host, port = scope["server"]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _asks_for(scope: Scope, ours: frozenset[str]) -> bool:
    asked = [value.decode("latin-1").lower() for name, value in scope["headers"] if name == b"host"]
    if len(asked) != 1:
        return False
    name, colon, port = asked[0].rpartition(":")
    return asked[0] in ours or (bool(colon) and port.isdigit() and name in ours)


class OpenRedirects:
    """``app``, and the redirects to itself which browsers have not followed yet.

    The server stops when the consent has arrived, and at that moment the page that says so is one redirect away.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._answering = 0
        self._awaited: dict[str, float] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 303:
                target = urlsplit(dict(message["headers"]).get(b"location", b"").decode("latin-1"))
                if target.netloc in ("", dict(scope["headers"]).get(b"host", b"").decode("latin-1")):
                    self._awaited[target.path] = time.monotonic() + _FOLLOW
            await send(message)

        self._awaited.pop(scope["path"], None)
        self._answering += 1
        try:
            await self._app(scope, receive, noted)
        finally:
            self._answering -= 1

    async def followed(self) -> None:
        """Wait for the answers that are under way and for the redirects, for a few seconds at most."""
        end = time.monotonic() + _GRACE
        while self._is_awaited() and time.monotonic() < end:  # noqa: ASYNC110  # a redirect also expires
            await asyncio.sleep(0.01)

    def _is_awaited(self) -> bool:
        return bool(self._answering) or any(time.monotonic() < until for until in self._awaited.values())


def require_own_account(app: ASGIApp) -> ASGIApp:
    """Return ``app``, answering 403 to requests of other accounts of this machine, except root."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope.get("client"):
            return await app(scope, receive, send)
        account = await asyncio.to_thread(connection_uid, scope["client"], scope["server"])  # the table may be long
        if account is None or account in (0, os.geteuid()):
            return await app(scope, receive, send)
        await send({"type": "http.response.start", "status": 403, "headers": plain_headers()})
        said = (
            f"This address is served for another account of this machine (uid {os.geteuid()}), and for that one only."
        )
        await send({"type": "http.response.body", "body": said.encode()})

    return guarded


def connection_uid(client: tuple[str, int], server: tuple[str, int]) -> int | None:
    """Return the uid of the process at this end of a connection, by address and port, or None if unknown.

    Source: proc(5), ``/proc/net/tcp``. A connection whose process has ended has the uid -1.
    """
    try:
        ends = _format_end(client), _format_end(server)
        with open(_TABLES[len(_pack_address(client[0]))], encoding="ascii") as table:
            rows = table.read()
    except (OSError, ValueError):
        return None
    at = rows.find(f": {ends[0]} {ends[1]} ")
    if at < 0:
        return None
    fields = rows[at + 2 : rows.find("\n", at)].split()
    return int(fields[6]) if fields[8] != "0" else _NOBODY


def _format_end(end: tuple[str, int]) -> str:
    """Return an address and a port in the form of ``/proc/net/tcp``: hexadecimal words in the machine's byte order."""
    packed = _pack_address(end[0])
    words = struct.unpack(f">{len(packed) // 4}I", packed)
    return "".join(f"{struct.unpack('=I', struct.pack('>I', word))[0]:08X}" for word in words) + f":{end[1]:04X}"


def _pack_address(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
