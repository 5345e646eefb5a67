"""The act node replaces ``ToolNode``: with the same tools it gives the same results in every respect."""

from __future__ import annotations

from copy import deepcopy
from typing import Annotated, Any

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode, create_react_agent
from langgraph.types import Command, Send

from deputize.adapters.langgraph import act_node
from deputize.core import Deputy
from deputize.sandbox import Sandbox
from tests.support.features.drop_in import Case, Heard, around, run, seen, streamed, told
from tests.support.features.host_tools import CASES, call, plain
from tests.support.graphs import SEND, Context, approvals_of, config
from tests.support.scripted_agents import agent, calling

pytestmark = pytest.mark.connected("send")


def nodes(case: Case, deputy: Deputy) -> tuple[Any, Any]:
    """Return a ``ToolNode`` with the case's tools, and an act node with them."""
    (theirs, options), (own, same) = case.made(), case.made()
    return ToolNode(theirs, **options), act_node(deputy, "gmail", tools=own, **same)


@pytest.mark.parametrize("mode", ["async", "sync"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_act_node_state_and_callbacks_match_tool_node(case: Case, mode: str, deputy: Deputy) -> None:
    theirs, ours = nodes(case, deputy)
    expected, found = await seen(case, theirs, mode), await seen(case, ours, mode)
    assert found == expected and (expected["heard"] or expected["raised"])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_act_node_streams_match_tool_node(case: Case, deputy: Deputy) -> None:
    theirs, ours = nodes(case, deputy)
    expected, found = await streamed(case, theirs), await streamed(case, ours)
    assert found == expected and expected["events"]


def without_the_mail(case: Case, state: dict[str, Any]) -> dict[str, Any]:
    """Return the state without the call that sends mail."""
    kept = []
    for message in state[case.key]:
        kind, content, ident, more = message
        if more["tool_call_id"] == SEND["id"]:
            continue
        calls = [call for call in more["tool_calls"] or () if call["id"] != SEND["id"]]
        kept.append((kind, content, ident, {**more, "tool_calls": calls if more["tool_calls"] else more["tool_calls"]}))
    return {**state, case.key: kept}


@pytest.mark.parametrize("mode", ["async", "sync"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_mail_beside_another_call_is_sent_once(case: Case, mode: str, deputy: Deputy, sandbox: Sandbox) -> None:
    theirs, ours = nodes(case, deputy)
    expected = await seen(case, theirs, mode)
    graph, heard = case.build(ours), Heard()
    first = await run(graph, case.given(SEND), heard, mode)
    assert not first and not sandbox.sent("alice@example.test"), (first, heard.events)
    [ask] = await approvals_of(graph, config())
    yes: Command[Any] = Command(resume={"decisions": {ask["approval_id"]: "approve"}})
    raised = await run(graph, yes, heard, mode)
    values = told((await graph.aget_state(config())).values)
    assert raised == expected["raised"]
    if raised:  # LangGraph cancels what runs beside; what was cut off is not done again
        assert await run(graph, None, heard, mode) == raised and len(sandbox.sent("alice@example.test")) < 2
    else:
        assert len(sandbox.sent("alice@example.test")) == 1
        assert without_the_mail(case, values) == expected["state"]


MAILING: Any = call("plain", text="hi")


def reacting(node: Any, version: Any) -> Any:
    """LangGraph's prebuilt agent, using this node."""
    model = calling(SEND, MAILING)
    return create_react_agent(model, node, checkpointer=InMemorySaver(), context_schema=Context, version=version)


@pytest.mark.filterwarnings("ignore::langgraph.warnings.LangGraphDeprecatedSinceV10")
@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_create_react_agent_accepts_the_node_and_sends_once(
    version: str, deputy: Deputy, sandbox: Sandbox
) -> None:
    graph, heard = reacting(act_node(deputy, "gmail", tools=[plain]), version), Heard()
    assert await run(graph, {"messages": [("user", "go on")]}, heard, "async") == ""
    for _ in range(2):
        ask, *_ = [*await approvals_of(graph, config()), {"approval_id": ""}]
        yes: Command[Any] = Command(resume={"decisions": {ask["approval_id"]: "approve"}})
        assert await run(graph, yes, heard, "async") == ""
    messages = (await graph.aget_state(config())).values["messages"]
    answers = {m.tool_call_id: m.status for m in messages if m.type == "tool"}
    assert answers == {"send": "success", "plain": "success"} and messages[-1].text == "2 answers"
    assert len(sandbox.sent("alice@example.test")) == 1


def sending(node: Any, form: str) -> Any:
    """A graph that gives its node another input form than the state."""

    def forms(state: Any) -> list[Send]:
        wish = state["messages"][-1]
        typed = [{**one, "type": "tool_call"} for one in wish.tool_calls]
        given: dict[str, list[Any]] = {
            "a list of calls": [typed],
            "a call each": [[one] for one in typed],
            "a call with its context": [
                {"__type": "tool_call_with_context", "tool_call": one, "state": state} for one in typed
            ],
        }
        return [Send("tools", one) for one in given[form]]

    builder = StateGraph(MessagesState, context_schema=Context)
    builder.add_node("tools", node)
    builder.add_conditional_edges(START, forms, ["tools"])
    builder.add_edge("tools", END)
    return builder.compile(checkpointer=InMemorySaver())


@pytest.mark.parametrize("mode", ["async", "sync"])
@pytest.mark.parametrize("form", ["a list of calls", "a call each", "a call with its context"])
async def test_mail_is_sent_once_in_each_input_form(form: str, mode: str, deputy: Deputy, sandbox: Sandbox) -> None:
    graph, heard = sending(act_node(deputy, "gmail", tools=[plain]), form), Heard()
    wish = AIMessage("", id="wish", tool_calls=[SEND, MAILING])
    assert await run(graph, {"messages": [HumanMessage("go on"), wish]}, heard, mode) == ""
    [pause] = (await graph.aget_state(config())).interrupts
    [ask] = pause.value["approvals"]
    yes: Command[Any] = Command(resume={pause.id: {"decisions": {ask["approval_id"]: "approve"}}})
    for _ in range(2):
        assert await run(graph, yes, heard, mode) == ""
    messages = (await graph.aget_state(config())).values["messages"]
    answers = sorted((m.tool_call_id, m.status) for m in messages if m.type == "tool")
    assert answers == [("plain", "success"), ("send", "success")] and len(sandbox.sent("alice@example.test")) == 1


@pytest.mark.parametrize("mode", ["async", "sync"])
async def test_mail_is_sent_once_when_the_state_is_a_message_list(mode: str, deputy: Deputy, sandbox: Sandbox) -> None:
    listed: Any = Annotated[list[AnyMessage], add_messages]
    builder = StateGraph(listed, context_schema=Context)
    builder.add_node("tools", act_node(deputy, "gmail", tools=[plain]))
    builder.add_edge(START, "tools")
    builder.add_edge("tools", END)
    graph, heard = builder.compile(checkpointer=InMemorySaver()), Heard()
    wish = AIMessage("", id="wish", tool_calls=[SEND, MAILING])
    assert await run(graph, [HumanMessage("go on"), wish], heard, mode) == ""
    [ask] = await approvals_of(graph, config())
    for _ in range(2):
        assert await run(graph, Command(resume={"decisions": {ask["approval_id"]: "approve"}}), heard, mode) == ""
    values: Any = (await graph.aget_state(config())).values
    assert [m.tool_call_id for m in values[2:]] == ["send", "plain"] and len(sandbox.sent("alice@example.test")) == 1


@pytest.mark.parametrize("mode", ["tools", "messages", "events"])
async def test_act_is_rendered_like_a_tool(mode: str, deputy: Deputy, sandbox: Sandbox) -> None:
    case = Case("a mail", lambda: ([plain], {}), ({**SEND}, MAILING))
    graph, shown = case.build(act_node(deputy, "gmail", tools=[plain])), list[str]()

    async def watched(given: Any) -> None:
        context = Context("alice")
        if mode == "events":
            async for event in graph.astream_events(given, config(), context=context, version="v2"):
                if event["event"] in ("on_tool_start", "on_tool_end"):
                    shown.append(f"{event['event']} {event['name']}")
            return
        how: Any = {"stream_mode": mode, "subgraphs": True}
        stream: Any = graph.astream(given, config(), context=context, **how)
        async for _, part in stream:
            one: Any = part[0] if mode == "messages" else part
            shown.append(f"{one.type} {one.name}" if mode == "messages" else f"{one['event']} {one['tool_call_id']}")

    await watched(case.given())
    [ask] = await approvals_of(graph, config())
    await watched(Command(resume={"decisions": {ask["approval_id"]: "approve"}}))
    words = {
        "tools": ["tool-finished plain", "tool-finished send", "tool-started plain", "tool-started send"],
        "messages": ["tool gmail_send_email", "tool plain"],
        "events": [f"on_tool_{when} {name}" for when in ("end", "start") for name in ("gmail_send_email", "plain")],
    }
    assert sorted(one for one in shown if "None" not in one) == words[mode]
    assert len(sandbox.sent("alice@example.test")) == 1


async def test_deep_copy_of_the_node_uses_the_same_deputy(deputy: Deputy, sandbox: Sandbox) -> None:
    """As with a ``ToolNode``, when an application copies the parts of its graphs."""
    node = act_node(deputy, "gmail", tools=[plain])
    copied = deepcopy(node)
    copied.name = "another"
    assert node.name == "tools" and copied.host is node.host
    graph, heard = around(copied), Heard()
    wish = AIMessage("", id="wish", tool_calls=[SEND, MAILING])
    assert await run(graph, {"messages": [HumanMessage("go on"), wish]}, heard, "async") == ""
    [ask] = await approvals_of(graph, config())
    yes: Command[Any] = Command(resume={"decisions": {ask["approval_id"]: "approve"}})
    assert await run(graph, yes, heard, "async") == "" and len(sandbox.sent("alice@example.test")) == 1


WRONG = {"name": "gmail_search_emails", "args": {"nope": 1}, "id": "wrong"}
WRONG_SEND = {**SEND, "args": {"to": 7}, "id": "wrong send"}


@pytest.mark.parametrize("mode", ["async", "sync"])
@pytest.mark.parametrize(
    "calls", [[WRONG], [WRONG_SEND], [WRONG, WRONG_SEND], [SEND, WRONG], [WRONG_SEND, SEND]], ids=str
)
@pytest.mark.parametrize("way", ["act_node", "create_agent"])
async def test_call_with_wrong_arguments_is_traced_as_a_run(
    way: str, calls: Any, mode: str, deputy: Deputy, sandbox: Sandbox
) -> None:
    """An application sees the model's mistakes in its traces. No approval is requested, and nothing is sent."""
    graph, heard = around(act_node(deputy, "gmail")) if way == "act_node" else agent(deputy, *calls), Heard()
    wish = [AIMessage("", id="wish", tool_calls=calls)] if way == "act_node" else []
    assert await run(graph, {"messages": [HumanMessage("go on"), *wish]}, heard, mode) == ""
    asked = await approvals_of(graph, config())
    assert len(asked) == (SEND in calls) and not sandbox.sent("alice@example.test")
    if asked:
        yes: Command[Any] = Command(resume={"decisions": {asked[0]["approval_id"]: "approve"}})
        assert await run(graph, yes, heard, mode) == ""
    assert len(sandbox.sent("alice@example.test")) == len(asked)
    assert sorted(event[4] for event in heard.events if event[0] == "start") == sorted(call["id"] for call in calls)
    ended = {event[1][3]["tool_call_id"]: event[1][3]["status"] for event in heard.events if event[0] == "end"}
    assert ended == {call["id"]: "success" if call is SEND else "error" for call in calls}
