"""People in the accounts of one user: which rows describe the same person, and which person a name means.

A **name** counts only if the user or the user's organisation wrote it (``known``): on the user's own cards, in the
directory, among the members. Others can choose any name for themselves. An **address** identifies a person only if the
product has verified it (``verified``). Two accounts with the same verified address are one person. Two accounts with
the same name are not. A contact card is joined to the account that has its address, if there is exactly one. A card
never joins two accounts, because people write their office's address on many cards.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from typing import Any, Final, NamedTuple, TypedDict

from deputize.core.value_object import Printed, frozen
from deputize.core.vault.grant import Account
from deputize.core.visible_text import as_read, visible, without_hidden

MAX_PEOPLE_PER_ACCOUNT: Final = 20
"""People that one account may return for one search; the rest is reported as not searched."""
_MAX_TEXT_CHARACTERS: Final = 200
_ADDRESS: Final = r"[^@\s,;<>\"]+@[^@\s,;<>\"]+"


class PersonRow(TypedDict, total=False):
    """One person in a toolkit's people reader. See `deputize.core.Toolkit.people`.

    ``name``, ``names``: the person's names. ``addresses``: email addresses. ``address``: the main address, if the
    others are its aliases. ``id``: the id in the toolkit's arguments. ``handle``: a unique name in the product.
    ``where``: the list that contains the person: "contact", "member". ``known``: True if the user or the user's
    organisation wrote the names. ``verified``: True if the product has verified the addresses. ``untrusted``: True if
    the person wrote the row.
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
    """One row and the account it was found in. ``whole``: True if the search of this account was complete."""

    toolkit: str
    account: Account
    row: Mapping[str, Any]
    whole: bool = True

    @property
    def names(self) -> list[str]:
        """The names of the person in this row."""
        return [one for one in (_text(self.row.get("name")), *_texts(self.row.get("names"))) if one]

    @property
    def handles(self) -> list[str]:
        """The id and the handle of the person in this row."""
        return [one for one in (self.id, _text(self.row.get("handle"))) if one]

    @property
    def id(self) -> str:
        """The id of the person, as the toolkit's arguments take it."""
        return _text(self.row.get("id"))

    @property
    def addresses(self) -> set[str]:
        """The valid email addresses in lower case."""
        found = {one.lower() for one in (*_texts(self.row.get("addresses")), _text(self.row.get("address")))}
        return {one for one in found if is_address(one)}

    @property
    def reached_at(self) -> set[str]:
        """The main address, to which the others lead, or all addresses if the main address is unknown."""
        main = _text(self.row.get("address")).lower()
        return {main} if is_address(main) else self.addresses

    @property
    def known(self) -> bool:
        """True if the user or the user's organisation wrote the names."""
        return self.row.get("known") is True

    @property
    def verified(self) -> bool:
        """True if the product has verified the addresses."""
        return self.row.get("verified") is True

    def is_itself(self, who: str) -> bool:
        """Return True if ``who`` is a verified address or a known name in this row."""
        return (self.verified and plain(who).lower() in self.addresses) or bool(Someone([self]).called(who))

    @property
    def at(self) -> tuple[str, str]:
        """The toolkit and the account id of the row."""
        return self.toolkit, self.account.subject


@frozen
class Someone(Printed):
    """One person: all rows that are proven to describe this person."""

    rows: list[Sighting] = field(default_factory=list)

    @property
    def proven(self) -> set[str]:
        """The verified addresses."""
        return {address for one in self.rows if one.verified for address in one.addresses}

    @property
    def reached_at(self) -> set[str]:
        """The addresses that the user or the organisation wrote, or a product has verified."""
        return {address for one in self.rows if one.known or one.verified for address in one.reached_at}

    def called(self, who: str) -> bool | None:
        """Return True if ``who`` is one of the person's known names, None if it only resembles a name, else False."""
        who = plain(who)
        names = {name for one in self.rows if one.known for name in (*one.names, *one.handles)}
        alike = {one for one in names if as_read(_single_blanks(one)) == as_read(who)}
        return any(_normalize(one) == _normalize(who) for one in alike) or (None if alike else False)

    @property
    def description(self) -> str:
        """The person in one line, for a model or a user who must choose."""
        first = self.rows[0]
        where = ", ".join(dict.fromkeys(_text(one.row.get("where")) or one.toolkit for one in self.rows))
        reached = sorted(set().union(*(one.addresses for one in self.rows)))[:4] or first.handles[:1]
        own = "" if any(one.known for one in self.rows) else "; the name may be their own word"
        name = visible((first.names or first.handles or [""])[0])[:60]
        return f"{name} <{', '.join(map(visible, reached))[:120]}> ({where}{own})"


class NotLooked(NamedTuple):
    """An account, or a part of it, that was not searched. ``failed``: True if the search failed."""

    where: str
    why: str
    failed: bool = False


@frozen
class Looked(Printed):
    """The results of all accounts for one name."""

    found: list[Sighting] = field(default_factory=list)
    not_looked: list[NotLooked] = field(default_factory=list)


def plain(who: str) -> str:
    """Return a name, handle or address in the form for searching: single blanks, no leading @."""
    return _single_blanks(who).removeprefix("@")


def is_address(text: str) -> bool:
    """Return True if the string is exactly one email address without hidden characters."""
    return len(text) <= _MAX_TEXT_CHARACTERS and bool(re.fullmatch(_ADDRESS, text)) and without_hidden(text) == text


def merge_rows(found: Iterable[Sighting]) -> list[Someone]:
    """Return the people in these rows. Joins accounts by verified addresses, then contact cards to accounts."""
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
    """Return True if a person in ``people`` already has all addresses of the row."""
    return any(one.addresses and one.addresses <= person.reached_at for person in people)


def fits(people: Iterable[Someone], who: str) -> tuple[list[Someone], bool]:
    """Return the people with exactly this name or address, and True if the match is certain.

    A match is certain if no other name looks like it, and either it is a unique handle or the search of the matching
    accounts was complete.
    """
    if is_address(who):
        return [person for person in people if who.lower() in person.reached_at | person.proven], True
    called = [(person, person.called(who)) for person in people]
    exact = [person for person, is_called in called if is_called]
    wanted = plain(who)
    handled = {name for person in exact for one in person.rows if one.known for name in map(_normalize, one.handles)}
    whole = _normalize(wanted) in handled or all(one.whole for person in exact for one in person.rows)
    return exact, whole and all(is_called is not None for _, is_called in called)


def nearest(people: Sequence[Someone], first: Sequence[Someone]) -> list[str]:
    """Return descriptions of at most five possible matches for a hint. People in ``first`` come first."""
    return [one.description for one in [*first, *(one for one in people if one not in first)]][:5]


def _single_blanks(text: str) -> str:
    return " ".join(text.split())[:_MAX_TEXT_CHARACTERS]


def _normalize(text: str) -> str:
    """Return a name in the form for comparison: without case, in composed Unicode form."""
    return unicodedata.normalize("NFC", _single_blanks(text)).casefold()


def _text(value: Any) -> str:
    return value.strip()[:_MAX_TEXT_CHARACTERS] if isinstance(value, str) else ""


def _texts(value: Any) -> list[str]:
    return [_text(one) for one in value[:MAX_PEOPLE_PER_ACCOUNT]] if isinstance(value, list) else []
