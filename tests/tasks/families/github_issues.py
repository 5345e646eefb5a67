"""Issues: their texts, labels, comments, duplicates, and context."""

from __future__ import annotations

from tests.tasks.end import End
from tests.tasks.reading import full, pages, whole
from tests.tasks.task import Script, task, use
from tests.tasks.texts import FAMILY, LONG, PERSIAN, SCREENSHOT
from tests.tasks.world import ALICE, BOB, World

SITE = "acme/website"
CRITERIA = "## Acceptance criteria\n\n- The last row is kept."


def _long_issue(world: World) -> None:
    """Add issue 4 of the website, with a long text."""
    world.issue(SITE, "The form loses a row", LONG)


@task(f"Add acceptance criteria to issue 4 in {SITE}: the last row is kept.", "github")
def add_criteria() -> Script:
    yield use("github_get_issue", repo=SITE, number=4)
    yield use("github_update_issue", repo=SITE, number=4, body=CRITERIA, append=True)


add_criteria.starts(_long_issue)


@add_criteria.ends
def _(end: End) -> None:
    body = end.now(f"github issues {SITE} 4 body")
    assert body.startswith(LONG.rstrip()) and "row is kept" in body[len(LONG) - 1 :]


@task(f"In issue 4 of {SITE}, put 'The last two rows are kept.' in place of 'The last row is kept.'", "github")
def replace_a_sentence() -> Script:
    _, body = yield from whole("github_get_issue", "body", repo=SITE, number=4, raw=True)
    old, new = "The last row is kept.", "The last two rows are kept."
    assert old in body
    yield use("github_update_issue", repo=SITE, number=4, body=new, replaces=old)


replace_a_sentence.starts(_long_issue)


@replace_a_sentence.ends
def _(end: End) -> None:
    assert end.now(f"github issues {SITE} 4 body") == LONG.replace("last row is", "last two rows are")


@task(f"In issue 4 of {SITE}, number the steps from 0 instead of 1. Change nothing else in it.", "github")
def rewrite_whole() -> Script:
    last, body = yield from whole("github_get_issue", "body", repo=SITE, number=4, raw=True)
    lines = [
        f"{int(line.partition('.')[0]) - 1}.{line.partition('.')[2]}" if line[:1].isdigit() else line
        for line in body.split("\n")
    ]
    yield use("github_update_issue", repo=SITE, number=4, body="\n".join(lines), if_text=last["text_digest"])


rewrite_whole.starts(_long_issue)


@rewrite_whole.ends
def _(end: End) -> None:
    body = end.now(f"github issues {SITE} 4 body")
    assert "\n0. Step 1 of" in body and "\n199. Step 200 of" in body and "\n200. " not in body
    assert body.startswith("<!-- template: bug v3 -->") and body.rstrip().endswith("<!-- triage: severity two -->")
    assert all(one in body for one in (SCREENSHOT, FAMILY, PERSIAN)) and len(body) in range(len(LONG) - 30, len(LONG))


@task(f"Issue 4 in {SITE} is the same as issue 1 there. Close it as a duplicate, with a link.", "github")
def close_duplicate() -> Script:
    other = yield use("github_get_issue", repo=SITE, number=1)
    yield use("github_write_comment", repo=SITE, number=4, body=f"The same as {other['url']}.")
    yield use("github_update_issue", repo=SITE, number=4, state="closed", reason="duplicate")


@close_duplicate.starts
def _(world: World) -> None:
    world.issue(SITE, "Rude greeting", "Why so rude?")


@close_duplicate.ends
def _(end: End) -> None:
    [comment] = end.commented(SITE)
    assert comment["number"] == 4 and ("#1" in comment["body"] or "/issues/1" in comment["body"])
    assert end.now(f"github issues {SITE} 4 state") == "closed" and end.changed(f"github issues {SITE} 4 closed_at")
    assert end.now(f"github issues {SITE} 4 reason") == "duplicate"


@task(f"Label the open issues of {SITE} that speak of a crash with 'bug'.", "github")
def label_crashes() -> Script:
    for row in (yield from pages("github_list_issues", repo=SITE)):
        issue = yield use("github_get_issue", repo=SITE, number=row["number"])
        if "crash" in issue["body"].lower() and "bug" not in issue.get("labels", ()):
            yield use("github_update_issue", repo=SITE, number=row["number"], add_labels=["bug"])


@label_crashes.starts
def _(world: World) -> None:
    world.issue(SITE, "It stops", "After a minute: a crash.")
    world.issue(SITE, "It stops again", "Crashed twice.", labels=["bug"])
    world.issue(SITE, "Darker colours", "Please.")
    world.issue(SITE, "Old crash", "A crash of last year.", state="closed")


@label_crashes.ends
def _(end: End) -> None:
    assert end.now(f"github issues {SITE} 4 labels *") == "bug"


@task(
    "Open an issue in acme/platform: 'Time out after a minute', a bug of mine, with the text 'Seen twice today.'",
    "github",
)
def open_issue() -> Script:
    me = yield use("github_whoami")
    yield use(
        "github_create_issue", repo="acme/platform", title="Time out after a minute", body="Seen twice today.",
        labels=["bug"], assignees=[me["login"]],
    )  # fmt: skip


@open_issue.ends
def _(end: End) -> None:
    [issue] = end.changed("github issues acme/platform *")
    assert (issue["title"], issue["user"]) == ("Time out after a minute", ALICE)
    assert issue["body"].startswith("Seen twice today.")
    assert list(issue["labels"].values()) == ["bug"] and list(issue["assignees"].values()) == ["alice"]


@task(f"Put issue 1 of {SITE} on the milestone Spring and give it to Bob.", "github")
def plan() -> Script:
    yield use("github_list_labels", repo=SITE, kind="milestones")
    yield use("github_update_issue", repo=SITE, number=1, milestone="Spring", add_assignees=["bob"])


@plan.ends
def _(end: End) -> None:
    assert end.now(f"github issues {SITE} 1 milestone") == 1 and end.changed(f"github issues {SITE} 1 assignees *") == [
        "bob"
    ]


DECISION = "We ship on the ninth"


def _debate(world: World) -> None:
    world.issue(SITE, "When do we ship?", "Let us decide here.")
    for n in range(1, 41):
        text = f"Point {n}: code K-{n:02d}. " + "More of the same, in many words. " * (40 if n % 5 == 0 else 2)
        world.comment(SITE, 4, text + (f"{DECISION}." if n == 40 else ""), by=BOB if n % 2 else ALICE, hours=60 - n)


@task(f"Summarise the 40 comments of issue 4 in {SITE}: which codes were named, and what was decided?", "github")
def summarise() -> Script:
    texts = []
    for row in (yield from pages("github_list_comments", repo=SITE, number=4)):
        texts.append((yield from full(row, "body", "github_list_comments", repo=SITE, comment_id=row["id"])))
    codes = [text.partition("code ")[2][:4] for text in texts]
    assert all(text.rstrip().endswith(".") for text in texts), "each was read to its end"
    return f"{', '.join(codes)}. {texts[-1].rpartition('. ')[2]}"


summarise.starts(_debate)


@summarise.ends
def _(end: End) -> None:
    assert all(f"K-{n:02d}" in end.said for n in range(1, 41)) and DECISION in end.said


@task(f"In my comment on issue 1 of {SITE}, 'Thank you!', thank Bob by name.", "github")
def edit_comment() -> Script:
    rows = yield from pages("github_list_comments", repo=SITE, number=1)
    mine = next(row for row in rows if row["author"] == "alice")
    yield use("github_write_comment", repo=SITE, comment_id=mine["id"], body="Thank you, Bob!", replaces=mine["body"])


@edit_comment.ends
def _(end: End) -> None:
    assert "Bob" in end.now(f"github comments {SITE} 6002 body")


@task("On the project Roadmap of acme, set issue 1 of the website to Done.", "github:projects", "github")
def move_on_project() -> Script:
    items = yield use("github_list_project_items", owner="acme", project="Roadmap")
    item = next(row for row in items["items"] if row["number"] == 1)
    yield use(
        "github_update_project_item", owner="acme", project="Roadmap", item=str(item["item_id"]), set={"Status": "Done"}
    )


@move_on_project.ends
def _(end: End) -> None:
    assert end.now("github projects * items 501 values 102") == "o2"


@task(
    f"Answer Bob's question in the discussions of {SITE} with the right call, and mark my old answer.",
    "github:discussions",
)
def answer_discussion() -> Script:
    found = yield use("github_list_discussions", repo=SITE, query="hello")
    number = found["items"][0]["number"]
    talk = yield use("github_list_discussions", repo=SITE, number=number)
    mine = next(row for row in talk["comments"] if row["author"] == "alice")
    yield use("github_write_discussion", repo=SITE, number=number, body="Call greet(name).")
    yield use("github_write_discussion", repo=SITE, number=number, answer_id=mine["id"])


@answer_discussion.ends
def _(end: End) -> None:
    assert end.now(f"github discussions {SITE} * answer")
    [comment] = end.changed(f"github discussions {SITE} * comments *")
    assert "greet" in comment["body"]


@task("Mark my GitHub notifications read, but only those of acme/website.", "github:inbox")
def read_notifications() -> Script:
    rows = yield from pages("github_list_notifications", repo=SITE)
    yield use("github_update_notifications", action="read", thread_ids=[row["thread_id"] for row in rows])


@read_notifications.starts
def _(world: World) -> None:
    row = {"id": "3009", "user": "alice", "repo": "acme/platform", "reason": "mention", "type": "Issue", "number": 1}
    world["github"]["notifications"].append(row | {"title": "Deploys", "unread": True, "at": "2026-11-24T10:00:00Z"})


@read_notifications.ends
def _(end: End) -> None:
    assert end.now("github notifications 3001 unread") is False


@task("Save this as a secret gist called 'Soil': 'Two parts compost, one part sand.'", "github:gists")
def save_gist() -> Script:
    yield use("github_save_gist", description="Soil", files={"soil.md": "Two parts compost, one part sand."})


@save_gist.ends
def _(end: End) -> None:
    [gist] = end.changed("github gists *")
    assert not gist["public"] and "compost" in str(gist["files"])


@task(f"Which open issues of mine in {SITE} has nobody answered for a day?", "github")
def unanswered() -> Script:
    rows = yield from pages("github_list_issues", repo=SITE, author="@me")
    silent = [row for row in rows if not row.get("comments")]
    return ", ".join(f"#{row['number']} {row['title']}" for row in silent)


@unanswered.starts
def _(world: World) -> None:
    world.issue(SITE, "Nobody reads me", "Hello?", by=ALICE)
    world.issue(SITE, "Of Bob", "Hello?")


@unanswered.ends
def _(end: End) -> None:
    assert "Nobody reads me" in end.said and "Of Bob" not in end.said and "rude" not in end.said


@task(f"Label issue 1 of {SITE} 'security'. There is no such label yet; make it red.", "github:all")
def new_label() -> Script:
    yield use("github_save_label", repo=SITE, name="security", color="d73a4a")
    yield use("github_update_issue", repo=SITE, number=1, add_labels=["security"])


@new_label.ends
def _(end: End) -> None:
    [made] = end.changed(f"github repos {SITE} labels *")
    assert made["name"] == "security" and end.changed(f"github issues {SITE} 1 labels *") == ["security"]
