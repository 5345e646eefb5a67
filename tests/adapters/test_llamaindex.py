"""LlamaIndex: tool specs, arguments, the acting user; waiting runs that other processes continue; no secrets in a
run."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import warnings
from typing import Any

import pytest
from llama_index.core.base.llms.types import MessageRole
from llama_index.core.llms import ChatMessage
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.tools import FunctionTool, ToolMetadata
from llama_index.core.tools.tool_spec.base import BaseToolSpec
from llama_index.core.workflow import Context
from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.span_handlers import NullSpanHandler

from deputize.adapters import llamaindex
from deputize.adapters.llamaindex import (
    ApprovalRequest,
    ApprovalResponse,
    ConsentRequest,
    ConsentResponse,
    DeputyToolSpec,
    GmailToolSpec,
    resume_paused,
    resume_when_done,
    save_paused,
)
from deputize.core import Conflict, Deputy, InvalidInput, PolicyDenied, Steps, Toolkit, User, UserRequired, allow_all
from deputize.core.tools.plugins import built_in_names, find_toolkits
from deputize.sandbox import Sandbox
from tests.support.canary import Wiretap, dump, hits
from tests.support.deferred_conversations import FORGED, who_called
from tests.support.graphs import SEARCH, SEND
from tests.support.llamaindex_agents import KINDS, agent, asked, ended, plainly, rest, visit
from tests.support.sandbox_deputy import build, connect, consent

pytestmark = [  # LlamaIndex's own
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:is_running called from within a step:DeprecationWarning"),
]
SPECS = [one for one in vars(llamaindex).values() if isinstance(one, type) and issubclass(one, DeputyToolSpec)]


def sent(sandbox: Sandbox, user: str = "alice") -> int:
    return len(sandbox.sent(f"{user}@example.test"))


# ------------------------------------------------------------- tool specs


def test_each_product_has_its_tool_spec() -> None:
    named = {spec.__name__: spec.toolkit for spec in SPECS if spec.toolkit}
    assert named == {
        "GmailToolSpec": "gmail",
        "CalendarToolSpec": "calendar",
        "DriveToolSpec": "drive",
        "SlackToolSpec": "slack",
        "GitHubToolSpec": "github",
        "LinearToolSpec": "linear",
        "SalesforceToolSpec": "salesforce",
        "ContactsToolSpec": "contacts",
        "FilesToolSpec": "files",
    }
    assert set(named.values()) == set(built_in_names())
    for spec in SPECS:
        assert BaseToolSpec in spec.__mro__ and spec.__doc__


@pytest.mark.parametrize("spec", [one for one in SPECS if one.toolkit in find_toolkits()], ids=lambda s: s.__name__)
async def test_each_tool_follows_llamaindex_tool_conventions(deputy: Deputy, spec: type[DeputyToolSpec]) -> None:
    one = spec(deputy, user="alice")
    tools, ours = one.to_tool_list(), deputy.tools(spec.toolkit)
    assert tools and [tool.metadata.name for tool in tools] == one.spec_functions == [tool.name for tool in ours]
    if hasattr(one, "to_tool_list_async"):  # LlamaIndex's, since some release after our minimum
        assert [t.metadata.name for t in await one.to_tool_list_async()] == one.spec_functions
    for tool, our in zip(tools, ours, strict=True):
        assert isinstance(tool, FunctionTool) and isinstance(tool.metadata, ToolMetadata)
        assert inspect.iscoroutinefunction(tool.async_fn) and inspect.iscoroutinefunction(tool.real_fn)
        assert tool.requires_context and tool.ctx_param_name == "ctx", "agents hand over their context"
        shown = tool.metadata.to_openai_tool()["function"]  # raises for a description longer than OpenAI takes
        assert (shown["name"], shown["description"]) == (our.name, our.description)
        assert shown["parameters"] == json.loads(tool.metadata.fn_schema_str) == our.schema
        assert not {"ctx", "token", "account"} & set(our.schema["properties"])
        assert tool.metadata.fn_schema is our.model and not tool.metadata.return_direct


async def test_tool_spec_of_a_missing_toolkit_is_refused(sandbox: Sandbox) -> None:
    async with await build(sandbox, toolkits=[]) as deputy:
        for spec in SPECS:
            if spec.toolkit:
                with pytest.raises(InvalidInput, match=f"is called '{spec.toolkit}'"):
                    spec(deputy, user="alice")


async def test_own_toolkit_needs_no_tool_spec_class(sandbox: Sandbox) -> None:
    kit = Toolkit("shelf", "google")

    @kit.tool()
    def count() -> Steps:
        """Count the books."""
        yield from ()
        return 0

    async with await build(sandbox, toolkits=[kit]) as deputy:
        assert DeputyToolSpec(deputy, "shelf", user="alice").spec_functions == ["shelf_count"]
        assert DeputyToolSpec(deputy, user="alice").spec_functions == ["shelf_count"]


async def test_application_selects_and_names_the_tools(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "readonly")
    other = ToolMetadata(name="find_mail", description="Find mail.")
    spec = GmailToolSpec(deputy, user="alice")
    [tool] = spec.to_tool_list(["gmail_search_emails"], {"gmail_search_emails": other})
    assert tool.metadata.name == "find_mail" and "Bob Brown" in (await tool.acall(query="from:bob")).content
    with pytest.raises(InvalidInput, match="'gmail_steal'"):
        spec.to_tool_list(["gmail_steal"])


async def test_tracing_sees_each_call_with_a_cached_signature(deputy: Deputy) -> None:
    """LlamaIndex's tracing otherwise computes the signature in every call, which costs as much as the act itself."""
    spans: list[Any] = []

    class Spans(NullSpanHandler):
        """Records the spans of a tracer."""

        def span_enter(self, id_: str, bound_args: inspect.BoundArguments, *args: Any, **more: Any) -> None:
            spans.append((id_.partition("-")[0], bound_args.signature, bound_args.arguments))

    root, before = get_dispatcher(), get_dispatcher().span_handlers
    root.span_handlers = [*before, Spans()]
    try:
        [tool] = GmailToolSpec(deputy, user="alice").to_tool_list(["gmail_search_emails"])
        await tool.acall(query="x")
    finally:
        root.span_handlers = before
    method = inspect.unwrap(type(tool).acall)
    ready = vars(method)["__signature__"]
    [(_, signature, arguments)] = [span for span in spans if span[0] == "ActTool.acall"]
    assert arguments == {"arguments": {"query": "x"}}
    assert list(signature.parameters.values()) == list(ready.parameters.values())[1:], "all but self"


# ------------------------------------------------------------- arguments, users, errors


@pytest.mark.parametrize("forged", FORGED, ids=lambda f: next(iter(f)))
async def test_model_argument_cannot_name_the_user(deputy: Deputy, sandbox: Sandbox, forged: dict[str, Any]) -> None:
    await connect(deputy, sandbox, "readonly")
    await connect(deputy, sandbox, "readonly", user="bob", as_="bob@example.test")
    before = len(sandbox.requests)
    [tool] = GmailToolSpec(deputy, user="alice").to_tool_list(["gmail_search_emails"])
    given: dict[str, Any] = {"query": "x", **forged}
    for answer in (await tool.acall(**given), await asyncio.to_thread(tool.call, **given)):
        assert answer.is_error and next(iter(forged)) in answer.content
    said = str(await agent("FunctionAgent", deputy, {**SEARCH, "args": given}).run("go on"))
    assert next(iter(forged)) in said or "ctx" in forged, "an agent puts its own context over a forged one"
    assert len(sandbox.requests) == before or who_called(sandbox) == {"alice@example.test"}


async def test_positional_arguments_are_refused(deputy: Deputy, sandbox: Sandbox) -> None:
    [tool] = GmailToolSpec(deputy, user="alice").to_tool_list(["gmail_search_emails"])
    assert "must be passed by name" in (await tool.acall("from:bob")).content and sandbox.requests == []


async def test_missing_user_is_refused(deputy: Deputy, sandbox: Sandbox) -> None:
    for nobody in (None, ""):
        [tool] = GmailToolSpec(deputy, user=nobody).to_tool_list(["gmail_whoami"])
        assert (await tool.acall()).raw_output == {"error": "user_required"}
        assert "The user is missing" in str(await agent("FunctionAgent", deputy, SEARCH, user=nobody).run("go on"))
    assert sandbox.requests == []


async def test_call_outside_an_agent_acts_or_fails_without_a_link(deputy: Deputy, sandbox: Sandbox) -> None:
    [tool] = GmailToolSpec(deputy, user="alice").to_tool_list(["gmail_search_emails"])
    idle = Context(agent("FunctionAgent", deputy, SEARCH))  # what LlamaIndex hands over where no workflow runs
    for ctx in ({}, {"ctx": idle}):
        answer = await tool.acall(query="from:bob", **ctx)
        assert answer.is_error and "Google" in answer.content and "http" not in dump(answer)
    await connect(deputy, sandbox, "readonly")
    for answer in (await tool.acall(query="from:bob"), await asyncio.to_thread(tool.call, query="from:bob")):
        assert not answer.is_error and "Bob Brown" in answer.content and answer.raw_output


async def test_unapproved_call_outside_an_agent_sends_nothing(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "send")
    [tool] = GmailToolSpec(deputy, user="alice").to_tool_list(["gmail_send_email"])
    assert (await tool.acall(**SEND["args"])).raw_output == {"error": "approval_required"} and sent(sandbox) == 0


@pytest.mark.parametrize("falsy", [[], 0, "", False, None], ids=repr)
async def test_falsy_results_reach_the_model_unchanged(sandbox: Sandbox, falsy: Any) -> None:
    kit = Toolkit("shelf", "google")

    @kit.tool()
    def look() -> Steps:
        """Look."""
        yield from ()
        return falsy

    async with await build(sandbox, toolkits=[kit]) as deputy:
        await connect(deputy, sandbox, "readonly")
        [tool] = DeputyToolSpec(deputy, "shelf", user="alice").to_tool_list()
        answer = await tool.acall()
        assert not answer.is_error and answer.raw_output == falsy
        assert answer.content == (falsy if isinstance(falsy, str) else json.dumps(falsy))


# ------------------------------------------------------------- waiting for the user


@pytest.mark.parametrize("kind", KINDS)
async def test_consent_precedes_approval_and_act(deputy: Deputy, sandbox: Sandbox, kind: str) -> None:
    handler = agent(kind, deputy, SEND).run("go on")
    [first] = await asked(handler)
    assert isinstance(first, ConsentRequest) and first.provider == "google" and "/connect/" in first.link
    await visit(deputy, sandbox, first.consent_id)
    handler.ctx.send_event(ConsentResponse(consent_id=first.consent_id))
    [second] = await asked(handler)
    assert isinstance(second, ApprovalRequest) and second.preview["to"] == "bob@example.test" and sent(sandbox) == 0
    handler.ctx.send_event(ApprovalResponse(approval_id=second.approval_id, by="alice", decision="approve"))
    assert "Sent." in await ended(handler) and sent(sandbox) == 1
    assert await rest(handler)  # the model's words, and no further request: this would have hung


async def test_two_calls_waiting_for_one_consent_resume_with_one_event(deputy: Deputy, sandbox: Sandbox) -> None:
    other = {**SEARCH, "id": "other", "args": {"query": "from:news"}}
    handler = agent("FunctionAgent", deputy, SEARCH, other).run("go on")
    [request] = await asked(handler)
    await visit(deputy, sandbox, request.consent_id)
    handler.ctx.send_event(ConsentResponse(consent_id=request.consent_id))
    assert "Bob Brown" in await ended(handler)
    assert not [event for event in await rest(handler) if isinstance(event, ConsentRequest)], "it was streamed once"


@pytest.mark.parametrize("link", ["its own", "another"])
async def test_run_continues_when_a_consent_grants_its_scopes(deputy: Deputy, sandbox: Sandbox, link: str) -> None:
    handler = agent("FunctionAgent", deputy, SEARCH).run("go on")
    [request] = await asked(handler)
    waking = asyncio.create_task(resume_when_done(deputy, handler, request.consent_id))
    if link == "its own":
        await visit(deputy, sandbox, request.consent_id)
    else:
        await connect(deputy, sandbox, "readonly", "labels")
    assert "Bob Brown" in await ended(handler)
    await waking


@pytest.mark.processes
async def test_run_continues_when_an_approval_is_decided_elsewhere(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "send")
    for decision, mails in (("reject", 0), ("approve", 1)):
        handler = agent("FunctionAgent", deputy, SEND).run("go on")
        [request] = await asked(handler)
        with pytest.raises(UserRequired):
            await resume_when_done(deputy, handler, request)
        waking = asyncio.create_task(resume_when_done(deputy, handler, request, user="alice"))
        await asyncio.sleep(0.05)
        assert not waking.done() and not handler.is_done()
        await deputy.decide(request.approval_id, decision, by="alice")  # type: ignore[arg-type]
        assert ("Sent." in await ended(handler)) == bool(mails) and sent(sandbox) == mails
        await waking


async def test_resume_when_done_accepts_events_pending_requests_and_ids(deputy: Deputy, sandbox: Sandbox) -> None:
    """An event from the stream, a pending request, or an id: of a consent, then of an approval."""
    for how in ("event", "pending", "id"):
        handler = agent("FunctionAgent", deputy, SEND).run("go on")
        for _ in range(2):
            [request] = await asked(handler)
            [pending] = await deputy.pending("alice")
            named: dict[str, Any] = {"event": request, "pending": pending, "id": pending.id}
            waking = asyncio.create_task(resume_when_done(deputy, handler, named[how], user="alice"))
            if isinstance(request, ConsentRequest):
                await visit(deputy, sandbox, request.consent_id)
            else:
                await deputy.decide(request.approval_id, "approve", by="alice")
            await waking
        assert "Sent." in await ended(handler)
        await deputy.revoke("alice")
    assert sent(sandbox) == 3


async def test_other_user_cannot_wait_for_or_resume_an_approval(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "send")
    handler = agent("FunctionAgent", deputy, SEND).run("go on")
    [request] = await asked(handler)
    await resume_when_done(deputy, handler, request, user="bob")  # there is none of his: at once
    await asyncio.sleep(0.05)
    assert not handler.is_done() and sent(sandbox) == 0
    await resume_when_done(deputy, handler, request, user="alice", timeout=0)
    assert "waits for the user's approval" in await ended(handler) and sent(sandbox) == 0


async def test_six_acts_of_one_message_each_wait_for_their_own_approval(deputy: Deputy, sandbox: Sandbox) -> None:
    """LlamaIndex runs four calls at a time; an approval that arrives while all of them are busy must not be lost."""
    await connect(deputy, sandbox, "send")
    calls = [{**SEND, "id": "same", "args": {**SEND["args"], "subject": f"Mail {n}"}} for n in range(6)]
    handler = agent("FunctionAgent", deputy, *calls).run("go on")
    requests = await asked(handler, 6)
    blob = await save_paused(handler)
    handler = await resume_paused(agent("FunctionAgent", deputy, *calls), blob)
    for request in requests:
        answer: Any = "reject" if request.preview["subject"] == "Mail 3" else "approve"
        for _ in range(2):
            handler.ctx.send_event(ApprovalResponse(approval_id=request.approval_id, by="alice", decision=answer))
    assert (await ended(handler)).count("Sent.") == 5 and sent(sandbox) == 5


async def test_rejection_is_reported_to_the_model(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "send")
    handler = agent("FunctionAgent", deputy, SEND).run("go on")
    [request] = await asked(handler)
    handler.ctx.send_event(ApprovalResponse(approval_id=request.approval_id, by="alice", decision="reject"))
    assert "declined" in await ended(handler) and sent(sandbox) == 0


async def test_edited_approval_sends_its_arguments_and_an_invalid_one_nothing(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "send")
    for arguments, mails in (({"to": "nobody", "token": "x"}, 0), ({**SEND["args"], "subject": "Dinner"}, 1)):
        handler = agent("FunctionAgent", deputy, SEND).run("go on")
        [request] = await asked(handler)
        answer = ApprovalResponse(approval_id=request.approval_id, by="alice", decision="edit", arguments=arguments)
        handler.ctx.send_event(answer)
        assert ("Sent." in await ended(handler)) == bool(mails) and sent(sandbox) == mails
    assert sandbox.sent("alice@example.test")[0].subject == "Dinner"


async def test_recorded_decision_overrides_the_event(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "send")
    handler = agent("FunctionAgent", deputy, SEND).run("go on")
    [request] = await asked(handler)
    await deputy.decide(request.approval_id, "reject", by="alice")
    handler.ctx.send_event(ApprovalResponse(approval_id=request.approval_id, by="alice", decision="approve"))
    assert "declined" in await ended(handler) and sent(sandbox) == 0


async def test_event_answered_by_another_user_is_ignored_and_the_run_still_waits(
    deputy: Deputy, sandbox: Sandbox
) -> None:
    await connect(deputy, sandbox, "send")
    handler = agent("FunctionAgent", deputy, SEND).run("go on")
    [request] = await asked(handler)
    for who in ("bob", "", "ALICE"):
        handler.ctx.send_event(ApprovalResponse(approval_id=request.approval_id, by=who, decision="approve"))
    more: Any = {"user": "alice", "owner": "alice"}
    handler.ctx.send_event(ApprovalResponse(approval_id=request.approval_id, by="bob", decision="approve", **more))
    await asyncio.sleep(0.1)
    assert sent(sandbox) == 0 and not handler.is_done()
    assert [one.id for one in await deputy.approvals.list_pending(User("alice"))] == [request.approval_id]
    handler.ctx.send_event(ApprovalResponse(approval_id=request.approval_id, by="alice", decision="approve"))
    assert "Sent." in await ended(handler) and sent(sandbox) == 1


async def test_equal_call_in_a_later_run_is_another_act() -> None:
    sandbox = Sandbox()
    async with await build(sandbox, policy=allow_all) as deputy:
        await connect(deputy, sandbox, "send")
        one = agent("FunctionAgent", deputy, SEND)
        context = Context(one)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the memory is left out between the runs
            for _ in range(2):
                await one.run("once more", ctx=context)
        assert sent(sandbox) == 2
        await one.run("once more")
        assert sent(sandbox) == 3


async def test_denied_consent_may_be_requested_again_by_the_next_message_only(deputy: Deputy, sandbox: Sandbox) -> None:
    one = agent("FunctionAgent", deputy, SEARCH, {**SEARCH, "args": {"query": "from:news"}})
    context = Context(one)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the memory is left out between the runs
        for _ in range(2):
            handler = one.run("go on", ctx=context)
            [request] = await asked(handler)
            await visit(deputy, sandbox, request.consent_id, deny=True)
            handler.ctx.send_event(ConsentResponse(consent_id=request.consent_id))
            assert (await ended(handler)).count("later request") == 2, "what the model may do about it is said"
    assert await deputy.consents.list_pending(User("alice")) == []


# ------------------------------------------------------------- saved and resumed


@pytest.mark.parametrize("kind", KINDS)
async def test_saved_run_resumed_twice_is_one_act(deputy: Deputy, sandbox: Sandbox, kind: str) -> None:
    await connect(deputy, sandbox, "send")
    handler = agent(kind, deputy, SEND).run("go on")
    [request] = await asked(handler)
    blob = await save_paused(handler)
    await deputy.decide(request.approval_id, "approve", by="alice")
    both = [await resume_paused(agent(kind, deputy, SEND), blob) for _ in range(2)]
    assert "Sent." in await ended(both[0]) and "Sent." in await ended(both[1])
    assert sent(sandbox) == 1


async def test_pause_is_resumed_only_with_tools_of_its_user(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "send", user="bob", as_="bob@example.test")
    handler = agent("FunctionAgent", deputy, SEND).run("go on")
    await asked(handler)
    blob = await save_paused(handler)
    for stranger in ("bob", User("alice", "other")):
        with pytest.raises(PolicyDenied):
            await resume_paused(agent("FunctionAgent", deputy, SEND, user=stranger), blob)
    with pytest.raises(UserRequired):
        await resume_paused(agent("FunctionAgent", deputy, SEND, user=None), blob)
    assert sent(sandbox, "bob") == 0


async def test_tools_of_another_user_refuse_to_act_in_a_foreign_run(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "readonly")
    await connect(deputy, sandbox, "readonly", user="bob", as_="bob@example.test")
    alice, bob = (agent("FunctionAgent", deputy, SEARCH, user=user) for user in ("alice", "bob"))
    handler = alice.run("go on")
    await handler
    assert "another user" in str(await bob.run("go on", ctx=Context.from_dict(bob, plainly(handler))))
    assert who_called(sandbox) == {"alice@example.test"}


async def test_run_without_a_pause_is_not_saved(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "readonly")
    handler = agent("FunctionAgent", deputy, SEARCH).run("go on")
    await handler
    with pytest.raises(Conflict):
        await save_paused(handler)


async def test_saved_run_keeps_conversation_and_token_limit(deputy: Deputy, sandbox: Sandbox) -> None:
    memory = ChatMemoryBuffer.from_defaults(chat_history=[ChatMessage("long ago")], token_limit=4321)
    handler = agent("FunctionAgent", deputy, SEARCH).run("the first word", memory=memory)
    [request] = await asked(handler)
    blob = await save_paused(handler)
    await visit(deputy, sandbox, request.consent_id)
    handler = await resume_paused(agent("FunctionAgent", deputy, SEARCH), blob)
    await ended(handler)
    kept = await handler.ctx.store.get("memory")
    words = [message.content for message in await kept.aget_all()]
    assert words[:2] == ["long ago", "the first word"] and "Bob Brown" in str(words[-1])
    assert kept.token_limit == 4321 and (await kept.aget_all())[0].role is MessageRole.USER


# ------------------------------------------------------------- nothing secret


async def test_contexts_events_blobs_logs_and_answers_hold_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    sandbox = Sandbox()
    tap = Wiretap(sandbox.transport())
    said: list[str] = []
    async with await build(transport=tap) as deputy:
        await connect(deputy, tap, "readonly")  # type: ignore[arg-type]
        for kind in KINDS:
            handler = agent(kind, deputy, SEND).run("go on")
            requests = await asked(handler)
            for waiting in await deputy.consents.list_pending(User("alice")):
                said += [dump(requests), blob := await save_paused(handler)]
                assert "/connect/" not in blob, "nor a link"
                await consent(deputy, tap, waiting)
                handler = await resume_paused(agent(kind, deputy, SEND), blob)
                requests = await asked(handler)
            said += [dump(requests), blob := await save_paused(handler)]
            await deputy.decide(requests[0].approval_id, "approve", by="alice")
            handler = await resume_paused(agent(kind, deputy, SEND), blob)
            said += [dump(event) for event in await rest(handler)]
            said += [dump(await handler), dump(plainly(handler)), json.dumps(plainly(handler))]
            for switch in ("down", "expire"):
                sandbox.switches.down = switch == "down"
                sandbox.expire_access_tokens()
                said.append(dump(await agent(kind, deputy, SEARCH).run("go on")))
        for tool in GmailToolSpec(deputy, user="alice").to_tool_list():
            said.append(dump([tool, vars(tool), tool.metadata]))
    assert tap.kinds() >= {"access_token", "refresh_token", "code", "code_verifier", "client_secret", "state"}
    assert sent(sandbox) == 3 and hits(tap.secrets, {"said": "\n".join(said), "log": caplog.text}) == []
