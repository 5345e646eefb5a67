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
    apart,
    forwarded,
    recipients,
    written,
)
from deputize.toolkits._shared.mail.dates import written_date
from deputize.toolkits._shared.mail.headers import single_line
from deputize.toolkits._shared.mail.incoming import Mail
from deputize.toolkits._shared.mail.languages import forward_subject
from deputize.toolkits._shared.mail.original import Original, original_of
from deputize.toolkits._shared.people import addresses_of
from deputize.toolkits._shared.text import clip
from deputize.toolkits.gmail import api
from deputize.toolkits.gmail.api import Asks
from deputize.toolkits.gmail.base import GETS, GMAIL, KNOWS_ALIASES, SENDS, reads
from deputize.toolkits.gmail.deliver import Outgoing, deliver, mark
from deputize.toolkits.gmail.files import WITHOUT_FILES, Enclosed, Handles, fits, size_of, taken, texts_of
from deputize.toolkits.gmail.preview import show_letter
from deputize.toolkits.gmail.reply_headers import Answer, answer
from deputize.toolkits.gmail.rows import shown_all, web
from deputize.toolkits.gmail.senders import SendAs, Signature, chosen, signed

Addresses = list[str]
To = Annotated[list[str], Field(description="addresses or names; me: the user")]
WHOM: Final = {"reply_to_whom": "all", "recipient": "to[]"}
WHOM_VALUES: Final[Mapping[str, Mapping[str | bool, Any]]] = {
    "all": {"every_recipient": True, "only_the_sender": False},
}
"""How other toolkits say whom a reply goes to."""


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
    people = yield from addressed(to, cc, bcc, run.account)
    title, text = single_line(subject, "subject"), written(body, body_format)
    sender = yield from chosen(send_as, run.granted, signature=signature)
    text = signed(text, sender) if signature else text
    files = [] if run.noted else (yield from taken(attachments))
    letter = Letter(
        title, text, people, sender=sender.person if sender and send_as else None, extra=mark(run.key), files=files
    )
    if not run.noted:
        yield show_letter("Send this email", letter, html=body_format == "html")
    return (yield from _sent(letter, "", run))


def addressed(
    to: Addresses | None, cc: Addresses | None, bcc: Addresses | None, me: Account, *, least: int = 1
) -> Asks[Recipients]:
    """The people a model named, the user too. Raises `InvalidInput` where there are none, or not exactly one person."""
    to = yield from addresses_of(to, "to", me)
    cc = yield from addresses_of(cc, "cc", me)
    bcc = yield from addresses_of(bcc, "bcc", me)
    people = recipients(to, cc, bcc)
    if len(people.all) < least:
        raise InvalidInput("to: no recipients given.")
    return people


def _sent(letter: Letter, thread: str, run: Run) -> Asks[dict[str, Any]]:
    """Send a letter, once, and say what became of it."""
    mail = Outgoing(letter.content(), run.key, thread, letter.people.all[0].address)
    sent = yield from deliver(mail, run)
    told = receipt(sent, letter.people, letter.subject, run.account)
    return ({"from": str(letter.sender)} if letter.sender else {}) | told


def receipt(sent: Mapping[str, Any], people: Recipients, subject: str, account: Account) -> dict[str, Any]:
    """The result of a mail that was sent."""
    thread = str(sent.get("threadId", ""))
    result = {
        "id": sent.get("id"),
        "thread": thread,
        "to": shown_all(people.to, 3),
        "cc": shown_all(people.cc, 2),
        "bcc": shown_all(people.bcc, 2),
        "subject": clip(subject, 60),
        "url": web(account, thread) if thread else None,
        "summary": "Sent." if sent.get("id") else "Sent; Gmail does not say under which id.",
    }
    return {name: value for name, value in result.items() if value}


# ----------------------------------------------------------------- reply


def reply_needs() -> Sequence[Need]:
    """What answering a mail reads."""
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
    _, more, unseen = yield from addressed(None, cc, bcc, run.account, least=0)
    text = written(body, body_format)
    frame = yield from answer(message_id, run, everybody=all_)
    text = signed(text, frame.signing(send_as)) if signature else text
    people = apart(frame.to, [*frame.cc, *more], unseen)
    whole = text.then(frame.quote) if quote else text
    files = [] if run.noted else (yield from taken(attachments))
    writer = frame.writer(send_as)
    sender = writer.person if writer else None
    letter = Letter(frame.subject, whole, people, sender, answers=frame.answers, extra=mark(run.key), files=files)
    if not run.noted:
        later = frame.enclosed.listed() if quote and whole.html else ()
        html = body_format == "html"
        # To its writer alone a quote brings no words or links that a stranger chose for somebody.
        back = quote and not (html or frame.sender) and len(people.all) == 1
        yield show_letter(
            "Send this reply",
            replace(letter, text=text) if back else letter,
            html=html,
            later=later,
            note=elsewhere(frame),
            pins={"message": message_id},
            context={"quote": frame.quote.plain} if back else None,
        )
        letter = (yield from frame.enclosed.into(letter)) if later else letter
    return (yield from _sent(letter, frame.thread, run))


def elsewhere(frame: Answer) -> str | None:
    """A word of warning where a mail has its answers go to somebody else than who wrote it."""
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
    people = yield from addressed(to, cc, bcc, run.account)
    note = written(body, "auto")
    mail = Mail((yield api.get_message(message_id)))
    original = original_of(mail, (yield from texts_of(mail)))
    theirs = original.files if attachments else ()
    enclosed = Enclosed(mail, original, theirs)
    files = [] if run.noted else (yield from taken(add_attachments))
    fits(sum(map(size_of, theirs)) + sum(len(one.data) for one in files), WITHOUT_FILES)
    text = note.then(_original(mail, original, run.zone))
    writer = yield from chosen(send_as, run.granted, signature=False)
    sender = writer.person if writer else None
    letter = Letter(forward_subject(mail.subject()), text, people, sender, extra=mark(run.key), files=files)
    if not run.noted:  # a message never changes, so that its files may be fetched after the yes
        yield show_letter("Forward this email", letter, later=enclosed.listed(), pins={"message": message_id})
        letter = yield from enclosed.into(letter)
    sent = yield from _sent(letter, "", run)
    return sent | ({"files": [clip(mail.file_name(part), 40) for part in theirs][:5]} if theirs else {})


def _original(mail: Mail, original: Original, zone: tzinfo) -> Text:
    """The forwarded mail: who, when, what, and all that it says, as it was laid out."""
    headers = [
        ("From", str(mail.sender)),
        ("Date", written_date(mail.date, zone)),
        ("Subject", mail.subject()),
        ("To", ", ".join(str(one) for one in mail.people("To"))),
        ("Cc", ", ".join(str(one) for one in mail.people("Cc"))),
    ]
    return forwarded([(name, value) for name, value in headers if value], original.text, original.html)
