"""A pause as inboxes show it, what they answer to it by position, and hostile text in both."""

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
def test_langchain_and_deep_agents_find_a_request_of_their_own_beside_our_keys(pause: dict[str, Any]) -> None:
    shown = as_hitl(pause)
    found = TypeAdapter(HITLRequest).validate_python(shown)
    assert len(found["action_requests"]) == len(found["review_configs"]) == len(pause.get("approvals", [0]))
    assert shown | pause == shown
    assert {str(one) for config in found["review_configs"] for one in config["allowed_decisions"]} == {
        "approve",
        "reject",
    }


@pytest.mark.parametrize("pause", [approvals(APPROVAL), consents(CONSENT)])
def test_agent_chat_ui_and_agent_inbox_find_what_they_look_for(pause: dict[str, Any]) -> None:
    shown = as_hitl(pause)
    [request], [review] = shown["action_requests"], shown["review_configs"]
    assert isinstance(request["name"], str) and isinstance(request["args"], dict)  # isAgentInboxInterruptSchema
    assert review["action_name"] == request["name"] and isinstance(review["allowed_decisions"], list)
    assert request["arguments"] == request["args"]  # normalizeInterrupt of Agent Inbox reads this name
    assert shown["action_request"] == {"action": request["name"], "args": request["args"]}  # HumanInterrupt
    assert set(shown["config"]) == {"allow_accept", "allow_ignore", "allow_respond", "allow_edit"}
    assert shown["description"] == request["description"]


def test_an_approval_shows_all_that_the_yes_is_a_yes_to_and_where_to_see_it() -> None:
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


def test_a_consent_is_a_link_to_open_and_says_what_a_yes_means_here() -> None:
    [request] = as_hitl(consents(CONSENT))["action_requests"]
    assert request["name"] == "connect_google"
    assert request["args"] == {
        "open": f"<{LINK}>",
        "to allow": "read your mail, send mail",
        "then": "Approve after you have opened the link. Reject if you do not want to connect.",
    }


def test_what_changed_and_what_was_wrong_with_an_edit_are_said() -> None:
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
def test_what_is_no_pause_of_ours_is_refused(pause: dict[str, Any]) -> None:
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
    """What stands outside of all code."""
    tokens = [one for token in _MARKDOWN.parse(markdown) for one in (token.children or ())]
    return "".join(token.content for token in tokens if token.type == "text")


@given(hostile)
def test_hostile_text_is_shown_as_it_is_and_becomes_nothing_else(text: str) -> None:
    shown = literal(text)
    assert kinds(shown) <= {"paragraph", "inline", "text", "code_inline", "fence"}
    contents = [one.content for token in _MARKDOWN.parse(shown) for one in (token, *(token.children or ()))]
    plain = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")
    assert {plain, f"{plain}\n", plain.strip()} & {*contents} or text == ""


@given(hostile)
def test_no_address_stands_where_a_renderer_would_make_a_link_of_it(text: str) -> None:
    """GitHub's Markdown links bare addresses in any text that is not code, whatever escapes were there."""
    assert not re.search(r"[@/:\\<>&\[\]]|www\.", words(literal(text)))


@given(hostile, hostile, hostile)
@example("\n# ", "", "")
def test_a_hostile_act_has_one_link_which_is_ours(name: str, text: str, what: str) -> None:
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
def test_an_address_that_is_none_of_the_web_is_no_link(url: str) -> None:
    assert link(url) == literal(url) and "link" not in kinds(link(url))


# ------------------------------------------------------------------------------- what they answer


APPROVE, REJECT = {"type": "approve"}, {"type": "reject", "message": "not him"}


def test_langchains_answers_go_by_their_place() -> None:
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
def test_agent_inbox_answers_the_first_of_several_which_is_all_that_it_shows(said: Any, meant: str) -> None:
    reason = "not him" if said["type"] == "response" else ""
    assert read_hitl([said], named("a")) == {"decisions": {"a": meant}, "reason": reason}
    assert read_hitl([said], named("a", "b")) == {"decisions": {"a": meant}, "reason": reason}


def test_a_rejected_consent_is_refused_and_the_others_are_looked_at_again() -> None:
    pause = consents(CONSENT, Consent("d", "github", "main", ("s",), ("read",), LINK, 1.0))
    assert read_hitl({"decisions": [APPROVE, REJECT]}, pause) == {"refused": ["d"], "reason": "not him"}
    assert read_hitl([{"type": "ignore", "args": None}], pause) == {"refused": ["c"], "reason": ""}
    assert read_hitl([{"type": "accept", "args": None}], pause) == {"refused": [], "reason": ""}


@pytest.mark.parametrize("wake", ["look again", {"wake": True}, True, {"decisions": {"c": "reject"}}])
def test_anything_else_wakes_a_consent(wake: Any) -> None:
    assert read_hitl(wake, consents(CONSENT)) == {"refused": [], "reason": ""}


def test_a_wake_up_and_decisions_by_id_stay_what_they_are() -> None:
    assert read_hitl({"wake": True}, named("a"))["decisions"] == {}
    edit = {"decision": "edit", "arguments": {"to": ["x"]}}
    by_id = {"decisions": {"b": "approve", "a": edit}, "reason": "as said"}
    assert read_hitl(by_id, named("a", "b")) == by_id


@given(st.lists(st.sampled_from([APPROVE, {"type": "reject"}, {"type": "respond", "message": "no"}]), min_size=1))
def test_every_decision_goes_to_exactly_the_approval_at_its_place(said: list[dict[str, Any]]) -> None:
    ids = [f"id-{number}" for number in range(len(said), 0, -1)]  # in no order of their own
    found = read_hitl({"decisions": said}, named(*ids))["decisions"]
    assert [found[one] == "approve" for one in ids] == [one == APPROVE for one in said]
    assert found.keys() == set(ids)


@given(st.permutations(["a", "b", "c"]))
def test_decisions_that_name_their_approvals_may_stand_in_any_order(order: list[str]) -> None:
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
def test_what_was_not_offered_is_refused_in_words(answer: Any, why: str) -> None:
    with pytest.raises(InvalidInput, match=why) as refused:
        read_hitl(answer, named("a", "b"))
    assert refused.value.fix_by == "operator" and '"approve"' in refused.value.hint


def test_a_wrong_answer_is_read_as_one_that_decides_nothing(caplog: pytest.LogCaptureFixture) -> None:
    pause, heard = named("a", "b"), list[Any]()

    def wait(state: MessagesState) -> dict[str, Any]:
        heard.append(wait_for(as_hitl(pause), answers_to(pause)))
        return {}

    graph = wired(wait)
    graph.invoke({"messages": []}, config())
    [shown] = graph.get_state(config()).interrupts
    assert "HITLResponse" in str(shown.response_schema)
    graph.invoke(Command(resume={"decisions": [APPROVE]}), config())
    assert [one["decisions"] for one in heard] == [{}] and "1 decisions for 2" in caplog.text
