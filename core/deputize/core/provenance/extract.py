"""Extraction of untrusted values from a tool's result, with their authors.

If a tool marks an object with ``untrusted``, everything in the object is untrusted, including field names. A toolkit
that declares its fields (``facts``, ``writers``) is trusted about three facts: which fields contain the provider's own
values, who wrote an object, and that a reference in ``more`` is from deputize. The marked data of other toolkits, such
as the answer of a foreign server, counts as one untrusted text. An argument of the reading call does not become
untrusted because the result contains it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from deputize.core.provenance.identifiers import linked_identifiers, named, signed_identifiers, texts, whole
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
"""Fields whose words are people, with or without an @. The author of a part of the result is only its author there."""
ADDRESSES: Final = frozenset(("url", "link", "web"))
"""Fields with the URL of a thing. At the provider it identifies the thing; elsewhere it is a link like any other."""
PLACES: Final = frozenset(("path", "ref"))
"""Facts that name a file or a branch. Its creator chose the name, which may contain an address."""
FREE: Final = "fields"
"""A mapping with names that people chose, such as the fields of a project: they say nothing about the values."""
_ADDRESSED: Final = re.compile(r"[<(]([^<>()]*)[>)]\s*$")
_HOLDS: Final = (Mapping, list, tuple)


class Said:
    """The author of a value, "" if unknown. ``wrote``: True if the value is itself an author and occurs nowhere
    else."""

    __slots__ = ("by", "wrote")

    def __init__(self, by: str, wrote: bool) -> None:
        self.by, self.wrote = by, wrote


class Believed:
    """The facts about which a toolkit with ``facts`` or ``writers`` is trusted; none for other toolkits.

    ``is_ours``: returns True if a reference in ``more`` is from deputize. ``hosts``: the hosts of the provider's pages.
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
        """Return the targets of a URL. For a page of the provider, these are only the host-like parts of its path."""
        found = linked_identifiers(url)
        shared = [one[2:].partition("/")[0] for one in found if one.startswith("//")]
        own = all(f".{host}".endswith(self._hosts) for host in shared)
        return {one for one in found if "/" not in one} if own else found


_NOTHING: Final = Believed(frozenset(), (), lambda text: False)


def find_untrusted_values(result: Any, given: Mapping[str, Any], believed: Believed) -> dict[str, Said]:
    """Return the untrusted values of a result, in the form of `deputize.core.provenance.identifiers`. ``given``: the
    arguments of the call that read the result."""
    if not _is_marked(result):
        return {}
    rows = list(_marked_rows(result, "", believed, within=False))
    people = {line: whole(line) for row in rows for line in row.people}
    wrote = {row.by: whole(_author_address(row.by)) for row in rows}
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


def trusted_texts(value: Any) -> Iterator[str]:
    """Yield every string of a result that is outside of marked objects."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        if not value.get(MARK):
            for one in value.values():
                yield from trusted_texts(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from trusted_texts(one)


def _author_address(by: str) -> str:
    """Return the author's address without the display name, which may contain somebody else's address."""
    found = _ADDRESSED.search(by)
    return found[1] if found else by


def _is_marked(result: Any) -> bool:
    """Return True if an object in the result is marked ``untrusted``. Skips plain values, for speed."""
    found: list[Any] = [result]
    for one in found:  # the list grows by nested values
        if type(one) is dict or isinstance(one, Mapping):
            if one.get(MARK):
                return True
            found += [each for each in one.values() if type(each) not in PLAIN]
        elif isinstance(one, list | tuple):
            found += [each for each in one if type(each) not in PLAIN]
    return False


def _marked_rows(value: Any, by: str, believed: Believed, *, within: bool, field: str = "") -> Iterator[_Row]:
    """Yield every marked object and every object inside a marked one, with its author. ``field``: name of the field
    that contains the object."""
    if isinstance(value, Mapping):
        within = within or bool(value.get(MARK))
        here = _NOTHING if field == FREE else believed
        by = next((str(value[name]) for name in here.writers if isinstance(value.get(name), str)), by)
        if within:
            yield _Row(value, by, here, field)
        for name, one in value.items():
            if isinstance(one, _HOLDS):
                yield from _marked_rows(one, by, believed, within=within, field=str(name))
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _marked_rows(one, by, believed, within=within)


class _Row:
    """One untrusted object, without the objects inside it."""

    __slots__ = ("believed", "by", "field", "row")

    def __init__(self, row: Mapping[str, Any], by: str, believed: Believed, field: str) -> None:
        self.row, self.by, self.believed, self.field = row, by, believed, field

    @property
    def people(self) -> list[str]:
        """The strings that name people in the object: the author and others."""
        return [line for name in self.row.keys() & self.believed.people for line in _lines(self.row[name])]

    def named(self) -> set[str]:
        """Return the identifiers in the object's texts and field names."""
        believed = self.believed
        texts = [(str(name), value) for name, value in self.row.items() if name not in believed.apart]
        lines = [line for name, value in texts if not self._is_ours(name, value) for line in (name, *_lines(value))]
        found = named("\n".join(lines))
        addresses = self.row.keys() & ADDRESSES if believed.declared else ()
        found = found.union(*(believed.chosen(line) for name in addresses for line in _lines(self.row[name])))
        places = self.row.keys() & PLACES & believed.apart
        return found.union(*(signed_identifiers(line) for name in places for line in _lines(self.row[name])))

    def _is_ours(self, name: str, value: Any) -> bool:
        """Return True for deputize's own signed reference in ``more``, in a toolkit that declares its fields."""
        there = "more" in (name, self.field) and isinstance(value, str)
        return there and self.believed.declared and self.believed.is_ours(value)


def _lines(value: Any) -> list[str]:
    """Return the strings of a field, including nested lists. Objects in it are yielded separately."""
    if isinstance(value, str):
        return [value]
    return [line for one in value for line in _lines(one)] if isinstance(value, list | tuple) else []
