"""Threads that answer event loops: each loop has its own, also while and after threads are ended."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from deputize.core.batching_thread import AnsweringThread, ThreadEnded, for_all


async def test_requests_queued_meanwhile_are_answered_in_one_batch_in_order() -> None:
    began, busy, asked = threading.Event(), threading.Event(), list[list[int]]()

    def doubled(questions: Sequence[int]) -> list[int]:
        asked.append(list(questions))
        began.set()
        assert busy.wait(10)
        return [2 * one for one in questions]

    thread = AnsweringThread[int, int]("doubling", doubled)
    tasks = [asyncio.create_task(thread.ask(0))]
    assert await asyncio.to_thread(began.wait, 10)
    tasks += [asyncio.create_task(thread.ask(n)) for n in range(1, 5)]
    await asyncio.sleep(0)
    busy.set()
    assert await asyncio.gather(*tasks) == [0, 2, 4, 6, 8]
    assert asked == [[0], [1, 2, 3, 4]]
    thread.end()


async def test_item_error_goes_to_its_requester_and_batch_error_to_all() -> None:
    def some(questions: Sequence[str]) -> Sequence[str | BaseException]:
        if "all" in questions:
            raise OSError("the whole")
        return [KeyError(one) if one == "bad" else one for one in questions]

    thread = AnsweringThread[str, str]("some", some)
    found = await asyncio.gather(thread.ask("good"), thread.ask("bad"), return_exceptions=True)
    assert found[0] == "good" and isinstance(found[1], KeyError)
    with pytest.raises(OSError, match="the whole"):
        await thread.ask("all")
    assert await thread.ask("good") == "good"
    thread.end()


async def test_cancelled_request_leaves_the_others_their_answers() -> None:
    go = threading.Event()
    thread = AnsweringThread[None, None]("waiting", for_all(lambda: go.wait(10)))
    first, second = asyncio.create_task(thread.ask(None)), asyncio.create_task(thread.ask(None))
    await asyncio.sleep(0)
    first.cancel()
    go.set()
    await second
    assert first.cancelled()
    thread.end()


async def test_requests_before_the_end_are_answered_and_later_ones_refused() -> None:
    go = threading.Event()
    thread = AnsweringThread[None, None]("ending", for_all(lambda: go.wait(10)))
    asked = asyncio.create_task(thread.ask(None))
    await asyncio.sleep(0)
    thread.end()
    thread.end()
    with pytest.raises(ThreadEnded):
        await thread.ask(None)
    go.set()
    await asked


def test_closed_event_loop_does_not_block_answers_to_other_loops() -> None:
    go, began = threading.Event(), threading.Event()

    def slowly() -> None:
        began.set()
        assert go.wait(10)

    thread = AnsweringThread[None, None]("for loops", for_all(slowly))

    async def leave() -> None:
        task = asyncio.create_task(thread.ask(None))
        await asyncio.to_thread(began.wait, 10)
        task.cancel()

    asyncio.run(leave())
    go.set()
    asyncio.run(thread.ask(None))
    thread.end()
