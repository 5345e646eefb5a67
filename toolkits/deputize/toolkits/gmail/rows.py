"""Rows of mails and conversations, and people as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from deputize.core import Continuation
from deputize.core.vault.grant import Account
from deputize.toolkits._shared import times
from deputize.toolkits._shared.mail.headers import Person
from deputize.toolkits._shared.mail.incoming import Mail
from deputize.toolkits._shared.text import clip
from deputize.toolkits.gmail.excerpt import EXCERPT, IN_ROW, piece

SUBJECT = 120
"""Bytes of a subject in a row."""


def thread_url(account: Account, thread: str) -> str:
    """Return the address of a conversation's page in Gmail."""
    return f"https://mail.google.com/mail/?authuser={quote(account.name, safe='@')}#all/{quote(thread, safe='')}"


def person_text(one: Person, limit: int = 60) -> str:
    """Return name and address. Long names and addresses are cut, but the address is always included."""
    return str(Person(clip(one.name, max(limit - len(one.address), 20)), clip(one.address, 80)))


def people_text(people: Sequence[Person], most: int = 10) -> list[str]:
    """Return the first ``most`` people, and the number of the others."""
    rest = [f"and {len(people) - most} more"] if len(people) > most else []
    return [person_text(one) for one in people[:most]] + rest


def row_labels(mail: Mail, names: Mapping[str, str], limit: int = 24) -> list[str]:
    """Return at most three labels: the user's own, and states such as SENT or TRASH."""
    states = {"STARRED", "SENT", "DRAFT", "SPAM", "TRASH"}
    return [clip(names.get(label, label), limit) for label in mail.labels if label in states or label in names][:3]


def email_row(mail: Mail, names: Mapping[str, str]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": mail.id,
        "from": person_text(mail.sender, 48),
        "subject": mail.subject(SUBJECT),
        "date": times.short(mail.date),
        "snippet": mail.snippet(EXCERPT),
        "unread": "UNREAD" in mail.labels,
        "labels": row_labels(mail, names),
        "files": [mail.file_name(part)[:40] for part in mail.files()][:3] if "parts" in mail.payload else [],
    }
    mail.outside.mark(row)
    return row


def writers_of(mails: Sequence[Mail], most: int = 5) -> list[str]:
    writers = {one.key: one for mail in mails for one in mail.people("From")}
    return people_text(list(writers.values()), most)


def row_body(mail: Mail, room: int = IN_ROW) -> dict[str, Any]:
    """Return a mail's own text in at most ``room`` tokens, and the call that continues it."""
    body = mail.body()
    own, cut = body.own_text()
    shown_part, following = piece(own, 0, room)
    row: dict[str, Any] = {
        "body": shown_part,
        "cut": bool(following),
        "more": Continuation("gmail_get_email", message_id=mail.id, offset=following) if following else None,
        "total_chars": len(own) if following else None,
        "quoted_cut": cut,
        "link_mismatch": body.mismatch,
        "body_omitted": any(part.attachment and not part.data for part in mail.texts()),
    }
    mail.outside.mark(row)
    return {name: value for name, value in row.items() if value}
