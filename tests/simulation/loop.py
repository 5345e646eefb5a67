"""An event loop without threads, sockets and real time: one seed decides what runs next.

Every callback belongs to a lane. A process has two of them, one for each of its event loops: its own and that of
`deputize.core.background_loop`. The world outside of the processes is a lane too. Callbacks of one lane run in their
order, as in asyncio. Which lane runs next is drawn. If no callback is ready, the clock moves to the next timer.
"""

from __future__ import annotations

import asyncio
import base64
import contextvars
import heapq
import os
import random
import secrets
import time
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final, TypeVar

from deputize.core import background_loop

T = TypeVar("T")
EPOCH: Final = 1_900_000_000.0
"""Unix time at the start of each schedule."""


MOST_STEPS: Final = 100_000
"""Steps after which a schedule counts as one that never ends; most have a few hundred."""


class Stuck(Exception):
    """Everything waits, and nothing will ever happen, or it goes on for ever."""


@dataclass(eq=False)
class Lane:
    """The ready callbacks of one event loop of one process, or of the world."""

    process: Process | None
    ready: deque[asyncio.Handle] = field(default_factory=deque)


@dataclass(eq=False)
class Process:
    """One life of a program.

    ``fuse``: the number of the step in which it dies, 0 for never; ``last_marks``: the marks, in this order, with the
    last of which it dies, "" for any. Marks are what others saw of it: writes that were carried out, by the kind of
    record, and requests that arrived, by the end of their path.
    """

    name: str
    fuse: int = 0
    steps: int = 0
    last_marks: list[str] = field(default_factory=list)
    dead: bool = False
    on_death: list[Callable[[], None]] = field(default_factory=list)
    main: Lane = field(init=False)
    background: Lane = field(init=False)

    def __post_init__(self) -> None:
        self.main, self.background = Lane(self), Lane(self)

    def mark(self, kind: str) -> None:
        """Others saw something of this process."""
        if self.last_marks and self.last_marks[0] in ("", kind):
            del self.last_marks[0]
            if not self.last_marks:
                self.die()

    def die(self) -> None:
        """Run no further callback of this process. What it did before stays."""
        if not self.dead:
            self.dead = True
            for act in self.on_death:
                act()


WORLD: Final = Lane(None)
LANE: Final = contextvars.ContextVar[Lane]("lane", default=WORLD)


class Handle(asyncio.Handle):
    """`asyncio.Handle` without its debugging, which took a tenth of the time of a schedule."""

    __slots__ = ()

    def __init__(
        self,
        callback: Callable[..., object],
        args: Sequence[Any],
        loop: SimulatedLoop,
        context: contextvars.Context | None,
    ) -> None:
        self._context = contextvars.copy_context() if context is None else context
        self._loop, self._callback, self._args, self._cancelled = loop, callback, args, False
        self._repr = None

    def cancel(self) -> None:
        self._cancelled = True

    def _run(self) -> None:
        try:
            self._context.run(self._callback, *self._args)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self._loop.call_exception_handler({"exception": error})


class Timer(Handle):
    """`asyncio.TimerHandle`, the same way."""

    __slots__ = ("_when",)
    _when: float

    def when(self) -> float:
        return self._when


class SimulatedLoop(asyncio.BaseEventLoop):
    """See the module."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self.rng, self.now, self.steps = rng, 0.0, 0
        self._waiting: list[Lane] = []
        self._timers: list[tuple[float, int, Timer]] = []
        self._number = count()
        self._world_context = contextvars.Context()
        self._tasks: list[asyncio.Task[Any]] = []
        WORLD.ready.clear()

    def time(self) -> float:
        return self.now

    def _soon(self, handle: asyncio.Handle) -> None:
        lane = handle._context.get(LANE, WORLD)  # type: ignore[attr-defined]
        if lane.process is None or not lane.process.dead:
            if not lane.ready:
                self._waiting.append(lane)
            lane.ready.append(handle)

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        handle = Handle(callback, args, self, context)
        self._soon(handle)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> Timer:
        timer = Timer(callback, args, self, context)
        timer._when = when
        heapq.heappush(self._timers, (when, next(self._number), timer))
        return timer

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> Timer:
        return self.call_at(self.now + delay, callback, *args, context=context)

    def after(self, delay: float, callback: Callable[..., object], *args: Any) -> None:
        """Call it in the world's lane, whatever becomes of the process that caused it."""
        self.call_at(self.now + delay, callback, *args, context=self._world_context)

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Call ``func`` in a later step: there are no threads."""
        future: asyncio.Future[T] = self.create_future()

        def run() -> None:
            if not future.done():
                try:
                    future.set_result(func(*args))
                except Exception as error:
                    future.set_exception(error)

        self.call_soon(run)
        return future

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Tasks of dead processes are never finished, and errors of jobs are judged by the oracle."""

    def create_task(self, coro: Any, *, name: Any = None, context: contextvars.Context | None = None) -> Any:
        task = asyncio.Task(coro, loop=self, name="", context=context)
        self._tasks.append(task)  # those of dead processes are never finished: they must not be collected meanwhile
        return task

    def close(self) -> None:
        """Close what dead processes have left."""
        events._set_running_loop(self)
        for task in self._tasks:
            if not task.done():
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                _close(task.get_coro())
        events._set_running_loop(None)
        self._tasks.clear()
        super().close()

    def step(self) -> None:
        """Run one callback. Raises `Stuck` if there is none."""
        waiting = self._waiting
        while not waiting:
            if not self._timers:
                raise Stuck
            when, _, timer = heapq.heappop(self._timers)
            if not timer._cancelled:
                self.now = max(self.now, when)
                self._soon(timer)
        lane = waiting[int(self.rng.random() * len(waiting)) if len(waiting) > 1 else 0]
        process = lane.process
        if process is not None:
            process.steps += 1
            if process.steps == process.fuse:
                process.die()
            if process.dead:
                lane.ready.clear()
        if lane.ready:
            handle = lane.ready.popleft()
            if not handle._cancelled:
                self.steps += 1
                handle._run()
        if not lane.ready:
            waiting.remove(lane)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run the work to its end. Raises `Stuck` if it never ends."""
        events._set_running_loop(self)
        try:
            task: asyncio.Task[T] = self.create_task(work)
            while not task.done():
                self.step()
                if self.steps > MOST_STEPS:
                    raise Stuck
            return task.result()
        finally:
            events._set_running_loop(None)


def _close(work: Any) -> None:
    for _ in range(20):  # each time it may wait once more on its way out
        try:
            work.close()
        except BaseException:  # noqa: S112 - a dead process has no errors
            continue
        return


class SimulatedPortal:
    """`deputize.core.background_loop.Portal` of each simulated process: the same methods, on its background lane."""

    closed = False

    def __init__(self, loop: SimulatedLoop) -> None:
        self.pid, self._loop = os.getpid(), loop

    def _task(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        context = contextvars.copy_context()
        if process := LANE.get().process:
            context.run(LANE.set, process.background)
        task: asyncio.Task[T] = self._loop.create_task(work, context=context)
        return task

    async def hop(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Await it on the background lane. It runs to its end even if the caller is cancelled."""
        return await asyncio.shield(self._task(background_loop._await(make)))

    def begin(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start it on the background lane."""
        future: Future[T] = Future()
        task = self._task(work)
        task.add_done_callback(lambda _: background_loop._settle(task, future))
        return future

    def at_exit(self, call: Callable[[], None]) -> None:
        """A simulated process never ends in an orderly way."""


class _Random:
    """The functions of `secrets`, `os` and `random` that deputize calls, from one seed."""

    def __init__(self, rng: random.Random) -> None:
        self.token_bytes: Callable[[int], bytes] = rng.randbytes
        self.uniform, self._rng = rng.uniform, rng

    def token_hex(self, size: int = 32) -> str:
        return self.token_bytes(size).hex()

    def token_urlsafe(self, size: int = 32) -> str:
        return base64.urlsafe_b64encode(self.token_bytes(size)).rstrip(b"=").decode()

    def choice(self, among: Sequence[T]) -> T:
        return self._rng.choice(among)


@contextmanager
def simulated(seed: int) -> Iterator[SimulatedLoop]:
    """Replace time, randomness and the background loop by those of one seed."""
    loop, drawn = SimulatedLoop(random.Random(seed)), _Random(random.Random(~seed))  # noqa: S311
    replaced: list[tuple[Any, str, Any]] = [
        (time, "time", lambda: EPOCH + loop.now),
        (time, "monotonic", loop.time),
        (os, "urandom", drawn.token_bytes),
        (random, "uniform", drawn.uniform),
        (background_loop, "_current", SimulatedPortal(loop)),
        *((secrets, name, getattr(drawn, name)) for name in ("token_bytes", "token_hex", "token_urlsafe", "choice")),
    ]
    before = [(where, name, getattr(where, name)) for where, name, _ in replaced]
    for where, name, value in replaced:
        setattr(where, name, value)
    try:
        yield loop
    finally:
        for where, name, value in before:
            setattr(where, name, value)
        loop.close()
