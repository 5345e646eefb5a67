"""Thread that makes an audit's rows durable: soon for all rows, at once for awaited ones."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

from deputize.core.errors import StoreUnavailable

MAX_UNAWAITED_DELAY_SECONDS: Final = 0.5
"""Seconds a row may wait for others when nobody awaits it."""
AWAITED_DELAY_SECONDS: Final = 0.001
"""Seconds an awaited row waits for others that are awaited."""

Waiter: TypeAlias = tuple[asyncio.AbstractEventLoop | None, "asyncio.Future[None] | concurrent.futures.Future[None]"]
"""A waiting caller: its event loop (None: a thread), and its future."""


class CommitThread:
    """Calls ``commit`` in a thread, which starts with the first row. ``inline``: call it in the caller's thread.

    ``commit``: makes all waiting rows durable, or raises `StoreUnavailable` and is then called again. ``begun``: called
    when the thread has started.
    """

    def __init__(self, commit: Callable[[], None], begun: Callable[[], None], *, inline: bool) -> None:
        self._commit, self._begun = commit, begun
        self._inline = inline
        self._waiters: deque[Waiter] = deque()
        self._state = threading.Lock()
        self._bell, self._hurry = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._crowd = 0
        self.awake = False
        """True if a row that was just queued will be handled. If it is False, the caller must `ring`."""

    @property
    def inline(self) -> bool:
        """True if there is no thread, or it has ended."""
        return self._inline

    def ring(self) -> None:
        """Make the waiting rows durable within `MAX_UNAWAITED_DELAY_SECONDS`. If there is no commit thread, commit them
        now, in the caller's thread."""
        with self._state:
            if self._wake():
                return
        self._commit()

    async def wait(self) -> None:
        """Wait until every row queued so far is durable. Raises `StoreUnavailable`."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        if self._ask((loop, future)):
            await future

    def flush(self) -> None:
        """Block until every row queued so far is durable. Raises `StoreUnavailable`."""
        future: concurrent.futures.Future[None] = concurrent.futures.Future()
        if self._ask((None, future)):
            future.result()

    def end(self, last: Callable[[], None]) -> None:
        """End the thread, then call ``last`` in place of ``commit`` for callers that still wait. If the thread has
        already ended, only call ``last``."""
        with self._state:
            self._inline = True
            thread, self._thread = self._thread, None
            self._bell.set()
            self._hurry.set()
        if thread:
            thread.join()
        self.awake = False
        self._serve(last)

    def _ask(self, waiter: Waiter) -> bool:
        """Return whether the thread will answer the waiter. If not, the rows have been written in this call."""
        with self._state:
            if self._wake():
                self._waiters.append(waiter)
                self._hurry.set()
                return True
        self._commit()
        return False

    def _wake(self) -> bool:
        """Wake or start the thread. Return whether it handles the rows. The caller holds ``_state``."""
        if self._thread is None and not self._inline:
            thread = threading.Thread(target=self._run, name="audit", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the interpreter is ending, or the system has no thread left
                self._inline = True
            else:
                self._thread = thread
                self._begun()
        if not self._inline:
            self.awake = True
            self._bell.set()
        return not self._inline

    def _run(self) -> None:
        while not self._inline:
            self._bell.wait()
            if self._hurry.wait(MAX_UNAWAITED_DELAY_SECONDS) and self._crowd > 1:
                time.sleep(AWAITED_DELAY_SECONDS)  # several waited last time: more will follow
            self._bell.clear()
            self._hurry.clear()
            self.awake = False  # before the rows are taken: later writers ring again
            try:
                self._serve(self._commit)
            except StoreUnavailable:
                with self._state:
                    self._wake()

    def _serve(self, commit: Callable[[], None]) -> None:
        waiters = [self._waiters.popleft() for _ in range(len(self._waiters))]
        self._crowd = len(waiters)
        failure: StoreUnavailable | None = StoreUnavailable("The audit ended.")
        try:
            commit()
            failure = None
        except StoreUnavailable as error:
            failure = error
            raise
        finally:
            _answer_all(waiters, failure)


def _answer_all(waiters: Iterable[Waiter], failure: StoreUnavailable | None) -> None:
    """Answer all waiters, with one call into each event loop."""
    by_loop = defaultdict(list)
    for loop, future in waiters:
        by_loop[loop].append(future)
    for loop, futures in by_loop.items():
        if loop is None:
            _answer(futures, failure)
        else:
            with contextlib.suppress(RuntimeError):  # closed: nobody waits there any more
                loop.call_soon_threadsafe(_answer, futures, failure)


def _answer(
    futures: Iterable[asyncio.Future[None] | concurrent.futures.Future[None]], failure: StoreUnavailable | None
) -> None:
    for future in futures:
        if future.done():
            continue
        if failure:  # one exception each: a raised one has a traceback
            future.set_exception(StoreUnavailable(failure.message, hint=failure.hint))
        else:
            future.set_result(None)
