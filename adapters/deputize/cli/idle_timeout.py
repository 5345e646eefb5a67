"""A uvicorn connection with a timeout for requests that never come or never end.

uvicorn closes a connection that is idle after a response, but keeps one that never sends a request, or never finishes
the head of a request. Anyone who opens many of those takes all file descriptors. At shutdown uvicorn also closes a
connection whose first request may be on its way, so that a proxy would lose a call.
"""

from __future__ import annotations

import asyncio
from typing import Final

from uvicorn.protocols.http.h11_impl import H11Protocol

FIRST_REQUEST_TIMEOUT_SECONDS: Final = 1.0
"""Seconds to wait for a first request at shutdown."""


class BoundedConnection(H11Protocol):
    """An HTTP connection whose ``timeout_keep_alive`` also counts from its start, and until a head is complete."""

    _last = False
    """Whether the first request is the last one."""

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
        """Give a new connection `FIRST_REQUEST_TIMEOUT_SECONDS` for one request. Further calls change nothing."""
        if self.cycle is not None:
            super().shutdown()
            return
        if self._last:
            return
        self._last = True
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(
            FIRST_REQUEST_TIMEOUT_SECONDS, self.timeout_keep_alive_handler
        )
