"""Values of a `Preview` as text for a person: complete, with hidden characters made visible.

Two long texts are hard to compare by eye. So the changed lines come first: ``-`` marks removed lines, ``+`` added
lines, and the others are context. Both texts follow in full.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Any, Final

from deputize.core.tools.user_time import on_clock
from deputize.core.visible_text import displayed, visible

EMPTIED: Final = "(emptied)"
NOTHING: Final = "(nothing)"
BETWEEN: Final = "[...]"
MAX_COMPARABLE_CHARACTERS: Final = 300
"""Characters above which a text cannot be compared by eye."""
MANY_LINES: Final = 4
MAX_LINES: Final = 2000
"""Lines up to which two texts are compared, because the time grows with their square."""

_FILES: Final = tuple({"file", "mime", "size", *more} for more in (("sha256",), ("pin",), ("sha256", "text", "whole")))

Row = tuple[str, str]


def texts(name: str, value: Any, zone: tzinfo | None) -> Iterator[Row]:
    """Yield the lines of one field. ``zone``: the time zone of displayed times, None for the machine's."""
    name = visible(name.replace("_", " "))
    if not is_change(value):
        yield name, text(value, zone)
        return
    before, after = value["before"], value["after"]
    if changes := _changes(before, after):
        yield f"{name} changes", changes
    yield f"{name} now", text(before, zone) if before else NOTHING  # two rows, so that neither text can fake the other
    yield name, text(after, zone)


def text(value: Any, zone: tzinfo | None) -> str:
    """Return one value as text."""
    if is_file(value):
        return _file(value)
    if is_instant(value):
        return instant(value["instant"], zone)
    if isinstance(value, list):
        return _join_items([text(one, zone) for one in value]) if value else EMPTIED
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return displayed(value) if value.strip() else EMPTIED
    return displayed(json.dumps(value, ensure_ascii=False)) if isinstance(value, Mapping) else str(value)


def is_change(value: Any) -> bool:
    """Return True for the stored form of a `Change`."""
    return isinstance(value, Mapping) and value.keys() == {"before", "after"}


def is_instant(value: Any) -> bool:
    """Return True for the stored form of an `Instant`."""
    return isinstance(value, Mapping) and value.keys() == {"instant"}


def is_file(value: Any) -> bool:
    """Return True for the stored form of a file from `shown_file`."""
    return isinstance(value, Mapping) and value.keys() in _FILES


def _join_items(shown: Sequence[str]) -> str:
    """Return the items on one line, or as a list if one of them contains a comma or a line break."""
    apart = any("," in one or "\n" in one for one in shown)
    return "\n".join(f"- {one}".replace("\n", "\n  ") for one in shown) if apart else ", ".join(shown)


def _file(file: Mapping[str, Any]) -> str:
    known = f", sha256 {file['sha256']}" if file.get("sha256") else ""
    told = f"{displayed(str(file['file']))} ({visible(str(file['mime']))}, {file['size']} bytes{known})"
    if "text" not in file:
        return told
    content = str(file["text"])
    part = "Its text" if file["whole"] else "The beginning of its text"
    return f"{told}. {part}:\n{displayed(content) if content.strip() else EMPTIED}"


# ----------------------------------------------------------------- times

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = tuple("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split())


def instant(at: float, zone: tzinfo | None) -> str:
    """Return the weekday, date, time and zone as text, the same on every machine. Adds the UTC offset if this time
    occurs twice in the zone."""
    there = on_clock(at, zone)
    day = f"{_DAYS[there.weekday()]} {there.day} {_MONTHS[there.month - 1]} {there.year}"
    seconds = f":{there.second:02}" if there.second else ""
    return f"{day}, {there:%H:%M}{seconds} ({_zone(there)})"


def _zone(there: datetime) -> str:
    offset, key = there.strftime("%z"), getattr(there.tzinfo, "key", "")
    twice = there.replace(fold=0).utcoffset() != there.replace(fold=1).utcoffset()
    return f"{key}, UTC{offset[:3]}:{offset[3:5]}" if key and twice else key or there.tzname() or f"UTC{offset}"


# ----------------------------------------------------------------- what changes


def _changes(before: Any, after: Any) -> str:
    """Return the removed and added lines, or "" if the texts are short or have too many lines."""
    if not (isinstance(before, str) and isinstance(after, str) and _is_long(before) and _is_long(after)):
        return ""
    old, new = displayed(before).split("\n"), displayed(after).split("\n")
    if max(len(old), len(new)) > MAX_LINES:
        return ""
    from difflib import unified_diff  # imported late, because few previews need it

    lines = list(unified_diff(old, new, n=2, lineterm=""))[2:]
    return "\n".join(BETWEEN if line.startswith("@@") else f"{line[:1]} {line[1:]}" for line in lines[1:])


def _is_long(one: str) -> bool:
    return len(one) > MAX_COMPARABLE_CHARACTERS or one.count("\n") >= MANY_LINES
