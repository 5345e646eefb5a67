"""Post-processing of a result before anyone reads it, whatever a provider or a careless tool put into it."""

from __future__ import annotations

from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest

from deputize.core import Audience, Continuation, Instant, Preview, UserTime
from deputize.core.tools.postprocess import MAX_RESULT_DEPTH, TOO_DEEP, postprocess
from deputize.core.tools.preview import show_rows
from deputize.core.tools.user_time import UTC_NAME

BERLIN, NEW_YORK = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York")
NEVER, ALWAYS = "9999-12-31T23:59:59+00:00", "0001-01-01T00:00:00+00:00"
AT = UserTime.of("2026-07-01T10:00:00+00:00", "short")


def handed(result: Any, zone: ZoneInfo = BERLIN) -> Any:
    return postprocess(result, zone, 0.0, lambda more: f"{more}.seal")


class Pair(NamedTuple):
    at: UserTime
    more: Continuation


def test_shared_result_object_is_not_modified() -> None:
    kept = {"rows": [{"at": AT, "more": Continuation("x_read", id=1)}]}
    first = handed(kept)
    assert first == {"rows": [{"at": "2026-07-01 12:00", "more": "x_read?id=1.seal"}], "time_zone": "Europe/Berlin"}
    other = handed(kept, NEW_YORK)
    assert other["rows"][0]["at"] == "2026-07-01 06:00" and other["time_zone"] == "America/New_York"


def test_times_and_continuations_are_found_in_tuples_keys_and_alone() -> None:
    assert handed({"pair": Pair(AT, Continuation("x_read")), "by": {AT: 1}}) == {
        "pair": ["2026-07-01 12:00", "x_read?.seal"],
        "by": {"2026-07-01 12:00": 1},
        "time_zone": "Europe/Berlin",
    }
    assert handed(AT) == "2026-07-01 12:00" and handed(UTC_NAME) == "Europe/Berlin"


@pytest.mark.parametrize("levels", [MAX_RESULT_DEPTH, 20_000])
def test_endlessly_nested_result_is_cut(levels: int) -> None:
    result: dict[str, Any] = {"text": "kept"}
    inner = result
    for _ in range(levels):
        inner["in"] = {}
        inner = inner["in"]
    told = handed(result)
    assert told["text"] == "kept" and TOO_DEEP in str(told)
    inner["in"] = result  # a circle
    assert TOO_DEEP in str(handed(result))


@pytest.mark.parametrize("zone", [BERLIN, NEW_YORK])
@pytest.mark.parametrize("at", [NEVER, ALWAYS])
def test_time_outside_the_zones_calendar_is_in_utc(zone: ZoneInfo, at: str) -> None:
    told = handed({"full": UserTime.of(at), "short": UserTime.of(at, "short")}, zone)
    there = (zone is BERLIN) == (at is ALWAYS)
    assert told["short"].endswith(" UTC") is not there and told["full"].endswith("+00:00") is not there
    shown = dict(show_rows(Preview("Plan", audience=Audience.SELF, at=Instant.of(at)), zone))["at"]
    assert ("UTC" in shown) is not there
