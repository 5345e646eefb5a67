"""A single write pauses in the task of the act node itself: what is stored there, for which owner, and how it is
removed."""

from __future__ import annotations

import asyncio
from copy import deepcopy
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, RetryPolicy, Send

from deputize.adapters.langgraph import act_node
from deputize.adapters.langgraph import inline_execution as langgraph_fast_path
from deputize.adapters.langgraph import single_write as alone
from deputize.core import Deputy, PolicyDenied
from deputize.sandbox import Sandbox
from tests.support.graphs import (
    SEND,
    Context,
    Graph,
    approvals_of,
    asking,
    config,
    grant_all,
    plain,
    tool_messages,
    wired,
)
from tests.support.sandbox_deputy import connect

pytestmark = [pytest.mark.usefixtures("whoever_resumes"), pytest.mark.connected("readonly", "send")]

ALICE, BOB = Context("alice"), Context("bob")
WAKE: Command[Any] = Command(resume={"wake": True})
MINE = "alice@example.test"


async def yes_to(graph: Graph, what: Any = "approve") -> Command[Any]:
    """Return a resume value that approves everything the graph currently asks about."""
    asked = await approvals_of(graph, config())
    return Command(resume={"decisions": {one["approval_id"]: what for one in asked}})


def inner(saver: InMemorySaver) -> set[str]:
    """Return the namespaces of inner graphs that have stored checkpoints."""
    return {name for name, rows in saver.storage["1"].items() if name and rows}


async def run(mode: str, graph: Graph, given: Any, who: Context = ALICE) -> Any:
    if mode == "sync":
        return await asyncio.to_thread(graph.invoke, given, config(), context=who)
    return await graph.ainvoke(given, config(), context=who)


@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_approved_single_write_runs_in_its_task_without_inner_checkpoints(
    mode: str, deputy: Deputy, sandbox: Sandbox
) -> None:
    saver = InMemorySaver()
    graph = plain(deputy, saver=saver)
    await run(mode, graph, asking(SEND))
    assert not sandbox.sent(MINE)
    state = await run(mode, graph, await yes_to(graph))
    assert tool_messages(state)["send"].status == "success" and len(sandbox.sent(MINE)) == 1
    assert inner(saver) == set()


async def test_pause_payload_hides_its_owner(deputy: Deputy) -> None:
    graph = plain(deputy)
    await graph.ainvoke(asking(SEND), config(), context=ALICE)
    [pause] = (await graph.aget_state(config())).interrupts
    assert set(pause.value) == {"type", "v", "approvals", "owner"} and "alice" not in str(pause.value["owner"])


@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_rejected_single_write_is_declined(mode: str, deputy: Deputy, sandbox: Sandbox) -> None:
    graph = plain(deputy)
    await run(mode, graph, asking(SEND))
    answer = tool_messages(await run(mode, graph, await yes_to(graph, "reject")))["send"]
    assert answer.artifact == {"error": "declined"} and not sandbox.sent(MINE)


async def test_invalid_edit_pauses_again_with_its_fault(deputy: Deputy, sandbox: Sandbox) -> None:
    graph = plain(deputy)
    await graph.ainvoke(asking(SEND), config(), context=ALICE)
    wrong = {"decision": "edit", "arguments": {**SEND["args"], "to": 7}}
    await graph.ainvoke(await yes_to(graph, wrong), config(), context=ALICE)
    [again] = await approvals_of(graph, config())
    assert "to" in again.get("fault", "") and not sandbox.sent(MINE)
    right = {"decision": "edit", "arguments": {**SEND["args"], "body": "No, sorry."}}
    state = await graph.ainvoke(await yes_to(graph, right), config(), context=ALICE)
    while not tool_messages(state):  # what an edit would do is shown before it counts
        state = await graph.ainvoke(await yes_to(graph), config(), context=ALICE)
    [mail] = sandbox.sent(MINE)
    assert "No, sorry." in str(mail.message)


@pytest.mark.parametrize("said", ["approve", "reject"])
async def test_decision_made_elsewhere_counts(said: Any, deputy: Deputy, sandbox: Sandbox) -> None:
    graph = plain(deputy)
    await graph.ainvoke(asking(SEND), config(), context=ALICE)
    [ask] = await approvals_of(graph, config())
    await deputy.decide(ask["approval_id"], said, by="alice")
    other = "reject" if said == "approve" else "approve"
    late: Command[Any] = Command(resume={"decisions": {ask["approval_id"]: other}})
    state = await graph.ainvoke(late if said == "reject" else WAKE, config(), context=ALICE)
    assert tool_messages(state)["send"].status == ("success" if said == "approve" else "error")
    assert len(sandbox.sent(MINE)) == (said == "approve")


async def test_lost_consent_is_requested_again_and_the_approval_stays(deputy: Deputy, sandbox: Sandbox) -> None:
    graph = plain(deputy)
    await graph.ainvoke(asking(SEND), config(), context=ALICE)
    yes = await yes_to(graph)
    await deputy.revoke("alice")
    await graph.ainvoke(yes, config(), context=ALICE)
    await grant_all(deputy, sandbox, graph, config())
    state = await graph.ainvoke(WAKE, config(), context=ALICE)
    while not tool_messages(state):
        state = await graph.ainvoke(await yes_to(graph), config(), context=ALICE)
    assert len(sandbox.sent(MINE)) == 1


@pytest.mark.parametrize("first", [True, False], ids=["subgraphs first", "no subgraphs first"])
async def test_subgraph_streaming_may_change_between_runs(first: bool, deputy: Deputy, sandbox: Sandbox) -> None:
    graph = plain(deputy)

    async def go(given: Any, heard: bool, who: Context = ALICE) -> None:
        async for _ in graph.astream(given, config(), context=who, stream_mode="updates", subgraphs=heard):
            pass

    await go(asking(SEND), first)
    for answer in (await yes_to(graph), WAKE, None):
        for heard in (True, False):
            with pytest.raises(PolicyDenied):
                await go(answer, heard, BOB)
    await go(WAKE, not first)
    assert not sandbox.sent(MINE)
    await go(await yes_to(graph), not first)
    state = (await graph.aget_state(config())).values
    assert tool_messages(state)["send"].status == "success" and len(sandbox.sent(MINE)) == 1


@pytest.mark.parametrize("missing", ["SAVER", "PAD", "ANSWERS", "RESUMING", "MAP", "STREAM", ""])
@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_pause_belongs_to_its_owner_under_renamed_langgraph_keys(
    missing: str, mode: str, deputy: Deputy, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    if missing:
        monkeypatch.setattr(langgraph_fast_path, missing, "__renamed")
    await connect(deputy, sandbox, "readonly", "send", user="bob", as_="bob@example.test")
    graph = plain(deputy)
    await run(mode, graph, asking(SEND))
    for answer in (await yes_to(graph), WAKE, None):
        with pytest.raises(PolicyDenied):
            await run(mode, graph, answer, BOB)
    assert await deputy.pending("bob") == [], "nothing was asked as Bob"
    await run(mode, graph, WAKE)
    assert not sandbox.sent(MINE) and not sandbox.sent("bob@example.test")
    assert tool_messages(await run(mode, graph, await yes_to(graph)))["send"].status == "success"
    assert len(sandbox.sent(MINE)) == 1


@pytest.mark.parametrize("how", ["another user", "another task", "nonsense"])
async def test_altered_stored_pause_is_refused(
    how: str, deputy: Deputy, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    await connect(deputy, sandbox, "readonly", "send", user="bob", as_="bob@example.test")
    saver, graph = InMemorySaver(), plain(deputy)
    await graph.ainvoke(asking(SEND), config(), context=BOB)
    [of_bob] = (await graph.aget_state(config())).interrupts
    graph = plain(deputy, saver=saver)
    await graph.ainvoke(asking(SEND), config(), context=ALICE)
    kept = langgraph_fast_path.TaskLocation.paused

    async def changed(self: Any) -> list[Any]:
        [pause] = deepcopy(await kept(self)) or [None]
        if pause:
            sealed = {"another user": of_bob.value["owner"]["sealed"], "nonsense": "%"}.get(how)
            pause["owner"] |= {"sealed": sealed or pause["owner"]["sealed"][:-8] + "AAAAAAA="}
        return [pause]

    monkeypatch.setattr(langgraph_fast_path.TaskLocation, "paused", changed)
    with pytest.raises(PolicyDenied, match="another vault"):
        await plain(deputy, saver=saver).ainvoke(WAKE, config(), context=BOB)
    assert not sandbox.sent(MINE) and not sandbox.sent("bob@example.test")


async def test_resume_in_the_pausing_process_reads_no_checkpoint(
    whoever_resumes: str, deputy: Deputy, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, read, kept = plain(deputy), list[str](), langgraph_fast_path.TaskLocation.paused

    async def counted(self: Any) -> list[Any]:
        read.append(self.task)
        return await kept(self)

    await graph.ainvoke(asking(SEND), config(), context=ALICE)
    monkeypatch.setattr(langgraph_fast_path.TaskLocation, "paused", counted)
    await graph.ainvoke(await yes_to(graph), config(), context=ALICE)
    assert len(read) == (whoever_resumes == "another process") and len(sandbox.sent(MINE)) == 1


@pytest.mark.parametrize("user", ["alice", "bob"])
async def test_copied_thread_keeps_its_tasks_and_owner(user: str, deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "readonly", "send", user="bob", as_="bob@example.test")
    saver: Any = InMemorySaver()
    graph = plain(deputy, saver=saver)
    await graph.ainvoke(asking(SEND), config(), context=ALICE)
    saver.storage["copy"] = deepcopy(saver.storage["1"])
    saver.writes |= {("copy", *rest): deepcopy(writes) for (_, *rest), writes in saver.writes.items()}
    saver.blobs |= {("copy", *rest): blob for (_, *rest), blob in saver.blobs.items()}
    if user == "bob":
        with pytest.raises(PolicyDenied):
            await graph.ainvoke(WAKE, config("copy"), context=BOB)
    else:
        again = await graph.ainvoke(await yes_to(graph), config("copy"), context=ALICE)
        assert "__interrupt__" in again, "of an act in another thread, so it is asked about there"
    assert not sandbox.sent(MINE) and not sandbox.sent("bob@example.test")


async def test_pause_payload_changed_by_the_application_does_not_matter(deputy: Deputy) -> None:
    graph = plain(deputy)
    [shown] = (await graph.ainvoke(asking(SEND), config(), context=ALICE))["__interrupt__"]
    before, yes = deepcopy(shown.value), await yes_to(graph)
    shown.value["approvals"].clear()
    shown.value["owner"].clear()
    [again] = (await graph.ainvoke(None, config(), context=ALICE))["__interrupt__"]
    assert again.value == before
    assert tool_messages(await graph.ainvoke(yes, config(), context=ALICE))["send"].status == "success"


async def test_every_paused_call_is_answered(deputy: Deputy, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alone, "MAX_PAUSES", 2)
    graph, threads = plain(deputy), [str(n) for n in range(5)]
    for thread in threads:
        await graph.ainvoke(asking(SEND), config(thread), context=ALICE)
    for thread in threads:
        asked = await approvals_of(graph, config(thread))
        yes: Command[Any] = Command(resume={"decisions": {one["approval_id"]: "approve" for one in asked}})
        assert tool_messages(await graph.ainvoke(yes, config(thread), context=ALICE))["send"].status == "success"
    assert len(sandbox.sent(MINE)) == 5


async def test_tasks_that_pause_together_are_answered_separately(deputy: Deputy, sandbox: Sandbox) -> None:
    node = act_node(deputy, "gmail")
    builder = StateGraph(MessagesState, context_schema=Context)
    builder.add_node("tools", node)
    calls = [
        {**SEND, "id": str(n), "args": {**SEND["args"], "subject": f"Mail {n}"}, "type": "tool_call"} for n in "12"
    ]

    def fan(state: MessagesState) -> list[Send]:
        return [Send("tools", [call]) for call in calls]

    builder.add_conditional_edges(START, fan, ["tools"])
    builder.add_edge("tools", END)
    graph = builder.compile(checkpointer=InMemorySaver())
    await graph.ainvoke({"messages": [AIMessage("", id="m", tool_calls=calls)]}, config(), context=ALICE)
    while pauses := (await graph.aget_state(config())).interrupts:
        ids = [one["approval_id"] for one in pauses[-1].value["approvals"]]
        answer = {pauses[-1].id: {"decisions": dict.fromkeys(ids, "approve")}}
        await graph.ainvoke(Command(resume=answer), config(), context=ALICE)
    subjects = [str(mail.message["subject"]) for mail in sandbox.sent(MINE)]
    assert sorted(subjects) == ["Mail 1", "Mail 2"]


async def test_two_writes_in_one_node_ask_one_after_the_other(deputy: Deputy, sandbox: Sandbox) -> None:
    acting = act_node(deputy, "gmail")
    mails = [{**SEND, "args": {**SEND["args"], "subject": subject}} for subject in ("first", "second")]

    async def both(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
        given = [{"messages": [AIMessage("", id=str(n), tool_calls=[mail])]} for n, mail in enumerate(mails)]
        return {"messages": [(await acting.ainvoke(one, config))["messages"][-1] for one in given]}

    graph = wired(both)
    await graph.ainvoke({"messages": [HumanMessage("go on")]}, config(), context=ALICE)
    for number in (0, 1):
        assert len(sandbox.sent(MINE)) == number
        [asked] = await approvals_of(graph, config())
        assert ("first", "second")[number] in str(asked["preview"])
        with pytest.raises(PolicyDenied):
            await graph.ainvoke(WAKE, config(), context=BOB)
        await graph.ainvoke(WAKE, config(), context=ALICE)  # the ids that the stranger may know fit nothing any more
        await graph.ainvoke(await yes_to(graph), config(), context=ALICE)
    assert [str(mail.message["subject"]) for mail in sandbox.sent(MINE)] == ["first", "second"]


async def test_node_retry_after_an_approval_sends_once(deputy: Deputy, sandbox: Sandbox) -> None:
    """The node fails once after its act; LangGraph then runs it again in the same run."""
    acting, fails = act_node(deputy, "gmail"), [True]

    async def flaky(state: MessagesState, config: RunnableConfig) -> Any:
        answered = await acting.ainvoke(state, config)
        if fails and fails.pop():
            raise ConnectionError("the line was cut")
        return answered

    builder = StateGraph(MessagesState, context_schema=Context)
    builder.add_node("tools", flaky, retry_policy=RetryPolicy(initial_interval=0.01, jitter=False))
    builder.add_edge(START, "tools")
    builder.add_edge("tools", END)
    graph: Graph = builder.compile(checkpointer=InMemorySaver())
    await graph.ainvoke(asking(SEND), config(), context=ALICE)
    state = await graph.ainvoke(await yes_to(graph), config(), context=ALICE)
    assert tool_messages(state)["send"].status == "success" and len(sandbox.sent(MINE)) == 1 and not fails


async def test_fork_from_the_pause_sends_nothing_again(deputy: Deputy, sandbox: Sandbox) -> None:
    graph = plain(deputy)
    await graph.ainvoke(asking(SEND), config(), context=ALICE)
    paused = (await graph.aget_state(config())).config
    yes = await yes_to(graph)
    await graph.ainvoke(yes, config(), context=ALICE)
    for given in (None, yes, WAKE):
        await graph.ainvoke(given, paused, context=ALICE)
    assert len(sandbox.sent(MINE)) == 1


@pytest.mark.parametrize("form", ["bare", "map"])
async def test_other_user_forging_the_pauses_owner_is_refused(form: str, deputy: Deputy, sandbox: Sandbox) -> None:
    graph = plain(deputy)
    await graph.ainvoke(asking(SEND), config(), context=ALICE)
    for _ in range(2):
        [pause] = (await graph.aget_state(config())).interrupts
        whose = pause.value["owner"] | {"attempt": 1}
        value = {**dict((await yes_to(graph)).resume or {}), "owner": whose, "heard": whose, "approvals": []}
        with pytest.raises(PolicyDenied):
            await graph.ainvoke(Command(resume=value if form == "bare" else {pause.id: value}), config(), context=BOB)
    await graph.ainvoke(None, config(), context=ALICE)
    assert not sandbox.sent(MINE)
    assert tool_messages(await graph.ainvoke(await yes_to(graph), config(), context=ALICE))["send"].status == "success"
