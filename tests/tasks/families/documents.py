"""Files that are no plain text: the content of PDF, Word and Excel files, and of archives."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Generator
from typing import Any

from tests.tasks.end import End
from tests.tasks.task import Script, Use, task, use
from tests.tasks.world import World
from tests.toolkits.made_files import docx, rows, run, xlsx, zipped

WORD = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
EXCEL = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


def _read(handle: str, **where: str) -> Generator[Use, Any, str]:
    """Return all of a file's text."""
    part = yield use("files_read", file=handle, **where)
    text = str(part["text"])
    while part.get("next"):
        part = yield use("files_read", file=handle, cursor=part["next"], **where)
        text += str(part["text"])
    return text


def _attached(subject: str, part: str) -> Generator[Use, Any, str]:
    """Return the handle of a file in a mail."""
    found = yield use("gmail_search_emails", subject=subject)
    file = yield use("gmail_get_attachment", message_id=found["items"][0]["id"], part=part)
    return str(file["handle"])


@task("What does the PDF of invoice 1042 say I have to pay?", "gmail", "files")
def pdf_invoice() -> Script:
    handle = yield from _attached("Invoice 1042", "invoice-1042.pdf")
    return (yield from _read(handle))


@pdf_invoice.ends
def _(end: End) -> None:
    assert "118.40" in end.said


CONTRACT = "".join(f"<p>{run(f'Clause {n}: as before, and in writing.')}</p>" for n in range(1, 401))


@task("Who signs the contract that Bob has mailed? It stands at its end.", "gmail", "files")
def word_contract() -> Script:
    handle = yield from _attached("Contract", "contract.docx")
    text = yield from _read(handle)
    return text.rpartition("Signed by ")[2]


@word_contract.starts
def _(world: World) -> None:
    content = docx(f"{CONTRACT}<p>{run('Signed by Olga Orlova.')}</p>")
    world.mail("Contract", "Attached.", files=[("contract.docx", WORD, content)])


@word_contract.ends
def _(end: End) -> None:
    assert "Olga Orlova" in end.said


def _cell(place: str, text: str) -> str:
    return f'<c r="{place}" t="inlineStr"><is><t>{text}</t></is></c>'


@task("Log in Salesforce, on Northwind, how many keyboards they want: it stands in the table that Bob has mailed.",
      "gmail", "files", "salesforce")  # fmt: skip
def excel_order() -> Script:
    handle = yield from _attached("Order", "order.xlsx")
    text = yield from _read(handle)
    line = next(line for line in text.splitlines() if "keyboard" in line)
    account = yield use("salesforce_get_record", object="Account", record="Northwind")
    yield use("salesforce_log_activity", kind="note", subject="Order", description=line,
              account_or_opportunity=account["id"])  # fmt: skip


@excel_order.starts
def _(world: World) -> None:
    sheet = rows(
        f"<row>{_cell('A1', 'item')}{_cell('B1', 'count')}</row>",
        f"<row>{_cell('A2', 'keyboard')}{_cell('B2', '318')}</row>",
    )
    world.mail("Order", "Attached.", files=[("order.xlsx", EXCEL, xlsx({"Order": sheet}))])


@excel_order.ends
def _(end: End) -> None:
    [link] = end.changed("salesforce records ContentDocumentLink *")
    [note, *_] = end.changed("salesforce records Content*")
    assert b"318" in b64decode(note["Content"]) and link["LinkedEntityId"] == "001000000000001AAA"


@task("Which server is named in hosts.txt, in the archive that Bob has mailed?", "gmail", "files")
def in_an_archive() -> Script:
    handle = yield from _attached("Hosts", "hosts.zip")
    listed = yield use("files_read", file=handle)
    name = next(one["name"] for one in listed["members"] if one["name"].endswith("hosts.txt"))
    return (yield from _read(handle, member=name))


@in_an_archive.starts
def _(world: World) -> None:
    content = zipped({"readme.md": "Nothing.", "etc/hosts.txt": "10.0.0.7 quail"})
    world.mail("Hosts", "Attached.", files=[("hosts.zip", "application/zip", content)])


@in_an_archive.ends
def _(end: End) -> None:
    assert "quail" in end.said
