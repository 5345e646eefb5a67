"""Files that the user sends: made from rows and texts, as people open them."""

from __future__ import annotations

from datetime import date
from io import BytesIO
from zipfile import ZipFile

from docx import Document

from tests.tasks.end import End, files_of
from tests.tasks.reading import full, pages
from tests.tasks.task import Script, task, use
from tests.tasks.world import ALICE, BOB, World

WORK = "carol@customer.example"
DAY_0 = date(1899, 12, 30)
"""The day 0 of Excel."""


@task("Send Bob an Excel file of my open Linear issues in ENG: identifier, title, due date.", "linear", "files",
      "gmail", "contacts")  # fmt: skip
def xlsx_attached() -> Script:
    issues = yield from pages("linear_list_issues", team="ENG", assignee="me", state="open")
    rows = [["Identifier", "Title", "Due"]]
    rows += [[one["identifier"], one["title"], one.get("due") or ""] for one in issues]
    file = yield use("files_write", name="Open issues.xlsx", rows=rows)
    bob = (yield use("contacts_search", query="Bob"))["items"][0]["emails"][0]
    body = "My open issues are attached."
    yield use("gmail_send_email", to=[bob], subject="My open issues", body=body, attachments=[file["file"]])


@xlsx_attached.starts
def _(world: World) -> None:
    for title, due in (("=SUM(A1:A9) is shown", "2026-12-01"), ("No date", None), ("Late", "2026-11-20")):
        world.linear_issue(title, assignee=ALICE, **({"dueDate": due} if due else {}))
    world.linear_issue("Closed", assignee=ALICE, state="Done")


@xlsx_attached.ends
def _(end: End) -> None:
    [mail] = end.sent()
    [(name, content)] = files_of(mail).items()
    assert name == "Open issues.xlsx" and BOB in mail.to
    with ZipFile(BytesIO(content)) as book:
        texts, sheet = (book.read(f"xl/{part}.xml").decode() for part in ("sharedStrings", "worksheets/sheet1"))
    assert all(f">{one}<" in texts for one in ("ENG-1", "ENG-4", "ENG-5", "ENG-6", "=SUM(A1:A9) is shown", "No date"))
    assert "Closed" not in texts and "<f>" not in sheet and sheet.count("<row ") == 5
    assert sum(f"<v>{(date.fromisoformat(day) - DAY_0).days}</v>" in sheet for day in ("2026-12-01", "2026-11-20")) == 2


DECIDED = ("The party is on 4 December.", "It is at the lake.")
TASKS = ("\u00ebva: music", "J\u00fcrgen: drinks", "Bob: invitations")


@task("Write the minutes from the thread about the party as a Word file and send it to Carol Clark.", "files",
      "gmail", "contacts")  # fmt: skip
def docx_attached() -> Script:
    found = yield use("gmail_search_emails", subject="Party", group="thread")
    texts = []
    for row in (yield from pages("gmail_get_thread", thread_id=found["items"][0]["thread"])):
        texts.append((yield from full(row, "body", "gmail_get_email", message_id=row["id"])))
    lines = [line.strip() for text in texts for line in text.split("\n")]
    decided = [line.partition(": ")[2] for line in lines if line.startswith("Decided: ")]
    jobs = [line.removeprefix("- ") for line in lines if line.startswith("- ")]
    text = "\n".join(["# Minutes: the party", "", *decided, "", "## Tasks", "", *(f"- {one}" for one in jobs)])
    file = yield use("files_write", name="Minutes.docx", text=text)
    carol = (yield use("contacts_search", query="Carol Clark"))["items"][0]["emails"][0]
    yield use("gmail_send_email", to=[carol], subject="Minutes", body="Attached.", attachments=[file["file"]])


@docx_attached.starts
def _(world: World) -> None:
    said = [
        "Shall we?",
        f"Decided: {DECIDED[0]}",
        f"Decided: {DECIDED[1]}",
        "\n".join(f"- {one}" for one in TASKS),
        "Fine.",
    ]
    for n, text in enumerate(said):
        answers = f"<m{70000 + n}@mail.example.test>" if n else ""
        world.mail("Re: Party" if answers else "Party", text, hours=40 - n, answers=answers)


@docx_attached.ends
def _(end: End) -> None:
    [mail] = end.sent()
    [(name, content)] = files_of(mail).items()
    paragraphs = [
        (str(one.style and one.style.name), one.text) for one in Document(BytesIO(content)).paragraphs if one.text
    ]
    assert name == "Minutes.docx" and mail.to.count("@") == 1 and WORK in mail.to
    assert paragraphs[0][0].startswith("Heading") and not any(one.startswith(("#", "- ")) for _, one in paragraphs)
    assert all(any(one in text for _, text in paragraphs) for one in DECIDED)
    assert [text.removeprefix("\u2022\t") for _, text in paragraphs if text.startswith("\u2022\t")] == list(TASKS)
