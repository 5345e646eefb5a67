"""Gmail: send, reply, forward."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Final

from pydantic import Field

from deputize.core import Account, Alias, Effect, Need, Run, Steps, shown_file
from deputize.core.act.tool import Arguments
from deputize.core.errors import InvalidInput
from deputize.toolkits._shared import times
from deputize.toolkits._shared.arguments import Body
from deputize.toolkits._shared.mail.compose import (
    BodyFormat,
    Letter,
    Recipients,
    Text,
    apart,
    forward_subject,
    forwarded,
    recipients,
    written,
)
from deputize.toolkits._shared.mail.headers import Person, person, single_line
from deputize.toolkits._shared.mail.incoming import Mail
from deputize.toolkits._shared.people import addresses_of
from deputize.toolkits._shared.text import clip
from deputize.toolkits.gmail import api
from deputize.toolkits.gmail.answer import Answer, aliases, answer
from deputize.toolkits.gmail.api import Asks
from deputize.toolkits.gmail.base import GETS, GMAIL, KNOWS_ALIASES, READING, SENDS, reads
from deputize.toolkits.gmail.deliver import Outgoing, deliver, mark
from deputize.toolkits.gmail.files import Handles, files_of, fits, size_of, taken
from deputize.toolkits.gmail.preview import show_letter
from deputize.toolkits.gmail.rows import shown_all, web

Addresses = list[str]
WHOM: Final = {"reply_to_whom": "all", "recipient": "to[]"}
WHOM_VALUES: Final[Mapping[str, Mapping[str | bool, Any]]] = {
    "all": {"every_recipient": True, "only_the_sender": False},
}
"""How other toolkits say whom a reply goes to."""


@GMAIL.tool(
    needs=[SENDS],
    effect=Effect.SENDS,
    aliases=[Alias(name, {"recipient": "to[]"}) for name in ("Gmail.SendEmail", "Google.SendEmail")],
)
def send_email(
    to: Addresses,
    subject: str,
    body: Body,
    cc: Addresses | None = None,
    bcc: Addresses | None = None,
    body_format: BodyFormat = "auto",
    attachments: Handles = None,
    send_as: Annotated[str | None, Field(description="alias address")] = None,
    *,
    run: Run,
) -> Steps:
    """Send a new email from the user's own address. Body is Markdown."""
    people = yield from addressed(to, cc, bcc, run.account)
    title, text = single_line(subject, "subject"), written(body, body_format)
    sender = (yield from _sender(send_as, run.granted)) if send_as else None
    files = [] if run.noted else (yield from taken(attachments))
    letter = Letter(title, text, people, sender=sender, extra=mark(run.key), files=files)
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


def _sender(send_as: str, granted: frozenset[str]) -> Asks[Person]:
    """The alias to write from. Where its list may not be read, Gmail decides."""
    wanted = person(send_as, "send_as")
    if not granted & READING:
        return wanted
    known = yield from aliases()
    if wanted.key not in known:
        raise InvalidInput("send_as: this account cannot send from that address.", hint=f"It has: {', '.join(known)}.")
    return Person(wanted.name or known[wanted.key].name, known[wanted.key].address)


def _sent(letter: Letter, thread: str, run: Run) -> Asks[dict[str, Any]]:
    """Send a letter, once, and say what became of it."""
    mail = Outgoing(letter.content(), run.key, thread, letter.people.all[0].address)
    sent = yield from deliver(mail, run)
    return receipt(sent, letter.people, letter.subject, run.account)


def receipt(sent: Mapping[str, Any], people: Recipients, subject: str, account: Account) -> dict[str, Any]:
    """The result of a mail that was sent."""
    thread = str(sent.get("threadId", ""))
    result = {
        "id": sent.get("id"),
        "thread": thread,
        "to": shown_all(people.to, 3),
        "cc": shown_all(people.cc, 2),
        "subject": clip(subject, 60),
        "url": web(account, thread) if thread else None,
        "summary": "Sent." if sent.get("id") else "Sent; Gmail does not say under which id.",
    }
    return {name: value for name, value in result.items() if value}


# ----------------------------------------------------------------- reply


def reply_needs(arguments: Arguments) -> Sequence[Need]:
    """What answering a mail reads."""
    return [GETS, *([KNOWS_ALIASES] if arguments["all_"] else [])]


@GMAIL.tool(
    needs=lambda arguments: [*reply_needs(arguments), SENDS],
    effect=Effect.SENDS,
    aliases=[Alias("Gmail.ReplyToEmail", {"reply_to_message_id": "message_id", **WHOM}, values=WHOM_VALUES)],
)
def reply_email(
    message_id: str,
    body: Body,
    all_: Annotated[bool, Field(description="reply to everybody")] = False,
    cc: Addresses | None = None,
    bcc: Addresses | None = None,
    body_format: BodyFormat = "auto",
    attachments: Handles = None,
    quote: bool = True,
    *,
    run: Run,
) -> Steps:
    """Reply to an email in its thread. Body is Markdown."""
    _, more, unseen = yield from addressed(None, cc, bcc, run.account, least=0)
    text = written(body, body_format)
    frame = yield from answer(message_id, run.account, everybody=all_)
    people = apart(frame.to, [*frame.cc, *more], unseen)
    text = text.then(frame.quote) if quote else text
    files = [] if run.noted else (yield from taken(attachments))
    letter = Letter(frame.subject, text, people, answers=frame.answers, extra=mark(run.key), files=files)
    if not run.noted:
        yield show_letter(
            "Send this reply", letter, html=body_format == "html", note=elsewhere(frame), pins={"message": message_id}
        )
    return (yield from _sent(letter, frame.thread, run))


def elsewhere(frame: Answer) -> str | None:
    """A word of warning where a mail has its answers go to somebody else than who wrote it."""
    return f"The email is from {frame.sender}, but its answers go to another address." if frame.sender else None


# ----------------------------------------------------------------- forward


@GMAIL.tool(
    needs=lambda arguments: [
        GETS,
        *([reads("messages.attachments.get")] if arguments["attachments"] else []),
        SENDS,
    ],
    effect=Effect.SENDS,
    aliases=[Alias("Gmail.ForwardEmail", {"recipients": "to"})],
)
def forward_email(
    message_id: str,
    to: Addresses,
    body: Annotated[str, Field(description="note above the original")] = "",
    cc: Addresses | None = None,
    bcc: Addresses | None = None,
    attachments: Annotated[bool, Field(description="include the files")] = True,
    add_attachments: Handles = None,
    *,
    run: Run,
) -> Steps:
    """Forward an email, with its attachments, to new recipients."""
    people = yield from addressed(to, cc, bcc, run.account)
    note = written(body, "auto")
    mail = Mail((yield api.get_message(message_id)))
    files = [] if run.noted else (yield from taken(add_attachments))
    theirs = mail.files() if attachments and not run.noted else []
    fits(sum(size_of(one) for one in theirs) + sum(len(one.data) for one in files), _WITHOUT_FILES)
    text = note.then(_original(mail))
    letter = Letter(forward_subject(mail.subject()), text, people, extra=mark(run.key), files=files)
    if not run.noted:  # a message never changes, so that its files may be fetched after the yes
        later = [shown_file(mail.file_name(one), one.type, size=size_of(one), pin=one.id) for one in theirs]
        yield show_letter("Forward this email", letter, later=later, pins={"message": message_id})
    if theirs:
        letter = replace(letter, files=[*(yield from files_of(mail)), *files])
        fits(sum(len(one.data) for one in letter.files), _WITHOUT_FILES)
    sent = yield from _sent(letter, "", run)
    return sent | ({"files": [clip(mail.file_name(part), 40) for part in mail.files()][:5]} if attachments else {})


_WITHOUT_FILES: Final = "Forward without its own files: attachments=false."


def _original(mail: Mail) -> Text:
    """The forwarded mail: who, when, what, and its text with all history."""
    headers = [
        ("From", str(mail.sender)),
        ("Date", times.full(mail.date)),
        ("Subject", mail.subject()),
        ("To", ", ".join(str(one) for one in mail.people("To"))),
        ("Cc", ", ".join(str(one) for one in mail.people("Cc"))),
    ]
    return forwarded([(name, value) for name, value in headers if value], mail.body().text)
