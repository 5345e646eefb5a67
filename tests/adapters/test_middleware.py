"""`DeputyMiddleware` leaves the agent's other tools and middlewares unchanged, and every run ends well."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware, ModelCallLimitMiddleware, ToolRetryMiddleware
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from deputize.adapters import middleware as module
from deputize.adapters.langchain import tools
from deputize.adapters.middleware import DeputyMiddleware
from deputize.core import Deputy, SettingsError
from deputize.sandbox import Sandbox
from tests.support.graphs import SEARCH, SEND, Context, Graph, approvals_of, config, grant_all, tool_messages
from tests.support.sandbox_deputy import build
from tests.support.scripted_agents import Scripted, calling

pytestmark = pytest.mark.connected("readonly", "send")

ALICE, BOB = Context("alice"), Context("bob")
START: dict[str, Any] = {"messages": [("user", "go on")]}
WAKE: Command[Any] = Command(resume={"wake": True})


def sent(sandbox: Sandbox) -> list[bytes]:
    return [mail.raw for mail in sandbox.sent("alice@example.test")]


def agent(model: Any, middleware: Sequence[Any], own: Sequence[Any] = ()) -> Graph:
    made: Graph = create_agent(model, own, middleware=middleware, context_schema=Context, checkpointer=InMemorySaver())
    return made


async def yes(graph: Graph, decision: str = "approve") -> Command[Any]:
    return Command(resume={"decisions": {ask["approval_id"]: decision for ask in await approvals_of(graph, config())}})


async def test_application_tool_is_left_alone_beside_other_toolkits(deputy: Deputy) -> None:
    posted: list[str] = []

    @tool
    def slack_send_message(text: str) -> str:
        """Post."""
        posted.append(text)
        return "posted by the application"

    call = {"name": "slack_send_message", "args": {"text": "hello"}, "id": "post"}
    graph = agent(calling(call, SEARCH), [DeputyMiddleware(deputy, "gmail")], [slack_send_message])
    answers = tool_messages(await graph.ainvoke(START, config(), context=ALICE))
    assert answers["post"].content == "posted by the application" and posted == ["hello"]
    assert answers["search"].status == "success"


async def test_application_tool_with_our_name_is_refused(
    deputy: Deputy,
) -> None:
    @tool
    def gmail_send_email(text: str) -> str:
        """Send."""
        return text

    for own in ([gmail_send_email], tools(deputy, "gmail_send_email")):
        with pytest.raises(SettingsError, match="gmail_send_email") as refused:
            await agent(calling(SEND), [DeputyMiddleware(deputy, "gmail")], own).ainvoke(START, config(), context=ALICE)
        assert "Do not pass the deputy" in refused.value.hint


@pytest.mark.parametrize("first", ["ours", "theirs"])
async def test_mail_edited_by_a_middleware_is_requested_as_edited(deputy: Deputy, sandbox: Sandbox, first: str) -> None:
    edited = {**SEND["args"], "body": "No, sorry."}
    stack: list[Any] = [HumanInTheLoopMiddleware({SEND["name"]: True}), DeputyMiddleware(deputy, "gmail")]
    graph = agent(calling(SEND), stack if first == "ours" else stack[::-1])  # the last one is asked first
    await graph.ainvoke(START, config(), context=ALICE)
    edit = {"decisions": [{"type": "edit", "edited_action": {"name": SEND["name"], "args": edited}}]}
    asked, state = [], dict[str, Any]()
    for _ in range(3):
        found = await approvals_of(graph, config())
        asked += ["No, sorry." if "No, sorry." in str(ask["preview"]) else "Yes, gladly." for ask in found]
        state = await graph.ainvoke(await yes(graph) if found else Command(resume=edit), config(), context=ALICE)
        if sent(sandbox):
            break
    assert asked[-1] == "No, sorry." and asked.count("No, sorry.") == 1
    [mail] = sent(sandbox)
    assert b"No, sorry." in mail and tool_messages(state)["send"].status == "success"


async def test_new_user_message_at_a_pause_ends_the_call(deputy: Deputy, sandbox: Sandbox) -> None:
    def respond(messages: list[BaseMessage]) -> AIMessage:
        return AIMessage("", tool_calls=[SEND]) if messages[-1].content == "go on" else AIMessage("All right.")

    graph = agent(Scripted(respond=respond), [DeputyMiddleware(deputy, "gmail")])
    await graph.ainvoke(START, config(), context=ALICE)
    [ask] = await approvals_of(graph, config())
    state = await graph.ainvoke({"messages": [("user", "never mind")]}, config(), context=ALICE)
    assert state["messages"][-1].content == "All right." and await approvals_of(graph, config()) == []
    await deputy.decide(ask["approval_id"], "approve", by="alice")
    state = await graph.ainvoke({"messages": [("user", "thanks")]}, config(), context=BOB)
    assert "__interrupt__" not in state and sent(sandbox) == []


@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_mail_is_sent_once_with_other_middleware_before_or_after(mode: str) -> None:
    for turn in (1, -1):
        sandbox = Sandbox()
        async with await build(sandbox) as deputy:
            others: list[Any] = [
                ToolRetryMiddleware(max_retries=2, initial_delay=0, jitter=False),
                ModelCallLimitMiddleware(run_limit=5),
            ]
            graph = agent(calling(SEND, SEARCH), [DeputyMiddleware(deputy, "gmail"), *others][::turn])

            async def run(given: Any, graph: Graph = graph) -> Any:
                if mode == "async":
                    return await graph.ainvoke(given, config(), context=ALICE)
                return await asyncio.to_thread(graph.invoke, given, config(), context=ALICE)

            await run(START)
            await grant_all(deputy, sandbox, graph, config())
            await run(WAKE)
            state = await run(await yes(graph))
            assert {m.status for m in tool_messages(state).values()} == {"success"} and len(sent(sandbox)) == 1


@pytest.mark.parametrize("old", ["ConsentMiddleware", "ApprovalMiddleware"])
def test_removed_middleware_names_their_replacement(old: str) -> None:
    with pytest.raises(SettingsError, match="merged into DeputyMiddleware"):
        getattr(module, old)
