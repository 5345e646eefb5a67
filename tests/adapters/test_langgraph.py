"""The act node: pauses, resumes, and effects that must happen once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.types import Command

from deputize.adapters.langgraph import resume_when_done
from deputize.core import Deputy, PolicyDenied, User
from deputize.core.background_loop import portal
from deputize.sandbox import Sandbox
from tests.support.graphs import (
    SEARCH,
    SEND,
    Context,
    approvals_of,
    asking,
    chatbot,
    config,
    consents_of,
    grant_all,
    plain,
    sqlite_saver,
    tool_messages,
)
from tests.support.sandbox_deputy import build, connect, consent, new_vault

ALICE, BOB = Context("alice"), Context("bob")
WAKE: Command[Any] = Command(resume={"wake": True})


def approve(*ids: str, decision: str = "approve") -> Command[Any]:
    return Command(resume={"decisions": dict.fromkeys(ids, decision)})


def sent(sandbox: Sandbox) -> int:
    return len(sandbox.sent("alice@example.test"))


async def test_one_pause_lists_all_missing_scopes_before_anything_runs(deputy: Deputy, sandbox: Sandbox) -> None:
    ran: list[str] = []

    @tool
    def clock(zone: str) -> str:
        """Tell the time."""
        ran.append(zone)
        return "noon"

    graph = plain(deputy, [clock])
    calls = (SEARCH, SEND, {"name": "clock", "args": {"zone": "UTC"}, "id": "clock"})
    out = await graph.ainvoke(asking(*calls), config(), context=ALICE, version="v2")
    [pause] = out.interrupts
    [ask] = pause.value["consents"]
    assert (pause.value["type"], pause.value["v"]) == ("deputize.consent", 1)
    assert [s.rpartition("/")[2] for s in ask["scopes"]] == ["gmail.readonly", "gmail.send"]
    assert ran == [] and sandbox.count("gmail.googleapis.com") == 0

    await grant_all(deputy, sandbox, graph, config())
    out = await graph.ainvoke(WAKE, config(), context=ALICE, version="v2")
    [ask] = await approvals_of(graph, config())
    assert ask["preview"]["to"] == "bob@example.test" and ran == [] and sent(sandbox) == 0

    out = await graph.ainvoke(approve(ask["approval_id"]), config(), context=ALICE, version="v2")
    answers = tool_messages(out.value)
    assert list(answers) == ["search", "send", "clock"]
    assert "Bob Brown" in str(answers["search"].content) and answers["clock"].content == "noon"
    assert {m.status for m in answers.values()} == {"success"}
    assert ran == ["UTC"] and sent(sandbox) == 1


async def test_send_beside_a_missing_consent_is_sent_once(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "send")
    graph = plain(deputy)
    await graph.ainvoke(asking(SEND, SEARCH), config(), context=ALICE)
    assert sent(sandbox) == 0
    await grant_all(deputy, sandbox, graph, config())
    await graph.ainvoke(WAKE, config(), context=ALICE)
    [ask] = await approvals_of(graph, config())
    for _ in range(3):
        await graph.ainvoke(approve(ask["approval_id"]), config(), context=ALICE)
    assert sent(sandbox) == 1


async def test_early_resume_pauses_again_for_the_same_consent(deputy: Deputy, sandbox: Sandbox) -> None:
    graph = plain(deputy)
    first = await graph.ainvoke(asking(SEARCH), config(), context=ALICE, version="v2")
    for answer in ({"wake": True}, {"status": "granted", "consents": []}, False, "yes", ["x"]):
        [open_] = (await graph.aget_state(config())).interrupts
        await graph.ainvoke(Command(resume={open_.id: answer}), config(), context=ALICE)
        [still] = (await graph.aget_state(config())).interrupts
        assert still.value == first.interrupts[0].value and sandbox.count("gmail.googleapis.com") == 0


async def test_another_user_cannot_resume_and_the_pause_stays(deputy: Deputy, sandbox: Sandbox) -> None:
    graph = plain(deputy)
    await connect(deputy, sandbox, "readonly", "send", user="bob", as_="bob@example.test")
    await graph.ainvoke(asking(SEND), config(), context=ALICE)
    before = (await graph.aget_state(config())).interrupts
    with pytest.raises(PolicyDenied):
        await graph.ainvoke(WAKE, config(), context=BOB)
    assert (await graph.aget_state(config())).interrupts[0].value == before[0].value
    assert sandbox.sent("bob@example.test") == []


async def test_approval_by_another_user_is_ignored(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "send")
    graph = plain(deputy)
    await graph.ainvoke(asking(SEND), config(), context=ALICE)
    [ask] = await approvals_of(graph, config())
    with pytest.raises(PolicyDenied):
        await graph.ainvoke(approve(ask["approval_id"]), config(), context=BOB)
    [waiting] = await deputy.approvals.list_pending(User("alice"))
    assert waiting.id == ask["approval_id"] and waiting.status == "pending"
    await graph.ainvoke(WAKE, config(), context=ALICE)
    assert sent(sandbox) == 0


async def test_two_concurrent_resumes_send_once(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "send")
    graph = plain(deputy)
    await graph.ainvoke(asking(SEND), config(), context=ALICE)
    [ask] = await approvals_of(graph, config())
    resumes = [graph.ainvoke(approve(ask["approval_id"]), config(), context=ALICE) for _ in range(5)]
    states = await asyncio.gather(*resumes)
    assert sent(sandbox) == 1
    assert len({str(tool_messages(state)["send"].content) for state in states}) == 1


async def test_denied_consent_is_reported_to_the_model_and_the_rest_runs(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "readonly")
    graph = plain(deputy)
    await graph.ainvoke(asking(SEARCH, SEND), config(), context=ALICE)
    await grant_all(deputy, sandbox, graph, config(), deny=True)
    answers = tool_messages(await graph.ainvoke(WAKE, config(), context=ALICE))
    assert answers["send"].status == "error" and "declined" in str(answers["send"].content)
    assert answers["search"].status == "success" and sent(sandbox) == 0


async def test_unticked_scope_is_reported_once_for_the_same_message(deputy: Deputy, sandbox: Sandbox) -> None:
    graph = plain(deputy)
    await graph.ainvoke(asking(SEARCH, SEND), config(), context=ALICE)
    await grant_all(deputy, sandbox, graph, config(), untick=["gmail.send"])
    answers = tool_messages(await graph.ainvoke(WAKE, config(), context=ALICE))
    assert answers["search"].status == "success"
    assert answers["send"].status == "error" and "send email as you" in str(answers["send"].content)
    await graph.ainvoke(asking(SEND), config(), context=ALICE)  # a new message of the user may ask again
    assert len(await consents_of(deputy, graph, config())) == 1


async def test_rejected_approval_is_reported_to_the_model(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "send", "readonly")
    graph = plain(deputy)
    await graph.ainvoke(asking(SEND, SEARCH), config(), context=ALICE)
    [ask] = await approvals_of(graph, config())
    state = await graph.ainvoke(approve(ask["approval_id"], decision="reject"), config(), context=ALICE)
    answers = tool_messages(state)
    assert answers["send"].status == "error" and "declined" in str(answers["send"].content)
    assert answers["search"].status == "success" and sent(sandbox) == 0


async def test_approving_one_of_two_mails_sends_one(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "send")
    graph = plain(deputy)
    other: dict[str, Any] = {**SEND, "id": "other", "args": {**SEND["args"], "body": "No."}}
    await graph.ainvoke(asking(SEND, other), config(), context=ALICE)
    first, second = await approvals_of(graph, config())
    await graph.ainvoke(approve(first["approval_id"]), config(), context=ALICE)
    assert [a["approval_id"] for a in await approvals_of(graph, config())] == [second["approval_id"]]
    assert sent(sandbox) == 0  # all decisions first, then the acts
    state = await graph.ainvoke(approve(second["approval_id"], decision="reject"), config(), context=ALICE)
    answers = tool_messages(state)
    assert (answers["send"].status, answers["other"].status) == ("success", "error")
    [mail] = sandbox.sent("alice@example.test")
    assert b"Yes, gladly." in mail.raw


async def test_call_id_repeated_in_a_later_message_is_another_act(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "send")
    graph = plain(deputy)
    for _ in range(2):
        await graph.ainvoke(asking(SEND), config(), context=ALICE)
        [ask] = await approvals_of(graph, config())
        await graph.ainvoke(approve(ask["approval_id"]), config(), context=ALICE)
    assert sent(sandbox) == 2


async def test_every_act_without_a_user_is_refused(deputy: Deputy, sandbox: Sandbox) -> None:
    graph = plain(deputy)
    answers = tool_messages(await graph.ainvoke(asking(SEARCH, SEND), config()))
    assert {m.status for m in answers.values()} == {"error"}
    assert sandbox.requests == []


async def test_unknown_tools_and_bad_arguments_are_reported_to_the_model(deputy: Deputy) -> None:
    graph = plain(deputy)
    unknown = {"name": "gmail_steal", "args": {}, "id": "unknown"}
    wrong = {"name": "gmail_search_emails", "args": {"limit": "many", "user": "bob"}, "id": "wrong"}
    answers = tool_messages(await graph.ainvoke(asking(unknown, wrong), config(), context=ALICE))
    assert {m.status for m in answers.values()} == {"error"}
    assert "limit" in str(answers["wrong"].content) and "user" in str(answers["wrong"].content)


async def test_graph_resumes_when_the_consent_ends(deputy: Deputy, sandbox: Sandbox) -> None:
    def respond(messages: list[AnyMessage]) -> AIMessage:
        if isinstance(messages[-1], ToolMessage):
            return AIMessage(f"found: {messages[-1].content}")
        return AIMessage("", tool_calls=[SEARCH])

    graph = chatbot(deputy, respond)
    await graph.ainvoke({"messages": [HumanMessage("anything from Bob?")]}, config(), context=ALICE)
    waiting = asyncio.create_task(resume_when_done(deputy, graph, config(), context=ALICE))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await grant_all(deputy, sandbox, graph, config())
    state = await asyncio.wait_for(waiting, 5)
    assert "Bob Brown" in state["messages"][-1].content


async def test_graph_resumes_when_another_link_granted_its_scopes(deputy: Deputy, sandbox: Sandbox) -> None:
    graph = plain(deputy)
    await graph.ainvoke(asking(SEARCH), config(), context=ALICE)
    waiting = asyncio.create_task(resume_when_done(deputy, graph, config(), context=ALICE))
    await connect(deputy, sandbox, "readonly", "labels")
    state = await asyncio.wait_for(waiting, 5)
    assert tool_messages(state)["search"].status == "success"


async def test_server_that_queues_runs_gets_the_resume_value(deputy: Deputy, sandbox: Sandbox) -> None:
    graph = plain(deputy)
    await graph.ainvoke(asking(SEARCH), config(), context=ALICE)
    queue: asyncio.Queue[Command[Any]] = asyncio.Queue()
    waiting = asyncio.create_task(resume_when_done(deputy, graph, config(), resume=queue.put))
    await grant_all(deputy, sandbox, graph, config())
    await asyncio.wait_for(waiting, 5)
    state = await graph.ainvoke(queue.get_nowait(), config(), context=ALICE)
    assert tool_messages(state)["search"].status == "success"


def test_synchronous_graph_asks_and_sends_once(tmp_path: Path) -> None:
    sandbox = Sandbox()
    deputy = _blocking(build(sandbox))
    with sqlite_saver(tmp_path / "checkpoints.sqlite") as saver:
        graph = plain(deputy, saver=saver)
        graph.invoke(asking(SEARCH, SEND), config(), context=ALICE)
        for one in graph.get_state(config()).interrupts[0].value["consents"]:
            status = deputy.run(deputy.consents.status(one["consent_id"]))
            assert status is not None
            deputy.run(consent(deputy, sandbox, status))
        graph.invoke(WAKE, config(), context=ALICE)
        [ask] = graph.get_state(config()).interrupts[0].value["approvals"]
        state = graph.invoke(approve(ask["approval_id"]), config(), context=ALICE)
        assert {m.status for m in tool_messages(state).values()} == {"success"}
        assert sent(sandbox) == 1
    deputy.run(deputy.close())


def _blocking(making: Any) -> Deputy:
    made: Deputy = portal().run(making)
    return made


async def test_pause_survives_the_process_that_started_it(tmp_path: Path) -> None:
    """Vault, checkpoints and sandbox are read from disk by new objects, as in another process."""
    key = bytes(range(3, 250, 8))[:31] + b"z"
    graph_state = asking(SEARCH, SEND)
    links = []
    for step in ("pause", "again"):
        sandbox = Sandbox(state=tmp_path / "sandbox.json")
        deputy = await build(sandbox, vault=await new_vault(tmp_path / "vault.sqlite", key))
        with sqlite_saver(tmp_path / "checkpoints.sqlite") as saver:
            graph = plain(deputy, saver=saver)
            if step == "pause":
                await asyncio.to_thread(graph.invoke, graph_state, config(), context=ALICE)
            state = await asyncio.to_thread(graph.get_state, config())
            links.append(state.interrupts[0].value["consents"][0]["link"])
        await deputy.close()
    assert links[0] == links[1]


async def test_inner_graph_schemas_can_be_rendered(deputy: Deputy) -> None:
    """LangGraph Server and Studio request them; on Python 3.11 there were none."""
    [(name, inner)] = plain(deputy).get_subgraphs()
    assert name == "tools"
    assert "messages" in inner.get_input_jsonschema()["properties"]
    assert "outputs" in inner.get_output_jsonschema()["properties"]
