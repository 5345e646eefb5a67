"""The sentence about an act, and the lines about its dangers, which page, terminal, forms and payloads share."""

from __future__ import annotations

import time
from typing import Any

import pytest

from deputize.core import Audience, Danger, Preview
from deputize.core.approvals.headline import PAGE_AGENT, describe_act
from deputize.core.approvals.record import ApprovalRecord
from deputize.core.tools.first_contact import FirstContact, first_contact_lines

ALICE = "alice@home.test"


def sentence(what: str = "Send this email", first: tuple[FirstContact, ...] = (), **more: Any) -> str:
    show = Preview(what, **{"audience": Audience.PEOPLE, **more})
    return describe_act(
        agent="Scout", tool="t", label="Gmail", account=ALICE, show=show, first_contacts=first_contact_lines(first)
    )


def record(**facts: Any) -> ApprovalRecord:
    given = {"id": "1", "tool": "t", "effect": "sends", "agent": "Scout", "account": ALICE, "expires": 1.0, **facts}
    return ApprovalRecord(**given)


SCOUT = f"Scout wants to send this email at Gmail as {ALICE}"


def test_sentence_names_agent_act_product_account_and_people() -> None:
    assert sentence(people=["Bob@home.test"]) == f"{SCOUT} to bob@home.test"
    assert sentence(people=["b@x.test", "c@x.test"]) == f"{SCOUT} to b@x.test and c@x.test"
    assert sentence(people=[f"{n}@x.test" for n in "abcde"]) == f"{SCOUT} to a@x.test, b@x.test and 3 others"
    assert sentence(people=[ALICE]) == SCOUT


def test_sentence_names_first_contacts_before_others() -> None:
    people = [f"{n}@x.test" for n in "abcd"]
    assert sentence(people=people, first=(FirstContact("d@x.test", checked=True),)) == (
        f"{SCOUT} to d@x.test (first contact), a@x.test and 2 others"
    )
    assert sentence(people=["d@x.test"], first=(FirstContact("d@x.test", checked=False),)).endswith("(first contact?)")
    assert "first" not in sentence(people=["d@x.test"], first=(FirstContact("dd@x.test", checked=True),))


@pytest.mark.parametrize(
    ("what", "more", "end"),
    [
        ("Share this calendar", {"people": ["b@x.test"]}, " with b@x.test"),
        ("Cancel this event", {"people": ["b@x.test"]}, ", seen by b@x.test"),
        ("Send this", {"people": ["b@x.test"], "audience": Audience.PUBLIC}, " to b@x.test, seen by everybody"),
        ("Post it", {"people": ["b@x.test"], "audience": Audience.PUBLIC}, ", seen by everybody, also by b@x.test"),
        ("Post it", {"audience": Audience.UNKNOWN, "where": "a gist"}, ", possibly seen by everybody: a gist"),
        ("Post it", {"audience": Audience.ORGANISATION, "where": "#eng"}, ": #eng"),
        ("Post it", {"people": ["b@x.test"], "where": "a room"}, ", seen by b@x.test"),
        ("Post it", {"where": "Gmail"}, ""),
        ("Send this", {"people": ["u01"], "to": ["Bob (@bob)"], "where": "direct message"}, " to Bob (@bob)"),
        ("Send this", {"people": ["@channel", "s01"]}, " to @channel and 1 other"),
        ("Post it", {"people": ["u01"], "where": "a room"}, ": a room"),
        ("Delete it, but not its tag", {"people": ["b@x.test"]}, ", but not its tag, seen by b@x.test"),
    ],
)
def test_sentence_ends_with_reach_and_place(what: str, more: dict[str, Any], end: str) -> None:
    begin = f"{what[:1].lower()}{what[1:].partition(',')[0]}"
    assert sentence(what, **more) == f"Scout wants to {begin} at Gmail as {ALICE}{end}"


def test_hostile_names_stay_short_visible_and_last() -> None:
    end = "evil.test"
    long = f"{'a' * 300}@{'b' * 40}.{end}"
    assert sentence(people=[long]).endswith(end) and len(sentence(people=[long])) < 140
    place = "issue x\n\nas nobody (private). Nobody will see it." + "y" * 300
    said = sentence("Post it", audience=Audience.PUBLIC, where=place)
    assert "\n" not in said and said.index("seen by everybody") < said.index("issue x") and len(said) < 200
    assert "[U+202E]" in sentence("Post it", where="a\u202eb")


def test_sentence_speaks_to_the_user_about_their_own_acts() -> None:
    said: dict[str, Any] = {"tool": "files_read", "label": "", "account": "", "show": None}
    assert describe_act(agent=PAGE_AGENT, **said) == "You want to use the tool files_read"
    assert describe_act(agent="agent", **said) == "Your agent wants to use the tool files_read"


@pytest.mark.parametrize(
    ("people", "text", "line"),
    [
        (
            ["bob@exarnple.test", "carol@example.test"],
            "",
            "exarnple.test looks like example.test, but is not the same.",
        ),
        (["bob@horne.test"], "", "horne.test looks like home.test, but is not the same."),
        (
            ["bob@examp1e.test"],
            "See https://www.other.test and bob@example.test",
            "bob@examp1e.test looks like bob@example",
        ),
        (["b0b@x.test", "bob@x.test"], "", "b0b@x.test looks like bob@x.test, but is not the same."),
        (["bob@ex\u0430mple.test"], "as example.test", "ex[U+0430]mple.test"),
        (["bob@example.test", "carol@example.test"], "Example.test, examples.test", ""),
        (["u0b0", "ubo"], "", ""),
    ],
)
def test_domain_that_looks_like_another_one_is_remarked(people: list[str], text: str, line: str) -> None:
    show = Preview("Send this email", audience=Audience.PEOPLE, people=people, to=people, text=text)
    shown = record(show=show.kept).public("", None).preview
    assert ("looks like" in shown) == bool(line) and line in shown.get("looks like", "")
    assert not line or (next(iter(shown)) == "looks like" and "\n" not in shown["looks like"])


def test_search_for_lookalikes_is_quick() -> None:
    text = "a-" * 200_000 + "." * 200_000 + "a." * 200_000 + "@" * 200_000
    show = Preview("Send it", audience=Audience.PEOPLE, people=["b@x.test"], text=text[::3] + text)
    begun = time.perf_counter()
    assert "looks like" not in record(show=show.kept).public("", None).preview and time.perf_counter() - begun < 20


def test_public_form_has_the_sentence_and_dangers_first() -> None:
    show = Preview(
        "Post it",
        audience=Audience.PUBLIC,
        dangers=[Danger.GIVES_ACCESS, Danger.RUNS_CODE],
        destroys=True,
        people=["b@x.test"],
        text="x",
    )
    shown = record(
        label="GitHub",
        show=show.kept,
        outside=("b@x.test: a mail of eve",),
        first_contacts=first_contact_lines([FirstContact("b@x.test", checked=True)]),
    ).public("", None)
    assert shown.summary.startswith("Scout wants to post it at GitHub as ") and shown.label == "GitHub"
    assert list(shown.preview) == ["seen by", "first contact", "comes from", "warning", "text"]
    assert [line.split()[1] for line in shown.preview["warning"].split("\n")] == ["changes", "gives", "is"]
    assert shown.payload()["summary"] == shown.summary and list(shown.payload()["preview"]) == list(shown.preview)


def test_line_of_a_tool_never_looks_like_a_line_of_deputize() -> None:
    names = ("first contact", "comes from", "warning", "looks like", "seen by")
    rows: dict[str, Any] = dict.fromkeys(names, "none, all is well")
    spoofed = Preview("Post it", audience=Audience.SELF, **rows)
    shown = record(show=spoofed.kept).public("", None).preview
    assert shown["seen by"] == "only you" and not shown.keys() & {*names} - {"seen by"}
    assert shown["first contact (2)"] == shown["seen by (2)"] == "none, all is well"
    shown = record(arguments=dict.fromkeys(names, "x")).public("", None).preview
    assert not shown.keys() & {*names} and len(shown) == len(names)
