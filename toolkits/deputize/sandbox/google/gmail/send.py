"""Sending: Gmail's changes to outgoing mail, and its delivery inside the sandbox."""

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
from deputize.sandbox.google.gmail.call import Call, invalid, not_found
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
    raw, asked = read_mail(call, {} if is_upload(call) else call.json())
    mail = prepare_outgoing(call, raw)
    return brief(send_out(call, mail, thread_for(call.box, mail, asked)))


def send_out(call: Call, mail: Mail, thread_id: str) -> Mail:
    """Put a mail into SENT, and into the inboxes of its recipients in the sandbox."""
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
    """Add a copy for one recipient: without Bcc, with a mail server's headers on top."""
    domain = parseaddr(mail.sender)[1].rpartition("@")[2]
    stamps = {
        "Delivered-To": person.email,
        "Authentication-Results": f"mx.google.com; dkim=pass header.i=@{domain}; spf=pass smtp.mailfrom={domain}; "
        f"dmarc=pass header.from={domain}",
    }
    copy = Mail("", "", rewritten(mail.raw, stamps, drop={"bcc"}), [], mail.at, 0)
    return box.add(copy.raw, ["INBOX", "UNREAD", "CATEGORY_PERSONAL"], mail.at, thread_id=box.thread_of_reply(copy))


def prepare_outgoing(call: Call, raw: bytes) -> Mail:
    """Return the mail as Gmail stores it: From is the account or an alias, the Message-ID is Gmail's."""
    stamps = {
        "From": _choose_sender(call, raw),
        "Message-ID": f"<CA+{secrets.token_urlsafe(24)}@mail.example.test>",
        "Date": format_datetime(datetime.fromtimestamp(call.world.clock(), UTC)),
    }
    return Mail("", "", rewritten(raw, stamps), [], call.now_ms, 0)


def thread_for(box: Mailbox, mail: Mail, thread_id: str) -> str:
    """Return the requested thread if the mail answers it, else "". Raise 404 if the thread does not exist."""
    if thread_id and not box.thread(thread_id):
        raise not_found()
    return box.thread_of_reply(mail, thread_id) if thread_id else ""


def uploaded_draft(call: Call) -> str:
    """Return the id of an upload's draft."""
    return str(_upload(call)[1].get("id", ""))


def read_mail(call: Call, message: Json) -> tuple[bytes, str]:
    """Return the mail of a request and its requested thread: ``raw`` in the JSON, or an upload."""
    if is_upload(call):
        raw, about = _upload(call)
        message = about.get("message", about)
    else:
        raw = _decode_raw(message.get("raw"))
    if len(raw) > LARGEST:
        raise Refused(api_error(413, "Message too large", "uploadTooLarge", "INVALID_ARGUMENT"))
    thread_id = message.get("threadId", "")
    if not isinstance(thread_id, str):
        raise invalid("Invalid thread_id value")
    return raw, thread_id


def is_upload(call: Call) -> bool:
    """Return True if the body is the mail itself, not JSON that contains it."""
    return call.ask.path.startswith("/upload/")


def rewritten(raw: bytes, stamps: Mapping[str, str], drop: Collection[str] = ()) -> bytes:
    """Return a mail with these headers on top, replacing others of those names; the body stays unchanged."""
    gap = BLANK.search(raw)
    head, body = (raw[: gap.start()], raw[gap.end() :]) if gap else (raw, b"")
    gone = {name.lower().encode() for name in stamps} | {name.encode() for name in drop}
    kept = [line for line in FIELD.split(head) if line and line.split(b":")[0].strip().lower() not in gone]
    top = EmailMessage(policy=SMTP)
    for name, value in stamps.items():
        top[name] = value
    written = top.as_bytes().strip()
    return b"\r\n".join([written, *(NEWLINE.sub(b"\r\n", line) for line in kept)]) + b"\r\n\r\n" + body


def _decode_raw(raw: object) -> bytes:
    if not isinstance(raw, str) or not raw:
        raise invalid("'raw' RFC822 payload message string or uploading message via /upload/* URL required")
    try:
        return mime.decode(raw)
    except ValueError:
        raise invalid("Invalid value at 'raw' (TYPE_BYTES), Base64 decoding failed") from None


def _upload(call: Call) -> tuple[bytes, Json]:
    """Return the mail and its JSON: ``uploadType=media`` is the mail only, ``multipart`` is JSON, then the mail."""
    kind = call.ask.one("uploadType")
    if kind == "media":
        return call.ask.body, {}
    if kind != "multipart":
        raise invalid("Unsupported uploadType")
    head = f"Content-Type: {call.ask.headers.get('content-type', '')}\r\n\r\n".encode()
    inner = message_from_bytes(head + call.ask.body).get_payload()
    if not isinstance(inner, list) or len(inner) != 2 or isinstance(inner[0], str) or isinstance(inner[1], str):
        raise invalid("Multipart must have two parts")
    return _embedded_mail(inner[1]), _read_json_part(inner[0])


def _embedded_mail(part: Message) -> bytes:
    inner = part.get_payload()
    if isinstance(inner, list) and isinstance(inner[0], Message):
        return inner[0].as_bytes()
    raise invalid("The second part must be message/rfc822")


def _read_json_part(part: Message) -> Json:
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


def _choose_sender(call: Call, raw: bytes) -> str:
    wanted = parseaddr(Mail("", "", raw, [], 0, 0).sender)[1].lower()
    rows: list[Json] = call.box.settings["sendAs"]
    row = next((row for row in rows if row["sendAsEmail"] == wanted), rows[0])
    return str(Address(row["displayName"], addr_spec=row["sendAsEmail"]))
