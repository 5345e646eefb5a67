"""A graph resumed without an interrupt id: the value counts for that run, and not for a later pause."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

from deputize.adapters.langgraph.resume_scope import forget_bare_resume
from tests.support.graphs import Graph, config, sqlite_saver, wired

HEARD = list[tuple[str, Any]]


def two_pauses(
    heard: HEARD, saver: Any = None, strangers: bool = False, blocking: bool = False, hosts: str = ""
) -> Graph:
    """A task with an inner graph that pauses twice, as an act node does for consent and for approval.

    ``hosts``: which of the pauses belongs to the application.
    """

    def waiting(name: str) -> Any:
        def hear() -> dict[str, Any]:
            heard.append((name, interrupt(name)))
            return {}

        async def awaited(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
            if name != hosts:
                await forget_bare_resume(config, heard=not strangers)
            return hear()

        def blocked(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
            if name != hosts:
                asyncio.run(forget_bare_resume(config, heard=not strangers))
            return hear()

        return blocked if blocking else awaited

    inner = StateGraph(MessagesState)
    inner.add_node("first", waiting("first")).add_node("second", waiting("second"))
    inner.add_edge(START, "first").add_edge("first", "second")
    return wired(inner.compile(), saver or InMemorySaver())


def shown(graph: Graph) -> list[Any]:
    return [pause.value for pause in graph.get_state(config()).interrupts]


@pytest.mark.parametrize("hosts", ["", "first"])
async def test_run_without_a_resume_value_does_not_repeat_the_last_one(hosts: str) -> None:
    heard = HEARD()
    graph = two_pauses(heard, hosts=hosts)
    await graph.ainvoke({"messages": []}, config())
    await graph.ainvoke(Command(resume="yes"), config())
    for _ in range(2):
        await graph.ainvoke(None, config())
        assert ("second", "yes") not in heard
    assert heard[0] == ("first", "yes")


async def test_resume_by_interrupt_id_brings_no_earlier_value() -> None:
    heard = HEARD()
    strange, graph = two_pauses(heard, saver := InMemorySaver(), strangers=True), two_pauses(heard, saver)
    await graph.ainvoke({"messages": []}, config())
    await strange.ainvoke(Command(resume="yes"), config())
    assert heard == [] and shown(graph) == ["first"], "what is dropped is heard by nobody"
    [pause] = (await graph.aget_state(config())).interrupts
    await graph.ainvoke(Command(resume={pause.id: "look again"}), config())
    assert heard[0] == ("first", "look again") and ("second", "yes") not in heard


async def test_next_resume_value_counts_as_usual() -> None:
    heard = HEARD()
    graph = two_pauses(heard)
    await graph.ainvoke({"messages": []}, config())
    for _ in range(2):
        await graph.ainvoke(Command(resume="yes"), config())
    assert heard == [("first", "yes"), ("second", "yes")] and shown(graph) == []


@pytest.mark.parametrize("hosts", ["", "first"])
@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_blocking_graph_forgets_a_bare_resume_value(tmp_path: Path, durability: Any, hosts: str) -> None:
    heard = HEARD()
    with sqlite_saver(tmp_path / "graph.db") as saver:
        graph = two_pauses(heard, saver, blocking=True, hosts=hosts)
        graph.invoke({"messages": []}, config(), durability=durability)
        graph.invoke(Command(resume="yes"), config(), durability=durability)
        graph.invoke(None, config(), durability=durability)
        assert heard[0] == ("first", "yes") and ("second", "yes") not in heard


async def test_forgetting_outside_a_graph_does_nothing() -> None:
    await forget_bare_resume({}, heard=True)
    await forget_bare_resume(config(), heard=False)
