"""What a mail says about how it is answered: to whom, under which subject, in which conversation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deputize.core import Run
from deputize.core.errors import InvalidInput
from deputize.toolkits._shared.mail.compose import Text, quoted
from deputize.toolkits._shared.mail.dates import written_date
from deputize.toolkits._shared.mail.headers import Person
from deputize.toolkits._shared.mail.incoming import Mail
from deputize.toolkits._shared.mail.languages import answer_subject
from deputize.toolkits._shared.mail.original import original_of
from deputize.toolkits.gmail import api
from deputize.toolkits.gmail.api import Asks
from deputize.toolkits.gmail.files import Enclosed, texts_of
from deputize.toolkits.gmail.senders import Sender, answering, sender_called, senders


@dataclass(frozen=True, slots=True)
class Answer:
    """The frame of a reply: to whom it goes, without the user unless nobody else is left.

    ``sender``: whom it answers, if that is another address; ``answers``: Message-ID and References; ``enclosed``: what
    the quote shows; ``known``: whom the user may write as; ``sent_from``: the alias that the mail came to, if any.
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
        """Whom it is from: who is asked for, else the alias that the mail came to; None for the account's own."""
        return sender_called(self.known, send_as) if send_as else self.sent_from

    def signing(self, send_as: str | None = None) -> Sender | None:
        """Whose signature it may have."""
        return self.writer(send_as) or next((one for one in self.known if one.primary), None)


def answer(message_id: str, run: Run, *, everybody: bool) -> Asks[Answer]:
    """The frame of a reply to a message. Raises `InvalidInput` where there is nobody to reply to."""
    mail = Mail((yield api.get_message(message_id)))
    known = yield from senders()
    original = original_of(mail, (yield from texts_of(mail)))
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
    return Answer(
        to=to,
        cc=others,
        sender=mail.sender if mail.sender.key not in {one.key for one in to} | own else None,
        subject=answer_subject(mail.subject()),
        thread=mail.thread,
        answers=(mail.header("Message-ID"), mail.header("References")),
        quote=quoted(f"On {written_date(mail.date, run.zone)}, {mail.sender} wrote:", original.text, original.html),
        enclosed=Enclosed(mail, original),
        known=known,
        sent_from=answering(mail, known),
    )


def _reachable(people: Sequence[Person]) -> list[Person]:
    return [one for one in people if one.reachable]
