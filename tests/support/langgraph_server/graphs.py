"""Graphs for LangGraph's dev server: it loads this file once for each, and so creates two local deputies of one
vault."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

from langchain.agents import create_agent
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import InjectedToolCallId, tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.prebuilt import tools_condition
from langgraph.types import Command

from deputize.adapters.acting_user import RunInfo, UserSource, server_user
from deputize.adapters.langgraph import act_node
from deputize.adapters.middleware import DeputyMiddleware
from deputize.core import Deputy, PolicyDenied, User
from deputize.core.settings import Settings
from deputize.sandbox.google import GOOGLE_CLIENT_ID, GOOGLE_CLIENT_SECRET
from tests.support.graphs import SEARCH, SEND
from tests.support.scripted_agents import calling

Graph = CompiledStateGraph[Any, Any, Any, Any]

settings = Settings.load(
    home=Path(os.environ["SERVER_HOME"]),
    agent="dev",
    port=int(os.environ["SERVER_PAGES"]),
    base_url=os.environ.get("SERVER_BASE_URL", ""),
    sandbox_url=os.environ["SERVER_SANDBOX"],
    apps={"google": {"client_id": GOOGLE_CLIENT_ID, "client_secret": GOOGLE_CLIENT_SECRET}},
)
deputy = Deputy.from_settings(settings)


async def model(state: MessagesState) -> dict[str, Any]:
    """Asks for two calls once, then ends."""
    last = state["messages"][-1]
    done = isinstance(last, ToolMessage) and last.tool_call_id != "transfer"
    return {"messages": [AIMessage("done") if done else AIMessage("", tool_calls=[dict(SEND), dict(SEARCH)])]}


def chatbot(*, user: UserSource = None, trust: bool = False, **more: Any) -> Graph:
    """model -> act node -> model."""
    builder = StateGraph(MessagesState)
    builder.add_node("agent", model)
    builder.add_node("tools", act_node(deputy, "gmail", user=user, trust_client_context=trust, **more))
    builder.add_edge(START, "agent")
    builder.add_conditional_edges("agent", tools_condition, ["tools", END])
    builder.add_edge("tools", "agent")
    return builder.compile()


def tell(run: RunInfo) -> User:
    """Refuse the run, and say by what a function would name its user."""
    raise PolicyDenied(f"cron {run.configurable.get('cron_id')} made by {run.server_id}")


def whose(run: RunInfo) -> User:
    """Name Alice for the crons that the application's own backend made, else the verified user."""
    if run.is_scheduled and run.server_id == "backend":
        return User("alice")
    return server_user()(run)


def inside(graph: Graph) -> Graph:
    """Nest a graph in another one."""
    builder = StateGraph(MessagesState)
    builder.add_node("inside", graph)
    builder.add_edge(START, "inside")
    builder.add_edge("inside", END)
    return builder.compile()


@tool
async def helper(what: str) -> str:
    """Let a helper do this."""
    return str((await created.ainvoke({"messages": [("user", what)]}))["messages"][-1].text)


@tool
def transfer(call: Annotated[str, InjectedToolCallId]) -> Command[Any]:
    """Hand over to the mailer."""
    return Command(goto="mailer", graph=Command.PARENT, update={"messages": [ToolMessage("yours", tool_call_id=call)]})


def handing_over() -> Graph:
    """Build an agent that hands over to another one."""
    builder = StateGraph(MessagesState)
    call = {"name": "transfer", "args": {"call": ""}, "id": "transfer"}
    builder.add_node("desk", create_agent(calling(call), [transfer]), destinations=("mailer",))
    builder.add_node("mailer", by_hand)
    builder.add_edge(START, "desk")
    return builder.compile()


by_hand = chatbot()
trusting = chatbot(trust=True)
tenants = chatbot(user=server_user(tenant="org"))
bound = chatbot(user="alice")
named = chatbot(user=lambda run: "alice")
told = chatbot(user=tell)
inbox = chatbot(interrupt_mode="hitl")
by_maker = chatbot(user=whose)
created: Graph = create_agent(
    calling(SEND, SEARCH),
    middleware=[DeputyMiddleware(deputy, "gmail")],
)
nested = inside(created)
nested_twice = inside(inside(by_hand))
helped: Graph = create_agent(calling({"name": "helper", "args": {"what": "send it"}, "id": "help"}), [helper])
handed = handing_over()
