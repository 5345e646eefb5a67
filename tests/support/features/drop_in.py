"""The act node in place of ``ToolNode``: the application's own tools, which know nothing of a deputy, in both.

A case is a graph over a node, and what a model asks of the host's tools in it. `seen` has all that can be seen from
outside: the state, what was raised, callbacks, and the events of each way to stream.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command

from tests.support.graphs import Context, Graph, config

SIDE_BY_SIDE: Final = ("tools", "custom", "messages")
"""Events of concurrent tools, whose order is arbitrary."""


def both(old: str, new: str) -> str:
    """Join two notes."""
    return f"{old} {new}".strip()


class Noted(MessagesState, total=False):
    """A state with another field beside messages."""

    note: Annotated[str, both]
    customer: str


Tools = Sequence[Any]
Made = tuple[Tools, dict[str, Any]]
"""The application's tools and the other options of their node; created again for each node, since some count."""


@dataclass(frozen=True)
class Case:
    """What a model requests of the application's tools, and the graph in which it does."""

    name: str
    made: Callable[[], Made]
    calls: tuple[dict[str, Any], ...]
    build: Callable[[Any], Graph] = field(default_factory=lambda: around)
    start: Mapping[str, Any] = field(default_factory=dict)
    key: str = "messages"

    def given(self, *more: dict[str, Any]) -> dict[str, Any]:
        """Return the graph's input; ``more``: calls of the same message, before the others."""
        calls = [dict(call) for call in (*more, *self.calls)]
        messages = [HumanMessage("go on", id="human"), AIMessage("", id="wish", tool_calls=calls)]
        return {self.key: messages, "customer": "c1", **self.start}


def around(node: Any, schema: type[Any] = Noted) -> Graph:
    """Build START -> node -> after -> END; ``elsewhere`` is where a tool may go."""
    builder = StateGraph(schema, context_schema=Context)
    builder.add_node("tools", node)
    builder.add_node("after", lambda state: {"note": "after"})
    builder.add_node("elsewhere", lambda state: {"note": "elsewhere"})
    builder.add_edge(START, "tools")
    builder.add_edge("tools", "after")
    builder.add_edge("after", END)
    builder.add_edge("elsewhere", END)
    store = InMemoryStore()
    store.put(("notes",), "one", {"text": "likes lunch"})
    return builder.compile(checkpointer=InMemorySaver(), store=store)


class Heard(BaseCallbackHandler):
    """Records everything that callbacks receive about tools."""

    run_inline = True

    def __init__(self) -> None:
        self.events: list[Any] = []

    def on_tool_start(self, serialized: Any, input_str: str, *, inputs: Any = None, **more: Any) -> None:
        """Record a start."""
        self.events.append(("start", serialized["name"], input_str, more.get("tags"), more.get("tool_call_id")))

    def on_tool_end(self, output: Any, **more: Any) -> None:
        """Record an answer."""
        self.events.append(("end", told(output)))

    def on_tool_error(self, error: BaseException, **more: Any) -> None:
        """Record an error."""
        self.events.append(("error", type(error).__name__))


def told(value: Any) -> Any:
    """Return a value without the parts that differ between runs."""
    if isinstance(value, BaseMessage):
        told_id = value.id if value.id in ("human", "wish") else ""
        extra = {
            name: getattr(value, name, None) for name in ("name", "status", "tool_call_id", "artifact", "tool_calls")
        }
        return (value.type, value.content, told_id, extra)
    if isinstance(value, Command):
        return ("Command", told(value.update), value.goto, value.graph)
    if isinstance(value, Mapping):
        return {name: told(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [told(one) for one in value]
    return value


async def seen(case: Case, node: Any, mode: str, *more: dict[str, Any]) -> dict[str, Any]:
    """Return what a run over this node shows: its state, its exception, and what callbacks received."""
    graph, heard = case.build(node), Heard()
    raised = await run(graph, case.given(*more), heard, mode)
    values = (await graph.aget_state(config())).values
    return {"state": told(values), "raised": raised, "heard": sorted(heard.events, key=str)}


async def run(graph: Any, given: Any, heard: Heard, mode: str) -> str:
    """Run a graph; return its exception."""
    where: Any = {**config(), "callbacks": [heard], "tags": ["demo"]}
    try:
        if mode == "sync":
            await asyncio.to_thread(graph.invoke, given, where, context=Context("alice"))
        else:
            await graph.ainvoke(given, where, context=Context("alice"))
    except Exception as e:
        return f"{type(e).__name__}: {e}"
    return ""


async def streamed(case: Case, node: Any) -> dict[str, Any]:
    """Return the parts and events of each way to stream."""
    found: dict[str, Any] = {}
    for mode in ("updates", "values", "messages", "custom", "tools"):
        graph = case.build(node)
        how: Any = {"context": Context("alice"), "stream_mode": [mode], "subgraphs": True}
        stream: Any = graph.astream(case.given(), config(), **how)
        try:
            parts = [shown(part) async for part in stream]
            found[mode] = sorted(parts, key=str) if mode in SIDE_BY_SIDE else parts
        except Exception as e:
            found[mode] = type(e).__name__
    graph, events = case.build(node), list[Any]()
    try:
        async for event in graph.astream_events(case.given(), config(), context=Context("alice"), version="v2"):
            if event["event"].startswith("on_tool"):
                data: Any = event["data"]
                events.append((event["event"], event["name"], told(data.get("input")), told(data.get("output"))))
    except Exception as e:
        events.append(type(e).__name__)
    found["events"] = sorted(events, key=str)
    return found


def shown(part: Any) -> Any:
    """Return a part of a stream without task ids, and without a message's metadata about its origin."""
    spaces, mode, data = part
    places = [space.partition(":")[0] for space in spaces]
    if mode == "messages":
        message, metadata = data
        return places, told(message), metadata["langgraph_node"]
    return places, told(data)
