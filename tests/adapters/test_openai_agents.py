"""OpenAI Agents SDK: tools, arguments and descriptions; the acting user; resumed, edited and forged states."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import pytest
from agents import (
    Agent,
    FunctionTool,
    RunConfig,
    RunContextWrapper,
    Runner,
    RunState,
    SQLiteSession,
    ToolSearchTool,
    add_trace_processor,
    set_trace_processors,
    tool_namespace,
)
from agents.models.openai_responses import Converter
from agents.tracing import TracingProcessor

from deputize.adapters.openai_agents import ActTool, requests_in, settle, tools
from deputize.core import (
    Decisions,
    Deputy,
    PolicyDenied,
    User,
    UserRequired,
    allow_all,
)
from deputize.sandbox import Sandbox
from tests.support.canary import Wiretap, dump, hits
from tests.support.deferred_conversations import Play, who_called
from tests.support.graphs import SEARCH, SEND
from tests.support.openai_agents_runs import QUIET, SHAPES, Asking, Runs, agent_of, loaded, turn_of
from tests.support.sandbox_deputy import connect

CONTEXT = {"user": "alice", "chat": "1"}


@pytest.fixture
async def play() -> AsyncIterator[Play]:
    async with Play.of("openai_agents") as play:
        yield play


# ------------------------------------------------------------- the tools


async def test_model_sees_our_descriptions_and_no_user_argument(deputy: Deputy) -> None:
    shown, ours = tools(deputy, "gmail", "calendar", user="alice", thread="1"), deputy.tools("gmail", "calendar")
    for tool, our in zip(shown, ours, strict=True):
        assert isinstance(tool, FunctionTool) and callable(tool.needs_approval)
        assert (tool.name, tool.description, tool.params_json_schema) == (our.name, our.description, our.schema)
        assert not {"user", "token", "account", "ctx"} & set(our.schema["properties"])
        assert "alice" not in repr(tool), "nor who acts in what is logged of a tool"


async def test_deferred_tools_are_sent_alone_and_in_namespaces(deputy: Deputy) -> None:
    made = tools(deputy, "gmail", user="alice", thread="1", defer_loading=True)
    alone = Converter.convert_tools([*made, ToolSearchTool()], [])
    assert [one.get("defer_loading") for one in alone.tools] == [*[True] * len(made), None]
    mail: Any = tool_namespace(
        name="gmail", description="Mail.", tools=[one for one in made if isinstance(one, ActTool)]
    )
    space: Any = Converter.convert_tools([*mail, ToolSearchTool()], []).tools[0]
    assert space["type"] == "namespace" and all(one["defer_loading"] for one in space["tools"])
    assert len(space["tools"]) == len(made) == len(deputy.tools("gmail"))


@pytest.mark.parametrize("name", ["", "gmail"])
async def test_deferred_tool_requests_approval_as_usual(deputy: Deputy, sandbox: Sandbox, name: str) -> None:
    await connect(deputy, sandbox, "readonly", "send")
    made: list[Any] = [*tools(deputy, "gmail", user="alice", thread="1", defer_loading=True)]
    if name:
        made = tool_namespace(name=name, description="Mail.", tools=made)
    found = SEND | {"namespace": name or SEND["name"]}  # as the Responses API says of a tool that was searched for
    agent = Agent[Any](name="mail", model=Asking([found]), tools=made)
    state = (await Runner.run(agent, "go on", run_config=QUIET)).to_state()
    asks = await requests_in(state, "approval")
    assert [ask["tool"] for ask in asks] == ["gmail_send_email"] and not sandbox.sent("alice@example.test")
    assert await settle(state, {asks[0]["approval_id"]: "approve"}) == []
    await Runner.run(agent, state, run_config=QUIET)
    assert len(sandbox.sent("alice@example.test")) == 1


# ------------------------------------------------------------- arguments, users, errors


@pytest.mark.parametrize("wrong", ["[1]", "{", '"x"', "null"])
async def test_arguments_that_are_not_an_object_reach_no_provider(deputy: Deputy, sandbox: Sandbox, wrong: str) -> None:
    await connect(deputy, sandbox, "readonly")
    turn = await Runs().start(deputy, {**SEARCH, "args": wrong})
    while turn.asks or not turn.text or turn.text == "None":
        turn = await Runs().resume(deputy, turn.saved)
    assert "not a JSON object" in turn.text and who_called(sandbox) == set()


async def test_bound_user_and_thread_need_no_context(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "readonly", user=User("alice", "acme"))
    mine = tools(deputy, "gmail", user=User("alice", "acme"), thread="1")
    done = await Runner.run(Agent(name="mail", model=Asking([SEARCH]), tools=mine), "go on", run_config=QUIET)
    assert "Bob Brown" in done.final_output and who_called(sandbox) == {"alice@example.test"}


async def test_copies_of_items_and_tools_keep_the_deputy(deputy: Deputy, sandbox: Sandbox) -> None:
    """The SDK's items hold their agent, so a copy of a result copies the agent's tools."""
    await connect(deputy, sandbox, "readonly")
    mine = tools(deputy, "gmail", user="alice", thread="1")
    done = await Runner.run(Agent(name="mail", model=Asking([SEARCH]), tools=mine), "go on", run_config=QUIET)
    assert [one.type for one in deepcopy(done.new_items)] == [one.type for one in done.new_items]
    copied = deepcopy(mine)
    assert all(isinstance(one, ActTool) and one.runner.deputy is deputy for one in copied)
    again = await Runner.run(Agent(name="mail", model=Asking([SEARCH]), tools=copied), "go on", run_config=QUIET)
    assert "Bob Brown" in again.final_output and who_called(sandbox) == {"alice@example.test"}


# ------------------------------------------------------------- states


async def test_consent_and_approval_are_two_rounds(play: Play) -> None:
    """The consent arrives together with an approval of everything pending: the mail still waits for its own
    approval."""
    turn = await play.runs.start(play.deputy, SEND)
    await play.visit(turn)
    agent = agent_of(play.deputy)
    state = await loaded(agent, turn.saved, "alice")
    [ask] = await settle(state)
    assert ask["type"] == "deputize.approval"
    again = await Runner.run(agent, state, run_config=QUIET)
    assert len(again.interruptions) == 1 and play.sent() == 0


async def test_altered_run_state_proves_nothing(play: Play) -> None:
    await play.connect("alice")
    turn = await play.runs.start(play.deputy, SEND)
    agent = agent_of(play.deputy)
    approved = await loaded(agent, turn.saved, "alice")
    for item in approved.get_interruptions():
        approved.approve(item, always_approve=True)
    end = await turn_of(await Runner.run(agent, await loaded(agent, approved.to_string(), "alice"), run_config=QUIET))
    assert play.sent() == 0 and "Sent." not in end.text
    [approval] = turn.ids("approval")
    turn.saved = turn.saved.replace("bob@example.test", "eve@evil.test")
    try:
        again = await play.runs.resume(play.deputy, turn.saved, {approval: "approve"})
        assert again.kinds == {"approval"} and again.ids("approval") != [approval]
    except Exception as refused:  # newer releases of the SDK notice it by themselves
        assert "agents" in type(refused).__module__
    assert play.sent() == 0


async def test_equal_call_ids_in_two_runs_of_a_session_are_two_acts() -> None:
    async with Play.of("openai_agents", policy=allow_all) as play:
        await play.connect("alice")
        with closing(SQLiteSession("1")) as session:
            for count in (1, 2):
                agent = agent_of(play.deputy, SEND)
                done = await Runner.run(agent, "go on", context=CONTEXT, session=session, run_config=QUIET)
                assert "Sent." in str(done.final_output) and play.sent() == count


async def test_run_with_a_session_can_continue_elsewhere(play: Play) -> None:
    await play.connect("alice")
    with closing(SQLiteSession("1")) as session:
        await session.add_items([{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}])
        agent = agent_of(play.deputy, SEND)
        turn = await turn_of(await Runner.run(agent, "go on", context=CONTEXT, session=session, run_config=QUIET))
        state = await loaded(agent, turn.saved, "alice")
        assert await settle(state, dict.fromkeys(turn.ids("approval"), "approve")) == []
        done = await Runner.run(agent, state, session=session, run_config=QUIET)
        assert "Sent." in str(done.final_output) and play.sent() == 1


async def test_streamed_run_asks_and_sends_once(play: Play) -> None:
    await play.connect("alice")
    agent = agent_of(play.deputy, SEND)
    paused = Runner.run_streamed(agent, "go on", context=CONTEXT, run_config=QUIET)
    assert [event async for event in paused.stream_events()] and paused.interruptions
    state = paused.to_state()
    [ask] = await requests_in(state, "approval")
    assert await settle(state, {ask["approval_id"]: "approve"}) == []
    done = Runner.run_streamed(agent, state, run_config=QUIET)
    assert [event async for event in done.stream_events()]
    assert "Sent." in str(done.final_output) and play.sent() == 1


async def test_agent_used_as_a_tool_asks_and_sends_once(play: Play) -> None:
    await play.connect("alice")
    inner = agent_of(play.deputy, SEND)
    mail = inner.as_tool(tool_name="mail", tool_description="Sends mail.")
    outer = Agent(name="outer", model=Asking([{"name": "mail", "args": {"input": "send it"}, "id": "o"}]), tools=[mail])
    paused = await Runner.run(outer, "go on", context=CONTEXT, run_config=QUIET)
    state = paused.to_state()
    [ask] = await requests_in(state)
    assert ask["type"] == "deputize.approval" and len(await play.deputy.pending("alice")) == 1
    assert await settle(state, {ask["approval_id"]: "approve"}) == []
    done = await Runner.run(outer, state, run_config=QUIET)
    assert "Sent." in str(done.final_output) and play.sent() == 1


async def test_agents_of_one_run_may_act_for_different_users_with_own_approvals(play: Play) -> None:
    await play.connect("alice", "bob")
    mine: list[Any] = [
        agent_of(play.deputy, {**SEND, "id": who}, user=who, thread="1").as_tool(who, "Sends mail.")
        for who in ("alice", "bob")
    ]
    both = [{"name": who, "args": {"input": "send it"}, "id": f"for {who}"} for who in ("alice", "bob")]
    outer = Agent(name="outer", model=Asking(both), tools=mine)
    state = (await Runner.run(outer, "go on", context=CONTEXT, run_config=QUIET)).to_state()
    asks = {ask["account"]: ask["approval_id"] for ask in await requests_in(state, "approval")}
    with pytest.raises(PolicyDenied):
        await settle(state, {asks["alice@example.test"]: "approve", "another": "approve"})
    assert len(await play.deputy.pending("alice")) == 1, "what was refused has decided nothing"
    assert len(await settle(state, {asks["bob@example.test"]: "reject"})) == 1
    assert await settle(state, {asks["alice@example.test"]: "approve"}) == []
    await Runner.run(outer, state, run_config=QUIET)
    assert (play.sent("alice"), play.sent("bob")) == (1, 0)


async def test_application_tools_are_approved_by_the_application() -> None:
    from agents import function_tool

    async with Play.of("openai_agents") as play:
        await play.connect("alice")
        own = function_tool(lambda: "own done", name_override="own", needs_approval=True)
        agent = agent_of(play.deputy, SEND, {"name": "own", "args": {}, "id": "own"})
        agent.tools.append(own)
        paused = await Runner.run(agent, "go on", context=CONTEXT, run_config=QUIET)
        state = paused.to_state()
        [ask] = await requests_in(state, "approval")
        await settle(state, {ask["approval_id"]: "approve"})
        again = await Runner.run(agent, state, run_config=QUIET)
        assert [item.name for item in again.interruptions] == ["own"] and play.sent() == 1


# ------------------------------------------------------------- who resumes


@dataclass
class Signed:
    """An application context that is an object with attributes, which JSON turns into a mapping."""

    user_id: str
    chat_id: str


def as_object(user: str) -> tuple[Any, dict[str, Any]]:
    """Return an object context, and how the tools read it."""
    return Signed(user, "1"), {"user": lambda c: c.context.user_id, "thread": lambda c: c.context.chat_id}


def as_mapping(user: str) -> tuple[Any, dict[str, Any]]:
    """Return a mapping context, and how the tools read it."""
    return {"user": user, "chat": "1"}, {"user": lambda c: c.context["user"], "thread": lambda c: c.context["chat"]}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("form", [as_object, as_mapping], ids=lambda form: form.__name__)
@pytest.mark.parametrize("who", ["alice", "bob", ""], ids=["owner", "another user", "nobody"])
async def test_restored_state_acts_as_the_resuming_user(
    shape: Callable[[Agent[Any]], Agent[Any]], form: Callable[[str], tuple[Any, dict[str, Any]]], who: str, play: Play
) -> None:
    await play.connect("alice", "bob")
    context, named = form("alice")
    mail = Agent[Any](name="mail", model=Asking([SEND]), tools=tools(play.deputy, "gmail", **named))
    agent = shape(mail)
    paused = await Runner.run(agent, "go on", context=context, run_config=QUIET)
    [ask] = await requests_in(paused.to_state(), "approval")
    assert ask["account"] == "alice@example.test"
    text = paused.to_state().to_string(context_serializer=lambda it: it if isinstance(it, dict) else vars(it))
    override = RunContextWrapper(form(who)[0])
    state = await RunState.from_string(agent, text, context_override=override)
    yes: Decisions = {ask["approval_id"]: "approve"}
    if who == "alice":
        assert [one["approval_id"] for one in await requests_in(state, "approval")] == [ask["approval_id"]]
        assert await settle(state, yes) == []
        done = await Runner.run(agent, state, run_config=QUIET)
        assert "Sent." in str(done.final_output) and (play.sent("alice"), play.sent("bob")) == (1, 0)
        return
    if who:
        assert [one["account"] for one in await requests_in(state)] == ["bob@example.test"]
    else:
        with pytest.raises(UserRequired):
            await requests_in(state)
    with pytest.raises((PolicyDenied, UserRequired)):
        await settle(state, yes)
    for item in state.get_interruptions():
        state.approve(item)
    await Runner.run(agent, state, run_config=QUIET)
    approval = await play.deputy.get_approval(ask["approval_id"], by="alice")
    assert approval and approval.status == "pending", "nobody but alice has decided about her mail"
    assert (play.sent("alice"), play.sent("bob")) == (0, 0)


# ------------------------------------------------------------- traces, secrets


class Kept(TracingProcessor):
    """Records what an exporter would receive."""

    def __init__(self) -> None:
        self.spans: list[Any] = []

    def on_trace_start(self, trace: Any) -> None:
        self.spans.append(trace.export())

    on_trace_end = on_trace_start

    def on_span_start(self, span: Any) -> None:
        self.spans.append(span.export())

    on_span_end = on_span_start

    def shutdown(self) -> None:
        """See `TracingProcessor`."""

    force_flush = shutdown


async def test_states_traces_and_logs_hold_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    kept = Kept()
    set_trace_processors([])
    add_trace_processor(kept)
    try:
        async with Play.of("openai_agents") as play:
            tap = play.wire.inner = Wiretap(play.wire.inner)
            told: list[str] = []
            agent = agent_of(play.deputy, SEND, SEARCH, told=told)
            first = await Runner.run(agent, "go on", context=CONTEXT, run_config=RunConfig())
            turn = await turn_of(first)
            await play.visit(turn)
            left = [turn]
            for decision in ("", "approve"):
                state = await loaded(agent, left[-1].saved, "alice")
                said: Any = dict.fromkeys(left[-1].ids("approval"), decision) if decision else None
                await settle(state, said)
                left.append(await turn_of(await Runner.run(agent, state, run_config=RunConfig())))
    finally:
        set_trace_processors([])
    assert "Sent." in left[-1].text and {"access_token", "code", "code_verifier", "state"} <= tap.kinds()
    spans = json.dumps(kept.spans, default=repr)
    assert "gmail_send_email" in spans and "Yes, gladly." in spans, "what a span holds of any tool"
    assert "/connect/" not in spans, "no link to a consent"
    assert hits(tap.secrets, {"left": dump([left, told]), "spans": spans, "log": caplog.text}) == []
