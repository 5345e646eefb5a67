"""Mails as bytes, as programs write them: headers, parts, encodings; and those bytes as Gmail's API shows them."""

from __future__ import annotations

import base64
import quopri
from collections.abc import Mapping
from email import message_from_bytes
from email.message import Message
from typing import Any, Final, NamedTuple

from tests.toolkits.data.mails.corpus.tongues import BOB, Tongue

DATE: Final = "Tue, 24 Nov 2026 15:00:00 +0100"
PNG: Final = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


class Part(NamedTuple):
    """A part of a mail: its headers and its bytes as they stand in it."""

    headers: str
    body: bytes


def text(content: str, kind: str = "plain", charset: str = "utf-8", encoding: str = "quoted-printable") -> Part:
    """A part of text, encoded as it says."""
    raw = content.replace("\n", "\r\n").encode(charset, errors="xmlcharrefreplace" if kind == "html" else "strict")
    if encoding == "base64":
        body = base64.encodebytes(raw)
    else:
        body = quopri.encodestring(raw) if encoding == "quoted-printable" else raw
    return Part(f"Content-Type: text/{kind}; charset={charset}\r\nContent-Transfer-Encoding: {encoding}\r\n", body)


def file(name: str, kind: str, data: bytes, extra: str = "", disposition: str = "attachment") -> Part:
    """A part that is a file. ``name``: a parameter as it is written."""
    head = f"Content-Type: {kind}\r\nContent-Transfer-Encoding: base64\r\n{extra}"
    return Part(f"{head}Content-Disposition: {disposition}; {name}\r\n", base64.encodebytes(data))


def multipart(kind: str, *parts: Part, more: str = "") -> Part:
    """A part of parts."""
    line = f"----=_{kind.split('/')[0]}_{len(parts)}"
    inner = b"".join(b"--%s\r\n%s\r\n%s\r\n" % (line.encode(), one.headers.encode(), one.body) for one in parts)
    return Part(f'Content-Type: multipart/{kind}; boundary="{line}"{more}\r\n', inner + b"--%s--\r\n" % line.encode())


def both(plain: str, html: str) -> Part:
    """A text in two forms."""
    return multipart("alternative", text(plain), text(html, "html"))


def mail(
    tongue: Tongue,
    content: Part,
    subject: str | None = None,
    *,
    sender: str = "",
    to: str = "Alice <alice@example.test>",
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """A whole mail to Alice."""
    said = {
        "From": sender or f"{_word(tongue.name)} <bea@example.test>",
        "To": to,
        "Subject": _word(tongue.subject if subject is None else subject),
        "Date": DATE,
        "Message-ID": f"<{tongue.code}@example.test>",
        **(headers or {}),
        "MIME-Version": "1.0",
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in said.items())
    return f"{head}{content.headers}\r\n".encode() + content.body


def _word(words: str) -> str:
    """A header's words in one encoded word, or as they are."""
    return words if words.isascii() else f"=?UTF-8?B?{base64.b64encode(words.encode()).decode()}?="


def bob_and(tongue: Tongue) -> str:
    """Who is written to in the head of a quoted mail."""
    return f"{tongue.name} <bea@example.test>"


def head_of(tongue: Tongue, end: str = "\n") -> str:
    """The head of a quoted mail as Outlook writes it."""
    values = (BOB, tongue.sent, bob_and(tongue), tongue.subject)
    return end.join(f"{name} {value}" for name, value in zip(tongue.head, values, strict=True))


# ----------------------------------------------------------------- as Gmail's API shows it


def shown_by_gmail(raw: bytes, id: str = "m1") -> tuple[dict[str, Any], dict[str, bytes]]:
    """A message of the API, and the bytes behind its ids of attachments."""
    parsed, kept = message_from_bytes(raw), dict[str, bytes]()
    payload = _payload(parsed, "", kept)
    made = {"id": id, "threadId": "t1", "labelIds": ["INBOX"], "snippet": "", "internalDate": "1795528800000"}
    return made | {"payload": payload, "raw": base64.urlsafe_b64encode(raw).decode()}, kept


def _payload(part: Message[Any, Any], number: str, kept: dict[str, bytes]) -> dict[str, Any]:
    headers = [{"name": name, "value": " ".join(str(value).split())} for name, value in part.raw_items()]
    row = {"partId": number, "mimeType": part.get_content_type(), "filename": part.get_filename() or ""}
    inner = part.get_payload()
    if isinstance(inner, list):
        children = [
            _payload(one, f"{number}.{at}".strip("."), kept) for at, one in enumerate(inner) if isinstance(one, Message)
        ]
        return {**row, "headers": headers, "body": {"size": 0}, "parts": children}
    data = part.get_payload(decode=True)
    assert isinstance(data, bytes)
    if row["filename"]:
        kept[f"A{number}"] = data
        return {**row, "headers": headers, "body": {"size": len(data), "attachmentId": f"A{number}"}}
    return {**row, "headers": headers, "body": {"size": len(data), "data": base64.urlsafe_b64encode(data).decode()}}
