"""Cursors that only fit their own list, and lists that keep to a budget."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deputize.core.errors import InvalidInput
from deputize.toolkits._shared.page import Rows, lean, read_cursor, tokens, write_cursor
from tests.support.lanes import examples

LIST = ("tool", "account", "filter", None, ["a"], True)
SHAPE = (str, int, int)
PLACE: list[str | int] = ["13579246801357924680", 4, 20]


def test_cursor_leads_back_to_its_position() -> None:
    assert read_cursor(LIST, write_cursor(LIST, PLACE), SHAPE) == PLACE


def test_cursor_costs_few_tokens() -> None:
    cursor = write_cursor(LIST, [*PLACE, 1795528800])
    assert tokens(cursor) <= 60 and len(cursor) / 2 <= 60


@pytest.mark.parametrize(
    "other",
    [
        ("another", *LIST[1:]),
        ("tool", "another account", *LIST[2:]),
        ("tool", "account", "other", None, ["a"], True),
        ("tool", "account", "filter", None, ["b"], True),
        ("tool", "account", "filter", None, ["a"], False),
        ("tool", "account", "filter", "", ["a"], True),
    ],
)
def test_cursor_of_another_tool_account_or_filter_is_refused(other: tuple[Any, ...]) -> None:
    with pytest.raises(InvalidInput, match="cursor"):
        read_cursor(other, write_cursor(LIST, PLACE), SHAPE)


@settings(max_examples=examples(200), deadline=None)
@given(st.data())
def test_cursor_with_an_altered_character_is_refused(data: st.DataObject) -> None:
    cursor = write_cursor(LIST, PLACE)
    at = data.draw(st.integers(0, len(cursor) - 1))
    other = data.draw(st.sampled_from("abcXYZ019-_=\u00e9").filter(lambda c: c != cursor[at]))
    with pytest.raises(InvalidInput):
        read_cursor(LIST, cursor[:at] + other + cursor[at + 1 :], SHAPE)


@settings(max_examples=examples(200), deadline=None)
@given(st.text(max_size=80))
def test_arbitrary_text_is_not_a_cursor(text: str) -> None:
    with pytest.raises(InvalidInput):
        read_cursor(LIST, text, SHAPE)


def forged(place: object) -> str:
    """Return a cursor by an attacker who knows how the digest is made."""
    kept = base64.urlsafe_b64encode(json.dumps(place, separators=(",", ":")).encode()).decode().rstrip("=")
    whole = json.dumps(["cursor-1", *LIST, kept], separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(hashlib.sha256(whole).digest())[:16].decode() + kept


def test_forged_cursor_reaches_no_further_than_a_real_one() -> None:
    assert read_cursor(LIST, forged(PLACE), SHAPE) == PLACE


@pytest.mark.parametrize(
    "place",
    [
        *([], {}, None, 7, ["t", 1], ["t", 1, 2, 3], ["t", "1", 2], [1, 1, 1], ["t", True, 2], ["t", 1.5, 2]),
        *(["t", -1, 2], ["t", 1 << 60, 2], ["t" * 600, 1, 2], ["t\nq: evil", 1, 2], ["t\u202e", 1, 2]),
    ],
)
def test_forged_position_of_another_form_is_refused(place: object) -> None:
    with pytest.raises(InvalidInput):
        read_cursor(LIST, forged(place), SHAPE)


def test_rows_drop_empty_values_and_keep_others() -> None:
    rows = Rows()
    assert rows.add({"id": "1", "unread": False, "labels": [], "note": None, "name": "", "count": 3})
    assert rows.items == [{"id": "1", "count": 3}]


def test_rows_stop_at_their_budget_with_whole_rows() -> None:
    rows = Rows(budget=500)
    added = [rows.add({"text": "x" * 400}) for _ in range(10)]
    assert added == [True] * 3 + [False] * 7
    assert tokens(rows.items) <= 500


def test_first_row_always_fits() -> None:
    rows = Rows(budget=200)
    assert rows.add({"text": "x" * 4000})
    assert not rows.add({"text": "y"})


def test_tokens_are_estimated_by_bytes_for_all_alphabets() -> None:
    assert tokens("日" * 100) > 2 * tokens("d" * 100)


def test_row_drops_empty_values_and_keeps_zeros() -> None:
    empty: dict[str, Any] = {"none": None, "text": "", "list": [], "object": {}, "no": False}
    rows = Rows()
    assert rows.add({"unread": 0, "progress": 0.0, "yes": True, **empty})
    assert rows.items == [{"unread": 0, "progress": 0.0, "yes": True}]
    assert lean({"estimate": 0, **empty}) == {"estimate": 0}
