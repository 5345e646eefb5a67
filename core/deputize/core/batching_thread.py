"""A thread that answers questions from event loops, for work that usually takes microseconds but may block.

Questions that arrive while the thread is busy are answered as a batch, with one call into each event loop. So many
concurrent callers cause few thread switches. Unlike an executor, it still answers while the interpreter exits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Final, Generic, TypeVar

Question = TypeVar("Question")
Answer = TypeVar("Answer")

BATCH: Final = 64
"""Questions that are answered together, at most."""


class ThreadEnded(Exception):
    """A question came after the thread was ended."""


class AnsweringThread(Generic[Question, Answer]):
    """A thread that calls ``answer`` with all waiting questions. The first question starts it.

    ``answer`` returns an answer, or an exception to raise, for each question in order.
    """

    def __init__(self, name: str, answer: Callable[[Sequence[Question]], Sequence[Answer | BaseException]]) -> None:
        self._name, self._answer = name, answer
        self._gate = Lock()
        self._ended = False
        self._asked: SimpleQueue[tuple[asyncio.Future[Answer], Question] | None] = SimpleQueue()
        self._thread: Thread | None = None

    async def ask(self, question: Question) -> Answer:
        """Return the answer to a question, or raise the exception returned for it. Raises `ThreadEnded` after `end`."""
        waiting: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        with self._gate:  # never held longer than this; the thread itself never takes it
            if self._ended:
                raise ThreadEnded
            self._start()
            self._asked.put((waiting, question))
        return await waiting

    def begin(self) -> None:
        """Start the thread in advance. The first question starts it too, but blocks its event loop for that time."""
        with self._gate:
            self._start()

    def end(self) -> None:
        """Answer the waiting questions, then end the thread. Later questions raise `ThreadEnded`."""
        with self._gate:
            if not self._ended:
                self._ended = True
                self._asked.put(None)

    def _start(self) -> None:
        if self._thread is None:
            thread = Thread(target=self._serve, name=self._name, daemon=True)
            thread.start()
            self._thread = thread

    def _serve(self) -> None:
        while self._serve_batch():  # this frame holds nothing, which it would keep alive while idle
            pass

    def _serve_batch(self) -> bool:
        """Answer one batch of waiting questions. Returns True if more may come."""
        batch = [self._asked.get()]
        while len(batch) < BATCH and not self._asked.empty():
            batch.append(self._asked.get())
        asked = [one for one in batch if one is not None]
        if asked:
            answers = self._answers([question for _, question in asked])
            hand_out(zip((waiting for waiting, _ in asked), answers, strict=True))
        return len(asked) == len(batch)

    def _answers(self, questions: Sequence[Question]) -> Sequence[Answer | BaseException]:
        try:
            return self._answer(questions)
        except BaseException as error:  # any error belongs to the callers
            return [error] * len(questions)


def for_all(step: Callable[[], object]) -> Callable[[Sequence[None]], Sequence[None]]:
    """Return an ``answer`` function for identical questions: one call of ``step`` answers all that wait."""

    def stepped(many: Sequence[None]) -> Sequence[None]:
        step()
        return many

    return stepped


def hand_out(answered: Iterable[tuple[asyncio.Future[Answer], Answer | BaseException]]) -> None:
    """Deliver each answer, or exception to raise, to its future, with one call into each event loop."""
    loops: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Answer], Answer | BaseException]]] = {}
    for waiting, answer in answered:
        loops.setdefault(waiting.get_loop(), []).append((waiting, answer))
    for loop, ended in loops.items():
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(_hand_over, ended)


def _hand_over(answered: Iterable[tuple[asyncio.Future[Answer], Answer | BaseException]]) -> None:
    for waiting, answer in answered:
        if waiting.done():  # cancelled
            continue
        if isinstance(answer, BaseException):
            waiting.set_exception(answer)
        else:
            waiting.set_result(answer)
