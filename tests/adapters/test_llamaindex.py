"""LlamaIndex: waits that end once, whatever events come; runs that other objects take up; nothing secret in either."""

from __future__ import annotations

import asyncio
import json
import warnings
from typing import Any

import pytest
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.core.workflow import Context

from deputize.adapters.llamaindex import (
    ApprovalDone,
    ApprovalRequest,
    ConsentDone,
    ConsentRequest,
    DeputyToolSpec,
    GmailToolSpec,
    resume_paused,
    save_paused,
    wake_when_done,
)
from deputize.core import Deputy, InvalidInput, PolicyDenied, User, UserRequired, allow_all
from deputize.sandbox import Sandbox
from tests.support.agents import KINDS, agent, asked, rest
from tests.support.canary import Wiretap, dump, hits
from tests.support.graphs import SEARCH, SEND
from tests.support.house import build, connect, consent

pytestmark = [  # LlamaIndex's own
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:is_running called from within a step:DeprecationWarning"),
]
MAILS = {"granted": 1, "denied": 0, "early": 0, "duplicate": 1, "foreign": 1}


def sent(sandbox: Sandbox, user: str = "alice") -> int:
    return len(sandbox.sent(f"{user}@example.test"))


async def visit(deputy: Deputy, sandbox: Any, request: ConsentRequest, **how: Any) -> None:
    found = await deputy.consents.status(request.consent_id)
    assert found is not None
    await consent(deputy, sandbox, found, **how)


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox()


@pytest.fixture
async def deputy(sandbox: Sandbox) -> Any:
    async with await build(sandbox) as deputy:
        yield deputy


async def again(deputy: Deputy, kind: str, handler: Any, where: str) -> Any:
    """The run as it is, or one restored from what it leaves behind, with other objects."""
    if where == "same":
        return handler
    return await resume_paused(agent(kind, deputy, SEND), await save_paused(handler))


async def mails(deputy: Deputy, sandbox: Sandbox, kind: str, where: str, how: str) -> int:
    """Play this to its end; the number of mails Alice has sent."""
    times = 3 if how == "duplicate" else 1
    handler = agent(kind, deputy, SEND).run("go on")
    [request] = await asked(handler)
    handler = await again(deputy, kind, handler, where)
    if how == "foreign":
        handler.ctx.send_event(ConsentDone(consent_id="another"))
        handler.ctx.send_event(ApprovalDone(approval_id="another", decision="approve"))
    if how != "early":
        await visit(deputy, sandbox, request, deny=how == "denied")
    for _ in range(times):
        handler.ctx.send_event(ConsentDone(consent_id=request.consent_id))
    if how not in ("early", "denied"):
        [request] = await asked(handler)
        assert isinstance(request, ApprovalRequest) and sent(sandbox) == 0
        handler = await again(deputy, kind, handler, where)
        if how == "foreign":
            handler.ctx.send_event(ApprovalDone(approval_id="another", decision="approve"))
            await asyncio.sleep(0.05)
            assert sent(sandbox) == 0
        for _ in range(times):
            handler.ctx.send_event(ApprovalDone(approval_id=request.approval_id, decision="approve"))
    said = str(await asyncio.wait_for(handler, 20))
    assert ("Sent." in said) == (MAILS[how] == 1)
    return sent(sandbox)


@pytest.mark.parametrize("where", ["same", "blob"])
@pytest.mark.parametrize("kind", KINDS)
async def test_each_mail_goes_out_once_or_not_at_all(kind: str, where: str) -> None:
    counted: dict[str, int] = {}
    for how in MAILS:
        sandbox = Sandbox()
        async with await build(sandbox) as deputy:
            counted[how] = await mails(deputy, sandbox, kind, where, how)
    print(f"{kind:13} {where:4}", *(f"{how}: {n}" for how, n in counted.items()), sep=" | ")
    assert counted == MAILS


@pytest.mark.parametrize("kind", KINDS[:2])
async def test_a_sibling_runs_once_and_keeps_its_answer_whatever_events_come(
    deputy: Deputy, sandbox: Sandbox, kind: str
) -> None:
    ran: list[str] = []

    async def clock(zone: str) -> str:
        """Tell the time."""
        ran.append(zone)
        return "noon"

    call = {"name": "clock", "args": {"zone": "UTC"}, "id": "clock"}
    await connect(deputy, sandbox, "send", "readonly")
    handler = agent(kind, deputy, SEND, call, SEARCH, more=[FunctionTool.from_defaults(async_fn=clock)]).run("go on")
    [request] = await asked(handler)
    for pause in (0, 0, 0.05, 0.1):
        await asyncio.sleep(pause)
        handler.ctx.send_event(ApprovalDone(approval_id=request.approval_id, decision="approve"))
    result = await asyncio.wait_for(handler, 20)
    assert ran == ["UTC"] and sent(sandbox) == 1
    assert [str(result).count(word) for word in ("noon", "Sent.")] == [1, 1] and "Bob Brown" in str(result)
    assert len(result.tool_calls) == 3


async def test_two_calls_that_wait_for_one_consent_are_woken_by_one_event(deputy: Deputy, sandbox: Sandbox) -> None:
    other = {**SEARCH, "id": "other", "args": {"query": "from:news"}}
    handler = agent("FunctionAgent", deputy, SEARCH, other).run("go on")
    first, second = await asked(handler, 2)
    assert first.consent_id == second.consent_id
    await visit(deputy, sandbox, first)
    handler.ctx.send_event(ConsentDone(consent_id=first.consent_id))
    assert "Bob Brown" in str(await asyncio.wait_for(handler, 20))


async def test_the_run_goes_on_by_itself_when_the_consent_ends(deputy: Deputy, sandbox: Sandbox) -> None:
    handler = agent("FunctionAgent", deputy, SEARCH).run("go on")
    [request] = await asked(handler)
    waking = asyncio.create_task(wake_when_done(deputy, handler, request))
    await visit(deputy, sandbox, request)
    assert "Bob Brown" in str(await asyncio.wait_for(handler, 20))
    await waking


@pytest.mark.parametrize("kind", KINDS)
async def test_what_was_settled_while_nobody_listened_wakes_the_restored_run(
    deputy: Deputy, sandbox: Sandbox, kind: str
) -> None:
    handler = agent(kind, deputy, SEND).run("go on")
    [request] = await asked(handler)
    blob = await save_paused(handler)
    await visit(deputy, sandbox, request)
    handler = await resume_paused(agent(kind, deputy, SEND), blob)
    [request] = await asked(handler)
    blob = await save_paused(handler)
    await deputy.decide(request.approval_id, "approve", by="alice")
    for _ in range(2):  # the same blob twice: the same act
        handler = await resume_paused(agent(kind, deputy, SEND), blob)
        assert "Sent." in str(await asyncio.wait_for(handler, 20))
    assert sent(sandbox) == 1


async def test_a_pause_is_resumed_only_with_tools_of_the_user_who_began(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "send", user="bob", as_="bob@example.test")
    handler = agent("FunctionAgent", deputy, SEND).run("go on")
    await asked(handler)
    blob = await save_paused(handler)
    with pytest.raises(PolicyDenied):
        await resume_paused(agent("FunctionAgent", deputy, SEND, user="bob"), blob)
    with pytest.raises(PolicyDenied):
        await resume_paused(agent("FunctionAgent", deputy, SEND, user=User("alice", "other")), blob)
    with pytest.raises(UserRequired):
        await resume_paused(agent("FunctionAgent", deputy, SEND, user=None), blob)
    assert sent(sandbox, "bob") == 0


async def test_tools_of_another_user_refuse_to_act_in_somebody_elses_context(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "readonly")
    await connect(deputy, sandbox, "readonly", user="bob", as_="bob@example.test")
    alice, bob = (agent("FunctionAgent", deputy, SEARCH, user=user) for user in ("alice", "bob"))
    handler = alice.run("go on")
    await handler
    context = Context.from_dict(bob, {**_plain(handler)})
    assert "another user" in str(await bob.run("go on", ctx=context))


def _plain(handler: Any) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it leaves out the memory, and says so
        return dict(handler.ctx.to_dict())


async def test_a_rejected_approval_is_told_to_the_model(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "send")
    handler = agent("FunctionAgent", deputy, SEND).run("go on")
    [request] = await asked(handler)
    handler.ctx.send_event(ApprovalDone(approval_id=request.approval_id, decision="reject"))
    assert "declined" in str(await asyncio.wait_for(handler, 20)) and sent(sandbox) == 0


async def test_the_recorded_decision_counts_and_not_what_an_event_says(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "send")
    handler = agent("FunctionAgent", deputy, SEND).run("go on")
    [request] = await asked(handler)
    await deputy.decide(request.approval_id, "reject", by="alice")
    handler.ctx.send_event(ApprovalDone(approval_id=request.approval_id, decision="approve"))
    assert "declined" in str(await asyncio.wait_for(handler, 20)) and sent(sandbox) == 0


@pytest.mark.filterwarnings("ignore:Skipping serialization")
async def test_the_same_call_id_in_a_later_run_of_the_conversation_is_another_act() -> None:
    sandbox = Sandbox()
    async with await build(sandbox, policy=allow_all) as deputy:
        await connect(deputy, sandbox, "send")
        one = agent("FunctionAgent", deputy, SEND)
        context = Context(one)
        for _ in range(2):
            await one.run("once more", ctx=context)
        assert sent(sandbox) == 2


async def test_a_delivered_call_can_be_told_from_every_other_and_is_the_same_again(
    deputy: Deputy, sandbox: Sandbox
) -> None:
    """Guards what the adapter takes from LlamaIndex without a promise of its own."""
    from deputize.adapters.llamaindex import _place

    seen: list[str] = []

    async def look(zone: str) -> str:
        """Look."""
        seen.append(_place())
        return "seen"

    calls = [{"name": "look", "args": {"zone": "a"}, "id": "same"} for _ in range(2)]
    await agent("FunctionAgent", deputy, *calls, more=[FunctionTool.from_defaults(async_fn=look)]).run("go on")
    assert len(set(seen)) == 2 and all(seen)


async def test_every_tool_gets_the_context_that_no_schema_shows(deputy: Deputy) -> None:
    tools = GmailToolSpec(deputy, user="alice").to_tool_list()
    assert [tool.metadata.name for tool in tools] == [tool.name for tool in deputy.tools("gmail")]
    for tool, ours in zip(tools, deputy.tools("gmail"), strict=True):
        assert tool.requires_context and tool.ctx_param_name == "ctx"
        shown = tool.metadata.to_openai_tool()["function"]
        assert shown["parameters"]["properties"] == ours.schema["properties"]
        assert not {"ctx", "user", "account", "token"} & set(shown["parameters"]["properties"])


@pytest.mark.parametrize("forged", [{"user": "bob"}, {"ctx": {"user": "bob"}}, {"limit": "many"}, {"token": "x"}])
async def test_arguments_are_validated_although_the_framework_does_not(
    deputy: Deputy, sandbox: Sandbox, forged: dict[str, Any]
) -> None:
    [tool] = GmailToolSpec(deputy, user="alice").to_tool_list(["gmail_search_emails"])
    for answer in (await tool.acall(query="x", **forged), tool.call(query="x", **forged)):
        assert answer.is_error and next(iter(forged)) in answer.content
    assert sandbox.requests == []


async def test_outside_a_workflow_a_call_acts_or_fails_without_a_link(deputy: Deputy, sandbox: Sandbox) -> None:
    [tool] = GmailToolSpec(deputy, user="alice").to_tool_list(["gmail_search_emails"])
    answer = await tool.acall(query="from:bob")
    assert answer.is_error and "Google" in answer.content and "http" not in dump(answer)
    await connect(deputy, sandbox, "readonly")
    for answer in (await tool.acall(query="from:bob"), tool.call(query="from:bob")):
        assert not answer.is_error and "Bob Brown" in answer.content


async def test_nobody_is_refused_and_unknown_names_are_the_hosts_mistake(deputy: Deputy, sandbox: Sandbox) -> None:
    [tool] = DeputyToolSpec(deputy, "gmail", user=None).to_tool_list(["gmail_whoami"])
    assert (await tool.acall()).is_error and sandbox.requests == []
    assert "No user" in str(await agent("FunctionAgent", deputy, SEARCH, user="").run("go on"))
    with pytest.raises(InvalidInput):
        GmailToolSpec(deputy, user="alice").to_tool_list(["gmail_steal"])


async def test_read_only_means_that_nothing_can_change(deputy: Deputy) -> None:
    names = {tool.metadata.name for tool in GmailToolSpec(deputy, user="alice", read_only=True).to_tool_list()}
    assert "gmail_search_emails" in names and not names & {"gmail_send_email", "gmail_save_draft"}


async def test_a_saved_run_that_names_a_foreign_class_is_not_loaded(deputy: Deputy) -> None:
    handler = agent("FunctionAgent", deputy, SEND).run("go on")
    await asked(handler)
    blob = await save_paused(handler)
    forged = blob.replace("llama_index.core.base.llms.types.ChatMessage", "subprocess.Popen")
    assert forged != blob
    with pytest.raises(ValueError, match="allowed types"):
        await resume_paused(agent("FunctionAgent", deputy, SEND), forged)


async def test_no_secret_is_left_in_contexts_events_blobs_and_answers() -> None:
    sandbox = Sandbox()
    tap = Wiretap(sandbox.transport())
    said: list[str] = []
    async with await build(transport=tap) as deputy:
        for kind in KINDS:
            handler = agent(kind, deputy, SEND if kind == "FunctionAgent" else SEARCH).run("go on")
            said += [dump(event) for event in await asked(handler)] if kind == "FunctionAgent" else []
            if kind == "FunctionAgent":
                blob = await save_paused(handler)
                said.append(blob)
                found = await deputy.consents.waiting(User("alice"))
                await consent(deputy, tap, found[0])
                handler = await resume_paused(agent(kind, deputy, SEND), blob)
                [request] = await asked(handler)
                said += [dump(request), blob := await save_paused(handler)]
                await deputy.decide(request.approval_id, "approve", by="alice")
                handler = await resume_paused(agent(kind, deputy, SEND), blob)
                assert "/connect/" not in blob
                await connect(deputy, tap, "readonly")  # type: ignore[arg-type]
            said += [dump(event) for event in await rest(handler)]
            said += [dump(await handler), dump(_plain(handler)), json.dumps(_plain(handler))]
    assert tap.kinds() >= {"access_token", "refresh_token", "code", "code_verifier", "client_secret", "state"}
    assert sent(sandbox) == 1 and hits(tap.secrets, {"said": "\n".join(said)}) == []


async def test_a_saved_run_keeps_the_conversation(deputy: Deputy, sandbox: Sandbox) -> None:
    """The framework leaves the memory out of a saved context, and a run without it dies."""
    handler = agent("FunctionAgent", deputy, SEARCH).run("the first word", chat_history=[ChatMessage("long ago")])
    [request] = await asked(handler)
    blob = await save_paused(handler)
    await visit(deputy, sandbox, request)
    handler = await resume_paused(agent("FunctionAgent", deputy, SEARCH), blob)
    await asyncio.wait_for(handler, 20)
    memory = await handler.ctx.store.get("memory")
    words = [message.content for message in await memory.aget_all()]
    assert words[:2] == ["long ago", "the first word"] and "Bob Brown" in str(words[-1])
