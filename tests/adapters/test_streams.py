"""Acts and application tools run in the act node itself, as with ``ToolNode``: no inner graph is visible in streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_config
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolCallTransformer, ToolNode, ToolRuntime
from langgraph.types import Command, Send

from deputize.adapters.langgraph import act_node
from deputize.core import Deputy, allow_all
from deputize.sandbox import Sandbox
from tests.support.graphs import SEARCH, SEND, Context, approvals_of, asking, config, tool_messages
from tests.support.sandbox_deputy import build, connect

pytestmark = pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning")  # of a tool's runtime
ALICE, MINE = Context("alice"), "alice@example.test"
SECOND = {**SEND, "id": "second", "args": {**SEND["args"], "subject": "Dinner"}}
HOST: dict[str, Any] = {"name": "ask_model", "args": {"about": "lunch"}, "id": "host"}
CALLS = ([SEARCH], [SEND], [SEND, SECOND], [SEARCH, SEND], [HOST, SEARCH], [HOST, SEND, SECOND])
of_calls = pytest.mark.parametrize("calls", CALLS, ids=lambda calls: "+".join(call["id"] for call in calls))
shapes = pytest.mark.parametrize("shape", ["a node", "a graph inside", "sent one by one"])
modes = pytest.mark.parametrize("blocking", [False, True], ids=["async", "sync"])


@tool
def gmail_search_emails(query: str) -> str:
    """Search."""
    return query


@tool
def gmail_send_email(to: list[str], subject: str, body: str) -> str:
    """Send."""
    return subject


class Asked:
    """An application tool that streams its own model, and records where it runs."""

    def __init__(self) -> None:
        self.told = list[Any]()

        @tool
        def ask_model(about: str, runtime: ToolRuntime) -> str:
            """Ask a model of the host's."""
            here: Any = get_config()
            assert here["metadata"] == runtime.config.get("metadata")
            self.told.append((plainly(here["metadata"]), unnumbered(here.get("tags")), here.get("recursion_limit")))
            model = GenericFakeChatModel(messages=iter([AIMessage("hello there")]))
            return "".join(chunk.text for chunk in model.stream(about))

        self.tool = ask_model


class Started(BaseCallbackHandler):
    """Records which tools and models callbacks see starting."""

    run_inline = True

    def __init__(self) -> None:
        self.heard = list[Any]()

    def on_tool_start(self, serialized: Any, input_str: str, *, metadata: Any = None, **more: Any) -> None:
        """A tool starts."""
        self.heard.append((serialized["name"], plainly(metadata), unnumbered(more.get("tags"))))

    def on_chat_model_start(self, serialized: Any, messages: Any, *, metadata: Any = None, **more: Any) -> None:
        """A model starts."""
        self.heard.append(("model", plainly(metadata), unnumbered(more.get("tags"))))


def plainly(metadata: dict[str, Any]) -> Any:
    """Return metadata without random values and without deputize's own entries."""
    kept = {name: value for name, value in metadata.items() if name not in ("provider", "scopes", "effect", "remark")}
    return sorted((name, unnumbered(value)) for name, value in kept.items())


def unnumbered(value: Any) -> str:
    """Return a namespace without task ids, and tags once: the oldest release repeats them in an inner graph."""
    if isinstance(value, list):
        return " ".join(sorted(set(value)))
    return "|".join(part.partition(":")[0] for part in value.split("|")) if isinstance(value, str) else str(value)


@pytest.fixture
async def deputy(sandbox: Sandbox) -> AsyncIterator[Deputy]:
    async with await build(sandbox, policy=allow_all) as deputy:
        await connect(deputy, sandbox, "send", "readonly")
        yield deputy


def around(node: Any, shape: str) -> Any:
    """Return a graph in which a node with this name is reached in this way."""
    builder = StateGraph(MessagesState, context_schema=Context)
    builder.add_node("acting", node)
    builder.add_edge("acting", END)
    if shape == "sent one by one":
        each = [{"type": "tool_call"}]
        builder.add_conditional_edges(
            START,
            lambda state: [Send("acting", [{**each[0], **call}]) for call in state["messages"][-1].tool_calls],
            ["acting"],
        )
    else:
        builder.add_edge(START, "acting")
    if shape != "a graph inside":
        return builder.compile(checkpointer=InMemorySaver())
    outer = StateGraph(MessagesState, context_schema=Context)
    outer.add_node("sub", builder.compile())
    outer.add_edge(START, "sub")
    return outer.compile(checkpointer=InMemorySaver())


def nodes(deputy: Deputy) -> list[tuple[Any, Asked]]:
    """Return a ``ToolNode`` and an act node, each with an application's own tool."""
    plain, ours = Asked(), Asked()
    twin = ToolNode([plain.tool, gmail_search_emails, gmail_send_email])
    return [(twin, plain), (act_node(deputy, "gmail", tools=[ours.tool]), ours)]


async def streamed(graph: Any, given: Any, *, blocking: bool, **how: Any) -> list[Any]:
    """Return the origin of each token and tool event, unordered: tools run concurrently."""
    where = {**config(), "tags": ["demo"], "recursion_limit": 17}
    how = {"context": ALICE, "stream_mode": ["tools", "messages"], **how}
    if blocking:
        parts = await asyncio.to_thread(lambda: list(graph.stream(given, where, **how)))
    else:
        parts = [part async for part in graph.astream(given, where, **how)]
    found = []
    for part in parts:
        space, (mode, data) = (part[0], part[1:]) if len(part) == 3 else ((), part)
        spaces = [unnumbered(name) for name in space]
        if mode == "tools":
            found.append((spaces, data["event"], data["tool_call_id"], data.get("tool_name")))
        elif type(data[0]).__name__ == "AIMessageChunk":
            found.append((spaces, data[0].content, plainly(data[1]), None))
    return sorted(found, key=str)


@of_calls
@shapes
@modes
@pytest.mark.parametrize("subgraphs", [False, True], ids=["", "subgraphs"])
async def test_tool_events_stream_from_the_node(
    calls: Any, shape: str, blocking: bool, subgraphs: bool, deputy: Deputy
) -> None:
    seen = []
    for node, host in nodes(deputy):
        graph = around(node, shape)
        parts = await streamed(graph, asking(*calls), blocking=blocking, subgraphs=subgraphs)
        seen.append((parts, host.told))
    assert seen[0] == seen[1] and (seen[0][0] or (shape == "a graph inside" and not subgraphs))


@of_calls
@shapes
@modes
async def test_callbacks_receive_the_nodes_name(calls: Any, shape: str, blocking: bool, deputy: Deputy) -> None:
    seen = []
    for node, host in nodes(deputy):
        graph, heard = around(node, shape), Started()
        where: Any = {**config(), "callbacks": [heard], "tags": ["demo"], "metadata": {"mine": "1"}}
        if blocking:
            await asyncio.to_thread(graph.invoke, asking(*calls), where, context=ALICE)
        else:
            await graph.ainvoke(asking(*calls), where, context=ALICE)
        seen.append((sorted(heard.heard, key=str), host.told))
    assert seen[0] == seen[1] and len(seen[0][0]) >= len(calls)


@of_calls
@shapes
@pytest.mark.parametrize("version", ["v2", "v3"])
@pytest.mark.filterwarnings("ignore::langchain_core._api.beta_decorator.LangChainBetaWarning")
async def test_events_name_the_node(calls: Any, shape: str, version: Any, deputy: Deputy) -> None:
    seen = []
    for node, _ in nodes(deputy):
        how: dict[str, Any] = {"transformers": [ToolCallTransformer]} if version == "v3" else {}
        given: Any = around(node, shape).astream_events(asking(*calls), config(), context=ALICE, version=version, **how)
        found = [told_of(event) async for event in (given if version == "v2" else await given)]
        seen.append(sorted(filter(None, found), key=str))
    assert seen[0] == seen[1] and seen[0]


def told_of(event: Any) -> Any:
    """Return what an event of either protocol says about a tool or model; None for other events."""
    if event.get("method") in ("messages", "tools"):
        params, data = event["params"], event["params"]["data"]
        what = data if isinstance(data, dict) else data[0]
        return [unnumbered(name) for name in params["namespace"]], what["event"] if isinstance(what, dict) else ""
    if event["event"].partition("_")[2].startswith(("tool", "chat_model")) if "event" in event else False:
        return event["event"], event["name"], plainly(event["metadata"]), unnumbered(event["tags"])
    return None


@modes
@pytest.mark.parametrize("calls", [[SEND], [SEND, SECOND], [HOST, SEND]], ids=str)
async def test_streams_after_an_approval_match_tool_node(calls: Any, blocking: bool, sandbox: Sandbox) -> None:
    async with await build(sandbox) as deputy:
        await connect(deputy, sandbox, "send", "readonly")
        (twin, _), (node, _) = nodes(deputy)
        expected = await streamed(around(twin, "a node"), asking(*calls), blocking=blocking)
        graph = around(node, "a node")
        before = await streamed(graph, asking(*calls), blocking=blocking)
        yes = {"decisions": {one["approval_id"]: "approve" for one in await approvals_of(graph, config())}}
        after = await streamed(graph, Command(resume=yes), blocking=blocking)
    assert sorted([*before, *after], key=str) == expected


@modes
@of_calls
async def test_completed_act_is_reported_within_few_steps(
    calls: Any, blocking: bool, deputy: Deputy, sandbox: Sandbox
) -> None:
    """The inner graph has its own steps: the run could fail after a mail was sent."""
    (_, _), (node, host) = nodes(deputy)
    graph, where = around(node, "a node"), {**config(), "recursion_limit": 2}
    if blocking:
        state = await asyncio.to_thread(graph.invoke, asking(*calls), where, context=ALICE)
    else:
        state = await graph.ainvoke(asking(*calls), where, context=ALICE)
    assert tool_messages(state).keys() == {call["id"] for call in calls}
    assert len(sandbox.sent(MINE)) == sum(call["name"] == SEND["name"] for call in calls)
    assert [limit for _, _, limit in host.told] == [2] * (HOST in calls)
