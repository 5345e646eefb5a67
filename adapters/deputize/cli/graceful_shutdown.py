"""Graceful shutdown of a server: it tells its load balancer, finishes its calls, then ends.

SIGTERM   /readyz returns 503 for `drain` seconds, so that balancers notice; everything is still served
then      no new connection is accepted; one that the system has accepted by then may send one request
and       endless streams are closed, so that their clients reconnect elsewhere
then      calls in progress are answered, within `CALLS_TIMEOUT_SECONDS`; a write that has begun is always finished
SIGHUP    the same: the terminal was closed; under nohup it is ignored
Ctrl-C    the same without the first step; a second one ends the process at once
"""

from __future__ import annotations

import asyncio
import errno
import logging
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Final, cast

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deputize.cli.accept_errors import rate_limit_accept_errors
from deputize.cli.idle_timeout import BoundedConnection
from deputize.core.web.local.server import unusable_port

CALLS_TIMEOUT_SECONDS: Final = 20
"""Seconds that calls in progress may take."""
DESCRIPTOR_TIMEOUT_SECONDS: Final = 3.0
"""Seconds for which a process without file descriptors waits for some, to accept the connections that wait."""
_MAX_CONNECTIONS: Final = 5000
"""Connections accepted at once; by default, the system queues no more."""
_LACKING: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_GONE: Final = {
    getattr(errno, name, errno.ECONNABORTED)
    for name in "ECONNABORTED EINTR EPROTO ENETDOWN ENETUNREACH EHOSTDOWN EHOSTUNREACH ENONET ENOPROTOOPT".split()
}
"""Errors of one waiting connection, not of the listening socket: accept(2)."""

log = logging.getLogger("deputize")


class Leaving:
    """The shutdown of a process. ``told``: called at its beginning. ``over``: called when the process stops serving."""

    def __init__(self, told: Callable[[], None], over: Callable[[], None]) -> None:
        self.told, self._over, self._gone = told, over, asyncio.Event()

    def stop(self) -> None:
        """Stop serving new requests."""
        self._over()
        self._gone.set()

    def closing_streams(self, app: ASGIApp) -> ASGIApp:
        """Return ``app`` with its endless GET streams closed when the process stops serving.

        The application sees a disconnected client. The client sees the end of the stream, and connects to another
        process.
        """

        async def closed(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http" or scope["method"] != "GET":
                return await app(scope, receive, send)

            open_yet = False

            async def sent(message: Message) -> None:
                nonlocal open_yet
                open_yet = message["type"] == "http.response.start" or message.get("more_body", False)
                await send(message)

            async def received() -> Message:
                asked, gone = asyncio.ensure_future(receive()), asyncio.ensure_future(self._gone.wait())
                try:
                    done, _ = await asyncio.wait({asked, gone}, return_when=asyncio.FIRST_COMPLETED)
                    return asked.result() if asked in done else {"type": "http.disconnect"}
                finally:
                    asked.cancel()
                    gone.cancel()

            await app(scope, received, sent)
            if open_yet:
                await send({"type": "http.response.body", "body": b""})

        return closed


class LeavingServer(uvicorn.Server):
    """A uvicorn server with a graceful shutdown. ``drain``: seconds."""

    def __init__(self, config: uvicorn.Config, leaving: Leaving, drain: float) -> None:
        super().__init__(config)
        self._leaving, self._drain, self._until = leaving, drain, float("inf")

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals while the server runs.

        The handlers are plain functions, because sse-starlette reads a server's methods as the order to cut all
        streams, in which calls of the older MCP protocols are answered.
        """

        def terminated(number: int, frame: FrameType | None) -> None:
            self._leaving.told()
            self._until = min(self._until, time.monotonic() + self._drain)

        def interrupted(number: int, frame: FrameType | None) -> None:
            self._leaving.told()
            self.force_exit, self.should_exit = self.should_exit, True

        handlers = {signal.SIGTERM: terminated, signal.SIGINT: interrupted}
        if signal.getsignal(hangup := getattr(signal, "SIGHUP", signal.SIGTERM)) is not signal.SIG_IGN:
            handlers[hangup] = terminated
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening, with rate-limited logs of failed accepts. Raises `SettingsError` if the port is taken.

        uvicorn would end the process instead, with the reason in a log that this program silences.
        """
        rate_limit_accept_errors(asyncio.get_running_loop())
        try:
            await super().startup(sockets)
        except SystemExit as ended:
            if not isinstance(error := ended.__context__, OSError):
                raise
            raise unusable_port(self.config.host, self.config.port, error, "--http") from None

    async def on_tick(self, counter: int) -> bool:
        """Return whether to stop serving. Called ten times a second."""
        self.should_exit = self.should_exit or time.monotonic() >= self._until
        over = await super().on_tick(counter)
        if over:
            self._leaving.stop()
        return over

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening. First takes over the connections that the system has already accepted, because a proxy does
        not repeat a call that it sent on one of them."""
        doors = [door for server in self.servers for door in server.sockets]
        await _remove_readers(doors)
        late, until = list[socket.socket](), time.monotonic() + DESCRIPTOR_TIMEOUT_SECONDS
        while not all([_accept_waiting(door, late) for door in doors]):
            if self.force_exit or time.monotonic() > until:
                log.warning(
                    "The server ends without file descriptors for some waiting connections; their clients must retry."
                )
                break
            await self._begin(late)
            for connection in list(self.server_state.connections):
                cast(BoundedConnection, connection).shutdown()  # a closed connection frees its descriptor
            await asyncio.sleep(0.05)
        await _remove_readers(doors)
        for server in self.servers:
            server.close()
        await self._begin(late)
        await super().shutdown(sockets)

    async def _begin(self, late: list[socket.socket]) -> None:
        """Serve the accepted connections in ``late``, and empty the list."""
        while late:
            who = late.pop(0)
            try:
                await asyncio.get_running_loop().connect_accepted_socket(self._connection, who)
            except OSError:  # the client has hung up
                who.close()

    def _connection(self) -> asyncio.Protocol:
        kind = cast("type[BoundedConnection]", self.config.http_protocol_class)
        return kind(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)


async def _remove_readers(doors: Sequence[socket.socket]) -> None:
    """Remove asyncio's readers of the listening sockets, which it adds again a second after it lacked descriptors.

    Connections accepted there are set up in two steps of the loop.
    """
    for _ in range(2):
        for door in doors:
            asyncio.get_running_loop().remove_reader(door)
        await asyncio.sleep(0)


def _accept_waiting(door: socket.socket, late: list[socket.socket]) -> bool:
    """Accept all waiting connections into ``late``. Return False if no descriptor is left for the rest."""
    same = socket.socket(fileno=door.fileno())  # asyncio's socket cannot accept, and a copy needs a descriptor
    try:
        same.setblocking(False)
        for _ in range(_MAX_CONNECTIONS):
            try:
                late.append(same.accept()[0])
            except BlockingIOError:
                return True
            except OSError as e:
                if e.errno in _LACKING:
                    return False
                if e.errno not in _GONE:
                    log.warning("The server ends, and cannot accept waiting connections: %s", e)
                    return True
        return False
    finally:
        same.detach()
