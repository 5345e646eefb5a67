"""LangGraph pitfalls by number: what goes wrong where tools pause, retry and resume, and what our nodes do there. 1
siblings run again, 2 an answer reaches another tool, 3 consent taken for approval, 4 resumed by another user, 5 two
resumes at once, 6 effects before the pause, 7 the provider's address in the pause, 8 a decline as an exception, 9 a
resume too early, 10 two pauses with one id, 11 objects in the state, 12 tools of one kind, 13 answers by position."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.messages import ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt

from deputize.adapters.langchain import tools
from deputize.adapters.langgraph import requests_in
from deputize.core import Deputy, PolicyDenied, allow_all
from deputize.sandbox import Sandbox
from tests.support.graph_builds import fan_out
from tests.support.graphs import (
    SEARCH,
    SEND,
    Context,
    Graph,
    approvals_of,
    asking,
    config,
    consents_of,
    grant_all,
    plain,
    tool_messages,
)
from tests.support.sandbox_deputy import build, connect, consent
from tests.support.scripted_agents import MODES, agent

ALICE, BOB = Context("alice"), Context("bob")
WAKE: Command[Any] = Command(resume={"wake": True})
LATER: dict[str, Any] = {**SEND, "id": "later", "args": {**SEND["args"], "body": "Later."}}


def sent(sandbox: Sandbox) -> int:
    return len(sandbox.sent("alice@example.test"))


async def decided(graph: Graph, decision: str = "approve") -> Command[Any]:
    """Return an answer to every approval that the graph waits for."""
    return Command(resume={"decisions": {a["approval_id"]: decision for a in await approvals_of(graph, config())}})


@tool
def which_day() -> str:
    """Ask the user for a day."""
    return str(interrupt("which day?"))


async def test_trap_1_mail_beside_a_pausing_tool_is_sent_once() -> None:
    sandbox = Sandbox()
    async with await build(sandbox, policy=allow_all) as deputy:
        await connect(deputy, sandbox, "send", "readonly")
        graph = plain(deputy, [which_day])
        pausing = {"name": "which_day", "args": {}, "id": "day"}
        await graph.ainvoke(asking(SEND, pausing, SEARCH), config(), context=ALICE)
        state = await graph.ainvoke(Command(resume="Monday"), config(), context=ALICE)
        assert sent(sandbox) == 1 and tool_messages(state)["day"].content == "Monday"
        assert {m.status for m in tool_messages(state).values()} == {"success"}


async def test_trap_2_answer_reaching_another_call_permits_nothing(deputy: Deputy, sandbox: Sandbox) -> None:
    graph = fan_out(deputy, InMemorySaver())
    await graph.ainvoke(asking(SEARCH, SEND), config(), context=ALICE)
    pauses = (await graph.aget_state(config())).interrupts
    [reading] = [p for p in pauses if "readonly" in str(p.value["consents"][0]["scopes"])]
    found = await deputy.consents.status(reading.value["consents"][0]["consent_id"])
    assert found and (await consent(deputy, sandbox, found)).status == "granted"
    claim = {"status": "granted", "provider": "google"}
    await graph.ainvoke(Command(resume={p.id: claim for p in pauses}), config(), context=ALICE)
    [still] = (await graph.aget_state(config())).interrupts
    assert "gmail.send" in str(still.value["consents"]) and sent(sandbox) == 0


@pytest.mark.parametrize("way", ["act_node", "create_agent"])
@pytest.mark.parametrize("answer", [{"status": "granted"}, {"type": "approve"}, {"decisions": {"all": "approve"}}])
async def test_trap_3_consent_never_approves(
    way: str, answer: dict[str, Any], deputy: Deputy, sandbox: Sandbox
) -> None:
    graph, start = (
        (plain(deputy), asking(SEND)) if way == "act_node" else (agent(deputy, SEND), {"messages": [("user", "go on")]})
    )
    await graph.ainvoke(start, config(), context=ALICE)
    await grant_all(deputy, sandbox, graph, config())
    await graph.ainvoke(Command(resume=answer), config(), context=ALICE)
    [pause] = (await graph.aget_state(config())).interrupts
    assert pause.value["type"] == "deputize.approval" and sent(sandbox) == 0


async def test_trap_4_call_of_alice_resumed_by_bob_is_refused(deputy: Deputy, sandbox: Sandbox) -> None:
    for user in ("alice", "bob"):
        await connect(deputy, sandbox, "send", "readonly", user=user, as_=f"{user}@example.test")
    graph = plain(deputy)
    await graph.ainvoke(asking(SEND, SEARCH), config(), context=ALICE)
    before = sandbox.count("gmail.googleapis.com")
    for answer in (WAKE, await decided(graph)):
        with pytest.raises(PolicyDenied):
            await graph.ainvoke(answer, config(), context=BOB)
    assert sandbox.count("gmail.googleapis.com") == before and sandbox.sent("bob@example.test") == []
    assert len(await approvals_of(graph, config())) == 1


async def test_trap_5_two_concurrent_resumes_get_one_result(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "send")
    graph = plain(deputy)
    await graph.ainvoke(asking(SEND), config(), context=ALICE)
    answer = await decided(graph)
    from_threads = [asyncio.to_thread(graph.invoke, answer, config(), context=ALICE) for _ in range(2)]
    states = await asyncio.gather(graph.ainvoke(answer, config(), context=ALICE), *from_threads)
    assert sent(sandbox) == 1 and len({str(tool_messages(state)["send"].content) for state in states}) == 1


async def test_trap_6_repeated_resumes_start_one_consent(deputy: Deputy) -> None:
    graph = plain(deputy)
    await graph.ainvoke(asking(SEARCH), config(), context=ALICE)
    links = set()
    for _ in range(4):
        await graph.ainvoke(WAKE, config(), context=ALICE)
        [one] = await consents_of(deputy, graph, config())
        links.add(one.link)
    assert len(links) == 1


@pytest.mark.parametrize("way", ["act_node", "create_agent"])
async def test_trap_8_declined_call_is_answered_beside_the_rest(way: str, deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "readonly")
    graph, start = (
        (plain(deputy), asking(SEND, SEARCH))
        if way == "act_node"
        else (agent(deputy, SEND, SEARCH), {"messages": [("user", "go on")]})
    )
    await graph.ainvoke(start, config(), context=ALICE)
    await grant_all(deputy, sandbox, graph, config(), deny=True)
    answers = tool_messages(await graph.ainvoke(WAKE, config(), context=ALICE))
    assert (answers["send"].status, answers["search"].status) == ("error", "success")
    assert (await graph.aget_state(config())).next == ()


async def test_trap_9_early_resume_pauses_again_with_the_same_request(deputy: Deputy) -> None:
    graph = plain(deputy)
    out = await graph.ainvoke(asking(SEARCH), config(), context=ALICE, version="v2")
    again = await graph.ainvoke(WAKE, config(), context=ALICE, version="v2")
    assert again.interrupts[0].value == out.interrupts[0].value


async def test_trap_10_two_pauses_are_answered_by_their_own_ids(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "send")
    graph = fan_out(deputy, InMemorySaver())
    await graph.ainvoke(asking(SEND, LATER), config(), context=ALICE)
    first, second = (await graph.aget_state(config())).interrupts
    assert first.id != second.id
    [ask] = requests_in([first], "approval")
    answer: Command[Any] = Command(resume={first.id: {"decisions": {ask["approval_id"]: "approve"}}})
    await graph.ainvoke(answer, config(), context=ALICE)
    [left] = (await graph.aget_state(config())).interrupts
    assert left.value == second.value and sent(sandbox) == 1


async def test_trap_11_stored_pause_is_plain_json(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "send")
    graph = plain(deputy)
    for start, answer in ((asking(SEARCH), None), (asking(SEND), WAKE)):
        await graph.ainvoke(start, config(), context=ALICE)
        if answer:
            await graph.ainvoke(answer, config(), context=ALICE)
        state = await graph.aget_state(config(), subgraphs=True)
        [task] = state.tasks
        assert task.state is not None and not isinstance(task.state, dict)
        kept = [task.state.values["deputize"], *(pause.value for pause in state.interrupts)]
        assert json.loads(json.dumps(kept)) == kept
        assert kept[0]["pause"] == kept[1]


async def test_trap_12_every_tool_works_sync_and_async(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "readonly")
    [search] = [t for t in tools(deputy, "gmail", user="alice") if t.name == SEARCH["name"]]
    assert await asyncio.to_thread(search.invoke, SEARCH["args"]) == await search.ainvoke(SEARCH["args"])
    for one in tools(deputy, "gmail", user="alice"):
        assert one.func is not None and one.coroutine is not None, one.name  # type: ignore[attr-defined]


@pytest.mark.parametrize("mode", MODES)
async def test_trap_13_consent_between_pauses_shifts_no_answer(mode: Any) -> None:
    """Two mails, both under the framework's own approval: the first is refused, the second approved."""
    sandbox = Sandbox()
    async with await build(sandbox, policy=allow_all) as deputy:
        hitl = HumanInTheLoopMiddleware({SEND["name"]: True}, **MODES[mode])
        graph = agent(deputy, SEND, LATER, middleware=[hitl])
        await graph.ainvoke({"messages": [("user", "go on")]}, config(), context=ALICE)
        await grant_all(deputy, sandbox, graph, config())
        await graph.ainvoke(WAKE, config(), context=ALICE)
        pauses = (await graph.aget_state(config())).interrupts
        no, yes = {"type": "reject", "message": "not this one"}, {"type": "approve"}
        answers: Any = {pauses[0].id: {"decisions": [no, yes]}}
        if mode == "per_call":
            answers = {p.id: no if p.value["tool_call_id"] == "send" else yes for p in pauses}
        state = await graph.ainvoke(Command(resume=answers), config(), context=ALICE)
        while open_ := (await graph.aget_state(config())).interrupts:
            state = await graph.ainvoke(Command(resume={p.id: yes for p in open_}), config(), context=ALICE)
        assert [b"Later." in mail.raw for mail in sandbox.sent("alice@example.test")] == [True]
        refused = [m for m in state["messages"] if isinstance(m, ToolMessage) and m.tool_call_id == "send"]
        assert [m.status for m in refused] == ["error"]
