"""What strangers wrote: a value of an act that stands in a text from outside, and where it stands."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FromOutside:
    """A target of an act that a stranger named before the act did.

    ``value``: as the act has it. ``where``: in words, for a person: "a mail of eve@evil.test, read today at 10:02".
    """

    value: str
    where: str
