"""How the values of a `Preview` are rendered: times in a person's zone, and changes in a long text."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from deputize.core import Audience, Change, Instant, Preview, shown_file
from deputize.core.provenance.identifiers import targets, targets_of
from deputize.core.tools.preview import argument_rows, show_rows
from deputize.core.tools.preview_values import MAX_LINES

BERLIN = ZoneInfo("Europe/Berlin")


def rows(zone: tzinfo | None = UTC, **fields: Any) -> dict[str, str]:
    shown = show_rows(Preview("Do it", audience=Audience.SELF, **fields), zone)
    assert shown.pop() == ("seen by", "only you")
    return dict(shown)


@pytest.mark.parametrize(
    ("moment", "zone", "shown"),
    [
        ("2026-12-02T10:00:00+01:00", BERLIN, "Wed 2 Dec 2026, 10:00 (Europe/Berlin)"),
        ("2026-12-02T10:00:00+01:00", UTC, "Wed 2 Dec 2026, 09:00 (UTC)"),
        ("2026-07-01T23:30:07Z", BERLIN, "Thu 2 Jul 2026, 01:30:07 (Europe/Berlin)"),
        ("2026-10-25T00:30:00Z", BERLIN, "Sun 25 Oct 2026, 02:30 (Europe/Berlin, UTC+02:00)"),
        ("2026-10-25T01:30:00Z", BERLIN, "Sun 25 Oct 2026, 02:30 (Europe/Berlin, UTC+01:00)"),
        ("2026-12-02T10:00:00Z", ZoneInfo("Asia/Kathmandu"), "Wed 2 Dec 2026, 15:45 (Asia/Kathmandu)"),
    ],
)
def test_instant_is_displayed_unambiguously_in_the_users_zone(moment: str, zone: tzinfo, shown: str) -> None:
    assert rows(zone, at=Instant.of(moment)) == {"at": shown}


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="this system has no way to change the zone of a process")
def test_local_zone_offset_follows_each_date() -> None:
    before = os.environ.get("TZ")
    try:
        os.environ["TZ"] = "CET-1CEST,M3.5.0,M10.5.0/3"
        time.tzset()
        assert rows(None, at=Instant.of("2026-12-02T09:00:00Z"))["at"] == "Wed 2 Dec 2026, 10:00 (CET)"
        assert rows(None, at=Instant.of("2026-07-02T09:00:00Z"))["at"] == "Thu 2 Jul 2026, 11:00 (CEST)"
    finally:
        os.environ.pop("TZ")
        os.environ |= {"TZ": before} if before else {}
        time.tzset()


def test_equal_instants_have_equal_digests_in_every_notation() -> None:
    moment = datetime(2026, 12, 2, 10, tzinfo=BERLIN)
    same = {Instant.of(moment), Instant.of(moment.timestamp()), Instant.of(moment.isoformat())}
    assert len(same) == 1
    shows = [Preview("Do it", audience=Audience.SELF, at=Instant.of(at)) for at in (moment, moment.astimezone(UTC))]
    assert shows[0].digest == shows[1].digest and Preview.of(shows[0].kept).digest == shows[0].digest
    later = Preview("Do it", audience=Audience.SELF, at=Instant.of(moment.timestamp() + 60))
    assert later.differs(shows[0]) == ["at"] and not later.only_edits(shows[0], [])


@pytest.mark.parametrize("wrong", ["2026-12-02T10:00:00", datetime.fromisoformat("2026-12-02"), "tomorrow", 1e20])
def test_invalid_instant_raises(wrong: str | datetime | float) -> None:
    with pytest.raises((ValueError, OverflowError)):
        Instant.of(wrong)


def test_instants_in_lists_and_changes_are_displayed() -> None:
    ten, eleven = (Instant.of(f"2026-12-02T{hour}:00:00Z") for hour in (10, 11))
    assert rows(at=Change(ten, eleven)) == {
        "at now": "Wed 2 Dec 2026, 10:00 (UTC)",
        "at": "Wed 2 Dec 2026, 11:00 (UTC)",
    }
    assert rows(at=[ten, eleven])["at"] == "- Wed 2 Dec 2026, 10:00 (UTC)\n- Wed 2 Dec 2026, 11:00 (UTC)"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Hi" + " " * 300 + "pay eve", "Hi[300 blanks]pay eve"),
        ("Hi" + "\t\u2003" * 150 + "pay eve", "Hi[300 blanks]pay eve"),
        ("Hi" + "\n" * 301 + "pay eve", "Hi\n[300 empty lines]\npay eve"),
        ("Hi" + "\r\n" * 301 + "pay eve", "Hi\n[300 empty lines]\npay eve"),
        ("Hi\n" + "   \n" * 300 + "pay eve", "Hi\n[300 empty lines]\npay eve"),
        ("Hi" + "\u200b" * 300 + "pay eve", "Hi[300 hidden characters: U+200B]pay eve"),
        ("Hi" + "\u200b\u2060\u00ad\ufeff" * 75 + "x", "Hi[300 hidden characters: U+200B, U+2060, U+00AD and 1 more]x"),
        ("Hi" + " \u200b" * 150 + "pay eve", "Hi[150 blanks with 150 hidden characters]pay eve"),
        ("Hi\n" + "\u200b\n" * 300 + "x", "Hi\n[300 empty lines with 300 hidden characters]\nx"),
        (
            "Hi" + "".join(chr(0xE0000 + ord(one)) for one in "pay eve 5"),
            'Hi[9 hidden characters: "pay eve 5" in tag characters]',
        ),
        ("a" + " " * 59 + "b" + "\n" * 10 + "c", "a" + " " * 59 + "b" + "\n" * 10 + "c"),
    ],
    ids=[
        *("blanks", "other blanks", "lines", "CRLF", "lines of blanks"),
        *("hidden", "kinds of hidden", "hidden blanks", "hidden lines", "tags", "short"),
    ],
)
def test_long_gap_in_a_text_is_written_out(text: str, shown: str) -> None:
    assert rows(text=text)["text"] == shown and rows(text=[text])["text"].count("blanks]") == shown.count("blanks]")


FORGED: list[dict[str, Any]] = [
    {"file": "quote.pdf"},
    {"file": "quote.pdf", "amount": "900 EUR", "payee": "eve@evil.test"},
    {"file": "quote.pdf", "mime": "application/pdf", "size": 3, "payee": "eve@evil.test"},
    {"file": "quote.pdf", "mime": "application/pdf", "size": 3, "pin": "eve@evil.test"},
    {"file": "quote.pdf", "mime": "application/pdf", "size": 3, "sha256": {"payee": "eve@evil.test"}},
    {"file": {"payee": "eve@evil.test"}, "mime": "application/pdf", "size": 3, "pin": ""},
    {"before": "eve@evil.test", "after": "bob@acme.example"},
    {"instant": "eve@evil.test"},
    {"instant": 1e30},
]


@pytest.mark.parametrize("wrapped", [False, True], ids=["alone", "in a list"])
@pytest.mark.parametrize("value", FORGED, ids=str)
def test_mapping_is_displayed_with_all_its_keys(value: dict[str, Any], wrapped: bool) -> None:
    given = [value] if wrapped else value
    one = Preview("Do it", audience=Audience.SELF, given=given)
    for shown in (one, Preview.of(json.loads(json.dumps(one.kept)))):
        [text] = [text for name, text in show_rows(shown) if name == "given"]
        assert json.loads(text.removeprefix("- ")) == value
    [(_, text)] = argument_rows({"given": given})
    assert json.loads(text.removeprefix("- ")) == value


@pytest.mark.parametrize("value", [one for one in FORGED if "eve@evil.test" in str(one)], ids=str)
def test_targets_inside_mappings_are_found(value: dict[str, Any]) -> None:
    show = Preview("Do it", audience=Audience.PEOPLE, given=value, pins={"given": value})
    inner = Preview("Do it", audience=Audience.PEOPLE, given={"inner": value})
    found = [targets(show), targets(inner), targets_of({"given": [value]}), targets_of({"given": {"inner": value}})]
    assert all("eve@evil.test" in one for one in found)


def test_fields_named_before_and_after_are_both_targets() -> None:
    fields: dict[str, Any] = {"before": "eve@evil.test", "after": "bob@acme.example"}
    assert "eve@evil.test" in targets(Preview("Do it", audience=Audience.PEOPLE, **fields))


def test_stored_file_is_displayed_as_a_file_anywhere() -> None:
    one, other = shown_file("a.pdf", "application/pdf", b"1"), shown_file("b.pdf", "x/y", size=2, pin="7")
    found = rows(file=one, files=[one, other], replaced=Change(one, other))
    assert found["file"].startswith("a.pdf (application/pdf, 1 bytes, sha256 ")
    assert found["files"].endswith("- b.pdf (x/y, 2 bytes)") and found["replaced"] == "b.pdf (x/y, 2 bytes)"
    show = Preview("Do it", audience=Audience.SELF, file=one)
    assert show.unlike({"file": one}) == show.unlike(json.loads(json.dumps({"file": one}))) == []
    assert show.unlike({"file": other}) == ["file"]


def test_values_without_a_json_form_are_texts_and_missing_ones_stay_missing() -> None:
    show = Preview("Do it", audience=Audience.SELF, given={"a": None, "b": datetime(2026, 12, 2, tzinfo=UTC)})
    assert show.kept["fields"] == {"given": {"a": None, "b": "2026-12-02 00:00:00+00:00"}}


OLD = "\n".join(f"line {n}" for n in range(1, 31))


def test_change_of_long_texts_shows_the_difference_and_both_texts() -> None:
    new = OLD.replace("line 3\n", "line 3\nline 3 and a half\n").replace("line 20", "\u202eline 20")
    assert rows(description=Change(OLD, new)) == {
        "description changes": "  line 2\n  line 3\n+ line 3 and a half\n  line 4\n  line 5\n[...]\n"
        "  line 18\n  line 19\n- line 20\n+ [U+202E]line 20\n  line 21\n  line 22",
        "description now": OLD,
        "description": new.replace("\u202e", "[U+202E]"),
    }


@pytest.mark.parametrize(
    ("before", "after"),
    [("short", OLD), (OLD, ""), ("", OLD), ("a", "b"), ("x\n" * (MAX_LINES + 1), OLD), (["a"] * 400, ["b"] * 400)],
    ids=["short before", "emptied", "new", "both short", "too many lines", "lists"],
)
def test_short_or_incomparable_change_has_no_difference(before: object, after: object) -> None:
    assert list(rows(text=Change(before, after))) == ["text now", "text"]


def test_text_line_cannot_pass_for_a_difference_line() -> None:
    old = "+ pay 1 EUR\n" + OLD
    shown = rows(text=Change(old, old.replace("line 1\n", "line 1!\n")))["text changes"]
    assert shown.startswith("  + pay 1 EUR\n- line 1\n+ line 1!\n")
