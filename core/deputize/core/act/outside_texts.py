"""What strangers say in the result of a reading tool: which values, and who said them, as far as the result tells.

A row or a detail that a tool marks with ``from_outside`` is theirs, with all in it, but for what the provider itself
says of a thing: which it is, where it lies. What the reading call was given is nobody else's for being found there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from deputize.core.act.handing_on import PLAIN
from deputize.core.act.named import linked, named, texts, whole

MARK: Final = "from_outside"
WRITERS: Final = ("from", "author", "creator", "organizer")
"""Fields that say who wrote a row, the first that is there."""
PEOPLE: Final = frozenset((*WRITERS, "people", "assignee", "assignees", "reviewers", "login", "user", "members"))
"""Fields whose words are people, with or without an @. Who wrote something of the result is no more than that there."""
FACTS: Final = frozenset(
    (
        "id",
        "repo",
        "path",
        "sha",
        "ref",
        "thread",
        "next",
        "cursor",
        "conversation",
        "date",
        "time_zone",
        "url_template",
    )
)
"""Fields that say which thing it is, in words of the provider or of the call: no text of anybody."""
ADDRESSES: Final = frozenset(("url", "link", "web"))
"""Fields with the address of a thing: at the provider it says which thing it is, elsewhere it is a link like others."""
_ADDRESSED: Final = re.compile(r"[<(]([^<>()]*)[>)]\s*$")
_HOLDS: Final = (Mapping, list, tuple)
_APART: Final = PEOPLE | FACTS | ADDRESSES


class Said:
    """Who said a value, "" where nobody knows; and whether it is only that writer."""

    __slots__ = ("by", "wrote")

    def __init__(self, by: str, wrote: bool) -> None:
        self.by, self.wrote = by, wrote


def said_in(result: Any, given: Mapping[str, Any]) -> dict[str, Said]:
    """What strangers named, by `deputize.core.act.named`. ``given``: the arguments of the call that read it."""
    if not _is_marked(result):
        return {}
    rows = [_Row(one, by) for one, by in _marked(result, "", within=False)]
    people = {line: whole(line) for row in rows for line in row.people}
    wrote = {row.by: whole(_called(row.by)) for row in rows}
    writers = set().union(*wrote.values())
    known = {one for text in texts(given) for one in (*named(text), *whole(text))}
    found: dict[str, Said] = {}
    for row in rows:
        here = {one for line in row.people for one in people[line]}
        for ones, by in ((row.named(), wrote[row.by]), (here, writers)):
            for one in ones - known:
                if one not in found or found[one].wrote:
                    found[one] = Said(row.by, one in by)
    return found


def _called(by: str) -> str:
    """Who a writer is, without the name that they chose: that may be somebody else's address."""
    found = _ADDRESSED.search(by)
    return found[1] if found else by


def _is_marked(result: Any) -> bool:
    """Whether anything in it is marked. Most of it are words and numbers, of which nothing dearer is asked."""
    found: list[Any] = [result]
    for one in found:  # which grows meanwhile by what lies in it
        if type(one) is dict or isinstance(one, Mapping):
            if one.get(MARK):
                return True
            found += [each for each in one.values() if type(each) not in PLAIN]
        elif isinstance(one, list | tuple):
            found += [each for each in one if type(each) not in PLAIN]
    return False


def _marked(value: Any, by: str, *, within: bool) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Every row that is marked, or lies in one, with who wrote it."""
    if isinstance(value, Mapping):
        within = within or bool(value.get(MARK))
        by = next((str(value[name]) for name in WRITERS if isinstance(value.get(name), str)), by)
        if within:
            yield value, by
        value = [one for one in value.values() if isinstance(one, _HOLDS)]
    if isinstance(value, list | tuple):
        for one in value:
            yield from _marked(one, by, within=within)


class _Row:
    """One row of theirs, without those that lie in it."""

    __slots__ = ("by", "row")

    def __init__(self, row: Mapping[str, Any], by: str) -> None:
        self.row, self.by = row, by

    @property
    def people(self) -> list[str]:
        """The words that say who stands in it: the writer, and others."""
        return [line for name in self.row.keys() & PEOPLE for line in _lines(self.row[name])]

    def named(self) -> set[str]:
        """What its texts name, and what its parts are called."""
        lines = [line for name, value in self.row.items() if name not in _APART for line in (str(name), *_lines(value))]
        found = named("\n".join(lines))
        if urls := " ".join(line for name in self.row.keys() & ADDRESSES for line in _lines(self.row[name])):
            found |= {one for one in linked(urls) if "/" not in one}
        return found


def _lines(value: Any) -> list[str]:
    """The texts of a field, also those in lists of lists; rows in it come by themselves."""
    if isinstance(value, str):
        return [value]
    return [line for one in value for line in _lines(one)] if isinstance(value, list | tuple) else []
