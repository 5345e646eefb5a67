"""Which row is meant by a name: by id, exactly, without regard to case. A miss names what comes near."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, Final, TypeVar

from deputize.core.errors import InvalidInput, NotFound
from deputize.toolkits.linear.api import Asks, nodes
from deputize.toolkits.linear.base import Json
from deputize.toolkits.linear.rows import said

T = TypeVar("T")
_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_MANY: Final = 100
_FEW: Final = 12  # names that are all told
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


def looked_up(asks: Asks[T], field: str, kind: str, wanted: str) -> Asks[T]:
    """What was asked for. Raises `NotFound` that says what is not there, and which tool finds one of its kind."""
    try:
        return (yield from asks)
    except NotFound as missing:
        raise NotFound(
            f"{field}: no {kind.replace('_', ' ')} {said(wanted, 60)!r}, or it is not visible to this user.",
            hint=_FOUND_BY[kind],
            reason=missing.reason,
        ) from None


def is_id(text: str) -> bool:
    """Whether this is one of Linear's ids."""
    return bool(_UUID.fullmatch(text))


def chosen(rows: Sequence[Json], wanted: str, field: str, keys: Sequence[str] = ("name",)) -> Json:
    """The one row that is called so: by id, exactly, else without regard to case. Raises `InvalidInput` otherwise."""
    word = wanted.strip()
    for form in (str, str.casefold):
        found = [row for row in rows if any(form(str(row.get(key) or "")) == form(word) for key in ("id", *keys))]
        if len(found) == 1:
            return found[0]
        if found:
            raise InvalidInput(
                f"{field}: several have the name {said(word, 60)!r}.", hint=f"Use an id: {_told(found, keys)}."
            )
    raise missing(rows, wanted, field, keys)


def missing(rows: Sequence[Json], wanted: str, field: str, keys: Sequence[str] = ("name",)) -> InvalidInput:
    """What to say where nothing is called so: what comes near, what there is if that is little, and who lists it."""
    names = [said(row.get(key), 60) for row in rows for key in keys if row.get(key)]
    word = wanted.strip().casefold()
    holding = [one for one in names if word and one and (word in one.casefold() or one.casefold() in word)]
    near = list(dict.fromkeys([*holding, *get_close_matches(wanted[:200], names, 5, 0.5)]))[:5]
    every = list(dict.fromkeys(said(next((row[key] for key in keys if row.get(key)), ""), 60) for row in rows))
    others = [one for one in every if one and one not in near]
    parts = [f"Near: {', '.join(near)}."] if near else []
    if others and len(every) <= _FEW:
        parts.append(f"{'There are also' if near else 'There are'}: {', '.join(others)}.")
    else:
        parts.append(f"{_LISTED_BY.get(field, 'linear_search')} lists all.")
    return InvalidInput(f"{field}: nothing has the name {said(wanted, 60)!r}.", hint=" ".join(parts))


def _told(rows: Sequence[Json], keys: Sequence[str]) -> str:
    return "; ".join(
        f"{row.get('id')} ({said(next((row[k] for k in keys if row.get(k)), ''), 60)})" for row in rows[:5]
    )


def called(wanted: str, *fields: str) -> Json:
    """A filter: any of these fields is this text, without regard to case."""
    return {"or": [{field: {"eqIgnoreCase": wanted.strip()}} for field in fields]}


def resembling(wanted: str, *fields: str) -> Json:
    """A filter: any of these fields has the text in it."""
    return {"or": [{field: {"containsIgnoreCase": wanted.strip()}} for field in fields]}


def named(operation: str, wanted: str) -> Asks[list[Json]]:
    """The rows of a list that are called so, or have this id."""
    word = wanted.strip()
    narrow = {"id": {"eq": word}} if is_id(word) else called(word, "name")
    return (yield from nodes(operation, first=_MANY, filter=narrow))


def one_of(operation: str, wanted: str, field: str, keys: Sequence[str], **asks: Any) -> Asks[Json]:
    """The one row of a list that is called so, found by the provider's own filter."""
    word = wanted.strip()
    if not word:
        raise InvalidInput(f"{field}: empty.")
    narrow = {"id": {"eq": word}} if is_id(word) else called(word, *keys)
    rows = yield from nodes(operation, first=10, filter=narrow, **asks)
    if not rows and not is_id(word):
        near = yield from nodes(operation, first=_MANY)
        raise missing(near, word, field, keys)
    return chosen([row for row in rows if not row.get("retiredAt")], word, field, keys)
