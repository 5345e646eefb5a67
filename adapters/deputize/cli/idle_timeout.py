"""A connection of which something is heard in time: uvicorn's, but that waiting for a request has an end.

uvicorn closes a connection that is idle after a response. One that never asks anything, and one whose request's head
never ends, it keeps for ever, and whoever opens many of those leaves nobody else a file descriptor. A server that ends
closes what has asked nothing yet, though the request may be on its way: a proxy has lost a call then.
"""

from __future__ import annotations

import asyncio
from typing import Final

from uvicorn.protocols.http.h11_impl import H11Protocol

FIRST: Final = 1.0
"""Seconds in which a first request comes, once the server is to end."""


class BoundedConnection(H11Protocol):
    """``timeout_keep_alive`` counts from the connection's begin as well, and until a head is whole."""

    _last = False
    """Whether no request follows the first one."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def data_received(self, data: bytes) -> None:
        waiting, self.timeout_keep_alive_task = self.timeout_keep_alive_task, None
        super().data_received(data)
        if self._last and self.cycle is not None:
            self.cycle.keep_alive = False
        if waiting is None:
            return
        answering = self.cycle is not None and not self.cycle.response_complete
        if answering or self.timeout_keep_alive_task is not None or self.transport.is_closing():
            waiting.cancel()
        else:
            self.timeout_keep_alive_task = waiting

    def shutdown(self) -> None:
        """Called when the server ends: a connection that is new has `FIRST` seconds to ask something, once.

        Called again it changes nothing."""
        if self.cycle is not None:
            super().shutdown()
            return
        if self._last:
            return
        self._last = True
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(FIRST, self.timeout_keep_alive_handler)
