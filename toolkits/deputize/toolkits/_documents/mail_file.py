"""A mail as a file: who, when, what about, its text; the files in it are its members."""

from __future__ import annotations

from collections.abc import Callable

from deputize.toolkits._documents.document import Document, Unit


def open_mail(content: bytes) -> tuple[Document, Callable[[str], bytes | None]]:
    """A mail that was opened, and what gives the bytes of a file in it."""
    from deputize.toolkits._shared.html import read_html
    from deputize.toolkits._shared.mail_raw import RawMail

    mail = RawMail.of(content)
    date = next((one.partition(": ")[2] for one in mail.other if one.lower().startswith("date: ")), _date(content))
    head = [f"{name}: {', '.join(map(str, people))}" for name, people in mail.people.items() if people]
    head += [f"Date: {date}"] * bool(date) + [f"Subject: {mail.subject}"]

    def read(_: int) -> Unit:
        page = read_html(mail.html) if mail.html else None
        body = page.text if page and page.text.strip() else mail.plain
        unit = Unit("\n".join((*head, "", body)))
        if page:
            unit.hidden, unit.doubts = page.hidden, set(page.doubts)
        return unit

    files = {one.name: one.data for one in mail.files}
    members = [{"name": one.name, "size": len(one.data)} for one in mail.files]
    return Document("mail", read, members=members), files.get


def _date(content: bytes) -> str:
    head = content[:64_000].replace(b"\r\n", b"\n").partition(b"\n\n")[0]
    lines = [line for line in head.split(b"\n") if line.lower().startswith(b"date:")]
    return lines[0][5:].decode("ascii", "replace").strip() if lines else ""
