"""LlamaIndex pitfalls and mistakes of other integrations: none of them happens here."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.tools import FunctionTool
from workflows.context.internal_context import InternalContext
from workflows.runtime.types.results import StepWorkerStateContextVar

from deputize.adapters.llamaindex import (
    ApprovalRequest,
    ApprovalResponse,
    ConsentRequest,
    ConsentResponse,
    GmailToolSpec,
    resume_paused,
    save_paused,
)
from deputize.adapters.llamaindex import run_state as llamaindex_saved
from deputize.core import Deputy, InvalidInput
from deputize.sandbox import Sandbox
from tests.support.graphs import SEARCH, SEND
from tests.support.llamaindex_agents import ALICE, KINDS, Calling, Model, agent, asked, ended, plainly, visit
from tests.support.sandbox_deputy import build, connect

pytestmark = [  # LlamaIndex's own
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:is_running called from within a step:DeprecationWarning"),
]
CLOCK = {"name": "clock", "args": {"zone": "UTC"}, "id": "clock"}


def sent(sandbox: Sandbox) -> int:
    return len(sandbox.sent("alice@example.test"))


def approve(handler: Any, approval: str, *, by: str = "alice") -> None:
    handler.ctx.send_event(ApprovalResponse(approval_id=approval, by=by, decision="approve"))


def clock(ran: list[str], *, seconds: float = 0.0) -> FunctionTool:
    """An application's own tool, beside the deputy's."""

    async def clock(zone: str) -> str:
        """Tell the time."""
        ran.append(zone)
        await asyncio.sleep(seconds)
        return "noon"

    return FunctionTool.from_defaults(async_fn=clock)


# ------------------------------------------------------------- tools


async def test_trap_argument_descriptions_are_in_the_schema(deputy: Deputy) -> None:
    """LlamaIndex leaves argument descriptions of a docstring in the tool's description."""
    [tool] = GmailToolSpec(deputy, user="alice").to_tool_list(["gmail_send_email"])
    shown = tool.metadata.get_parameters_dict()["properties"]
    assert shown["send_as"]["description"] and "send_as" not in tool.metadata.description


@pytest.mark.parametrize("wrong", [{"limit": "many"}, {"query": ["not", "text"]}, {"zzz": 1}])
async def test_trap_arguments_are_validated_by_us(deputy: Deputy, sandbox: Sandbox, wrong: dict[str, Any]) -> None:
    await connect(deputy, sandbox, "readonly")
    before = len(sandbox.requests)
    said = str(await agent("FunctionAgent", deputy, {**SEARCH, "args": wrong}).run("go on"))
    assert next(iter(wrong)) in said and len(sandbox.requests) == before


async def test_trap_tool_gets_its_context_with_postponed_annotations(deputy: Deputy) -> None:
    """With annotations as strings, LlamaIndex does not notice that a function wants its context."""
    assert all(tool.requires_context for tool in GmailToolSpec(deputy, user="alice").to_tool_list())


async def test_trap_run_state_is_not_shown_to_the_model(deputy: Deputy, sandbox: Sandbox) -> None:
    """LlamaIndex formats the agent's initial state into its prompt."""
    model = Model([SEARCH])
    one = agent("FunctionAgent", deputy, model=model)
    one.initial_state = {"mood": "fine"}
    handler = one.run("go on")
    [request] = await asked(handler)
    await visit(deputy, sandbox, request.consent_id)
    handler.ctx.send_event(ConsentResponse(consent_id=request.consent_id))
    await ended(handler)
    told = "\n".join(model.told)
    assert "fine" in told
    assert not [word for word in ("deputize_", "/connect/", request.consent_id) if word in told]


async def test_trap_exception_text_is_not_shown_to_the_model(
    deputy: Deputy, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """LlamaIndex writes the text of any exception into the conversation."""
    caplog.set_level(logging.DEBUG)

    async def broken(*args: Any, **more: Any) -> Any:
        raise RuntimeError("401 Authorization: Bearer ya29.secret")

    await connect(deputy, sandbox, "readonly")
    for broken_part in ("act", "check_calls"):
        with monkeypatch.context() as patch:
            patch.setattr(deputy, broken_part, broken)
            said = str(await agent("FunctionAgent", deputy, SEARCH).run("go on"))
            assert "ya29" not in said and (broken_part == "check_calls" or said.endswith("The tool failed."))
    assert "ya29" not in caplog.text


async def test_trap_call_is_delivered_by_id_and_repeated_alike(deputy: Deputy, sandbox: Sandbox) -> None:
    """No public name gives the id: the adapter reads where LlamaIndex stores it, even if a model repeats ids."""
    seen: list[tuple[str, str]] = []

    async def look(zone: str) -> str:
        """Look."""
        step = StepWorkerStateContextVar.get()
        seen.append((str(step.state.work_item_id), type(step.event).__name__))
        return "seen"

    calls = [{"name": "look", "args": {"zone": "a"}, "id": "same"} for _ in range(2)]
    await agent("FunctionAgent", deputy, *calls, more=[FunctionTool.from_defaults(async_fn=look)]).run("go on")
    assert len(set(seen)) == 2 and {name for _, name in seen} == {"ToolCall"} and "None" not in dict(seen)
    await connect(deputy, sandbox, "send")
    handler = agent("FunctionAgent", deputy, SEND, SEND).run("go on")
    first, second = await asked(handler, 2)
    assert first.approval_id != second.approval_id
    handler = await resume_paused(agent("FunctionAgent", deputy, SEND, SEND), await save_paused(handler))
    assert {one.id for one in await deputy.approvals.list_pending(ALICE)} == {first.approval_id, second.approval_id}
    await handler.cancel_run()


# ------------------------------------------------------------- waiting


@pytest.mark.parametrize("kind", KINDS)
async def test_trap_early_event_ends_the_call_without_hanging(deputy: Deputy, sandbox: Sandbox, kind: str) -> None:
    handler = agent(kind, deputy, SEND).run("go on")
    [request] = await asked(handler)
    for _ in range(3):
        handler.ctx.send_event(ConsentResponse(consent_id=request.consent_id))
    assert "must allow" in await ended(handler) and sent(sandbox) == 0
    await connect(deputy, sandbox, "send")
    handler = agent(kind, deputy, SEND).run("go on")
    [request] = await asked(handler)
    handler.ctx.send_event(ApprovalResponse(approval_id=request.approval_id, by="alice"))
    assert "waits for the user's approval" in await ended(handler) and sent(sandbox) == 0


@pytest.mark.parametrize("kind", KINDS[:2])
async def test_trap_repeated_event_neither_acts_nor_displaces(deputy: Deputy, sandbox: Sandbox, kind: str) -> None:
    ran: list[str] = []
    model = Model([SEND, CLOCK, SEARCH])
    await connect(deputy, sandbox, "send", "readonly")
    handler = agent(kind, deputy, more=[clock(ran)], model=model).run("go on")
    [request] = await asked(handler)
    for pause in (0, 0, 0.05, 0.1):
        await asyncio.sleep(pause)
        approve(handler, request.approval_id)
    result = await asyncio.wait_for(handler, 20)
    assert ran == ["UTC"] and sent(sandbox) == 1 and len(model.told) == 2, "and no further turn of the model"
    assert str(result).count("Sent.") == 1 and "noon" in str(result) and "Bob Brown" in str(result)
    assert len(result.tool_calls) == 3


@pytest.mark.parametrize("events", [2, 3, 5, 9])
@pytest.mark.parametrize("kind", KINDS)
async def test_trap_request_is_streamed_once(deputy: Deputy, sandbox: Sandbox, kind: str, events: int) -> None:
    """LlamaIndex delivers a call once for each event, four at a time; the last of their waits replaces the others."""
    handler = agent(kind, deputy, SEND).run("go on")
    [request] = await asked(handler)
    await visit(deputy, sandbox, request.consent_id)
    for _ in range(events):
        handler.ctx.send_event(ConsentResponse(consent_id=request.consent_id))
    requests: list[ApprovalRequest] = []
    async for event in handler.stream_events():
        if isinstance(event, ApprovalRequest):
            requests.append(event)
            for _ in range(events):
                approve(handler, event.approval_id)
    assert "Sent." in await ended(handler) and (len(requests), sent(sandbox)) == (1, 1)


async def test_trap_abandoned_wait_does_not_repeat_the_call(deputy: Deputy, sandbox: Sandbox) -> None:
    """If a call continues because the vault already has the grant, its abandoned wait still receives events."""
    await connect(deputy, sandbox, "send")
    handler = agent("FunctionAgent", deputy, SEND, SEARCH).run("go on")
    found = {type(request): request for request in await asked(handler, 2)}
    blob = await save_paused(handler)
    await visit(deputy, sandbox, found[ConsentRequest].consent_id)
    for _ in range(2):
        handler = await resume_paused(agent("FunctionAgent", deputy, SEND, SEARCH), blob)
        for _ in range(3):
            handler.ctx.send_event(ConsentResponse(consent_id=found[ConsentRequest].consent_id))
            await asyncio.sleep(0.02)
        answers = [
            event for event in plainly(handler)["workers"]["aggregate_tool_results"]["collected_events"].values()
        ]
        assert [len(one) for one in answers] == [1], "the search has answered, and once"
        blob = await save_paused(handler)
    handler = await resume_paused(agent("FunctionAgent", deputy, SEND, SEARCH), blob)
    approve(handler, found[ApprovalRequest].approval_id)
    result: Any = await asyncio.wait_for(handler, 20)
    assert "Sent." in str(result) and str(result).count("Bob Brown") and len(result.tool_calls) == 2
    searches = [seen for seen in sandbox.requests if seen.path.endswith("/messages")]
    assert len(searches) == 2, "one search by the call, and one for earlier mails to the recipient"


async def test_trap_waits_have_no_timeout(deputy: Deputy, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """LlamaIndex gives up after 2000 seconds and tells the model; deputize's requests expire in the vault instead."""
    timeouts: list[Any] = []
    real = InternalContext.wait_for_event

    async def noted(self: Any, *args: Any, **more: Any) -> Any:
        timeouts.append(args[4] if len(args) > 4 else more.get("timeout", 2000))
        return await real(self, *args, **more)

    monkeypatch.setattr(InternalContext, "wait_for_event", noted)
    handler = agent("FunctionAgent", deputy, SEND).run("go on")
    [request] = await asked(handler)
    await visit(deputy, sandbox, request.consent_id)
    for _ in range(3):
        handler.ctx.send_event(ConsentResponse(consent_id=request.consent_id))
    [request] = await asked(handler)
    await handler.cancel_run()
    assert len(timeouts) >= 2 and set(timeouts) == {None}


# ------------------------------------------------------------- saving and resuming


async def test_trap_request_decided_without_a_listener_needs_no_event(deputy: Deputy, sandbox: Sandbox) -> None:
    handler = agent("FunctionAgent", deputy, SEND).run("go on")
    [request] = await asked(handler)
    blob = await save_paused(handler)
    await visit(deputy, sandbox, request.consent_id)
    handler = await resume_paused(agent("FunctionAgent", deputy, SEND), blob)
    [request] = await asked(handler)
    blob = await save_paused(handler)
    await deputy.decide(request.approval_id, "approve", by="alice")
    handler = await resume_paused(agent("FunctionAgent", deputy, SEND), blob)
    assert "Sent." in await ended(handler) and sent(sandbox) == 1


async def test_trap_saved_request_is_not_streamed_again(deputy: Deputy) -> None:
    handler = agent("FunctionAgent", deputy, SEND).run("go on")
    [request] = await asked(handler)
    handler = await resume_paused(agent("FunctionAgent", deputy, SEND), await save_paused(handler))
    [waiting] = await deputy.consents.list_pending(ALICE)
    assert (waiting.id, waiting.link) == (request.consent_id, request.link)
    await handler.cancel_run()


async def test_trap_expired_consent_is_requested_again_in_the_resumed_run(sandbox: Sandbox) -> None:
    from tests.support.sandbox_deputy import Clock

    clock = Clock(1_800_000_000.0)
    sandbox = Sandbox(clock=clock)
    async with await build(sandbox, clock=clock) as deputy:
        handler = agent("FunctionAgent", deputy, SEARCH).run("go on")
        [first] = await asked(handler)
        blob = await save_paused(handler)
        clock.now = first.expires_at + 86_400
        handler = await resume_paused(agent("FunctionAgent", deputy, SEARCH), blob)
        [waiting] = await deputy.consents.list_pending(ALICE)
        assert waiting.link != first.link
        await visit(deputy, sandbox, waiting.id)
        handler.ctx.send_event(ConsentResponse(consent_id=waiting.id))
        assert "Bob Brown" in await ended(handler)


@pytest.mark.parametrize("kind", KINDS)
async def test_trap_other_event_after_a_resume_is_ignored(deputy: Deputy, sandbox: Sandbox, kind: str) -> None:
    """A restored wait accepts any event of its class until its call was delivered again."""
    await connect(deputy, sandbox, "send")
    handler = agent(kind, deputy, SEND).run("go on")
    [request] = await asked(handler)
    handler = await resume_paused(agent(kind, deputy, SEND), await save_paused(handler))
    approve(handler, "another")
    approve(handler, request.approval_id, by="bob")
    await asyncio.sleep(0.1)
    assert not handler.is_done() and sent(sandbox) == 0
    approve(handler, request.approval_id)
    assert "Sent." in await ended(handler) and sent(sandbox) == 1


async def test_trap_early_approval_event_is_ignored(
    deputy: Deputy, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if a restored wait receives it, because the run had no time to continue."""

    async def at_once(handler: Any, seconds: float) -> None:
        """No time."""

    await connect(deputy, sandbox, "send")
    handler = agent("FunctionAgent", deputy, SEND).run("go on")
    [request] = await asked(handler)
    blob = await save_paused(handler)
    monkeypatch.setattr(llamaindex_saved, "_still", at_once)
    handler = await resume_paused(agent("FunctionAgent", deputy, SEND), blob)
    for _ in range(2):
        approve(handler, request.approval_id, by="bob")
        await asyncio.sleep(0.05)
        assert sent(sandbox) == 0 and not handler.is_done(), "and the wait stays"
    approve(handler, request.approval_id)
    assert "Sent." in await ended(handler) and sent(sandbox) == 1


async def test_trap_event_ends_its_own_wait(deputy: Deputy, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Right after a restore both waits receive it; a workflow server sends it at the moment it restores a run."""

    async def at_once(handler: Any, seconds: float) -> None:
        """No time."""

    await connect(deputy, sandbox, "send")
    calls = [{**SEND, "id": str(n), "args": {**SEND["args"], "subject": f"Mail {n}"}} for n in range(2)]
    handler = agent("FunctionAgent", deputy, *calls).run("go on")
    first, second = await asked(handler, 2)
    blob = await save_paused(handler)
    monkeypatch.setattr(llamaindex_saved, "_still", at_once)
    handler = await resume_paused(agent("FunctionAgent", deputy, *calls), blob)
    approve(handler, second.approval_id)
    async with asyncio.timeout(10):
        while not sent(sandbox):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.1)
    assert [mail.subject for mail in sandbox.sent("alice@example.test")] == [second.preview["subject"]]
    approve(handler, first.approval_id)
    assert (await ended(handler)).count("Sent.") == 2 and sent(sandbox) == 2


@pytest.mark.processes
async def test_trap_call_running_at_the_save_is_not_started_again(deputy: Deputy, sandbox: Sandbox) -> None:
    ran: list[str] = []
    slow = clock(ran, seconds=0.6)
    handler = agent("FunctionAgent", deputy, SEARCH, CLOCK, more=[slow]).run("go on")
    [request] = await asked(handler)
    await asyncio.sleep(0.1)
    assert ran == ["UTC"], "it runs now"
    blob = await save_paused(handler)
    await visit(deputy, sandbox, request.consent_id)
    result = await (await resume_paused(agent("FunctionAgent", deputy, SEARCH, CLOCK, more=[slow]), blob))
    assert ran == ["UTC"] and "noon" in str(result) and "Bob Brown" in str(result)


async def test_trap_foreign_class_is_not_loaded(
    deputy: Deputy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LlamaIndex's serializer imports any class that a payload names, unless allowed classes are given."""
    (tmp_path / "planted.py").write_text("class Planted:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    handler = agent("FunctionAgent", deputy, SEND).run("go on")
    await asked(handler)
    blob = await save_paused(handler)
    for theirs in ("llama_index.core.base.llms.types.ChatMessage", "deputize.adapters.llamaindex.ConsentResponse"):
        forged = blob.replace(theirs, "planted.Planted")
        assert forged != blob
        with pytest.raises(InvalidInput):
            await resume_paused(agent("FunctionAgent", deputy, SEND), forged)
        assert "planted" not in sys.modules
    for broken in ("", "{}", "[]", "null", blob[:-9]):
        with pytest.raises(InvalidInput):
            await resume_paused(agent("FunctionAgent", deputy, SEND), broken)


async def test_trap_saved_run_holds_its_user_and_no_link(deputy: Deputy) -> None:
    handler = agent("FunctionAgent", deputy, SEND).run("go on")
    [request] = await asked(handler)
    blob = await save_paused(handler)
    assert request.link not in blob and "/connect/" not in blob
    assert json.loads(json.loads(blob)["context"]["state"]["state_data"]["_data"]["deputize_user"]) == ["alice", ""]


# ------------------------------------------------------------- what others got wrong


async def test_peer_N20_two_users_in_one_process_never_share_a_grant(deputy: Deputy, sandbox: Sandbox) -> None:
    """Defect elsewhere: credentials kept in the agent's context gave the second user the first user's token."""
    await connect(deputy, sandbox, "readonly")
    said = await asyncio.gather(*(agent("FunctionAgent", deputy, SEARCH).run("go on") for _ in range(3)))
    assert all("Bob Brown" in str(one) for one in said)
    handler = agent("FunctionAgent", deputy, SEARCH, user="bob").run("go on")
    [request] = await asked(handler)
    assert request.consent_id and {seen.who for seen in sandbox.requests if seen.who} == {"alice@example.test"}
    await handler.cancel_run()


async def test_peer_N21_missing_consent_pauses_the_run_and_is_not_an_error(deputy: Deputy) -> None:
    """Defect elsewhere: the consent exception became a tool's error text, and the agent finished."""
    handler = agent("FunctionAgent", deputy, SEARCH).run("go on")
    assert len(await asked(handler)) == 1
    await asyncio.sleep(0.05)
    assert not handler.is_done()
    await handler.cancel_run()


async def test_peer_N115_logs_contain_no_result(
    deputy: Deputy, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """Defect elsewhere: a tool spec logged whole responses of the provider's API."""
    caplog.set_level(logging.DEBUG)
    await connect(deputy, sandbox, "readonly")
    [tool] = GmailToolSpec(deputy, user="alice").to_tool_list(["gmail_search_emails"])
    assert "Bob Brown" in (await tool.acall(query="from:bob")).content
    assert "Bob Brown" not in caplog.text


async def test_peer_N144_failing_plain_tool_beside_ours_blocks_nothing(deputy: Deputy, sandbox: Sandbox) -> None:
    """An exception in an application's tool becomes text, and the deputy's waiting call beside it is not lost."""

    async def broken(zone: str) -> str:
        """Break."""
        raise RuntimeError("broken")

    await connect(deputy, sandbox, "send")
    call = {"name": "broken", "args": {"zone": "x"}, "id": "broken"}
    tools: list[Any] = [
        *GmailToolSpec(deputy, user="alice").to_tool_list(),
        FunctionTool.from_defaults(async_fn=broken),
    ]
    llm = Calling(respond=Model([call, SEND]))
    handler = FunctionAgent(tools=tools, llm=llm, timeout=30, streaming=False).run("go on")
    [request] = await asked(handler)
    approve(handler, request.approval_id)
    said = await ended(handler)
    assert "broken" in said and "Sent." in said and sent(sandbox) == 1
