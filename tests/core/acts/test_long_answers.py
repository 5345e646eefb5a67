"""A tool processes a long response in a thread, so that the event loop keeps running."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Any

import httpx
import pytest

from deputize.core import InvalidInput, NotFound, OutcomeUnknown, Request, Steps
from deputize.core.acts import runner
from tests.support.faults import GMAIL_API, answer
from tests.support.probe_toolkit import Probe, probing

PATH = "/users/me/messages"
ASKED = Request("GET", PATH)
HERE: ContextVar[str] = ContextVar("HERE", default="")


@pytest.fixture
async def probe() -> AsyncIterator[Probe]:
    async with probing() as made:
        yield made


def long(characters: int = runner.LARGE + 1) -> Any:
    """Return a response with a text of this length."""
    return lambda request: httpx.Response(200, json={"text": "x" * characters})


def on_the_loop() -> bool:
    """Return whether this runs on the test's own thread."""
    return threading.current_thread() is threading.main_thread()


async def test_tool_moves_to_a_thread_after_long_answers(probe: Probe) -> None:
    where: list[bool] = []

    def body() -> Steps:
        for _ in range(4):
            where.append(on_the_loop())
            yield ASKED
        where.append(on_the_loop())
        return "done"

    probe.line.answers[GMAIL_API] = [answer(200), long(), answer(200), answer(200)]
    assert await probe.script(body) == "done"
    assert where == [True, True, False, False, False]


async def test_tool_with_short_answers_stays_on_the_loop(probe: Probe) -> None:
    where: list[bool] = []

    def body() -> Steps:
        yield ASKED
        where.append(on_the_loop())

    probe.line.answers[GMAIL_API] = [long(runner.LARGE - 100)]
    await probe.script(body)
    assert where == [True]


async def test_loop_keeps_running_while_a_tool_reads_a_long_answer(probe: Probe) -> None:
    """The tool waits for the loop: on the loop's own thread neither could continue."""
    turned = threading.Event()

    def body() -> Steps:
        yield ASKED
        asked.set()
        return turned.wait(20)

    class Asked:
        def set(self) -> None:
            loop.call_soon_threadsafe(turned.set)

    asked, loop = Asked(), asyncio.get_running_loop()
    probe.line.answers[GMAIL_API] = [long()]
    assert await probe.script(body) is True


async def test_at_most_two_tools_per_loop_run_on_threads(probe: Probe) -> None:
    gate, counted, most, now = threading.Event(), threading.Lock(), 0, 0
    both = asyncio.Event()
    loop = asyncio.get_running_loop()

    def body() -> Steps:
        nonlocal most, now
        yield ASKED
        with counted:
            now += 1
            most = max(most, now)
            if now == runner.READERS:
                loop.call_soon_threadsafe(both.set)
        gate.wait(20)
        with counted:
            now -= 1

    probe.line.answers[GMAIL_API] = [long()] * 5
    acts = [asyncio.create_task(probe.script(body)) for _ in range(5)]
    await asyncio.wait_for(both.wait(), 20)
    for _ in range(20):
        await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(*acts)
    assert most == runner.READERS


async def test_tool_on_a_thread_keeps_its_callers_context(probe: Probe) -> None:
    def body() -> Steps:
        yield ASKED
        return f"{HERE.get()}, {on_the_loop()}"

    probe.line.answers[GMAIL_API] = [long()]
    HERE.set("Alice's run")
    assert await probe.script(body) == "Alice's run, False"


async def test_tool_on_a_thread_receives_failures_and_can_continue(probe: Probe) -> None:
    def body() -> Steps:
        yield ASKED
        try:
            yield ASKED
        except NotFound:
            return on_the_loop()

    probe.line.answers[GMAIL_API] = [long(), answer(404)]
    assert await probe.script(body) is False


@pytest.mark.parametrize("broken", [ZeroDivisionError("secret"), StopIteration("secret"), RuntimeError("secret")])
async def test_broken_tool_on_a_thread_raises_typed_error(probe: Probe, broken: Exception) -> None:
    def body() -> Steps:
        yield ASKED
        raise broken

    probe.line.answers[GMAIL_API] = [long()]
    with pytest.raises(InvalidInput, match="bug in the tool") as caught:
        await probe.script(body)
    assert "secret" not in str(caught.value)


async def test_tool_that_breaks_on_a_thread_after_its_write_is_outcome_unknown(probe: Probe) -> None:
    def body() -> Steps:
        yield ASKED
        yield Request("POST", PATH, json={})
        raise ValueError

    probe.line.answers[GMAIL_API] = [long(), answer(200)]
    with pytest.raises(OutcomeUnknown):
        await probe.script(body, tool="write")


async def test_cancelled_call_stops_the_tool_on_its_thread(probe: Probe) -> None:
    began, gate, ended = asyncio.Event(), threading.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def body() -> Steps:
        try:
            yield ASKED
            loop.call_soon_threadsafe(began.set)
            gate.wait(20)
            yield ASKED
        finally:
            ended.set()

    probe.line.answers[GMAIL_API] = [long()]
    act = asyncio.create_task(probe.script(body))
    await asyncio.wait_for(began.wait(), 20)
    act.cancel()
    with pytest.raises(asyncio.CancelledError):
        await act
    assert not ended.is_set()
    del act
    gate.set()
    assert await asyncio.to_thread(ended.wait, 20)
    assert probe.line.count(GMAIL_API) == 1


async def test_cancelled_call_holds_its_thread_slot_until_the_thread_ends(probe: Probe) -> None:
    began, gate = asyncio.Semaphore(0), threading.Event()
    loop = asyncio.get_running_loop()

    def body() -> Steps:
        yield ASKED
        loop.call_soon_threadsafe(began.release)
        gate.wait(20)
        raise ZeroDivisionError("nobody asks")

    probe.line.answers[GMAIL_API] = [long()] * (runner.READERS + 1)
    acts = [asyncio.create_task(probe.script(body)) for _ in range(runner.READERS)]
    for _ in acts:
        await asyncio.wait_for(began.acquire(), 20)
    for act in acts:
        act.cancel()
    assert all(isinstance(one, asyncio.CancelledError) for one in await asyncio.gather(*acts, return_exceptions=True))
    last = asyncio.create_task(probe.script(body))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(began.acquire(), 0.2)
    gate.set()
    with pytest.raises(InvalidInput):
        await last


async def test_tool_continues_on_the_loop_when_no_thread_can_start(
    probe: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def body() -> Steps:
        yield ASKED
        return on_the_loop()

    def none(*args: Any) -> Any:
        raise RuntimeError("cannot schedule new futures after shutdown")

    probe.line.answers[GMAIL_API] = [long()]
    monkeypatch.setattr(asyncio.get_running_loop(), "run_in_executor", none)
    assert await probe.script(body) is True


def test_event_loop_is_garbage_collected_after_tools_waited_for_a_slot() -> None:
    """A program may start a new loop for each request it serves."""

    async def acts() -> weakref.ref[asyncio.AbstractEventLoop]:
        async with probing() as probe:

            def body() -> Steps:
                yield ASKED

            probe.line.answers[GMAIL_API] = [long()] * 5
            await asyncio.gather(*(probe.script(body) for _ in range(5)))
        return weakref.ref(asyncio.get_running_loop())

    loop = asyncio.run(acts())
    gc.collect()
    assert loop() is None


async def test_thread_slot_is_not_lost_when_a_waiting_call_is_cancelled(probe: Probe) -> None:
    began, gate = asyncio.Semaphore(0), threading.Event()
    loop = asyncio.get_running_loop()

    def body() -> Steps:
        yield ASKED
        loop.call_soon_threadsafe(began.release)
        gate.wait(20)

    probe.line.answers[GMAIL_API] = [long()] * (runner.READERS + 1)
    acts = [asyncio.create_task(probe.script(body)) for _ in range(runner.READERS + 1)]
    for _ in range(runner.READERS):
        await asyncio.wait_for(began.acquire(), 20)
    while runner._readers[loop].calls <= runner.READERS:  # noqa: ASYNC110
        await asyncio.sleep(0.002)
    acts[-1].cancel()
    with pytest.raises(asyncio.CancelledError):
        await acts[-1]
    assert runner._readers[loop].calls == runner.READERS
    gate.set()
    await asyncio.gather(*acts[:-1])
    assert loop not in runner._readers


async def test_cancelled_call_stays_cancelled_when_its_tool_breaks_on_close(probe: Probe) -> None:
    def body() -> Steps:
        try:
            yield ASKED
        finally:
            raise LookupError("ya29.of-the-answer")

    probe.line.held = GMAIL_API
    act = asyncio.create_task(probe.script(body))
    while not probe.line.waiting:  # noqa: ASYNC110
        await asyncio.sleep(0.002)
    act.cancel()
    with pytest.raises(asyncio.CancelledError):
        await act
