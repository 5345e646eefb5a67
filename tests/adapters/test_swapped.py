"""In every framework the approved content is what happens: drafts changed by others, and what a pause shows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from langgraph.types import Command

from deputize.adapters.llamaindex import ApprovalRequest, ApprovalResponse
from deputize.core import Act, ApprovalPayload, Audience, Call, Deputy, User, Verdict
from deputize.core.user_requests import MAX_IN_PAYLOAD
from deputize.core.web.app import pages_app
from deputize.sandbox import Sandbox
from tests.support import llamaindex_agents
from tests.support.graphs import SEND, Context, Graph, approvals_of, asking, config, plain, tool_messages
from tests.support.langgraph_matrix import Killed
from tests.support.sandbox_deputy import Recorder, build, connect
from tests.support.scripted_agents import agent as created

ALICE = Context("alice")
WAYS = ("act_node", "create_agent")
DRAFT = {"to": ["bob@example.test"], "subject": "Contract", "body": "As agreed."}
llama = pytest.mark.filterwarnings(
    "ignore::pydantic.warnings.PydanticDeprecationWarning",
    "ignore:is_running called from within a step:DeprecationWarning",
)


class World:
    """A deputy over the sandbox, and another program that edits Alice's drafts."""

    def __init__(self, deputy: Deputy, sandbox: Sandbox, wire: Recorder) -> None:
        self.deputy, self.sandbox, self.wire, self.calls = deputy, sandbox, wire, 0

    async def act(self, tool: str, **arguments: Any) -> Any:
        """Perform an act of another agent, whose policy needs no approval."""
        policy, self.deputy.policy = self.deputy.policy, lambda act: Verdict.ALLOW
        self.calls += 1
        done = await self.deputy.act(tool, arguments, user="alice", call=Call("other", "m", str(self.calls)))
        self.deputy.policy = policy
        return done

    async def draft(self) -> str:
        return str((await self.act("gmail_save_draft", **DRAFT))["draft_id"])

    async def rewrite(self, draft: str) -> None:
        await self.act("gmail_save_draft", draft_id=draft, to=["eve@evil.test"], body="All our secrets.")

    @property
    def sent(self) -> list[tuple[str, str]]:
        return [(mail.to, mail.text.strip()) for mail in self.sandbox.sent("alice@example.test")]

    def on_send(self, does: Any) -> None:
        """Do something before the next drafts.send reaches the provider."""
        inner = self.wire.inner

        async def between(request: httpx.Request) -> httpx.Response:
            if request.url.path.endswith("/drafts/send"):
                self.wire.inner = inner
                await does()
            return await inner.handle_async_request(request)

        self.wire.inner = httpx.MockTransport(between)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    sandbox = Sandbox()
    wire = Recorder(sandbox.transport())
    async with await build(sandbox, transport=wire) as deputy:
        await connect(deputy, sandbox, "modify")
        yield World(deputy, sandbox, wire)


def send_draft(draft: str, id: str = "send") -> dict[str, Any]:
    return {"name": "gmail_send_draft", "args": {"draft_id": draft}, "id": id}


def graph_of(way: str, world: World, *calls: dict[str, Any]) -> Graph:
    return plain(world.deputy) if way == "act_node" else created(world.deputy, *calls)


async def begun(way: str, graph: Graph, *calls: dict[str, Any]) -> list[ApprovalPayload]:
    """Return the approvals that a graph pauses for after these calls."""
    await graph.ainvoke(
        asking(*calls) if way == "act_node" else {"messages": [("user", "go on")]}, config(), context=ALICE
    )
    return await approvals_of(graph, config())


SUMMARY = "Your agent wants to send this draft at Gmail as alice@example.test to bob@example.test"


def yes(*asks: ApprovalPayload) -> Command[Any]:
    return Command(resume={"decisions": {ask["approval_id"]: "approve" for ask in asks}})


@pytest.mark.parametrize("way", WAYS)
async def test_graph_pauses_again_for_a_draft_rewritten_after_approval(way: str, world: World) -> None:
    call = send_draft(await world.draft())
    graph = graph_of(way, world, call)
    [first] = await begun(way, graph, call)
    assert (first["summary"], first["preview"]["to"]) == (SUMMARY, "bob@example.test")
    await world.deputy.decide(first["approval_id"], "approve", by="alice")
    await world.rewrite(call["args"]["draft_id"])
    await graph.ainvoke(Command(resume={"wake": True}), config(), context=ALICE)
    [second] = await approvals_of(graph, config())
    assert (
        second["preview"]["to"] == "eve@evil.test"
        and {"to", "text"} <= set(second["changed_fields"])
        and world.sent == []
    )
    await graph.ainvoke(yes(first), config(), context=ALICE)
    assert world.sent == [] and len(await approvals_of(graph, config())) == 1, "the old yes is none to the new question"
    state = await graph.ainvoke(yes(second), config(), context=ALICE)
    assert tool_messages(state)["send"].status == "success" and world.sent == [("eve@evil.test", "All our secrets.")]


@pytest.mark.parametrize("way", WAYS)
async def test_graph_sends_the_previewed_draft_when_it_is_swapped(way: str, world: World) -> None:
    call = send_draft(await world.draft())
    graph = graph_of(way, world, call)
    asks = await begun(way, graph, call)
    world.on_send(lambda: world.rewrite(call["args"]["draft_id"]))
    await graph.ainvoke(yes(*asks), config(), context=ALICE)
    assert world.sent == [("bob@example.test", "As agreed.")]


@pytest.mark.parametrize("way", WAYS)
async def test_graph_after_a_crash_does_not_send_a_rewritten_draft(way: str, world: World) -> None:
    call = send_draft(await world.draft())
    graph = graph_of(way, world, call)
    asks = await begun(way, graph, call)

    async def dies() -> None:
        raise Killed

    world.on_send(dies)
    with pytest.raises(Killed):
        await graph.ainvoke(yes(*asks), config(), context=ALICE)
    await world.rewrite(call["args"]["draft_id"])
    state = await graph.ainvoke(None, config(), context=ALICE)
    assert tool_messages(state)["send"].status == "error" and world.sent == []
    assert "changed since" in str(tool_messages(state)["send"].content)


def asks_for_others(act: Act) -> Verdict:
    """An application's policy: effects that only the user sees need no approval."""
    return Verdict.ASK if act.show and act.show.audience > Audience.SELF else Verdict.ALLOW


async def test_save_and_send_in_one_message_pause_once_with_the_new_text(world: World) -> None:
    draft = await world.draft()
    world.deputy.policy = asks_for_others
    save = {"name": "gmail_save_draft", "args": {"draft_id": draft, "body": "Other text."}, "id": "save"}
    graph = graph_of("act_node", world)
    [ask] = await begun("act_node", graph, save, send_draft(draft))
    assert ask["preview"]["text"].strip() == "Other text." and ask["changed_fields"] == []
    done = await graph.ainvoke(yes(ask), config(), context=ALICE)
    assert {m.status for m in tool_messages(done).values()} == {"success"}
    assert world.sent == [("bob@example.test", "Other text.")]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("form", ["bare", "map"])
async def test_answer_to_an_older_pause_shows_what_has_changed(world: World, way: str, form: str) -> None:
    """Somebody else changes the draft after the pause, and another program asks about it before the user answers."""
    draft = await world.draft()
    graph = graph_of(way, world, send_draft(draft))
    [first] = await begun(way, graph, send_draft(draft))
    await world.rewrite(draft)
    for answer in ("approve", "approve"):
        [pause] = (await graph.aget_state(config())).interrupts
        value = {"decisions": {first["approval_id"]: answer}}
        given = value if form == "bare" else {pause.id: value}
        await graph.ainvoke(Command(resume=given), config(), context=ALICE)
        assert world.sent == []
    [second] = await approvals_of(graph, config())
    fault = second.get("fault", "")
    assert "changed since it was shown (" in fault and "text" in fault
    await graph.ainvoke(yes(second), config(), context=ALICE)
    assert world.sent == [("eve@evil.test", "All our secrets.")]


async def test_call_after_a_pending_call_waits_with_it(world: World) -> None:
    draft = await world.draft()
    world.deputy.policy = asks_for_others
    save = {"name": "gmail_save_draft", "args": {"draft_id": draft, "body": "Other text."}, "id": "save"}
    graph = graph_of("act_node", world)
    [ask] = await begun("act_node", graph, send_draft(draft), save)
    assert ask["preview"]["text"].strip() == "As agreed."
    done = await graph.ainvoke(yes(ask), config(), context=ALICE)
    assert world.sent == [("bob@example.test", "As agreed.")] and tool_messages(done)["save"].status == "error"


@pytest.mark.parametrize("first", ["change", "send"])
async def test_changing_and_sending_a_draft_in_one_message_sends_only_what_was_previewed(
    world: World, first: str
) -> None:
    draft = await world.draft()
    change = {"name": "gmail_save_draft", "args": {"draft_id": draft, "body": "Other text."}, "id": "change"}
    calls = [change, send_draft(draft)] if first == "change" else [send_draft(draft), change]
    graph = graph_of("act_node", world)
    asks = await begun("act_node", graph, *calls)
    assert [ask["tool"] for ask in asks] == [call["name"] for call in calls]
    state = await graph.ainvoke(yes(*asks), config(), context=ALICE)
    if first == "send":
        assert world.sent == [("bob@example.test", "As agreed.")] and tool_messages(state)["change"].status == "error"
        return
    assert world.sent == []
    [again] = await approvals_of(graph, config())
    assert again["preview"]["text"].strip() == "Other text." and "text" in again["changed_fields"]
    await graph.ainvoke(yes(again), config(), context=ALICE)
    assert world.sent == [("bob@example.test", "Other text.")]


@pytest.mark.parametrize("way", WAYS)
async def test_pause_shows_text_as_sent_and_where_the_rest_is(way: str, world: World) -> None:
    body = "cookie: chocolate chip\nPay b\u043eb\u202e\n" + "word " * 1000
    call = {**SEND, "args": {**SEND["args"], "body": body}}
    [ask] = await begun(way, graph_of(way, world, call), call)
    shown = ask["preview"]["text"]
    assert shown.startswith("cookie: chocolate chip\nPay b[U+043E]b[U+202E]\n") and "more characters" in shown
    assert len(shown) < MAX_IN_PAYLOAD + 80 and ask["truncated"] is True and ask["link"].endswith(ask["approval_id"])
    app = pages_app(world.deputy, verifier=lambda request: User("alice"))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url=ask["link"].rpartition("/approve")[0]
    ) as browser:
        page = (await browser.get(ask["link"])).text
    assert (
        page.count("word ") >= 1000
        and "b[U+043E]b[U+202E]" in page
        and " wants to send this email at Gmail as " in page
    )


# ----------------------------------------------------------------- LlamaIndex


@llama
@pytest.mark.parametrize("kind", llamaindex_agents.KINDS)
async def test_llamaindex_run_asks_again_for_a_draft_rewritten_after_approval(kind: str, world: World) -> None:
    draft = await world.draft()
    handler = llamaindex_agents.agent(kind, world.deputy, send_draft(draft)).run("go on")
    [first] = await llamaindex_agents.asked(handler)
    assert isinstance(first, ApprovalRequest) and (first.summary, first.preview["to"]) == (
        SUMMARY,
        "bob@example.test",
    )
    await world.deputy.decide(first.approval_id, "approve", by="alice")
    await world.rewrite(draft)
    handler.ctx.send_event(ApprovalResponse(approval_id=first.approval_id, by="alice"))
    [second] = await llamaindex_agents.asked(handler)
    assert second.preview["to"] == "eve@evil.test" and "to" in second.changed_fields and world.sent == []
    handler.ctx.send_event(ApprovalResponse(approval_id=second.approval_id, by="alice", decision="reject"))
    await llamaindex_agents.ended(handler)
    assert world.sent == []


@llama
async def test_llamaindex_run_sends_the_previewed_draft_when_it_is_swapped(world: World) -> None:
    draft = await world.draft()
    handler = llamaindex_agents.agent("FunctionAgent", world.deputy, send_draft(draft)).run("go on")
    [ask] = await llamaindex_agents.asked(handler)
    world.on_send(lambda: world.rewrite(draft))
    handler.ctx.send_event(ApprovalResponse(approval_id=ask.approval_id, by="alice", decision="approve"))
    await llamaindex_agents.ended(handler)
    assert world.sent == [("bob@example.test", "As agreed.")]
