"""The result of every reader: units of text (pages, sheets, slides, or the whole file), each read on demand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


class Unreadable(Exception):
    """A file cannot be read. ``reason``: a word for programs; ``words``: a sentence for the caller."""

    def __init__(self, reason: str, words: str) -> None:
        super().__init__(words)
        self.reason, self.words = reason, words


@dataclass
class Unit:
    """One page, sheet or slide, or the whole text. ``hidden``: number of characters left out because a person would not
    see them. ``doubts``: features that may hide more."""

    text: str = ""
    hidden: int = 0
    doubts: set[str] = field(default_factory=set)


@dataclass
class Document:
    """An opened file. ``unit``: the word for its parts, "" for a single part. ``titles``: titles of the parts, if any.
    ``facts``: metadata. ``members``: the files inside the file."""

    kind: str
    read: Callable[[int], Unit]
    count: int = 1
    unit: str = ""
    titles: Sequence[str] = ()
    facts: Json = field(default_factory=dict)
    members: Sequence[Json] = ()


def count_letters(text: str) -> int:
    """Return the number of characters other than blanks."""
    return len("".join(text.split()))
