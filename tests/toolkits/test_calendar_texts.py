"""Long texts of events: read to their end, read as stored, and changed without losing any part."""

from __future__ import annotations

from typing import Any

import pytest

from deputize.core import Call, Conflict, Deputy, InvalidInput, Request, allow_all
from deputize.core.errors import OutcomeUnknown
from deputize.sandbox import Sandbox
from deputize.sandbox.pytest_plugin import Granting
from deputize.toolkits._shared.long_text import digest
from deputize.toolkits._shared.page import tokens
from deputize.toolkits.calendar import TOOLKIT
from deputize.toolkits.calendar.base import WHOLE
from tests.toolkits.google_driver import ALICE, BOB, Desk
from tests.toolkits.test_calendar_find import add

WORDS = " ".join(f"word{n}" for n in range(900))
LINK = "https://zoom.example.test/j/987654321?pwd=" + "a1B2c3D4" * 30
HTML = f'<p>Agenda:</p><ul><li><a href="{LINK}">join</a></li></ul><p hidden>SECRET ORDER</p>'
PAGE = HTML + f"<p>{WORDS}</p>"
SUMS = "a < b && c\n\n    indented"
EVENT = {"event_id": "long00001"}


def desk_with(description: str, **more: Any) -> Desk:
    desk = Desk(TOOLKIT, frozenset({WHOLE}))
    at = ("2026-12-01T10:00:00+01:00", "2026-12-01T11:00:00+01:00")
    add(desk, "long00001", *at, description=description, **more)
    return desk


def stored(desk: Desk | Sandbox) -> str:
    sandbox = desk.sandbox if isinstance(desk, Desk) else desk
    events = sandbox.service("calendar")["events"]
    return str(events[f"{ALICE}/long00001"]["data"].get("description", ""))


def read(desk: Desk, name: str = "description", **how: Any) -> tuple[str, dict[str, Any]]:
    """Return a whole text, and the metadata of its last part."""
    whole, told = "", dict[str, Any](next_offset=0)
    while "next_offset" in told:
        told = desk.run("get_event", EVENT | how | {"offset": told["next_offset"]})
        whole += told[name]
        assert tokens(told) <= 4_000 and told["id"] == "long00001"
    return whole, told


@pytest.mark.parametrize("text", [WORDS, PAGE, HTML, SUMS], ids=["words", "page", "html", "sums"])
def test_description_is_read_to_its_end_rendered_and_raw(text: str) -> None:
    desk = desk_with(text)
    first = desk.run("get_event", EVENT)
    seen, last = read(desk)
    assert (first["description"] == seen[: len(first["description"])] and LINK[:9] in seen) or text in (WORDS, seen)
    assert "SECRET" not in seen and (seen == text) is ("text_digest" in last)
    raw, told = read(desk, raw=True)
    assert raw == text and told["text_digest"] == digest(text)
    assert tokens(first) <= 1_700 and ("next_offset" in first) is (len(text) > 3_000)


def test_text_part_never_ends_inside_a_link() -> None:
    text = " ".join([WORDS[:2_900], LINK, WORDS])
    desk = desk_with(text)
    whole, told, parts = "", desk.run("get_event", EVENT), list[str]()
    while True:
        parts.append(told["description"])
        if "next_offset" not in told:
            break
        told = desk.run("get_event", EVENT | {"offset": told["next_offset"]})
    whole = "".join(parts)
    assert whole == text and sum(LINK in one for one in parts) == 1


def test_long_location_title_and_guests_can_be_read_whole() -> None:
    people = [{"email": f"p{n}@x.test", "displayName": f"Person {n}", "comment": "Hm. " * 9} for n in range(190)]
    desk = desk_with("", location=f"{WORDS} {LINK}", summary=WORDS, attendees=people)
    detail = desk.run("get_event", EVENT)
    assert [one["part"] for one in detail["cut"]] == ["title", "location", "people"] and detail["more_people"] == 180
    assert read(desk, "location", part="location")[0] == f"{WORDS} {LINK}"
    assert read(desk, "title", part="title")[0] == WORDS
    found: list[str] = []
    told = {"next_offset": 0}
    while "next_offset" in told:
        told = desk.run("get_event", EVENT | {"part": "people", "offset": told["next_offset"]})
        assert tokens(told) <= 4_000 and told["untrusted"] is True
        found += [one["email"] for one in told["people"]]
    assert found == [one["email"] for one in people]


@pytest.mark.parametrize("how", [{"raw": True}, {"offset": 3}, {"part": "title"}, {"part": "location"}], ids=str)
def test_foreign_text_is_marked_in_each_part_and_own_text_is_not(how: dict[str, Any]) -> None:
    words: dict[str, Any] = {"description": "Lunch\u202e?", "summary": "Lunch", "location": "Here"}
    assert "untrusted" not in desk_with(**words | {"description": "Lunch"}).run("get_event", EVENT | how)
    theirs = desk_with(**words, organizer={"email": BOB})
    assert theirs.run("get_event", EVENT | how)["untrusted"] is True


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"offset": 99_999}, "beyond the end"),
        ({"part": "people", "offset": 99}, "99"),
        ({"part": "people", "raw": True}, "raw"),
        ({"part": "attachments"}, "part"),
    ],
)
def test_missing_part_is_reported(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInput, match=says) as refused:
        desk_with(WORDS).run("get_event", EVENT | wrong)
    assert refused.value.hint


# ----------------------------------------------------------------- edits


@pytest.mark.parametrize("text", [PAGE, HTML, WORDS], ids=["page", "html", "words"])
def test_description_is_replaced_only_with_its_digest(text: str) -> None:
    desk = desk_with(text)
    shown = desk.run("get_event", EVENT)["description"]
    with pytest.raises(InvalidInput) as refused:
        desk.run("update_event", EVENT | {"description": f"{shown}\n\nOne line more"})
    assert refused.value.reason == "unread" and "raw=true" in refused.value.hint and stored(desk) == text
    whole, told = read(desk, raw=True)
    with pytest.raises(Conflict) as stale:
        desk.run("update_event", EVENT | {"description": "x", "if_text": digest("another")})
    assert stale.value.reason == "stale" and stored(desk) == text
    desk.run("update_event", EVENT | {"description": f"{whole}<p>More</p>", "if_text": told["text_digest"]})
    assert stored(desk) == f"{text}<p>More</p>"


def test_description_is_appended_to_and_edited_without_reading() -> None:
    desk = desk_with(HTML)
    done = desk.ran("update_event", EVENT | {"description": "Moved: I am travelling.", "append": True})
    assert stored(desk) == f"{HTML}\n\nMoved: I am travelling."
    assert done.shown[0].destroys is False and done.shown[0].fields["description"]["after"] == stored(desk)
    done = desk.ran("update_event", EVENT | {"description": "Plan:", "replaces": "Agenda:"})
    assert stored(desk).startswith("<p>Plan:</p>") and done.shown[0].destroys is True
    for wrong in ({"replaces": "nowhere"}, {"replaces": "<p"}, {"replaces": "Plan", "append": True}):
        with pytest.raises(InvalidInput, match="replaces"):
            desk.run("update_event", EVENT | {"description": "x"} | wrong)
    for alone in ({"append": True}, {"replaces": "x"}, {"if_text": "x"}):
        with pytest.raises(InvalidInput, match="only together with description"):
            desk.run("update_event", EVENT | {"title": "x"} | alone)


@pytest.mark.parametrize("old", [f"Microsoft Teams Meeting; {LINK} ; Room 7", WORDS])
def test_text_cut_by_a_list_cannot_replace_the_whole(old: str) -> None:
    desk = desk_with("", location=old, summary=old)
    row = next(one for one in desk.run("list_events", {"before": "+9d"})["items"] if one["id"] == "long00001")
    for name, shown in (("location", row["where"]), ("title", row["title"])):
        with pytest.raises(InvalidInput, match=f"{name}: .* is cut") as refused:
            desk.run("update_event", EVENT | {name: shown})
        assert "calendar_get_event" in refused.value.hint
    desk.run("update_event", EVENT | {"location": "Room 8\u2026", "title": "Soon\u2026"})


def test_empty_text_is_returned_as_empty() -> None:
    for how in ({"raw": True}, {"part": "location"}, {"part": "recurrence"}):
        assert "" in desk_with("").run("get_event", EVENT | how).values()


def test_empty_or_short_plain_description_is_replaced_freely() -> None:
    for old in ("", "Short and plain.\n  With two lines."):
        desk = desk_with(old)
        desk.run("update_event", EVENT | {"description": "New"})
        assert stored(desk) == "New"


def test_too_long_description_is_refused_with_its_length() -> None:
    desk = desk_with("x" * 8_000)
    with pytest.raises(InvalidInput, match="8302 characters, and at most 8192"):
        desk.run("update_event", EVENT | {"description": "y" * 300, "append": True})
    with pytest.raises(InvalidInput, match="9000 characters"):
        desk.run("create_event", {"title": "T", "start": "2026-12-01", "end": "1d", "description": "y" * 9_000})


def test_appended_text_is_added_once_after_losses_and_interruptions() -> None:
    added = EVENT | {"description": "Once.", "append": True}
    desk = desk_with(HTML)
    desk.lose["/calendars/{calendar}/events/{event}"] = 1
    with pytest.raises(OutcomeUnknown):
        desk.run("update_event", added)
    again = desk_with(HTML)
    first = again.ran("update_event", added)
    again.run("update_event", added, noted=first.notes[-1])
    assert stored(again) == f"{HTML}\n\nOnce."


def test_write_that_landed_unseen_is_not_repeated_on_its_own_conflict() -> None:
    desk = desk_with(HTML)

    def lands(request: Request) -> None:
        if request.method == "PATCH":
            desk.before.clear()
            desk.send(request)

    desk.before.append(lands)
    desk.run("update_event", EVENT | {"description": "Once.", "append": True})
    assert stored(desk) == f"{HTML}\n\nOnce."


def test_concurrent_description_change_is_not_overwritten() -> None:
    desk = desk_with(HTML)

    def meanwhile(request: Request) -> None:
        if request.method == "PATCH":
            desk.before.clear()
            record = desk.sandbox._world.services["calendar"]["events"][f"{ALICE}/long00001"]
            record["data"]["description"] += " Bob was here."
            record["etag"] += 1

    desk.before.append(meanwhile)
    with pytest.raises(Conflict):
        desk.run("update_event", EVENT | {"description": "Once.", "append": True})
    assert stored(desk) == f"{HTML} Bob was here."


def test_series_description_is_appended_from_one_occurrence_on() -> None:
    desk = Desk(TOOLKIT, frozenset({WHOLE}))
    events = desk.sandbox._world.services["calendar"]["events"]
    events[f"{ALICE}/standup0001"]["data"]["description"] = HTML
    day = {"event_id": "standup0001_20261201T080000Z", "apply_to": "following"}
    with pytest.raises(InvalidInput, match="only a part"):
        desk.run("update_event", day | {"description": "New"})
    made = desk.run("update_event", day | {"description": "From now on.", "append": True})
    assert events[f"{ALICE}/{made['id']}"]["data"]["description"] == f"{HTML}\n\nFrom now on."
    assert events[f"{ALICE}/standup0001"]["data"]["description"] == HTML


# ----------------------------------------------------------------- through the whole deputy


async def test_continuations_return_all_of_an_event(deputy: Deputy, grant: Granting, sandbox: Sandbox) -> None:
    grant("alice", "calendar.events.owned", provider="google")
    deputy.policy = allow_all
    page = PAGE + f"<p>{WORDS}</p>"
    people = [{"email": f"p{n}@x.test"} for n in range(40)]
    lines = ["RRULE:FREQ=DAILY", *(f"EXDATE:203001{day:02}T000000Z" for day in range(2, 29))]
    events = sandbox._world.services["calendar"]["events"]
    event = events[f"{ALICE}/holiday0001"]["data"]
    event |= {"description": page, "location": WORDS, "summary": WORDS, "attendees": people, "recurrence": lines}

    async def followed(ref: str, name: str) -> Any:
        whole: Any = None
        while ref:
            told = await deputy.act("calendar_read_more", {"ref": ref}, user="alice")
            whole = told[name] if whole is None else whole + told[name]
            ref = told.get("more", "")
        return whole

    async def act(tool: str, **arguments: Any) -> Any:
        return await deputy.act(tool, arguments, user="alice")

    detail = await act("calendar_get_event", event_id="holiday0001")
    parts = {one["part"]: one["more"] for one in detail["cut"]}
    assert set(parts) == {"title", "location", "people", "recurrence"}
    assert await followed(parts["title"], "title") == WORDS == await followed(parts["location"], "location")
    assert [one["email"] for one in await followed(parts["people"], "people")] == [one["email"] for one in people]
    assert (await followed(parts["recurrence"], "recurrence")).split("\n") == lines
    seen = detail["description"] + await followed(detail["more"], "description")
    assert seen.endswith(WORDS) and "SECRET" not in seen
    raw = await act("calendar_get_event", event_id="holiday0001", raw=True)
    assert raw["description"] + await followed(raw["more"], "description") == page
    rows = (await act("calendar_list_events", expand=False, after="2026-12-01", before="2026-12-20"))["items"]
    more = next(row["more"] for row in rows if row["id"] == "holiday0001")
    assert (await act("calendar_read_more", ref=more))["cut"] and more.startswith("calendar_get_event?")
    assert [row for row in rows if "more" in row] == [row for row in rows if row["title"].endswith("\u2026")]


async def test_edit_of_html_is_undone_exactly(deputy: Deputy, grant: Granting) -> None:
    grant("alice", "calendar.events.owned", provider="google")
    deputy.policy = allow_all

    async def act(tool: str, call: str, **arguments: Any) -> Any:
        return await deputy.act(tool, arguments, user="alice", call=Call(call))

    made = await act("calendar_create_event", "1", title="T", start="2030-01-01", end="1d", description=HTML)
    await act("calendar_update_event", "2", event_id=made["id"], description="More.", append=True)
    (latest, *_) = await deputy.undoable("alice")
    await deputy.undo("alice", latest.id)
    raw = await act("calendar_get_event", "3", event_id=made["id"], raw=True)
    assert raw["description"] == HTML and raw["text_digest"] == digest(HTML)
