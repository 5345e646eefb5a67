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
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final, cast

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deputize.cli.connections import BoundedConnection

GRACE: Final = 20
"""Seconds that calls may take to end."""


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

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether to stop serving."""
        self.should_exit = self.should_exit or time.monotonic() >= self._until
        over = await super().on_tick(counter)
        if over:
            self._leaving.stop()
        return over

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Shut the door behind whoever the system has let in: a proxy takes its call for sent, and sends it once."""
        loop, doors = asyncio.get_running_loop(), [door for server in self.servers for door in server.sockets]
        for door in doors:
            loop.remove_reader(door)
        for _ in range(2):  # who was met at the door becomes a connection, which asyncio does in two steps
            await asyncio.sleep(0)
        late = [who for door in doors for who in _before(door)]
        for server in self.servers:
            server.close()
        for who in late:
            await loop.connect_accepted_socket(self._connection, who)
        await super().shutdown(sockets)

    def _connection(self) -> asyncio.Protocol:
        kind = cast("type[BoundedConnection]", self.config.http_protocol_class)
        return kind(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)


def _before(door: socket.socket) -> Iterator[socket.socket]:
    """Whoever has come to it and was not met."""
    with door.dup() as same, suppress(BlockingIOError):
        same.setblocking(False)
        while True:
            yield same.accept()[0]
