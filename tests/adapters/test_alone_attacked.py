"""Attacks on the pause of a single write: other users, retries, interrupts of the application, other releases."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, RetryPolicy, interrupt

from deputize.adapters.langgraph import act_node
from deputize.adapters.langgraph.inline_execution import TaskLocation
from deputize.core import Deputy, PolicyDenied, Verdict
from deputize.sandbox import Sandbox
from tests.support.graphs import (
    SEND,
    Context,
    approvals_of,
    asking,
    config,
    plain,
    sqlite_saver,
    tool_messages,
    wired,
)
from tests.support.sandbox_deputy import Clock, build, connect

pytestmark = [
    pytest.mark.usefixtures("whoever_resumes"),
    pytest.mark.connected("send"),
    pytest.mark.connected("send", user="bob", as_="bob@example.test"),
]

ALICE, BOB = Context("alice"), Context("bob")
WAKE: Command[Any] = Command(resume={"wake": True})
MINE, HIS = "alice@example.test", "bob@example.test"
CALLED: dict[str, Any] = {"messages": [AIMessage("", id="m", tool_calls=[SEND])]}


def trying(on: Any = None) -> RetryPolicy:
    """Return a retry policy: LangGraph's default, or one for these exceptions."""
    return RetryPolicy(initial_interval=0.01, jitter=False, **({"retry_on": on} if on else {}))


def retried(node: Any, policy: RetryPolicy) -> Any:
    """Return a graph START -> this node, with a retry policy."""
    builder = StateGraph(MessagesState, context_schema=Context)
    builder.add_node("tools", node, retry_policy=policy)
    builder.add_edge(START, "tools")
    builder.add_edge("tools", END)
    return builder.compile(checkpointer=InMemorySaver())


async def answered(graph: Any, form: str, value: Any) -> Command[Any]:
    """Return what resumes the only pause: a bare value, or a map of interrupt ids."""
    [pause] = (await graph.aget_state(config())).interrupts
    return Command(resume=value if form == "bare" else {pause.id: value})


async def yes_to(graph: Any, form: str = "bare", what: str = "approve") -> Command[Any]:
    asked = await approvals_of(graph, config())
    return await answered(graph, form, {"decisions": {one["approval_id"]: what for one in asked}})


async def refused(graph: Any, deputy: Deputy, given: Any, run: Callable[[Any, Context], Any] | None = None) -> None:
    """Check that Bob is refused and asked nothing, and that Alice's pending request is unchanged."""
    before = (await graph.aget_state(config())).interrupts
    with pytest.raises(PolicyDenied):
        await (run(given, BOB) if run else graph.ainvoke(given, config(), context=BOB))
    assert await deputy.pending("bob") == []
    assert (await graph.aget_state(config())).interrupts == before


@pytest.mark.parametrize("fails", [False, True], ids=["", "node retried"])
@pytest.mark.parametrize("form", ["bare", "map"])
@pytest.mark.parametrize("said", ["approve", "reject"])
async def test_application_interrupt_gets_its_own_resume_value(
    said: str, form: str, fails: bool, deputy: Deputy, sandbox: Sandbox
) -> None:
    acting, heard, line = act_node(deputy, "gmail"), list[Any](), [fails]

    async def node(state: MessagesState, config: RunnableConfig) -> Any:
        first = "one" if fails else interrupt("first")  # in another attempt, 1.2.13 asks that again
        done = await acting.ainvoke(state, config)
        if line.pop():
            line.append(False)
            raise ConnectionError("the line was cut")
        line.append(False)
        heard.append((first, interrupt("last")))
        return done

    graph = retried(node, trying(ConnectionError))
    await graph.ainvoke(asking(SEND), config(), context=ALICE)
    if not fails:
        await graph.ainvoke(await answered(graph, form, "one"), config(), context=ALICE)
    await graph.ainvoke(await yes_to(graph, form, said), config(), context=ALICE)
    assert heard == [] and (await graph.aget_state(config())).interrupts[0].value == "last"
    if said == "approve":
        await refused(graph, deputy, await answered(graph, form, "his"))
    await graph.ainvoke(await answered(graph, form, "three"), config(), context=ALICE)
    assert heard == [("one", "three")] and len(sandbox.sent(MINE)) == (said == "approve")


@pytest.mark.parametrize("on", [None, Exception], ids=["as LangGraph does", "on everything"])
@pytest.mark.parametrize("form", ["bare", "map", "nothing"])
async def test_retried_resume_by_another_user_is_refused_again(
    form: str, on: Any, deputy: Deputy, sandbox: Sandbox
) -> None:
    graph = retried(act_node(deputy, "gmail"), trying(on))
    await graph.ainvoke(asking(SEND), config(), context=ALICE)
    await refused(graph, deputy, None if form == "nothing" else await yes_to(graph, form))
    await graph.ainvoke(WAKE, config(), context=ALICE)
    assert not sandbox.sent(MINE)
    state = await graph.ainvoke(await yes_to(graph), config(), context=ALICE)
    assert tool_messages(state)["send"].status == "success" and len(sandbox.sent(MINE)) == 1


@pytest.mark.parametrize("on", [None, Exception], ids=["", "retried"])
@pytest.mark.parametrize("deep", [1, 2])
@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_pause_in_a_functional_task_belongs_to_its_owner(
    mode: str, deep: int, on: Any, deputy: Deputy, sandbox: Sandbox
) -> None:
    acting = act_node(deputy, "gmail")

    tried: Any = task(retry_policy=trying(on) if on else None)

    async def amail() -> Any:
        return (await acting.ainvoke(CALLED))["messages"][-1].status

    def mail() -> Any:
        return acting.invoke(CALLED)["messages"][-1].status

    atasked, tasked = tried(amail), tried(mail)

    @task
    async def adeeper() -> Any:
        return await atasked()

    @task
    def deeper() -> Any:
        return tasked().result()

    @entrypoint(checkpointer=InMemorySaver(), context_schema=Context)
    async def aflow(given: int) -> Any:
        return await (atasked if deep == 1 else adeeper)()

    @entrypoint(checkpointer=InMemorySaver(), context_schema=Context)
    def flow(given: int) -> Any:
        return (tasked if deep == 1 else deeper)().result()

    graph: Any = flow if mode == "sync" else aflow

    async def run(given: Any, who: Context) -> Any:
        if mode == "sync":
            return await asyncio.to_thread(graph.invoke, given, config(), context=who)
        return await graph.ainvoke(given, config(), context=who)

    await run(1, ALICE)
    for given in (await yes_to(graph), await yes_to(graph, "map"), WAKE, None):
        await refused(graph, deputy, given, run)
    await run(WAKE, ALICE)
    assert not sandbox.sent(MINE)
    assert await run(await yes_to(graph), ALICE) == "success" and len(sandbox.sent(MINE)) == 1


@pytest.mark.parametrize("durability", ["sync", "exit"])
@pytest.mark.parametrize("keeps", [None, True], ids=["", "own checkpoints"])
async def test_pause_in_a_nested_subgraph_belongs_to_its_owner(
    keeps: Any, durability: Any, deputy: Deputy, sandbox: Sandbox
) -> None:
    def around(node: Any, saver: Any) -> Any:
        builder = StateGraph(MessagesState, context_schema=Context)
        builder.add_node("inside", node)
        builder.add_edge(START, "inside")
        builder.add_edge("inside", END)
        return builder.compile(checkpointer=saver)

    graph = around(around(around(act_node(deputy, "gmail"), keeps), keeps), InMemorySaver())

    async def run(given: Any, who: Context) -> Any:
        return await graph.ainvoke(given, config(), context=who, durability=durability)

    await run(asking(SEND), ALICE)
    for given in (await yes_to(graph), await yes_to(graph, "map"), None):
        await refused(graph, deputy, given, run)
    await run(None, ALICE)
    await run(await yes_to(graph, "map"), ALICE)
    assert (await graph.aget_state(config())).interrupts == () and len(sandbox.sent(MINE)) == 1


@pytest.mark.parametrize("form", ["bare", "map"])
async def test_one_of_several_racing_resumes_sends(form: str, deputy: Deputy, sandbox: Sandbox) -> None:
    graph = plain(deputy)
    await graph.ainvoke(asking(SEND), config(), context=ALICE)
    yes = await yes_to(graph, form)
    runs = (graph.ainvoke(yes, config(), context=who) for who in (ALICE, BOB, ALICE))
    await asyncio.gather(*runs, return_exceptions=True)
    while (await graph.aget_state(config())).interrupts:
        await graph.ainvoke(await yes_to(graph), config(), context=ALICE)
    assert len(sandbox.sent(MINE)) == 1 and not sandbox.sent(HIS)


@pytest.mark.parametrize("earlier", [True, False], ids=["by the last release", "for the last release"])
async def test_pause_of_an_earlier_release_is_resumed(
    earlier: bool, deputy: Deputy, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The previous release paused inside the inner graph."""
    graph, made = plain(deputy), TaskLocation.of

    def of(config: RunnableConfig, *, pausing: bool = False) -> TaskLocation | None:
        return None if pausing and old[0] else made(config, pausing=pausing)

    old = [earlier]
    monkeypatch.setattr(TaskLocation, "of", of)
    await graph.ainvoke(asking(SEND), config(), context=ALICE)
    old[0] = not earlier
    if earlier:
        for given in (await yes_to(graph), await yes_to(graph, "map"), None):
            await refused(graph, deputy, given)
    await graph.ainvoke(None, config(), context=ALICE)
    assert not sandbox.sent(MINE)
    state = await graph.ainvoke(await yes_to(graph), config(), context=ALICE)
    assert tool_messages(state)["send"].status == "success" and len(sandbox.sent(MINE)) == 1


async def test_two_vaults_in_one_node_each_ask_their_own_user(sandbox: Sandbox) -> None:
    async with await build(sandbox) as one, await build(sandbox) as two:
        nodes = [act_node(deputy, "gmail") for deputy in (one, two)]
        for deputy in (one, two):
            await connect(deputy, sandbox, "send")

        async def both(state: MessagesState, config: RunnableConfig) -> Any:
            return {"messages": [(await node.ainvoke(CALLED, config))["messages"][-1] for node in nodes]}

        graph = wired(both)
        await graph.ainvoke(asking(SEND), config(), context=ALICE)
        for deputy in (one, two):
            await refused(graph, deputy, WAKE)
            await graph.ainvoke(WAKE, config(), context=ALICE)
            await graph.ainvoke(await yes_to(graph), config(), context=ALICE)
        assert (await graph.aget_state(config())).interrupts == () and len(sandbox.sent(MINE)) == 2


@pytest.mark.parametrize("way", ["with its own vault", "with a new message"])
async def test_pause_of_another_vault_is_refused_and_kept(way: str, sandbox: Sandbox) -> None:
    """The owner cannot be read there, so accepting the resume would let anyone take the owner's place."""
    saver = InMemorySaver()
    async with await build(sandbox) as lost, await build(sandbox) as found:
        await connect(found, sandbox, "send")
        await connect(lost, sandbox, "send")
        await plain(lost, saver=saver).ainvoke(asking(SEND), config(), context=ALICE)
        graph = plain(found, saver=saver)
        for given in (await yes_to(graph), WAKE, None):
            with pytest.raises(PolicyDenied, match="another vault") as refusal:
                await graph.ainvoke(given, config(), context=ALICE)
            assert "new message" in str(refusal.value.hint) and not sandbox.sent(MINE)
        if way == "with its own vault":
            graph = plain(lost, saver=saver)
        else:
            await graph.ainvoke(asking({**SEND, "id": "anew"}), config(), context=ALICE)
        state = await graph.ainvoke(await yes_to(graph), config(), context=ALICE)
        [answer] = tool_messages(state).values()
        assert answer.status == "success" and len(sandbox.sent(MINE)) == 1


async def test_late_or_denied_approval_sends_nothing(sandbox: Sandbox) -> None:
    clock = Clock(time.time())
    async with await build(sandbox, clock=clock) as deputy:
        await connect(deputy, sandbox, "send")
        graph = plain(deputy)
        await graph.ainvoke(asking(SEND), config(), context=ALICE)
        late = await yes_to(graph)
        clock.now += 4000
        await graph.ainvoke(late, config(), context=ALICE)
        assert await yes_to(graph) != late and not sandbox.sent(MINE)
        deputy.policy = lambda act: Verdict.DENY
        state = await graph.ainvoke(await yes_to(graph), config(), context=ALICE)
        assert tool_messages(state)["send"].artifact["error"] == "policy_denied" and not sandbox.sent(MINE)


async def test_pause_owner_is_not_readable_in_checkpoints(sandbox: Sandbox, tmp_path: Path) -> None:
    async with await build(sandbox) as deputy:
        await connect(deputy, sandbox, "send", user="mrs-zimmermann")
        with sqlite_saver(tmp_path / "kept.db") as saver:
            graph, shown = plain(deputy, saver=saver), list[Any]()

            def run(given: Any) -> None:
                modes: Any = ["updates", "values", "debug", "tasks", "checkpoints", "messages", "custom"]
                shown.extend(graph.stream(given, config(), context=Context("mrs-zimmermann"), stream_mode=modes))

            await asyncio.to_thread(run, asking(SEND))
            ids = [one["approval_id"] for one in graph.get_state(config()).interrupts[0].value["approvals"]]
            await asyncio.to_thread(run, None)
            await asyncio.to_thread(run, Command(resume={"decisions": dict.fromkeys(ids, "approve")}))
            assert len(sandbox.sent(MINE)) == 1 and "zimmermann" not in repr(shown)
        with closing(sqlite3.connect(tmp_path / "kept.db")) as db:
            rows = [row for table in ("checkpoints", "writes") for row in db.execute(f"select * from {table}")]  # noqa: S608
        assert rows and "zimmermann" not in repr(rows)
