"""One event loop in one thread, for the whole process.

The loop runs two kinds of work: coroutines for callers without an event loop, and work that may run only once in a
process, such as a token refresh. The thread is a daemon, and its loop answers until the interpreter has ended. At exit,
work that has started gets a limited time to finish. It cannot prevent the process from ending.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import sys
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar

from deputize.core.errors import InvalidInput, OutcomeUnknown

T = TypeVar("T")
_Begun: TypeAlias = dict[asyncio.Task[Any], Future[Any]]

DRAIN_TIMEOUT_SECONDS: Final = 20.0
"""Seconds that work started by `Portal.hop` may still take when the process ends."""
SHUTDOWN_STEP_TIMEOUT_SECONDS: Final = 3.0
"""Seconds for each later step: cancel, close the entered contexts, end the thread."""


class Portal:
    """The event loop, its thread and the contexts entered on it. Any thread may call the methods of `portal()`."""

    def __init__(self) -> None:
        self.pid: Final = os.getpid()
        self.closed = False
        self._ended = False
        self._loop = asyncio.new_event_loop()
        self._works: _Begun = {}
        self._hops: _Begun = {}
        self._entered: dict[AbstractAsyncContextManager[Any], tuple[asyncio.Task[None], asyncio.Event]] = {}
        self._gate = threading.Lock()
        self._closing = threading.RLock()
        self._thread = threading.Thread(target=self._live, name="deputize-portal", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` on the portal's loop and return its result. Blocks the calling thread; keeps its context
        variables.

        Interrupting the caller cancels it. Raises the errors of ``work``, `InvalidInput` on a closed portal and on the
        portal's own thread (a deadlock), and `OutcomeUnknown` if the portal closes first.
        """
        if threading.get_ident() == self._thread.ident:
            work.close()
            raise _blocking_error()
        future: Future[T] = Future()
        try:
            self._submit(work, self._works, future)
            return future.result()
        except CancelledError:
            raise _interrupted_error() from None
        finally:
            if future.cancel():  # the wait was interrupted
                self._abandon(future)
            del future  # it may hold the exception, whose traceback holds this frame

    async def hop(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Await ``make()`` on the portal's loop, from any loop. It runs to its end even if the caller is cancelled.

        Raises the errors of ``make()``. Raises `InvalidInput` on a closed portal, and `OutcomeUnknown` if the portal
        closes before ``make()`` has ended. Closing waits `DRAIN_TIMEOUT_SECONDS` seconds for it.
        """
        here = asyncio.get_running_loop()
        waiter: asyncio.Future[T] = here.create_future()
        future: Future[T] = Future()
        future.add_done_callback(partial(_notify, here, waiter))
        try:
            self._submit(_await(make), self._hops, future)
            return await waiter
        finally:
            del waiter, future  # as above

    def begin(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start ``work`` on the portal's loop and return its future. Raises `InvalidInput` on a closed portal."""
        future: Future[T] = Future()
        self._submit(work, self._hops, future)
        return future

    async def enter(self, context: AbstractAsyncContextManager[T]) -> T:
        """Enter ``context`` on the portal's loop. The portal exits its contexts when it closes, the last one first.

        For servers that acts may need while the caller's loop is blocked. Raises the errors of entering the context.
        """
        return await self.hop(lambda: self._open(context))

    async def leave(self, context: AbstractAsyncContextManager[Any]) -> None:
        """Exit a context that `enter` entered. Does nothing if it was not entered or has been exited."""
        if entered := self._entered.pop(context, None):
            await self.hop(lambda: self._exit(*entered))

    def close(self) -> None:
        """Finish the work of `hop`, cancel all other work, exit the contexts, and end the thread.

        Takes a limited time, even if the work does not end. May be called twice, and runs at exit anyway. Raises
        `InvalidInput` on the portal's own thread.
        """
        if threading.get_ident() == self._thread.ident:
            raise _blocking_error()
        if self.pid != os.getpid():
            return  # another process's, inherited by a fork
        with self._closing:
            if not self.closed:
                drained: Future[None] = Future()
                self._submit(self._drain(), {}, drained)
                with suppress(TimeoutError):
                    drained.result(DRAIN_TIMEOUT_SECONDS + SHUTDOWN_STEP_TIMEOUT_SECONDS)
                self._end()

    def _submit(self, work: Coroutine[Any, Any, T], begun: _Begun, future: Future[T]) -> None:
        def begin() -> None:  # in a copy of the caller's context, by call_soon_threadsafe
            if future.cancelled():
                return work.close()
            task = self._loop.create_task(work)
            begun[task] = future
            task.add_done_callback(begun.pop)
            task.add_done_callback(lambda _: _settle(task, future))

        if self.pid == os.getpid():  # checked first: after a fork, a thread that no longer exists may hold the gate
            with self._gate:
                if not self.closed:
                    self._loop.call_soon_threadsafe(begin)
                    return
        work.close()
        raise _closed_error()

    def _abandon(self, future: Future[T]) -> None:
        def cancel() -> None:
            for task in [task for task, its in self._works.items() if its is future]:
                task.cancel()

        if self.pid == os.getpid():
            with suppress(RuntimeError):  # the loop is closed, and the task with it
                self._loop.call_soon_threadsafe(cancel)

    async def _open(self, context: AbstractAsyncContextManager[T]) -> T:
        opened: asyncio.Future[T] = self._loop.create_future()
        closing = asyncio.Event()
        task = self._loop.create_task(_hold(context, opened, closing))  # one task: it must exit where it entered
        await asyncio.wait((task, opened), return_when=asyncio.FIRST_COMPLETED)
        if not opened.done():
            await task
        self._entered[context] = task, closing
        return opened.result()

    @staticmethod
    async def _exit(task: asyncio.Task[None], closing: asyncio.Event) -> None:
        closing.set()
        await task

    def _live(self) -> None:
        while not self._ended:
            with suppress(SystemExit, KeyboardInterrupt):  # raised by the work: its caller gets it
                self._loop.run_forever()
        for future in (*self._works.values(), *self._hops.values()):
            future.cancel()  # of a task that suppresses its cancellation
        self._loop.close()

    async def _drain(self) -> None:
        deadline = self._loop.time() + DRAIN_TIMEOUT_SECONDS
        while self._hops and (left := deadline - self._loop.time()) > 0:
            await asyncio.wait(self._hops, timeout=left)

    def _end(self) -> None:
        with self._gate:
            self.closed = True
        asyncio.run_coroutine_threadsafe(self._wind_up(), self._loop)
        self._thread.join(SHUTDOWN_STEP_TIMEOUT_SECONDS * (4 + len(self._entered)))

    async def _wind_up(self) -> None:
        try:
            await _cancel_all({*self._works, *self._hops})
            for task, closing in reversed([*self._entered.values()]):
                closing.set()
                await asyncio.wait((task,), timeout=SHUTDOWN_STEP_TIMEOUT_SECONDS)
            await _cancel_all(asyncio.all_tasks() - {asyncio.current_task()})
            with suppress(TimeoutError):
                await asyncio.wait_for(
                    self._loop.shutdown_asyncgens(), SHUTDOWN_STEP_TIMEOUT_SECONDS
                )  # which closes this loop's transports,
            await asyncio.sleep(0)  # and here the sockets go
        finally:
            self._ended = True
            self._loop.stop()


async def _await(make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    return await make()


async def _hold(context: AbstractAsyncContextManager[T], opened: asyncio.Future[T], closing: asyncio.Event) -> None:
    async with context as value:
        opened.set_result(value)
        await closing.wait()


async def _cancel_all(tasks: set[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=SHUTDOWN_STEP_TIMEOUT_SECONDS)


def _settle(task: asyncio.Task[T], future: Future[T]) -> None:
    error = None if task.cancelled() else task.exception()  # always retrieved, or asyncio logs that it was not
    if task.cancelled():
        future.cancel()
    elif future.set_running_or_notify_cancel():
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(task.result())


def _notify(here: asyncio.AbstractEventLoop, waiter: asyncio.Future[T], future: Future[T]) -> None:
    with suppress(RuntimeError):  # the caller's loop is closed: nobody waits
        here.call_soon_threadsafe(_hand_over, future, waiter)


def _hand_over(future: Future[T], waiter: asyncio.Future[T]) -> None:
    if waiter.done():
        return
    if future.cancelled():
        waiter.set_exception(_interrupted_error())
    elif error := future.exception():
        waiter.set_exception(error)
    else:
        waiter.set_result(future.result())


def _interrupted_error() -> OutcomeUnknown:
    return OutcomeUnknown("The call was cut off before it ended: the program is closing, or something cancelled it.")


def _blocking_error() -> InvalidInput:
    return InvalidInput(
        "A blocking call was made on the event loop that has to run it.",
        hint="In toolkits, hooks and other code on that loop, await the async form instead.",
        fix_by="operator",
    )


def _closed_error() -> InvalidInput:
    return InvalidInput(
        "The background event loop is closed.",
        hint="Call portal() again instead of storing its result. While the interpreter exits, there is no other.",
        fix_by="operator",
    )


_lock = threading.Lock()
_current: Portal | None = None
_exiting = False


def portal() -> Portal:
    """Return this process's portal. Creates one on first use and after a fork."""
    current = _current
    if current is not None and current.pid == os.getpid() and (_exiting or not current.closed):
        return current
    return _new_portal()


def _new_portal() -> Portal:
    global _current
    with _lock:
        current = _current
        if current is not None and current.pid == os.getpid() and not current.closed:
            return current
        _current = Portal()
        atexit.register(_close_at_exit)
        if util := sys.modules.get("multiprocessing.util"):  # its forked children end without atexit
            util.Finalize(None, _close_at_exit, exitpriority=0)
        return _current


def _close_at_exit() -> None:
    global _exiting
    if _current is not None and _current.pid == os.getpid():
        _exiting = True
        _current.close()


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()  # another thread of the parent may have held it


os.register_at_fork(after_in_child=_after_fork)
