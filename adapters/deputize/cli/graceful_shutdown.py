"""How a server ends that others take over from: first its balancer is told, then its calls end, then it does.

SIGTERM   /readyz says 503, and all is served as before, for `drain` seconds: until balancers have noticed
then      no connection is taken any more; one that the system has let in by then may still ask, once
and       streams without an end are closed, so that their clients go elsewhere
then      what is being answered is answered, within `GRACE` seconds; what has begun to write ends in any case
SIGHUP    the same: the terminal is closed; under nohup it is ignored
Ctrl-C    the same without the first step; a second one waits for nothing
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

GRACE: Final = 20
"""Seconds that calls may take to end."""
PATIENCE: Final = 3.0
"""Seconds in which a process that has no descriptor left waits for some, for whoever it has not met yet."""
_MAX_CONNECTIONS: Final = 5000
"""Connections that are met at once; the system keeps no more waiting, as it comes."""
_LACKING: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_GONE: Final = {
    getattr(errno, name, errno.ECONNABORTED)
    for name in "ECONNABORTED EINTR EPROTO ENETDOWN ENETUNREACH EHOSTDOWN EHOSTUNREACH ENONET ENOPROTOOPT".split()
}
"""What is wrong with a connection that had come, not with the door: accept(2)."""

log = logging.getLogger("deputize")


class Leaving:
    """A process on its way out. ``told`` is called when its end is known, ``over`` when it stops serving."""

    def __init__(self, told: Callable[[], None], over: Callable[[], None]) -> None:
        self.told, self._over, self._gone = told, over, asyncio.Event()

    def stop(self) -> None:
        """Nothing new is served from here on."""
        self._over()
        self._gone.set()

    def closing_streams(self, app: ASGIApp) -> ASGIApp:
        """``app``, in which a GET, a stream for as long as its client likes, is over when the process stops serving.

        To the application it looks as if the client had hung up; the client sees an end, and comes to another process.
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
    """uvicorn, which ends as above. ``drain``: seconds."""

    def __init__(self, config: uvicorn.Config, leaving: Leaving, drain: float) -> None:
        super().__init__(config)
        self._leaving, self._drain, self._until = leaving, drain, float("inf")

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """While it serves. The handlers are functions: where they are a server's methods, sse-starlette takes them for
        the order to cut off all streams, and calls of the older MCP protocols are answered in streams."""

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
        """Open the door; to have more come than can be met is no reason to do nothing but say so."""
        rate_limit_accept_errors(asyncio.get_running_loop())
        await super().startup(sockets)

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether to stop serving."""
        self.should_exit = self.should_exit or time.monotonic() >= self._until
        over = await super().on_tick(counter)
        if over:
            self._leaving.stop()
        return over

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Shut the door behind whoever the system has let in: a proxy takes its call for sent, and sends it once."""
        doors = [door for server in self.servers for door in server.sockets]
        await _unwatched(doors)
        late, until = list[socket.socket](), time.monotonic() + PATIENCE
        while not all([_met(door, late) for door in doors]):
            if self.force_exit or time.monotonic() > until:
                log.warning("The server ends without file descriptors for some who had come; they have to ask again.")
                break
            await self._begin(late)
            for connection in list(self.server_state.connections):
                cast(BoundedConnection, connection).shutdown()  # what ends gives its descriptor back
            await asyncio.sleep(0.05)
        await _unwatched(doors)
        for server in self.servers:
            server.close()
        await self._begin(late)
        await super().shutdown(sockets)

    async def _begin(self, late: list[socket.socket]) -> None:
        """Hear what they ask; ``late`` is empty after it."""
        while late:
            who = late.pop(0)
            try:
                await asyncio.get_running_loop().connect_accepted_socket(self._connection, who)
            except OSError:  # hung up meanwhile
                who.close()

    def _connection(self) -> asyncio.Protocol:
        kind = cast("type[BoundedConnection]", self.config.http_protocol_class)
        return kind(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)


async def _unwatched(doors: Sequence[socket.socket]) -> None:
    """Keep asyncio from its doors; it comes back to them where descriptors were lacking a second ago. Who was met there
    becomes a connection, which takes two steps."""
    for _ in range(2):
        for door in doors:
            asyncio.get_running_loop().remove_reader(door)
        await asyncio.sleep(0)


def _met(door: socket.socket, late: list[socket.socket]) -> bool:
    """Add whoever has come to it and was not met. Whether that is everybody: False while no descriptor is left."""
    same = socket.socket(
        fileno=door.fileno()
    )  # what asyncio hands out cannot accept, and a copy is one more descriptor
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
                    log.warning("The server ends, and cannot meet who has come: %s", e)
                    return True
        return False
    finally:
        same.detach()
