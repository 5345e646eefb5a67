"""Whether anything is called as a list's filters say: asked where it is empty, so that no typo looks like "none"."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from deputize.core.errors import InvalidInput
from deputize.toolkits.linear import matching
from deputize.toolkits.linear import name_lookup as names
from deputize.toolkits.linear.api import Asks, nodes
from deputize.toolkits.linear.base import Json
from deputize.toolkits.linear.rows import said

_MANY = 250


def state(wanted: str | None, team: str | None) -> Asks[None]:
    """Raises `InvalidInput` for what is neither a type of states nor the name of one, of this team if one is given."""
    if not wanted or wanted.strip().lower() in (*names.STATE_TYPES, names.OPEN):
        return
    narrow = {"filter": {"team": {"id": {"eq": team}}}} if team else {}
    rows = yield from nodes("LookupStates", first=_MANY, **narrow)
    if not _has(rows, wanted):
        types = [{"name": one} for one in names.STATE_TYPES]
        raise matching.missing([*_each(rows), *types], wanted, "state")


def labels(wanted: Iterable[str] | None) -> Asks[None]:
    """Raises `InvalidInput` for a name that no label has, and for that of a group, which no issue bears."""
    for one in wanted or ():
        last = one.rpartition("/")[2].strip()
        rows = yield from nodes("LookupIssueLabels", first=_MANY, filter=matching.called(last, "name"))
        if not rows:
            raise matching.missing((yield from nodes("LookupIssueLabels", first=_MANY)), one, "labels")
        if all(row.get("isGroup") for row in rows):
            inside = {"parent": matching.called(last, "name")}
            names = [said(row["name"], 60) for row in (yield from nodes("LookupIssueLabels", first=12, filter=inside))]
            hint = f"Its labels: {', '.join(names)}." if names else "It has no labels."
            raise InvalidInput(f"labels: {said(one, 60)!r} is a group of labels, which no issue bears.", hint=hint)


def active_cycle(team: str | None, cycle: str | None) -> Asks[None]:
    """Raises `NotFound` where a team has no cycle that is under way."""
    if team and cycle and cycle.strip().lower() in ("active", "current"):
        yield from names.cycle(team, cycle)


CATEGORIES: Final = (
    *("appsAndIntegrations", "assignments", "billing", "commentsAndReplies", "customers", "documentChanges", "feed"),
    *("mentions", "postsAndUpdates", "reactions", "reminders", "reviews", "statusChanges", "subscriptions", "system"),
    "triage",
)


def category(wanted: str | None) -> Asks[None]:
    """Raises `InvalidInput` for what is no category of notifications."""
    if wanted and wanted.strip().casefold() not in map(str.casefold, CATEGORIES):
        raise InvalidInput(f"category: there is none {said(wanted, 60)!r}.", hint=f"One of {', '.join(CATEGORIES)}.")
    return
    yield


def person(wanted: str | None, field: str) -> Asks[None]:
    """Raises `InvalidInput` for a name or address that nobody has."""
    if not wanted:
        return
    narrow = names.person(wanted)
    if "null" in narrow or "isMe" in narrow or (yield from nodes("LookupUsers", first=1, filter=narrow)):
        return
    people = yield from nodes("LookupUsers", first=_MANY)
    raise matching.missing(people, wanted, field, ("displayName", "name", "email"))


def status(wanted: str | None) -> Asks[None]:
    """Raises `InvalidInput` for what is neither the name nor the type of a project status."""
    if not wanted:
        return
    rows = yield from nodes("LookupProjectStatuses", first=50)
    if not _has(rows, wanted) and not _has(rows, wanted, "type"):
        raise matching.missing(rows, wanted, "status", ("name", "type"))


def when_empty(result: Json, cursor: str | None, *checks: Asks[Any]) -> Asks[Json]:
    """The result of a list. Raises `InvalidInput` where it is empty for a name that is nobody's."""
    for check in checks:
        if result["items"] or cursor:
            check.close()
        else:
            yield from check
    return result


def _has(rows: Iterable[Json], wanted: str, key: str = "name") -> bool:
    word = wanted.strip().casefold()
    return any(str(row.get(key) or "").casefold() == word for row in rows)


def _each(rows: Iterable[Json]) -> list[Json]:
    """One row a name: teams call their states alike."""
    return list({str(row.get("name")).casefold(): row for row in rows}.values())
