"""Checks of a list's filters. They run only if the list is empty, so that a typo does not look like "none"."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from deputize.core.errors import InvalidInput
from deputize.toolkits.linear import matching
from deputize.toolkits.linear import name_lookup as names
from deputize.toolkits.linear.api import Asks, nodes
from deputize.toolkits.linear.base import Json
from deputize.toolkits.linear.rows import line

_MANY = 250


def state(wanted: str | None, team: str | None) -> Asks[None]:
    """Raise `InvalidInput` unless a state has this name or type, in the given team if any."""
    if not wanted or wanted.strip().lower() in (*names.STATE_TYPES, names.OPEN):
        return
    narrow = {"filter": {"team": {"id": {"eq": team}}}} if team else {}
    rows = yield from nodes("LookupStates", first=_MANY, **narrow)
    if not _has(rows, wanted):
        types = [{"name": one} for one in names.STATE_TYPES]
        raise matching.missing_error([*_unique_names(rows), *types], wanted, "state")


def labels(wanted: Iterable[str] | None) -> Asks[None]:
    """Raise `InvalidInput` for the name of no label, and for a group, which no issue can have."""
    for one in wanted or ():
        last = one.rpartition("/")[2].strip()
        rows = yield from nodes("LookupIssueLabels", first=_MANY, filter=matching.name_filter(last, "name"))
        if not rows:
            raise matching.missing_error((yield from nodes("LookupIssueLabels", first=_MANY)), one, "labels")
        if all(row.get("isGroup") for row in rows):
            inside = {"parent": matching.name_filter(last, "name")}
            names = [line(row["name"], 60) for row in (yield from nodes("LookupIssueLabels", first=12, filter=inside))]
            hint = f"Its labels: {', '.join(names)}." if names else "It has no labels."
            raise InvalidInput(f"labels: {line(one, 60)!r} is a group of labels, which no issue bears.", hint=hint)


def active_cycle(team: str | None, cycle: str | None) -> Asks[None]:
    """Raise `NotFound` if a team has no active cycle."""
    if team and cycle and cycle.strip().lower() in ("active", "current"):
        yield from names.cycle(team, cycle)


CATEGORIES: Final = (
    *("appsAndIntegrations", "assignments", "billing", "commentsAndReplies", "customers", "documentChanges", "feed"),
    *("mentions", "postsAndUpdates", "reactions", "reminders", "reviews", "statusChanges", "subscriptions", "system"),
    "triage",
)


def category(wanted: str | None) -> Asks[None]:
    """Raise `InvalidInput` for an unknown category of notifications."""
    if wanted and wanted.strip().casefold() not in map(str.casefold, CATEGORIES):
        raise InvalidInput(f"category: there is none {line(wanted, 60)!r}.", hint=f"One of {', '.join(CATEGORIES)}.")
    return
    yield


def person(wanted: str | None, field: str) -> Asks[None]:
    """Raise `InvalidInput` for a name or address that belongs to nobody."""
    if not wanted:
        return
    narrow = names.person_filter(wanted)
    if "null" in narrow or "isMe" in narrow or (yield from nodes("LookupUsers", first=1, filter=narrow)):
        return
    people = yield from nodes("LookupUsers", first=_MANY)
    raise matching.missing_error(people, wanted, field, ("displayName", "name", "email"))


def status(wanted: str | None) -> Asks[None]:
    """Raise `InvalidInput` unless a project status has this name or type."""
    if not wanted:
        return
    rows = yield from nodes("LookupProjectStatuses", first=50)
    if not _has(rows, wanted) and not _has(rows, wanted, "type"):
        raise matching.missing_error(rows, wanted, "status", ("name", "type"))


def when_empty(result: Json, cursor: str | None, *checks: Asks[Any]) -> Asks[Json]:
    """Return a list's result. If the list is empty, run the checks, which raise `InvalidInput` for an unknown name."""
    for check in checks:
        if result["items"] or cursor:
            check.close()
        else:
            yield from check
    return result


def _has(rows: Iterable[Json], wanted: str, key: str = "name") -> bool:
    word = wanted.strip().casefold()
    return any(str(row.get(key) or "").casefold() == word for row in rows)


def _unique_names(rows: Iterable[Json]) -> list[Json]:
    """Return one row per name, because several teams have states of the same name."""
    return list({str(row.get("name")).casefold(): row for row in rows}.values())
