"""First contacts: people whom an act reaches, and to whom the user has never written, as far as deputize can know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from deputize.core.value_object import ValueObject, frozen
from deputize.core.visible_text import visible

ROW: Final = "first contact"
"""Name of the line of an approval."""
MAX_SHOWN: Final = 10


@frozen
class FirstContact(ValueObject):
    """A person whom the act reaches, and to whom the user has never written.

    ``address``: as in the act's `Preview`. ``checked``: True if the user's sent mail was searched for the address.
    False if it could not be searched, so that the user may have written to the address.
    """

    address: str
    checked: bool


def first_contact_lines(contacts: Sequence[FirstContact]) -> tuple[str, ...]:
    """Return sentences about at most ten of these people, and one with the number of the others."""
    lines = [_sentence(one) for one in contacts[:MAX_SHOWN]]
    more = len(contacts) - MAX_SHOWN
    return (*lines, f"The same applies to {more} more.") if more > 0 else tuple(lines)


def _sentence(contact: FirstContact) -> str:
    if contact.checked:
        return f"You have never written to {contact.address}."
    return f"Not known: have you ever written to {contact.address}?"


def first_contact_remark(address: str, lines: Sequence[str]) -> str:
    """Return ``" (first contact)"`` if the lines name the address, with a question mark if it was not checked; else
    ""."""
    if _sentence(FirstContact(address, checked=True)) in lines:
        return " (first contact)"
    return " (first contact?)" if _sentence(FirstContact(address, checked=False)) in lines else ""


def first_contact_rows(lines: Sequence[str]) -> list[tuple[str, str]]:
    """Return the lines as one row of the approval. The row is not part of the preview, because it is not compared when
    the act is done."""
    return [(ROW, "\n".join(visible(line) for line in lines))] if lines else []
