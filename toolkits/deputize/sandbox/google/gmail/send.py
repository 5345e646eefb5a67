"""Sending: what Gmail does to a mail on its way out, and to whom in the sandbox it is delivered."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from email import message_from_bytes
from email.headerregistry import Address
from email.message import EmailMessage, Message
from email.policy import SMTP
from email.utils import format_datetime, getaddresses, parseaddr

from deputize.sandbox.google.errors import api_error
from deputize.sandbox.google.gmail import mime, text
from deputize.sandbox.google.gmail.call import Call, invalid, missing
from deputize.sandbox.google.gmail.mailbox import Json, Mail, Mailbox
from deputize.sandbox.google.gmail.messages import brief
from deputize.sandbox.http_types import Refused
from deputize.sandbox.people import Person

LARGEST = 36_700_160
RECEIVERS = ("To", "Cc", "Bcc")
BLANK = re.compile(rb"\r?\n\r?\n")
FIELD = re.compile(rb"\r?\n(?![ \t])")
NEWLINE = re.compile(rb"\r?\n")


def send(call: Call) -> Json:
    """messages.send"""
    raw, asked = posted(call, {} if uploaded(call) else call.json())
    mail = outgoing(call, raw)
    return brief(send_out(call, mail, joined(call.box, mail, asked)))


def send_out(call: Call, mail: Mail, thread_id: str) -> Mail:
    """Put a mail into SENT and into the inboxes of the sandbox's people it is addressed to."""
    receivers = _receivers(mail)
    to_self = call.person.email in receivers
    labels = ["SENT", "INBOX", "UNREAD"] if to_self else ["SENT"]
    sent = call.box.add(mail.raw, labels, mail.at, thread_id=thread_id)
    call.box.sent.append(sent.id)
    for person in call.world.people:
        if person.email in receivers and person != call.person:
            deliver(call.world.mailbox(person.email), person, mail)
    return sent


def deliver(box: Mailbox, person: Person, mail: Mail) -> Mail:
    """A copy for one receiver: without Bcc, with what a mail server writes on top."""
    domain = parseaddr(mail.sender)[1].rpartition("@")[2]
    stamps = {
        "Delivered-To": person.email,
        "Authentication-Results": f"mx.google.com; dkim=pass header.i=@{domain}; spf=pass smtp.mailfrom={domain}; "
        f"dmarc=pass header.from={domain}",
    }
    copy = Mail("", "", rewritten(mail.raw, stamps, drop={"bcc"}), [], mail.at, 0)
    return box.add(copy.raw, ["INBOX", "UNREAD", "CATEGORY_PERSONAL"], mail.at, thread_id=box.answered_by(copy))


def outgoing(call: Call, raw: bytes) -> Mail:
    """The mail as Gmail keeps it: From is the account or one of its aliases, the Message-ID is Gmail's own."""
    stamps = {
        "From": _from(call, raw),
        "Message-ID": f"<CA+{secrets.token_urlsafe(24)}@mail.example.test>",
        "Date": format_datetime(datetime.fromtimestamp(call.world.clock(), UTC)),
    }
    return Mail("", "", rewritten(raw, stamps), [], call.now_ms, 0)


def joined(box: Mailbox, mail: Mail, thread_id: str) -> str:
    """The thread a mail goes to: the one asked for if it really answers it, else a new one."""
    if thread_id and not box.thread(thread_id):
        raise missing()
    return box.answered_by(mail, thread_id) if thread_id else ""


def uploaded_draft(call: Call) -> str:
    """The id of the draft that an upload is about."""
    return str(_upload(call)[1].get("id", ""))


def posted(call: Call, message: Json) -> tuple[bytes, str]:
    """The mail of a request and the thread it asks for: ``raw`` in the JSON, or an upload."""
    if uploaded(call):
        raw, about = _upload(call)
        message = about.get("message", about)
    else:
        raw = _decoded(message.get("raw"))
    if len(raw) > LARGEST:
        raise Refused(api_error(413, "Message too large", "uploadTooLarge", "INVALID_ARGUMENT"))
    thread_id = message.get("threadId", "")
    if not isinstance(thread_id, str):
        raise invalid("Invalid thread_id value")
    return raw, thread_id


def uploaded(call: Call) -> bool:
    """Whether the mail itself is the body, not JSON around it."""
    return call.ask.path.startswith("/upload/")


def rewritten(raw: bytes, stamps: Mapping[str, str], drop: Collection[str] = ()) -> bytes:
    """A mail with these headers on top, and without any others of those names; the body stays as it is."""
    gap = BLANK.search(raw)
    head, body = (raw[: gap.start()], raw[gap.end() :]) if gap else (raw, b"")
    gone = {name.lower().encode() for name in stamps} | {name.encode() for name in drop}
    kept = [line for line in FIELD.split(head) if line and line.split(b":")[0].strip().lower() not in gone]
    top = EmailMessage(policy=SMTP)
    for name, value in stamps.items():
        top[name] = value
    written = top.as_bytes().strip()
    return b"\r\n".join([written, *(NEWLINE.sub(b"\r\n", line) for line in kept)]) + b"\r\n\r\n" + body


def _decoded(raw: object) -> bytes:
    if not isinstance(raw, str) or not raw:
        raise invalid("'raw' RFC822 payload message string or uploading message via /upload/* URL required")
    try:
        return mime.decode(raw)
    except ValueError:
        raise invalid("Invalid value at 'raw' (TYPE_BYTES), Base64 decoding failed") from None


def _upload(call: Call) -> tuple[bytes, Json]:
    """``uploadType=media`` is the mail alone; ``multipart`` is JSON, then the mail."""
    kind = call.ask.one("uploadType")
    if kind == "media":
        return call.ask.body, {}
    if kind != "multipart":
        raise invalid("Unsupported uploadType")
    head = f"Content-Type: {call.ask.headers.get('content-type', '')}\r\n\r\n".encode()
    inner = message_from_bytes(head + call.ask.body).get_payload()
    if not isinstance(inner, list) or len(inner) != 2 or isinstance(inner[0], str) or isinstance(inner[1], str):
        raise invalid("Multipart must have two parts")
    return _embedded(inner[1]), _about(inner[0])


def _embedded(part: Message) -> bytes:
    inner = part.get_payload()
    if isinstance(inner, list) and isinstance(inner[0], Message):
        return inner[0].as_bytes()
    raise invalid("The second part must be message/rfc822")


def _about(part: Message) -> Json:
    try:
        fields = json.loads(text.content(part) or b"{}")
        return dict(fields, message=dict(fields.get("message", fields)))
    except (ValueError, TypeError, AttributeError):
        raise invalid("Invalid JSON payload received.") from None


def _receivers(mail: Mail) -> set[str]:
    found: set[str] = set()
    for name in RECEIVERS:
        written = mail.header(name)
        addresses = [address for _, address in getaddresses([written]) if address]
        if written and (not addresses or any("@" not in address for address in addresses)):
            raise invalid(f"Invalid {name} header")
        found |= {address.lower() for address in addresses}
    if not found:
        raise invalid("Recipient address required")
    return found


def _from(call: Call, raw: bytes) -> str:
    wanted = parseaddr(Mail("", "", raw, [], 0, 0).sender)[1].lower()
    rows: list[Json] = call.box.settings["sendAs"]
    row = next((row for row in rows if row["sendAsEmail"] == wanted), rows[0])
    return str(Address(row["displayName"], addr_spec=row["sendAsEmail"]))
