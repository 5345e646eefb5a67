"""Times as models write them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deputize.core.errors import InvalidInput
from deputize.toolkits._shared.times import full, moment, short, window
from tests.support.lanes import examples
from tests.toolkits.tool_driver import NOW


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("now", "2026-11-24T14:00:00"),
        ("today", "2026-11-24T00:00:00"),
        ("yesterday", "2026-11-23T00:00:00"),
        ("Today ", "2026-11-24T00:00:00"),
        ("-7d", "2026-11-17T14:00:00"),
        ("-1d2h", "2026-11-23T12:00:00"),
        ("+2h", "2026-11-24T16:00:00"),
        ("-1w", "2026-11-17T14:00:00"),
        ("-90m", "2026-11-24T12:30:00"),
        ("2028-02-29", "2028-02-29T00:00:00"),
        ("2026-11-24T09:30", "2026-11-24T09:30:00"),
        ("2026-11-24T09:30:00+02:00", "2026-11-24T07:30:00"),
        ("2026-11-24T09:30:00Z", "2026-11-24T09:30:00"),
        ("2026-11-24 09:30", "2026-11-24T09:30:00"),
    ],
)
def test_time_is_parsed_in_any_of_its_forms(text: str, meant: str) -> None:
    assert moment(text, NOW, "after") == datetime.fromisoformat(meant).replace(tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "last week", "7d", "-7", "-d", "-1y", "2026-02-30", "2027-02-29", "24.11.2026",
                                  "-999999w", "+999999w", "2026-11-24T25:00", "-1d 2h", "٣d", "-٣d"])  # fmt: skip
def test_other_time_text_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(InvalidInput, match="before: not") as refused:
        moment(text, NOW, "before")
    assert "-7d" in refused.value.hint


@settings(max_examples=examples(300), deadline=None)
@given(st.text(max_size=20) | st.from_regex(r"[+-](\d{1,9}[mhdw]){1,3}", fullmatch=True))
def test_any_text_is_a_time_or_invalid_input(text: str) -> None:
    try:
        assert moment(text, NOW, "after").tzinfo is UTC
    except InvalidInput:
        pass


def test_window_is_in_unix_seconds_and_open_without_limits() -> None:
    assert window("2026-11-24", None, NOW) == (1795478400, None)
    assert window(None, "now", NOW) == (None, int(NOW))


@pytest.mark.parametrize(("after", "before"), [("now", "now"), ("today", "-7d")])
def test_empty_window_is_refused(after: str, before: str) -> None:
    with pytest.raises(InvalidInput, match="after"):
        window(after, before, NOW)


def test_rows_show_minutes_and_details_an_offset() -> None:
    assert short("1795528859999") == "2026-11-24 14:00"
    assert full("1795528859999") == "2026-11-24T14:00:59+00:00"


@pytest.mark.parametrize("value", ["", "soon", "9" * 30, "-" + "9" * 30])
def test_invalid_time_is_shown_as_empty(value: str) -> None:
    assert short(value) == full(value) == ""
