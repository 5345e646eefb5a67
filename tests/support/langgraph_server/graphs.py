"""Graphs for LangGraph's dev server: it loads this file once for each, and so creates two local deputies of one
vault."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.prebuilt import tools_condition

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
    done = state["messages"][-1].type == "tool"
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


by_hand = chatbot()
trusting = chatbot(trust=True)
tenants = chatbot(user=server_user(tenant="org"))
bound = chatbot(user="alice")
named = chatbot(user=lambda run: "alice")
told = chatbot(user=tell)
inbox = chatbot(interrupt_mode="hitl")
created: Graph = create_agent(
    calling(SEND, SEARCH),
    middleware=[DeputyMiddleware(deputy, "gmail")],
)
