"""What every reader makes of a file: units of text (pages, sheets, slides, or one), each read when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


class Unreadable(Exception):
    """A file that cannot be read. ``reason``: in one word, for programs; ``words``: for whoever asked."""

    def __init__(self, reason: str, words: str) -> None:
        super().__init__(words)
        self.reason, self.words = reason, words


@dataclass
class Unit:
    """One page, sheet or slide, or the whole text. ``hidden``: characters left out that a person would not see;
    ``doubts``: by what more may be hidden."""

    text: str = ""
    hidden: int = 0
    doubts: set[str] = field(default_factory=set)


@dataclass
class Document:
    """A file that was opened. ``unit``: what its parts are called, "" where it has but one; ``titles``: of them, where
    they have some; ``facts``: what else there is to say of it; ``members``: the files in it."""

    kind: str
    read: Callable[[int], Unit]
    count: int = 1
    unit: str = ""
    titles: Sequence[str] = ()
    facts: Json = field(default_factory=dict)
    members: Sequence[Json] = ()


def letters(text: str) -> int:
    """How many characters of a text count as hidden: all but blanks."""
    return len("".join(text.split()))
