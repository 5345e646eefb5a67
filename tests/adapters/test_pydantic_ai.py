"""pydantic-ai: the toolset, arguments and descriptions; the acting user; valid and forged answers of applications."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from importlib.metadata import version
from typing import Any, cast

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic_ai import (
    Agent,
    DeferredToolRequests,
    DeferredToolResults,
    ModelMessagesTypeAdapter,
    ToolApproved,
    ToolDenied,
)
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.instrumented import InstrumentationSettings
from pydantic_ai.models.test import TestModel
from pydantic_ai.toolsets import AbstractToolset, WrapperToolset

from deputize.adapters.pydantic_ai import DeputyToolset, answers, requests_in
from deputize.core import Deputy, PolicyDenied, User
from deputize.sandbox import Sandbox
from tests.support.canary import Wiretap, dump, hits
from tests.support.deferred_conversations import Play, who_called
from tests.support.graphs import SEARCH, SEND
from tests.support.pydantic_ai_runs import Deps, Runs, agent_of, kept_of, model_of, turn_of
from tests.support.sandbox_deputy import connect, consent


@pytest.fixture
async def play() -> AsyncIterator[Play]:
    async with Play.of("pydantic_ai") as play:
        yield play


# ------------------------------------------------------------- the toolset


async def test_model_sees_our_descriptions_and_no_user_argument(deputy: Deputy) -> None:
    model = TestModel(call_tools=[])
    toolset = DeputyToolset(deputy, "gmail", "calendar", user="alice")
    assert isinstance(toolset, AbstractToolset) and toolset.id == "deputize-gmail-calendar"
    await Agent(model, toolsets=[toolset]).run("go on")
    assert model.last_model_request_parameters
    shown, ours = model.last_model_request_parameters.function_tools, deputy.tools("gmail", "calendar")
    assert [(tool.name, tool.description) for tool in shown] == [(tool.name, tool.description) for tool in ours]
    for tool, our in zip(shown, ours, strict=True):
        assert tool.parameters_json_schema == our.schema
        assert not {"user", "token", "account", "ctx"} & set(our.schema["properties"])
        assert tool.metadata and tool.metadata["provider"] == "google" and tool.metadata["effect"]
        assert tool.sequential != tool.metadata["read_only"], "writes keep the order of the message"


async def test_model_gets_the_system_prompt(deputy: Deputy) -> None:
    told: list[str] = []
    await agent_of(deputy, SEARCH, told=told).run("go on", deps=Deps("alice"))
    assert "untrusted" in told[0]


async def test_deferred_tool_is_searched_shown_and_requested_as_others(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "readonly", "send")
    shown: list[set[str]] = []

    def respond(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        shown.append({tool.name for tool in info.function_tools})
        calls = [part for one in messages if isinstance(one, ModelResponse) for part in one.tool_calls]
        if not calls:
            return ModelResponse(parts=[ToolCallPart("search_tools", {"queries": ["send email"]}, "find")])
        if len(calls) == 1:
            return ModelResponse(parts=[ToolCallPart(SEND["name"], SEND["args"], SEND["id"])])
        return ModelResponse(parts=[TextPart("done")])

    gmail = DeputyToolset(deputy, "gmail", user="alice").defer_loading()
    agent = Agent(FunctionModel(respond), toolsets=[gmail], output_type=[str, DeferredToolRequests])
    waits = await agent.run("go on")
    assert isinstance(waits.output, DeferredToolRequests) and not sandbox.sent("alice@example.test")
    hides = tuple(map(int, version("pydantic-ai-slim").split(".")[:2])) > (2, 16)  # there a test's model does it itself
    assert ("gmail_send_email" in shown[0]) != hides and "gmail_send_email" in shown[1]
    said = answers(waits.output, {one["approval_id"]: "approve" for one in requests_in(waits.output, "approval")})
    done = await agent.run(message_history=waits.all_messages(), deferred_tool_results=said)
    assert done.output == "done" and len(sandbox.sent("alice@example.test")) == 1


async def test_two_toolsets_of_one_agent_have_their_own_ids(deputy: Deputy) -> None:
    one, other = (
        DeputyToolset(deputy, "gmail", user="alice"),
        DeputyToolset(deputy, "calendar", user="alice", id="days"),
    )
    assert (one.id, other.id) == ("deputize-gmail", "days")
    model = TestModel(call_tools=[])
    await Agent(model, toolsets=[one, other]).run("go on")
    assert model.last_model_request_parameters
    names = {tool.name for tool in model.last_model_request_parameters.function_tools}
    assert {"gmail_search_emails", "calendar_list_events"} <= names


# ------------------------------------------------------------- arguments, users, errors


async def test_arguments_that_are_not_an_object_are_requested_again(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "readonly")
    turn = await Runs().start(deputy, {**SEARCH, "args": "[1]"})
    assert "dict" in turn.text and "gmail.googleapis.com" not in {seen.host for seen in sandbox.requests}


async def test_bound_user_needs_no_dependencies(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "readonly", user=User("alice", "acme"))
    toolset = DeputyToolset(deputy, "gmail", user=User("alice", "acme"))
    done = await Agent(model_of([SEARCH]), toolsets=[toolset]).run("go on")
    assert "Bob Brown" in done.output and who_called(sandbox) == {"alice@example.test"}


async def test_another_tenant_is_another_user(deputy: Deputy) -> None:
    def agent(tenant: str) -> Any:
        toolset = DeputyToolset(deputy, "gmail", user=User("alice", tenant))
        return Agent(model_of([SEARCH]), toolsets=[toolset], output_type=[str, DeferredToolRequests])

    first = turn_of(await agent("acme").run("go on"))
    history, requests = kept_of(first.saved)
    with pytest.raises(PolicyDenied):
        await agent("other").run(message_history=history, deferred_tool_results=answers(requests))


# ------------------------------------------------------------- what a host answers


@pytest.mark.parametrize("denial", [False, ToolDenied("Alice says no.")])
async def test_denial_by_the_application_is_recorded_as_a_rejection(denial: Any, play: Play) -> None:
    await play.connect("alice")
    turn = await play.runs.start(play.deputy, SEND)
    [approval] = turn.ids("approval")
    runs = Runs()
    await runs.with_results(play.deputy, turn.saved, DeferredToolResults(approvals={"send": denial}))
    found = await play.deputy.get_approval(approval, by="alice")
    assert found and found.status == "rejected"
    [end] = await play.resume(turn, "approve")
    assert play.sent() == 0 and "Sent." not in end.text


async def test_denial_of_another_users_request_is_refused(play: Play) -> None:
    await play.connect("alice", "bob")
    turn = await play.runs.start(play.deputy, SEND)
    denial = DeferredToolResults(approvals={"send": False})
    with pytest.raises(PolicyDenied):
        await Runs().with_results(play.deputy, turn.saved, denial, "bob")
    [end] = await play.resume(turn, "approve")
    assert "Sent." in end.text and play.sent() == 1


async def test_decision_without_the_shown_approval_only_resumes(play: Play) -> None:
    await play.connect("alice")
    turn = await play.runs.start(play.deputy, SEND)
    for told in (
        {},
        {"decision": "approve"},
        {"approval_id": "another", "decision": "approve"},
        {"approval_id": ""},
    ):
        results = DeferredToolResults(approvals={"send": True}, metadata={"send": told})
        again = await Runs().with_results(play.deputy, turn.saved, results)
        assert again.kinds == {"approval"} and play.sent() == 0


async def test_history_naming_another_owner_grants_nothing(play: Play) -> None:
    """Bob has written himself into Alice's history: he acts as Bob, and cannot give her approval."""
    await play.connect("alice", "bob")
    turn = await play.runs.start(play.deputy, SEND)
    kept = json.loads(turn.saved)
    kept["history"] = kept["history"].replace('"user":"alice"', '"user":"bob"')
    turn.saved = json.dumps(kept)
    [end] = await play.resume(turn, "approve", user="bob")
    assert end.kinds == {"approval"} and (play.sent(), play.sent("bob")) == (0, 0)
    assert not set(end.ids("approval")) & set(turn.ids("approval"))


@pytest.mark.parametrize("note", ["x", [], {"approvals": ["x"]}, {"approvals": {"send": "another"}}])
async def test_forged_history_note_proves_nothing(note: Any, play: Play) -> None:
    await play.connect("alice")
    turn = await play.runs.start(play.deputy, SEND)
    kept = json.loads(turn.saved)
    history = json.loads(kept["history"])
    [response] = [message for message in history if message["kind"] == "response"]
    whose = {"user": "alice", "tenant": ""} if isinstance(note, dict) else {}
    response["metadata"] = {"deputize": {**whose, **note} if isinstance(note, dict) else note}
    turn.saved = json.dumps({**kept, "history": json.dumps(history)})
    denial = DeferredToolResults(approvals={"send": False})
    end = await Runs().with_results(play.deputy, turn.saved, denial)
    assert not end.asks and play.sent() == 0
    [again] = await play.resume(turn)
    assert again.kinds == {"approval"}
    [end] = await play.resume(turn, "approve")
    assert "Sent." in end.text and play.sent() == 1


async def test_calls_of_other_toolsets_are_left_to_the_application(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "readonly")
    agent = agent_of(deputy, {"name": "own", "args": {}, "id": "own"}, SEND)
    agent.tool_plain(requires_approval=True, name="own")(lambda: "own done")
    paused = await agent.run("go on", deps=Deps("alice"))
    requests = paused.output
    assert isinstance(requests, DeferredToolRequests) and len(requests.approvals) == 2
    results = answers(requests)
    assert set(results.approvals) == {"send"}
    results.update(DeferredToolResults(approvals={"own": True}))
    again = await agent.run(message_history=paused.all_messages(), deferred_tool_results=results, deps=Deps("alice"))
    assert [part.tool_name for part in again.output.approvals] == ["gmail_send_email"]


@pytest.mark.parametrize("first", ["send", "search"])
@pytest.mark.parametrize("way", ["prefixed", "renamed", "both", "with metadata"])
async def test_outer_toolset_requests_one_consent(way: str, first: str, deputy: Deputy, sandbox: Sandbox) -> None:
    toolset: Any = DeputyToolset(deputy, "gmail", user="alice")
    names: dict[str, str] = (
        {"gmail_send_email": "send", "gmail_search_emails": "find"} if way in ("renamed", "both") else {}
    )
    if way == "with metadata":
        toolset = toolset.with_metadata(team="mail")
    if names:
        toolset = toolset.renamed({new: old for old, new in names.items()})
    if way in ("prefixed", "both"):
        toolset = toolset.prefixed("mail")
    prefix = "mail_" if way in ("prefixed", "both") else ""
    calls = [{**one, "name": prefix + names.get(str(one["name"]), str(one["name"]))} for one in (SEND, SEARCH)]
    if first == "search":
        calls.reverse()
    agent = Agent(model_of(calls), toolsets=[toolset], output_type=[str, DeferredToolRequests])
    paused = await agent.run("go on")
    assert isinstance(paused.output, DeferredToolRequests)
    [ask] = requests_in(paused.output, "consent")
    found = await deputy.consents.status(ask["consent_id"])
    assert found
    await consent(deputy, sandbox, found)
    again = await agent.run(message_history=paused.all_messages(), deferred_tool_results=answers(paused.output))
    assert isinstance(again.output, DeferredToolRequests)
    [asked] = requests_in(again.output, "approval")
    assert asked["tool"] == SEND["name"]
    done = await agent.run(
        message_history=again.all_messages(),
        deferred_tool_results=answers(again.output, {asked["approval_id"]: "approve"}),
    )
    assert "Sent." in str(done.output) and len(sandbox.sent("alice@example.test")) == 1


async def test_each_call_of_a_message_is_previewed_once(
    deputy: Deputy, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    await connect(deputy, sandbox, "send")
    preview, previewed = deputy.previewer.preview, list[str]()

    async def counting(act: Any, *more: Any) -> bool:
        previewed.append(act.call.id)
        return await preview(act, *more)

    monkeypatch.setattr(deputy.previewer, "preview", counting)
    calls = [{**SEND, "id": id, "args": {**SEND["args"], "subject": id}} for id in ("one", "two", "three")]
    agent = agent_of(deputy, *calls)
    paused = await agent.run("go on", deps=Deps("alice"))
    assert len(requests_in(paused.output, "approval")) == 3 and sorted(previewed) == ["one", "three", "two"]


async def test_mandate_covers_only_as_many_calls_of_a_message_as_it_says(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "send")
    covers: dict[str, Any] = {"tools": [SEND["name"]], "targets": SEND["args"]["to"], "max_acts": 1}
    await deputy.create_mandate("alice", **covers, expires_at=deputy.clock() + 60)
    calls = [{**SEND, "id": id, "args": {**SEND["args"], "subject": id}} for id in ("one", "two", "three")]
    paused = await agent_of(deputy, *calls).run("go on", deps=Deps("alice"))
    assert [one.subject for one in sandbox.sent("alice@example.test")] == ["one"]
    assert [one["preview"]["subject"] for one in requests_in(paused.output, "approval")] == ["two", "three"]


class Signing(WrapperToolset[Any]):
    """An application's toolset that adds to the body of each mail that passes through it."""

    async def call_tool(self, name: str, tool_args: dict[str, Any], ctx: Any, tool: Any) -> Any:
        return await super().call_tool(name, {**tool_args, "body": f"{tool_args['body']} (by a machine)"}, ctx, tool)


@pytest.mark.parametrize("decision", ["approve", "edit", "reject"])
async def test_call_of_a_wrapping_toolset_is_previewed_and_sent_as_wrapped(decision: str, play: Play) -> None:
    await play.connect("alice")
    toolset = Signing(DeputyToolset(play.deputy, "gmail", user="alice"))
    agent = Agent(model_of([SEND]), toolsets=[toolset], output_type=[str, DeferredToolRequests])
    history, requests = kept_of(turn_of(await agent.run("go on")).saved)
    [ask] = requests_in(requests, "approval")
    assert "Yes, gladly. (by a machine)" in str(ask["preview"])
    edit: Any = {"decision": "edit", "arguments": {**SEND["args"], "body": "No."}}
    results = answers(requests, {ask["approval_id"]: edit if decision == "edit" else cast("Any", decision)})
    end = await agent.run(message_history=history, deferred_tool_results=results)
    assert not isinstance(end.output, DeferredToolRequests), "asked once"
    wanted = {"approve": ["Yes, gladly. (by a machine)"], "edit": ["No. (by a machine)"], "reject": []}[decision]
    assert len(wanted) == play.sent() and ("declined" in end.output.lower()) == (decision == "reject")
    for mail, text in zip(play.sandbox.sent("alice@example.test"), wanted, strict=True):
        assert text.encode() in mail.raw
    found = await play.deputy.get_approval(ask["approval_id"], by="alice")
    assert found and found.status != "pending"


async def test_approval_is_not_valid_for_other_arguments(play: Play) -> None:
    await play.connect("alice")
    turn = await play.runs.start(play.deputy, SEND)
    [approval] = turn.ids("approval")
    other = ToolApproved(override_args={**SEND["args"], "to": ["eve@evil.test"]})
    told = {"approval_id": approval, "decision": "approve"}
    results = DeferredToolResults(approvals={"send": other}, metadata={"send": told})
    again = await Runs().with_results(play.deputy, turn.saved, results)
    assert again.kinds == {"approval"} and play.sent() == 0
    assert again.ids("approval") != [approval] and "eve@evil.test" in str(again.asks[0]["preview"])


# ------------------------------------------------------------- other ways to run


async def test_blocking_run_asks_and_sends_once(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "send")
    agent = agent_of(deputy, SEND)

    def run(**given: Any) -> Any:
        with asyncio.Runner() as runner:
            runner.get_loop()
            asyncio.set_event_loop(runner.get_loop())
            return agent.run_sync(deps=Deps("alice"), **given)

    paused = await asyncio.to_thread(run, user_prompt="go on")
    [ask] = requests_in(paused.output, "approval")
    results = answers(paused.output, {ask["approval_id"]: "approve"})
    done = await asyncio.to_thread(run, message_history=paused.all_messages(), deferred_tool_results=results)
    assert "Sent." in done.output and len(sandbox.sent("alice@example.test")) == 1


async def test_streamed_run_asks_and_sends_once(play: Play) -> None:
    await play.connect("alice")
    agent = agent_of(play.deputy, SEND)
    paused = await agent.run("go on", deps=Deps("alice"))
    [ask] = requests_in(paused.output, "approval")
    results = answers(paused.output, {ask["approval_id"]: "approve"})
    given: dict[str, Any] = {"message_history": paused.all_messages(), "deferred_tool_results": results}
    seen = []
    async with agent.iter(deps=Deps("alice"), **given) as run:
        async for node in run:
            seen.append(type(node).__name__)
    assert run.result and "Sent." in str(run.result.output) and play.sent() == 1 and "CallToolsNode" in seen


async def test_history_notes_the_user_of_its_calls(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "readonly")
    done = await agent_of(deputy, SEARCH, {**SEARCH, "id": "other"}).run("go on", deps=Deps("alice"))
    asked = [message for message in done.all_messages() if isinstance(message, ModelResponse)]
    assert [m.metadata for m in asked if m.metadata] == [{"deputize": {"user": "alice", "tenant": ""}}]
    assert ModelMessagesTypeAdapter.dump_json(done.all_messages())


# ------------------------------------------------------------- spans


@pytest.mark.parametrize("content", [True, False])
async def test_runs_spans_and_logs_hold_no_secret(content: bool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    async with Play.of("pydantic_ai") as play:
        tap = play.wire.inner = Wiretap(play.wire.inner)
        told: list[str] = []
        agent = agent_of(play.deputy, SEND, SEARCH, told=told)
        agent.instrument = InstrumentationSettings(tracer_provider=provider, include_content=content)
        result = await agent.run("go on", deps=Deps("alice"))
        left = [turn_of(result)]
        await play.visit(left[0])
        for decision in ("", "approve"):
            said: Any = {ask["approval_id"]: decision for ask in requests_in(result.output, "approval")}
            result = await agent.run(
                message_history=result.all_messages(),
                deferred_tool_results=answers(result.output, said if decision else None),
                deps=Deps("alice"),
            )
            left.append(turn_of(result))
    assert "Sent." in result.output and {"access_token", "code", "code_verifier", "state"} <= tap.kinds()
    spans = "\n".join(span.to_json() for span in exporter.get_finished_spans())
    assert "gmail_send_email" in spans
    assert ("/connect/" in spans, "Yes, gladly." in spans) == (content, content), "without content no link and no text"
    assert hits(tap.secrets, {"left": dump([left, told]), "spans": spans, "log": caplog.text}) == []
