"""Markdown to Slack's notation, and Slack's notation to text: written text never becomes more than text."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deputize.core.errors import InvalidInput
from deputize.toolkits.slack.mrkdwn import LONGEST, names_in, to_mrkdwn
from deputize.toolkits.slack.text import Reader, misleads
from tests.support.lanes import examples

BOB = {"@bob": "<@U0BOB000000>", "#eng": "<#C0ENG000001>"}


@pytest.mark.parametrize(
    ("markdown", "slack"),
    [
        ("**bold** and __bold__", "*bold* and *bold*"),
        ("*leaning* and _leaning_", "_leaning_ and _leaning_"),
        ("~~gone~~", "~gone~"),
        ("**bold with _leaning_ in it**", "*bold with _leaning_ in it*"),
        ("`a < b && **c**`", "`a &lt; b &amp;&amp; **c**`"),
        ("[the plan](https://x.test/a?b=1&c=2)", "<https://x.test/a?b=1&amp;c=2|the plan>"),
        ("![a picture](https://x.test/a.png)", "<https://x.test/a.png|a picture>"),
        ("see https://x.test/a_b_c.", "see <https://x.test/a_b_c>."),
        ("# Title", "*Title*"),
        ("## A **bold** title", "*A bold title*"),
        ("- one\n- two\n  - three", "\u2022 one\n\u2022 two\n  \u2022 three"),
        ("1. one\n2. two", "1. one\n2. two"),
        ("> quoted <b>", "> quoted &lt;b&gt;"),
        ("```python\nif a < b:\n    **x**\n```", "```\nif a &lt; b:\n    **x**\n```"),
        ("| a | b |\n|---|---|\n| 1 | 2 |", "```\n| a | b |\n|---|---|\n| 1 | 2 |\n```"),
        ("---", "\u2014\u2014\u2014"),
        ("2 * 3 * 4 = 24", "2 * 3 * 4 = 24"),
        ("snake_case_name", "snake_case_name"),
        (r"\*not bold\*", "*not bold*"),
        ("hi @bob, see #eng", "hi <@U0BOB000000>, see <#C0ENG000001>"),
        ("hi @Bob!", "hi <@U0BOB000000>!"),
        ("`@bob` bob@bob.test @bobby", "`@bob` bob@bob.test @bobby"),
        ("<!channel> <@U0BOB000000> @channel", "&lt;!channel&gt; &lt;@U0BOB000000&gt; @channel"),
        ("[x](javascript:alert(1))", "[x](javascript:alert(1))"),
        ("[a|b>](https://x.test)", "<https://x.test|a/b&gt;>"),
    ],
)
def test_markdown_becomes_slack_markup(markdown: str, slack: str) -> None:
    assert to_mrkdwn(markdown, BOB) == slack


TOKEN = re.compile(r"<([^<>]*)>")


@settings(max_examples=examples(400), deadline=None)
@given(st.text(alphabet="<>!@#|&`*_~[]()\\ab \nhtps:/.channel-U0BOB", max_size=120))
def test_text_makes_no_token_except_links_and_resolved_names(text: str) -> None:
    try:
        made = to_mrkdwn(text, BOB)
    except InvalidInput:
        return
    for token in TOKEN.findall(made):
        assert token in ("@U0BOB000000", "#C0ENG000001") or re.match(r"https?://|mailto:", token), made
    assert "<!" not in made


@settings(max_examples=examples(200), deadline=None)
@given(st.text(max_size=200))
def test_any_text_can_be_converted_and_read(text: str) -> None:
    names_in(text)
    try:
        to_mrkdwn(text)
    except InvalidInput:
        assert not text.strip() or not to_text(text).strip() or len(text) > LONGEST or set(text.split()) <= {"#"}


def to_text(text: str) -> str:
    return text.replace("\x00", "").replace("#", "")


def test_names_are_searched_in_prose_only() -> None:
    text = "@bob **@eve** `@code` [x](https://x.test/@link) a@mail.test #eng\n```\n@fenced #f\n```\n| @table |\n|---|"
    assert names_in(text) == {"@bob", "@eve", "#eng"}


def test_empty_or_too_long_text_is_refused() -> None:
    for text in ("", " \n", "\x00", "x" * (LONGEST + 1), "<" * LONGEST):
        with pytest.raises(InvalidInput):
            to_mrkdwn(text)


# ------------------------------------------------------------------ what comes in


@pytest.mark.parametrize(
    ("slack", "text"),
    [
        ("<@U0BOB000000> in <#C1|eng>", "@Bob (U0BOB000000) in #eng"),
        ("<@U0EVE000000>", "@user (U0EVE000000)"),
        ("<!here> <!subteam^S1|@team> <!date^1^{date}|today>", "@here @team (S1) 1970-01-01"),
        ("<https://x.test|the plan>", "the plan <https://x.test>"),
        ("<https://x.test>", "<https://x.test>"),
        ("<mailto:a@b.test|a@b.test>", "a@b.test"),
        ("a &lt;b&gt; &amp;amp; c", "a <b> &amp; c"),
        ("&lt;@U0BOB000000&gt;", "<@U0BOB000000>"),
        ("hid\u200bden\u202e", "hidden"),
    ],
)
def test_slack_markup_becomes_text(slack: str, text: str) -> None:
    assert Reader({"U0BOB000000": "Bob"}).mrkdwn(slack) == text


def test_hidden_characters_are_counted_and_misleading_links_reported() -> None:
    reader, row = Reader(), dict[str, object]()
    assert reader.mrkdwn("a\u200b\u200b <https://evil.test/x|https://bank.test/login>").count("\u200b") == 0
    reader.mark(row)
    assert row == {"untrusted": True, "hidden_removed": 2} and reader.mismatch


@pytest.mark.parametrize(
    ("words", "target", "wrong"),
    [
        ("https://bank.test", "https://bank.test/a", False),
        ("bank.test/login", "https://www.bank.test/", False),
        ("bank.test", "https://bank.test.evil.test/", True),
        ("www.bank.test", "https://evil.test/bank.test", True),
        ("bank.test", "https://user@evil.test/", True),
        ("bank.test", "https://[evil", True),
        ("the bank", "https://evil.test/", False),
        ("b\u00e4nk.test", "https://evil.test/", True),
        ("b\u00e4nk.test", "https://xn--bnk-qla.test/", False),
        ("b\u0430nk.test", "https://bank.test/", True),
        ("sign in at https://bank.test/login.", "https://evil.test/", True),
        ("sign in (www.bank.test)", "https://bank.test/", False),
        ("\u200bbank.test", "https://evil.test/", True),
    ],
)
def test_link_misleads_if_it_shows_another_host(words: str, target: str, wrong: bool) -> None:
    assert misleads(words, target) is wrong
