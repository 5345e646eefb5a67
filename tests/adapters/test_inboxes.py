"""A pause as inboxes show it, their answers by position, and hostile text in both."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from langchain.agents.middleware.human_in_the_loop import HITLRequest, HITLResponse
from langgraph.graph import MessagesState
from langgraph.types import Command
from markdown_it import MarkdownIt
from pydantic import TypeAdapter

from deputize.adapters.langgraph.human_in_the_loop import answers_to, as_hitl, read_hitl
from deputize.adapters.langgraph.inbox_format import link, literal
from deputize.adapters.langgraph.interrupts import wait_for
from deputize.core import Approval, Consent, InvalidInput
from tests.support.graphs import config, wired

LINK = "https://agent.example/connect/xZ_9-a"
PAGE = "https://agent.example/approve/a"
CONSENT = Consent("c", "google", "main", ("s",), ("read your mail", "send mail"), LINK, 1.0)
MAIL = {"to": "bob@example.test", "subject": "Lunch", "body": "Yes,\ngladly."}
APPROVAL = Approval("a", "gmail_send_email", "sends", MAIL, summary="Send this email", link=PAGE)


def approvals(*asks: Approval) -> dict[str, Any]:
    return {"type": "deputize.approval", "v": 1, "approvals": [ask.payload() for ask in asks]}


def consents(*asks: Consent) -> dict[str, Any]:
    return {"type": "deputize.consent", "v": 1, "consents": [ask.payload() for ask in asks]}


def named(*ids: str) -> dict[str, Any]:
    return approvals(*(Approval(one, "gmail_send_email", "sends") for one in ids))


# --------------------------------------------------------------- what each client needs to know it for its own


@pytest.mark.parametrize("pause", [approvals(APPROVAL, APPROVAL), consents(CONSENT)])
def test_langchain_request_format_is_valid_beside_our_keys(pause: dict[str, Any]) -> None:
    shown = as_hitl(pause)
    found = TypeAdapter(HITLRequest).validate_python(shown)
    assert len(found["action_requests"]) == len(found["review_configs"]) == len(pause.get("approvals", [0]))
    assert shown | pause == shown
    assert {str(one) for config in found["review_configs"] for one in config["allowed_decisions"]} == {
        "approve",
        "reject",
    }


@pytest.mark.parametrize("pause", [approvals(APPROVAL), consents(CONSENT)])
def test_agent_chat_ui_and_agent_inbox_find_their_fields(pause: dict[str, Any]) -> None:
    shown = as_hitl(pause)
    [request], [review] = shown["action_requests"], shown["review_configs"]
    assert isinstance(request["name"], str) and isinstance(request["args"], dict)  # isAgentInboxInterruptSchema
    assert review["action_name"] == request["name"] and isinstance(review["allowed_decisions"], list)
    assert request["arguments"] == request["args"]  # normalizeInterrupt of Agent Inbox reads this name
    assert shown["action_request"] == {"action": request["name"], "args": request["args"]}  # HumanInterrupt
    assert set(shown["config"]) == {"allow_accept", "allow_ignore", "allow_respond", "allow_edit"}
    assert shown["description"] == request["description"]


def test_approval_request_shows_all_arguments_and_the_page() -> None:
    [request] = as_hitl(approvals(APPROVAL))["action_requests"]
    assert request["args"] == {
        "what": "Send this email",
        "all of it": f"<{PAGE}>",
        "to": "`bob@example.test`",
        "subject": "Lunch",
        "body": "```\nYes,\ngladly.\n```",
    }
    assert request["description"] == (
        "**what:** Send this email\n\n"
        f"**all of it:** <{PAGE}>\n\n"
        "**to:** `bob@example.test`\n\n"
        "**subject:** Lunch\n\n"
        "**body:**\n\n```\nYes,\ngladly.\n```"
    )


def test_consent_request_shows_its_link_and_the_meaning_of_approval() -> None:
    [request] = as_hitl(consents(CONSENT))["action_requests"]
    assert request["name"] == "connect_google"
    assert request["args"] == {
        "open": f"<{LINK}>",
        "to allow": "read your mail, send mail",
        "then": "Approve after you have opened the link. Reject if you do not want to connect.",
    }


def test_changed_fields_and_edit_faults_are_shown() -> None:
    pause = approvals(Approval("a", "t", "sends", {"to": "Bob"}, account="Alice", changed_fields=("to", "reply to")))
    pause["approvals"][0]["fault"] = "t: to is no address"
    assert as_hitl(pause)["action_requests"][0]["args"] == {
        "what": "t",
        "account": "Alice",
        "fault": "`t: to is no address`",
        "changed since your last yes": "to, reply to",
        "to": "Bob",
    }


@pytest.mark.parametrize("pause", [{}, {"type": "deputize.approval"}, {"type": "deputize.approval", "approvals": []}])
def test_unknown_pause_payload_is_refused(pause: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="has no deputize requests"):
        as_hitl(pause)


# ---------------------------------------------------------------------------------------- hostile text

_MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable("table").enable("strikethrough")
_SIGNS = [
    *(
        "`",
        "``",
        "```",
        "~~~",
        "\n",
        "\r",
        "\r\n",
        "\t",
        " ",
        "    ",
        "# ",
        "- ",
        "1. ",
        "> ",
        "---",
        "===",
        "|-|",
        "\\",
    ),
    *("[x](https://evil.example)", "![i](https://evil.example/i.png)", "<https://evil.example>", "[x]: //evil.example"),
    *("<button>Approve</button>", "<a href='//evil.example'>", "</code></pre>", "<!--", "-->", "&lt;b&gt;", "&#60;"),
    *("**", "_", "~~", "$$", "www.evil.example", "a@evil.example", "word", "Yes.", "10", "\u2028", "\x0b"),
]
hostile = st.lists(st.sampled_from(_SIGNS), max_size=9).map("".join) | st.text(max_size=40)


def kinds(markdown: str) -> set[str]:
    tokens = [one for token in _MARKDOWN.parse(markdown) for one in (token, *(token.children or ()))]
    return {token.type.removesuffix("_open").removesuffix("_close") for token in tokens}


def words(markdown: str) -> str:
    """Return the words outside of all code."""
    tokens = [one for token in _MARKDOWN.parse(markdown) for one in (token.children or ())]
    return "".join(token.content for token in tokens if token.type == "text")


@given(hostile)
def test_hostile_text_is_rendered_literally(text: str) -> None:
    shown = literal(text)
    assert kinds(shown) <= {"paragraph", "inline", "text", "code_inline", "fence"}
    contents = [one.content for token in _MARKDOWN.parse(shown) for one in (token, *(token.children or ()))]
    plain = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")
    assert {plain, f"{plain}\n", plain.strip()} & {*contents} or text == ""


@given(hostile)
def test_addresses_are_not_rendered_as_links(text: str) -> None:
    """GitHub's Markdown links bare addresses in any text that is not code, even if it was escaped."""
    assert not re.search(r"[@/:\\<>&\[\]]|www\.", words(literal(text)))


@given(hostile, hostile, hostile)
@example("\n# ", "", "")
def test_hostile_act_has_only_our_link(name: str, text: str, what: str) -> None:
    ask = Approval(
        "a",
        "gmail_send_email",
        "sends",
        {name: text, "all of it": text},
        summary=what,
        changed_fields=(name,),
        link=PAGE,
    )
    shown = as_hitl(approvals(ask))
    tokens = [one for token in _MARKDOWN.parse(shown["description"]) for one in (token.children or ())]
    assert [token.attrs["href"] for token in tokens if token.type == "link_open"] == [PAGE]
    assert kinds(shown["description"]) <= {*kinds("**a** <https://a.example> `x`"), "fence", "softbreak"}
    assert shown["action_requests"][0]["args"]["all of it"] == f"<{PAGE}>"


@pytest.mark.parametrize(
    "url",
    ["javascript:alert(1)", "https://a.example/>x", "https://a.example/ x", "//a.example", "", "data:text/html,x"],
)
def test_url_that_is_not_a_web_address_is_no_link(url: str) -> None:
    assert link(url) == literal(url) and "link" not in kinds(link(url))


# ------------------------------------------------------------------------------- what they answer


APPROVE, REJECT = {"type": "approve"}, {"type": "reject", "message": "not him"}


def test_langchain_decisions_are_read_by_position() -> None:
    answer = TypeAdapter(HITLResponse).validate_python({"decisions": [APPROVE, REJECT]})
    assert read_hitl(answer, named("a", "b")) == {"decisions": {"a": "approve", "b": "reject"}, "reason": "not him"}


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ({"type": "accept", "args": None}, "approve"),
        ({"type": "ignore", "args": None}, "reject"),
        ({"type": "response", "args": "not him"}, "reject"),
        ({"type": "accept", "args": {"action": "gmail_send_email", "args": {"to": "`x`"}}}, "approve"),
    ],
)
def test_agent_inbox_answer_decides_the_first_approval(said: Any, meant: str) -> None:
    reason = "not him" if said["type"] == "response" else ""
    assert read_hitl([said], named("a")) == {"decisions": {"a": meant}, "reason": reason}
    assert read_hitl([said], named("a", "b")) == {"decisions": {"a": meant}, "reason": reason}


def test_rejected_consent_is_refused_and_others_are_checked_again() -> None:
    pause = consents(CONSENT, Consent("d", "github", "main", ("s",), ("read",), LINK, 1.0))
    assert read_hitl({"decisions": [APPROVE, REJECT]}, pause) == {"refused": ["d"], "reason": "not him"}
    assert read_hitl([{"type": "ignore", "args": None}], pause) == {"refused": ["c"], "reason": ""}
    assert read_hitl([{"type": "accept", "args": None}], pause) == {"refused": [], "reason": ""}


@pytest.mark.parametrize("wake", ["look again", {"wake": True}, True, {"decisions": {"c": "reject"}}])
def test_other_answers_resume_a_consent(wake: Any) -> None:
    assert read_hitl(wake, consents(CONSENT)) == {"refused": [], "reason": ""}


def test_resume_signal_and_decisions_by_id_are_kept() -> None:
    assert read_hitl({"wake": True}, named("a"))["decisions"] == {}
    edit = {"decision": "edit", "arguments": {"to": ["x"]}}
    by_id = {"decisions": {"b": "approve", "a": edit}, "reason": "as said"}
    assert read_hitl(by_id, named("a", "b")) == by_id


@given(st.lists(st.sampled_from([APPROVE, {"type": "reject"}, {"type": "respond", "message": "no"}]), min_size=1))
def test_every_decision_goes_to_the_approval_at_its_position(said: list[dict[str, Any]]) -> None:
    ids = [f"id-{number}" for number in range(len(said), 0, -1)]  # in no order of their own
    found = read_hitl({"decisions": said}, named(*ids))["decisions"]
    assert [found[one] == "approve" for one in ids] == [one == APPROVE for one in said]
    assert found.keys() == set(ids)


@given(st.permutations(["a", "b", "c"]))
def test_decisions_naming_their_approvals_may_be_in_any_order(order: list[str]) -> None:
    said = [{"type": "reject" if one == "b" else "approve", "approval_id": one} for one in order]
    assert read_hitl({"decisions": said}, named("a", "b", "c"))["decisions"] == {
        "a": "approve",
        "b": "reject",
        "c": "approve",
    }


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"decisions": [APPROVE]}, "1 decisions for 2 requests"),
        ({"decisions": [APPROVE] * 3}, "3 decisions for 2 requests"),
        ({"decisions": []}, "0 decisions for 2 requests"),
        ([{"type": "approve"}], "1 decisions for 2"),
        ([{"type": "accept"}] * 3, "3 decisions for 2"),
        ("approve", "no list"),
        (True, "no list"),
        ({"decisions": ["approve", "approve"]}, "no list"),
        ({"decisions": [APPROVE, {"type": "yes"}]}, "'yes'"),
        ({"decisions": [APPROVE, {}]}, "'None'"),
        ({"decisions": [APPROVE, {"type": "respond"}]}, "'respond'"),
        ({"decisions": [APPROVE, {"type": "approve", "approval_id": "z"}]}, "approvals that were not shown"),
        ({"decisions": {"a": "yes"}}, "are malformed"),
        (
            {"decisions": [APPROVE, {"type": "edit", "edited_action": {"name": "gmail_trash", "args": {}}}]},
            "not offered",
        ),
        (
            [{"type": "edit", "args": {"action": "gmail_send_email", "args": {"body": "```\nx\n```"}}}] * 2,
            "not offered",
        ),
    ],
)
def test_decision_that_was_not_offered_is_refused_with_a_message(answer: Any, why: str) -> None:
    with pytest.raises(InvalidInput, match=why) as refused:
        read_hitl(answer, named("a", "b"))
    assert refused.value.fix_by == "operator" and '"approve"' in refused.value.hint


def test_wrong_answer_is_read_as_deciding_nothing(caplog: pytest.LogCaptureFixture) -> None:
    pause, heard = named("a", "b"), list[Any]()

    def wait(state: MessagesState) -> dict[str, Any]:
        heard.append(wait_for(as_hitl(pause), answers_to(pause), {}))
        return {}

    graph = wired(wait)
    graph.invoke({"messages": []}, config())
    [shown] = graph.get_state(config()).interrupts
    assert "HITLResponse" in str(shown.response_schema)
    graph.invoke(Command(resume={"decisions": [APPROVE]}), config())
    assert [one["decisions"] for one in heard] == [{}] and "1 decisions for 2" in caplog.text
