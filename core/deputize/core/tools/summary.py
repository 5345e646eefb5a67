"""The summary of an act in a history: what it did, whom it reached, to which object, where, and a link to the object.

    Send this reply: Bob Brown <bob@example.test> · “Re: Invoice 4711”
    Archive these emails: 3 emails: “2026-11-24 13:24 Bob Brown <bob@example.test>: Dinner?”

Names and texts in it may be untrusted. Each is cut, and its hidden characters are made visible.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from deputize.core.tools.preview import Preview
from deputize.core.tools.preview_values import EMPTIED, is_change, is_file
from deputize.core.value_object import ValueObject, frozen
from deputize.core.visible_text import visible

PEOPLE: Final = ("to", "cc", "bcc", "guests", "who", "person", "users", "invited", "reviewers")
"""Fields that name whom an act reaches."""
OBJECTS: Final = (
    *("subject", "Subject", "issue", "issues", "pull_request", "item", "workflow", "on", "title", "name", "Name"),
    *("path", "message", "file", "files", "label", "milestone", "document", "project", "notifications", "text", "body"),
)
"""Fields that name what an act changes, the clearest first."""
LINKS: Final = ("url", "link")
MAX_SENTENCE_CHARACTERS: Final = 120
MAX_PEOPLE_CHARACTERS: Final = 70
MAX_OBJECT_CHARACTERS: Final = 80
MAX_PLACE_CHARACTERS: Final = 50
MAX_LISTED: Final = 3
"""People that are named; the others are counted."""
MAX_LINK_CHARACTERS: Final = 500


_URL: Final = r"https://([A-Za-z0-9.-]+)(?:[/?#][!#-;=?-\[\]_a-z~]*)?"
"""A URL without a user, a port, blanks, quotes, ``<``, ``>`` and backslashes. Group 1 is its host."""


@frozen
class Summary(ValueObject):
    """What an act did. ``what``: a sentence, "" for a tool without a preview. ``parts``: phrases in reading order.
    ``link``: the page of the act's object at the provider, or ""."""

    what: str = ""
    parts: tuple[str, ...] = ()
    link: str = ""

    @property
    def about(self) -> str:
        """The phrases on one line."""
        return " · ".join(self.parts)

    def pack(self) -> str:
        """Return the summary as lines: the link, the sentence, and each phrase."""
        return "\n".join((self.link, self.what, *self.parts))

    @classmethod
    def unpack(cls, packed: str) -> Summary:
        """Return the summary in a string from `pack`, or `NO_SUMMARY` for an empty string."""
        link, *lines = packed.split("\n")
        return cls(lines[0], tuple(lines[1:]), link) if lines else NO_SUMMARY


NO_SUMMARY: Final = Summary()


def summarize_preview(show: Preview) -> Summary:
    """Return the summary of an act with this preview."""
    context = next(iter(show.context.items()), None)
    phrases = (*_phrases(show.fields, show.people, context), *_place(show.where))
    return Summary(_cut(show.what, MAX_SENTENCE_CHARACTERS), phrases)


def summarize_arguments(arguments: Mapping[str, Any]) -> Summary:
    """Return the summary of an act without a preview, from its arguments."""
    return Summary("", tuple(_phrases(arguments, (), None)))


def object_link(result: Any, show: Preview | None, hosts: Collection[str]) -> str:
    """Return the URL of the act's object, from the result or the preview, or "". Ignores links to other hosts than the
    provider's ``hosts``, because a result may contain a link that somebody else chose."""
    sources = [result, *((show.fields, show.context, show.beside) if show else ())]
    found = (source.get(name) for source in sources if isinstance(source, Mapping) for name in LINKS)
    return next((url for url in found if isinstance(url, str) and _leads_to(url, hosts)), "")


def _leads_to(url: str, hosts: Collection[str]) -> bool:
    found = re.fullmatch(_URL, url) if len(url) <= MAX_LINK_CHARACTERS else None
    host = found[1].lower() if found else ""
    return any(host == one or host.endswith(f".{one}") for one in hosts)


def _phrases(fields: Mapping[str, Any], people: tuple[str, ...], context: tuple[str, Any] | None) -> Iterator[str]:
    """Yield phrases about the people whom the act reaches, and about its changes. ``context``: the first field of the
    preview's context, which names the object if no other field does."""
    reached = [name for field in PEOPLE if field in fields for name in _names(fields[field])]
    if reached := reached or [one for one in people if "@" in one[1:]]:
        yield _listed(reached)
    named = next((name for name in OBJECTS if _names(fields.get(name))), "")
    if named:
        yield _quoted(named, fields[named])
        return
    if context:
        yield _quoted(*context)
    rest = (name for name, value in fields.items() if name not in PEOPLE and _word(value))
    if name := next(rest, ""):
        yield _cut(f"{name.replace('_', ' ')}: {_word(fields[name])}", MAX_OBJECT_CHARACTERS)


def _place(where: str) -> tuple[str, ...]:
    return (_cut(where, MAX_PLACE_CHARACTERS),) if where else ()


def _quoted(name: str, value: Any) -> str:
    """Return an object's name in quotes. If there are several objects, return their number and the first name."""
    number = len(_names(value))
    before = f"{number} {name.replace('_', ' ')}: " if number > 1 else ""
    return f"{before}“{_cut(_word(value) or _names(value)[0], MAX_OBJECT_CHARACTERS)}”"


def _word(value: Any) -> str:
    """Return the first text of a value, or "". For a `Change`, return the first text that differs, before and after."""
    if not is_change(value):
        return next(iter(_names(value)), "")
    before, after = _texts(value["before"]), _texts(value["after"])
    old, new = ([one for one in these if one not in others] for these, others in ((before, after), (after, before)))
    half = MAX_OBJECT_CHARACTERS // 2 - 5
    if old and new:
        return f"{_cut(old[0], half)} → {_cut(new[0], half)}"
    if old:
        return f"{_cut(old[0], half)} → {'(removed)' if after else EMPTIED}"
    return next(iter(new), "")


def _names(value: Any) -> list[str]:
    """Return the texts in a value. Numbers and times name nothing."""
    if is_change(value):
        return _texts(value["after"]) or _texts(value["before"])
    return _texts(value)


def _texts(value: Any) -> list[str]:
    values = value if isinstance(value, list | tuple) else [value]
    return [str(one["file"]) if is_file(one) else one for one in values if is_file(one) or _is_text(one)]


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and not value.isspace() and value != ""


def _listed(names: list[str]) -> str:
    shown = [_cut(name, MAX_PEOPLE_CHARACTERS) for name in names[:MAX_LISTED]]
    while len(shown) > 1 and sum(map(len, shown)) > MAX_PEOPLE_CHARACTERS:
        shown.pop()
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _cut(text: str, most: int) -> str:
    """Return the beginning of a text on one line, with hidden characters made visible."""
    line = visible(" ".join(text[: 4 * most].split()))
    return line if len(line) <= most else f"{line[: most - 1]}…"
