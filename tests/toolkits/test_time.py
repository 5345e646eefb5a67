"""Times as models write them."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deputize.core.errors import InvalidInput
from deputize.toolkits._shared.times import full, moment, names_a_day, short, window
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


BERLIN = ZoneInfo("Europe/Berlin")
SUMMER = datetime(2026, 3, 27, 11, tzinfo=UTC).timestamp()
"""The Friday before the clocks change in Berlin."""


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("tomorrow 16:00", "2026-11-25T16:00+01:00"),
        ("Tomorrow at 4pm", "2026-11-25T16:00+01:00"),
        ("5:30 PM tomorrow", "2026-11-25T17:30+01:00"),
        ("noon", "2026-11-24T12:00+01:00"),
        ("at 16:00", "2026-11-24T16:00+01:00"),
        ("16:00 UTC", "2026-11-24T17:00+01:00"),
        ("the day after tomorrow at 9:00", "2026-11-26T09:00+01:00"),
        ("Friday", "2026-11-27T00:00+01:00"),
        ("on Fri, 9:30", "2026-11-27T09:30+01:00"),
        ("this Friday", "2026-11-27T00:00+01:00"),
        ("next Monday", "2026-11-30T00:00+01:00"),
        ("Friday next week", "2026-12-04T00:00+01:00"),
        ("Monday of last week", "2026-11-16T00:00+01:00"),
        ("last Friday", "2026-11-20T00:00+01:00"),
        ("in 2 hours", "2026-11-24T17:00+01:00"),
        ("an hour ago", "2026-11-24T14:00+01:00"),
        ("in 3 days", "2026-11-27T15:00+01:00"),
        ("+3d 9:00", "2026-11-27T09:00+01:00"),
        ("in 2 weeks at 9:00", "2026-12-08T09:00+01:00"),
        ("PT30M", "2026-11-24T15:30+01:00"),
        ("-P1DT2H", "2026-11-23T13:00+01:00"),
        ("3 December", "2026-12-03T00:00+01:00"),
        ("Dec 3rd, 2027 at 15:00", "2027-12-03T15:00+01:00"),
        ("Thursday 3 December 2026", "2026-12-03T00:00+01:00"),
        ("29 February 2028", "2028-02-29T00:00+01:00"),
        ("2026-12-03 3pm", "2026-12-03T15:00+01:00"),
    ],
)
def test_words_are_read_in_the_users_zone(text: str, meant: str) -> None:
    assert moment(text, NOW, "start", BERLIN) == datetime.fromisoformat(meant)
    elsewhere = moment(text, NOW, "start", ZoneInfo("Asia/Tokyo"))
    assert names_a_day(text) == (elsewhere != datetime.fromisoformat(meant))


def test_words_across_a_clock_change_keep_the_hour_and_elapsed_time() -> None:
    assert moment("+3d", SUMMER, "start", BERLIN) == datetime(2026, 3, 30, 12, tzinfo=BERLIN)
    assert moment("next Monday 12:00", SUMMER, "start", BERLIN) == datetime(2026, 3, 30, 12, tzinfo=BERLIN)
    assert moment("in 72 hours", SUMMER, "start", BERLIN) == datetime(2026, 3, 30, 13, tzinfo=BERLIN)


@pytest.mark.parametrize(
    ("text", "field", "choices"),
    [
        ("next Friday", "start", "2026-11-27 or 2026-12-04"),
        ("last Monday", "after", "2026-11-16 or 2026-11-23"),
        ("this Monday", "start", "2026-11-23 or 2026-11-30"),
        ("Tuesday", "start", "2026-11-24 or 2026-12-01"),
        ("Friday", "after", "2026-11-20 or 2026-11-27"),
        ("1 June", "start", "2026-06-01 or 2027-06-01"),
        ("Friday 3 December 2026", "start", "2026-12-03 is a Thursday"),
        ("tomorrow at 5", "start", "5:00 or 17:00"),
        ("PT30M", "after", "-PT30M for the past"),
    ],
)
def test_time_with_two_meanings_is_refused_with_both(text: str, field: str, choices: str) -> None:
    with pytest.raises(InvalidInput, match=f"^{field}: .* can mean several times") as refused:
        moment(text, NOW, field, BERLIN)
    assert choices in refused.value.hint


@pytest.mark.parametrize(
    "text",
    [
        *("", "last week", "7d", "-7", "-d", "-1y", "2026-02-30", "2027-02-29", "24.11.2026", "-999999w", "+999999w"),
        *("next week", "tonight", "3/4/2026", "31 Feb 2026", "tomorrow 24:00", "13pm", "now UTC", "tomorrow tomorrow"),
        *("Friday x", "16:00 17:00", "P", "on", "x" * 200, "2026-11-24T25:00", "-1d 2h", "٣d", "-٣d", "٣ December"),
    ],
)
def test_other_time_text_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(InvalidInput, match="before: not") as refused:
        moment(text, NOW, "before")
    assert "-7d" in refused.value.hint


@settings(max_examples=examples(300), deadline=None)
@given(
    st.text(max_size=20)
    | st.from_regex(r"[+-](\d{1,9}[mhdw]){1,3}", fullmatch=True)
    | st.lists(st.sampled_from("next last this on at in friday monday tomorrow today noon 3 31 29 feb dec 2026 9999 5pm"
                               " 16:00 days hours ago utc week of pt30m -p1d +3d an".split()), max_size=5).map(" ".join)
)  # fmt: skip
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
