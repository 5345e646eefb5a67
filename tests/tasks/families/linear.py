"""Linear: issues, projects, documents and updates."""

from __future__ import annotations

from deputize.sandbox.linear.seed import stable_id
from tests.tasks.end import End
from tests.tasks.reading import full, pages, whole
from tests.tasks.task import Refused, Script, task, use
from tests.tasks.texts import FAMILY, LONG, PERSIAN, SCREENSHOT
from tests.tasks.world import ALICE, BOB, World

ENG_1, ENG_2, OPS_1 = (stable_id("issue", *where) for where in (("ENG", "1"), ("ENG", "2"), ("OPS", "1")))
ENG_4, ENG_5 = stable_id("issue", "ENG", "4"), stable_id("issue", "ENG", "5")


def _done(end: End, issue: str) -> None:
    assert end.now(f"linear issues {issue} state") == stable_id("state", "ENG", "Done")
    assert end.changed(f"linear issues {issue} completedAt")


def _long_issue(world: World) -> None:
    world.linear_issue("The form loses a row", LONG)


@task("Add acceptance criteria to ENG-4: the last row is kept.", "linear")
def add_criteria() -> Script:
    yield use("linear_get_issue", issue="ENG-4")
    criteria = "## Acceptance criteria\n\n- The last row is kept."
    yield use("linear_update_issue", issues=["ENG-4"], description=criteria, append=True)


add_criteria.starts(_long_issue)


@add_criteria.ends
def _(end: End) -> None:
    text = end.now(f"linear issues {ENG_4} description")
    assert text.startswith(LONG.rstrip()) and "row is kept" in text[len(LONG) - 1 :]


@task(
    "In the description of ENG-4 call the form 'the import form' in the sentence that says it loses its row.", "linear"
)
def replace_a_sentence() -> Script:
    _, text = yield from whole("linear_get_issue", "description", issue="ENG-4", raw=True)
    old = next(line for line in text.split("\n") if "loses its last row" in line).partition(".")[0]
    new = old.replace("The form", "The import form")
    yield use("linear_update_issue", issues=["ENG-4"], description=new, replaces=old)


replace_a_sentence.starts(_long_issue)


@replace_a_sentence.ends
def _(end: End) -> None:
    text = end.now(f"linear issues {ENG_4} description")
    assert text == LONG.replace("The form loses", "The import form loses")
    assert all(one in text for one in (SCREENSHOT, FAMILY, PERSIAN))


@task("ENG-1 is fixed. Say so there, and set it to done.", "linear")
def finish() -> Script:
    yield use("linear_write_comment", target="ENG-1", body="Fixed.")
    states = yield use("linear_lookup", kind="states", team="ENG", type="completed")
    yield use("linear_update_issue", issues=["ENG-1"], state=states["items"][0]["name"])


@finish.ends
def _(end: End) -> None:
    [comment] = end.changed("linear comments *")
    assert comment["issue"] == ENG_1 and "ixed" in comment["body"]
    _done(end, ENG_1)


@task("Open an urgent bug in Engineering, for me: 'Import hangs', with the text 'Since this morning.'", "linear")
def open_a_bug() -> Script:
    yield use(
        "linear_create_issue", team="Engineering", title="Import hangs", description="Since this morning.",
        assignee="me", priority="urgent", labels=["Bug"],
    )  # fmt: skip


@open_a_bug.ends
def _(end: End) -> None:
    [issue] = end.changed("linear issues *")
    assert (issue["title"], issue["assignee"], issue["priority"]) == ("Import hangs", ALICE, 1)
    assert stable_id("label", "bug") in str(issue["labels"]) and issue["team"] == stable_id("team", "ENG")


@task("ENG-4 is a duplicate of ENG-1. Close it, with the link between them.", "linear")
def duplicate() -> Script:
    yield use("linear_relate_issues", issue="ENG-4", related="ENG-1", type="duplicate")
    issue = yield use("linear_get_issue", issue="ENG-4")
    if issue["state"] not in ("Done", "Duplicate", "Canceled"):
        yield use("linear_update_issue", issues=["ENG-4"], state="Done")


@duplicate.starts
def _(world: World) -> None:
    world.linear_issue("Last row missing", "In the import.")


@duplicate.ends
def _(end: End) -> None:
    [relation] = end.changed("linear relations *")
    assert relation["type"] == "duplicate" and {ENG_4, ENG_1} <= set(map(str, relation.values()))
    _done(end, ENG_4)


@task("Break ENG-2 down into two issues below it: 'Read the header' and 'Wait so long'.", "linear")
def break_down() -> Script:
    for title in ("Read the header", "Wait so long"):
        yield use("linear_create_issue", team="ENG", title=title, parent="ENG-2")


@break_down.ends
def _(end: End) -> None:
    made = end.changed("linear issues *")
    assert {row["title"] for row in made} == {"Read the header", "Wait so long"}
    assert {row["parent"] for row in made} == {ENG_2}


def _closed(world: World) -> None:
    world.linear_issue("Read files in one pass", state="Done", project=stable_id("project", "import"), hours=30)
    world.linear_issue("Keep the last row", state="Done", project=stable_id("project", "import"), hours=20)
    world.linear_issue("Write the manual", state="Todo", project=stable_id("project", "import"), hours=10)


@task("Post this week's update on the project Import rewrite: what was finished. It is on track.", "linear")
def weekly_update() -> Script:
    rows = yield from pages(
        "linear_list_issues", project="Import rewrite", state="completed", updated_after="2026-11-17"
    )
    body = "Finished this week:\n" + "\n".join(f"- {row['identifier']} {row['title']}" for row in rows)
    yield use("linear_post_update", project="Import rewrite", body=body, health="onTrack")


weekly_update.starts(_closed)


@weekly_update.ends
def _(end: End) -> None:
    [update] = end.changed("linear project_updates *")
    assert "one pass" in update["body"] and "last row" in update["body"] and "manual" not in update["body"]
    assert update["health"] == "onTrack"
    end.changed("linear projects * health")


@task("Give Bob everything urgent that is assigned to me, and tell me what it was.", "linear")
def hand_over() -> Script:
    rows = yield from pages("linear_list_issues", assignee="me", priority="urgent")
    yield use("linear_update_issue", issues=[row["identifier"] for row in rows], assignee="Bob Brown")
    return ", ".join(row["title"] for row in rows)


@hand_over.ends
def _(end: End) -> None:
    assert end.now(f"linear issues {OPS_1} assignee") == BOB and "certificate" in end.said


@task("Move ENG-2 into the current cycle and label it Bug.", "linear")
def into_the_cycle() -> Script:
    yield use("linear_update_issue", issues=["ENG-2"], cycle="active", add_labels=["Bug"])


@into_the_cycle.ends
def _(end: End) -> None:
    assert end.now(f"linear issues {ENG_2} cycle") == stable_id("cycle", "2")
    assert stable_id("label", "bug") in str(end.changed(f"linear issues {ENG_2} labels"))


@task("Add to the document Import design: 'Errors go to a queue of their own.' Lose nothing of it.", "linear:documents")
def extend_a_document() -> Script:
    found = yield use("linear_list_documents", query="Import design")
    slug = found["items"][0]["id"]
    yield use("linear_save_document", document=slug, content="Errors go to a queue of their own.", append=True)


@extend_a_document.ends
def _(end: End) -> None:
    text = end.now(f"linear documents {stable_id('document', 'design')} content")
    assert text.startswith("One pass over the file.\n\nRows go to the queue.") and "queue of their own" in text


@task("Record that Example Mills asks in ENG-2 for fewer retries, and that it matters to them.", "linear:customers")
def customer_need() -> Script:
    yield use(
        "linear_create_customer_need", customer="Example Mills", issue="ENG-2", body="Fewer retries.", important=True
    )


@customer_need.ends
def _(end: End) -> None:
    [need] = end.changed("linear needs *")
    assert need["issue"] == ENG_2 and "retries" in need["body"] and need["priority"] == 1


@task("What did Bob say about ENG-1, and is anything of it still open?", "linear")
def what_was_said() -> Script:
    rows = yield from pages("linear_list_comments", target="ENG-1")
    bobs = [row for row in rows if row["author"] == "bob"]
    texts = []
    for row in bobs:
        texts.append((yield from full(row, "body", "linear_list_comments", comment_id=row["comment_id"])))
    return f"{texts}; open: {[row['body'][:20] for row in bobs if not row.get('resolved')]}"


@what_was_said.ends
def _(end: End) -> None:
    assert "Windows" in end.said


@task("Which of my issues are open? I think the state is called 'open'.", "linear")
def wrong_word() -> Script:
    try:
        rows = yield from pages("linear_list_issues", assignee="me", state="open")
    except Refused as no:
        assert "Todo" in str(no) or "started" in str(no)
        rows = []
        for kind in ("started", "unstarted"):
            rows += yield from pages("linear_list_issues", assignee="me", state=kind)
    return ", ".join(row["title"] for row in rows)


@wrong_word.ends
def _(end: End) -> None:
    assert "certificate" in end.said and "last row" in end.said


@task("Put my Linear inbox in order: mark what is about ENG-1 read.", "linear:inbox")
def read_inbox() -> Script:
    rows = yield from pages("linear_list_notifications")
    ids = [row["notification_id"] for row in rows if row["issue"] == "ENG-1"]
    yield use("linear_update_notifications", notification_ids=ids, action="read")


@read_inbox.ends
def _(end: End) -> None:
    assert end.changed("linear notifications * readAt")


@task("Resolve Bob's comment on ENG-1 about Windows with an answer: it is in ENG-2.", "linear")
def answer_and_resolve() -> Script:
    rows = yield from pages("linear_list_comments", target="ENG-1")
    comment = next(row for row in rows if "Windows" in row["body"])
    yield use("linear_write_comment", reply_to=comment["comment_id"], body="It is in ENG-2.")
    yield use("linear_resolve_comment", comment_id=comment["comment_id"])


@answer_and_resolve.ends
def _(end: End) -> None:
    first = stable_id("comment", "1")
    assert end.changed(f"linear comments {first} resolvedAt")
    [answer] = [one for one in end.changed("linear comments *") if isinstance(one, dict)]
    assert answer["parent"] == first and "ENG-2" in answer["body"]


@task("ENG-4 is due on Friday, and Bob should do it.", "linear")
def due_on_friday() -> Script:
    yield use("linear_update_issue", issues=["ENG-4"], due_date="2026-11-27", assignee="Bob Brown")


due_on_friday.starts(_long_issue)


@due_on_friday.ends
def _(end: End) -> None:
    issue = f"linear issues {ENG_4}"
    assert end.now(f"{issue} dueDate") == "2026-11-27" and end.now(f"{issue} assignee") == BOB


@task("Set ENG-2 to finished.", "linear")
def done_by_any_name() -> Script:
    try:
        yield use("linear_update_issue", issues=["ENG-2"], state="finished")
    except Refused as no:
        assert "Done" in str(no)
        yield use("linear_update_issue", issues=["ENG-2"], state="Done")


@done_by_any_name.ends
def _(end: End) -> None:
    _done(end, ENG_2)


TODO, THIRD = stable_id("state", "ENG", "Todo"), stable_id("cycle", "3")


@task("Push everything of mine that is not started from this cycle to the next one.", "linear")
def next_cycle() -> Script:
    rows = yield from pages("linear_list_issues", team="ENG", assignee="me", cycle="current", state="unstarted")
    yield use("linear_update_issue", issues=[row["identifier"] for row in rows], cycle="next")


@next_cycle.starts
def _(world: World) -> None:
    for title in ("Read the header", "Wait so long"):
        world.linear_issue(title, assignee=ALICE, cycle=stable_id("cycle", "2"))
    world.linear_issue("Not hers", assignee=BOB, cycle=stable_id("cycle", "2"))


@next_cycle.ends
def _(end: End) -> None:
    assert [end.now(f"linear issues {issue} cycle") for issue in (ENG_4, ENG_5)] == [THIRD, THIRD]


@task("What is overdue in Engineering, and whose is it?", "linear")
def overdue_of_the_team() -> Script:
    rows = yield from pages("linear_list_issues", team="Engineering", state="open", due_before="today")
    return "; ".join(f"{row['title']} ({row['assignee']})" for row in rows)


@overdue_of_the_team.starts
def _(world: World) -> None:
    world.linear_issue("Fix the footer", assignee=BOB, dueDate="2026-11-20")
    world.linear_issue("Sign the offer", assignee=ALICE, dueDate="2026-11-23")
    world.linear_issue("Closed long ago", assignee=BOB, dueDate="2026-11-01", state="Done")
    world.linear_issue("Due today", assignee=BOB, dueDate="2026-11-24")
    world.linear_issue("In the future", assignee=BOB, dueDate="2026-12-24")


@overdue_of_the_team.ends
def _(end: End) -> None:
    said = end.said.split("; ")
    assert len(said) == 2 and any("footer" in one.lower() and "bob" in one.lower() for one in said)
    assert any("offer" in one and "alice" in one.lower() for one in said)
