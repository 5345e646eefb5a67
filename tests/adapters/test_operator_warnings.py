"""An operator's omission is logged once; models and users cannot fix it."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest
from agents import Agent as OpenAIAgent
from agents import Runner
from google.adk.agents import LlmAgent
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from pydantic_ai import Agent as PydanticAgent

from deputize.adapters import google_adk, openai_agents, operator_warnings
from deputize.adapters.langchain import tools
from deputize.adapters.langgraph import act_node
from deputize.adapters.llamaindex import GmailToolSpec
from deputize.adapters.mcp import DeputyServer
from deputize.adapters.mcp.results import error_result
from deputize.adapters.operator_warnings import NO_CHECKPOINTER, NO_USER, NO_USER_IN_GRAPH
from deputize.adapters.pydantic_ai import DeputyToolset
from deputize.core import Deputy, SettingsError, User, UserRequired
from deputize.sandbox import Sandbox
from tests.support import google_adk_runs, openai_agents_runs, pydantic_ai_runs
from tests.support.graphs import SEARCH, Context, Graph, asking
from tests.support.mcp_clients import served
from tests.support.sandbox_deputy import build
from tests.support.scripted_agents import agent


@pytest.fixture(autouse=True)
def nothing_logged_yet(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(operator_warnings, "_logged", set())
    caplog.set_level(logging.WARNING, "deputize")


def graph_of(node: Any, saver: Any = None) -> Graph:
    builder = StateGraph(MessagesState, context_schema=Context)
    builder.add_node("tools", node)
    builder.add_edge(START, "tools")
    return builder.compile(checkpointer=saver)


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.message for one in caplog.records if one.name == "deputize" and one.levelno == logging.WARNING]


async def by_pydantic_ai(deputy: Deputy) -> None:
    toolset = DeputyToolset(deputy, "gmail", user=lambda ctx: None)
    await PydanticAgent(pydantic_ai_runs.model_of([SEARCH]), toolsets=[toolset]).run("go on")


async def by_openai_agents(deputy: Deputy) -> None:
    ours = openai_agents.tools(deputy, "gmail", user=lambda ctx: None, thread="1")
    agent = OpenAIAgent[Any](name="mail", model=openai_agents_runs.Asking([SEARCH]), tools=ours)
    await Runner.run(agent, "go on", run_config=openai_agents_runs.QUIET)


async def by_google_adk(deputy: Deputy) -> None:
    ours = google_adk.DeputyToolset(deputy, "gmail", user=lambda ctx: None)
    model = google_adk_runs.Asking(calls=[SEARCH])
    assert await google_adk_runs.Chat(LlmAgent(name="mail", model=model, tools=[ours])).say("go on") == []


@pytest.mark.parametrize("run", [by_pydantic_ai, by_openai_agents, by_google_adk])
async def test_run_whose_function_returns_no_user_is_logged_once(
    run: Callable[[Deputy], Awaitable[None]], sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    deputy = await build(sandbox)
    for _ in range(2):
        await run(deputy)
    assert warned(caplog) == [NO_USER]


@pytest.mark.parametrize("way", ["act_node", "tools", "create_agent", "llamaindex"])
async def test_run_without_a_user_is_logged_once(way: str, sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    deputy = await build(sandbox)
    if way == "llamaindex":
        [tool] = GmailToolSpec(deputy, user=None).to_tool_list(["gmail_search_emails"])
        for _ in range(2):
            await tool.acall(query="x")
    else:
        made = {
            "act_node": lambda: graph_of(act_node(deputy, "gmail")),
            "tools": lambda: graph_of(ToolNode(tools(deputy, "gmail"))),
            "create_agent": lambda: agent(deputy, SEARCH),
        }[way]()
        for thread in ("1", "2"):
            await made.ainvoke(asking(SEARCH), {"configurable": {"thread_id": thread}})
    assert warned(caplog) == [NO_USER if way == "llamaindex" else NO_USER_IN_GRAPH]


async def test_mcp_request_whose_user_is_no_id_is_logged_once(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """Its client reads 401, as every client without a user does."""
    server, answers = DeputyServer(await build(sandbox), tools=["gmail"]), list[int]()

    def unset(scope: Any) -> str:
        raise SettingsError("The sign-in has no issuer.", hint="Set serve.issuer.")

    wrong: list[Any] = [lambda scope: None, lambda scope: "", lambda scope: {"sub": "canary"}, unset]
    for user_of in wrong:
        async with served(server.app(user_of)) as base, httpx2.AsyncClient() as http:
            answers += [(await http.post(f"{base}/mcp", content=b"{}")).status_code for _ in range(2)]
    assert answers == [401] * 8
    named, setting = warned(caplog)
    assert named.startswith("A request was answered with 401. The application's function user_of names its user by a ")
    assert "value of type dict. An id is a string" in named and "canary" not in caplog.text
    assert setting == "A request was answered with 401. The sign-in has no issuer. Set serve.issuer."


async def test_mcp_call_without_a_user_names_the_functions_of_the_server(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    server = DeputyServer(await build(sandbox), tools=["gmail"])
    with pytest.raises(UserRequired) as missing:
        User.of(None)
    error_result(missing.value)
    [said] = warned(caplog)
    names = set(re.findall(r"(\w+)\(\.\.\.\)", said))
    assert names == {"app", "sdk_server"} and all(callable(getattr(server, name)) for name in names)
    assert "user=" not in said


@pytest.mark.parametrize("way", ["act_node", "create_agent"])
@pytest.mark.parametrize("kept", [True, False])
async def test_pause_without_a_checkpointer_is_logged_once(
    way: str, kept: bool, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    deputy = await build(sandbox)
    saver = InMemorySaver() if kept else None
    made = graph_of(act_node(deputy, "gmail"), saver) if way == "act_node" else agent(deputy, SEARCH, saver=saver)
    if way == "create_agent" and not kept:
        made.checkpointer = None
    for thread in ("1", "2"):
        state = await made.ainvoke(asking(SEARCH), {"configurable": {"thread_id": thread}}, context=Context("alice"))
        assert state["__interrupt__"]
    assert warned(caplog) == ([] if kept else [NO_CHECKPOINTER])
