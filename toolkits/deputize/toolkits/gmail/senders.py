"""The addresses that the user may write from, which of them an answer is written from, and their signatures.

Gmail says of a signature that it is "added to new emails only", and only by its own pages (sendAs). Here one is added
where a call asks for it: whoever writes for the user has mostly signed already.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import Field

from deputize.core.errors import InvalidInput
from deputize.toolkits._shared.html import read_html
from deputize.toolkits._shared.mail.compose import Text
from deputize.toolkits._shared.mail.embed import embedded
from deputize.toolkits._shared.mail.headers import Person, people_in, person
from deputize.toolkits._shared.mail.incoming import Mail
from deputize.toolkits.gmail import api
from deputize.toolkits.gmail.api import Asks
from deputize.toolkits.gmail.base import KNOWS_ALIASES

SendAs = Annotated[str | None, Field(description="alias address")]
Signature = Annotated[bool, Field(description="add the signature from Gmail's settings")]
_RECEIVED_AT: Final = ("To", "Cc", "X-Original-To", "Delivered-To")


@dataclass(frozen=True, slots=True)
class Sender:
    """An address that mail is written from. ``primary``: the account's own; ``default``: what Gmail writes from."""

    person: Person
    signature: str = ""
    primary: bool = False
    default: bool = False


def senders() -> Asks[list[Sender]]:
    """The addresses that Gmail lets the user write from: the account's own and those that are verified."""
    answer = yield api.list_aliases()
    return [
        Sender(
            Person(str(one.get("displayName") or ""), str(one["sendAsEmail"])),
            str(one.get("signature") or ""),
            bool(one.get("isPrimary")),
            bool(one.get("isDefault")),
        )
        for one in answer.get("sendAs") or ()
        if one.get("isPrimary") or one.get("verificationStatus", "accepted") == "accepted"
    ]


def sender_called(known: Sequence[Sender], send_as: str) -> Sender:
    """The one with this address, under the name that is given with it. Raises `InvalidInput` with what there is."""
    wanted = person(send_as, "send_as")
    for one in known:
        if one.person.key == wanted.key:
            return Sender(Person(wanted.name or one.person.name, one.person.address), one.signature, one.primary)
    listed = ", ".join(one.person.address for one in known[:10])
    raise InvalidInput("send_as: this account cannot send from that address.", hint=f"It has: {listed}.")


def chosen(send_as: str | None, granted: Collection[str], *, signature: bool) -> Asks[Sender | None]:
    """Whom new mail is from: None for Gmail's default. Where its list may not be read, Gmail decides on an alias."""
    if not (send_as or signature):
        return None
    if not signature and KNOWS_ALIASES.accepts.isdisjoint(granted):
        return Sender(person(send_as or "", "send_as"))
    return sender_called(known, send_as) if (known := (yield from senders())) and send_as else usual(known)


def usual(known: Sequence[Sender]) -> Sender | None:
    """Whom Gmail writes from where nothing is said."""
    return next((one for test in ("default", "primary") for one in known if getattr(one, test)), None)


def answering(mail: Mail, known: Sequence[Sender]) -> Sender | None:
    """Whom a mail is answered from: the alias that it came to, or was written from; None for the account's own."""
    fields = ("From",) if "SENT" in mail.labels else _RECEIVED_AT
    reached = [one.key for name in fields for one in people_in(mail.header(name))]
    mine = [one for key in reached for one in known if one.person.key == key]
    return None if not mine or any(one.primary for one in mine) else mine[0]


def signed(text: Text, sender: Sender | None) -> Text:
    """The text with the signature of its sender below it. Raises `InvalidInput` where there is none."""
    markup = sender.signature if sender else ""
    words = read_html(markup, whole_links=True).text
    if not words.strip():
        address = f" of {sender.person.address}" if sender else ""
        raise InvalidInput(
            f"signature: none is set{address}.", hint="Sign in the body, or set one: gmail_set_signature."
        )
    part = embedded(markup, {})
    below = f'<div class="gmail_signature">--&nbsp;<br>\n{part.html}</div>' if part else ""
    return text.then(Text(f"-- \n{words}", below))
