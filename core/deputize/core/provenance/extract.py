"""What strangers say in the result of a tool: which values, and who said them, as far as the result tells.

A row or a detail that a tool marks with ``untrusted`` is theirs, with all in it, names of fields included. Only a
toolkit that declares it is believed about more: which fields are facts of the provider, who wrote a row, and that a
reference in ``more`` is ours. All else, such as what a foreign server answers, is one text from outside. What the
reading call was given is nobody else's for being found there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from deputize.core.provenance.identifiers import addressed, linked, named, texts, whole
from deputize.core.tools.postprocess import PLAIN

MARK: Final = "untrusted"
PEOPLE: Final = frozenset(
    (
        "from",
        "author",
        "creator",
        "organizer",
        "people",
        "assignee",
        "assignees",
        "reviewers",
        "login",
        "user",
        "members",
    )
)
"""Fields whose words are people, with or without an @. Who wrote something of the result is no more than that there."""
ADDRESSES: Final = frozenset(("url", "link", "web"))
"""Fields with the address of a thing: at the provider it says which thing it is, elsewhere it is a link like others."""
PLACES: Final = frozenset(("path", "ref"))
"""Facts that name a file or a branch. Who made it chose the name, which may hold an address."""
FREE: Final = "fields"
"""A mapping with names that people chose, as the fields of a project: a name in it says nothing about its value."""
_ADDRESSED: Final = re.compile(r"[<(]([^<>()]*)[>)]\s*$")
_HOLDS: Final = (Mapping, list, tuple)


class Said:
    """Who said a value, "" where nobody knows; and whether it is only that writer."""

    __slots__ = ("by", "wrote")

    def __init__(self, by: str, wrote: bool) -> None:
        self.by, self.wrote = by, wrote


class Believed:
    """What a result is believed about, if its toolkit declares ``facts`` or ``writers``; otherwise nothing.

    ``is_ours``: whether a reference in ``more`` is one of ours. ``hosts``: where the provider's own pages are.
    """

    def __init__(
        self,
        facts: frozenset[str],
        writers: tuple[str, ...],
        is_ours: Callable[[str], bool],
        hosts: frozenset[str] = frozenset(),
    ) -> None:
        self.writers, self.is_ours = writers, is_ours
        self._hosts = tuple(f".{host}" for host in hosts)
        self.declared = bool(facts or writers)
        self.people = PEOPLE.union(writers)
        self.apart = facts | self.people | ADDRESSES if self.declared else frozenset[str]()

    def chosen(self, url: str) -> set[str]:
        """Where an address leads, unless it is a page of the provider's: that says which thing it is."""
        found = linked(url)
        shared = [one[2:].partition("/")[0] for one in found if one.startswith("//")]
        own = all(f".{host}".endswith(self._hosts) for host in shared)
        return {one for one in found if "/" not in one} if own else found


_NOTHING: Final = Believed(frozenset(), (), lambda text: False)


def said_in(result: Any, given: Mapping[str, Any], believed: Believed) -> dict[str, Said]:
    """What strangers named, by `deputize.core.provenance.identifiers`. ``given``: the arguments of the call that read
    it."""
    if not _is_marked(result):
        return {}
    rows = list(_marked(result, "", believed, within=False))
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


def _marked(value: Any, by: str, believed: Believed, *, within: bool, field: str = "") -> Iterator[_Row]:
    """Every row that is marked, or lies in one, with who wrote it. ``field``: the name under which it lies in a row."""
    if isinstance(value, Mapping):
        within = within or bool(value.get(MARK))
        here = _NOTHING if field == FREE else believed
        by = next((str(value[name]) for name in here.writers if isinstance(value.get(name), str)), by)
        if within:
            yield _Row(value, by, here, field)
        for name, one in value.items():
            if isinstance(one, _HOLDS):
                yield from _marked(one, by, believed, within=within, field=str(name))
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _marked(one, by, believed, within=within)


class _Row:
    """One row of theirs, without those that lie in it."""

    __slots__ = ("believed", "by", "field", "row")

    def __init__(self, row: Mapping[str, Any], by: str, believed: Believed, field: str) -> None:
        self.row, self.by, self.believed, self.field = row, by, believed, field

    @property
    def people(self) -> list[str]:
        """The words that say who stands in it: the writer, and others."""
        return [line for name in self.row.keys() & self.believed.people for line in _lines(self.row[name])]

    def named(self) -> set[str]:
        """What its texts name, and what its parts are called."""
        believed = self.believed
        texts = [(str(name), value) for name, value in self.row.items() if name not in believed.apart]
        lines = [line for name, value in texts if not self._is_ours(name, value) for line in (name, *_lines(value))]
        found = named("\n".join(lines))
        addresses = self.row.keys() & ADDRESSES if believed.declared else ()
        found = found.union(*(believed.chosen(line) for name in addresses for line in _lines(self.row[name])))
        places = self.row.keys() & PLACES & believed.apart
        return found.union(*(addressed(line) for name in places for line in _lines(self.row[name])))

    def _is_ours(self, name: str, value: Any) -> bool:
        """Whether it is our own reference, alone or one of several by field, which only a declared toolkit writes and
        only its seal proves."""
        there = "more" in (name, self.field) and isinstance(value, str)
        return there and self.believed.declared and self.believed.is_ours(value)


def _lines(value: Any) -> list[str]:
    """The texts of a field, also those in lists of lists; rows in it come by themselves."""
    if isinstance(value, str):
        return [value]
    return [line for one in value for line in _lines(one)] if isinstance(value, list | tuple) else []
