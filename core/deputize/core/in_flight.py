"""Requests whose answer must not be lost: a refresh whose token rotates, a code that is good for one try.

They go on though their caller be gone, and are waited for where a deputy is closed or the process ends: by ``close()``
and the end of ``with``, and by Python's own exit (`deputize.core.background_loop`). A signal that kills the process at
once lets nobody wait: see `exit_on_sigterm`.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from types import FrameType
from typing import Any, Final, TypeVar

from deputize.core.background_loop import portal
from deputize.core.errors import InvalidInput

T = TypeVar("T")

PATIENCE: Final = 20.0
"""Seconds that closing a deputy waits for what is in flight."""
TERMINATED: Final = 128 + signal.SIGTERM
"""The exit code of a process that ended because of SIGTERM, as shells say it."""


class InFlight:
    """What one deputy has in flight. Used from any event loop; all of it runs on the portal's."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Await ``make()``, which goes on to its end though the caller be cancelled. Raises what it raises, and what
        `Portal.hop` does."""
        return await portal().hop(lambda: self._known(make))

    async def _known(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        task = asyncio.current_task()
        assert task  # noqa: S101
        self._tasks.add(task)
        try:
            return await make()
        finally:
            self._tasks.discard(task)

    async def ended(self) -> None:
        """Wait until nothing is in flight, `PATIENCE` seconds at most."""
        if self._tasks:
            with suppress(InvalidInput):  # the portal has ended, and all of them with it
                await portal().hop(self._wait)

    async def _wait(self) -> None:
        here = asyncio.get_running_loop()
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while ours := {task for task in self._tasks if task.get_loop() is here}:  # not a forked parent's
                    await asyncio.wait(ours)


def exit_on_sigterm() -> None:
    """Let SIGTERM end this program as `sys.exit` does, so that what is in flight is finished first (within 20 seconds).

    For programs of your own; call it once, on the main thread, before servers or loops run. Python's default ends a
    process at once: a rotated refresh token that is on its way is lost, and its user asked again. A second SIGTERM
    changes nothing, SIGKILL ends it at once. A handler that is there already stays. Raises `InvalidInput` on another
    thread, where Python allows no handlers.
    """
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return
    try:
        signal.signal(signal.SIGTERM, _exit)
    except ValueError:
        raise InvalidInput(
            "A handler for SIGTERM was asked for on another thread than the main one.",
            hint="Call exit_on_sigterm() where the program begins.",
            fix_by="operator",
        ) from None


def _exit(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # else the next one would interrupt what this one waits for
    sys.exit(TERMINATED)
