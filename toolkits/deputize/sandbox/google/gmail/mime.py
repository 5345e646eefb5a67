"""Mails in the formats of Gmail's API (reference of users.messages)."""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Collection
from email.message import Message
from typing import Any

from deputize.sandbox.google.gmail import text
from deputize.sandbox.google.gmail.mailbox import Json, Mail

FORMATS = ("minimal", "full", "raw", "metadata")
INLINE_LIMIT = 1_000_000


def format_mail(mail: Mail, form: str = "full", wanted: Collection[str] = ()) -> Json:
    """Return a mail in one of the four formats; ``wanted`` limits the headers of ``metadata``."""
    row: Json = {
        "id": mail.id,
        "threadId": mail.thread_id,
        "labelIds": list(mail.labels),
        "snippet": mail.snippet,
        "historyId": str(mail.history_id),
        "internalDate": str(mail.at),
        "sizeEstimate": len(mail.raw),
    }
    if form == "raw":
        return row | {"raw": encode(mail.raw)}
    if form == "metadata":
        return row | {"payload": _head(mail.message, wanted)}
    return row if form == "minimal" else row | {"payload": _part(mail.message, "")}


def attachment(mail: Mail, attachment_id: str) -> bytes | None:
    """Return the bytes of an attachment of this mail. Raise 400 if the id belongs to none."""
    try:
        part_id = decode(attachment_id).decode().partition("/")[0]
    except ValueError:
        return None
    part = _parts_by_id(mail.message).get(part_id)
    return None if part is None else text.content(part)


def encode(raw: bytes) -> str:
    """Encode as base64url, as everywhere in Gmail's API."""
    return base64.urlsafe_b64encode(raw).decode()


def decode(written: str) -> bytes:
    """Decode base64url with or without padding. Raise ValueError for anything else."""
    try:
        return base64.b64decode(written + "=" * (-len(written) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        raise ValueError("not base64url") from None


def _head(message: Message, wanted: Collection[str]) -> Json:
    lower = {name.lower() for name in wanted}
    shown = [
        {"name": name, "value": value} for name, value in text.headers(message) if not lower or name.lower() in lower
    ]
    return {"mimeType": message.get_content_type(), "headers": shown}


def _part(part: Message, part_id: str) -> Json:
    row: Json = {
        "partId": part_id,
        "mimeType": part.get_content_type(),
        "filename": part.get_filename() or "",
        "headers": [{"name": name, "value": value} for name, value in text.headers(part)],
    }
    if part.is_multipart():
        inner = [_part(child, number) for number, child in _children(part, part_id)]
        return row | {"body": {"size": 0}, "parts": inner}
    return row | {"body": _body(part, part_id)}


def _body(part: Message, part_id: str) -> Json:
    raw = text.content(part)
    if text.is_file(part) or len(raw) > INLINE_LIMIT:
        # A new id at every fetch, all valid: Gmail's ids change per fetch, so no client may store one.
        return {"size": len(raw), "attachmentId": encode(f"{part_id}/{secrets.token_hex(12)}".encode())}
    return {"size": len(raw), "data": encode(raw)} if raw else {"size": 0}


def _children(part: Message, part_id: str) -> list[tuple[str, Message]]:
    inner: Any = part.get_payload()
    prefix = f"{part_id}." if part_id else ""
    return [(f"{prefix}{number}", child) for number, child in enumerate(inner)]


def _parts_by_id(part: Message, part_id: str = "") -> dict[str, Message]:
    if not part.is_multipart():
        return {part_id: part}
    found: dict[str, Message] = {}
    for number, child in _children(part, part_id):
        found |= _parts_by_id(child, number)
    return found
