"""Every framework pauses until another person has approved; what the requester resumes with decides nothing."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.types import Command

from deputize.adapters.langgraph.inbox_format import as_hitl
from deputize.adapters.llamaindex import ApprovalRequest, ApprovalResponse
from deputize.core import Act, Decision, Deputy, User, Verdict
from deputize.sandbox import Sandbox
from tests.adapters.test_langgraph import ALICE, WAKE, approve, sent
from tests.support.deferred_conversations import FRAMEWORKS, Play
from tests.support.graphs import SEND, approvals_of, asking, config, plain, tool_messages
from tests.support.llamaindex_agents import agent, asked, ended
from tests.support.sandbox_deputy import connect


def finance(act: Act) -> Verdict | Decision:
    return Decision(Verdict.ASK, "big", approvers="finance") if act.tool.gravest.words() == "sends" else Verdict.ALLOW


def everybody(user: User) -> list[str]:
    return ["finance"]


@pytest.mark.parametrize("decision", ["approve", "edit"])
async def test_langgraph_resume_by_the_requester_decides_nothing(
    deputy: Deputy, sandbox: Sandbox, decision: str
) -> None:
    deputy.policy, deputy.roles.function = finance, everybody
    await connect(deputy, sandbox, "send")
    graph = plain(deputy)
    await graph.ainvoke(asking(SEND), config(), context=ALICE)
    [ask] = await approvals_of(graph, config())
    assert ask["approvers"] == "finance"
    [request] = as_hitl({"type": "deputize.approval", "approvals": [ask]})["action_requests"]
    assert "Somebody with the role finance, not you." in request["description"]
    edit = {"decisions": {ask["approval_id"]: {"decision": "edit", "arguments": SEND["args"]}}}
    values: list[Any] = [approve(ask["approval_id"]) if decision == "approve" else Command(resume=edit)]
    for value in [*values, *values]:
        await graph.ainvoke(value, config(), context=ALICE)
        [again] = await approvals_of(graph, config())
        assert again["approval_id"] == ask["approval_id"] and sent(sandbox) == 0
    await deputy.decide(ask["approval_id"], "approve", by="bob")
    state = await graph.ainvoke(WAKE, config(), context=ALICE)
    assert tool_messages(state)["send"].status == "success" and sent(sandbox) == 1


@pytest.mark.parametrize("name", FRAMEWORKS)
async def test_deferred_run_continues_after_the_decision_of_another_person(name: str) -> None:
    async with Play.of(name, finance) as play:
        play.deputy.roles.function = everybody
        await play.connect("alice")
        turn = await play.runs.start(play.deputy, SEND)
        assert turn.kinds == {"approval"}
        [asked] = turn.ids("approval")
        [turn] = await play.resume(turn, "approve")
        assert turn.ids("approval") == [asked] and play.sent() == 0, "the requester's answer is ignored"
        await play.deputy.decide(asked, "approve", by="bob")
        [turn] = await play.resume(turn)
        assert "Sent." in turn.text and play.sent() == 1


@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")
@pytest.mark.filterwarnings("ignore:is_running called from within a step:DeprecationWarning")
async def test_llamaindex_event_of_the_requester_decides_nothing(deputy: Deputy, sandbox: Sandbox) -> None:
    deputy.policy, deputy.roles.function = finance, everybody
    await connect(deputy, sandbox, "send")
    for decides in (False, True):
        handler = agent("FunctionAgent", deputy, SEND).run("go on")
        [request] = await asked(handler)
        assert isinstance(request, ApprovalRequest) and request.approvers == "finance"
        for who in ("bob", "alice") if not decides else ():
            handler.ctx.send_event(ApprovalResponse(approval_id=request.approval_id, by=who, decision="approve"))
        if decides:
            await deputy.decide(request.approval_id, "approve", by="bob")
            handler.ctx.send_event(ApprovalResponse(approval_id=request.approval_id, by="alice"))
        said = await ended(handler)
        assert ("Sent." if decides else "waits for somebody with the role finance") in said
        assert sent(sandbox) == decides
