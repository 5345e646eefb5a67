"""Texts longer than a result: each ends with a word that only a complete reading finds, or is changed in one place and
stays the same everywhere else."""

from __future__ import annotations

from deputize.sandbox.linear.seed import stable_id
from tests.tasks.end import End
from tests.tasks.reading import full, pages, whole
from tests.tasks.task import Script, task, use
from tests.tasks.texts import LONG
from tests.tasks.world import ALICE, BOB, World
from tests.toolkits.made_files import line, pdf

SITE = "acme/website"
PROJECT, ENG_1 = stable_id("project", "import"), stable_id("issue", "ENG", "1")


def ending(word: str, sentences: int = 150) -> str:
    """Return a text of about 6,000 characters with this word at its end."""
    return " ".join(f"Sentence {n} says what there is to say." for n in range(sentences)) + f"\n\nThe word is {word}."


def _word(text: str) -> str:
    return text.rpartition("The word is ")[2].strip(" .")


@task("Which word stands at the end of Bob's last update on the project Import rewrite?", "linear")
def project_update() -> Script:
    rows = yield from pages("linear_list_updates", project="Import rewrite")
    row = next(row for row in rows if "Sentence 0" in row["body"])
    text = yield from full(row, "body", "linear_list_updates", update_id=row["update_id"])
    return _word(text)


@project_update.starts
def _(world: World) -> None:
    row = {"id": stable_id("project update", "2"), "project": PROJECT, "body": ending("heron"), "health": "atRisk"}
    at = "2026-11-23T10:00:00.000Z"
    world["linear"]["project_updates"].append(row | {"author": BOB, "createdAt": at, "updatedAt": at})


@project_update.ends
def _(end: End) -> None:
    assert "heron" in end.said


@task("Which word stands at the end of Bob's long comment on ENG-1?", "linear")
def linear_comment() -> Script:
    rows = yield from pages("linear_list_comments", target="ENG-1")
    row = next(row for row in rows if "Sentence 0" in row["body"])
    text = yield from full(row, "body", "linear_list_comments", comment_id=row["comment_id"])
    return _word(text)


@linear_comment.starts
def _(world: World) -> None:
    row = {"id": stable_id("comment", "long"), "issue": ENG_1, "body": ending("otter"), "author": BOB}
    at = "2026-11-23T10:00:00.000Z"
    world["linear"]["comments"].append(row | {"createdAt": at, "updatedAt": at})


@linear_comment.ends
def _(end: End) -> None:
    assert "otter" in end.said


@task(f"Which word stands at the end of Bob's review of pull request 4 in {SITE}?", "github")
def review_body() -> Script:
    pull = yield use("github_get_pull", repo=SITE, number=4, include=["reviews"])
    row = pull["reviews"][0]
    text = yield from full(row, "body", "github_get_pull", repo=SITE, number=4, review_id=row["id"])
    return _word(text)


@review_body.starts
def _(world: World) -> None:
    world.pull(SITE, "T", {"a.py": "1\n"})
    row = {"id": 70900, "number": 4, "user": "bob", "state": "COMMENTED", "body": ending("badger"), "sha": ""}
    world["github"]["reviews"][SITE].append(row | {"at": "2026-11-24T10:00:00Z"})


@review_body.ends
def _(end: End) -> None:
    assert "badger" in end.said


@task(f"Which word stands at the end of Bob's question in the discussions of {SITE}?", "github:discussions")
def discussion() -> Script:
    found = yield use("github_list_discussions", repo=SITE)
    _, text = yield from whole("github_list_discussions", "body", repo=SITE, number=found["items"][0]["number"])
    return _word(text)


@discussion.starts
def _(world: World) -> None:
    world["github"]["discussions"][SITE][0]["body"] = ending("weasel")


@discussion.ends
def _(end: End) -> None:
    assert "weasel" in end.said


@task(
    f"In the notes of release v1.0 of {SITE}, 'The last row is kept.' should be 'Every row is kept.'", "github:releases"
)
def release_notes() -> Script:
    _, notes = yield from whole("github_list_releases", "body", repo=SITE, tag="v1.0", raw=True)
    assert "The last row is kept." in notes
    yield use("github_save_release", repo=SITE, tag="v1.0", body="Every row is kept.", draft=False,
              replaces="The last row is kept.")  # fmt: skip


@release_notes.starts
def _(world: World) -> None:
    world["github"]["releases"][SITE][0]["body"] = LONG


@release_notes.ends
def _(end: End) -> None:
    [body] = end.changed(f"github releases {SITE} 5001 body")
    assert body == LONG.replace("The last row is", "Every row is")


@task("Add to the content of the project Import rewrite: 'Errors are kept.'", "linear")
def project_content() -> Script:
    yield use("linear_save_project", project="Import rewrite", content="Errors are kept.", append=True)


@project_content.starts
def _(world: World) -> None:
    world["linear"]["projects"][0]["content"] = LONG


@project_content.ends
def _(end: End) -> None:
    text = end.now(f"linear projects {PROJECT} content")
    assert text.startswith(LONG.rstrip()) and text.rstrip().endswith("Errors are kept.")


@task("In my comment on ENG-1 write 'at noon' for 'at nine', and leave the rest of it alone.", "linear")
def own_comment() -> Script:
    rows = yield from pages("linear_list_comments", target="ENG-1")
    row = next(row for row in rows if row["author"] == "alice" and "Sentence" in row["body"])
    last, text = yield from whole("linear_list_comments", "body", comment_id=row["comment_id"], raw=True)
    new = text.replace("at nine", "at noon")
    yield use("linear_write_comment", comment_id=row["comment_id"], body=new, if_text=last["text_digest"])


OWN = ending("marten") + "\n\nWe meet at nine."


@own_comment.starts
def _(world: World) -> None:
    row = {"id": stable_id("comment", "own"), "issue": ENG_1, "body": OWN, "author": ALICE}
    at = "2026-11-23T10:00:00.000Z"
    world["linear"]["comments"].append(row | {"createdAt": at, "updatedAt": at})


@own_comment.ends
def _(end: End) -> None:
    assert end.now(f"linear comments {stable_id('comment', 'own')} body") == OWN.replace("at nine", "at noon")
    end.changed(f"linear comments {stable_id('comment', 'own')} editedAt")


@task("Which word stands at the end of the agenda of Thursday's offsite?", "calendar")
def agenda() -> Script:
    found = yield use("calendar_list_events", query="Offsite", after="2026-11-26", before="2026-11-27")
    _, text = yield from whole("calendar_get_event", "description", event_id=found["items"][0]["id"])
    return _word(text)


@agenda.starts
def _(world: World) -> None:
    start, end = "2026-11-26T10:00:00+01:00", "2026-11-26T16:00:00+01:00"
    world.event("offsite0001", "Offsite", start, end, description=ending("polecat"))


@agenda.ends
def _(end: End) -> None:
    assert "polecat" in end.said


TABLE = "id,name\r\n" + "".join(f"{n},part {n} of the machine\r\n" for n in range(700)) + "700,the last part: stoat\r\n"


@task("What is part 700 called in the table of parts that Bob has mailed?", "gmail")
def attached_table() -> Script:
    found = yield use("gmail_search_emails", subject="Parts")
    where = {"message_id": found["items"][0]["id"], "part": "parts.csv"}
    _, text = yield from whole("gmail_get_attachment", "text", **where)
    return next(line for line in text.splitlines() if line.startswith("700,"))


@attached_table.starts
def _(world: World) -> None:
    world.mail("Parts", "Attached.", files=[("parts.csv", "text/csv", TABLE.encode())])


@attached_table.ends
def _(end: End) -> None:
    assert "stoat" in end.said


PROGRAM = "".join(f"line_{n} = {n}\n" for n in range(1, 901))


@task(f"In src/table.py of {SITE}, on main, line_850 should be 0. Change that line alone.", "github")
def one_line_of_many() -> Script:
    part = yield use("github_get_file", repo=SITE, path="src/table.py", start_line=840, end_line=860)
    line = next(n for n, text in enumerate(part["text"].split("\n"), 840) if text.startswith("line_850 "))
    yield use(
        "github_write_file", repo=SITE, path="src/table.py", message="Set line_850 to 0", content="line_850 = 0\n",
        mode="replace_lines", start_line=line, end_line=line, expected_sha=part["sha"],
    )  # fmt: skip


@one_line_of_many.starts
def _(world: World) -> None:
    world.file(SITE, "src/table.py", PROGRAM)


@one_line_of_many.ends
def _(end: End) -> None:
    assert end.file(SITE, "main", "src/table.py") == PROGRAM.replace("line_850 = 850", "line_850 = 0")
    assert end.changed(f"github repos {SITE} branches main") and end.changed(f"github commits {SITE} *")


LINK = "https://meet.example.test/join?meeting=" + "0123456789abcdef" * 20


@task("What is the whole link to join the call that Bob has mailed?", "gmail")
def long_link() -> Script:
    found = yield use("gmail_search_emails", subject="Call tonight")
    _, text = yield from whole("gmail_get_email", "body", message_id=found["items"][0]["id"])
    return next(word.strip("<>()") for word in text.split() if word.strip("<>()").startswith("https://meet."))


@long_link.starts
def _(world: World) -> None:
    world.mail("Call tonight", f"Join here: {LINK}\n\nBob")


@long_link.ends
def _(end: End) -> None:
    assert LINK in end.said


@task(
    "Bob's mail 'Long notes' ends with a word. Put it into #eng, and into a comment on ENG-1.",
    "gmail",
    "slack",
    "linear",
)
def mail_to_channel() -> Script:
    found = yield use("gmail_search_emails", query="subject:Long notes")
    text = yield from full({"cut": True}, "body", "gmail_get_email", message_id=found["items"][0]["id"])
    yield use("slack_send_message", conversation="#eng", body=f"The word is {_word(text)}.")
    yield use("linear_write_comment", target="ENG-1", body=f"The word is {_word(text)}.")


@mail_to_channel.starts
def _(world: World) -> None:
    world.mail("Long notes", ending("plover", 600), sender="Bob Brown <bob@example.test>")
    assert world["linear"] and world["slack"], "there before, so that what is new in them is told apart"


@mail_to_channel.ends
def _(end: End) -> None:
    [message], [comment] = end.posted(), end.changed("linear comments *")
    assert "plover" in message["text"] and "plover" in comment["body"]


@task(
    f"The last step of ENG-1's description belongs at the end of issue 1 of {SITE}. Leave all else as it is.",
    "linear",
    "github",
)
def step_to_issue() -> Script:
    _, text = yield from whole("linear_get_issue", "description", issue="ENG-1", raw=True)
    step = next(line for line in reversed(text.splitlines()) if line.startswith("200."))
    _, body = yield from whole("github_get_issue", "body", repo=SITE, number=1, raw=True)
    assert step not in body
    yield use("github_update_issue", repo=SITE, number=1, body=step, append=True)


_SHORTER = LONG.replace("\n200. Step 200", "\nStep 200")
"""The same with one step that is not numbered."""


@step_to_issue.starts
def _(world: World) -> None:
    world["linear"]["issues"][0]["description"] = LONG
    world["github"]["issues"][SITE][0]["body"] = _SHORTER


@step_to_issue.ends
def _(end: End) -> None:
    [body] = end.changed(f"github issues {SITE} 1 body")
    assert body.startswith(_SHORTER) and "200. Step 200" in body.removeprefix(_SHORTER)


@task("Does the handbook that Carol mailed say anything about bicycles?", "gmail", "files")
def find_in_a_pdf() -> Script:
    found = yield use("gmail_search_emails", subject="Handbook")
    file = yield use("gmail_get_attachment", message_id=found["items"][0]["id"], part="handbook.pdf")
    places = yield use("files_read", file=file["handle"], find="bicycles")
    return str(places)


@find_in_a_pdf.starts
def _(world: World) -> None:
    text = {143: line("Bi-") + line("cycles may be parked in the yard.", y=680)}
    book = pdf(*(text.get(n, line(f"Page {n} is about something else.")) for n in range(1, 201)))
    files = [("handbook.pdf", "application/pdf", book)]
    world.mail("Handbook", "Attached.", sender="Carol Clark <carol@customer.example>", files=files)


@find_in_a_pdf.ends
def _(end: End) -> None:
    assert "yard" in end.said and "143" in end.said
