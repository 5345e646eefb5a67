"""Mandates and pauses: no resume creates a mandate, an existing one avoids the pause, and a refusal may come too
late."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from langgraph.types import Command

from deputize.adapters.langgraph import resume_when_done
from deputize.core import Call, Deputy, InvalidInput
from deputize.sandbox import Sandbox
from tests.support.graphs import SEND, Context, Graph, approvals_of, asking, config, plain, tool_messages

pytestmark = pytest.mark.connected("send")

ALICE, BOB = Context("alice"), Context("bob")
MORE: dict[str, Any] = {"max_acts": 10, "expires_at": 4e9, "targets": ["@example.test"]}


async def paused(deputy: Deputy, *calls: dict[str, Any]) -> tuple[Graph, list[str]]:
    """Return a graph that waits for approval of these calls, with their ids."""
    graph = plain(deputy)
    await graph.ainvoke(asking(*calls), config(), context=ALICE)
    return graph, [ask["approval_id"] for ask in await approvals_of(graph, config())]


def sent(sandbox: Sandbox) -> int:
    return len(sandbox.sent("alice@example.test"))


@pytest.mark.parametrize("who", [ALICE, BOB])
@pytest.mark.parametrize("beside", [True, False])
async def test_resume_value_cannot_create_a_mandate(deputy: Deputy, who: Context, beside: bool) -> None:
    graph, [approval] = await paused(deputy, SEND)
    decision = "approve" if beside else {"decision": "approve", "mandate": MORE}
    given = {"decisions": {approval: decision}, "mandate": MORE}
    try:
        await graph.ainvoke(Command(resume=given), config(), context=who)
    except Exception as refused:
        assert who is BOB or isinstance(refused, InvalidInput)
    assert await deputy.mandates("alice") == await deputy.mandates("bob") == []


async def test_covered_act_is_done_without_a_pause_and_others_ask(deputy: Deputy, sandbox: Sandbox) -> None:
    until = time.time() + 60
    await deputy.create_mandate(
        "alice", tools=["gmail_send_email"], targets=["@example.test"], max_acts=1, expires_at=until
    )
    more = SEND | {"id": "more", "args": SEND["args"] | {"body": "And another."}}
    graph, asked = await paused(deputy, SEND, more)
    assert (len(asked), sent(sandbox)) == (1, 1)
    state = await graph.ainvoke(Command(resume={"decisions": {asked[0]: "reject"}}), config(), context=ALICE)
    answers = tool_messages(state)
    assert (answers["send"].status, answers["more"].status) == ("success", "error")
    assert [mandate.used for mandate in await deputy.mandates("alice")] == [1]


@pytest.mark.parametrize(("decision", "mails"), [("approve", 1), ("reject", 0)])
async def test_graph_continues_after_a_decision_on_the_page(
    deputy: Deputy, sandbox: Sandbox, decision: Any, mails: int
) -> None:
    graph, [approval] = await paused(deputy, SEND)
    waiting = asyncio.create_task(resume_when_done(deputy, graph, config(), context=ALICE, user="alice"))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await deputy.decide(approval, decision, by="alice")
    answers = tool_messages(await asyncio.wait_for(waiting, 5))
    assert answers["send"].status == ("success" if mails else "error") and sent(sandbox) == mails


async def test_graph_pauses_again_when_nobody_decides_in_time(deputy: Deputy) -> None:
    graph, [approval] = await paused(deputy, SEND)
    await resume_when_done(deputy, graph, config(), context=ALICE, timeout=0.0, user="alice")
    assert [ask["approval_id"] for ask in await approvals_of(graph, config())] == [approval]


async def test_rejection_of_an_act_sent_by_another_run_is_reported_to_the_model(
    deputy: Deputy, sandbox: Sandbox
) -> None:
    graph, [approval] = await paused(deputy, SEND)
    message = (await graph.aget_state(config())).values["messages"][-1]
    await deputy.decide(approval, "approve", by="alice")  # on the page
    await deputy.act(SEND["name"], SEND["args"], user="alice", call=Call("1", message.id, SEND["id"]))
    no: Command[Any] = Command(resume={"decisions": {approval: "reject"}})
    late = tool_messages(await graph.ainvoke(no, config(), context=ALICE))
    assert "The user rejected this, but too late: it was already sent at" in str(late["send"].content)
    assert sent(sandbox) == 1
