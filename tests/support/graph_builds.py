"""Every way to use our tools in a graph: each built with its checkpointer and its input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langchain_core.tools import tool
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Send, interrupt

from deputize.adapters.langchain import tools
from deputize.adapters.langgraph import act_node
from deputize.core import Deputy
from tests.support.graphs import SEARCH, SEND, Context, Graph, asking, plain, wired
from tests.support.scripted_agents import agent, calling

CALLS: Final = (SEND, SEARCH)
GO_ON: Final[dict[str, Any]] = {"messages": [HumanMessage("go on")]}


def act(deputy: Deputy, saver: Any) -> Graph:
    """Build START -> act node -> END."""
    return plain(deputy, saver=saver)


def fan_out(deputy: Deputy, saver: Any) -> Graph:
    """Send each call of the model's message to its own act node."""
    builder = StateGraph(MessagesState, context_schema=Context)
    builder.add_node("tools", act_node(deputy, "gmail"))

    def each(state: Any) -> list[Send]:
        asked = state["messages"][-1]
        alone = [AIMessage("", id=f"{asked.id}-{c['id']}", tool_calls=[c]) for c in asked.tool_calls]
        return [Send("tools", {"messages": [message]}) for message in alone]

    builder.add_conditional_edges(START, each, ["tools"])
    builder.add_edge("tools", END)
    return builder.compile(checkpointer=saver)


def created(deputy: Deputy, saver: Any) -> Graph:
    """Build ``create_agent`` with both middlewares."""
    return agent(deputy, *CALLS, saver=saver)


def subgraph(deputy: Deputy, saver: Any) -> Graph:
    """Use the act node inside a graph that is itself a node."""
    inner = StateGraph(MessagesState, context_schema=Context)
    inner.add_node("tools", act_node(deputy, "gmail"))
    inner.add_edge(START, "tools")
    return wired(inner.compile(), saver)


def functional(deputy: Deputy, saver: Any) -> Graph:
    """Use the functional API: the model in a task, whose answer is stored; the act node called by the entrypoint."""
    model, acting = calling(*CALLS), act_node(deputy, "gmail")

    @task
    def ask(messages: list[AnyMessage]) -> AIMessage:
        return model.invoke(messages)

    @entrypoint(checkpointer=saver, context_schema=Context)
    def chat(given: dict[str, Any]) -> dict[str, Any]:
        messages = [*given["messages"], ask(given["messages"]).result()]
        return {"messages": [*messages, *acting.invoke({"messages": messages})["messages"]]}

    return cast("Graph", chat)


def functional_async(deputy: Deputy, saver: Any) -> Graph:
    """Use the functional API, async."""
    model, acting = calling(*CALLS), act_node(deputy, "gmail")

    @task
    async def ask(messages: list[AnyMessage]) -> AIMessage:
        return await model.ainvoke(messages)

    @entrypoint(checkpointer=saver, context_schema=Context)
    async def chat(given: dict[str, Any]) -> dict[str, Any]:
        messages = [*given["messages"], await ask(given["messages"])]
        return {"messages": [*messages, *(await acting.ainvoke({"messages": messages}))["messages"]]}

    return cast("Graph", chat)


@tool
def ask_for_a_word() -> str:
    """Ask the user something in the middle of the node."""
    return str(interrupt({"type": "word"}))


def tool_node(deputy: Deputy, saver: Any) -> Graph:
    """Use our tools in a plain ``ToolNode``, whose tasks run again because another tool in it pauses."""
    return wired(ToolNode([*tools(deputy, "gmail"), ask_for_a_word]), saver)


ASKED: Final = ({**SEND}, {"name": "ask_for_a_word", "args": {}, "id": "word"})

Build = Callable[[Deputy, Any], Graph]
WAYS: Final[dict[str, Build]] = {
    "act_node": act,
    "fan-out": fan_out,
    "create_agent": created,
    "subgraph": subgraph,
    "functional": functional,
    "ToolNode": tool_node,
}


def graph_of(way: str, mode: str, deputy: Deputy, saver: Any) -> Graph:
    """Return the graph of this kind, for sync or async use."""
    return functional_async(deputy, saver) if (way, mode) == ("functional", "async") else WAYS[way](deputy, saver)


def start_of(way: str) -> dict[str, Any]:
    """Return its input: the state in which a model requests the calls, or the user's message."""
    if way == "ToolNode":
        return asking(*ASKED)
    return GO_ON if way in ("create_agent", "functional") else asking(*CALLS)
