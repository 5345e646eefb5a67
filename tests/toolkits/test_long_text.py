"""A long text is read to its end, in either form, and replaced only by a caller that has read all of it."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deputize.core.errors import Conflict, InvalidInput
from deputize.toolkits._shared.long_text import ALONE, PART, Edit, Form, digest, part, shortened
from deputize.toolkits._shared.page import text_tokens
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.github.prose import CODE, FORM, Prose
from deputize.toolkits.linear.texts import FORM as LINEAR
from tests.support.lanes import examples

FORMS = [FORM, CODE, LINEAR]
TOKEN = "gh" + "p_" + "a1B2" * 9
PIECES = [
    "word ",
    "\n",
    "<!-- secret words -->",
    "![shot](https://x.test/a.png)",
    "👩\u200d💻",
    "\u200b",
    "\r\n",
    "é",
    "日本",
    "\ud800",
]
texts = st.lists(st.sampled_from([*PIECES, "x" * 40, "[a](https://x.test)", f" {TOKEN} "]), max_size=60).map("".join)


def read(form: Form, text: str, limit: int, *, raw: bool) -> tuple[str, dict[str, Any]]:
    """Return the whole text, part by part, and the metadata of its last part."""
    offset, pieces = 0, []
    for _ in range(len(text) + 2):
        told = part(form, form.outside(), text, limit, offset, raw=raw)
        pieces.append(told["text"])
        if "next_offset" not in told:
            return "".join(pieces), told
        assert told["next_offset"] > offset and told["truncated"] and told["total_chars"] == len(text)
        offset = told["next_offset"]
    raise AssertionError("the text does not end")


@settings(max_examples=examples(200), deadline=None)
@given(texts, st.integers(8, 300), st.sampled_from(FORMS))
def test_raw_parts_of_a_text_add_up_to_the_stored_one(text: str, limit: int, form: Form) -> None:
    whole, last = read(form, text, limit, raw=True)
    masked = TOKEN in text and form is not LINEAR
    assert whole == form.masked(text)
    assert (last.get("text_digest") == digest(text)) == (bool(text) and not masked and "\ud800" not in text)
    assert not masked or TOKEN not in whole


@settings(max_examples=examples(200), deadline=None)
@given(texts, st.integers(8, 300), st.sampled_from([FORM, LINEAR]))
def test_shown_parts_hide_what_the_whole_hides(text: str, limit: int, form: Form) -> None:
    whole, last = read(form, text, limit, raw=False)
    assert "secret words" not in whole and "<!--" not in whole and "https://x.test/a.png" not in whole
    assert form is LINEAR or TOKEN[:12] not in whole
    assert "".join(whole.split()) == "".join(form.show(form.outside(), text).split())
    assert ("text_digest" in last) == (bool(text) and form.shows_all(text))


@settings(max_examples=examples(200), deadline=None)
@given(texts, st.integers(0, 500), st.integers(8, 100))
def test_offset_inside_hidden_text_reveals_nothing(text: str, offset: int, limit: int) -> None:
    if offset > len(text):
        with pytest.raises(InvalidInput, match="offset"):
            part(FORM, Prose(), text, limit, offset)
    else:
        shown = part(FORM, Prose(), text, limit, offset)["text"]
        assert "secret words" not in shown and TOKEN[20:30] not in shown


def test_page_long_comment_uses_no_room_of_the_shown_text() -> None:
    text = f"<!-- {'Fill in the form. ' * 500}-->\nThe bug is here."
    told = part(FORM, Prose(), text, 1_400)
    assert told["text"] == "The bug is here." and "next_offset" not in told and "text_digest" not in told


def test_short_text_is_whole_and_its_digest_covers_every_character() -> None:
    told = part(LINEAR, Outside(), "Two\nlines.", 1_200)
    assert told == {"text": "Two\nlines.", "text_digest": digest("Two\nlines.")}
    assert len({digest(one) for one in ("a", "a ", "a\n", "a\r\n", "\u00e9", "e\u0301", "\ud800")}) == 7


def test_row_keeps_line_breaks_and_marks_a_cut() -> None:
    text = "```suggestion\n    return 1\n```\n" * 40
    row = shortened(FORM, Prose(), text, 100)
    assert (
        row["cut"] is True
        and row["body"].startswith("```suggestion\n    return 1\n```\n```")
        and row["body"][-1] == "…"
    )
    assert shortened(FORM, Prose(), "short\ntext", 100) == {"body": "short\ntext"}


@pytest.mark.parametrize(
    "piece", ["<!--", "![](u)", "![", "<div hidden", "\u200b", "\u0301", "[a](javascript:", TOKEN + " "]
)
def test_any_text_is_read_quickly(piece: str) -> None:
    began = time.process_time()
    text = piece * (200_000 // len(piece))
    for raw in (True, False):
        for offset in (0, 100_000):
            told = part(FORM, Prose(), text, 1_400, offset, raw=raw)
            assert len(told["text"].encode()) <= 2_000
    assert time.process_time() - began < 5


@pytest.mark.parametrize("text", ["x\u200d" * 60_000, f"<!-- {'words ' * 20_000} --> {TOKEN}", "\u200c " * 60_000])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("raw", [True, False])
def test_unbreakable_text_uses_at_most_one_part(text: str, form: Form, raw: bool) -> None:
    told = part(form, form.outside(), text, PART, raw=raw)
    assert text_tokens(told["text"]) <= ALONE + 200
    assert TOKEN not in told["text"] or not form.secret


# ----------------------------------------------------------------- edits

LONG = "A sentence of the report. " * 100
HIDING = {
    "a picture": "See ![shot](https://x.test/a.png)",
    "a comment": "<!-- template:v3 -->\nText",
    "an unseen sign": "a\u200bb",
}


def test_empty_or_fully_shown_text_is_replaced_freely() -> None:
    for old in (None, "", "  \n", "Short.", "Two\r\nlines", "Same"):
        assert Edit().of(FORM, "body", old, "Same", 1_400) == "Same"


@pytest.mark.parametrize("old", [LONG, *HIDING.values()], ids=["long", *HIDING])
def test_partly_shown_text_is_replaced_only_with_its_digest(old: str) -> None:
    with pytest.raises(InvalidInput) as unread:
        Edit().of(FORM, "body", old, "New", 1_400)
    assert unread.value.reason == "unread" and "raw=true" in unread.value.hint and "append" in unread.value.hint
    with pytest.raises(Conflict) as stale:
        Edit(if_text=digest(old + " ")).of(FORM, "body", old, "New", 1_400)
    assert stale.value.reason == "stale"
    assert Edit(if_text=digest(old)).of(FORM, "body", old, "New", 1_400) == "New"
    assert Edit().of(FORM, "body", old, old, 1_400) == old


def test_text_with_a_masked_part_is_never_replaced_whole() -> None:
    old = f"token {TOKEN}"
    with pytest.raises(Conflict):
        Edit(if_text=digest(old)).of(FORM, "body", old, "New", 1_400)
    assert Edit(append=True).of(FORM, "body", old, "More", 1_400) == f"{old}\n\nMore"


def test_appending_keeps_the_old_text() -> None:
    for old in (LONG, *HIDING.values()):
        assert Edit(append=True).of(FORM, "body", old, "More", 1_400) == f"{old}\n\nMore"
    assert Edit(append=True).of(FORM, "body", "", "More", 1_400) == "More"


def test_part_occurring_once_is_replaced_and_any_other_refused() -> None:
    old = "one ![shot](u)\r\ntwo\r\none more"
    assert Edit(replaces="two").of(FORM, "body", old, "2", 9) == "one ![shot](u)\r\n2\r\none more"
    assert Edit(replaces="two").of(FORM, "body", old, "2\n3", 9) == "one ![shot](u)\r\n2\r\n3\r\none more"
    mixed = "one\r\ntwo\nthree"
    assert Edit(replaces="two").of(FORM, "body", mixed, "2\n3", 9) == "one\r\n2\n3\nthree"
    assert Edit(replaces="two\none").of(FORM, "body", old, "2\n1", 9) == "one ![shot](u)\r\n2\r\n1 more"
    for wrong, text in (("one", old), ("three", old), ("", old), ("aa", "aaa")):
        with pytest.raises(InvalidInput, match="replaces"):
            Edit(replaces=wrong).of(FORM, "body", text, "x", 9)
    with pytest.raises(InvalidInput, match="append, replaces"):
        Edit(append=True, replaces="two").of(FORM, "body", old, "x", 9)
