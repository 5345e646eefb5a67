"""The processing of each mail of the corpus: what a model reads, what a reply quotes, what a forwarded mail sends.

``python -m tests.toolkits.data.mails.corpus.golden`` rewrites the files; review the diff.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Final

from deputize.toolkits._shared.html import read_html
from deputize.toolkits.gmail import TOOLKIT
from tests.toolkits.data.mails.corpus import carriers, programs, replies
from tests.toolkits.data.mails.corpus.eml import shown_by_gmail
from tests.toolkits.data.mails.corpus.tongues import TONGUES, Tongue
from tests.toolkits.mailbox import READONLY, SEND, Mailbox
from tests.toolkits.tool_driver import Driver

Family = Callable[[Tongue], bytes]
FAMILIES: Final[tuple[Family, ...]] = (*replies.FAMILIES, *programs.FAMILIES, *carriers.FAMILIES)
FOLDER: Final = Path(__file__).parent / "golden"
WRITER: Final = Driver(TOOLKIT, frozenset({READONLY, SEND}))
_SAID: Final = ("to", "cc", "labels", "id", "thread", "date", "url", "untrusted", "body", "links")


def path_of(family: Family) -> Path:
    """Return the path of a family's golden text."""
    return FOLDER / f"{family.__name__}.txt"


def golden(family: Family) -> str:
    """Return the processing result of a family's mails, in every language."""
    return "\n".join(line for tongue in TONGUES for line in _of(tongue, family(tongue))).rstrip() + "\n"


def _of(tongue: Tongue, raw: bytes) -> Iterator[str]:
    message, kept = shown_by_gmail(raw)

    def act(tool: str, **arguments: Any) -> tuple[Any, list[EmailMessage]]:
        box = Mailbox({"m1": message}, attachments=kept)
        return WRITER.run(tool, {"message_id": "m1", **arguments}, box).result, box.sent

    read, _ = act("get_email")
    links, _ = act("get_email", part="links")
    yield f"======== {tongue.code}"
    yield json.dumps({name: one for name, one in read.items() if name not in _SAID}, ensure_ascii=False)
    yield from _block("reads", read["body"])
    yield from _block("links", links["links"])
    for tool, more in (("reply_email", {"body": "OK"}), ("forward_email", {"to": ["dora@example.test"]})):
        _, (mail,) = act(tool, **more)
        yield from _block(f"{tool.partition('_')[0]}: {mail['To']} | {mail['Subject']}", _plain(mail))
        yield from _seen(mail)


def _block(title: str, content: str) -> Iterator[str]:
    if content:
        yield f"---- {title}"
        yield content.rstrip()


def _plain(mail: EmailMessage) -> str:
    part = mail.get_body(("plain",))
    return str(part.get_content()).replace("\r\n", "\n") if part else ""


def _seen(mail: EmailMessage) -> Iterator[str]:
    """Return what its HTML shows that its plain text does not, or the reverse; and its parts."""
    page = mail.get_body(("html",))
    if page is not None:
        shown = [line.text.lstrip("> ") for line in read_html(str(page.get_content()), whole_links=True).lines]
        said = [line.lstrip("> ") for line in _plain(mail).split("\n")]
        yield from (f"only in html: {line}" for line in shown if line and line not in said)
        yield from (f"not in html: {line}" for line in said if line and line not in shown)
    parts = [part for part in mail.walk() if part.get_filename()]
    yield from (f"{part.get_content_disposition()}: {part.get_filename()} {part.get_content_type()}" for part in parts)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for one in FAMILIES:
        path_of(one).write_text(golden(one), encoding="utf-8")
