"""Nested and parallel graphs, and options of a node: retries, a cache, breakpoints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.cache.memory import InMemoryCache
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import CachePolicy, Command, Send

from deputize.core import SettingsError
from tests.support.features.scene import GATED, PLAIN, Row, Scene, agent_of, invoked, mail_to
from tests.support.graphs import Context, Graph, wired
from tests.support.sandbox_deputy import connect
from tests.support.scripted_agents import Scripted

SAVERS: Final[dict[str, Callable[[], Any]]] = {"None": lambda: None, "True": lambda: True, "its own": InMemorySaver}


def inside(part: Any, checkpointer: Any = None) -> Graph:
    """Build a graph with only this node, to be used as a node."""
    builder = StateGraph(MessagesState, context_schema=Context)
    builder.add_node("acts", part)
    builder.add_edge(START, "acts")
    builder.add_edge("acts", END)
    return builder.compile(checkpointer=checkpointer)


def subgraph(saver: str, depth: int = 1) -> Row:
    """Nest the part in this many graphs, the innermost with this checkpointer."""

    async def played(scene: Scene) -> int:
        made = inside(scene.part(), SAVERS[saver]())
        for _ in range(depth - 1):
            made = inside(made)
        return await scene.play(wired(made, scene.saver))

    return Row(f"subgraph, {depth} deep, checkpointer {saver}", played, usual=saver == "None" and depth == 2)


async def without_memory(scene: Scene) -> int:
    """``checkpointer=False``: LangGraph delivers no answer to a pause inside; it is requested again and again."""
    graph = wired(inside(scene.part(), checkpointer=False), scene.saver)
    await invoked(scene, graph, scene.start())
    for _ in range(4):
        [pause] = (await scene.state(graph)).interrupts
        await invoked(scene, graph, Command(resume={pause.id: await scene.answer(pause)}))
    return scene.sent()


async def without_memory_decided_elsewhere(scene: Scene) -> int:
    """``checkpointer=False``, and Alice decides on her page: the decision counts, and the next resume sends."""
    graph = wired(inside(scene.part(), checkpointer=False), scene.saver)
    await connect(scene.deputy, scene.sandbox, "send")
    await invoked(scene, graph, scene.start())
    [pause] = (await scene.state(graph)).interrupts
    await scene.deputy.decide(pause.value["approvals"][0]["approval_id"], "approve", by="alice")
    for _ in range(2):
        await invoked(scene, graph, Command(resume={pause.id: {"wake": True}}))
    return scene.sent()


async def fan_out(scene: Scene) -> int:
    """Three parallel acts by ``Send``: Alice is shown one link, and asked about each mail."""
    names, builder = ("bob", "carol", "dan"), StateGraph(MessagesState, context_schema=Context)

    def asks(messages: list[Any]) -> AIMessage:
        done = messages[-1].type == "tool"
        return AIMessage("done") if done else AIMessage("", tool_calls=[mail_to(str(messages[-1].text))])

    def each(state: Any) -> list[Send]:
        if scene.way == "create_agent":
            return [Send("acts", {"messages": [HumanMessage(name)]}) for name in names]
        return [Send("acts", {"messages": [AIMessage("", id=name, tool_calls=[mail_to(name)])]}) for name in names]

    part = agent_of(scene.deputy, Scripted(respond=asks)) if scene.way == "create_agent" else scene.part()
    builder.add_node("acts", part)
    builder.add_conditional_edges(START, each, ["acts"])
    builder.add_edge("acts", END)
    mails = await scene.play(builder.compile(checkpointer=scene.saver))
    assert len(set(scene.asked["consent"])) == 1 and len(set(scene.asked["approval"])) == 3, scene.asked
    return mails


def cached(scene: Scene) -> Graph:
    """Use the part as a node with a cache."""
    builder = StateGraph(MessagesState, context_schema=Context)
    builder.add_node("acts", scene.part(), cache_policy=CachePolicy())
    builder.add_edge(START, "acts")
    builder.add_edge("acts", END)
    return builder.compile(checkpointer=scene.saver, cache=InMemoryCache())


async def once_cached(scene: Scene) -> int:
    """A cached node, which does not know whose answer it stores, is refused, and nothing is sent."""
    with pytest.raises(SettingsError, match="cache_policy"):
        await scene.play(cached(scene))
    return scene.sent()


def breakpoints(feature: str, **where: Any) -> Row:
    """Static breakpoints around the part."""

    async def played(scene: Scene) -> int:
        builder = StateGraph(MessagesState, context_schema=Context)
        builder.add_node("before", lambda state: {})
        builder.add_node("acts", scene.part())
        builder.add_node("after", lambda state: {})
        builder.add_edge(START, "before")
        builder.add_edge("before", "acts")
        builder.add_edge("acts", "after")
        builder.add_edge("after", END)
        graph = builder.compile(checkpointer=scene.saver, **where)
        return await scene.play(graph)

    return Row(feature, played)


ROWS: Final = (
    *(subgraph(saver) for saver in SAVERS),
    *(subgraph(saver, depth=2) for saver in SAVERS),
    Row("subgraph, checkpointer False", without_memory, mails=0, by_hand=True),
    Row(
        "subgraph, checkpointer False, decided on a page",
        without_memory_decided_elsewhere,
        ways=("act_node",),
        by_hand=True,
    ),
    Row("Send, three at once", fan_out, mails=3, usual=True),
    Row("CachePolicy", once_cached, (*GATED, PLAIN), mails=0, by_hand=True),
    breakpoints("interrupt_before the node", interrupt_before=["acts"]),
    breakpoints("interrupt_after the node", interrupt_after=["acts"]),
    breakpoints(
        "interrupt_before and _after all", interrupt_before=["before", "acts", "after"], interrupt_after=["acts"]
    ),
)
