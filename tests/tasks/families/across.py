"""Tasks over two or three products: what is read in one is written in another."""

from __future__ import annotations

from deputize.sandbox.linear.seed import stable_id
from tests.tasks.end import End, files_of
from tests.tasks.reading import first_free, full, pages
from tests.tasks.task import Script, task, use
from tests.tasks.world import BOB, World

SITE, ENG, DESIGN, DM = "acme/website", "C0ENG000001", "C0DESIGN001", "D0ALICEBOB1"


def _numbers_wanted(world: World) -> None:
    world.mail("Deploys", "Can you send me the table of deploys by week? Somebody put it into #eng.")


@task("Bob asks by mail for the table of deploys. Send him the file from #eng.", "gmail", "slack", "slack:more")
def file_from_a_channel() -> Script:
    found = yield use("gmail_search_emails", subject="Deploys")
    files = yield use("slack_list_files", conversation="#eng")
    file = yield use("slack_get_file", file_id=files["items"][0]["id"])
    yield use("gmail_reply_email", message_id=found["items"][0]["id"], body="Here it is.", attachments=[file["handle"]])


file_from_a_channel.starts(_numbers_wanted)


@file_from_a_channel.ends
def _(end: End) -> None:
    [mail] = end.sent()
    files = files_of(mail)
    assert BOB in mail.to and list(files) == ["deploys.csv"] and b"46,12,3" in files["deploys.csv"]


@task("Share the CSV of invoice 1042 from my mail in #eng.", "gmail", "slack", "slack:more")
def file_into_a_channel() -> Script:
    found = yield use("gmail_search_emails", subject="Invoice 1042")
    file = yield use("gmail_get_attachment", message_id=found["items"][0]["id"], part="items.csv")
    yield use("slack_upload_file", conversation="#eng", attachments=[file["handle"]])


@file_into_a_channel.ends
def _(end: End) -> None:
    made = [one for one in end.changed("slack files *") if one]
    assert any("items.csv" in str(one) for one in made) and all(ENG in str(one["channels"]) for one in made)
    end.posted(ENG)


def _a_call(world: World) -> None:
    text = "The import stops at 4,000 rows for us. Can you do something before January? Carol"
    world.mail("Import stops", text, sender="Carol Clark <carol@example.test>")


@task(
    "Carol Clark of Northwind has called about what she wrote by mail. Log the call in Salesforce, and make a Linear"
    " issue of it in ENG.",
    "gmail", "salesforce", "linear",
)  # fmt: skip
def call_and_issue() -> Script:
    found = yield use("gmail_search_emails", from_=["Carol"], detail="full")
    mail = found["items"][0]
    contact = yield use("salesforce_get_record", object="Contact", record="Carol Clark")
    yield use("salesforce_log_activity", kind="call", subject=mail["subject"], description=mail["body"],
              contact_or_lead=contact["id"])  # fmt: skip
    yield use("linear_create_issue", team="ENG", title=mail["subject"], description=f"Carol Clark: {mail['body']}")


call_and_issue.starts(_a_call)


@call_and_issue.ends
def _(end: End) -> None:
    [call], [issue] = end.changed("salesforce records Task *"), end.changed("linear issues *")
    assert call["WhoId"] == "003000000000001AAA" and "4,000" in call["Description"]
    assert "4,000" in issue["description"] and issue["team"] == stable_id("team", "ENG")


AGREED = "Friday the eleventh, at the harbour"


def _agreement(world: World) -> None:
    world.mail("Summer party", "I would say in December, at the harbour or in the garden. Shall we settle it in Slack?")
    world.say(DM, "About the party: harbour or garden?", hours=5)
    world.say(DM, f"Then it is agreed: {AGREED}.", hours=4)


@task("What did Bob and I agree about the party? He wrote by mail and in a direct message.", "gmail", "slack")
def what_was_agreed() -> Script:
    found = yield use("gmail_search_emails", from_=["Bob"], text="party", detail="full")
    rows = yield from pages("slack_get_messages", conversation="@Bob")
    said = next(row["text"] for row in reversed(rows) if "agreed" in row["text"])
    return f"{found['items'][0]['subject']}: {said}"


what_was_agreed.starts(_agreement)


@what_was_agreed.ends
def _(end: End) -> None:
    assert AGREED in end.said


@task(f"Make a Linear issue in ENG of issue 1 of {SITE}, and link each to the other.", "github", "linear")
def issue_to_linear() -> Script:
    issue = yield use("github_get_issue", repo=SITE, number=1)
    made = yield use(
        "linear_create_issue", team="ENG", title=issue["title"], description=issue["body"],
        link_url=issue["url"], link_title=issue["title"],
    )  # fmt: skip
    yield use("github_write_comment", repo=SITE, number=1, body=f"Tracked in {made['url']}")


@issue_to_linear.ends
def _(end: End) -> None:
    [issue], [link] = end.changed("linear issues *"), end.changed("linear attachments *")
    assert issue["title"] == "The greeting is rude" and link["url"].endswith("/acme/website/issues/1")
    [comment] = end.commented(SITE)
    assert comment["number"] == 1 and "linear.app/acme/issue/ENG-" in comment["body"]


@task(
    "Turn Bob's mail about the design review into an issue in acme/platform, and tell him its address.",
    "gmail",
    "github",
)
def mail_to_issue() -> Script:
    found = yield use("gmail_search_emails", from_=["Bob"], subject="Design review", detail="full")
    mail = found["items"][0]
    issue = yield use("github_create_issue", repo="acme/platform", title=mail["subject"], body=mail["body"])
    yield use("gmail_reply_email", message_id=mail["id"], body=f"It is here now: {issue['url']}")


@mail_to_issue.ends
def _(end: End) -> None:
    [issue], [mail] = end.changed("github issues acme/platform *"), end.sent()
    assert "Design review" in issue["title"] and "two pages" in issue["body"].lower()
    assert BOB in mail.to and "github.com/acme/platform/issues/3" in mail.text


def _reviewed(world: World) -> None:
    world.pull(SITE, "Greet in German", {"src/main.py": "def greet(name):\n    return f'Hallo {name}'\n"})
    world.checks(SITE, 4, ["success"] * 3)


@task(f"Merge pull request 4 in {SITE} if it is green, and tell #eng.", "github", "slack")
def merge_and_tell() -> Script:
    pull = yield use("github_get_pull", repo=SITE, number=4)
    assert pull["merge"]["ready"]
    yield use("github_merge_pull", repo=SITE, number=4, head_sha=pull["head_sha"])
    yield use("slack_send_message", conversation="#eng", body=f"Merged: {pull['title']} {pull['url']}")


merge_and_tell.starts(_reviewed)


@merge_and_tell.ends
def _(end: End) -> None:
    [message] = end.posted(ENG)
    assert "Greet in German" in message["text"] and "acme/website/pull/4" in message["text"]
    assert end.now(f"github issues {SITE} 4 state") == "closed" and end.changed(f"github issues {SITE} 4 *")
    assert end.changed(f"github repos {SITE} branches main") and end.changed(f"github commits {SITE} *")


def _a_week(world: World) -> None:
    for title, state, hours in (
        ("Old sins", "closed", 400),
        ("Faster start", "closed", 50),
        ("New logo", "closed", 20),
    ):
        closed = f"2026-11-{24 - hours // 24:02d}T10:00:00Z" if hours < 400 else "2026-11-02T10:00:00Z"
        world.issue(SITE, title, "Yes.", state=state, hours=hours + 10, closed_at=closed, updated_at=closed)
    world.issue(SITE, "Still to do", "No.")


@task(f"Tell #general what was closed in {SITE} this week, since 18 November.", "github", "slack")
def weekly_report() -> Script:
    rows = yield from pages("github_list_issues", repo=SITE, state="closed", updated_after="2026-11-18")
    lines = "\n".join(f"- #{row['number']} {row['title']}" for row in rows)
    yield use("slack_send_message", conversation="#general", body=f"Closed this week:\n{lines}")


weekly_report.starts(_a_week)


@weekly_report.ends
def _(end: End) -> None:
    [message] = end.posted("C0GENERAL01")
    assert "Faster start" in message["text"] and "New logo" in message["text"]
    assert "Old sins" not in message["text"] and "Still to do" not in message["text"]


@task("Put the talk that the invitation in my mail is about into my calendar.", "gmail", "calendar")
def invitation_to_event() -> Script:
    found = yield use("gmail_search_emails", text="Roadmap talk", detail="full")
    mail = found["items"][0]
    file = yield use("gmail_get_attachment", message_id=mail["id"], part="invite.ics")
    lines = dict(line.partition(":")[::2] for line in file["text"].splitlines())
    at = lines["DTSTART"]
    start = f"{at[:4]}-{at[4:6]}-{at[6:8]}T{at[9:11]}:{at[11:13]}:00Z"
    yield use("calendar_create_event", title=lines["SUMMARY"], start=start, end="30m")


@invitation_to_event.ends
def _(end: End) -> None:
    [event] = [row["data"] for row in end.changed("calendar events *")]
    assert event["summary"] == "Roadmap talk" and "attendees" not in event
    assert event["start"]["dateTime"] in (
        "2026-11-26T11:00:00+01:00",
        "2026-11-26T10:00:00Z",
        "2026-11-26T10:00:00+00:00",
    )


@task("Who is our contact at Northwind? Mail her that the offer comes on Monday.", "salesforce", "gmail")
def mail_a_contact() -> Script:
    account = yield use("salesforce_get_record", object="Account", record="Northwind", related=True)
    to = account["related"]["contacts"][0]["Email"]
    yield use("gmail_send_email", to=[to], subject="Our offer", body="The offer comes on Monday.")


@mail_a_contact.ends
def _(end: End) -> None:
    [mail] = end.sent()
    assert mail.to == "carol@example.test" and "Monday" in mail.text


@task(f"Link Bob's pull request 2 of {SITE} to ENG-2, and tell him in a direct message.", "github", "linear", "slack")
def link_a_pull() -> Script:
    pull = yield use("github_get_pull", repo=SITE, number=2)
    yield use("linear_link_url", issue="ENG-2", url=pull["url"], title=pull["title"])
    yield use("slack_send_message", conversation="@Bob", body=f"{pull['url']} is linked to ENG-2 now.")


@link_a_pull.ends
def _(end: End) -> None:
    [link], [message] = end.changed("linear attachments *"), end.posted(DM)
    assert link["url"].endswith("/acme/website/pull/2") and "ENG-2" in message["text"]


@task(
    "Make an issue in acme/platform of what Bob says in #eng about the failed deploy, with the link to it.",
    "slack",
    "github",
)
def message_to_issue() -> Script:
    found = yield use("slack_search", query="deploy failed", conversation="#eng")
    row = found["items"][0]
    yield use(
        "github_create_issue", repo="acme/platform", title="Staging deploy fails", body=f"{row['text']}\n\n{row['url']}"
    )


@message_to_issue.ends
def _(end: End) -> None:
    [issue] = end.changed("github issues acme/platform *")
    assert "1042" in issue["body"] and "acme.slack.com/archives/C0ENG000001/" in issue["body"]


@task(
    "Find half an hour tomorrow with Bob (bob@example.test) about ENG-1, book it, and say so in ENG-1.",
    "calendar",
    "linear",
)
def meet_about_an_issue() -> Script:
    issue = yield use("linear_get_issue", issue="ENG-1")
    free = yield use("calendar_find_times", attendees=[BOB], duration="30m", after="2026-11-25", before="2026-11-26")
    start = first_free(free)
    yield use(
        "calendar_create_event", title=issue["title"], start=start, end="30m", attendees=[BOB], description=issue["url"]
    )
    yield use("linear_write_comment", target="ENG-1", body=f"We meet about this on {start.replace('T', ' at ')}.")


@meet_about_an_issue.ends
def _(end: End) -> None:
    [event], [comment] = [row["data"] for row in end.changed("calendar events *")], end.changed("linear comments *")
    assert BOB in str(event["attendees"]) and event["start"]["dateTime"].startswith("2026-11-25T")
    assert comment["issue"] == stable_id("issue", "ENG", "1") and "2026-11-25" in comment["body"]
    assert end.told() <= {BOB}


@task(
    "Read Bob's comment on ENG-1 and my issue 1 in acme/website, and tell #design what both are about.",
    "linear",
    "github",
    "slack",
)
def both_sides() -> Script:
    rows, issue = yield [
        use("linear_list_comments", target="ENG-1"),
        use("github_get_issue", repo=SITE, number=1),
    ]
    first = next(row for row in rows["items"] if row["author"] == "bob")
    text = yield from full(first, "body", "linear_list_comments", comment_id=first["comment_id"])
    yield use("slack_send_message", conversation="#design", body=f"ENG-1: {text} Website 1: {issue['title']}.")


@both_sides.ends
def _(end: End) -> None:
    [message] = end.posted(DESIGN)
    assert "Windows" in message["text"] and "rude" in message["text"]
