"""People, as the accounts of one user know them: which rows are one person, and who is meant by a name.

Who is believed for what. A **name** counts only where the user or the user's organisation wrote it (``known``): on the
user's own cards, in the directory, among the members. A stranger can be called anything. An **address** proves who
somebody is only where the product has checked that it is theirs (``verified``): two accounts of the same verified
address are one person, and two of the same name are not. A card of the user's is joined to the one account whose
address it has; it never joins two accounts, since people write the office's address on many cards.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from typing import Any, Final, NamedTuple, TypedDict

from deputize.core.text import as_read, visible, without_hidden
from deputize.core.value_object import Printed, frozen
from deputize.core.vault.grant import Account

MAX_PEOPLE: Final = 20
"""People that one account may name for one look-up; of more, the rest was not looked at."""
_LONGEST: Final = 200
_ADDRESS: Final = r"[^@\s,;<>\"]+@[^@\s,;<>\"]+"


class PersonRow(TypedDict, total=False):
    """One person, as a toolkit's reader of people returns them: see `deputize.core.Toolkit.people`.

    ``name``, ``names``: what they are called, by whatever else. ``addresses``: of mail; ``address``: the one of these
    that all others lead to, where that is known. ``id``: what the toolkit's own arguments take for them; ``handle``:
    what they are called there and nobody else is. ``where``: in which list they stand: "contact", "member".
    ``known``: the user or the user's organisation wrote the names. ``verified``: the product has checked that the
    addresses are theirs. ``untrusted``: they wrote it themselves.
    """

    name: str
    names: list[str]
    addresses: list[str]
    address: str
    id: str
    handle: str
    where: str
    known: bool
    verified: bool
    untrusted: bool
    organisation: str


@frozen
class Sighting(Printed):
    """One row, and which account of the user's it comes from. ``whole``: all that this account has was looked at."""

    toolkit: str
    account: Account
    row: Mapping[str, Any]
    whole: bool = True

    @property
    def names(self) -> list[str]:
        """What they are called there."""
        return [one for one in (_text(self.row.get("name")), *_texts(self.row.get("names"))) if one]

    @property
    def handles(self) -> list[str]:
        """What they are called there, and nobody else is."""
        return [one for one in (self.id, _text(self.row.get("handle"))) if one]

    @property
    def id(self) -> str:
        """What the toolkit's own arguments take for them."""
        return _text(self.row.get("id"))

    @property
    def addresses(self) -> set[str]:
        """In small letters; only what is one."""
        found = {one.lower() for one in (*_texts(self.row.get("addresses")), _text(self.row.get("address")))}
        return {one for one in found if is_address(one)}

    @property
    def reached_at(self) -> set[str]:
        """The addresses, or the one that all of them lead to."""
        main = _text(self.row.get("address")).lower()
        return {main} if is_address(main) else self.addresses

    @property
    def known(self) -> bool:
        """Whether the user or the user's organisation wrote the names."""
        return self.row.get("known") is True

    @property
    def verified(self) -> bool:
        """Whether the product has checked the addresses."""
        return self.row.get("verified") is True

    def is_itself(self, who: str) -> bool:
        """Whether this very row has the address, checked, or a name that counts; whatever it was joined with."""
        return (self.verified and plain(who).lower() in self.addresses) or bool(Someone([self]).called(who))

    @property
    def at(self) -> tuple[str, str]:
        """Toolkit and account."""
        return self.toolkit, self.account.subject


@frozen
class Someone(Printed):
    """One person, as far as that is proven."""

    rows: list[Sighting] = field(default_factory=list)

    @property
    def proven(self) -> set[str]:
        """Addresses that a product has checked."""
        return {address for one in self.rows if one.verified for address in one.addresses}

    @property
    def reached_at(self) -> set[str]:
        """Where they can be written to, by the word of the user, the organisation or a product that has checked it."""
        return {address for one in self.rows if one.known or one.verified for address in one.reached_at}

    def called(self, who: str) -> bool | None:
        """Whether a name of theirs that counts is this one; None: it only looks the same."""
        who = plain(who)
        names = {name for one in self.rows if one.known for name in (*one.names, *one.handles)}
        alike = {one for one in names if as_read(_spaced(one)) == as_read(who)}
        return any(_same(one) == _same(who) for one in alike) or (None if alike else False)

    @property
    def in_words(self) -> str:
        """For a model or a person who has to say which one is meant."""
        first = self.rows[0]
        where = ", ".join(dict.fromkeys(_text(one.row.get("where")) or one.toolkit for one in self.rows))
        reached = sorted(set().union(*(one.addresses for one in self.rows)))[:4] or first.handles[:1]
        own = "" if any(one.known for one in self.rows) else "; the name may be their own word"
        name = visible((first.names or first.handles or [""])[0])[:60]
        return f"{name} <{', '.join(map(visible, reached))[:120]}> ({where}{own})"


class NotLooked(NamedTuple):
    """An account, or a part of it, in which nobody was looked for. ``failed``: it was tried."""

    where: str
    why: str
    failed: bool = False


@frozen
class Looked(Printed):
    """What all accounts said of one name."""

    found: list[Sighting] = field(default_factory=list)
    not_looked: list[NotLooked] = field(default_factory=list)


def plain(who: str) -> str:
    """A name, handle or address as it is looked for: blanks as one each, no @ before it."""
    return _spaced(who).removeprefix("@")


def is_address(text: str) -> bool:
    """Whether this is an address of mail and nothing else, nor anything that nobody sees."""
    return len(text) <= _LONGEST and bool(re.fullmatch(_ADDRESS, text)) and without_hidden(text) == text


def merged(found: Iterable[Sighting]) -> list[Someone]:
    """Each person once, as far as that is proven: accounts by their verified addresses, then cards."""
    people: list[Someone] = []
    rows = sorted(found, key=lambda one: (not one.verified, not one.known))
    for one in rows:
        joined = [person for person in people if _joins(one, person)]
        if not one.verified and len(joined) > 1:
            joined = []
        elif not one.known and not one.verified and not one.id and _adds_nothing(one, people):
            continue
        together = Someone([row for person in joined for row in person.rows] + [one])
        people = [person for person in people if person not in joined] + [together]
    return people


def _joins(one: Sighting, person: Someone) -> bool:
    if any(one.at == other.at and one.id and one.id == other.id for other in person.rows):
        return True
    if one.verified:
        return bool(one.addresses & person.proven)
    cards = [row.addresses for row in person.rows if row.known and not row.verified]
    return one.known and bool(one.addresses & person.proven or (one.addresses and one.addresses in cards))


def _adds_nothing(one: Sighting, people: Iterable[Someone]) -> bool:
    """Whether somebody has these addresses whom the user or the organisation knows."""
    return any(one.addresses and one.addresses <= person.reached_at for person in people)


def fits(people: Iterable[Someone], who: str) -> tuple[list[Someone], bool]:
    """Those who are exactly called so, or have this address; and whether that is certain: nobody only looks like it,
    and there can be no other one where not all were looked at."""
    if is_address(who):
        return [person for person in people if who.lower() in person.reached_at | person.proven], True
    called = [(person, person.called(who)) for person in people]
    exact = [person for person, is_called in called if is_called]
    wanted = plain(who)
    handled = {name for person in exact for one in person.rows if one.known for name in map(_same, one.handles)}
    whole = _same(wanted) in handled or all(one.whole for person in exact for one in person.rows)
    return exact, whole and all(is_called is not None for _, is_called in called)


def nearest(people: Sequence[Someone], first: Sequence[Someone], most: int = 5) -> list[str]:
    """Whom may be meant, for a hint: those who fit first."""
    return [one.in_words for one in [*first, *(one for one in people if one not in first)]][:most]


def _spaced(text: str) -> str:
    return " ".join(text.split())[:_LONGEST]


def _same(text: str) -> str:
    """A name without what makes no other name of it: case, and how its letters are composed."""
    return unicodedata.normalize("NFC", _spaced(text)).casefold()


def _text(value: Any) -> str:
    return value.strip()[:_LONGEST] if isinstance(value, str) else ""


def _texts(value: Any) -> list[str]:
    return [_text(one) for one in value[:MAX_PEOPLE]] if isinstance(value, list) else []
