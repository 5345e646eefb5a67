"""Graphs whose pauses are shown and answered by inboxes: decisions are matched to acts by position only."""

from __future__ import annotations

from typing import Any

import pytest
from langchain.agents import create_agent
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from deputize.adapters.langgraph import requests_in
from deputize.adapters.middleware import DeputyMiddleware
from deputize.core import Deputy, PolicyDenied, SettingsError
from deputize.sandbox import Sandbox
from tests.support.graphs import SEND, Context, Graph, asking, config, plain, tool_messages
from tests.support.sandbox_deputy import build, connect
from tests.support.scripted_agents import calling

ALICE, MALLORY = Context("alice"), Context("mallory")
YES, NO = {"type": "approve"}, {"type": "reject", "message": "not him"}
TO_CAROL = {**SEND, "id": "second", "args": {**SEND["args"], "to": ["carol@example.test"]}}


both = pytest.mark.parametrize("way", ["act_node", "create_agent"])


async def begun(way: str, deputy: Deputy, *calls: dict[str, Any]) -> Graph:
    """Return a graph that has paused for these calls."""
    if way == "act_node":
        graph = plain(deputy, interrupt_mode="hitl")
    else:
        ours = DeputyMiddleware(deputy, "gmail", interrupt_mode="hitl")
        graph = create_agent(calling(*calls), middleware=[ours], context_schema=Context, checkpointer=InMemorySaver())
    given: Any = asking(*calls) if way == "act_node" else {"messages": "go on"}
    await graph.ainvoke(given, config(), context=ALICE)
    return graph


async def go(graph: Graph, form: str, value: Any, who: Context = ALICE) -> Any:
    """Resume with a bare value or a map of interrupts, or run again without a value."""
    [pause] = (await graph.aget_state(config())).interrupts
    command: Any = Command(resume=value if form == "bare" else {pause.id: value}) if form != "nothing" else None
    return await graph.ainvoke(command, config(), context=who)


async def waiting(graph: Graph) -> list[str]:
    return [pause.value["type"].rpartition(".")[2] for pause in (await graph.aget_state(config())).interrupts]


def sent_to(sandbox: Sandbox) -> list[str]:
    return [mail.header("To") for mail in sandbox.sent("alice@example.test")]


@both
async def test_unknown_interrupt_mode_is_refused(sandbox: Sandbox, way: str) -> None:
    async with await build(sandbox) as deputy:
        with pytest.raises(SettingsError, match="interrupt_mode='HITL'"):
            if way == "act_node":
                plain(deputy, interrupt_mode="HITL")
            else:
                DeputyMiddleware(deputy, "gmail", interrupt_mode="HITL")  # type: ignore[arg-type]


@both
@pytest.mark.parametrize(("said", "to"), [([YES, NO], "bob"), ([NO, YES], "carol")])
async def test_decision_counts_for_the_act_at_its_position(
    sandbox: Sandbox, way: str, said: list[Any], to: str
) -> None:
    async with await build(sandbox) as deputy:
        await connect(deputy, sandbox, "send")
        graph = await begun(way, deputy, SEND, TO_CAROL)
        [pause] = (await graph.aget_state(config())).interrupts
        assert [one["args"]["to"] for one in pause.value["action_requests"]] == [
            "`bob@example.test`",
            "`carol@example.test`",
        ]
        state = await go(graph, "bare", {"decisions": said})
        assert sent_to(sandbox) == [f"{to}@example.test"]
        no = tool_messages(state)["second" if to == "bob" else "send"]
        assert no.status == "error" and "not him" in str(no.content)


@both
async def test_decision_on_the_page_does_not_shift_positions(sandbox: Sandbox, way: str) -> None:
    async with await build(sandbox) as deputy:
        await connect(deputy, sandbox, "send")
        graph = await begun(way, deputy, SEND, TO_CAROL)
        first, _ = requests_in((await graph.aget_state(config())).interrupts, "approval")
        await deputy.decide(first["approval_id"], "reject", by="alice")
        await go(graph, "bare", {"decisions": [YES, NO]})
        assert sent_to(sandbox) == []


@both
async def test_agent_inbox_shows_the_next_act_after_the_first_answer(sandbox: Sandbox, way: str) -> None:
    async with await build(sandbox) as deputy:
        await connect(deputy, sandbox, "send")
        graph = await begun(way, deputy, SEND, TO_CAROL)
        await go(graph, "bare", [{"type": "ignore", "args": None}])
        [pause] = (await graph.aget_state(config())).interrupts
        assert pause.value["action_request"]["args"]["to"] == "`carol@example.test`"
        await go(graph, "bare", [{"type": "accept", "args": None}])
        assert sent_to(sandbox) == ["carol@example.test"]


@both
async def test_wrong_answer_decides_nothing(sandbox: Sandbox, way: str, caplog: pytest.LogCaptureFixture) -> None:
    async with await build(sandbox) as deputy:
        await connect(deputy, sandbox, "send")
        graph = await begun(way, deputy, SEND)
        for odd in ({"decisions": [YES, YES]}, "approve", {"decisions": [{"type": "edit"}]}):
            caplog.clear()
            await go(graph, "bare", odd)
            assert '"approve"' in caplog.text and await waiting(graph) == ["approval"] and sent_to(sandbox) == []
        await go(graph, "bare", {"decisions": [YES]})
        assert sent_to(sandbox) == ["bob@example.test"]


@both
@pytest.mark.parametrize("value", [{"wake": True}, {"decisions": [NO]}])
@pytest.mark.parametrize("second", ["bare", "map", "nothing"])
@pytest.mark.parametrize("first", ["bare", "map"])
@pytest.mark.parametrize("shown", ["consent", "approval"])
async def test_approval_by_another_user_never_counts_for_the_owner(
    sandbox: Sandbox, way: str, shown: str, first: str, second: str, value: Any
) -> None:
    async with await build(sandbox) as deputy:
        if shown == "approval":
            await connect(deputy, sandbox, "send")
        graph = await begun(way, deputy, SEND)
        assert await waiting(graph) == [shown]
        with pytest.raises(PolicyDenied):
            await go(graph, first, {"decisions": [YES]}, MALLORY)
        await connect(deputy, sandbox, "send")
        for _ in range(3):
            if await waiting(graph):
                await go(graph, second, {"wake": True} if await waiting(graph) == ["consent"] else value)
        assert sent_to(sandbox) == []


@both
@pytest.mark.parametrize("then", ["map", "nothing"])
async def test_approval_of_a_consent_does_not_approve_the_following_act(sandbox: Sandbox, way: str, then: str) -> None:
    async with await build(sandbox) as deputy:
        graph = await begun(way, deputy, SEND)
        await connect(deputy, sandbox, "send")
        await go(graph, "bare", {"decisions": [YES]})
        for _ in range(2):
            assert await waiting(graph) == ["approval"] and sent_to(sandbox) == []
            await go(graph, then, {"wake": True})
        await go(graph, "bare", {"decisions": [YES]})
        assert sent_to(sandbox) == ["bob@example.test"]
