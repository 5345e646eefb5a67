"""The act node without an inner graph: when this path is taken, and that nothing else changes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolCall, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import MessagesState
from langgraph.types import Command

from deputize.adapters.langgraph import act_node
from deputize.adapters.langgraph import inline_execution as langgraph_fast_path
from deputize.core import Deputy, PolicyDenied, Request, Steps, Toolkit, User, Verdict, any_of
from deputize.sandbox import Sandbox
from deputize.toolkits.gmail import TOOLKIT as GMAIL_TOOLS
from tests.support.graphs import SEARCH, SEND, Context, asking, config, grant_all, plain, tool_messages, wired
from tests.support.sandbox_deputy import GMAIL, build, connect, consent

ALICE, BOB = Context("alice"), Context("bob")
WAKE: Command[Any] = Command(resume={"wake": True})
WHO: dict[str, Any] = {"name": "gmail_whoami", "args": {}, "id": "who"}
INSIDE = ("SAVER", "PAD")


async def run(mode: str, graph: Any, given: Any, who: Context | None = ALICE) -> Any:
    """Run a graph in an event loop, or in a thread."""
    if mode == "sync":
        return await asyncio.to_thread(graph.invoke, given, config(), context=who)
    return await graph.ainvoke(given, config(), context=who)


def inner(saver: InMemorySaver) -> set[str]:
    """Return the namespaces of inner graphs that have stored checkpoints."""
    return {name for name, rows in saver.storage["1"].items() if name and rows}


@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_read_is_answered_without_a_checkpoint(mode: str, deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "readonly")
    saver = InMemorySaver()
    state = await run(mode, plain(deputy, saver=saver), asking(SEARCH, WHO))
    assert [m.status for m in tool_messages(state).values()] == ["success", "success"]
    assert [m.type for m in state["messages"]] == ["human", "ai", "tool", "tool"] and inner(saver) == set()


async def test_write_beside_another_call_has_its_own_checkpoints(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "readonly", "send")
    saver = InMemorySaver()
    await plain(deputy, saver=saver).ainvoke(asking(SEARCH, SEND), config(), context=ALICE)
    assert len(inner(saver)) == 1


@pytest.mark.parametrize("missing", [*INSIDE, ""])
@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_pause_of_reads_belongs_to_its_owner_under_renamed_langgraph_keys(
    missing: str, mode: str, deputy: Deputy, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    if missing:
        monkeypatch.setattr(langgraph_fast_path, missing, "__renamed")
    await connect(deputy, sandbox, "readonly", user="bob", as_="bob@example.test")
    graph, before = plain(deputy), sandbox.count("gmail.googleapis.com")
    await run(mode, graph, asking(SEARCH))
    for answer in (WAKE, None):
        with pytest.raises(PolicyDenied):
            await run(mode, graph, answer, BOB)
    assert sandbox.count("gmail.googleapis.com") == before, "nothing was read as Bob"
    await grant_all(deputy, sandbox, graph, config())
    assert tool_messages(await run(mode, graph, WAKE))["search"].status == "success"


@pytest.mark.parametrize("missing", INSIDE)
async def test_renamed_langgraph_keys_disable_the_fast_path(
    missing: str, deputy: Deputy, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(langgraph_fast_path, missing, "__renamed")
    await connect(deputy, sandbox, "readonly")
    saver = InMemorySaver()
    state = await plain(deputy, saver=saver).ainvoke(asking(SEARCH), config(), context=ALICE)
    assert tool_messages(state)["search"].status == "success" and len(inner(saver)) == 1


async def test_subgraph_stream_includes_the_gate(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "readonly")
    graph = plain(deputy)
    heard = graph.astream(asking(SEARCH), config(), context=ALICE, stream_mode="updates", subgraphs=True)
    names = [name async for _, part in heard for name in part]
    assert names == ["gate", "act", "tools"]
    alone = graph.astream(asking(SEARCH), config(), context=ALICE, stream_mode="updates")
    [update] = [part["tools"] async for part in alone]
    assert isinstance(update["messages"][-1], ToolMessage)


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize("named", [True, False], ids=["with config", "without"])
async def test_two_nodes_used_in_one_node_have_separate_pauses(
    named: bool, mode: str, deputy: Deputy, sandbox: Sandbox
) -> None:
    """The first only reads and returns; the second pauses. When the node reruns, neither takes the other's answer."""
    await connect(deputy, sandbox, "readonly")
    acting = act_node(deputy, "gmail")
    first = {"messages": [AIMessage("", id="first", tool_calls=[SEARCH])]}
    second = {"messages": [AIMessage("", id="second", tool_calls=[SEND])]}

    def both(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
        how = config if named else None
        return {"messages": [acting.invoke(given, how)["messages"][-1] for given in (first, second)]}

    async def aboth(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
        how = config if named else None
        return {"messages": [(await acting.ainvoke(given, how))["messages"][-1] for given in (first, second)]}

    graph = wired(both if mode == "sync" else aboth)
    await run(mode, graph, {"messages": [HumanMessage("go on")]})
    await grant_all(deputy, sandbox, graph, config())
    await run(mode, graph, WAKE)
    [pause] = (await graph.aget_state(config())).interrupts
    ids = [ask["approval_id"] for ask in pause.value["approvals"]]
    state = await run(mode, graph, Command(resume={"decisions": dict.fromkeys(ids, "approve")}))
    answers = tool_messages(state)
    assert "Bob Brown" in str(answers["search"].content) and answers["send"].status == "success"
    assert len(sandbox.sent("alice@example.test")) == 1


async def test_pause_of_a_second_node_in_one_node_belongs_to_its_owner(sandbox: Sandbox) -> None:
    kit = Toolkit("odd", "google", api="gmail")

    @kit.tool(needs=[any_of(f"{GMAIL}labels")])
    def labels() -> Steps:
        """List labels."""
        return (yield Request("GET", "/users/me/labels"))

    async with await build(sandbox, toolkits=[GMAIL_TOOLS, kit]) as deputy:
        await connect(deputy, sandbox, "readonly")
        await connect(deputy, sandbox, "readonly", "labels", user="bob", as_="bob@example.test")
        acting = act_node(deputy, "gmail", "odd")

        async def both(state: MessagesState, config: RunnableConfig) -> Any:
            await acting.ainvoke({"messages": [AIMessage("", id="first", tool_calls=[SEARCH])]}, config)
            call = {"name": "odd_labels", "args": {}, "id": "labels"}
            return await acting.ainvoke({"messages": [AIMessage("", id="second", tool_calls=[call])]}, config)

        graph = wired(both)
        await graph.ainvoke({"messages": [HumanMessage("go on")]}, config(), context=ALICE)
        with pytest.raises(PolicyDenied):
            await graph.ainvoke(WAKE, config(), context=BOB)


async def test_grant_lost_during_the_fast_path_pauses(
    deputy: Deputy, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    await connect(deputy, sandbox, "readonly")
    looked, saver = deputy.check_calls, InMemorySaver()

    async def looking(*calls: Any, **how: Any) -> Any:
        found = await looked(*calls, **how)
        monkeypatch.undo()
        await deputy.revoke("alice", "google")
        return found

    monkeypatch.setattr(deputy, "check_calls", looking)
    graph = plain(deputy, saver=saver)
    await graph.ainvoke(asking(SEARCH), config(), context=ALICE)
    [pause] = (await graph.aget_state(config())).interrupts
    assert pause.value["type"] == "deputize.consent"
    found = await deputy.consents.status(pause.value["consents"][0]["consent_id"])
    assert found and (await consent(deputy, sandbox, found)).status == "granted"
    assert tool_messages(await graph.ainvoke(WAKE, config(), context=ALICE))["search"].status == "success"


async def test_earlier_answer_is_kept(deputy: Deputy, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    await connect(deputy, sandbox, "readonly")
    acted = deputy.act

    async def acting(tool: str, *given: Any, **how: Any) -> Any:
        if tool == SEARCH["name"]:
            monkeypatch.undo()
            await asyncio.sleep(0.1)  # the other call has its answer
            await deputy.revoke("alice", "google")
        return await acted(tool, *given, **how)

    monkeypatch.setattr(deputy, "act", acting)
    graph = plain(deputy)
    await graph.ainvoke(asking(SEARCH, WHO), config(), context=ALICE)
    asked = sandbox.count("gmail.googleapis.com")
    await grant_all(deputy, sandbox, graph, config())
    answers = tool_messages(await graph.ainvoke(WAKE, config(), context=ALICE))
    assert [m.status for m in answers.values()] == ["success", "success"] and set(answers) == {"search", "who"}
    assert asked == 1, "who I am was asked once"


@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_read_without_a_user_is_refused(mode: str, deputy: Deputy, sandbox: Sandbox) -> None:
    saver = InMemorySaver()
    state = await run(mode, plain(deputy, saver=saver), asking(SEARCH), None)
    assert tool_messages(state)["search"].status == "error" and sandbox.requests == []


async def test_copy_of_the_node_with_other_settings_works(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "readonly")
    saver = InMemorySaver()
    graph = wired(act_node(deputy, "gmail").with_config(tags=["mail"]), saver)
    state = await graph.ainvoke(asking(SEARCH), config(), context=ALICE)
    assert tool_messages(state)["search"].status == "success"


def looks_of(deputy: Deputy, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the user of each check before an act from now on."""
    looked, looks = deputy.check_calls, list[str]()

    async def looking(calls: Any, **how: Any) -> Any:
        looks.append(how["user"].id)
        return await looked(calls, **how)

    monkeypatch.setattr(deputy, "check_calls", looking)
    return looks


async def read_in(thread: str, mode: str, graph: Any, who: Context = ALICE) -> Any:
    """Make a read in a conversation of its own."""
    if mode == "sync":
        return await asyncio.to_thread(graph.invoke, asking(WHO), config(thread), context=who)
    return await graph.ainvoke(asking(WHO), config(thread), context=who)


@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_recently_read_calls_skip_the_precheck_per_user(
    mode: str, deputy: Deputy, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    await connect(deputy, sandbox, "readonly")
    looks, graph = looks_of(deputy, monkeypatch), plain(deputy)
    for thread in "12":
        assert tool_messages(await read_in(thread, mode, graph))["who"].status == "success"
    assert looks == ["alice"] and sandbox.count("gmail.googleapis.com") == 2
    state = await read_in("3", mode, graph, BOB)
    assert "bob" in looks and state["__interrupt__"] and sandbox.count("gmail.googleapis.com") == 2


async def test_reads_of_one_message_share_one_consent_after_a_revocation(
    sandbox: Sandbox,
) -> None:
    kit = Toolkit("odd", "google", api="gmail")

    @kit.tool(needs=[any_of(f"{GMAIL}labels")])
    def labels() -> Steps:
        """List labels."""
        return (yield Request("GET", "/users/me/labels"))

    async with await build(sandbox, toolkits=[GMAIL_TOOLS, kit]) as deputy:
        await connect(deputy, sandbox, "readonly", "labels")
        graph, both = wired(act_node(deputy, "gmail", "odd")), (WHO, {"name": "odd_labels", "args": {}, "id": "labels"})
        await graph.ainvoke(asking(*both), config("1"), context=ALICE)
        await deputy.revoke("alice", "google")
        state = await graph.ainvoke(asking(*both), config("2"), context=ALICE)
        [pause] = state["__interrupt__"]
        asked = [one["consent_id"] for one in pause.value["consents"]]
        assert len(asked) == 1 and [one.id for one in await deputy.pending("alice")] == asked
        await grant_all(deputy, sandbox, graph, config("2"))
        answers = tool_messages(await graph.ainvoke(WAKE, config("2"), context=ALICE))
        assert [m.status for m in answers.values()] == ["success"] * 2 and not await deputy.pending("alice")


@pytest.mark.parametrize("revoked", [False, True])
async def test_reads_with_equal_needs_skip_the_precheck_and_request_one_consent(
    revoked: bool, deputy: Deputy, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    await connect(deputy, sandbox, "readonly")
    graph, both = plain(deputy), (WHO, {**WHO, "id": "again"})
    await graph.ainvoke(asking(*both), config("1"), context=ALICE)
    looked, looks = deputy.check_calls, list[int]()

    async def looking(calls: Any, **how: Any) -> Any:
        looks.append(len(calls))
        return await looked(calls, **how)

    monkeypatch.setattr(deputy, "check_calls", looking)
    if revoked:
        await deputy.revoke("alice", "google")
        state = await graph.ainvoke(asking(*both), config("2"), context=ALICE)
        assert looks == [2] and len(state["__interrupt__"]) == len(await deputy.pending("alice")) == 1
        await grant_all(deputy, sandbox, graph, config("2"))
        state = await graph.ainvoke(WAKE, config("2"), context=ALICE)
    else:
        state = await graph.ainvoke(asking(*both), config("2"), context=ALICE)
        assert looks == []
    assert [(name, m.status) for name, m in tool_messages(state).items()] == [("who", "success"), ("again", "success")]


@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_recent_read_pauses_after_a_revocation(
    mode: str, deputy: Deputy, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    await connect(deputy, sandbox, "readonly")
    acted, acts, graph = deputy.act, list[str](), plain(deputy)

    async def acting(tool: str, *given: Any, **how: Any) -> Any:
        acts.append(tool)
        return await acted(tool, *given, **how)

    monkeypatch.setattr(deputy, "act", acting)
    await read_in("1", mode, graph)
    await deputy.revoke("alice", "google")
    for thread in "23":
        state = await read_in(thread, mode, graph)
        assert [one.value["type"] for one in state["__interrupt__"]] == ["deputize.consent"]
        assert "who" not in tool_messages(state)
    assert len(acts) == 2, "once a user has to be asked, there is a look first again"
    await grant_all(deputy, sandbox, graph, config("2"))
    state = await graph.ainvoke(WAKE, config("2"), context=ALICE)
    assert tool_messages(state)["who"].status == "success" and len(acts) == 3


async def test_recent_read_needs_approval_when_the_policy_asks_now(sandbox: Sandbox) -> None:
    verdict = Verdict.ALLOW
    async with await build(sandbox, policy=lambda act: verdict) as deputy:
        await connect(deputy, sandbox, "readonly")
        graph = plain(deputy)
        await read_in("1", "async", graph)
        verdict = Verdict.ASK
        state = await read_in("2", "async", graph)
        [pause] = state["__interrupt__"]
        [approval] = pause.value["approvals"]
        assert pause.value["type"] == "deputize.approval" and sandbox.count("gmail.googleapis.com") == 1
        yes: Command[Any] = Command(resume={"decisions": {approval["approval_id"]: "approve"}})
        state = await graph.ainvoke(yes, config("2"), context=ALICE)
        assert tool_messages(state)["who"].status == "success" and sandbox.count("gmail.googleapis.com") == 2
        verdict = Verdict.DENY
        state = await read_in("3", "async", graph)
        assert tool_messages(state)["who"].status == "error" and sandbox.count("gmail.googleapis.com") == 2


def call_of(tool: str, number: str = "1") -> ToolCall:
    return ToolCall(name=tool, args={}, id=f"{tool} {number}")


def test_fast_path_cache_is_bounded_and_prechecks_new_calls() -> None:
    known = langgraph_fast_path.LastReads({"look", "see"})
    look, see, find = (call_of(name) for name in ("look", "see", "find"))
    last = langgraph_fast_path.MAX_CACHED
    for n in range(last + 1):
        known.note(User(f"{n}"), [look], asked=False)
    first, newest, again = User("0"), User(f"{last}"), call_of("look", "again")
    assert known.to_look_at(first, [look]) == [look] and known.to_look_at(newest, [look]) == ()
    assert known.to_look_at(newest, [look, again]) == ()
    assert known.to_look_at(newest, [look, see, again, call_of("see", "2")]) == [look, see, call_of("see", "2")]
    known.note(newest, [find], asked=False)
    assert known.to_look_at(newest, [find]) == () and len(known.to_look_at(newest, [find, call_of("find", "2")])) == 2
    odd: list[list[Any]] = [[look, look], [{**look, "id": None}], [{**look, "id": None}, again]]
    assert [known.to_look_at(newest, calls) for calls in odd] == odd
    assert known.to_look_at(None, [look]) == [look]
    known.note(newest, [look], asked=True)
    assert known.to_look_at(newest, [look]) == [look]
