"""Long lists: the searched item is on a later page, or the answer is a count of all."""

from __future__ import annotations

from datetime import UTC, datetime

from tests.tasks.end import End
from tests.tasks.reading import first_free, pages
from tests.tasks.task import Script, task, use
from tests.tasks.world import ALICE, BOB, NOW, World

SITE, GENERAL = "acme/website", "C0GENERAL01"


@task("How many open issues has Bob in acme/platform, and which is the oldest that he calls urgent?", "github")
def many_issues() -> Script:
    rows = yield from pages("github_list_issues", repo="acme/platform", author="bob", sort="created")
    urgent = [row for row in rows if row["title"].startswith("Urgent")]
    return f"{len(rows)} issues, the oldest urgent one is {urgent[-1]['title']}"


@many_issues.starts
def _(world: World) -> None:
    for n in range(1, 121):
        urgent = "Urgent thing" if n in (7, 60, 119) else "Thing"
        by = ALICE if n % 4 == 0 else BOB
        world.issue("acme/platform", f"{urgent} {n}", "Yes.", by=by, hours=200 - n)


@many_issues.ends
def _(end: End) -> None:
    assert "91" in end.said and "thing 7" in end.said.lower()  # ninety, and the one that is there on the first day


@task("How many mails has monitor@ops.example.test sent me, and which service does the third-oldest name?", "gmail")
def many_mails() -> Script:
    rows = yield from pages("gmail_search_emails", from_=["monitor@ops.example.test"])
    return f"{len(rows)} mails; {sorted(rows, key=lambda row: row['date'])[2]['subject']}"


@many_mails.starts
def _(world: World) -> None:
    for n in range(1, 46):
        world.mail(f"Alert: service-{n:02d}", "It is slow.", sender="Monitor <monitor@ops.example.test>", hours=100 - n)


@many_mails.ends
def _(end: End) -> None:
    assert "45" in end.said and "service-03" in end.said


@task("Which number did Bob name in #general on 20 November in the afternoon?", "slack")
def one_of_many_messages() -> Script:
    rows = yield from pages("slack_get_messages", conversation="#general", after="2026-11-20", before="2026-11-21")
    return next(row["text"] for row in rows if "the number" in row["text"])


@one_of_many_messages.starts
def _(world: World) -> None:
    for n in range(150):
        world.say(GENERAL, f"Chatter {n}", hours=170 - n)
    hours = (NOW - datetime(2026, 11, 20, 15, 30, tzinfo=UTC).timestamp()) / 3600
    world.say(GENERAL, "By the way, the number is 4711.", hours=hours)


@one_of_many_messages.ends
def _(end: End) -> None:
    assert "4711" in end.said


@task("Close all issues of mine in acme/website that are about the old logo.", "github")
def close_several() -> Script:
    rows = yield from pages("github_list_issues", repo=SITE, author="@me")
    for row in rows:
        if "old logo" in row["title"]:
            yield use("github_update_issue", repo=SITE, number=row["number"], state="closed")


@close_several.starts
def _(world: World) -> None:
    for n in range(60):
        title = f"The old logo on page {n}" if n in (3, 27, 58) else f"Page {n} is slow"
        world.issue(SITE, title, "Yes.", by=ALICE, hours=100 - n)
    world.issue(SITE, "The old logo in mails", "Of Bob.", by=BOB)


@close_several.ends
def _(end: End) -> None:
    assert end.changed(f"github issues {SITE} * state") == ["closed"] * 3
    assert len(end.changed(f"github issues {SITE} * closed_at")) == 3


@task("Set everything in ENG that is about the import and still to do to high priority.", "linear")
def several_at_once() -> Script:
    rows = yield from pages("linear_list_issues", team="ENG", state="unstarted", query="import")
    yield use("linear_update_issue", issues=[row["identifier"] for row in rows], priority="high")


@several_at_once.starts
def _(world: World) -> None:
    for n in range(40):
        world.linear_issue(
            f"The import of file {n}" if n % 8 == 0 else f"Thing {n}", state="Todo" if n < 30 else "Done"
        )


@several_at_once.ends
def _(end: End) -> None:
    assert end.changed("linear issues * priority") == [2] * 4


@task("Does anything that I have between 7 and 11 December 2026 clash with the visit on the 9th at 14:00?", "calendar")
def full_week() -> Script:
    rows = yield from pages("calendar_list_events", after="2026-12-07", before="2026-12-12")
    clash = [row["title"] for row in rows if row["start"] <= "2026-12-09 14:00" < row["end"]]
    return ", ".join(clash) or "Nothing."


@full_week.starts
def _(world: World) -> None:
    for day in range(7, 12):
        for hour in range(10, 18):
            at = f"2026-12-{day:02d}T{hour:02d}"
            title = "Call with the bank" if (day, hour) == (9, 14) else f"Block {day}-{hour}"
            world.event(f"block{day:02d}{hour:02d}00", title, f"{at}:00:00+01:00", f"{at}:45:00+01:00")


@full_week.ends
def _(end: End) -> None:
    assert "bank" in end.said


@task("Find half an hour for Bob (bob@example.test) and me tomorrow afternoon, between two and five.", "calendar")
def afternoon() -> Script:
    free = yield use(
        "calendar_find_times", attendees=[BOB], duration="30m", after="2026-11-25", before="2026-11-26",
        hours="14:00-17:00",
    )  # fmt: skip
    return first_free(free)


@afternoon.starts
def _(world: World) -> None:
    start, end = "2026-11-25T14:00:00+01:00", "2026-11-25T16:00:00+01:00"
    world.event("busy0000001", "Busy", start, end, home=BOB, answers={BOB: "accepted"})


@afternoon.ends
def _(end: End) -> None:
    assert "16:00" in end.said


@task("Who closed issue 4 of acme/website, says its history?", "github")
def long_history() -> Script:
    where = {"repo": SITE, "number": 4, "include": ["timeline"]}
    issue = yield use("github_get_issue", **where)
    rows = list(issue["timeline"])
    while issue.get("next"):
        issue = yield use("github_get_issue", **where, cursor=issue["next"])
        rows += issue["timeline"]
    return str([row for row in rows if row["event"] == "closed"])


@long_history.starts
def _(world: World) -> None:
    number = world.issue(SITE, "Many events", "Yes.", by=ALICE, state="closed")
    row = {"event": "labeled", "actor": "alice", "created_at": "2026-11-20T10:00:00Z", "label": {"name": "bug"}}
    events = [row | {"id": n} for n in range(1, 251)]
    events[125] = {"event": "closed", "id": 126, "actor": "bob", "created_at": "2026-11-20T10:00:00Z"}
    world["github"]["issues"][SITE][number - 1]["events"] = events


@long_history.ends
def _(end: End) -> None:
    assert "bob" in end.said.lower()
