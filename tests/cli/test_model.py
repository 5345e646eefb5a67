"""The demo's scripted model: its answers depend on the messages only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from deputize.cli.demo.model import ScriptedChatModel, reply

DINNER = {
    "id": "m1",
    "from": "Bob Brown <bob@example.test>",
    "to": ["Alice Adams <alice@example.test>"],
    "date": "2026-11-24",
    "subject": "Dinner on Friday?",
    "body": "Are you in?",
}
ROWS = {"items": [{"id": "m1", "subject": "Dinner on Friday?"}, {"id": "m2", "subject": "Design review"}]}


def answered(call: AIMessage, result: Any, *, status: str = "success") -> ToolMessage:
    """Return the tool result for a message's only call."""
    text = result if isinstance(result, str) else json.dumps(result)
    one = call.tool_calls[0]
    return ToolMessage(text, name=one["name"], tool_call_id=str(one["id"]), status=status)


def played(*said: str, results: dict[str, Any]) -> list[BaseMessage]:
    """Return a whole conversation: each sentence, the model's calls, these results, and its last words."""
    messages: list[BaseMessage] = []
    for text in said:
        messages.append(HumanMessage(text))
        while (step := reply(messages)).tool_calls:
            messages += [step, answered(step, results[step.tool_calls[0]["name"]])]
        messages.append(step)
    return messages


def calls(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    return [dict(call) for m in messages if isinstance(m, AIMessage) for call in m.tool_calls]


def test_demo_model_searches_reads_and_answers_a_question() -> None:
    results = {"gmail_search_emails": ROWS, "gmail_get_email": DINNER}
    messages = played("anything from Bob this week?", results=results)
    search, read = calls(messages)
    assert (search["name"], search["args"]) == ("gmail_search_emails", {"from": ["Bob"], "after": "-7d"})
    assert (read["name"], read["args"]) == ("gmail_get_email", {"message_id": "m1"})
    assert "Bob Brown wrote" in str(messages[-1].text)
    assert "Are you in?" in str(messages[-1].text)
    assert "“Design review”" in str(messages[-1].text)


@pytest.mark.parametrize(
    ("said", "arguments"),
    [
        ("Any mail from carol@example.test today", {"from": ["carol@example.test"], "after": "-1d"}),
        ("what is new from Bob.", {"from": ["Bob"]}),
        ("Is there news from bob this month?", {"from": ["bob"], "after": "-31d"}),
    ],
)
def test_demo_model_reads_person_and_time_from_the_question(said: str, arguments: dict[str, Any]) -> None:
    assert reply([HumanMessage(said)]).tool_calls[0]["args"] == arguments


def test_demo_model_reports_an_empty_search() -> None:
    messages = played("anything from Carol today?", results={"gmail_search_emails": {"items": []}})
    assert str(messages[-1].text) == "No, nothing from Carol today."


def test_demo_model_replies_to_the_mail_read_last() -> None:
    results = {
        "gmail_search_emails": ROWS,
        "gmail_get_email": DINNER,
        "gmail_reply_email": {"to": ["bob@example.test"], "subject": "Re: Dinner on Friday?"},
    }
    messages = played("anything from Bob?", "Answer him yes, see you at seven", results=results)
    sent = calls(messages)[-1]
    assert sent["name"] == "gmail_reply_email"
    assert sent["args"] == {"message_id": "m1", "body": "Hi Bob,\n\nYes, see you at seven.\n\nAlice"}
    assert "Sent: “Re: Dinner on Friday?” to bob@example.test." == str(messages[-1].text)


def test_demo_model_without_a_mail_asks_whom_to_answer() -> None:
    said = reply([HumanMessage("reply no")])
    assert not said.tool_calls and "Answer whom?" in str(said.text)


def test_demo_model_reports_a_failed_tool_without_retry() -> None:
    question = HumanMessage("anything from Bob?")
    step = reply([question])
    refused = answered(step, "The user declined to connect Google. Go on without it.", status="error")
    said = reply([question, step, refused])
    assert not said.tool_calls
    assert str(said.text) == "I go on without that. The user declined to connect Google."


def test_demo_model_does_not_reply_to_a_mail_that_failed() -> None:
    question = HumanMessage("anything from Bob?")
    search = reply([question])
    found = [question, search, answered(search, ROWS)]
    read = reply(found)
    failed = [*found, read, answered(read, "Not there.", status="error")]
    assert "Answer whom?" in str(reply([*failed, reply(failed), HumanMessage("answer yes")]).text)


def test_demo_model_answers_who_am_i_from_the_account() -> None:
    messages = played("Who am I?", results={"gmail_whoami": {"email": "alice@example.test", "name": "Alice Adams"}})
    assert str(messages[-1].text) == "At Google you are Alice Adams <alice@example.test>."


@pytest.mark.parametrize("said", ["hello", "", "please sing"])
def test_demo_model_answers_small_talk_with_its_abilities(said: str) -> None:
    answer = reply([HumanMessage(said)])
    assert not answer.tool_calls and "anything from Bob this week?" in str(answer.text)


def test_demo_model_call_ids_are_unique_in_a_conversation() -> None:
    results = {"gmail_search_emails": ROWS, "gmail_get_email": DINNER, "gmail_reply_email": {"to": [], "subject": ""}}
    same = ["anything from Bob?", "answer yes"] * 3
    ids = [call["id"] for call in calls(played(*same, results=results))]
    assert len(ids) == 9 and len(set(ids)) == len(ids)


def test_demo_model_is_deterministic_and_ignores_instructions() -> None:
    messages = [HumanMessage("anything from Bob?")]
    first, again = reply(messages), reply([SystemMessage("It is Tuesday."), *messages])
    assert (first.text, first.tool_calls) == (again.text, again.tool_calls)


async def test_demo_model_works_in_any_agent_loop() -> None:
    model = ScriptedChatModel().bind_tools([])
    said = await model.ainvoke([HumanMessage("hello")])
    assert said.text == model.invoke([HumanMessage("hello")]).text
