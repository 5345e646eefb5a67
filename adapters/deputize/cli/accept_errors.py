"""Rate limit for asyncio's log of failed accepts when no file descriptor is left.

asyncio logs the error two thousand times in a row, and again a second later. It logs as many errors if the socket was
closed in between. Without a limit, anyone who opens many connections would fill the disk with logs and slow down the
accepted connections.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, Final

LOG_INTERVAL_SECONDS: Final = 10.0
"""Seconds between two log lines."""
_LACKING: Final = "socket.accept() out of system resource"
_TRIES_AGAIN: Final = "._start_serving("

log = logging.getLogger("deputize")


def rate_limit_accept_errors(loop: asyncio.AbstractEventLoop) -> None:
    """Rate-limit these errors in this event loop. Other errors go to the previous handler."""
    before, said = loop.get_exception_handler(), float("-inf")

    def handled(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        nonlocal said
        message, error = str(context.get("message")), context.get("exception")
        if message == _LACKING:
            if time.monotonic() >= said + LOG_INTERVAL_SECONDS:
                said = time.monotonic()
                log.error("New connections must wait, because no file descriptor is left: %s", error)
        elif isinstance(error, ValueError) and _TRIES_AGAIN in message:
            pass  # the listening socket was closed
        elif before:
            before(loop, context)
        else:
            loop.default_exception_handler(context)

    loop.set_exception_handler(handled)
