"""Graphs over the act node, and a model that answers from the history alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.prebuilt import tools_condition

from deputize.adapters.acting_user import Context as Context
from deputize.adapters.langgraph import act_node, requests_in
from deputize.core import ApprovalPayload, Consent, Deputy
from deputize.sandbox import Sandbox
from tests.support.sandbox_deputy import consent

Graph = CompiledStateGraph[Any, Any, Any, Any]
SEARCH: dict[str, Any] = {"name": "gmail_search_emails", "args": {"query": "from:bob"}, "id": "search"}
SEND: dict[str, Any] = {
    "name": "gmail_send_email",
    "args": {"to": ["bob@example.test"], "subject": "Lunch", "body": "Yes, gladly."},
    "id": "send",
}


def config(thread: str = "1") -> RunnableConfig:
    """Return a run's configuration."""
    return {"configurable": {"thread_id": thread}}


def asking(*calls: dict[str, Any]) -> dict[str, Any]:
    """Return the state in which a model has requested these calls."""
    return {"messages": [HumanMessage("go on"), AIMessage("", tool_calls=[dict(call) for call in calls])]}


def wired(node: Any, saver: Any = None) -> Graph:
    """Build START -> this node -> END."""
    builder = StateGraph(MessagesState, context_schema=Context)
    builder.add_node("tools", node)
    builder.add_edge(START, "tools")
    builder.add_edge("tools", END)
    return builder.compile(checkpointer=saver or InMemorySaver())


def plain(deputy: Deputy, tools: Sequence[Any] = (), saver: Any = None, **more: Any) -> Graph:
    """Build START -> act node -> END."""
    return wired(act_node(deputy, "gmail", tools=tools, **more), saver)


def chatbot(deputy: Deputy, respond: Callable[[list[AnyMessage]], AIMessage], saver: Any = None) -> Graph:
    """Build agent -> act node -> agent, as a real chatbot."""

    def agent(state: MessagesState) -> dict[str, Any]:
        return {"messages": [respond(state["messages"])]}

    builder = StateGraph(MessagesState, context_schema=Context)
    builder.add_node("agent", agent)
    builder.add_node("tools", act_node(deputy, "gmail"))
    builder.add_edge(START, "agent")
    builder.add_conditional_edges("agent", tools_condition)
    builder.add_edge("tools", "agent")
    return builder.compile(checkpointer=saver or InMemorySaver())


@contextmanager
def sqlite_saver(path: Path) -> Iterator[SqliteSaver]:
    """Open a checkpointer on disk, and close it at the end."""
    with closing(sqlite3.connect(path, check_same_thread=False)) as db:
        yield SqliteSaver(db)


def tool_messages(state: dict[str, Any]) -> dict[str, ToolMessage]:
    """Return the answers by call id; two answers to one call fail."""
    messages = [m for m in state["messages"] if isinstance(m, ToolMessage)]
    answers = {m.tool_call_id: m for m in messages}
    assert len(answers) == len(messages)
    return answers


async def consents_of(deputy: Deputy, graph: Graph, where: RunnableConfig) -> list[Consent]:
    """Return the consents for which the graph pauses now."""
    state = await graph.aget_state(where)
    found = [await deputy.consents.status(ask["consent_id"]) for ask in requests_in(state.interrupts, "consent")]
    return [one for one in found if one is not None]


async def approvals_of(graph: Graph, where: RunnableConfig) -> list[ApprovalPayload]:
    """Return the approvals for which the graph pauses now."""
    return requests_in((await graph.aget_state(where)).interrupts, "approval")


async def grant_all(deputy: Deputy, sandbox: Sandbox, graph: Graph, where: RunnableConfig, **how: Any) -> None:
    """Walk through all consents for which the graph pauses."""
    for one in await consents_of(deputy, graph, where):
        await consent(deputy, sandbox, one, **how)
