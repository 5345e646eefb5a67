"""The frame of a reply: recipients, subject, conversation and quote of the original."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deputize.core import Run
from deputize.core.errors import InvalidInput
from deputize.toolkits._shared.mail.compose import Text, format_date, quote_text
from deputize.toolkits._shared.mail.headers import Person
from deputize.toolkits._shared.mail.incoming import Mail
from deputize.toolkits._shared.mail.languages import reply_subject
from deputize.toolkits._shared.mail.original import original_of
from deputize.toolkits.gmail import api
from deputize.toolkits.gmail.api import Asks
from deputize.toolkits.gmail.files import Enclosed, fetch_texts
from deputize.toolkits.gmail.senders import Sender, find_sender, list_senders, reply_sender


@dataclass(frozen=True, slots=True)
class ReplyFrame:
    """The frame of a reply. ``to``: recipients, without the user unless nobody else is left.

    ``sender``: the original's sender if replies go to another address. ``answers``: Message-ID and References.
    ``enclosed``: what the quote displays. ``known``: the addresses from which the user may write. ``sent_from``: the
    alias that received the mail, if any.
    """

    to: Sequence[Person]
    cc: Sequence[Person]
    sender: Person | None
    subject: str
    thread: str
    answers: tuple[str, str]
    quote: Text
    enclosed: Enclosed
    known: Sequence[Sender]
    sent_from: Sender | None

    def writer(self, send_as: str | None = None) -> Sender | None:
        """Return the sender ``send_as``, or the alias that received the mail. None: the account's own address."""
        return find_sender(self.known, send_as) if send_as else self.sent_from

    def signer(self, send_as: str | None = None) -> Sender | None:
        """Return the sender whose signature may be added to the reply."""
        return self.writer(send_as) or next((one for one in self.known if one.primary), None)


def prepare_reply(message_id: str, run: Run, *, everybody: bool) -> Asks[ReplyFrame]:
    """Return the frame of a reply to a message. Raises `InvalidInput` if no recipient can be reached."""
    mail = Mail((yield api.get_message(message_id)))
    known = yield from list_senders()
    original = original_of(mail, (yield from fetch_texts(mail)))
    if "DRAFT" in mail.labels:
        raise InvalidInput("message_id: a draft cannot be replied to.", hint="Send it, or change it.")
    own = frozenset({run.account.name.lower(), *(one.person.key for one in known)})
    to = _reachable(mail.people("Reply-To")) or _reachable(mail.people("From"))
    if "SENT" in mail.labels or (to and all(one.key in own for one in to)):
        to = _reachable(mail.people("To")) or to
    if not to:
        raise InvalidInput("message_id: this email has no address to reply to.", hint="Send a new email instead.")
    others = _reachable([*mail.people("To"), *mail.people("Cc")]) if everybody else []
    if any(one.key not in own for one in (*to, *others)):
        to, others = ([one for one in people if one.key not in own] for people in (to, others))
    return ReplyFrame(
        to=to,
        cc=others,
        sender=mail.sender if mail.sender.key not in {one.key for one in to} | own else None,
        subject=reply_subject(mail.subject()),
        thread=mail.thread,
        answers=(mail.header("Message-ID"), mail.header("References")),
        quote=quote_text(f"On {format_date(mail.date, run.zone)}, {mail.sender} wrote:", original.text, original.html),
        enclosed=Enclosed(mail, original),
        known=known,
        sent_from=reply_sender(mail, known),
    )


def _reachable(people: Sequence[Person]) -> list[Person]:
    return [one for one in people if one.reachable]
