"""Lookup of rows by id or name, exact or without regard to case. The error for an unknown name lists near matches."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, Final, TypeVar

from deputize.core.errors import InvalidInput, NotFound
from deputize.toolkits.linear.api import Asks, nodes
from deputize.toolkits.linear.base import Json
from deputize.toolkits.linear.rows import line

T = TypeVar("T")
_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_MANY: Final = 100
_FEW: Final = 12  # names that an error lists in full
_LISTED_BY: Final = {
    **dict.fromkeys(("state", "states"), "linear_lookup(kind=states)"),
    **dict.fromkeys(("label", "labels", "add_labels", "remove_labels", "group"), "linear_lookup(kind=labels)"),
    **dict.fromkeys(("assignee", "involving", "lead", "owner", "members", "person"), "linear_lookup(kind=users)"),
    **dict.fromkeys(("team", "teams", "add_teams", "remove_teams"), "linear_lookup(kind=teams)"),
    **dict.fromkeys(("project", "target", "add_projects", "remove_projects"), "linear_list_projects"),
    **{"status": "linear_lookup(kind=project_statuses)", "view": "linear_lookup(kind=views)"},
    **{"customer": "linear_lookup(kind=customers)", "template": "linear_lookup(kind=templates)"},
    **{"initiative": "linear_list_initiatives", "milestone": "linear_get_project(include=[milestones])"},
}


_FOUND_BY: Final = {
    "issue": "linear_search finds issues by their words.",
    "document": "linear_list_documents lists them; linear_search(kind=documents) finds them by their words.",
    "project": "linear_list_projects lists them.",
    "initiative": "linear_list_initiatives lists them.",
    "cycle": "linear_lookup(kind=cycles) lists them.",
    "view": "linear_lookup(kind=views) lists them.",
    "label": "linear_lookup(kind=labels) lists them.",
    "project_label": "linear_lookup(kind=project_labels) lists them.",
    "comment": "linear_list_comments lists them.",
    "project_update": "linear_list_updates lists them.",
    "initiative_update": "linear_list_updates lists them.",
    "milestone": "linear_get_project with include=[milestones] lists them.",
}


def look_up(asks: Asks[T], field: str, kind: str, wanted: str) -> Asks[T]:
    """Return the result of the steps. Raises `NotFound` with the missing object and the tool that lists its kind."""
    try:
        return (yield from asks)
    except NotFound as missing:
        raise NotFound(
            f"{field}: no {kind.replace('_', ' ')} {line(wanted, 60)!r}, or it is not visible to this user.",
            hint=_FOUND_BY[kind],
            reason=missing.reason,
        ) from None


def is_id(text: str) -> bool:
    return bool(_UUID.fullmatch(text))


def choose(rows: Sequence[Json], wanted: str, field: str, keys: Sequence[str] = ("name",)) -> Json:
    """Return the only row with this id or name, exact or without regard to case. Raises `InvalidInput` otherwise."""
    word = wanted.strip()
    for form in (str, str.casefold):
        found = [row for row in rows if any(form(str(row.get(key) or "")) == form(word) for key in ("id", *keys))]
        if len(found) == 1:
            return found[0]
        if found:
            raise InvalidInput(
                f"{field}: several have the name {line(word, 60)!r}.", hint=f"Use an id: {_list_matches(found, keys)}."
            )
    raise missing_error(rows, wanted, field, keys)


def missing_error(rows: Sequence[Json], wanted: str, field: str, keys: Sequence[str] = ("name",)) -> InvalidInput:
    """Return the error for an unknown name, with near names (all names if few) and the tool that lists the names."""
    names = [line(row.get(key), 60) for row in rows for key in keys if row.get(key)]
    word = wanted.strip().casefold()
    holding = [one for one in names if word and one and (word in one.casefold() or one.casefold() in word)]
    near = list(dict.fromkeys([*holding, *get_close_matches(wanted[:200], names, 5, 0.5)]))[:5]
    every = list(dict.fromkeys(line(next((row[key] for key in keys if row.get(key)), ""), 60) for row in rows))
    others = [one for one in every if one and one not in near]
    parts = [f"Near: {', '.join(near)}."] if near else []
    if others and len(every) <= _FEW:
        parts.append(f"{'There are also' if near else 'There are'}: {', '.join(others)}.")
    else:
        parts.append(f"{_LISTED_BY.get(field, 'linear_search')} lists all.")
    return InvalidInput(f"{field}: nothing has the name {line(wanted, 60)!r}.", hint=" ".join(parts))


def _list_matches(rows: Sequence[Json], keys: Sequence[str]) -> str:
    return "; ".join(
        f"{row.get('id')} ({line(next((row[k] for k in keys if row.get(k)), ''), 60)})" for row in rows[:5]
    )


def name_filter(wanted: str, *fields: str) -> Json:
    """Return a filter: any of these fields equals the text, without regard to case."""
    return {"or": [{field: {"eqIgnoreCase": wanted.strip()}} for field in fields]}


def part_filter(wanted: str, *fields: str) -> Json:
    """Return a filter: any of these fields contains the text, without regard to case."""
    return {"or": [{field: {"containsIgnoreCase": wanted.strip()}} for field in fields]}


def rows_named(operation: str, wanted: str) -> Asks[list[Json]]:
    """Return a list's rows with this name or id."""
    word = wanted.strip()
    narrow = {"id": {"eq": word}} if is_id(word) else name_filter(word, "name")
    return (yield from nodes(operation, first=_MANY, filter=narrow))


def find_one(operation: str, wanted: str, field: str, keys: Sequence[str], **asks: Any) -> Asks[Json]:
    """Return a list's only row with this name, found by Linear's own filter."""
    word = wanted.strip()
    if not word:
        raise InvalidInput(f"{field}: empty.", hint="Give a name, a key or an id, or leave it out.")
    narrow = {"id": {"eq": word}} if is_id(word) else name_filter(word, *keys)
    rows = yield from nodes(operation, first=10, filter=narrow, **asks)
    if not rows and not is_id(word):
        near = yield from nodes(operation, first=_MANY)
        raise missing_error(near, word, field, keys)
    return choose([row for row in rows if not row.get("retiredAt")], word, field, keys)
