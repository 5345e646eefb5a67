"""What an application wraps around the act node's calls: wrappers that pause, error handlers, streaming tools."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool
from langgraph.config import get_stream_writer
from langgraph.prebuilt import ToolNode, ToolRuntime
from langgraph.types import Command, interrupt

from deputize.adapters.langgraph import act_node
from deputize.core import Deputy, InvalidInput, PolicyDenied
from deputize.sandbox import Sandbox
from tests.support.graphs import SEARCH, SEND, Context, Graph, asking, config, plain, tool_messages, wired
from tests.support.scripted_agents import agent

pytestmark = [
    pytest.mark.connected("readonly", "compose"),
    pytest.mark.connected("readonly", "compose", user="bob", as_="bob@example.test"),
]

ALICE, BOB = Context("alice"), Context("bob")
DRAFT: dict[str, Any] = {**SEND, "name": "gmail_save_draft", "id": "draft"}


async def run(graph: Graph, given: Any, mode: str, who: Context = ALICE) -> Any:
    if mode == "async":
        return await graph.ainvoke(given, config(), context=who)
    return await asyncio.to_thread(graph.invoke, given, config(), context=who)


def given(*calls: dict[str, Any]) -> dict[str, Any]:
    """Return a model's message: it has an id."""
    return {"messages": [HumanMessage("go on"), AIMessage("", id="m", tool_calls=[dict(one) for one in calls])]}


def pausing(request: Any, execute: Callable[[Any], Any]) -> Any:
    interrupt("The application asks first.")
    return execute(request)


async def pausing_too(request: Any, execute: Callable[[Any], Any]) -> Any:
    return await pausing(request, execute)


@pytest.mark.parametrize("mode", ["async", "sync"])
@pytest.mark.parametrize("call", [SEARCH, DRAFT], ids=["a read", "a write"])
async def test_pause_of_a_wrapper_belongs_to_its_owner(
    call: dict[str, Any], mode: str, deputy: Deputy, sandbox: Sandbox
) -> None:
    graph = plain(deputy, wrap_tool_call=pausing, awrap_tool_call=pausing_too)
    await run(graph, given(call), mode)
    with pytest.raises(PolicyDenied):
        await run(graph, Command(resume="go"), mode, BOB)
    state = await run(graph, Command(resume="go"), mode)
    assert tool_messages(state)[call["id"]].status == "success"
    assert {one.who for one in sandbox.requests if one.host == "gmail.googleapis.com"} == {"alice@example.test"}


@pytest.mark.parametrize("mode", ["async", "sync"])
@pytest.mark.parametrize("call", [SEARCH, DRAFT], ids=["a read", "a write"])
async def test_foreign_exception_is_handled_as_the_application_configured(
    call: dict[str, Any], mode: str, deputy: Deputy, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("The disk is full.")

    monkeypatch.setattr(Deputy, "act", broken)
    state = await run(plain(deputy, handle_tool_errors="Not now."), given(call), mode)
    assert tool_messages(state)[call["id"]].content == "Not now."
    with pytest.raises(RuntimeError, match="full"):
        await run(plain(deputy), given(call), mode)


@tool
def counting(to: int, runtime: ToolRuntime[Context, Any]) -> str:
    """Count aloud."""
    get_stream_writer()({"counted": to})
    runtime.stream_writer({"and": to})
    return "counted"


@pytest.mark.parametrize("mode", ["async", "sync"])
@pytest.mark.parametrize("subgraphs", [True, False])
async def test_application_tool_stream_is_delivered_beside_an_act(subgraphs: bool, mode: str, deputy: Deputy) -> None:
    call = {"name": "counting", "args": {"to": 3}, "id": "count"}

    async def heard(node: Any, *calls: dict[str, Any]) -> list[Any]:
        graph, how = wired(node), cast("Any", {"stream_mode": "custom", "subgraphs": subgraphs})
        parts: list[Any]
        if mode == "async":
            parts = [part async for part in graph.astream(given(*calls), config(), context=ALICE, **how)]
        else:
            parts = await asyncio.to_thread(lambda: [*graph.stream(given(*calls), config(), context=ALICE, **how)])
        return [part[1] for part in parts] if subgraphs else parts

    expected = await heard(ToolNode([counting]), call)
    assert expected == [{"counted": 3}, {"and": 3}]
    for calls in ([call], [call, DRAFT], [call, SEARCH]):
        assert await heard(act_node(deputy, "gmail", tools=[counting]), *calls) == expected


@pytest.mark.parametrize("call", [SEARCH, DRAFT], ids=["a read", "a write"])
async def test_call_without_an_id_is_refused_first(call: dict[str, Any], deputy: Deputy, sandbox: Sandbox) -> None:
    """No message could answer it: the result of a read would have become a message of the user."""
    nameless = {**call, "id": None}
    with pytest.raises(InvalidInput, match="no id"):
        await plain(deputy).ainvoke(asking(nameless), config(), context=ALICE)
    with pytest.raises(InvalidInput, match="no id"):
        await agent(deputy, nameless).ainvoke({"messages": [("user", "go on")]}, config(), context=ALICE)
    assert sandbox.count("gmail.googleapis.com") == 0
