"""LangGraph's cache keys contain the node's input and not the user, so acts are never cached."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.cache.memory import InMemoryCache
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import CachePolicy, Send

from deputize.adapters import operator_warnings
from deputize.adapters.langchain import run_context as running
from deputize.adapters.langchain import tools
from deputize.adapters.langgraph import act_node
from deputize.adapters.operator_warnings import MAYBE_CACHED, MAYBE_CACHED_AROUND
from deputize.core import Deputy, SettingsError
from deputize.sandbox import Sandbox
from tests.support.graphs import SEARCH, SEND, Context, asking, config, tool_messages, wired
from tests.support.scripted_agents import agent

pytestmark = pytest.mark.connected("send", "readonly")

SAME: Any = CachePolicy(key_func=lambda state: b"same")
FIND = {**SEARCH, "type": "tool_call"}


@pytest.fixture
def cache() -> InMemoryCache[Any]:
    return InMemoryCache()


def cached(node: Any, cache: Any, **more: Any) -> Any:
    """Return a graph START -> node, with cached results."""
    builder: Any = StateGraph(MessagesState, context_schema=Context)
    builder.add_node("acts", node, **{"cache_policy": CachePolicy(), **more})
    builder.add_edge(START, "acts")
    return builder.compile(checkpointer=InMemorySaver(), cache=cache)


def sending(node: Any, cache: Any) -> Any:
    """Return a graph in which START sends one call to the node."""
    builder = StateGraph(MessagesState, context_schema=Context)
    builder.add_node("acts", node, cache_policy=CachePolicy())
    builder.add_conditional_edges(START, lambda state: [Send("acts", [FIND])], ["acts"])
    return builder.compile(checkpointer=InMemorySaver(), cache=cache)


def functional(node: Any, cache: Any) -> Any:
    """Return an entrypoint that runs the node in a task."""

    @task(cache_policy=SAME)
    async def acts(state: Any) -> Any:
        return await node.ainvoke(state)

    @entrypoint(checkpointer=InMemorySaver(), context_schema=Context, cache=cache)
    async def flow(state: Any) -> Any:
        return await acts(state)

    return flow


def calling(node: Any, cache: Any, *, flow: Any = None, outer: Any = None) -> Any:
    """Return an entrypoint that runs the node in a task called by another task.

    ``flow``, ``outer``: which of them is cached.
    """

    @task
    async def acts(state: Any) -> Any:
        return await node.ainvoke(state)

    @task(cache_policy=outer)
    async def around(state: Any) -> Any:
        return await acts(state)

    @entrypoint(checkpointer=InMemorySaver(), context_schema=Context, cache=cache, cache_policy=flow)
    async def flows(state: Any) -> Any:
        return await around(state)

    return flows


def tasking(node: Any, cache: Any) -> Any:
    """Return a cached function that runs the node in a task."""

    @task
    async def acts(state: Any) -> Any:
        return await node.ainvoke(state)

    async def calls(state: MessagesState) -> Any:
        return await acts(state)

    return cached(calls, cache)


def called(node: Any, cache: Any) -> Any:
    """Return a cached function that calls a graph with the node."""
    graph = cached(node, None, cache_policy=None)

    async def calls(state: MessagesState, config: RunnableConfig) -> Any:
        return await graph.ainvoke(state, config, context=Context("alice"))

    return cached(calls, cache)


WAYS: dict[str, Callable[[Any, Any], Any]] = {
    "the node": cached,
    "with a timeout": lambda node, cache: cached(node, cache, timeout=60.0),
    "sent": sending,
    "the graph around it": lambda node, cache: cached(cached(node, None, cache_policy=None), cache),
    "a function around its graph": called,
    "a task": functional,
    "a task around its task": lambda node, cache: calling(node, cache, outer=SAME),
    "the entrypoint around its tasks": lambda node, cache: calling(node, cache, flow=SAME),
    "the node around its task": tasking,
}
NODES: dict[str, Callable[[Deputy], Any]] = {
    "act_node": lambda deputy: act_node(deputy, "gmail"),
    "tools": lambda deputy: ToolNode(tools(deputy, "gmail")),
}


@pytest.mark.parametrize("call", [SEARCH, SEND], ids=["read", "write"])
@pytest.mark.parametrize("made", NODES.values(), ids=NODES)
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_cached_act_task_is_refused_and_nothing_is_cached(
    way: Any, made: Any, call: Any, deputy: Deputy, sandbox: Sandbox, cache: Any
) -> None:
    graph = way(made(deputy), cache)
    for user in ("alice", "bob"):
        with pytest.raises(SettingsError, match="cache_policy") as refused:
            await graph.ainvoke(asking(call), config(user), context=Context(user))
        assert "Remove cache_policy" in refused.value.hint
    assert not cache._cache and not sandbox.sent("alice@example.test")


@pytest.mark.parametrize("made", NODES.values(), ids=NODES)
async def test_cached_act_task_is_refused_in_a_blocking_graph(made: Any, deputy: Deputy, cache: Any) -> None:
    with pytest.raises(SettingsError, match="'acts' has a cache_policy"):
        await asyncio.to_thread(cached(made(deputy), cache).invoke, asking(SEARCH), config(), context=Context("alice"))
    assert not cache._cache or version("langgraph") == "1.2.13"  # which keeps errors, in blocking graphs


async def test_agent_in_a_cached_node_is_refused(deputy: Deputy, cache: Any) -> None:
    with pytest.raises(SettingsError, match="cache_policy"):
        await cached(agent(deputy, SEARCH), cache).ainvoke(asking(), config(), context=Context("alice"))
    assert not cache._cache


@pytest.mark.parametrize("way", ["a cache, for others", "a policy, and no cache"])
async def test_uncached_task_acts_without_a_warning(
    way: str, deputy: Deputy, cache: Any, caplog: pytest.LogCaptureFixture
) -> None:
    theirs = way == "a cache, for others"
    graph = (
        cached(act_node(deputy, "gmail"), cache, cache_policy=None)
        if theirs
        else cached(act_node(deputy, "gmail"), None)
    )
    with caplog.at_level(logging.WARNING, "deputize"):
        state = await graph.ainvoke(asking(SEARCH), config(), context=Context("alice"))
    assert tool_messages(state)["search"].status == "success" and not caplog.records


@pytest.mark.parametrize("kept", ["elsewhere", lambda *given: None], ids=["text", "function"])
def test_unknown_task_representation_is_ignored(kept: Any) -> None:
    assert not [*running.tasks_around({"configurable": {running.CALL: kept}})]


async def test_undetectable_caching_is_warned_about_once(
    deputy: Deputy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(operator_warnings, "_logged", set())
    monkeypatch.setattr(running, "CALL", "elsewhere")
    graph = wired(act_node(deputy, "gmail"))
    with caplog.at_level(logging.WARNING, "deputize"):
        for thread in ("1", "2"):
            await graph.ainvoke(asking(SEARCH), config(thread), context=Context("alice"))
    assert [one.message for one in caplog.records] == [MAYBE_CACHED]


async def test_node_with_its_own_thread_is_warned_about_once(
    deputy: Deputy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(operator_warnings, "_logged", set())
    graph = wired(act_node(deputy, "gmail"))

    async def calls(state: MessagesState) -> Any:
        return await graph.ainvoke(state, config("of its own"), context=Context("alice"))

    outer = cached(calls, None, cache_policy=None)
    with caplog.at_level(logging.WARNING, "deputize"):
        for thread in ("1", "2"):
            await outer.ainvoke(asking(SEARCH), config(thread), context=Context("alice"))
    assert [one.message for one in caplog.records] == [MAYBE_CACHED_AROUND]
