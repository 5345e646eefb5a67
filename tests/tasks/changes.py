"""Differences in everything that the providers store, each under its path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final, TypeAlias

from deputize.sandbox import Sandbox

Path: TypeAlias = tuple[str, ...]

KEYS: Final = ("id", "Id", "ts", "number", "name", "email")
"""Keys that identify a row of a list."""
CLOCKWORK: Final = frozenset(
    "updated_at updatedAt updated etag LastModifiedDate last_id history_id historyId pushed_at posted made sequence"
    " events cached".split()
)
"""What changes with every write and means nothing by itself."""


def kept(sandbox: Sandbox) -> dict[str, Any]:
    """Return everything that the providers store: rows under their identifying keys, mails by their ids."""
    services = sandbox._world.services.whole()
    made = {name: _keyed(store) for name, store in services.items() if name != "calendar"}
    calendar = services["calendar"]
    made["calendar"] = {**_keyed({name: value for name, value in calendar.items() if name != "events"})}
    made["calendar"]["events"] = {path.partition("/")[2]: _keyed(row) for path, row in calendar["events"].items()}
    made["gmail"] = {person.email: _mailbox(sandbox, person.email) for person in sandbox.people}
    return made


def _mailbox(sandbox: Sandbox, email: str) -> dict[str, Any]:
    box = sandbox._world.mailbox(email)
    mails = {mail.id: {"labels": sorted(mail.labels), "raw": mail.raw} for mail in box.mails.values()}
    labels = {label.id: label.name for label in box.labels.values()}
    return {"mails": mails, "drafts": dict(box.drafts), "labels": labels, "settings": _keyed(box.settings)}


def _keyed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _keyed(one) for name, one in value.items() if name not in CLOCKWORK}
    if isinstance(value, list):
        key = next((key for key in KEYS if value and all(isinstance(v, Mapping) and key in v for v in value)), "")
        names = [str(one[key]) if key else str(place) for place, one in enumerate(value)]
        distinct = len(set(names)) == len(names)
        return {
            name if distinct else str(n): _keyed(one) for n, (name, one) in enumerate(zip(names, value, strict=True))
        }
    return value


def changes(before: Any, after: Any, path: Path = ()) -> Iterator[tuple[Path, Any, Any]]:
    """Return each path whose value differs, with both values; a row that is on one side only is one difference."""
    if (isinstance(before, Mapping) and isinstance(after, Mapping)) or _of_rows(before, after):
        before, after = before or {}, after or {}
        for name in sorted(before.keys() | after.keys()):
            yield from changes(before.get(name), after.get(name), (*path, name))
    elif before != after and not (_empty(before) and _empty(after)):
        yield path, before, after


def _of_rows(before: Any, after: Any) -> bool:
    """Return True if a whole list of rows exists on one side only."""
    one = before or after
    missing = before is None or after is None
    return missing and isinstance(one, Mapping) and all(isinstance(row, Mapping) for row in one.values())


def _empty(value: Any) -> bool:
    return value is None or value == {} or value == ""


def fits(path: Path, pattern: str) -> bool:
    """Return True if a path begins with a pattern of words: ``github comments acme/website *``."""
    words = pattern.split(" ")
    return len(path) >= len(words) and all(map(fnmatchcase, path, words))
