"""Lookup of Linear's ids by names, keys and addresses. A write never guesses: an error lists near matches."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

from deputize.core.errors import InvalidInput, NotFound
from deputize.core.vault.grant import Account
from deputize.toolkits._shared.people import id_elsewhere
from deputize.toolkits.linear import matching
from deputize.toolkits.linear.api import Asks, get, nodes
from deputize.toolkits.linear.base import Json
from deputize.toolkits.linear.rows import workspace_of

STATE_TYPES: Final = ("triage", "backlog", "unstarted", "started", "completed", "canceled")
OPEN: Final = "open"
"""The word for the states of unfinished work."""
CLOSED_TYPES: Final = ("completed", "canceled", "duplicate")
STATUS_TYPES: Final = ("backlog", "planned", "started", "paused", "completed", "canceled")
_KEY: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{0,9}-[0-9]{1,9}")
_ADDRESS: Final = re.compile(
    r"(https://linear\.app/[\w.-]{1,64})/(issue|project|document|initiative)/([\w-]{1,200})(?:[/?#].*)?"
)
_SLUG: Final = re.compile(r"(?:.*-)?([0-9a-f]{12})")
_MANY: Final = 100


def own_id(account: Account) -> str:
    """Return the user's own id, which is the second half of the account's subject."""
    return account.subject.rpartition(":")[2]


# ----------------------------------------------------------------- teams, states, cycles, labels


def team(wanted: str, field: str = "team") -> Asks[Json]:
    """Return a team by id, key or name."""
    return matching.find_one("LookupTeams", wanted, field, ("key", "name"))


def teams(wanted: Iterable[str], field: str) -> Asks[list[Json]]:
    found = []
    for one in wanted:
        found.append((yield from team(one, field)))
    return found


def state_in(states: Sequence[Json], wanted: str) -> Json:
    """Return a state by name, or the first state of a type. ``states``: the states of the issue's team."""
    word = wanted.strip()
    if word.lower() in STATE_TYPES and not any(str(row.get("name")).casefold() == word.casefold() for row in states):
        found = sorted(
            (row for row in states if row.get("type") == word.lower()), key=lambda row: row.get("position", 0)
        )
        if found:
            return found[0]
    return matching.choose(states, word, "state")


def cycle(team_id: str, wanted: str) -> Asks[Json]:
    """Return a team's cycle by number, id, ``active`` (or ``current``), ``next`` or ``previous``."""
    word = wanted.strip().lower()
    words = {"active": "isActive", "current": "isActive", "next": "isNext", "previous": "isPrevious"}
    if word in words:
        narrow: Json = {words[word]: {"eq": True}}
    elif word.isdecimal() and len(word) < 8:
        narrow = {"number": {"eq": int(word)}}
    elif matching.is_id(word):
        narrow = {"id": {"eq": word}}
    else:
        raise InvalidInput(
            "cycle: must be a number, active, next, previous or an id.",
            hint="linear_lookup(kind=cycles, team=...) lists them.",
        )
    rows = yield from nodes("LookupCycles", first=2, filter={"team": {"id": {"eq": team_id}}, **narrow})
    if not rows:
        raise NotFound(
            f"cycle: the team has no {word} cycle."
            if word in words
            else "cycle: the team has no cycle of this number or id.",
            hint="linear_lookup(kind=cycles, team=...) lists them.",
        )
    return rows[0]


def labels(wanted: Iterable[str], field: str, teams: Collection[Any]) -> Asks[list[Json]]:
    """Return issue labels by name or ``group/name``. A group itself is not a label.

    ``teams``: keys of the issues' teams. Of several labels with the same name, the team's or the workspace's is used.
    """
    names = list(wanted)
    if not names:
        return []
    last = [one.rpartition("/")[2].strip() if "/" in one else one.strip() for one in names]
    narrow = [{"name": {"eqIgnoreCase": one}} for one in dict.fromkeys([*names, *last])]
    narrow += [{"id": {"eq": one}} for one in names if matching.is_id(one)]
    rows = yield from nodes("LookupIssueLabels", first=_MANY, filter={"or": narrow})
    usable = [_with_path(row) for row in rows if not row.get("isGroup") and not row.get("retiredAt")]
    found = []
    for one in names:
        try:
            found.append(matching.choose(_usable_labels(usable, one, teams), one, field, ("name", "path")))
        except InvalidInput as refused:
            if any(one.casefold() == str(row["name"]).casefold() for row in usable):
                raise
            near = yield from nodes("LookupIssueLabels", first=_MANY)
            raise matching.missing_error([row for row in near if not row.get("isGroup")], one, field) from refused
    return found


def _usable_labels(rows: Sequence[Json], wanted: str, teams: Collection[Any]) -> Sequence[Json]:
    """Return the rows without the labels that share a name and belong to other teams, or to any of several teams."""
    word = wanted.strip().casefold()
    alike = [row for row in rows if word in (str(row["name"]).casefold(), str(row.get("path", "")).casefold())]
    if len(alike) < 2:
        return rows
    keys = {None, *teams} if len(teams) == 1 else {None}
    return [row for row in rows if row not in alike or (row.get("team") or {}).get("key") in keys]


def _with_path(row: Json) -> Json:
    parent = (row.get("parent") or {}).get("name")
    return row | ({"path": f"{parent}/{row['name']}"} if parent else {})


# ----------------------------------------------------------------- people


def user(wanted: str, account: Account, field: str) -> Asks[Json]:
    """Return a person by id, address, name, ``me``, or another product's id if it certainly is the same person."""
    if wanted.strip().lower() in ("me", "@me"):
        return {"id": own_id(account), "displayName": "you", "email": account.name}
    keys = ("email", "displayName", "name")
    try:
        return (yield from matching.find_one("LookupUsers", wanted.lstrip("@"), field, keys))
    except InvalidInput as refused:
        id = (yield from id_elsewhere(wanted, field, "linear")) if wanted.strip() else ""
        if not id:
            raise refused
    return (yield from matching.find_one("LookupUsers", id, field, keys))


def person_filter(wanted: str) -> Json:
    """Return a list's filter on a person: ``me``, ``none``, an id, an address, or part of a name."""
    word = wanted.strip()
    if word.lower() in ("me", "@me"):
        return {"isMe": {"eq": True}}
    if word.lower() == "none":
        return {"null": True}
    if matching.is_id(word):
        return {"id": {"eq": word}}
    if "@" in word:
        return {"email": {"eqIgnoreCase": word}}
    return {"or": [{"displayName": {"containsIgnoreCase": word}}, {"name": {"containsIgnoreCase": word}}]}


# ----------------------------------------------------------------- objects with addresses


def parse_address(wanted: str, kind: str) -> tuple[str, str]:
    """Return the id, key or slug in a reference ("" for a name), and the workspace in an address."""
    word = wanted.strip()
    match = _ADDRESS.fullmatch(word)
    if match is None:
        return (word if matching.is_id(word) else word.upper() if _KEY.fullmatch(word) else ""), ""
    if match[2] != kind:
        raise InvalidInput(
            f"{kind}: this is the address of a {match[2]}.", hint="Give the address of what the argument names."
        )
    if kind == "issue":
        return match[3].upper() if _KEY.fullmatch(match[3]) else match[3], match[1]
    slug = _SLUG.fullmatch(match[3])
    return (slug[1] if slug else match[3]), match[1]


def check_workspace(found: Json, workspace: str, field: str) -> Json:
    """Return the object if the address names its workspace. Raises `InvalidInput` otherwise."""
    if workspace and workspace_of(found.get("url")) != workspace:
        raise InvalidInput(
            f"{field}: this address is in another workspace.", hint="Use one of the connected workspace."
        )
    return found


def issue(wanted: str, field: str = "issue", operation: str = "IssueId", **more: Any) -> Asks[Json]:
    """Return an issue by key, address or id: its ids, team and labels. ``operation``: the query, with ``more``."""
    key, workspace = parse_address(wanted, "issue")
    if not key:
        raise InvalidInput(f"{field}: not a key, address or id of an issue.", hint="Such as ENG-123.")
    found = yield from matching.look_up(get(operation, id=key, **more), field, "issue", wanted)
    return check_workspace(found, workspace, field)


def issues(wanted: Sequence[str]) -> Asks[list[Json]]:
    """Return several issues with their values in the given order, with a single request."""
    if len(wanted) == 1:
        return [(yield from issue(wanted[0], "issues", "IssueValues"))]
    keys = []
    for one in wanted:
        key, workspace = parse_address(one, "issue")
        if not key or workspace:
            found = yield from issue(one, "issues")
            key = str(found["identifier"])
        keys.append(key)
    narrow: list[Json] = [
        {"id": {"eq": key}}
        if matching.is_id(key)
        else {"team": {"key": {"eqIgnoreCase": key.rpartition("-")[0]}}, "number": {"eq": int(key.rpartition("-")[2])}}
        for key in keys
    ]
    rows = yield from nodes("IssuesValues", first=len(keys), filter={"or": narrow})
    known = {str(row[name]).casefold(): row for row in rows for name in ("id", "identifier")}
    lost = [key for key in keys if key.casefold() not in known]
    if lost:
        told = ", ".join(lost[:5])
        raise NotFound(
            f"issues: not found, or not visible to this user: {told}.",
            hint="linear_search finds issues by their words.",
        )
    return list({known[key.casefold()]["id"]: known[key.casefold()] for key in keys}.values())


def project(wanted: str, field: str = "project") -> Asks[Json]:
    """Return a project by id, address or name, with its teams."""
    return _thing("project", wanted, field, "ProjectsSeen", ("name", "slugId"))


def initiative(wanted: str, field: str = "initiative") -> Asks[Json]:
    """Return an initiative by id, address or name."""
    return _thing("initiative", wanted, field, "Initiatives", ("name", "slugId"))


def _thing(kind: str, wanted: str, field: str, operation: str, keys: Sequence[str]) -> Asks[Json]:
    id, workspace = parse_address(wanted, kind)
    found = yield from matching.find_one(
        operation, id or wanted, field, keys, **({"includeArchived": True} if id else {})
    )
    return check_workspace(found, workspace, field)


def customer(wanted: str) -> Asks[Json]:
    """Return a customer by id or name."""
    return matching.find_one("LookupCustomers", wanted, "customer", ("name",))


def document(wanted: str) -> Asks[Json]:
    """Return a document by id, slug or address, with its text."""
    id, workspace = parse_address(wanted, "document")
    asked = get("Document", id=id or wanted.strip())
    return check_workspace((yield from matching.look_up(asked, "document", "document", wanted)), workspace, "document")


def milestone(project_id: str, wanted: str) -> Asks[Json]:
    """Return a project's milestone by id or name."""
    rows = yield from nodes("ProjectMilestones", first=250, filter={"project": {"id": {"eq": project_id}}})
    return matching.choose(rows, wanted, "milestone")
