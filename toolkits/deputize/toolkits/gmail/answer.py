"""What a mail says about how it is answered: to whom, under which subject, in which conversation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deputize.core.errors import InvalidInput
from deputize.core.vault.grant import Account
from deputize.toolkits._shared.mail.compose import Text, answer_subject, quoted
from deputize.toolkits._shared.mail.dates import written_date
from deputize.toolkits._shared.mail.headers import Person
from deputize.toolkits._shared.mail.incoming import Mail
from deputize.toolkits._shared.mail.original import original_of
from deputize.toolkits.gmail import api
from deputize.toolkits.gmail.api import Asks
from deputize.toolkits.gmail.files import Enclosed, texts_of


@dataclass(frozen=True, slots=True)
class Answer:
    """The frame of a reply: to whom it goes, without the user unless nobody else is left. ``sender``: whom it answers,
    if that is another address; ``answers``: Message-ID and References; ``enclosed``: what the quote shows."""

    to: Sequence[Person]
    cc: Sequence[Person]
    sender: Person | None
    subject: str
    thread: str
    answers: tuple[str, str]
    quote: Text
    enclosed: Enclosed


def answer(message_id: str, account: Account, *, everybody: bool) -> Asks[Answer]:
    """The frame of a reply to a message. Raises `InvalidInput` where there is nobody to reply to."""
    mail = Mail((yield api.get_message(message_id)))
    original = original_of(mail, (yield from texts_of(mail)))
    if "DRAFT" in mail.labels:
        raise InvalidInput("message_id: a draft cannot be replied to.", hint="Send it, or change it.")
    known = (yield from aliases()) if everybody else {}
    own = frozenset({account.name.lower(), *known})
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
        quote=quoted(f"On {written_date(mail.date)}, {mail.sender} wrote:", original.text, original.html),
        enclosed=Enclosed(mail, original),
    )


def _reachable(people: Sequence[Person]) -> list[Person]:
    return [one for one in people if one.reachable]


def aliases() -> Asks[dict[str, Person]]:
    """The addresses the user may write from, by themselves in lower case."""
    answer = yield api.list_aliases()
    known = [
        Person(str(one.get("displayName") or ""), str(one["sendAsEmail"]))
        for one in answer.get("sendAs") or ()
        if one.get("isPrimary") or one.get("verificationStatus", "accepted") == "accepted"
    ]
    return {one.key: one for one in known}
