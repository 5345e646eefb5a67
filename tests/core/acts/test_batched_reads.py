"""Concurrent reads of many acts: which of them are batched, and which are excluded."""

from __future__ import annotations

import asyncio

import pytest

from deputize.core.acts.batched_reads import BatchedReads
from tests.core.consent.test_consents import House
from tests.support.gmail_toolkit import ALL, MAIL


async def test_concurrent_answers_are_collected_before_one_is_used() -> None:
    in_step, all_sent, steps = BatchedReads(), asyncio.Event(), list[str]()

    async def read() -> None:
        async with in_step:
            await all_sent.wait()
            steps.append("comes")
        steps.append("is used")

    async with asyncio.TaskGroup() as tasks:
        for _ in range(3):
            tasks.create_task(read())
        await asyncio.sleep(0.01)
        all_sent.set()
    assert steps == ["comes"] * 3 + ["is used"] * 3


async def alone_in(in_step: BatchedReads) -> None:
    """Check that a single read does not yield to other tasks."""
    turned = list[str]()
    asyncio.get_running_loop().call_soon(turned.append, "a turn of the loop")
    async with in_step:
        assert not turned
    assert not turned


async def test_single_read_does_not_yield() -> None:
    await alone_in(BatchedReads())


@pytest.mark.parametrize("ends", ["fails", "is cancelled"])
async def test_failed_read_is_not_waited_for(ends: str) -> None:
    in_step, under_way = BatchedReads(), asyncio.Event()

    async def read() -> None:
        async with in_step:
            under_way.set()
            if ends == "fails":
                raise ConnectionError
            await asyncio.sleep(10)

    task = asyncio.create_task(read())
    await under_way.wait()
    task.cancel()
    assert isinstance((await asyncio.gather(task, return_exceptions=True))[0], ConnectionError | asyncio.CancelledError)
    await alone_in(in_step)


async def test_read_cancelled_before_sending_is_not_waited_for() -> None:
    in_step = BatchedReads()

    async def read() -> None:
        async with in_step:
            await asyncio.sleep(0)

    async with in_step:
        task = asyncio.create_task(read())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await alone_in(in_step)


async def test_reads_are_batched_and_writes_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    house, came = await House().begin(), list[BatchedReads]()
    await house.connected(*ALL)
    enter = BatchedReads.__aenter__

    async def entered(in_step: BatchedReads) -> None:
        came.append(in_step)
        await enter(in_step)

    monkeypatch.setattr(BatchedReads, "__aenter__", entered)
    await house.act("send", **MAIL)
    assert not came
    await house.act("search")
    await house.act("search")
    assert came and len(set(map(id, came))) == 1
    await house.deputy.close()
