"""A door at which more come than there are file descriptors for: said now and then, not each time it is so.

asyncio says it two thousand times in a row, tries as often a second later, and where the door was shut meanwhile fails
as often: whoever opens many connections would fill a disk, and leave no time for those who are in.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, Final

PAUSE: Final = 10.0
"""Seconds from one time of saying it to the next."""
_LACKING: Final = "socket.accept() out of system resource"
_TRIES_AGAIN: Final = "._start_serving("

log = logging.getLogger("deputize")


def rate_limit_accept_errors(loop: asyncio.AbstractEventLoop) -> None:
    """Let this event loop do so. What else it has to say goes where it went before."""
    before, said = loop.get_exception_handler(), float("-inf")

    def handled(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        nonlocal said
        message, error = str(context.get("message")), context.get("exception")
        if message == _LACKING:
            if time.monotonic() >= said + PAUSE:
                said = time.monotonic()
                log.error("Whoever comes has to wait, for there is no file descriptor left: %s", error)
        elif isinstance(error, ValueError) and _TRIES_AGAIN in message:
            pass  # the door was shut
        elif before:
            before(loop, context)
        else:
            loop.default_exception_handler(context)

    loop.set_exception_handler(handled)
