"""Creating, changing, cancelling and answering events: once, never over a newer version, and only as the user
decides."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from deputize.core import ActKey, Effect, Request
from deputize.core.errors import Conflict, InvalidInput, NotFound, OutcomeUnknown
from deputize.sandbox import Sandbox
from deputize.sandbox.google.calendar.seed import ROOM
from deputize.toolkits import calendar
from deputize.toolkits.calendar import TOOLKIT
from deputize.toolkits.calendar.base import OWNED, SETTINGS_READONLY, WHOLE
from tests.toolkits.calendar_calls import MEETING, STAND_UP, TEAM, TRAVEL
from tests.toolkits.google_driver import BOB, Desk
from tests.toolkits.tool_driver import KEY, NOW

ALL = frozenset({WHOLE})


@pytest.fixture
def desk() -> Desk:
    return Desk(TOOLKIT, ALL)


def events(desk: Desk, calendar: str = "alice@example.test") -> dict[str, dict[str, Any]]:
    """Return the events of a calendar by id, without cancelled ones."""
    kept = desk.sandbox.service("calendar")["events"].values()
    return {one["id"]: one["data"] for one in kept if one["home"] == calendar and one["data"]["status"] != "cancelled"}


def mails(desk: Desk) -> list[tuple[str, str]]:
    return [(one["to"], one["about"]) for one in desk.sandbox.service("calendar")["mails"]]


def bodies(desk: Desk, method: str) -> list[dict[str, Any]]:
    import json

    return [json.loads(one.content) for one in desk.sent if one.method == method]


# ----------------------------------------------------------------- create


def test_event_id_is_derived_from_the_act(desk: Desk) -> None:
    made = desk.run("create_event", MEETING)
    (body,) = bodies(desk, "POST")
    assert body["id"] == KEY.base32 == made["id"] and len(body["id"]) == 26
    assert body["start"] == {"dateTime": "2026-12-01T10:00:00", "timeZone": "Europe/Berlin"}
    assert body["end"] == {"dateTime": "2026-12-01T10:30:00", "timeZone": "Europe/Berlin"}
    assert made["start"] == "2026-12-01T10:00+01:00" and made["summary"] == "Created."
    assert made["undo"] == {
        "tool": "calendar_delete_event",
        "args": {"event_id": made["id"], "calendar": "primary", "notify": "all"},
    }
    desk.run("delete_event", made["undo"]["args"])
    assert made["id"] not in events(desk)


@pytest.mark.parametrize("noted", [None, {"event": KEY.base32}])
def test_repeated_act_creates_one_event(desk: Desk, noted: Any) -> None:
    before = len(events(desk))
    first = desk.run("create_event", MEETING)
    again = desk.run("create_event", MEETING, noted=noted)
    assert again["id"] == first["id"] and len(events(desk)) == before + 1
    desk.run("create_event", MEETING, key=ActKey.of("another"))
    assert len(events(desk)) == before + 2


@pytest.mark.parametrize("losses", [1, 2, 3])
def test_lost_answer_is_looked_up_before_resending(desk: Desk, losses: int) -> None:
    before = len(events(desk))
    desk.lose["/calendars/{calendar}/events"] = losses
    desk.run("create_event", MEETING)
    assert len(events(desk)) == before + 1
    assert [one.method for one in desk.sent].count("POST") == 1


def test_request_lost_before_arrival_is_resent_once(desk: Desk) -> None:
    def refuse(request: Request) -> None:
        if request.method == "POST":
            desk.before.clear()
            raise OutcomeUnknown("lost on the way there")

    desk.before.append(refuse)
    made = desk.run("create_event", MEETING)
    assert made["id"] in events(desk) and len(desk.sent) >= 3


def test_unverifiable_outcome_is_unknown(desk: Desk) -> None:
    def break_down(request: Request) -> None:
        if request.method == "POST" or request.path.endswith("{event}"):
            raise OutcomeUnknown("lost")

    desk.before.append(break_down)
    with pytest.raises(OutcomeUnknown):
        desk.run("create_event", MEETING)


@pytest.mark.parametrize("stop", range(1, 5))
def test_process_killed_anywhere_leaves_a_resumable_act(desk: Desk, stop: int) -> None:
    before = len(events(desk))
    noted = next(iter(desk.ran("create_event", MEETING, stop=stop).notes), None)
    made = desk.run("create_event", MEETING, noted=noted)
    assert made["id"] == KEY.base32 and len(events(desk)) == before + 1


def test_event_created_and_deleted_is_not_created_again(desk: Desk) -> None:
    made = desk.run("create_event", MEETING)
    desk.run("delete_event", {"event_id": made["id"]})
    with pytest.raises(Conflict, match="deleted since"):
        desk.run("create_event", MEETING)
    with pytest.raises(Conflict, match="deleted since"):
        desk.run("create_event", MEETING, noted={"event": made["id"]})


def test_guests_and_rooms_are_invited_once(desk: Desk) -> None:
    people = ["Bob <bob@example.test>", "BOB@example.test", ROOM, "alice@example.test"]
    made = desk.run("create_event", MEETING | {"attendees": people, "optional_attendees": ["carol@x.test"]})
    (body,) = bodies(desk, "POST")
    assert [one["email"] for one in body["attendees"]] == ["bob@example.test", ROOM, "carol@x.test"]
    assert body["attendees"][1]["resource"] is True and body["attendees"][2]["optional"] is True
    assert ("bob@example.test", "invited") in mails(desk) and "invited" in made["summary"]
    bob = Desk(TOOLKIT, ALL, desk.sandbox, BOB)
    seen = bob.run("get_event", {"event_id": made["id"]})
    assert seen["organizer"] == "alice@example.test" and seen["my_response"] == "not answered"
    assert seen["untrusted"] is True
    bob.run("respond_to_event", {"event_id": made["id"], "response": "tentative", "comment": "Maybe."})
    guest = next(one for one in desk.run("get_event", {"event_id": made["id"]})["people"] if one["email"] == BOB)
    assert (guest["response"], guest["comment"]) == ("tentative", "Maybe.")


@pytest.mark.parametrize(
    ("notify", "sent", "told"),
    [("all", "all", {BOB, "c@x.test"}), ("external", "externalOnly", {"c@x.test"}), ("none", "none", set())],
)
def test_notification_setting_is_always_sent(desk: Desk, notify: str, sent: str, told: set[str]) -> None:
    desk.run("create_event", MEETING | {"attendees": [BOB, "c@x.test"], "notify": notify})
    post = next(one for one in desk.sent if one.method == "POST")
    assert post.url.params["sendUpdates"] == sent and {to for to, _ in mails(desk)} == told
    alone = Desk(TOOLKIT, ALL)
    alone.run("create_event", MEETING)
    assert all("sendUpdates" not in one.url.params for one in alone.sent)


def test_pending_video_call_is_waited_for_once(desk: Desk) -> None:
    made = desk.run("create_event", MEETING | {"meet": True})
    (body,) = bodies(desk, "POST")
    assert body["conferenceData"]["createRequest"]["requestId"] == KEY.hex
    assert made["meet"].startswith("https://meet.google.com/") and desk.waited == 1


def test_overlapping_events_are_named_and_nothing_is_refused(desk: Desk) -> None:
    made = desk.run("create_event", {"title": "Clash", "start": "2026-12-01T13:30", "end": "2026-12-01T14:30"})
    assert made["conflicts"] == ["Design review (2026-12-01 14:00 to 2026-12-01 15:00)"]
    free = desk.run(
        "create_event",
        {"title": "x", "start": "2026-12-01T13:30", "end": "1h", "show_as": "free"},
        key=ActKey.of("x"),
    )
    assert "conflicts" not in free


@pytest.mark.parametrize(
    "wrong",
    [
        {"start": "2026-12-01", "end": "30m"},
        {"start": "2026-03-29T02:30", "time_zone": "Europe/Berlin"},
        {"time_zone": "Europe/Nowhere"},
        {"attendees": ["not an address"]},
        {"attendees": ["a@x.test, b@x.test"]},
        {"attendees": ["a@x.test\r\nBcc: b@x.test"]},
        {"attendees": [f"p{n}@x.test" for n in range(201)]},
        {"title": "a\r\nb"},
        {"recurrence": ["FREQ=SOMETIMES"]},
        {"recurrence": ["FREQ=DAILY"], "start": "2026-12-01T10:00+01:00", "time_zone": None},
        {"reminders": [1, 2, 3, 4, 5, 6]},
        {"reminders": [-1]},
        {"color": "red"},
        {"kind": "focusTime", "attendees": [BOB]},
        {"kind": "outOfOffice", "start": "2026-12-01", "end": "1d"},
        {"kind": "workingLocation", "calendar": "Team"},
        {"calendar": "Tem"},
        {"description": "x" * 8193},
    ],
)
def test_impossible_event_is_refused_before_writing(wrong: dict[str, Any]) -> None:
    desk = Desk(TOOLKIT, frozenset({OWNED}) if "recurrence" in wrong and "time_zone" in wrong else ALL)
    if "recurrence" in wrong and "time_zone" in wrong:
        desk.before.append(lambda request: _no_zone(request))
    with pytest.raises(InvalidInput):
        desk.run("create_event", MEETING | wrong)
    assert not bodies(desk, "POST")


def _no_zone(request: Request) -> None:
    raise NotFound("no zone to be had")


def test_zone_comes_from_settings_then_calendar_or_is_requested() -> None:
    for granted in (frozenset({OWNED, SETTINGS_READONLY}), frozenset({OWNED})):
        desk = Desk(TOOLKIT, granted)
        assert desk.run("create_event", MEETING)["start"].endswith("+01:00")
    desk = Desk(TOOLKIT, frozenset({OWNED}))
    desk.before.append(lambda request: _no_zone(request) if request.method == "GET" else None)
    with pytest.raises(InvalidInput, match="time zone"):
        desk.run("create_event", MEETING)
    assert desk.run("create_event", MEETING | {"start": "2026-12-01T10:00-05:00"})["start"] == "2026-12-01T16:00+01:00"


def test_working_location_and_focus_time_decline_nothing(desk: Desk) -> None:
    desk.run("create_event", MEETING | {"kind": "workingLocation"})
    desk.run("create_event", MEETING | {"kind": "focusTime"}, key=ActKey.of("f"))
    home, focus = bodies(desk, "POST")
    assert home["workingLocationProperties"]["type"] == "homeOffice" and home["transparency"] == "transparent"
    assert focus["focusTimeProperties"] == {"autoDeclineMode": "declineNone"}


# ----------------------------------------------------------------- update


def test_only_given_fields_change_and_a_new_start_keeps_the_length(desk: Desk) -> None:
    before = events(desk)["focus000001"]
    done = desk.run("update_event", {"event_id": "focus000001", "start": "2026-12-02T10:00"})
    (body,) = bodies(desk, "PATCH")
    assert set(body) == {"start", "end"} and done["changed"] == ["start", "end"]
    after = events(desk)["focus000001"]
    assert after["end"]["dateTime"] == "2026-12-02T12:00:00+01:00" and after["summary"] == before["summary"]
    desk.run("update_event", done["undo"]["args"])
    assert events(desk)["focus000001"]["start"] == before["start"]


def test_update_is_conditional_on_the_read_version(desk: Desk) -> None:
    def meanwhile(request: Request) -> None:
        if request.method == "PATCH":
            desk.before.clear()
            record = desk.sandbox._world.services["calendar"]["events"]["alice@example.test/focus000001"]
            record["data"]["location"], record["etag"] = "Library", record["etag"] + 1

    desk.before.append(meanwhile)
    desk.run("update_event", {"event_id": "focus000001", "title": "Read"})
    assert [one.headers["if-match"] for one in desk.sent if one.method == "PATCH"] == ['"1"', '"2"']
    assert (events(desk)["focus000001"]["summary"], events(desk)["focus000001"]["location"]) == ("Read", "Library")


def test_constantly_changing_event_is_left_unchanged(desk: Desk) -> None:
    def meanwhile(request: Request) -> None:
        if request.method == "PATCH":
            desk.sandbox._world.services["calendar"]["events"]["alice@example.test/focus000001"]["etag"] += 1

    desk.before.append(meanwhile)
    with pytest.raises(Conflict):
        desk.run("update_event", {"event_id": "focus000001", "title": "Read"})
    assert [one.method for one in desk.sent].count("PATCH") == 2


def test_second_run_finds_nothing_to_change(desk: Desk) -> None:
    arguments = {"event_id": STAND_UP, "title": "Late", "start": "2026-11-30T10:00", "add_attendees": ["c@x.test"]}
    desk.run("update_event", arguments)
    again = desk.run("update_event", arguments, noted={"event": STAND_UP})
    assert again["changed"] == [] and again["summary"] == "It was so already."
    assert [one.method for one in desk.sent].count("PATCH") == 1


def test_guests_are_added_and_removed_and_responses_stay(desk: Desk) -> None:
    done = desk.run("update_event", {"event_id": STAND_UP, "add_attendees": ["c@x.test"], "apply_to": "series"})
    people = events(desk)["standup0001"]["attendees"]
    assert [(one["email"], one["responseStatus"]) for one in people] == [
        ("alice@example.test", "accepted"),
        (BOB, "accepted"),
        ("c@x.test", "needsAction"),
    ]
    desk.run("update_event", done["undo"]["args"])
    desk.run(
        "update_event", {"event_id": STAND_UP, "remove_attendees": ["Bob <BOB@example.test>"], "apply_to": "series"}
    )
    assert [one["email"] for one in events(desk)["standup0001"]["attendees"]] == ["alice@example.test"]


def test_hidden_guest_list_is_never_written(desk: Desk) -> None:
    record = desk.sandbox._world.services["calendar"]["events"]["alice@example.test/standup0001"]
    record["data"]["attendeesOmitted"] = True
    for arguments in ({"add_attendees": ["c@x.test"], "apply_to": "series"}, {"title": "x", "apply_to": "following"}):
        with pytest.raises(InvalidInput, match="does not show all guests"):
            desk.run("update_event", {"event_id": STAND_UP, **arguments})
    assert not bodies(desk, "PATCH") and not bodies(desk, "POST")


def test_all_day_event_becomes_timed_and_vice_versa(desk: Desk) -> None:
    desk.run("update_event", {"event_id": "holiday0001", "start": "2026-12-08T09:00", "end": "1h"})
    assert "dateTime" in events(desk)["holiday0001"]["start"] and "date" not in events(desk)["holiday0001"]["start"]
    desk.run("update_event", {"event_id": "holiday0001", "start": "2026-12-08", "end": "2026-12-09"})
    assert events(desk)["holiday0001"]["end"] == {"date": "2026-12-10"}
    with pytest.raises(InvalidInput, match="end"):
        desk.run("update_event", {"event_id": "focus000001", "start": "2026-12-08"})


def test_one_occurrence_the_rest_or_all_of_a_series_can_be_changed(desk: Desk) -> None:
    desk.run("update_event", {"event_id": STAND_UP, "title": "Just today"})
    week = desk.run("list_events", {"after": "2026-11-30", "before": "2026-12-03", "query": "today"})
    assert [row["id"] for row in week["items"]] == [STAND_UP]
    desk.run(
        "update_event", {"event_id": "standup0001_20261202T080000Z", "start": "2026-12-02T09:30", "apply_to": "series"}
    )
    start = events(desk)["standup0001"]["start"]["dateTime"]
    assert start == "2026-11-23T09:30:00+01:00"  # the first one moved as far as that one


def test_changing_the_rest_creates_a_series_of_its_own(desk: Desk) -> None:
    desk.run("update_event", {"event_id": "standup0001", "recurrence": ["FREQ=DAILY;COUNT=20"], "apply_to": "series"})
    done = desk.run(
        "update_event", {"event_id": "standup0001_20261201T080000Z", "title": "New", "apply_to": "following"}
    )
    old, new = events(desk)["standup0001"], events(desk)[done["id"]]
    assert old["recurrence"] == ["RRULE:FREQ=DAILY;UNTIL=20261201T075959Z"]
    assert new["recurrence"] == ["RRULE:FREQ=DAILY;COUNT=12"] and done["was"] == "standup0001"
    assert [one["email"] for one in new["attendees"]] == ["alice@example.test", BOB]
    post = next(at for at, one in enumerate(desk.sent) if one.method == "POST")
    patches = [at for at, one in enumerate(desk.sent) if one.method == "PATCH"]
    assert patches[-1] > post  # the other order could lose the rest


@pytest.mark.parametrize("stop", range(1, 9))
def test_split_killed_anywhere_is_resumed_and_happens_once(desk: Desk, stop: int) -> None:
    arguments = {"event_id": STAND_UP, "title": "New", "apply_to": "following"}
    noted = next(iter(desk.ran("update_event", arguments, stop=stop).notes), None)
    desk.run("update_event", arguments, noted=noted)
    found = desk.run("list_events", {"after": "2026-11-30T00:00+01:00", "before": "2026-12-04T23:00+01:00"})
    titles = [row["title"] for row in found["items"]]
    assert titles.count("New") == 5 and titles.count("Stand-up") == 0


def test_new_series_is_withdrawn_if_the_old_cannot_be_ended(desk: Desk) -> None:
    before = events(desk)

    def refuse(request: Request) -> None:
        if request.method == "PATCH":
            raise InvalidInput("refused")

    desk.before.append(refuse)
    with pytest.raises(InvalidInput, match="refused"):
        desk.run("update_event", {"event_id": STAND_UP, "title": "New", "apply_to": "following"})
    assert events(desk) == before


def test_series_named_as_one_event_is_refused_with_its_occurrences(desk: Desk) -> None:
    for tool in ("update_event", "delete_event"):
        with pytest.raises(InvalidInput, match="whole series") as refused:
            desk.run(tool, {"event_id": "standup0001"} | ({"title": "x"} if tool == "update_event" else {}))
        assert "standup0001_20261125T080000Z" in refused.value.hint


def test_event_organized_by_others_can_be_answered_but_not_changed(desk: Desk) -> None:
    with pytest.raises(InvalidInput, match="may not change this event") as refused:
        desk.run("update_event", {"event_id": "review00001", "title": "Mine"})
    assert "bob@example.test" in refused.value.hint
    desk.run("respond_to_event", {"event_id": "review00001", "response": "declined"})
    assert events(desk, BOB)["review00001"]["attendees"][1]["responseStatus"] == "declined"
    with pytest.raises(InvalidInput, match="not invited"):
        desk.run("respond_to_event", {"event_id": "focus000001", "response": "accepted"})


def test_event_moves_to_another_calendar_with_its_id(desk: Desk) -> None:
    done = desk.run("update_event", {"event_id": "holiday0001", "title": "Away", "move_to": "Team"})
    assert "holiday0001" in events(desk, TEAM) and "calendar" in done["changed"]
    with pytest.raises(InvalidInput, match="move_to"):
        desk.run("update_event", {"event_id": STAND_UP, "move_to": "Team"})
    with pytest.raises(InvalidInput, match="move_to"):
        desk.run("update_event", {"event_id": "focus000001", "move_to": "Team"})


def test_move_with_a_lost_answer_is_found_at_its_target(desk: Desk) -> None:
    def lost(request: Request) -> None:
        if request.path.endswith("/move"):
            desk.before.clear()
            desk.send(request)
            raise NotFound("a second try finds nothing there")

    desk.before.append(lost)
    assert desk.run("update_event", {"event_id": "holiday0001", "move_to": "Team"})["id"] == "holiday0001"


def test_empty_update_or_zone_without_time_is_refused(desk: Desk) -> None:
    for arguments in ({}, {"time_zone": "Asia/Kolkata", "title": "x"}):
        with pytest.raises(InvalidInput):
            desk.run("update_event", {"event_id": "focus000001", **arguments})


def test_meeting_link_is_added_and_removed(desk: Desk) -> None:
    done = desk.run("update_event", {"event_id": "focus000001", "meet": "add"})
    assert done["meet"] and "meet" in done["changed"]
    desk.run("update_event", {"event_id": "focus000001", "meet": "remove"})
    assert "hangoutLink" not in events(desk)["focus000001"] and "conferenceData" not in events(desk)["focus000001"]


# ----------------------------------------------------------------- delete


def test_one_the_rest_or_all_occurrences_are_cancelled_and_guests_notified(desk: Desk) -> None:
    gone = desk.run("delete_event", {"event_id": STAND_UP})
    assert gone["deleted"] is True and gone["notified"] is True and (BOB, "cancelled") in mails(desk)
    desk.run("delete_event", {"event_id": "standup0001_20261202T080000Z", "apply_to": "following"})
    left = desk.run("list_events", {"after": "2026-11-30", "before": "2026-12-20", "query": "stand-up"})["items"]
    assert [row["start"] for row in left] == ["2026-12-01 09:00"]
    desk.run("delete_event", {"event_id": "standup0001_20261201T080000Z", "apply_to": "series", "notify": "none"})
    assert "standup0001" not in events(desk)


def test_cancellation_carries_a_message_to_the_guests(desk: Desk) -> None:
    done = desk.ran("delete_event", {"event_id": STAND_UP, "message": "The trainer is ill."})
    assert done.shown[0].fields["message"] == "The trainer is ill."
    assert mails(desk) == [(BOB, "cancelled")]
    record = desk.sandbox._world.services["calendar"]["events"]["alice@example.test/standup0001"]
    [cancelled] = record["exceptions"].values()
    assert cancelled["status"] == "cancelled" and cancelled["description"] == "The trainer is ill."
    assert record["data"]["status"] == "confirmed" and "description" not in record["data"]
    again = desk.run(
        "delete_event", {"event_id": STAND_UP, "message": "The trainer is ill."}, noted={"event": STAND_UP}
    )
    assert again["summary"] == "It is gone already." and mails(desk) == [(BOB, "cancelled")]


@pytest.mark.parametrize(
    "arguments",
    [
        {"event_id": STAND_UP, "notify": "none"},
        {"event_id": STAND_UP, "apply_to": "following"},
        {"event_id": "review00001"},
        {"event_id": "holiday0001"},
    ],
)
def test_message_that_nobody_would_read_is_refused(desk: Desk, arguments: dict[str, str]) -> None:
    with pytest.raises(InvalidInput, match="message: ") as refused:
        desk.run("delete_event", arguments | {"message": "Why."})
    assert refused.value.hint and mails(desk) == []


def test_second_cancellation_is_already_done(desk: Desk) -> None:
    desk.run("delete_event", {"event_id": "focus000001"})
    again = desk.run("delete_event", {"event_id": "focus000001"}, noted={"event": "focus000001"})
    assert again["deleted"] is True and [one.method for one in desk.sent].count("DELETE") == 1
    with pytest.raises(NotFound):
        desk.run("delete_event", {"event_id": "neverwas"})


def test_cancelling_anothers_event_removes_the_own_copy(desk: Desk) -> None:
    desk.run("delete_event", {"event_id": "review00001"})
    assert "review00001" in events(desk, BOB)
    assert not desk.run("list_events", {"query": "review", "after": "2026-11-30", "before": "2026-12-05"})["items"]


def test_effects_depend_on_the_arguments() -> None:
    def effect(tool: str, arguments: dict[str, Any]) -> Effect:
        found = TOOLKIT.tools[f"calendar_{tool}"]
        return found.effect_of(found.validate(arguments))

    assert effect("create_event", MEETING) is Effect.WRITES
    for seen in ({"calendar": "Team"}, {"visibility": "public"}, {"kind": "workingLocation"}):
        assert effect("create_event", MEETING | seen) is Effect.SENDS
    assert effect("manage_calendar", {"action": "create", "title": "x"}) is Effect.WRITES
    assert effect("manage_calendar", {"action": "update", "calendar": "x", "color": "red"}) is Effect.WRITES
    assert effect("manage_calendar", {"action": "update", "calendar": "x", "description": ""}) is Effect.SENDS
    assert effect("create_event", MEETING | {"optional_attendees": [BOB]}) is Effect.SENDS
    assert effect("update_event", {"event_id": "x", "title": "y"}) is Effect.SENDS
    assert effect("delete_event", {"event_id": "x"}) == Effect.SENDS | Effect.DESTRUCTIVE
    assert effect("manage_calendar", {"action": "unsubscribe", "calendar": "x"}) is Effect.DESTRUCTIVE
    assert effect("share_calendar", {"who": "Public ", "role": "reader"}) == Effect.SENDS | Effect.DESTRUCTIVE
    assert effect("share_calendar", {"who": BOB, "role": "owner"}) == Effect.SENDS | Effect.DESTRUCTIVE
    assert effect("share_calendar", {"who": BOB, "role": "reader"}) is Effect.SENDS


def test_foreign_calendar_is_written_as_far_as_shared() -> None:
    desk = Desk(TOOLKIT, ALL, Sandbox(clock=lambda: NOW))
    desk.run("update_event", {"event_id": "trip0000001", "title": "Train", "calendar": TRAVEL})
    assert events(desk, TRAVEL)["trip0000001"]["summary"] == "Train"
    bob = Desk(TOOLKIT, ALL, desk.sandbox, BOB)
    with pytest.raises(NotFound):
        bob.run("create_event", MEETING | {"calendar": TEAM})


# ----------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("tool", "arguments", "says", "instead"),
    [
        ("create_event", MEETING | {"end": "2026-12-01T09:00"}, "'2026-12-01T09:00' is earlier than start", "30m"),
        ("create_event", MEETING | {"end": "2026-12-02"}, "end is '2026-12-02'", "2026-12-01T10:00"),
        ("create_event", MEETING | {"start": "someday"}, "'someday' is not a date", "ISO"),
        ("create_event", MEETING | {"start": "2026-12-01", "end": "3h"}, "whole days, not '3h'", "1d"),
        ("create_event", MEETING | {"start": "2027-03-28T02:30"}, "2027-03-28T02:30 does not exist", "01:30 or 03:30"),
        ("create_event", MEETING | {"color": "mauve"}, "'mauve' is not a colour", "lavender"),
        ("create_event", MEETING | {"reminders": [50_000]}, r"\[50000\]", "four weeks"),
        ("create_event", MEETING | {"time_zone": "CET+1"}, "'CET\\+1' is not a time zone", "Europe/Berlin"),
        ("create_event", MEETING | {"calendar": "Temas"}, "no calendar has the name 'Temas'", "Team"),
        ("create_event", MEETING | {"kind": "focusTime", "meet": True}, "focusTime is only possible", "Leave out"),
        ("create_event", MEETING | {"recurrence": ["FREQ=DAILY;COUNT=x"]}, "COUNT=X is not a number", "RRULE"),
        ("create_event", MEETING | {"recurrence": ["FREQ=WEEKLY;BYDAY=TUE"]}, "BYDAY=TUE is not a weekday", "MO"),
        (
            "create_event",
            {**MEETING, "start": "2026-12-01", "end": "1d", "kind": "outOfOffice"},
            "needs times",
            "T09:00",
        ),
        ("update_event", {"event_id": STAND_UP, "move_to": TEAM}, "move_to", "apply_to=series"),
        ("update_event", {"event_id": "focus000001", "move_to": TEAM}, "focusTime stays", "Create"),
        ("update_event", {"event_id": "holiday0001"}, "Nothing to change", "title"),
        ("update_event", {"event_id": "holiday0001", "time_zone": "UTC"}, "time_zone", "start"),
        ("respond_to_event", {"event_id": "holiday0001", "response": "accepted"}, "not invited", "update_event"),
        ("list_events", {"calendars": [f"c{n}@x.test" for n in range(11)]}, "11 calendars", "several calls"),
        ("manage_calendar", {"action": "subscribe", "calendar": "Holidays"}, "'Holidays'", "email address"),
        ("manage_calendar", {"action": "update", "calendar": "Team", "color": "mauve"}, "'mauve'", "#rrggbb"),
    ],
)
def test_refusal_names_value_and_choices(
    desk: Desk, tool: str, arguments: dict[str, Any], says: str, instead: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        desk.run(tool, arguments)
    assert re.search(says, f"{refused.value.message} {refused.value.hint}") and instead in refused.value.hint


@pytest.mark.parametrize("module", sorted(Path(calendar.__file__).parent.glob("*.py")), ids=lambda one: one.stem)
def test_every_refusal_has_a_hint(module: Path) -> None:
    calls = [one for one in ast.walk(ast.parse(module.read_text())) if isinstance(one, ast.Call)]
    refusals = [one for one in calls if isinstance(one.func, ast.Name) and one.func.id == "InvalidInput"]
    assert all("hint" in {word.arg for word in one.keywords} for one in refusals)
