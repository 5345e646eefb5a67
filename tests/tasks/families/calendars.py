"""Events: moving, answering, finding a time."""

from __future__ import annotations

from tests.tasks.end import End
from tests.tasks.reading import first_free
from tests.tasks.task import Script, task, use
from tests.tasks.world import ALICE, BOB, World


def _one_to_one(world: World) -> None:
    start, end = "2026-11-26T10:00:00+01:00", "2026-11-26T10:30:00+01:00"
    world.event("onetoone001", "1:1 with Bob", start, end, [BOB], description="Growth, and the house.")


@task("Move my 1:1 with Bob on Thursday to 15:00, and say in it that I am at the dentist in the morning.", "calendar")
def move_one_to_one() -> Script:
    found = yield use("calendar_list_events", query="1:1", after="2026-11-26", before="2026-11-27")
    event = yield use("calendar_get_event", event_id=found["items"][0]["id"])
    why = "I am at the dentist in the morning."
    yield use(
        "calendar_update_event", event_id=event["id"], start="2026-11-26T15:00", end="30m",
        description=f"{event['description']}\n\n{why}",
    )  # fmt: skip


move_one_to_one.starts(_one_to_one)


@move_one_to_one.ends
def _(end: End) -> None:
    new = end.event("onetoone001")
    assert new["start"]["dateTime"].startswith("2026-11-26T15:00") and new["end"]["dateTime"].startswith(
        "2026-11-26T15:30"
    )
    assert "Growth, and the house." in new["description"] and "dentist" in new["description"]
    end.changed("calendar events onetoone001 *")
    assert end.told() <= {BOB}


def _clash(world: World) -> None:
    _one_to_one(world)
    start, end = "2026-11-26T10:00:00+01:00", "2026-11-26T11:00:00+01:00"
    world.event("talk0000001", "Vendor talk", start, end, [ALICE], home=BOB)


@task("Decline the vendor talk on Thursday, it clashes with my 1:1 with Bob. Say so.", "calendar")
def decline_a_clash() -> Script:
    found = yield use("calendar_list_events", after="2026-11-26", before="2026-11-27")
    talk = next(row for row in found["items"] if "Vendor" in row["title"])
    yield use(
        "calendar_respond_to_event",
        event_id=talk["id"],
        response="declined",
        comment="It clashes with my 1:1 with Bob.",
    )


decline_a_clash.starts(_clash)


@decline_a_clash.ends
def _(end: End) -> None:
    assert end.answer("talk0000001") == ("declined", "It clashes with my 1:1 with Bob.")
    assert end.told() <= {BOB}


@task("Accept the design review next week.", "calendar")
def accept() -> Script:
    found = yield use("calendar_list_events", query="Design review", after="2026-11-30", before="2026-12-07")
    yield use("calendar_respond_to_event", event_id=found["items"][0]["id"], response="accepted")


@accept.ends
def _(end: End) -> None:
    assert end.answer("review00001")[0] == "accepted"
    assert end.told() <= {BOB, "c_lantern@resource.calendar.google.com"}


@task("Find half an hour for Bob (bob@example.test) and me tomorrow, and book it as 'Budget'.", "calendar")
def find_a_time() -> Script:
    free = yield use("calendar_find_times", attendees=[BOB], duration="30m", after="2026-11-25", before="2026-11-26")
    yield use("calendar_create_event", title="Budget", start=first_free(free), end="30m", attendees=[BOB])


@find_a_time.ends
def _(end: End) -> None:
    [event] = [row["data"] for row in end.changed("calendar events *")]
    assert event["summary"] == "Budget" and event["start"]["dateTime"].startswith("2026-11-25T")
    assert event["start"]["dateTime"] >= "2026-11-25T09:15" and BOB in str(event["attendees"])
    assert end.told() <= {BOB}


@task("Cancel tomorrow's stand-up, but only that one.", "calendar")
def cancel_one_occurrence() -> Script:
    found = yield use("calendar_list_events", query="Stand-up", after="2026-11-25", before="2026-11-26")
    yield use("calendar_delete_event", event_id=found["items"][0]["id"], apply_to="this")


@cancel_one_occurrence.ends
def _(end: End) -> None:
    assert "cancelled" in str(end.changed("calendar events standup0001 exceptions *"))
    assert end.told() <= {BOB}


@task("Move the stand-up to 9:30 from now on, every day.", "calendar")
def move_the_series() -> Script:
    found = yield use("calendar_list_events", query="Stand-up", after="2026-11-25", before="2026-11-26")
    yield use(
        "calendar_update_event", event_id=found["items"][0]["id"], start="2026-11-25T09:30", end="15m",
        apply_to="following",
    )  # fmt: skip


@move_the_series.ends
def _(end: End) -> None:
    rules = [row.get("data", row) for row in end.changed("calendar events *") if isinstance(row, dict)]
    assert any("T09:30" in str(rule.get("start")) for rule in rules)
    assert "UNTIL" in str(end.sandbox.service("calendar")["events"][f"{ALICE}/standup0001"]["data"]["recurrence"])
    assert end.told() <= {BOB}


@task("Remind me tomorrow at nine to call the tax office, with a notice when it is time.", "calendar")
def remind_at_nine() -> Script:
    yield use("calendar_create_event", title="Call the tax office", start="2026-11-25T09:00", end="15m", reminders=[0])


@remind_at_nine.ends
def _(end: End) -> None:
    [event] = [row["data"] for row in end.changed("calendar events *")]
    assert event["start"]["dateTime"].startswith("2026-11-25T09:00") and event["start"]["timeZone"] == "Europe/Berlin"
    assert "tax office" in event["summary"] and "attendees" not in event


@task("I am out of office this Friday, all day. Put it in my calendar.", "calendar")
def out_of_office() -> Script:
    yield use(
        "calendar_create_event", title="Out of office", start="2026-11-27T00:00", end="2026-11-28T00:00",
        kind="outOfOffice",
    )  # fmt: skip


@out_of_office.ends
def _(end: End) -> None:
    [event] = [row["data"] for row in end.changed("calendar events *")]
    assert event["eventType"] == "outOfOffice" and "2026-11-27" in str(event["start"])


@task("Ask carol@example.test to join my 1:1 with Bob on Thursday.", "calendar")
def add_a_guest() -> Script:
    found = yield use("calendar_list_events", query="1:1", after="2026-11-26", before="2026-11-27")
    yield use("calendar_update_event", event_id=found["items"][0]["id"], add_attendees=["carol@example.test"])


add_a_guest.starts(_one_to_one)


@add_a_guest.ends
def _(end: End) -> None:
    guests = {one["email"]: one["responseStatus"] for one in end.event("onetoone001")["attendees"]}
    assert guests.keys() == {ALICE, BOB, "carol@example.test"} and guests[ALICE] == "accepted"
    end.changed("calendar events onetoone001 *")
    assert end.told() <= {BOB, "carol@example.test"}


@task("What do I have on Thursday, and does anything clash?", "calendar")
def what_is_on() -> Script:
    found = yield use("calendar_list_events", after="2026-11-26", before="2026-11-27")
    return "; ".join(f"{row['start']} {row['title']}" for row in found["items"])


what_is_on.starts(_clash)


@what_is_on.ends
def _(end: End) -> None:
    assert all(one in end.said for one in ("1:1", "Vendor", "Stand-up", "10:00"))


@task("Take Bob off the stand-up, all of it, without any mail.", "calendar")
def remove_a_guest() -> Script:
    found = yield use("calendar_list_events", query="Stand-up", after="2026-11-25", before="2026-11-26")
    row = found["items"][0]
    yield use(
        "calendar_update_event", event_id=row["series"], remove_attendees=[row["people"][0]], apply_to="series",
        notify="none",
    )  # fmt: skip


@remove_a_guest.ends
def _(end: End) -> None:
    assert BOB not in str(end.event("standup0001").get("attendees"))
    end.changed("calendar events standup0001 data *")


@task("Let Bob (bob@example.test) read my Team calendar no longer.", "calendar:all")
def stop_sharing() -> Script:
    found = yield use("calendar_list_calendars", query="Team", sharing=True)
    yield use("calendar_share_calendar", calendar=found["items"][0]["id"], who=BOB, role="none")


@stop_sharing.ends
def _(end: End) -> None:
    assert end.changed("calendar calendars team@group.calendar.google.com acl *")
    assert BOB not in str(end.sandbox.service("calendar")["calendars"]["team@group.calendar.google.com"]["acl"])


@task("Cancel my 1:1 with Bob on Thursday and mail him, bob@example.test, that I am sorry.", "calendar", "gmail")
def cancel_and_apologise() -> Script:
    found = yield use("calendar_list_events", query="1:1", after="2026-11-26", before="2026-11-27")
    yield use("calendar_delete_event", event_id=found["items"][0]["id"])
    yield use("gmail_send_email", to=[BOB], subject="Our 1:1", body="I am sorry, I have to cancel it.")


cancel_and_apologise.starts(_one_to_one)


@cancel_and_apologise.ends
def _(end: End) -> None:
    [mail] = end.sent()
    assert BOB in mail.to and "sorry" in mail.text
    assert end.changed("calendar events onetoone001 *") and end.event("onetoone001").get("status") == "cancelled"
    assert end.told() <= {BOB}


CAROL, LANTERN = "carol@example.test", "c_lantern@resource.calendar.google.com"


@task("Cancel Thursday's workshop and tell everybody why: the trainer is ill. We will find a new date.", "calendar")
def cancel_with_a_reason() -> Script:
    found = yield use("calendar_list_events", query="Workshop", after="2026-11-26", before="2026-11-27")
    event = yield use("calendar_get_event", event_id=found["items"][0]["id"])
    why = "The trainer is ill. We will find a new date."
    yield use("calendar_delete_event", event_id=event["id"], message=why)


@cancel_with_a_reason.starts
def _(world: World) -> None:
    start, end = "2026-11-26T13:00:00+01:00", "2026-11-26T17:00:00+01:00"
    world.event("workshop001", "Workshop", start, end, [BOB, CAROL, LANTERN], description="Bring a laptop.")


@cancel_with_a_reason.ends
def _(end: End) -> None:
    event = end.event("workshop001")
    assert event["status"] == "cancelled" and "trainer is ill" in event["description"].split("\n")[0]
    assert "Bring a laptop." in event["description"] and "trainer is ill" in end.shown[0]
    assert {mail["about"] for mail in end.sandbox.service("calendar")["mails"]} == {"cancelled"}
    end.changed("calendar events workshop001 *")
    assert end.told() == {BOB, CAROL, LANTERN}


@task("The standup is off tomorrow only, because of the all-hands. Say so to the others.", "calendar")
def cancel_one_of_a_series() -> Script:
    found = yield use("calendar_list_events", query="Standup", after="2026-11-25", before="2026-11-26")
    [row] = [one for one in found["items"] if one["title"] == "Standup"]
    yield use("calendar_delete_event", event_id=row["id"], message="It is off because of the all-hands.")


@cancel_one_of_a_series.starts
def _(world: World) -> None:
    start, end = "2026-11-23T11:00:00+01:00", "2026-11-23T11:15:00+01:00"
    world.event("daily000001", "Standup", start, end, [BOB, CAROL], recurrence=["RRULE:FREQ=DAILY"])


@cancel_one_of_a_series.ends
def _(end: End) -> None:
    event = end.sandbox.service("calendar")["events"][f"{ALICE}/daily000001"]
    [(day, change)] = event["exceptions"].items()
    assert "20261125" in day and change["status"] == "cancelled" and "all-hands" in change["description"]
    assert event["data"]["status"] == "confirmed" and "UNTIL" not in str(event["data"]["recurrence"])
    end.changed("calendar events daily000001 *")
    told = [mail["to"] for mail in end.sandbox.service("calendar")["mails"]]
    assert sorted(told) == [BOB, CAROL] and end.told() == {BOB, CAROL}


def _rooms(world: World) -> None:
    half_past = "2026-11-26T14:30:00+01:00", "2026-11-26T15:30:00+01:00"
    world.resource("lantern2", "HQ-1-Lantern (8) [Screen]", half_past)
    world.resource("harbour", "HQ-1-Harbour (6) [Screen]")
    world.resource("attic", "HQ-3-Attic (4) [Screen]")
    world.resource("barn", "HQ-0-Barn (20)")


HARBOUR, BARN = "c_harbour@resource.calendar.google.com", "c_barn@resource.calendar.google.com"


@task(
    "Book a room for six people and a screen for Thursday 14:00 to 15:00, for the budget meeting with Bob.", "calendar"
)
def book_a_room() -> Script:
    times = {"after": "Thursday 14:00", "before": "Thursday 15:00"}
    found = yield use("calendar_list_rooms", query="screen", seats=6, **times)
    room = next(row["room"] for row in found["items"] if row["free"] == "yes")
    bob = (yield use("calendar_list_events", query="Design review"))["items"][0]["people"]
    guests = [next(one for one in bob if one.startswith("bob@")), room]
    yield use("calendar_create_event", title="Budget", start="Thursday 14:00", end="15:00", attendees=guests)


book_a_room.starts(_rooms)


@book_a_room.ends
def _(end: End) -> None:
    [event] = [row["data"] for row in end.changed("calendar events *")]
    answers = {email: one["responseStatus"] for email, one in event["attendees"].items()}
    assert answers.keys() - {ALICE} == {BOB, HARBOUR} and answers[HARBOUR] == "accepted"
    assert event["start"]["dateTime"].startswith("2026-11-26T14:00")
    assert event["end"]["dateTime"].startswith("2026-11-26T15:00") and end.told() == {BOB, HARBOUR}


@task("Move the design review next week to a bigger room, same time.", "calendar")
def change_the_room() -> Script:
    found = yield use("calendar_list_events", query="Design review", after="2026-11-30", before="2026-12-07")
    event = yield use("calendar_get_event", event_id=found["items"][0]["id"])
    rooms = yield use("calendar_list_rooms", after=event["start"], before=event["end"])
    seats = {row["room"]: row.get("seats") or 0 for row in rooms["items"]}
    old = next(one["email"] for one in event["people"] if one["email"] in seats)
    new = next(
        row["room"] for row in rooms["items"] if row["free"] == "yes" and seats[row["room"]] > max(seats[old], 8)
    )
    yield use("calendar_update_event", event_id=event["id"], add_attendees=[new], remove_attendees=[old])


@change_the_room.starts
def _(world: World) -> None:
    _rooms(world)
    for event in world["calendar"]["events"].values():
        if event["id"] == "review00001":
            event["data"]["guestsCanModify"] = True


@change_the_room.ends
def _(end: End) -> None:
    event = end.event("review00001")
    rooms = [one for one in event["attendees"] if one.get("resource")]
    assert [(one["email"], one["responseStatus"]) for one in rooms] == [(BARN, "accepted")]
    assert "2026-12-01T14:00" in event["start"]["dateTime"] and len(event["attendees"]) == 3
    end.changed("calendar events review00001 *")
    end.told()


@task("I need the beamer on Friday morning from nine to twelve.", "calendar")
def reserve_a_beamer() -> Script:
    found = yield use("calendar_list_rooms", query="beamer", after="2026-11-27T09:00", before="2026-11-27T12:00")
    free = next(row for row in found["items"] if row["free"] == "yes")
    yield use("calendar_create_event", title="Beamer", start="Friday 9:00", end="12:00", attendees=[free["room"]])


@reserve_a_beamer.starts
def _(world: World) -> None:
    world.resource("beamer1", "Beamer 1", ("2026-11-27T08:00:00+01:00", "2026-11-27T10:00:00+01:00"))
    world.resource("beamer2", "Beamer 2")


@reserve_a_beamer.ends
def _(end: End) -> None:
    [event] = [row["data"] for row in end.changed("calendar events *")]
    beamer = "c_beamer2@resource.calendar.google.com"
    assert event["attendees"].keys() - {ALICE} == {beamer} and end.told() == {beamer}
    assert event["start"]["dateTime"].startswith("2026-11-27T09:00") and event["start"]["timeZone"] == "Europe/Berlin"
    assert event["end"]["dateTime"].startswith("2026-11-27T12:00")
