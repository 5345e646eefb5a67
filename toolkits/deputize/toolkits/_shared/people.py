"""Arguments that name people: addresses are used unchanged, names are looked up in the user's accounts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from deputize.core import Account, ResolvePerson
from deputize.core.errors import InvalidInput
from deputize.toolkits._shared.mail.headers import single_line
from deputize.toolkits._shared.steps import Asks

MAX_NAMES: Final = 10
"""Most names in one argument, because each is looked up in every account."""


def is_name(text: str) -> bool:
    """True for a name or an ``@handle``, not an address."""
    return bool(text.strip()) and "@" not in text.strip().removeprefix("@")


def addresses_of(named: Sequence[str] | None, field: str, me: Account | None = None) -> Asks[list[str] | None]:
    """Return the list with names replaced by addresses. ``me``: the account that "me" means.

    Raises `InvalidInput` for too many names, and for a name that does not match exactly one person.
    """
    if named is None or not any(map(is_name, named)):
        return None if named is None else list(named)
    if sum(map(is_name, named)) > MAX_NAMES:
        raise InvalidInput(f"{field}: at most {MAX_NAMES} names that are no addresses.", hint="Give addresses.")
    found = []
    for at, one in enumerate(named):
        found.append((yield from address_of(one, f"{field}[{at}]", me)))
    return found


def address_of(named: str, field: str, me: Account | None = None) -> Asks[str]:
    """Return the address of one person. Raises `InvalidInput` as `addresses_of` does."""
    if not is_name(named):
        return named
    if me is not None and named.strip().lower().removeprefix("@") == "me":
        return me.name
    return str((yield ResolvePerson(single_line(named, field), field)))


def id_elsewhere(named: str, field: str, toolkit: str) -> Asks[str]:
    """Return the toolkit's id of a person whom another of the user's accounts knows by this name or address, or "" if
    that is not certain."""
    try:
        return str((yield ResolvePerson(single_line(named, field), field, toolkit)))
    except InvalidInput:
        return ""
