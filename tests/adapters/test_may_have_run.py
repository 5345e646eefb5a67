"""A LangGraph task that has run before is never mistaken for a new one: its traces are searched for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeAlias

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, RetryPolicy, Send, interrupt
from typing_extensions import TypedDict

from deputize.adapters.langgraph import inline_execution as fast_path
from deputize.adapters.langgraph.inline_execution import TaskLocation
from tests.support.graphs import config


class State(TypedDict, total=False):
    """The state of all graphs in this module."""

    word: str


Do: TypeAlias = Callable[[int], object]


class Tasks:
    """Records what each run of the probed node received, and whether it was new. ``do``: its behavior by run number."""

    def __init__(self, do: Do) -> None:
        self.do, self.runs, self.seen, self.begun = do, list[tuple[bool, bool]](), set[str](), asyncio.Event()

    async def node(self, state: State, config: RunnableConfig) -> State:
        place = TaskLocation.of(config, pausing=True)
        assert place is not None
        self.runs.append((place.may_have_run, place.task in self.seen))
        self.seen.add(place.task)
        self.begun.set()
        done = self.do(len(self.runs))
        await (done if isinstance(done, Awaitable) else asyncio.sleep(0))
        return {}

    @property
    def again(self) -> int:
        """Return the number of repeated runs, and check that none of them was taken for a first one."""
        assert all(told for told, again in self.runs if again), self.runs
        return sum(again for _, again in self.runs)


def pause(_: int) -> object:
    return interrupt("?")


def fail(times: int) -> Do:
    """Fail this many times."""

    def do(run: int) -> None:
        if run <= times:
            raise ConnectionError(str(run))

    return do


def graph(
    tasks: Tasks, *, retry: RetryPolicy | None = None, inside: bool = False, saver: Any = None, **more: Any
) -> Any:
    """Return a graph START -> first -> the node -> END.

    ``inside``: a function of such a graph, with its own checkpoints.
    """
    builder = StateGraph(State)
    builder.add_node("first", lambda state: {"word": "first"})
    builder.add_node("tools", tasks.node, retry_policy=retry)
    builder.add_edge(START, "first")
    builder.add_edge("first", "tools")
    builder.add_edge("tools", END)
    if not inside:
        return builder.compile(checkpointer=InMemorySaver(), **more)
    inner = builder.compile(checkpointer=True)
    given: list[Any] = [{"word": "begin"}]

    async def calls(state: State, config: RunnableConfig) -> State:
        with suppress(ConnectionError):
            await inner.ainvoke(given[0], config)
        given[0] = None
        return {}

    outer = StateGraph(State)
    outer.add_node("first", lambda state: {"word": "first"})
    outer.add_node("calls", calls)
    outer.add_edge(START, "first")
    outer.add_edge("first", "calls")
    outer.add_edge("calls", END)
    return outer.compile(checkpointer=InMemorySaver())


ONCE_MORE = RetryPolicy(initial_interval=0.01, jitter=False, retry_on=ConnectionError)


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("how", ["value", "map", "nothing", "checkpoint"])
async def test_paused_task_is_recognized_however_it_is_resumed(how: str, durability: Any) -> None:
    tasks = Tasks(pause)
    made = graph(tasks)
    await made.ainvoke({"word": "begin"}, config(), durability=durability)
    assert tasks.runs == [(False, False)], "and a first run is not looked for"
    state = await made.aget_state(config())
    given: Any = {"map": Command(resume={state.interrupts[0].id: "yes"}), "nothing": None}
    place = state.config if how == "checkpoint" else config()
    await made.ainvoke(given.get(how, Command(resume="yes")), place, durability=durability)
    assert tasks.again == 1


@pytest.mark.parametrize("inside", [False, True])
async def test_failed_task_is_recognized(inside: bool) -> None:
    tasks = Tasks(fail(1))
    made = graph(tasks, inside=inside)
    with suppress(ConnectionError):
        await made.ainvoke({"word": "begin"}, config())
    await made.ainvoke({"word": "again"} if inside else None, config())
    assert tasks.again == 1 or (inside and tasks.runs == [(True, False)] * 2), "a new one, for earlier releases"


async def test_retried_task_is_recognized() -> None:
    tasks = Tasks(fail(2))
    await graph(tasks, retry=ONCE_MORE).ainvoke({"word": "begin"}, config())
    assert tasks.again == 2


async def test_cancelled_task_is_recognized() -> None:
    tasks = Tasks(lambda run: asyncio.sleep(60 if run == 1 else 0))
    made = graph(tasks)
    running = asyncio.ensure_future(made.ainvoke({"word": "begin"}, config()))
    await tasks.begun.wait()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    await made.ainvoke(None, config())
    assert tasks.again == 1


async def test_task_of_an_earlier_checkpoint_is_recognized_when_repeated() -> None:
    tasks = Tasks(lambda run: None)
    made = graph(tasks)
    await made.ainvoke({"word": "begin"}, config())
    [before] = [state async for state in made.aget_state_history(config()) if state.next == ("tools",)]
    await made.ainvoke(None, before.config)
    assert len(tasks.runs) == 2 and tasks.again <= 1 and tasks.runs[1][0]
    changed = await made.aupdate_state(before.config, {"word": "changed"})
    await made.ainvoke(None, changed)
    assert tasks.runs[2][0] and tasks.again <= 2


async def test_task_after_a_graph_breakpoint_is_checked() -> None:
    tasks = Tasks(lambda run: None)
    made = graph(tasks, interrupt_before=["tools"])
    await made.ainvoke({"word": "begin"}, config())
    await made.ainvoke(None, config())
    assert tasks.runs == [(True, False)]


async def test_repeated_tasks_of_a_parallel_send_are_recognized() -> None:
    tasks = Tasks(pause)
    builder = StateGraph(State)
    builder.add_node("first", lambda state: {"word": "first"})
    builder.add_node("tools", tasks.node)
    builder.add_edge(START, "first")
    builder.add_conditional_edges("first", lambda state: [Send("tools", {}) for _ in range(3)], ["tools"])
    made = builder.compile(checkpointer=InMemorySaver())
    await made.ainvoke({"word": "begin"}, config())
    for left in (3, 2, 1):
        pauses = (await made.aget_state(config())).interrupts
        assert len(pauses) == left
        await made.ainvoke(Command(resume={pauses[0].id: "yes"}), config())
    assert tasks.again >= 3


async def test_task_in_the_next_conversation_of_a_thread_is_new() -> None:
    tasks = Tasks(pause)
    made = graph(tasks)
    for _ in range(2):
        await made.ainvoke({"word": "begin"}, config())
    assert tasks.runs == [(False, False)] * 2


async def test_every_task_is_checked_under_renamed_langgraph_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_path, "RESUMING", "__renamed")
    tasks = Tasks(pause)
    await graph(tasks).ainvoke({"word": "begin"}, config())
    assert tasks.runs == [(True, False)]
