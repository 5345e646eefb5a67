"""Times in the user's own zone, Berlin, which Slack and Google Calendar report: nine means nine there."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from tests.tasks.end import ALICE, End
from tests.tasks.reading import pages
from tests.tasks.task import Script, task, use
from tests.tasks.world import BOB, World

DESIGN, ENG = "C0DESIGN001", "C0ENG000001"


@task("Tell #design tomorrow at nine (my time) that the new colours are in.", "slack")
def message_at_nine() -> Script:
    yield use("slack_whoami")
    yield use("slack_send_message", conversation="#design", body="The new colours are in.", send_at="2026-11-25T09:00")


@message_at_nine.ends
def _(end: End) -> None:
    [planned] = end.changed("slack scheduled *")
    assert planned["post_at"] == 1795593600 and planned["channel_id"] == DESIGN  # 08:00 UTC


@task("Turn on my out-of-office from 1 December 2026 at 9:00 to 5 December 2026 at 17:00: 'Away.'", "gmail", "calendar")
def out_of_office() -> Script:
    yield use("calendar_list_events", after="2026-12-01", before="2026-12-05")
    yield use("gmail_set_vacation", enabled=True, body="Away.", after="2026-12-01T09:00", before="2026-12-05T17:00")


@out_of_office.ends
def _(end: End) -> None:
    end.changed(f"gmail {ALICE} settings vacation *")
    now = end.sandbox._world.mailbox(ALICE).settings["vacation"]
    times = [int(now[name]) // 1000 for name in ("startTime", "endTime")]
    assert times == [1796112000, 1796486400] and "Away" in str(now)  # 08:00 and 16:00 UTC


@task("Which mails came this morning between eight and nine, my time? My calendar knows my zone.", "gmail", "calendar")
def mails_of_an_hour() -> Script:
    yield use("calendar_whoami")
    rows = yield from pages("gmail_search_emails", after="2026-11-24T08:00", before="2026-11-24T09:00")
    return ", ".join(f"{row['subject']} at {row['date']}" for row in rows)


@mails_of_an_hour.starts
def _(world: World) -> None:
    for subject, hours in (("Too early", 7.5), ("In time", 6.5), ("Too late", 5.5)):  # half past seven, eight, nine
        world.mail(subject, "Hello.", hours=hours)


@mails_of_an_hour.ends
def _(end: End) -> None:
    assert "In time" in end.said and "Too" not in end.said and "8:30" in end.said


@task("Send Bob a Slack message an hour before our meeting tomorrow: 'Do you have the numbers?'", "slack", "calendar")
def an_hour_before() -> Script:
    found = yield use("calendar_list_events", query="Numbers", after="tomorrow", before="+2d")
    starts = datetime.fromisoformat((yield use("calendar_get_event", event_id=found["items"][0]["id"]))["start"])
    at = (starts - timedelta(hours=1)).isoformat()
    bob = (yield use("slack_find_users", query="Bob"))["items"][0]["id"]
    yield use("slack_send_message", conversation=bob, body="Do you have the numbers?", send_at=at)


@an_hour_before.starts
def _(world: World) -> None:
    world.event("numbers0001", "Numbers", "2026-11-25T09:30:00+01:00", "2026-11-25T10:00:00+01:00", [BOB])


@an_hour_before.ends
def _(end: End) -> None:
    [planned] = end.changed("slack scheduled *")
    at = datetime(2026, 11, 25, 8, 30, tzinfo=ZoneInfo("Europe/Berlin")).timestamp()
    assert planned["post_at"] == at and planned["channel_id"] == "D0ALICEBOB1" and "numbers" in planned["text"]


@task("Remind me in Salesforce by the end of next week to send Northwind the offer.", "salesforce")
def end_of_next_week() -> Script:
    yield use(
        "salesforce_log_activity", kind="task", subject="Send Northwind the offer", due_date="Friday next week",
        account_or_opportunity="Northwind",
    )  # fmt: skip


@end_of_next_week.ends
def _(end: End) -> None:
    [made] = end.changed("salesforce records Task *")
    assert (made["ActivityDate"], made["WhatId"]) == ("2026-12-04", "001000000000001AAA")


@task("Who wrote in #eng since this morning, my time?", "slack")
def since_this_morning() -> Script:
    yield use("slack_whoami")
    rows = yield from pages("slack_get_messages", conversation="#eng", after="today")
    return "; ".join(f"{row['from']}: {row['text']}" for row in rows)


@since_this_morning.starts
def _(world: World) -> None:
    world["slack"]["channels"][ENG]["messages"].clear()
    for text, hours in (("In the night", 15.2), ("At breakfast", 8.5), ("At ten", 5.0)):  # 22:48, 5:30 and 9:00 UTC
        world.say(ENG, text, hours=hours)


@since_this_morning.ends
def _(end: End) -> None:
    assert "At breakfast" in end.said and "At ten" in end.said and "In the night" not in end.said
