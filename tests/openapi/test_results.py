"""Results of a generated tool: within a model's budget, complete in parts, clean, and marked as untrusted."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deputize.core import InvalidInput
from deputize.openapi.results import as_text, fitted, joined
from deputize.toolkits._shared.page import BUDGET, tokens
from tests.support.lanes import examples


def parts(found: Any, *fields: str, rows: str = "") -> list[dict[str, Any]]:
    """Return all parts of a response, as a model reads them."""
    read = [fitted(found, fields, rows=rows)]
    while following := read[-1].get("next_part"):
        assert len(read) < 500
        read.append(fitted(found, fields, rows=rows, part=following))
    return read


def whole(read: list[dict[str, Any]], name: str) -> list[Any]:
    """Return the rows that the parts have together."""
    values, text = list[Any](), ""
    for one in read:
        values += one.get(name, [])
        if "json" in one:
            text += one["json"]
            if len(text) == one["total_chars"]:
                values.append(json.loads(text))
                text = ""
    assert not text
    return values


def test_long_list_is_read_in_parts_within_the_budget() -> None:
    rows = [{"id": n, "text": f"row {n} " + "word " * 60} for n in range(200)]
    read = parts({"total": 200, "items": rows}, rows="items")
    assert len(read) > 3 and all(tokens(one) <= BUDGET for one in read)
    assert [row["id"] for row in whole(read, "items")] == list(range(200)) and read[0]["total"] == 200


def test_too_long_row_is_read_completely_between_others() -> None:
    rows = [{"id": 1}, {"id": 2, "text": "word " * 20_000}, {"id": 3}, {"id": 4}]
    read = parts(rows)
    assert all(tokens(one) <= BUDGET for one in read) and whole(read, "rows") == [rows[0], rows[1], rows[2], rows[3]]


def test_too_long_single_object_is_read_completely() -> None:
    page = {"title": "A", "text": "Zeile mit Wörtern\n" * 3_000}
    read = parts(page)
    assert json.loads("".join(one["json"] for one in read)) == page | {"text": page["text"]}


JSON = st.recursive(
    st.one_of(st.integers(-9, 9), st.booleans(), st.text("ab \u00e9\u200b\u4e2d", min_size=1, max_size=3_000)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5), st.dictionaries(st.text("abc", min_size=1), inner, max_size=5)
    ),
    max_leaves=30,
)


@given(st.lists(JSON, max_size=40))
@settings(max_examples=examples(60), deadline=None)
def test_every_list_is_read_to_its_end_within_the_budget(rows: list[Any]) -> None:
    read = parts(rows)
    assert all(tokens(one) <= BUDGET * 21 // 20 for one in read) and len(whole(read, "rows")) == len(rows)


@given(JSON)
@settings(max_examples=examples(60), deadline=None)
def test_any_answer_becomes_a_json_result(found: Any) -> None:
    shown = fitted(found, ("a", "b.c"))
    assert json.loads(json.dumps(shown)) == shown and "\u200b" not in json.dumps(shown, ensure_ascii=False)


def test_only_kept_fields_are_returned_and_a_row_without_any_is_whole() -> None:
    row = {"id": 1, "user": {"login": "bob", "url": "x"}, "labels": [{"name": "a"}, {"name": "b"}], "url": "https://x"}
    shown = fitted([row, {"odd": True}], ("id", "user.login", "labels.name", "nothing.here"))
    assert shown["rows"] == [{"id": 1, "user.login": "bob", "labels.name": ["a", "b"]}, {"odd": True}]


def test_false_and_zero_are_kept_and_empty_values_dropped() -> None:
    shown = fitted({"done": False, "count": 0, "note": "", "none": None, "tags": []})
    assert shown == {"done": False, "count": 0, "untrusted": True}


def test_foreign_text_is_cleaned_marked_and_hidden_parts_counted() -> None:
    shown = fitted([{"text": "hello\u200b\u202e world"}])
    assert shown == {"rows": [{"text": "hello world"}], "untrusted": True, "hidden_removed": 2}
    assert fitted(None) == {"done": True}


def test_full_page_names_the_next_after_all_parts() -> None:
    assert fitted([{"a": 1}] * 3, page=2, size=3)["next_page"] == 3
    assert "next_page" not in fitted([{"a": 1}] * 2, page=2, size=3)
    long = [{"a": "word " * 900}] * 10
    assert "next_page" not in fitted(long, page=1, size=10)
    last = parts(long)[-2]["next_part"]
    assert fitted(long, page=1, size=10, part=last)["next_page"] == 2


@pytest.mark.parametrize("part", ["x", "-1", "3", "0+999999", "1e3", "\u0661", "1" * 30])
def test_unknown_part_is_refused(part: str) -> None:
    with pytest.raises(InvalidInput, match="there is no such part"):
        fitted([{"a": 1}, {"a": 2}, {"a": 3}], part=part)


def test_preview_and_query_texts_are_formatted() -> None:
    assert as_text(None) is None and json.loads(str(as_text({"file": "x", "n": [1]}))) == {"file": "x", "n": [1]}
    assert joined([1, True, "a"], ",") == "1,true,a" and joined(None, ",") is None


@pytest.mark.parametrize(("found", "rows"), [({"next_part": "0", "a": 1}, ""), ({"next_part": "0", "r": [{}]}, "r")])
def test_answer_member_cannot_imitate_our_continuation_fields(found: Any, rows: str) -> None:
    shown = fitted(found, rows=rows)
    assert "next_part" not in shown and shown["next_part_of_answer"] == "0"
