"""One thread that owns what two must not touch."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread
from typing import Any, TypeVar

from deputize.core.errors import StoreUnavailable

T = TypeVar("T")

REST_SECONDS = 0.5


class Owner:
    """Runs steps one after another in a thread of its own, which begins with the first step.

    Unlike an executor it still answers while the interpreter exits. When nothing was asked for a while it calls
    ``rest``, again and again until that returns True.
    """

    def __init__(self, rest: Callable[[], bool]) -> None:
        self._rest = rest
        self._jobs: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._gate = Lock()
        self._thread: Thread | None = None
        self._last: Future[None] | None = None
        self._go_on = Event()

    def submit(self, step: Callable[[], T]) -> Future[T]:
        """Ask for a step; until it begins, the future can be cancelled. Raises `StoreUnavailable` once closed."""
        with self._gate:
            if self._last is not None:
                raise StoreUnavailable("The vault is closed.")
            return self._put(step)

    def close(self, last: Callable[[], None]) -> Future[None]:
        """Finish what was asked, then run ``last`` and end. Twice is the same as once."""
        with self._gate:
            if self._last is None:
                self._last = self._put(last)
                self._jobs.put(None)
            return self._last

    def pause(self, first: Callable[[], None], patience: float) -> None:
        """Finish what was asked, run ``first``, then stand still until `go_on`. Waits ``patience`` seconds at most."""
        still = Event()
        go_on = self._go_on = Event()

        def stand() -> None:
            try:
                first()
            finally:
                still.set()
                go_on.wait()

        with self._gate:
            if self._thread is None or self._last is not None:
                return
            self._put(stand)
        still.wait(patience)

    def go_on(self) -> None:
        """End a pause."""
        self._go_on.set()

    def _put(self, step: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        self._jobs.put((future, step))
        if self._thread is None:
            self._thread = Thread(target=self._run, name="deputize vault", daemon=True)
            self._thread.start()
        return future

    def _run(self) -> None:
        rested = True
        while True:
            try:
                job = self._jobs.get(timeout=None if rested else REST_SECONDS)
            except Empty:
                rested = self._rest()
                continue
            if job is None:
                return
            rested = False
            _do(*job)
            del job  # what it holds must not outlive it while this thread waits


def _do(future: Future[Any], step: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = step()
    except BaseException as error:  # whatever it is, it belongs to whoever asked
        future.set_exception(error)
    else:
        future.set_result(result)
