"""``create_agent`` with our middleware, alone and beside the framework's own middleware."""

from __future__ import annotations

from typing import Any

import pytest
from langchain.agents.middleware import HumanInTheLoopMiddleware, ToolRetryMiddleware
from langgraph.types import Command

from deputize.adapters.langgraph import requests_in
from deputize.core import Deputy, PolicyDenied, allow_all
from deputize.sandbox import Sandbox
from tests.support.graphs import SEARCH, SEND, Context, Graph, config, grant_all, tool_messages
from tests.support.sandbox_deputy import build, connect
from tests.support.scripted_agents import MODES, agent

ALICE, BOB = Context("alice"), Context("bob")
WAKE: Command[Any] = Command(resume={"wake": True})


START: dict[str, Any] = {"messages": [("user", "go on")]}


def sent(sandbox: Sandbox) -> int:
    return len(sandbox.sent("alice@example.test"))


async def decisions(graph: Graph, decision: str = "approve") -> Command[Any]:
    asks = requests_in((await graph.aget_state(config())).interrupts, "approval")
    return Command(resume={"decisions": {ask["approval_id"]: decision for ask in asks}})


async def test_agent_pauses_for_consent_then_approval_and_sends_once(deputy: Deputy, sandbox: Sandbox) -> None:
    graph = agent(deputy, SEND, SEARCH)
    out = await graph.ainvoke(START, config(), context=ALICE, version="v2")
    [pause] = out.interrupts
    assert pause.value["type"] == "deputize.consent" and len(pause.value["consents"]) == 1
    out = await graph.ainvoke(WAKE, config(), context=ALICE, version="v2")
    assert out.interrupts[0].value["type"] == "deputize.consent", "too early: the same pause again"
    await grant_all(deputy, sandbox, graph, config())
    out = await graph.ainvoke(WAKE, config(), context=ALICE, version="v2")
    assert out.interrupts[0].value["type"] == "deputize.approval" and sent(sandbox) == 0
    state = await graph.ainvoke(await decisions(graph), config(), context=ALICE)
    assert {m.status for m in tool_messages(state).values()} == {"success"}
    assert sent(sandbox) == 1


@pytest.mark.parametrize("mode", MODES)
async def test_answer_to_the_frameworks_approval_does_not_answer_ours_or_vice_versa(mode: Any) -> None:
    sandbox = Sandbox()
    async with await build(sandbox, policy=allow_all) as deputy:
        hitl = HumanInTheLoopMiddleware({SEND["name"]: True}, **MODES[mode])
        graph = agent(deputy, SEND, SEARCH, middleware=[hitl])
        await graph.ainvoke(START, config(), context=ALICE)
        await grant_all(deputy, sandbox, graph, config())
        answer: dict[str, Any] = {"type": "approve"}
        out = await graph.ainvoke(Command(resume=answer), config(), context=ALICE, version="v2")
        assert "consents" not in out.interrupts[0].value and sent(sandbox) == 0
        resume = {"decisions": [answer]} if mode == "batched" else answer
        state = await graph.ainvoke(Command(resume=resume), config(), context=ALICE)
        assert sent(sandbox) == 1 and {m.status for m in tool_messages(state).values()} == {"success"}


async def test_peer_N145_lost_answer_is_not_resent_beside_a_retry_middleware() -> None:
    """A lost reply is reported to the model as an unknown outcome; the request is not repeated."""
    sandbox = Sandbox()
    async with await build(sandbox, policy=allow_all) as deputy:
        await connect(deputy, sandbox, "send")
        retry = ToolRetryMiddleware(max_retries=3, initial_delay=0, jitter=False)
        sandbox.switches.faults[("POST", "/gmail")] = [(500, {}, {"error": "internal_failure"})] * 9
        state = await agent(deputy, SEND, middleware=[retry]).ainvoke(START, config(), context=ALICE)
        posts = [seen for seen in sandbox.requests if seen.method == "POST" and seen.host == "gmail.googleapis.com"]
        assert tool_messages(state)["send"].status == "error" and len(posts) == 1


async def test_another_user_cannot_resume_even_with_own_grants(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "readonly", "send", user="bob", as_="bob@example.test")
    graph = agent(deputy, SEND)
    await graph.ainvoke(START, config(), context=ALICE)
    with pytest.raises(PolicyDenied):
        await graph.ainvoke(WAKE, config(), context=BOB)
    await grant_all(deputy, sandbox, graph, config())
    await graph.ainvoke(WAKE, config(), context=ALICE)
    with pytest.raises(PolicyDenied):
        await graph.ainvoke(await decisions(graph), config(), context=BOB)
    await graph.ainvoke(WAKE, config(), context=ALICE)  # LangGraph hands on what Bob said
    assert sandbox.sent("bob@example.test") == [] and sent(sandbox) == 0
    await graph.ainvoke(await decisions(graph), config(), context=ALICE)
    assert sent(sandbox) == 1


async def test_another_user_at_the_frameworks_own_pause_is_refused() -> None:
    sandbox = Sandbox()
    async with await build(sandbox, policy=allow_all) as deputy:
        await connect(deputy, sandbox, "send")
        await connect(deputy, sandbox, "send", user="bob", as_="bob@example.test")
        graph = agent(deputy, SEND, middleware=[HumanInTheLoopMiddleware({SEND["name"]: True})])
        await graph.ainvoke(START, config(), context=ALICE)
        state = await graph.ainvoke(Command(resume={"decisions": [{"type": "approve"}]}), config(), context=BOB)
        assert tool_messages(state)["send"].status == "error"
        assert sandbox.sent("bob@example.test") == [] and sent(sandbox) == 0


async def test_grant_lost_between_gate_and_call_is_requested_again() -> None:
    sandbox = Sandbox()
    async with await build(sandbox, policy=allow_all) as deputy:
        await connect(deputy, sandbox, "send")
        graph = agent(deputy, SEND, middleware=[HumanInTheLoopMiddleware({SEND["name"]: True})])
        await graph.ainvoke(START, config(), context=ALICE)
        await deputy.revoke("alice", "google")
        state = await graph.ainvoke(Command(resume={"decisions": [{"type": "approve"}]}), config(), context=ALICE)
        assert tool_messages(state) == {} and sent(sandbox) == 0
        await grant_all(deputy, sandbox, graph, config())
        state = await graph.ainvoke(WAKE, config(), context=ALICE)
        assert tool_messages(state)["send"].status == "success" and sent(sandbox) == 1


async def test_declined_call_is_reported_and_other_calls_run(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "readonly")
    graph = agent(deputy, SEARCH, SEND)
    await graph.ainvoke(START, config(), context=ALICE)
    await grant_all(deputy, sandbox, graph, config(), deny=True)
    answers = tool_messages(await graph.ainvoke(WAKE, config(), context=ALICE))
    assert answers["send"].status == "error" and answers["search"].status == "success" and sent(sandbox) == 0


async def test_every_call_without_a_user_is_refused(deputy: Deputy, sandbox: Sandbox) -> None:
    state = await agent(deputy, SEARCH, SEND).ainvoke(START, config())
    assert {m.status for m in tool_messages(state).values()} == {"error"} and sandbox.requests == []
