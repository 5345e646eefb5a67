"""The preview of an act, which a tool yields before its first write and the user approves.

    yield Preview("Send this email", audience=Audience.PEOPLE, people=["bob@example.test"], to=[...], text=...)

A field is a string, a number, a list of them, a `Change`, an `Instant`, or a file from `shown_file`. A field that is
None is left out. An empty string or list is displayed as emptied. Everything except ``beside`` is compared, with the
approved preview and again when the act is done. So ``beside`` is only for counts and states that change by themselves.
Signed URLs belong nowhere. Sort everything that has no order. Ids and versions that mean nothing to a person belong in
``pins``. Text by others that the act does not change, such as the message being answered, belongs in ``context``. It is
displayed and compared, but people named in it are not targets of the act.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, tzinfo
from enum import IntEnum, StrEnum
from functools import cached_property
from itertools import takewhile
from types import NoneType
from typing import Any, Final, Self

from deputize.core.tools.preview_values import is_change, is_file, is_instant, text, texts
from deputize.core.value_object import ValueObject, frozen
from deputize.core.visible_text import displayed, visible

PREFIX: Final = b"deputize-show-1"


class Audience(IntEnum):
    """The people who will see or receive the result of an act. ``UNKNOWN`` counts as everybody and is the widest."""

    SELF = 0
    PEOPLE = 1
    ORGANISATION = 2
    PUBLIC = 3
    UNKNOWN = 4


SEEN_BY: Final = {
    Audience.SELF: "only you",
    Audience.PEOPLE: "the people named here",
    Audience.ORGANISATION: "everybody in the organisation",
    Audience.PUBLIC: "everybody",
    Audience.UNKNOWN: "not known; possibly everybody",
}


class Danger(StrEnum):
    """What is dangerous about an act, beyond its audience and what it destroys."""

    RUNS_CODE = "runs_code"
    FORWARDS_MAIL = "forwards_mail"
    GIVES_ACCESS = "gives_access"
    HIDES_MAIL = "hides_mail"


DANGERS: Final = {
    Danger.RUNS_CODE: "This changes code that runs by itself.",
    Danger.FORWARDS_MAIL: "Mail will go to this address from now on.",
    Danger.GIVES_ACCESS: "This gives somebody access.",
    Danger.HIDES_MAIL: "You may not notice these emails any more.",
}


LOSES: Final = "What is there now will be lost."


@frozen
class Change(ValueObject):
    """A value before and after the act."""

    before: Any
    after: Any


@frozen
class Instant(ValueObject):
    """A moment, displayed in the reader's time zone. ``at``: Unix seconds, within the years that datetime supports."""

    at: float

    def __post_init__(self) -> None:
        datetime.fromtimestamp(self.at, UTC)

    @classmethod
    def of(cls, moment: float | str | datetime) -> Self:
        """Return an instant from Unix seconds, RFC 3339 or a datetime. Raises `ValueError` if the zone is missing."""
        if isinstance(moment, str):
            moment = datetime.fromisoformat(moment)
        if isinstance(moment, datetime):
            if moment.utcoffset() is None:
                raise ValueError("A moment needs a zone.")
            moment = moment.timestamp()
        return cls(float(moment))


MAX_FILE_CHARACTERS: Final = 20_000
"""Characters of a file's text that a preview displays."""
_NO_TEXT: Final = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f]")


class _ShownFile(dict[str, Any]):
    """A file from `shown_file`. Other mappings are never displayed as a file, whatever their keys."""


def shown_file(
    name: str, mime: str, content: bytes | None = None, *, size: int = 0, pin: str = "", text: str | None = None
) -> dict[str, Any]:
    """Return a file for a preview. Comparison uses its bytes, or ``pin`` if it is fetched only after the approval.

    ``size``: the size in bytes, if the content is not fetched yet. ``text``: what a person reads in it, if its bytes
    are not text. `MAX_FILE_CHARACTERS` of it are displayed, because an agent may have written the file.
    """
    if content is None:
        return _ShownFile(file=name, mime=mime, size=size, pin=pin)
    shown = _ShownFile(file=name, mime=mime, size=len(content), sha256=hashlib.sha256(content).hexdigest())
    text = as_text(content) if text is None else text
    if text is not None:
        shown |= {"text": text[:MAX_FILE_CHARACTERS], "whole": len(text) <= MAX_FILE_CHARACTERS}
    return shown


def as_text(content: bytes) -> str | None:
    """Return the text of a text file in UTF-8 or UTF-16, or None for other bytes."""
    codec = "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        text = content.decode(codec)
    except UnicodeDecodeError:
        return None
    return None if text.startswith("%PDF-") or _NO_TEXT.search(text) else text


class Preview:
    """The preview of an act; see the module. ``what``: one constant sentence that begins with a verb. ``where``: the
    place, in words. ``people``: addresses or ids of everybody whom the act reaches. ``destroys``: True if text or
    data is lost. ``dangers``: what else is dangerous. ``own_words``: names of fields whose text the toolkit chose,
    such as "to all guests": nobody else wrote it. ``targets``: what the act changes, by kind and as the provider
    names it now, for rules of a policy: ``{"repository": "acme/website"}``. It is not displayed. Raises `ValueError`
    for a name that occurs in two parts."""

    what: str
    audience: Audience
    people: tuple[str, ...]
    where: str
    pins: Mapping[str, Any]
    context: Mapping[str, Any]
    beside: Mapping[str, Any]
    destroys: bool
    dangers: tuple[Danger, ...]
    own_words: frozenset[str]
    targets: Mapping[str, Any]
    fields: Mapping[str, Any]

    def __init__(
        self,
        what: str,
        /,
        *,
        audience: Audience,
        people: Iterable[str] = (),
        where: str = "",
        pins: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        beside: Mapping[str, Any] | None = None,
        destroys: bool = False,
        dangers: Iterable[Danger] = (),
        own_words: Iterable[str] = (),
        targets: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> None:
        self.what, self.audience, self.where, self.destroys = what, audience, where, destroys
        self.dangers, self.own_words = tuple(sorted(set(dangers))), frozenset(own_words)
        self.people = tuple(sorted({one.lower() for one in people}))
        self.pins, self.context, self.beside, self.targets = (
            _values(pins or {}),
            _values(context or {}),
            _values(beside or {}),
            _values(targets or {}),
        )
        self.fields = _values({name.rstrip("_"): value for name, value in fields.items()})
        names = [*self.fields, *self.context, *self.beside]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"{sorted(twice)[0]} is in the preview twice")

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> Self:
        """Return the preview from its stored form, `kept`."""
        show = cls.__new__(cls)
        show.__dict__ |= {
            "context": {},
            "targets": {},
            "own_words": frozenset(),
            **kept,
            "audience": Audience(kept["audience"]),
            "people": tuple(kept["people"]),
            "dangers": tuple(map(Danger, kept.get("dangers", ()))),
        }
        return show

    def by(self, account: str) -> Self:
        """Add a first field that says that this service account acts, not the user's account. Return the preview."""
        self.fields = {"acting for": f"{account}, not for you", **self.fields}
        return self

    @property
    def kept(self) -> dict[str, Any]:
        """The stored form of the preview, as JSON, without an empty context or list of dangers, so that earlier digests
        stay valid."""
        kept = {
            "what": self.what,
            "audience": int(self.audience),
            "people": list(self.people),
            "where": self.where,
            "destroys": self.destroys,
            "pins": self.pins,
            "fields": self.fields,
            "beside": self.beside,
        }
        optional = {"context": self.context, "dangers": list(self.dangers), "targets": self.targets}
        return kept | {name: value for name, value in optional.items() if value}

    @property
    def reached(self) -> tuple[str, ...]:
        """The targets that a mandate must cover: everybody whom the act reaches, and the place in some cases. The place
        is included if no people are named or if others than these people see it."""
        place = (self.where,) if self.where and (not self.people or self.audience > Audience.PEOPLE) else ()
        return (*self.people, *place)

    @cached_property
    def digest(self) -> str:
        """SHA-256 in hexadecimal over the canonical JSON of everything that is compared."""
        compared = {name: value for name, value in self.kept.items() if name != "beside"}
        text = json.dumps(compared, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(PREFIX + text.encode()).hexdigest()

    def differs(self, old: Preview) -> list[str]:
        """Return the names of the fields, pins and other parts that differ from the old preview."""
        parts = [name for name in _PARTS if getattr(self, name) != getattr(old, name)]
        return parts + [name for part in _NAMED for name in _unlike(getattr(self, part), getattr(old, part))]

    def unlike(self, left: Mapping[str, Any]) -> list[str]:
        """Return the names in ``left``, the values that an act wrote, whose current value is another one. The current
        value of a `Change` is its ``before``. If a field and a pin have the same name, either may match."""
        return [name for name, value in left.items() if not self._holds(name, (value, as_kept(value)))]

    def _holds(self, name: str, left: tuple[Any, ...]) -> bool:
        """Return True if the current value equals one of ``left``, the value as given and as stored."""
        now = [_none_if_empty(one) for one in self._current_values(name)]
        return any(_none_if_empty(one) in now for one in left)

    def _current_values(self, name: str) -> list[Any]:
        parts = (self.fields, self.context, self.beside, self.pins)
        shown = [part[name] for part in parts if name in part] or [None]
        return [value["before"] if is_change(value) else value for value in shown]

    def only_edits(self, old: Preview, edits: Iterable[tuple[str, str]]) -> bool:
        """Return True if the previews differ only in words that the edits, pairs of old and new text, changed.

        Such an edit needs no new approval. Any other difference does: people, place, replaced values, lists, files, and
        words that the edit did not write.
        """
        if any(getattr(self, name) != getattr(old, name) for name in (*_PARTS, "pins", "context", "targets")):
            return False
        gone, come = set[str](), set[str]()
        for before, after in edits:
            taken, written = _other_words(before, after)
            gone, come = gone.union(taken), come.union(written)
        for name in _unlike(self.fields, old.fields):
            pair = _texts(old.fields.get(name), self.fields.get(name))
            taken, written = _other_words(*pair) if pair else ([], [])
            if pair is None or not (gone.issuperset(taken) and come.issuperset(written)):
                return False
        return True


_PARTS = ("what", "audience", "people", "where", "destroys", "dangers")
_NAMED = ("fields", "context", "pins")
_WORDS = re.compile(r"\w+|[^\w\s]")
"""Words and single signs of a text: ``-10`` is not ``10``, ``@bob`` is not ``bob``."""


def _none_if_empty(value: Any) -> Any:
    """Return None for an empty string or list, so that it compares as equal to a missing value."""
    return None if value in ("", []) else value


def _values(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: as_kept(value) for name, value in values.items() if value is not None}


def _unlike(new: Mapping[str, Any], old: Mapping[str, Any]) -> list[str]:
    return [name for name in {**old, **new} if new.get(name) != old.get(name)]


def _texts(old: Any, new: Any) -> tuple[str, str] | None:
    """Return the two strings to compare; of two changes of one text, the new ones. None if a value is not a string."""
    if is_change(old) and is_change(new) and old["before"] == new["before"]:
        old, new = old["after"], new["after"]
    plain = isinstance(old, str | None) and isinstance(new, str | None)
    return (old or "", new or "") if plain else None


def _other_words(old: str, new: str) -> tuple[list[str], list[str]]:
    """Return the words of each text without their common beginning and their common end."""
    before, after = _WORDS.findall(old), _WORDS.findall(new)
    for _ in range(2):  # drop the common beginning and reverse, then drop the common end and reverse again
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, after, strict=False)))
        before, after = before[same:][::-1], after[same:][::-1]
    return before, after


def as_kept(value: Any) -> Any:
    """Return the value as JSON, so that a stored preview and a new one compare as equal.

    A mapping that only looks like a file, a `Change` or an `Instant` becomes a JSON string, so that all its keys are
    displayed.
    """
    if isinstance(value, Change):
        return {"before": as_kept(value.before), "after": as_kept(value.after)}
    if isinstance(value, list | tuple):
        return [as_kept(one) for one in value]
    plain = _plain(value)
    ours = isinstance(value, Instant | _ShownFile) or not (is_change(plain) or is_instant(plain) or is_file(plain))
    return plain if ours else json.dumps(plain, ensure_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Change):
        return {"before": _plain(value.before), "after": _plain(value.after)}
    if isinstance(value, Instant):
        return {"instant": value.at}
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value if type(value) in (str, int, float, bool, NoneType) else str(value)


# ----------------------------------------------------------------- the one rendering

Rows = list[tuple[str, str]]
"""Pairs of name and text, in reading order, for the page, the terminal and every framework."""


def show_rows(show: Preview, zone: tzinfo | None = UTC) -> Rows:
    """Return all lines of the preview. Nothing is masked or cut, and hidden characters are made visible.

    ``zone``: the time zone of displayed times, None for the machine's.
    """
    rows = [("where", displayed(show.where))] if show.where else []
    for name, value in [*show.fields.items(), *show.context.items(), *show.beside.items()]:
        rows.extend(texts(name, value, zone))
    there = show.audience is Audience.PEOPLE and not show.people  # members of a private channel are not named
    rows.append(("seen by", "the people who are there" if there else SEEN_BY[show.audience]))
    warnings = [words for danger, words in DANGERS.items() if danger in show.dangers]
    warnings += [LOSES] if show.destroys else []
    return [*rows, ("warning", "\n".join(warnings))] if warnings else rows


def argument_rows(arguments: Mapping[str, Any]) -> Rows:
    """Return the arguments as lines, for a tool without a preview. Arguments that are None are left out."""
    return [(visible(str(name)), text(as_kept(value), UTC)) for name, value in arguments.items() if value is not None]
