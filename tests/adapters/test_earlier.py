"""A run that paused in the act node of an earlier release: its graph inside had messages, and no outputs."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, Send, interrupt

from deputize.core import PolicyDenied
from deputize.sandbox import Sandbox
from tests.support.graphs import SEARCH, SEND, Context, approvals_of, config, plain, tool_messages, wired
from tests.support.house import build, connect

ALICE, BOB = Context("alice"), Context("bob")
ASK: dict[str, Any] = {"name": "ask", "args": {"what": "sure"}, "id": "ask", "type": "tool_call"}


@tool
def ask(what: str) -> str:
    """Ask the user."""
    return str(interrupt(what))


class Earlier(MessagesState):
    deputize: dict[str, Any]


def earlier(saver: Any, pausing: str) -> Any:
    """As that release was: one call is answered, and the other pauses."""

    def gate(state: Any) -> Command[Any]:
        whose = {"user": "alice", "tenant": ""}
        task = {"call": SEARCH, "then": [], "message": "m", **whose, "back": False}
        note = {**whose, "pause": {"type": "deputize.approval", "v": 1, "approvals": []}}
        waiting = Send("own_tools", [ASK]) if pausing == "own_tools" else "wait_approval"
        return Command(update={"deputize": note}, goto=[Send("act", task), waiting])

    def act(task: Any) -> dict[str, Any]:
        return {"messages": [ToolMessage("found", name=SEARCH["name"], tool_call_id=task["call"]["id"])]}

    def wait_approval(state: Any) -> Any:
        return interrupt(state["deputize"]["pause"])

    builder: Any = StateGraph(Earlier)
    for name, body in {"gate": gate, "act": act, "own_tools": ToolNode([ask]), "wait_approval": wait_approval}.items():
        builder.add_node(name, body)
    builder.add_edge(START, "gate")
    builder.add_edge("act", END)
    return wired(builder.compile(), saver)


@pytest.mark.parametrize("pausing", ["own_tools", "wait_approval"])
async def test_it_is_gone_on_with_and_every_call_is_answered(pausing: str) -> None:
    sandbox, saver = Sandbox(), InMemorySaver()
    async with await build(sandbox) as deputy:
        await connect(deputy, sandbox, "readonly", "send")
        calls = [SEARCH, ASK if pausing == "own_tools" else SEND]
        wish = AIMessage("", id="m", tool_calls=calls)
        before = {"messages": [HumanMessage("go on"), wish]}
        await earlier(saver, pausing).ainvoke(before, config(), context=ALICE)
        graph = plain(deputy, [ask], saver=saver)
        if pausing == "wait_approval":
            with pytest.raises(PolicyDenied):
                await graph.ainvoke(Command(resume={"wake": True}), config(), context=BOB)
            await graph.ainvoke(Command(resume={"wake": True}), config(), context=ALICE)
            [asked] = await approvals_of(graph, config())
            yes: Command[Any] = Command(resume={"decisions": {asked["approval_id"]: "approve"}})
            answers = tool_messages(await graph.ainvoke(yes, config(), context=ALICE))
            assert len(sandbox.sent("alice@example.test")) == 1
        else:
            answers = tool_messages(await graph.ainvoke(Command(resume="yes"), config(), context=ALICE))
        assert list(answers) == [call["id"] for call in calls]
        assert {answer.status for answer in answers.values()} == {"success"}
