"""Graphs that give the calls of one message to several tasks of an act node: one consent, one link, nothing twice."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import create_react_agent
from langgraph.types import Command, Send

from deputize.adapters import langgraph
from deputize.adapters.langchain import run_context
from deputize.adapters.langgraph import RESUME, act_node, requests_in, resume_when_done
from deputize.core import Consent, Deputy, PolicyDenied, Verdict, ask_before_sending
from deputize.sandbox import Sandbox
from tests.support.graphs import (
    SEARCH,
    SEND,
    Context,
    Graph,
    config,
    grant_all,
    sqlite_saver,
    tool_messages,
)
from tests.support.sandbox_deputy import build, connect, consent, new_vault
from tests.support.scripted_agents import calling

ALICE, BOB = Context("alice"), Context("bob")
MINE, HIS = "alice@example.test", "bob@example.test"
DRAFT = {
    "name": "gmail_save_draft",
    "args": {"to": [HIS], "subject": "Later", "body": "Not yet."},
    "id": "draft",
}
FORMS = ["a call each", "a call with its context", "a message each", "two calls and one"]


def wish(*calls: dict[str, Any], id: str = "wish") -> AIMessage:
    return AIMessage("", id=id, tool_calls=[dict(call) for call in calls])


def given(*calls: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [HumanMessage("go on"), wish(*calls)]}


def sends(state: Any, form: str) -> list[Any]:
    """Return the inputs of the tasks that answer the last message."""
    asked = state["messages"][-1]
    typed = [{**call, "type": "tool_call"} for call in asked.tool_calls]
    if form == "a call with its context":
        return [{"__type": "tool_call_with_context", "tool_call": call, "state": state} for call in typed]
    if form == "a message each":
        return [{"messages": [asked.model_copy(update={"tool_calls": [call]})]} for call in typed]
    return [typed[:2], typed[2:]] if form == "two calls and one" else [[call] for call in typed]


def fanned(deputy: Deputy, form: str = "a call each", saver: Any = ..., nodes: Any = None, **more: Any) -> Graph:
    """Build START -> a task of an act node for each call -> END. ``nodes``: the node of each tool, by name."""
    builder = StateGraph(MessagesState, context_schema=Context)
    names = {"tools"} if nodes is None else set(nodes.values())
    for name in names:
        builder.add_node(name, act_node(deputy, "gmail", **more))
        builder.add_edge(name, END)

    def fan(state: MessagesState) -> list[Send]:
        if nodes is None:
            return [Send("tools", one) for one in sends(state, form)]
        return [Send(nodes[one[0]["name"]], one) for one in sends(state, form)]

    builder.add_conditional_edges(START, fan, [*names])
    return builder.compile(checkpointer=InMemorySaver() if saver is ... else saver)


async def run(graph: Graph, value: Any, mode: str = "async", thread: str = "1", context: Context = ALICE) -> Any:
    if mode == "sync":
        return await asyncio.to_thread(graph.invoke, value, config(thread), context=context)
    return await graph.ainvoke(value, config(thread), context=context)


async def pauses(graph: Graph, thread: str = "1") -> Any:
    return (await graph.aget_state(config(thread))).interrupts


async def wake(graph: Graph, mode: str = "async", thread: str = "1", context: Context = ALICE) -> Any:
    """Resume every pause."""
    value: Command[Any] = Command(resume={one.id: RESUME for one in await pauses(graph, thread)})
    return await run(graph, value, mode, thread, context)


async def approve(graph: Graph, mode: str = "async", thread: str = "1") -> Any:
    """Resume every pause with an approval of all its requests."""
    answers = {
        one.id: {"decisions": {ask["approval_id"]: "approve" for ask in one.value.get("approvals", ())}}
        for one in await pauses(graph, thread)
    }
    return await run(graph, Command(resume=answers), mode, thread)


def scopes(asks: Any) -> list[list[str]]:
    return [[scope.rpartition(".")[2] for scope in ask["scopes"]] for ask in asks]


@pytest.mark.parametrize("mode", ["async", "sync"])
@pytest.mark.parametrize("form", FORMS)
async def test_calls_of_one_message_share_one_consent(form: str, mode: str, deputy: Deputy, sandbox: Sandbox) -> None:
    graph = fanned(deputy, form)
    await run(graph, given(SEARCH, SEND, DRAFT), mode)
    paused = await pauses(graph)
    assert len(paused) == (2 if form == "two calls and one" else 3)
    assert all(one.value == paused[0].value for one in paused)
    [ask] = requests_in(paused, "consent")
    assert scopes([ask]) == [["compose", "readonly", "send"]] and sandbox.count("gmail.googleapis.com") == 0
    assert [one.id for one in await deputy.pending("alice")] == [ask["consent_id"]]

    await wake(graph, mode)  # too early
    assert [one.value for one in await pauses(graph)] == [one.value for one in paused]
    await grant_all(deputy, sandbox, graph, config())
    await wake(graph, mode)
    assert requests_in(await pauses(graph), "consent") == [] and sandbox.sent(MINE) == []
    while await pauses(graph):
        await approve(graph, mode)
    answers = tool_messages((await graph.aget_state(config())).values)
    assert {id: one.status for id, one in answers.items()} == dict.fromkeys(["search", "send", "draft"], "success")
    await run(graph, None, mode)
    assert len(sandbox.sent(MINE)) == 1 and await deputy.pending("alice") == []


@pytest.mark.filterwarnings("ignore::langgraph.warnings.LangGraphDeprecatedSinceV10")
@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_react_agent_shares_one_consent(version: str, deputy: Deputy, sandbox: Sandbox) -> None:
    how: Any = {"checkpointer": InMemorySaver(), "context_schema": Context, "version": version}
    graph: Any = create_react_agent(calling(SEARCH, SEND), act_node(deputy, "gmail"), **how)
    await run(graph, {"messages": [HumanMessage("go on")]})
    [ask] = requests_in(await pauses(graph), "consent")
    assert scopes([ask]) == [["readonly", "send"]]
    await grant_all(deputy, sandbox, graph, config())
    await resume_when_done(deputy, graph, config(), context=ALICE)
    answers = tool_messages(await approve(graph))
    assert {one.status for one in answers.values()} == {"success"} and len(sandbox.sent(MINE)) == 1


@pytest.mark.parametrize("inside", [False, True], ids=["", "in an inner graph"])
async def test_resume_from_disk_asks_once_and_sends_once(inside: bool, sandbox: Sandbox, tmp_path: Path) -> None:
    """Each step has a deputy, a graph and a checkpointer of its own, as in another process."""
    pending: list[list[list[str]]] = []
    for step in ("ask", "too early", "after the consent", "after the approval", "again"):
        async with await build(sandbox, vault=await new_vault(tmp_path / "vault", bytes(range(32)))) as deputy:
            with sqlite_saver(tmp_path / "graph") as saver:
                graph = fanned(deputy, saver=None if inside else saver)
                if inside:
                    builder = StateGraph(MessagesState, context_schema=Context)
                    builder.add_node("inner", graph)
                    builder.add_edge(START, "inner")
                    builder.add_edge("inner", END)
                    graph = builder.compile(checkpointer=saver)
                if step == "after the consent":
                    [one] = [one for one in await deputy.pending("alice") if isinstance(one, Consent)]
                    await consent(deputy, sandbox, one)
                values: dict[str, Any] = {}
                for pause in graph.get_state(config()).interrupts:
                    asks = pause.value.get("approvals", ())
                    values[pause.id] = {"decisions": {ask["approval_id"]: "approve" for ask in asks}}
                given_now: Any = Command(resume=values) if values else None if pending else given(SEARCH, SEND)
                await asyncio.to_thread(graph.invoke, given_now, config(), context=ALICE)
                found = graph.get_state(config()).interrupts
                approvals = [["approval"] for _ in requests_in(found, "approval")]
                pending.append([*scopes(requests_in(found, "consent")), *approvals])
                answers = tool_messages(graph.get_state(config()).values)
    both = [["readonly", "send"]]
    assert pending == [both, both, [["approval"]], [], []]
    assert {one.status for one in answers.values()} == {"success"} and len(sandbox.sent(MINE)) == 1


async def test_each_user_has_a_consent_of_their_own(deputy: Deputy, sandbox: Sandbox) -> None:
    graph = fanned(deputy)
    async with asyncio.TaskGroup() as tasks:
        for who, context in (("alice", ALICE), ("bob", BOB)):
            tasks.create_task(run(graph, given(SEARCH, SEND), thread=who, context=context))
    [hers], [his] = [requests_in(await pauses(graph, who), "consent") for who in ("alice", "bob")]
    assert hers["consent_id"] != his["consent_id"] and scopes([hers]) == scopes([his]) == [["readonly", "send"]]
    with pytest.raises(PolicyDenied):
        await wake(graph, thread="alice", context=BOB)
    await grant_all(deputy, sandbox, graph, config("alice"))
    await wake(graph, thread="bob", context=BOB)  # her grant is not his
    assert [one["consent_id"] for one in requests_in(await pauses(graph, "bob"), "consent")] == [his["consent_id"]]
    await wake(graph, thread="alice")
    assert tool_messages(await approve(graph, thread="alice"))["send"].status == "success"
    assert len(sandbox.sent(MINE)) == 1 and sandbox.sent(HIS) == []


async def test_tasks_of_different_act_nodes_ask_separately(deputy: Deputy, sandbox: Sandbox) -> None:
    graph = fanned(deputy, nodes={SEARCH["name"]: "reads", SEND["name"]: "writes"})
    await run(graph, given(SEARCH, SEND))
    asks = requests_in(await pauses(graph), "consent")
    assert sorted(scopes(asks)) == [["readonly"], ["send"]]
    await grant_all(deputy, sandbox, graph, config())
    await wake(graph)
    answers = tool_messages(await approve(graph))
    assert {one.status for one in answers.values()} == {"success"} and len(sandbox.sent(MINE)) == 1


async def test_ended_task_adds_no_scopes(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "readonly", "send")
    graph = fanned(deputy)
    await run(graph, given(SEARCH, SEND))
    assert [one.value["type"] for one in await pauses(graph)] == ["deputize.approval"]
    await deputy.revoke("alice", "google")
    await wake(graph)
    assert scopes(requests_in(await pauses(graph), "consent")) == [["send"]]


async def test_denied_call_adds_no_scopes(sandbox: Sandbox) -> None:
    def policy(act: Any) -> Verdict:
        return Verdict.DENY if act.tool.name == SEND["name"] else ask_before_sending(act)

    async with await build(sandbox, policy=policy) as deputy:
        graph = fanned(deputy)
        await run(graph, given(SEARCH, SEND))
        assert scopes(requests_in(await pauses(graph), "consent")) == [["readonly"]]


async def test_partly_granted_consent_runs_what_it_allows(deputy: Deputy, sandbox: Sandbox) -> None:
    graph = fanned(deputy)
    await run(graph, given(SEARCH, SEND))
    await grant_all(deputy, sandbox, graph, config(), untick=["https://www.googleapis.com/auth/gmail.send"])
    answers = tool_messages(await wake(graph))
    assert (answers["search"].status, answers["send"].status) == ("success", "error")
    assert "did not allow" in str(answers["send"].content) and await deputy.pending("alice") == []


async def test_refused_consent_ends_every_task(deputy: Deputy, sandbox: Sandbox) -> None:
    graph = fanned(deputy)
    await run(graph, given(SEARCH, SEND))
    await grant_all(deputy, sandbox, graph, config(), deny=True)
    answers = tool_messages(await wake(graph))
    assert {one.status for one in answers.values()} == {"error"} and await deputy.pending("alice") == []


async def test_calls_of_another_message_add_no_scopes(deputy: Deputy) -> None:
    """Two agents of one step, each with a message of its own."""
    builder = StateGraph(MessagesState, context_schema=Context)
    builder.add_node("tools", act_node(deputy, "gmail"))
    messages = [wish(SEARCH, id="first"), wish(SEND, id="second")]
    builder.add_conditional_edges(START, lambda _: [Send("tools", {"messages": [one]}) for one in messages], ["tools"])
    builder.add_edge("tools", END)
    graph: Graph = builder.compile(checkpointer=InMemorySaver())
    await run(graph, given())
    assert sorted(scopes(requests_in(await pauses(graph), "consent"))) == [["readonly"], ["send"]]


@pytest.mark.parametrize("odd", [[], {}, {"messages": []}, {"messages": [HumanMessage("hi")]}, [{"type": "tool_call"}]])
async def test_unreadable_input_of_another_task_changes_nothing(odd: Any, deputy: Deputy) -> None:
    builder = StateGraph(MessagesState, context_schema=Context)
    acting, asked = act_node(deputy, "gmail"), asyncio.Event()

    async def guarded(state: Any, config: RunnableConfig) -> Any:
        if state == odd:
            await asyncio.wait_for(asked.wait(), 30)
            return {"messages": []}
        try:
            return await acting.ainvoke(state, config)
        finally:
            asked.set()

    builder.add_node("tools", guarded)
    call = {**SEARCH, "type": "tool_call"}
    builder.add_conditional_edges(START, lambda _: [Send("tools", [call]), Send("tools", odd)], ["tools"])
    builder.add_edge("tools", END)
    graph: Graph = builder.compile(checkpointer=InMemorySaver())
    await run(graph, given(SEARCH))
    assert scopes(requests_in(await pauses(graph), "consent")) == [["readonly"]] and asked.is_set()


async def test_release_that_hides_its_tasks_asks_for_each(
    deputy: Deputy, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_context, "CALL", "elsewhere")
    graph = fanned(deputy)
    await run(graph, given(SEARCH, SEND))
    assert sorted(scopes(requests_in(await pauses(graph), "consent"))) == [["readonly"], ["send"]]
    await grant_all(deputy, sandbox, graph, config())
    await wake(graph)
    assert tool_messages(await approve(graph))["send"].status == "success" and len(sandbox.sent(MINE)) == 1


async def test_nothing_is_read_of_other_tasks_if_no_scope_is_missing(
    deputy: Deputy, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    await connect(deputy, sandbox, "readonly", "send")
    monkeypatch.setattr(langgraph, "inputs_beside", lambda _: pytest.fail("read"))
    graph = fanned(deputy)
    await run(graph, given(SEARCH, SEND))
    assert len(requests_in(await pauses(graph), "approval")) == 1


async def test_inbox_mode_shows_the_same_consent_in_each_pause(deputy: Deputy, sandbox: Sandbox) -> None:
    graph = fanned(deputy, interrupt_mode="hitl")
    await run(graph, given(SEARCH, SEND))
    paused = await pauses(graph)
    assert len(paused) == 2 and scopes(requests_in(paused, "consent")) == [["readonly", "send"]]
    no = {"decisions": [{"type": "reject"}]}
    answers = tool_messages(await run(graph, Command(resume={one.id: no for one in paused})))
    assert {one.status for one in answers.values()} == {"error"} and sandbox.count("gmail.googleapis.com") == 0
