"""Times in the user's own zone, Berlin, which Slack and Google Calendar report: nine means nine there."""

from __future__ import annotations

from tests.tasks.end import ALICE, End
from tests.tasks.reading import pages
from tests.tasks.task import Script, task, use
from tests.tasks.world import World

DESIGN = "C0DESIGN001"


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
