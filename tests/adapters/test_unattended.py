"""A run that nobody watches is marked by its user, in every adapter. No call of it waits: a missing consent or approval
is the call's result, it stays for the user to answer, and the run goes on."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final

import mcp_types as types
import pytest
from agents import Agent, Runner
from google.adk.agents import LlmAgent
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from llama_index.core.agent.workflow import FunctionAgent
from pydantic_ai import Agent as PydanticAgent
from pydantic_ai import DeferredToolRequests

from deputize.adapters import google_adk, langchain, openai_agents
from deputize.adapters.langgraph import act_node
from deputize.adapters.llamaindex import DeputyToolSpec
from deputize.adapters.mcp import DeputyServer
from deputize.adapters.middleware import DeputyMiddleware
from deputize.adapters.pydantic_ai import DeputyToolset
from deputize.core import Approval, Consent, Deputy, User
from deputize.sandbox import Sandbox
from tests.support import google_adk_runs, openai_agents_runs, pydantic_ai_runs
from tests.support.graphs import config
from tests.support.llamaindex_agents import Calling, Model
from tests.support.mcp_clients import by_bearer, client, served
from tests.support.sandbox_deputy import connect
from tests.support.scripted_agents import calling

pytestmark = [  # LlamaIndex's own
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:is_running called from within a step:DeprecationWarning"),
]
SAYS: Final = "Write the report."
MAIL: Final = {"to": ["bob@example.test"], "subject": "Lunch", "body": "See you at noon."}
SEND: Final[dict[str, Any]] = {"name": "gmail_send_email", "args": MAIL, "id": "call_1"}
ALICE: Final = User("alice", unattended=True)
NOBODY: Final = "Nobody is there to answer now."
AGENT: Final = "reporter"
Run = Callable[[Deputy, dict[str, Any]], Awaitable[str]]
"""Runs this call to the end without an answer, and returns what the model or the program read about it."""


async def by_langchain(deputy: Deputy, call: dict[str, Any]) -> str:
    [send] = [one for one in langchain.tools(deputy, "gmail", user=ALICE, agent=AGENT) if one.name == call["name"]]
    return str((await send.ainvoke({"type": "tool_call", **call}, config("chat"))).content)


async def by_act_node(deputy: Deputy, call: dict[str, Any]) -> str:
    builder = StateGraph(MessagesState)
    builder.add_node("tools", act_node(deputy, "gmail", user=lambda run: ALICE, agent=AGENT))
    builder.add_edge(START, "tools")
    graph: Any = builder.compile(checkpointer=InMemorySaver())
    asks = {"messages": [HumanMessage(SAYS), AIMessage("", id="m", tool_calls=[call])]}
    return graph_result(await graph.ainvoke(asks, config("chat")), call)


async def by_act_node_of_two_calls(deputy: Deputy, call: dict[str, Any]) -> str:
    builder = StateGraph(MessagesState)
    builder.add_node("tools", act_node(deputy, "gmail", user=ALICE, agent=AGENT, interrupt_mode="hitl"))
    builder.add_edge(START, "tools")
    graph: Any = builder.compile(checkpointer=InMemorySaver())
    calls = [call, {"name": "gmail_list_labels", "args": {}, "id": "call_2"}]
    asks = {"messages": [HumanMessage(SAYS), AIMessage("", id="m", tool_calls=calls)]}
    return graph_result(await graph.ainvoke(asks, config("chat")), call)


async def by_middleware(deputy: Deputy, call: dict[str, Any]) -> str:
    brings = DeputyMiddleware(deputy, "gmail", user=lambda run: ALICE, agent=AGENT)
    graph: Any = create_agent(calling(call), middleware=[brings], checkpointer=InMemorySaver())
    return graph_result(await graph.ainvoke({"messages": [HumanMessage(SAYS)]}, config("chat")), call)


def graph_result(state: Any, call: dict[str, Any]) -> str:
    """Return the result of this call in a graph that has ended."""
    assert "__interrupt__" not in state
    [said] = [one for one in state["messages"] if isinstance(one, ToolMessage) and one.tool_call_id == call["id"]]
    if said.status == "error":
        assert said.artifact["unattended"] is True
        assert said.artifact.keys() & {"consent", "approval"}  # typed, with the link and the end
    return f"{said.status} {said.content}"


async def by_llamaindex(deputy: Deputy, call: dict[str, Any]) -> str:
    tools: list[Any] = DeputyToolSpec(deputy, "gmail", user=lambda ctx: ALICE, agent=AGENT).to_tool_list()
    run = FunctionAgent(tools=tools, llm=Calling(respond=Model([call])), timeout=30, streaming=False).run(SAYS)
    done: Any = await asyncio.wait_for(run, 25)
    [called] = done.tool_calls
    if called.tool_output.is_error:
        assert called.tool_output.raw_output.keys() & {"consent", "approval"}
    return str(called.tool_output.content)


async def by_pydantic_ai(deputy: Deputy, call: dict[str, Any]) -> str:
    toolset = DeputyToolset(deputy, "gmail", user=lambda ctx: ALICE, agent=AGENT)
    output: list[Any] = [str, DeferredToolRequests]
    agent = PydanticAgent(pydantic_ai_runs.model_of([call]), toolsets=[toolset], output_type=output)
    done = await agent.run(SAYS)
    assert isinstance(done.output, str)
    return str(done.all_messages())


async def by_openai_agents(deputy: Deputy, call: dict[str, Any]) -> str:
    tools = openai_agents.tools(deputy, "gmail", user=lambda ctx: ALICE, agent=AGENT, thread="chat")
    agent = Agent[Any](name="mail", model=openai_agents_runs.Asking([call]), tools=tools)
    done = await Runner.run(agent, SAYS, run_config=openai_agents_runs.QUIET)
    assert done.interruptions == [] and done.final_output
    return str(done.to_input_list())


async def by_google_adk(deputy: Deputy, call: dict[str, Any]) -> str:
    tools = google_adk.DeputyToolset(deputy, "gmail", user=lambda ctx: ALICE, agent=AGENT)
    chat = google_adk_runs.Chat(LlmAgent(name="mail", model=google_adk_runs.Asking(calls=[call]), tools=[tools]))
    assert await chat.say(SAYS) == []
    return str(await chat.session_events())


async def by_mcp(deputy: Deputy, call: dict[str, Any]) -> str:
    server = DeputyServer(deputy, tools=["gmail"], agent=AGENT)
    async with served(server.app(lambda scope: ALICE)) as base, client(f"{base}/mcp") as alice:
        return str((await alice.call_tool(call["name"], call["args"])).content)


RUNS: Final[list[Run]] = [
    by_langchain,
    by_act_node,
    by_act_node_of_two_calls,
    by_middleware,
    by_llamaindex,
    by_pydantic_ai,
    by_openai_agents,
    by_google_adk,
    by_mcp,
]


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.__name__[3:])
async def test_missing_approval_is_the_result_and_waits_for_the_user(
    deputy: Deputy, sandbox: Sandbox, run: Run
) -> None:
    await connect(deputy, sandbox, "send", "readonly")
    said = await asyncio.wait_for(run(deputy, SEND), 30)
    assert NOBODY in said and "waits for the user's approval" in said and not sandbox.sent("alice@example.test")
    [waits] = await deputy.pending("alice")
    assert isinstance(waits, Approval) and waits.status == "pending"
    assert waits.expires_at - deputy.clock() > 3 * 86400


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.__name__[3:])
async def test_missing_consent_is_the_result_and_waits_for_the_user(deputy: Deputy, run: Run) -> None:
    said = await asyncio.wait_for(run(deputy, SEND), 30)
    assert NOBODY in said and "must allow this at Google first" in said
    assert all(isinstance(one, Consent) for one in await deputy.pending("alice"))
    assert await deputy.pending("alice") and "http" not in said.partition(NOBODY)[0][-200:]


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.__name__[3:])
async def test_mandate_lets_as_many_runs_act_as_it_says(deputy: Deputy, sandbox: Sandbox, run: Run) -> None:
    await connect(deputy, sandbox, "send", "readonly", "labels")
    covers: dict[str, Any] = {
        "tools": [SEND["name"]],
        "targets": MAIL["to"],
        "max_acts": 1,
        "expires_at": time.time() + 60,
    }
    await deputy.create_mandate("alice", **covers, agent="another agent")
    await deputy.create_mandate("bob", **covers, agent=AGENT)
    assert NOBODY in await asyncio.wait_for(run(deputy, SEND), 30)
    mandate = await deputy.create_mandate("alice", **covers, agent=AGENT)
    today, tomorrow = [{**SEND, "id": id, "args": {**MAIL, "subject": id}} for id in ("today", "tomorrow")]
    said = await asyncio.wait_for(run(deputy, today), 30)
    assert NOBODY not in said and [one.subject for one in sandbox.sent("alice@example.test")] == ["today"]
    assert [one.used for one in await deputy.mandates("alice") if one.id == mandate.id] == [1]
    assert NOBODY in await asyncio.wait_for(run(deputy, tomorrow), 30)
    assert len(sandbox.sent("alice@example.test")) == 1 and len(await deputy.pending("alice")) == 2


async def test_same_graph_waits_for_a_user_who_is_there(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "send", "readonly")
    builder = StateGraph(MessagesState)
    builder.add_node("tools", act_node(deputy, "gmail", user=lambda run: User("alice")))
    builder.add_edge(START, "tools")
    graph: Any = builder.compile(checkpointer=InMemorySaver())
    asks = {"messages": [HumanMessage(SAYS), AIMessage("", id="m", tool_calls=[SEND])]}
    assert "__interrupt__" in await graph.ainvoke(asks, config("chat"))


async def test_approved_call_is_made_when_the_graph_runs_again_from_its_checkpoint(
    deputy: Deputy, sandbox: Sandbox
) -> None:
    await connect(deputy, sandbox, "send", "readonly")
    builder = StateGraph(MessagesState)
    builder.add_node("tools", act_node(deputy, "gmail", user=ALICE))
    builder.add_edge(START, "tools")
    graph: Any = builder.compile(checkpointer=InMemorySaver())
    asks = {"messages": [HumanMessage(SAYS), AIMessage("", id="m", tool_calls=[SEND])]}
    assert graph_result(await graph.ainvoke(asks, config("chat")), SEND).startswith("error")
    [waits] = await deputy.pending("alice")
    assert isinstance(waits, Approval)
    await deputy.decide(waits, "approve", by="alice")
    [before] = [one async for one in graph.aget_state_history(config("chat")) if one.next == ("tools",)]
    for _ in range(2):
        await graph.ainvoke(None, before.config)
    assert len(sandbox.sent("alice@example.test")) == 1


async def test_client_of_a_server_does_not_mark_its_run(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "send", "readonly")
    brings = DeputyMiddleware(deputy, "gmail", user=lambda run: "alice")
    graph: Any = create_agent(calling(SEND), middleware=[brings], checkpointer=InMemorySaver())
    claims = {"unattended": True, "cron_id": "c", "user_id": "alice"}
    where: Any = {"configurable": {"thread_id": "1", **claims}, "metadata": claims}
    assert "__interrupt__" in await graph.ainvoke({"messages": [HumanMessage(SAYS)]}, where)


async def test_client_that_nobody_watches_is_told_and_its_repeated_call_acts_after_the_answer(
    deputy: Deputy, sandbox: Sandbox
) -> None:
    await connect(deputy, sandbox, "send", "readonly")
    server = DeputyServer(deputy, tools=["gmail"])
    shown: list[Any] = []

    async def answers(ctx: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        shown.append(params)
        return types.ElicitResult(action="accept")

    def admitted(scope: Any) -> User | None:
        return replace(User(by_bearer(scope) or ""), unattended=True)

    async with (
        served(server.app(admitted)) as base,
        client(f"{base}/mcp", elicitation_callback=answers) as alice,
    ):
        for _ in range(2):
            said = await alice.call_tool(SEND["name"], MAIL)
            assert said.is_error and NOBODY in str(said.content)
        [waits] = await deputy.pending("alice")
        assert isinstance(waits, Approval) and not shown
        await deputy.decide(waits, "approve", by="alice")
        assert not (await alice.call_tool(SEND["name"], MAIL)).is_error
    assert len(sandbox.sent("alice@example.test")) == 1


def test_mark_is_no_part_of_the_identity() -> None:
    assert User("alice", unattended=True) == User("alice") and hash(ALICE) == hash(User("alice"))
    assert User.of(ALICE).unattended and not User.of("alice").unattended
    assert User.of(User(7, unattended=True)).unattended  # type: ignore[arg-type]
    assert "unattended" not in repr(ALICE) and "unattended" not in json.dumps(ALICE.__getstate__())
