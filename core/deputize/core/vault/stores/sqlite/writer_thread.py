"""One thread that owns what two must not touch, and that answers all who wait for a write at once.

What is asked for while it writes is written together as the next group: so many writers cost one sync, and a single one
waits for nobody.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread
from typing import Any, Final, TypeAlias, TypeVar

from deputize.core.errors import StoreUnavailable

T = TypeVar("T")

REST_SECONDS: Final = 0.5
GROUP: Final = 500  # writes that are made durable together, at most

LATE: Final = "What was being written may still arrive: read before writing again."

Step: TypeAlias = tuple["Future[Any]", Callable[[], Any]]


@dataclass(slots=True, eq=False, repr=False)
class Write:
    """One writing statement, and who waits for whether it changed a record."""

    statement: str
    values: tuple[object, ...]
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[bool]
    late: asyncio.TimerHandle | None = None
    begun: bool = False
    taken_back: bool = False


Outcome: TypeAlias = bool | BaseException
"""Whether a write changed a record, durably; or why it did not happen."""


class Owner:
    """Runs steps and groups of writes one after another in a thread of its own, which begins with the first of them.

    ``commit`` makes a group of writes durable, and says of each how it ended. Unlike an executor it still answers while
    the interpreter exits. When nothing was asked for a while it calls ``rest``, until that returns True.
    """

    def __init__(self, commit: Callable[[Sequence[Write]], Sequence[Outcome]], rest: Callable[[], bool]) -> None:
        self._commit, self._rest = commit, rest
        self._jobs: SimpleQueue[Write | Step | None] = SimpleQueue()
        self._gate = Lock()
        self._thread: Thread | None = None
        self._last: Future[None] | None = None
        self._go_on = Event()

    async def write(self, timeout: float, statement: str, *values: object) -> bool:
        """Whether the statement changed a record, durably. A cancelled caller does not cancel it.

        Raises `StoreUnavailable` once closed, and where it cannot begin in ``timeout`` seconds: then it is taken back,
        and did not happen. One that began and takes that long again may still arrive.
        """
        loop = asyncio.get_running_loop()
        write = Write(statement, values, loop, loop.create_future())
        with self._gate:
            self._open()
            self._put(write)
        write.late = loop.call_later(timeout, self._take_back, write, timeout)
        try:
            return await write.answer
        finally:
            write.late.cancel()

    def submit(self, step: Callable[[], T]) -> Future[T]:
        """Ask for a step; until it begins, the future can be cancelled. Raises `StoreUnavailable` once closed."""
        future: Future[T] = Future()
        with self._gate:
            self._open()
            self._put((future, step))
        return future

    def close(self, last: Callable[[], None]) -> Future[None]:
        """Finish what was asked, then run ``last`` and end. Twice is the same as once."""
        with self._gate:
            if self._last is None:
                self._last = Future()
                self._put((self._last, last))
                self._jobs.put(None)
            return self._last

    def pause(self, first: Callable[[], None], timeout: float) -> None:
        """Finish what was asked, run ``first``, then stand still until `go_on`. Waits ``timeout`` seconds at most."""
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
            self._put((Future[None](), stand))
        still.wait(timeout)

    def go_on(self) -> None:
        """End a pause."""
        self._go_on.set()

    def _open(self) -> None:
        if self._last is not None:
            raise StoreUnavailable("The vault is closed.")

    def _put(self, job: Write | Step) -> None:
        self._jobs.put(job)
        if self._thread is None:
            self._thread = Thread(target=self._run, name="deputize vault", daemon=True)
            self._thread.start()

    def _take_back(self, write: Write, timeout: float) -> None:
        """What waits for too long does not happen; what has begun is waited for once more."""
        with self._gate:
            write.taken_back = not write.begun
        if not write.taken_back:
            write.late = write.loop.call_later(timeout, _give_up, write)
        elif not write.answer.done():
            write.answer.set_exception(StoreUnavailable("The vault has too much to do.", hint="Try again later."))

    def _run(self) -> None:
        rested, jobs = True, deque[Write | Step | None]()
        while True:
            try:
                self._more(jobs, timeout=None if rested else REST_SECONDS)
            except Empty:
                rested = self._rest()
                continue
            rested = False
            if writes := self._begun(jobs):
                _hand_out(writes, self._outcomes(writes))
            elif jobs and not _did(jobs.popleft()):
                return
            del writes  # what is held here must not outlive it while this thread waits

    def _outcomes(self, writes: Sequence[Write]) -> Sequence[Outcome]:
        try:
            return self._commit(writes)
        except BaseException as error:  # whatever it is, it belongs to whoever asked
            return [error] * len(writes)

    def _more(self, jobs: deque[Write | Step | None], timeout: float | None) -> None:
        """Take over what was asked for; wait for it where there is nothing to do."""
        if not jobs:
            jobs.append(self._jobs.get(timeout=timeout))
        while not self._jobs.empty():
            jobs.append(self._jobs.get())

    def _begun(self, jobs: deque[Write | Step | None]) -> list[Write]:
        """The writes that come first, but those taken back; from here on they happen."""
        writes: list[Write] = []
        with self._gate:
            while jobs and isinstance(first := jobs[0], Write) and len(writes) < GROUP:
                jobs.popleft()
                if not first.taken_back:
                    first.begun = True
                    writes.append(first)
        return writes


def _did(job: Write | Step | None) -> bool:
    """Do a step. Whether there was one: after the last comes none."""
    if not isinstance(job, tuple):
        return False
    future, step = job
    if future.set_running_or_notify_cancel():
        _do(future, step)
    return True


def _do(future: Future[Any], step: Callable[[], Any]) -> None:
    try:
        result = step()
    except BaseException as error:  # whatever it is, it belongs to whoever asked
        future.set_exception(error)
    else:
        future.set_result(result)


def _hand_out(writes: Sequence[Write], outcomes: Sequence[Outcome]) -> None:
    """Tell each how it ended, with one call into each event loop."""
    loops: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[bool], Outcome]]] = {}
    for write, outcome in zip(writes, outcomes, strict=True):
        loops.setdefault(write.loop, []).append((write.answer, outcome))
    for loop, ended in loops.items():
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(_hand_over, ended)


def _hand_over(ended: Sequence[tuple[asyncio.Future[bool], Outcome]]) -> None:
    for answer, outcome in ended:
        if answer.done():  # cancelled
            continue
        if isinstance(outcome, bool):
            answer.set_result(outcome)
        else:
            answer.set_exception(outcome)


def _give_up(write: Write) -> None:
    if not write.answer.done():
        write.answer.set_exception(StoreUnavailable("The vault does not answer.", hint=LATE))
