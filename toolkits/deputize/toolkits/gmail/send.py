"""Gmail: send, reply, forward."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import tzinfo
from typing import Annotated, Any, Final

from pydantic import Field

from deputize.core import Account, Alias, Effect, Need, Run, Steps
from deputize.core.errors import InvalidInput
from deputize.toolkits._shared.arguments import Body
from deputize.toolkits._shared.mail.compose import (
    BodyFormat,
    Letter,
    Recipients,
    Text,
    deduplicate,
    format_date,
    forward_original,
    recipients,
    render_body,
)
from deputize.toolkits._shared.mail.headers import single_line
from deputize.toolkits._shared.mail.incoming import Mail
from deputize.toolkits._shared.mail.languages import forward_subject
from deputize.toolkits._shared.mail.original import Original, original_of
from deputize.toolkits._shared.people import addresses_of
from deputize.toolkits._shared.text import clip
from deputize.toolkits.gmail import api
from deputize.toolkits.gmail.api import Asks
from deputize.toolkits.gmail.base import GETS, GMAIL, KNOWS_ALIASES, SENDS, reads
from deputize.toolkits.gmail.deliver import Outgoing, deliver, key_header
from deputize.toolkits.gmail.files import WITHOUT_FILES, Enclosed, Handles, check_size, fetch_texts, size_of, take_files
from deputize.toolkits.gmail.preview import preview_letter
from deputize.toolkits.gmail.reply_headers import ReplyFrame, prepare_reply
from deputize.toolkits.gmail.rows import people_text, thread_url
from deputize.toolkits.gmail.senders import SendAs, Signature, add_signature, choose_sender

Addresses = list[str]
To = Annotated[list[str], Field(description="addresses or names; me: the user")]
WHOM: Final = {"reply_to_whom": "all", "recipient": "to[]"}
WHOM_VALUES: Final[Mapping[str, Mapping[str | bool, Any]]] = {
    "all": {"every_recipient": True, "only_the_sender": False},
}
"""Other toolkits' names for the recipients of a reply."""


@GMAIL.tool(
    needs=lambda arguments: [SENDS, *([KNOWS_ALIASES] if arguments["signature"] else [])],
    effect=Effect.SENDS,
    aliases=[Alias(name, {"recipient": "to[]"}) for name in ("Gmail.SendEmail", "Google.SendEmail")],
)
def send_email(
    to: To,
    subject: str,
    body: Body,
    cc: Addresses | None = None,
    bcc: Addresses | None = None,
    body_format: BodyFormat = "auto",
    attachments: Handles = None,
    send_as: SendAs = None,
    signature: Signature = False,
    *,
    run: Run,
) -> Steps:
    """Send a new email from the user's own address. Body is Markdown."""
    people = yield from resolve_recipients(to, cc, bcc, run.account)
    title, text = single_line(subject, "subject"), render_body(body, body_format)
    sender = yield from choose_sender(send_as, run.granted, signature=signature)
    text = add_signature(text, sender) if signature else text
    files = [] if run.noted else (yield from take_files(attachments))
    writer = sender.person if sender and send_as else None
    letter = Letter(title, text, people, writer, extra=key_header(run.key), files=files)
    if not run.noted:
        yield preview_letter("Send this email", letter, html=body_format == "html")
    return (yield from _send(letter, "", run))


def resolve_recipients(
    to: Addresses | None, cc: Addresses | None, bcc: Addresses | None, me: Account, *, least: int = 1
) -> Asks[Recipients]:
    """Resolve names and ``me``. Raises `InvalidInput` for fewer than ``least`` people or an ambiguous name."""
    to = yield from addresses_of(to, "to", me)
    cc = yield from addresses_of(cc, "cc", me)
    bcc = yield from addresses_of(bcc, "bcc", me)
    people = recipients(to, cc, bcc)
    if len(people.all) < least:
        raise InvalidInput("to: no recipients given.", hint="Add an address or a name.")
    return people


def _send(letter: Letter, thread: str, run: Run) -> Asks[dict[str, Any]]:
    """Send a letter once and return the result."""
    mail = Outgoing(letter.content(), run.key, thread, letter.people.all[0].address)
    sent = yield from deliver(mail, run)
    result = receipt(sent, letter.people, letter.subject, run.account)
    return ({"from": str(letter.sender)} if letter.sender else {}) | result


def receipt(sent: Mapping[str, Any], people: Recipients, subject: str, account: Account) -> dict[str, Any]:
    thread = str(sent.get("threadId", ""))
    result = {
        "id": sent.get("id"),
        "thread": thread,
        "to": people_text(people.to, 3),
        "cc": people_text(people.cc, 2),
        "bcc": people_text(people.bcc, 2),
        "subject": clip(subject, 60),
        "url": thread_url(account, thread) if thread else None,
        "summary": "Sent." if sent.get("id") else "Sent; Gmail does not say under which id.",
    }
    return {name: value for name, value in result.items() if value}


# ----------------------------------------------------------------- reply


def reply_needs() -> Sequence[Need]:
    """Return the scopes that a tool needs to read a mail to which it replies."""
    return [GETS, reads("messages.attachments.get"), KNOWS_ALIASES]


@GMAIL.tool(
    needs=[*reply_needs(), SENDS],
    effect=Effect.SENDS,
    aliases=[Alias("Gmail.ReplyToEmail", {"reply_to_message_id": "message_id", **WHOM}, values=WHOM_VALUES)],
)
def reply_email(
    message_id: str,
    body: Body,
    all_: Annotated[bool, Field(description="reply to everybody")] = False,
    cc: Annotated[Addresses | None, Field(description="further ones")] = None,
    bcc: Addresses | None = None,
    body_format: BodyFormat = "auto",
    attachments: Handles = None,
    quote: Annotated[bool, Field(description="the original below")] = True,
    send_as: Annotated[str | None, Field(description="alias address (default: the one it came to)")] = None,
    signature: Signature = False,
    *,
    run: Run,
) -> Steps:
    """Reply to an email in its thread. Body is Markdown."""
    _, more, unseen = yield from resolve_recipients(None, cc, bcc, run.account, least=0)
    text = render_body(body, body_format)
    frame = yield from prepare_reply(message_id, run, everybody=all_)
    text = add_signature(text, frame.signer(send_as)) if signature else text
    people = deduplicate(frame.to, [*frame.cc, *more], unseen)
    whole = text.followed_by(frame.quote) if quote else text
    files = [] if run.noted else (yield from take_files(attachments))
    writer = frame.writer(send_as)
    sender = writer.person if writer else None
    letter = Letter(frame.subject, whole, people, sender, answers=frame.answers, extra=key_header(run.key), files=files)
    if not run.noted:
        later = frame.enclosed.preview_rows() if quote and whole.html else ()
        html = body_format == "html"
        # A quote sent back to its author alone shows nobody words or links that an untrusted sender chose.
        back = quote and not (html or frame.sender) and len(people.all) == 1
        yield preview_letter(
            "Send this reply",
            replace(letter, text=text) if back else letter,
            html=html,
            later=later,
            note=reply_warning(frame),
            pins={"message": message_id},
            context={"quote": frame.quote.plain} if back else None,
        )
        letter = (yield from frame.enclosed.attach_to(letter)) if later else letter
    return (yield from _send(letter, frame.thread, run))


def reply_warning(frame: ReplyFrame) -> str | None:
    """Return a warning if replies go to another address than the sender's, or None."""
    return f"The email is from {frame.sender}, but its answers go to another address." if frame.sender else None


# ----------------------------------------------------------------- forward


@GMAIL.tool(
    needs=lambda arguments: [
        GETS,
        reads("messages.attachments.get"),
        SENDS,
    ],
    effect=Effect.SENDS,
    aliases=[Alias("Gmail.ForwardEmail", {"recipient": "to[]", "note": "body"})],
)
def forward_email(
    message_id: str,
    to: To,
    body: Annotated[str, Field(description="note above the original")] = "",
    cc: Addresses | None = None,
    bcc: Addresses | None = None,
    attachments: Annotated[bool, Field(description="its own files, too")] = True,
    add_attachments: Handles = None,
    send_as: SendAs = None,
    *,
    run: Run,
) -> Steps:
    """Forward an email, with its attachments, to new recipients."""
    people = yield from resolve_recipients(to, cc, bcc, run.account)
    note = render_body(body, "auto")
    mail = Mail((yield api.get_message(message_id)))
    original = original_of(mail, (yield from fetch_texts(mail)))
    theirs = original.files if attachments else ()
    enclosed = Enclosed(mail, original, theirs)
    files = [] if run.noted else (yield from take_files(add_attachments))
    check_size(sum(map(size_of, theirs)) + sum(len(one.data) for one in files), WITHOUT_FILES)
    text = note.followed_by(_forwarded_text(mail, original, run.zone))
    writer = yield from choose_sender(send_as, run.granted, signature=False)
    sender = writer.person if writer else None
    letter = Letter(forward_subject(mail.subject()), text, people, sender, extra=key_header(run.key), files=files)
    if not run.noted:  # a message never changes, so its files may be fetched after the approval
        yield preview_letter("Forward this email", letter, later=enclosed.preview_rows(), pins={"message": message_id})
        letter = yield from enclosed.attach_to(letter)
    sent = yield from _send(letter, "", run)
    return sent | ({"files": [clip(mail.file_name(part), 40) for part in theirs][:5]} if theirs else {})


def _forwarded_text(mail: Mail, original: Original, zone: tzinfo) -> Text:
    """Return the forwarded mail: its headers, its text and its HTML layout."""
    headers = [
        ("From", str(mail.sender)),
        ("Date", format_date(mail.date, zone)),
        ("Subject", mail.subject()),
        ("To", ", ".join(str(one) for one in mail.people("To"))),
        ("Cc", ", ".join(str(one) for one in mail.people("Cc"))),
    ]
    return forward_original([(name, value) for name, value in headers if value], original.text, original.html)
