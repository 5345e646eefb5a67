"""Requests whose reply must not be lost: a refresh that rotates its token, a code that is valid for one try.

These requests continue if their caller is cancelled. ``close()``, the end of ``with`` and Python's exit wait for them
(`deputize.core.background_loop`). If a signal kills the process at once, the reply is lost: see `exit_on_sigterm`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from types import FrameType
from typing import Any, Final, TypeVar

from deputize.core.background_loop import portal
from deputize.core.errors import InvalidInput

T = TypeVar("T")

CLOSE_TIMEOUT_SECONDS: Final = 20.0
"""Seconds that closing a deputy waits for requests in flight."""
TERMINATED: Final = 128 + signal.SIGTERM
"""Exit code of a process that SIGTERM ended, as shells report it."""
RETRY_SECONDS: Final = 0.02
"""Seconds after which SIGTERM is sent again if Python has dropped the exception: the callback has ended by then."""


class InFlight:
    """The requests in flight of one deputy. Any event loop may use it; the requests run on the portal's loop."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Await ``make()`` to its end, even if the caller is cancelled. Raises the errors of ``make()`` and of
        `Portal.hop`."""
        return await portal().hop(lambda: self._track(make))

    async def _track(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        task = asyncio.current_task()
        assert task  # noqa: S101
        self._tasks.add(task)
        try:
            return await make()
        finally:
            self._tasks.discard(task)

    async def wait(self) -> None:
        """Wait until no request is in flight, for at most `CLOSE_TIMEOUT_SECONDS` seconds."""
        if self._tasks:
            with suppress(InvalidInput):  # the portal has closed, and all requests with it
                await portal().hop(self._wait)

    async def _wait(self) -> None:
        here = asyncio.get_running_loop()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
                while ours := {
                    task for task in self._tasks if task.get_loop() is here
                }:  # not those of a forked process's parent
                    await asyncio.wait(ours)


def exit_on_sigterm() -> None:
    """Make SIGTERM end this program as `sys.exit` does, so that requests in flight finish first (within 20 seconds).

    For your own programs: call it once, on the main thread, before servers or loops run. By default Python ends the
    process at once. Then a rotated refresh token in transit is lost, and its user must consent again. A second SIGTERM
    is ignored. SIGKILL ends the process at once. An existing handler is kept. Raises `InvalidInput` on any other
    thread, where Python allows no handlers.
    """
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return
    try:
        signal.signal(signal.SIGTERM, _exit)
    except ValueError:
        raise InvalidInput(
            "A handler for SIGTERM can be set only on the main thread.",
            hint="Call exit_on_sigterm() where the program begins.",
            fix_by="operator",
        ) from None


def _exit(number: int, frame: FrameType | None) -> None:
    """Raise SystemExit once. Python drops an exception in a finalizer or in the callback of a weak reference, and only
    reports it to `sys.unraisablehook`. Then the signal is sent again."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # else a second signal would interrupt the wait of the first
    ending, report = SystemExit(TERMINATED), sys.unraisablehook

    def try_again(dropped: sys.UnraisableHookArgs) -> None:
        if dropped.exc_value is not ending:
            report(dropped)
            return
        sys.unraisablehook = report
        signal.signal(signal.SIGTERM, _exit)
        again = threading.Timer(RETRY_SECONDS, os.kill, (os.getpid(), signal.SIGTERM))
        again.daemon = True
        again.start()

    sys.unraisablehook = try_again
    raise ending
