"""LlamaIndex: one consent request, with one link, covers what all calls of a message lack at a provider."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from deputize.adapters.llamaindex import (
    ApprovalRequest,
    ApprovalResponse,
    ConsentRequest,
    ConsentResponse,
    SlackToolSpec,
    resume_paused,
    resume_when_done,
    save_paused,
)
from deputize.adapters.llamaindex import consent_batching as llamaindex_together
from deputize.core import Consent, Deputy, User
from deputize.sandbox import Sandbox
from deputize.sandbox.deputies import apps
from tests.support.graphs import SEARCH, SEND
from tests.support.llamaindex_agents import ALICE, Model, agent, asked, ended, plainly, rest, visit
from tests.support.sandbox_deputy import Clock, build, connect

pytestmark = [  # LlamaIndex's own
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:is_running called from within a step:DeprecationWarning"),
]
KINDS = ("FunctionAgent", "AgentWorkflow")  # a ReAct agent makes one call at a time
LABELS: dict[str, Any] = {"name": "gmail_list_labels", "args": {}, "id": "labels"}
SEVERAL = [SEND, SEARCH, LABELS]


def sent(sandbox: Sandbox) -> int:
    return len(sandbox.sent("alice@example.test"))


def short(request: ConsentRequest | Consent) -> set[str]:
    return {scope.rpartition("/")[2] for scope in request.scopes}


async def the_rest(deputy: Deputy, handler: Any, calls: int) -> str:
    """Run to the end, approving each request; return the model's final answer."""
    async for event in handler.stream_events():
        assert not isinstance(event, ConsentRequest), "no further consent"
        if isinstance(event, ApprovalRequest):
            handler.ctx.send_event(ApprovalResponse(approval_id=event.approval_id, by="alice", decision="approve"))
    result = await asyncio.wait_for(handler, 25)
    assert len(result.tool_calls) == calls
    return str(result)


@pytest.mark.parametrize("kind", KINDS)
async def test_two_calls_of_one_message_share_one_link(deputy: Deputy, sandbox: Sandbox, kind: str) -> None:
    handler = agent(kind, deputy, SEND, SEARCH).run("go on")
    [request] = await asked(handler)
    assert short(request) == {"gmail.send", "gmail.readonly"}
    await asyncio.sleep(0.05)
    assert [one.id for one in await deputy.pending("alice")] == [request.consent_id]
    await visit(deputy, sandbox, request.consent_id)
    handler.ctx.send_event(ConsentResponse(consent_id=request.consent_id))
    said = await the_rest(deputy, handler, 2)
    assert "Sent." in said and "Bob Brown" in said and sent(sandbox) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_application_tools_in_the_message_are_not_waited_for(deputy: Deputy, sandbox: Sandbox, kind: str) -> None:
    unknown = {"name": "nothing_of_ours", "args": {}, "id": "other"}
    handler = agent(kind, deputy, unknown, SEND, unknown, SEARCH).run("go on")
    [request] = await asked(handler)
    assert short(request) == {"gmail.send", "gmail.readonly"}
    await visit(deputy, sandbox, request.consent_id)
    handler.ctx.send_event(ConsentResponse(consent_id=request.consent_id))
    assert "Sent." in await the_rest(deputy, handler, 4)


async def test_calls_at_two_providers_have_one_request_each(sandbox: Sandbox) -> None:
    team = {"name": "slack_list_conversations", "args": {}, "id": "team"}
    async with await build(sandbox, apps=apps()) as deputy:
        slack = SlackToolSpec(deputy, user="alice").to_tool_list()
        handler = agent("FunctionAgent", deputy, SEND, team, SEARCH, more=slack).run("go on")
        requests = await asked(handler, 2)
        assert sorted(one.provider for one in requests) == ["google", "slack"]
        [google] = [one for one in requests if one.provider == "google"]
        assert short(google) == {"gmail.send", "gmail.readonly"}
        for one in requests:
            await visit(deputy, sandbox, one.consent_id)
            handler.ctx.send_event(ConsentResponse(consent_id=one.consent_id))
        assert "Sent." in await the_rest(deputy, handler, 3)


async def test_later_call_of_the_message_is_included_in_the_consent(
    deputy: Deputy, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After all iterations of the loop; otherwise the first call would wait while others keep arriving."""
    monkeypatch.setattr(llamaindex_together, "TURNS", 0)
    handler = agent("FunctionAgent", deputy, SEND, SEARCH).run("go on")
    [request] = await asked(handler)
    assert short(request) == {"gmail.send", "gmail.readonly"}
    await visit(deputy, sandbox, request.consent_id)
    handler.ctx.send_event(ConsentResponse(consent_id=request.consent_id))
    assert "Sent." in await the_rest(deputy, handler, 2)


async def test_authorized_call_continues_and_only_the_others_ask(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "readonly")
    handler = agent("FunctionAgent", deputy, SEARCH, SEND).run("go on")
    [request] = await asked(handler)
    assert "gmail.send" in short(request) and [seen for seen in sandbox.requests if seen.path.endswith("/messages")]
    await visit(deputy, sandbox, request.consent_id)
    handler.ctx.send_event(ConsentResponse(consent_id=request.consent_id))
    assert "Sent." in await the_rest(deputy, handler, 2)


async def test_more_calls_than_run_concurrently_are_all_answered(deputy: Deputy, sandbox: Sandbox) -> None:
    calls = [{**SEARCH, "id": str(n), "args": {"query": f"from:bob {n}"}} for n in range(7)]
    handler = agent("FunctionAgent", deputy, *calls).run("go on")
    ids = set()
    async for event in handler.stream_events():
        if isinstance(event, ConsentRequest):
            if event.consent_id not in ids:  # a call that was checked just before the visit may ask once more
                ids.add(event.consent_id)
                await visit(deputy, sandbox, event.consent_id)
            handler.ctx.send_event(ConsentResponse(consent_id=event.consent_id))
    result: Any = await asyncio.wait_for(handler, 25)
    assert len(ids) <= 2 and len(result.tool_calls) == 7 and "must allow" not in str(result)


# ------------------------------------------------------------- it is the same question later


@pytest.mark.parametrize("settled", [False, True])
async def test_resumed_run_waits_for_the_same_complete_consent(deputy: Deputy, sandbox: Sandbox, settled: bool) -> None:
    handler = agent("FunctionAgent", deputy, *SEVERAL).run("go on")
    [request] = await asked(handler)
    for _ in range(2):
        handler = await resume_paused(agent("FunctionAgent", deputy, *SEVERAL), await save_paused(handler))
        assert [one.id for one in await deputy.pending("alice")] == [request.consent_id]
    blob = await save_paused(handler)
    if settled:
        await visit(deputy, sandbox, request.consent_id)
    handler = await resume_paused(agent("FunctionAgent", deputy, *SEVERAL), blob)
    if not settled:
        assert [one.consent_id for one in await asked(handler)] == [request.consent_id]
        await visit(deputy, sandbox, request.consent_id)
        handler.ctx.send_event(ConsentResponse(consent_id=request.consent_id))
    assert "Sent." in await the_rest(deputy, handler, 3) and sent(sandbox) == 1


async def test_early_resume_fails_all_calls_and_leaves_no_consent(deputy: Deputy) -> None:
    handler = agent("FunctionAgent", deputy, *SEVERAL).run("go on")
    [request] = await asked(handler)
    for _ in range(3):
        handler.ctx.send_event(ConsentResponse(consent_id=request.consent_id))
    assert (await ended(handler)).count("must allow") == 3
    assert [one.id for one in await deputy.pending("alice")] == [request.consent_id]


async def test_request_is_streamed_again_after_an_early_resume(deputy: Deputy, sandbox: Sandbox) -> None:
    class Again(Model):
        """A model that makes its calls twice."""

        def __call__(self, messages: Any, **more: Any) -> Any:
            answers = [m for m in messages if m.role == "tool"]
            return super().__call__([m for m in messages if m.role != "tool"] if len(answers) == 2 else messages)

    handler = agent("FunctionAgent", deputy, model=Again([SEND, SEARCH])).run("go on")
    [request] = await asked(handler)
    handler.ctx.send_event(ConsentResponse(consent_id=request.consent_id))
    [again] = await asked(handler)
    assert isinstance(again, ConsentRequest) and again.consent_id == request.consent_id
    await visit(deputy, sandbox, again.consent_id)
    handler.ctx.send_event(ConsentResponse(consent_id=again.consent_id))
    assert "Sent." in await the_rest(deputy, handler, 4)


async def test_expired_request_is_renewed_completely() -> None:
    clock = Clock(1_800_000_000.0)
    sandbox = Sandbox(clock=clock)
    async with await build(sandbox, clock=clock) as deputy:
        handler = agent("FunctionAgent", deputy, SEND, SEARCH).run("go on")
        [first] = await asked(handler)
        blob = await save_paused(handler)
        clock.now = first.expires_at + 86_400
        handler = await resume_paused(agent("FunctionAgent", deputy, SEND, SEARCH), blob)
        [waiting], [again] = await deputy.consents.list_pending(ALICE), await asked(handler)
        assert again.link == waiting.link
        assert waiting.link != first.link and short(waiting) == {"gmail.send", "gmail.readonly"}
        await visit(deputy, sandbox, waiting.id)
        handler.ctx.send_event(ConsentResponse(consent_id=waiting.id))
        assert "Sent." in await the_rest(deputy, handler, 2)


async def test_rejection_of_the_shared_request_rejects_each_call(deputy: Deputy, sandbox: Sandbox) -> None:
    handler = agent("FunctionAgent", deputy, SEND, SEARCH).run("go on")
    [request] = await asked(handler)
    waking = asyncio.create_task(resume_when_done(deputy, handler, request))
    await visit(deputy, sandbox, request.consent_id, deny=True)
    said = await ended(handler)
    assert said.count("declined") == 2 and sent(sandbox) == 0
    assert await deputy.pending("alice") == [] and await waking is None  # type: ignore[func-returns-value]


# ------------------------------------------------------------- who is looked at together


async def test_concurrent_calls_of_two_users_never_share_a_request(deputy: Deputy) -> None:
    now = ["alice"]
    one = agent("FunctionAgent", deputy, SEND, SEARCH, user=lambda ctx: whose[id(ctx.store)])
    whose: dict[int, str] = {}

    class Whose(dict[int, str]):
        def __missing__(self, key: int) -> str:
            self[key] = now[0]
            return now[0]

    whose = Whose()
    asks = {}
    for user in ("alice", "bob"):
        now[0] = user
        handler = one.run("go on")
        asks[user] = (handler, (await asked(handler))[0])
    for user, (handler, request) in asks.items():
        assert [c.id for c in await deputy.consents.list_pending(User(user))] == [request.consent_id]
        assert short(request) == {"gmail.send", "gmail.readonly"}
        await handler.cancel_run()


async def test_failed_precheck_hangs_no_call(deputy: Deputy, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*args: Any, **more: Any) -> Any:
        raise RuntimeError("canary-of-the-store")

    monkeypatch.setattr(deputy, "check_calls", fails)
    said = await ended(agent("FunctionAgent", deputy, SEND, SEARCH).run("go on"))
    assert said.count("must allow") == 2 and "canary" not in said


async def test_trap_message_counts_its_calls(deputy: Deputy, monkeypatch: pytest.MonkeyPatch) -> None:
    """No public name gives the number; the agents' data in the run's store does."""
    handler = agent("FunctionAgent", deputy, SEND, SEARCH).run("go on")
    await asked(handler)
    assert plainly(handler)["state"]["state_data"]["_data"][llamaindex_together.CALLS_OF_MESSAGE] == "2"
    await handler.cancel_run()
    monkeypatch.setattr(llamaindex_together, "CALLS_OF_MESSAGE", "gone")
    handler = agent("FunctionAgent", deputy, SEND, SEARCH, user="bob").run("go on")
    first, second = await asked(handler, 2)
    assert first.consent_id != second.consent_id
    await handler.cancel_run()
    assert not [event for event in await rest(handler) if isinstance(event, ConsentRequest)]
