"""The addresses from which the user may write, and their signatures.

Gmail documents that a signature is "added to new emails only", and only in its own pages (sendAs). deputize adds a
signature only if a call asks for it: a model that writes for the user has mostly signed the text already.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import Field

from deputize.core.errors import InvalidInput
from deputize.toolkits._shared.html import read_html
from deputize.toolkits._shared.mail.compose import Text
from deputize.toolkits._shared.mail.embed import embed_page
from deputize.toolkits._shared.mail.headers import Person, parse_people, person
from deputize.toolkits._shared.mail.incoming import Mail
from deputize.toolkits.gmail import api
from deputize.toolkits.gmail.api import Asks
from deputize.toolkits.gmail.base import KNOWS_ALIASES

SendAs = Annotated[str | None, Field(description="alias address")]
Signature = Annotated[bool, Field(description="add the signature from Gmail's settings")]
_RECEIVED_AT: Final = ("To", "Cc", "X-Original-To", "Delivered-To")


@dataclass(frozen=True, slots=True)
class Sender:
    """An address from which the user may write. ``primary``: the account's own. ``default``: Gmail's default."""

    person: Person
    signature: str = ""
    primary: bool = False
    default: bool = False


def list_senders() -> Asks[list[Sender]]:
    """List the addresses from which the user may write: the account's own and verified aliases."""
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


def find_sender(known: Sequence[Sender], send_as: str) -> Sender:
    """Return the sender with this address, under the given name if any. Raises `InvalidInput` for another address."""
    wanted = person(send_as, "send_as")
    for one in known:
        if one.person.key == wanted.key:
            return Sender(Person(wanted.name or one.person.name, one.person.address), one.signature, one.primary)
    listed = ", ".join(one.person.address for one in known[:10])
    raise InvalidInput("send_as: this account cannot send from that address.", hint=f"It has: {listed}.")


def choose_sender(send_as: str | None, granted: Collection[str], *, signature: bool) -> Asks[Sender | None]:
    """Return the sender of a new mail, or None for Gmail's default. Gmail checks an alias that may not be read."""
    if not (send_as or signature):
        return None
    if not signature and KNOWS_ALIASES.accepts.isdisjoint(granted):
        return Sender(person(send_as or "", "send_as"))
    return find_sender(known, send_as) if (known := (yield from list_senders())) and send_as else default_sender(known)


def default_sender(known: Sequence[Sender]) -> Sender | None:
    """Return Gmail's default sender, or else the primary sender."""
    return next((one for test in ("default", "primary") for one in known if getattr(one, test)), None)


def reply_sender(mail: Mail, known: Sequence[Sender]) -> Sender | None:
    """Return the alias that received or wrote a mail. None: the account's own address."""
    fields = ("From",) if "SENT" in mail.labels else _RECEIVED_AT
    reached = [one.key for name in fields for one in parse_people(mail.header(name))]
    mine = [one for key in reached for one in known if one.person.key == key]
    return None if not mine or any(one.primary for one in mine) else mine[0]


def add_signature(text: Text, sender: Sender | None) -> Text:
    """Return the text with the sender's signature below. Raises `InvalidInput` if the sender has no signature."""
    markup = sender.signature if sender else ""
    words = read_html(markup, whole_links=True).text
    if not words.strip():
        address = f" of {sender.person.address}" if sender else ""
        raise InvalidInput(
            f"signature: none is set{address}.", hint="Sign in the body, or set one: gmail_set_signature."
        )
    part = embed_page(markup, {})
    below = f'<div class="gmail_signature">--&nbsp;<br>\n{part.html}</div>' if part else ""
    return text.followed_by(Text(f"-- \n{words}", below))
