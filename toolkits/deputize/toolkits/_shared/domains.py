"""The user's own domain, as far as an address in it says that somebody belongs to the user's organisation."""

from __future__ import annotations

from typing import Final

_EVERYBODYS: Final = frozenset(("gmail.com", "googlemail.com"))
"""Where everybody may have an address."""


def domain_of(address: str) -> str:
    """The domain of an address, in lower case."""
    return address.rpartition("@")[2].strip().lower()


def own_domain(address: str) -> str:
    """The domain that the user of this address shares with colleagues alone; "" where everybody may be in it."""
    domain = domain_of(address)
    return "" if domain in _EVERYBODYS else domain
