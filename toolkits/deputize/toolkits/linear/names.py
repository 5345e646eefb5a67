"""From what people and models say to Linear's ids. A write never guesses: a miss names what comes near."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from difflib import get_close_matches
from typing import Any, Final

from deputize.core.errors import InvalidInput, NotFound
from deputize.core.vault.grant import Account
from deputize.toolkits._shared import times
from deputize.toolkits.linear.api import Asks, get, nodes
from deputize.toolkits.linear.base import PRIORITIES, Json
from deputize.toolkits.linear.rows import said, workspace_of

STATE_TYPES: Final = ("triage", "backlog", "unstarted", "started", "completed", "canceled")
_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_KEY: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{0,9}-[0-9]{1,9}")
_ADDRESS: Final = re.compile(
    r"(https://linear\.app/[\w.-]{1,64})/(issue|project|document|initiative)/([\w-]{1,200})(?:[/?#].*)?"
)
_SLUG: Final = re.compile(r"(?:.*-)?([0-9a-f]{12})")
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


def is_id(text: str) -> bool:
    """Whether this is one of Linear's ids."""
    return bool(_UUID.fullmatch(text))


def me(account: Account) -> str:
    """The id of the user who acts: the second half of the account's subject."""
    return account.subject.rpartition(":")[2]


def chosen(rows: Sequence[Json], wanted: str, field: str, keys: Sequence[str] = ("name",)) -> Json:
    """The one row that is called so: by id, exactly, else without regard to case. Raises `InvalidInput` otherwise."""
    word = wanted.strip()
    for form in (str, str.casefold):
        found = [row for row in rows if any(form(str(row.get(key) or "")) == form(word) for key in ("id", *keys))]
        if len(found) == 1:
            return found[0]
        if found:
            raise InvalidInput(
                f"{field}: several are called {said(word, 60)!r}.", hint=f"Use an id: {_told(found, keys)}."
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
    parts = [f"Near it: {', '.join(near)}."] if near else []
    if others and len(every) <= _FEW:
        parts.append(f"{'There are also' if near else 'There are'}: {', '.join(others)}.")
    else:
        parts.append(f"{_LISTED_BY.get(field, 'linear_search')} lists what there is.")
    return InvalidInput(f"{field}: nothing is called {said(wanted, 60)!r}.", hint=" ".join(parts))


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


def _one(operation: str, wanted: str, field: str, keys: Sequence[str], **asks: Any) -> Asks[Json]:
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


# ----------------------------------------------------------------- teams and what they have


def team(wanted: str, field: str = "team") -> Asks[Json]:
    """A team by id, key or name."""
    return _one("LookupTeams", wanted, field, ("key", "name"))


def team_ids(wanted: Iterable[str], field: str) -> Asks[list[str]]:
    """The ids of several teams."""
    ids = []
    for one in wanted:
        ids.append(str((yield from team(one, field))["id"]))
    return ids


def state_in(states: Sequence[Json], wanted: str) -> str:
    """The id of a state by name, or the first of a type. ``states``: those of the issue's team."""
    word = wanted.strip()
    if word.lower() in STATE_TYPES and not any(str(row.get("name")).casefold() == word.casefold() for row in states):
        found = sorted(
            (row for row in states if row.get("type") == word.lower()), key=lambda row: row.get("position", 0)
        )
        if found:
            return str(found[0]["id"])
    return str(chosen(states, word, "state")["id"])


def cycle(team_id: str, wanted: str) -> Asks[Json]:
    """A cycle of a team by number, ``active``, ``next``, ``previous`` or id."""
    word = wanted.strip().lower()
    words = {"active": "isActive", "next": "isNext", "previous": "isPrevious"}
    if word in words:
        narrow: Json = {words[word]: {"eq": True}}
    elif word.isdecimal() and len(word) < 8:
        narrow = {"number": {"eq": int(word)}}
    elif is_id(word):
        narrow = {"id": {"eq": word}}
    else:
        raise InvalidInput("cycle: a number, active, next, previous or an id.")
    rows = yield from nodes("LookupCycles", first=2, filter={"team": {"id": {"eq": team_id}}, **narrow})
    if not rows:
        raise NotFound(
            f"cycle: the team has none that is {word}." if word in words else "cycle: the team has no such one.",
            hint="linear_lookup(kind=cycles, team=...) lists them.",
        )
    return rows[0]


def label_ids(wanted: Iterable[str], field: str, teams: Collection[Any]) -> Asks[list[str]]:
    """The ids of issue labels by name or ``group/name``. A group is no label.

    ``teams``: keys of those whose issues bear them. Where several labels are called so, theirs or the workspace's.
    """
    names = list(wanted)
    if not names:
        return []
    last = [one.rpartition("/")[2].strip() if "/" in one else one.strip() for one in names]
    narrow = [{"name": {"eqIgnoreCase": one}} for one in dict.fromkeys([*names, *last])]
    narrow += [{"id": {"eq": one}} for one in names if is_id(one)]
    rows = yield from nodes("LookupIssueLabels", first=_MANY, filter={"or": narrow})
    usable = [_pathed(row) for row in rows if not row.get("isGroup") and not row.get("retiredAt")]
    found = []
    for one in names:
        try:
            found.append(str(chosen(_own(usable, one, teams), one, field, ("name", "path"))["id"]))
        except InvalidInput as refused:
            if any(one.casefold() == str(row["name"]).casefold() for row in usable):
                raise
            near = yield from nodes("LookupIssueLabels", first=_MANY)
            raise missing([row for row in near if not row.get("isGroup")], one, field) from refused
    return found


def _own(rows: Sequence[Json], wanted: str, teams: Collection[Any]) -> Sequence[Json]:
    """Of labels that are called alike, those of these teams and of the workspace; of all teams' only the latter."""
    word = wanted.strip().casefold()
    alike = [row for row in rows if word in (str(row["name"]).casefold(), str(row.get("path", "")).casefold())]
    if len(alike) < 2:
        return rows
    keys = {None, *teams} if len(teams) == 1 else {None}
    return [row for row in rows if row not in alike or (row.get("team") or {}).get("key") in keys]


def _pathed(row: Json) -> Json:
    parent = (row.get("parent") or {}).get("name")
    return row | ({"path": f"{parent}/{row['name']}"} if parent else {})


# ----------------------------------------------------------------- people


def user_id(wanted: str, account: Account, field: str) -> Asks[str]:
    """The id of a person by id, address, name or ``me``."""
    if wanted.strip().lower() in ("me", "@me"):
        return me(account)
    found = yield from _one("LookupUsers", wanted.lstrip("@"), field, ("email", "displayName", "name"))
    return str(found["id"])


def person(wanted: str) -> Json:
    """A filter on a person, for lists: ``me``, ``none``, or part of a name."""
    word = wanted.strip()
    if word.lower() in ("me", "@me"):
        return {"isMe": {"eq": True}}
    if word.lower() == "none":
        return {"null": True}
    if is_id(word):
        return {"id": {"eq": word}}
    if "@" in word:
        return {"email": {"eqIgnoreCase": word}}
    return {"or": [{"displayName": {"containsIgnoreCase": word}}, {"name": {"containsIgnoreCase": word}}]}


# ----------------------------------------------------------------- things with addresses


def addressed(wanted: str, kind: str) -> tuple[str, str]:
    """The id, key or slug in what was word, and the workspace if it was an address; "" where it is a name."""
    word = wanted.strip()
    match = _ADDRESS.fullmatch(word)
    if match is None:
        return (word if is_id(word) else word.upper() if _KEY.fullmatch(word) else ""), ""
    if match[2] != kind:
        raise InvalidInput(f"{kind}: this is the address of a {match[2]}.")
    if kind == "issue":
        return match[3].upper() if _KEY.fullmatch(match[3]) else match[3], match[1]
    slug = _SLUG.fullmatch(match[3])
    return (slug[1] if slug else match[3]), match[1]


def here(found: Json, workspace: str, field: str) -> Json:
    """The thing that was found, if the address was one of this workspace."""
    if workspace and workspace_of(found.get("url")) != workspace:
        raise InvalidInput(f"{field}: an address in another workspace.", hint="Use one of the connected workspace.")
    return found


def issue(wanted: str, field: str = "issue") -> Asks[Json]:
    """An issue by key, address or id: its ids, team and labels."""
    key, workspace = addressed(wanted, "issue")
    if not key:
        raise InvalidInput(f"{field}: no issue's key, address or id.", hint="Such as ENG-123.")
    return here((yield from get("IssueId", id=key)), workspace, field)


def issues(wanted: Sequence[str]) -> Asks[list[Json]]:
    """Several issues, in one request, in the order they were named."""
    if len(wanted) == 1:
        return [(yield from issue(wanted[0], "issues"))]
    keys = []
    for one in wanted:
        key, workspace = addressed(one, "issue")
        if not key or workspace:
            found = yield from issue(one, "issues")
            key = str(found["identifier"])
        keys.append(key)
    narrow: list[Json] = [
        {"id": {"eq": key}}
        if is_id(key)
        else {"team": {"key": {"eqIgnoreCase": key.rpartition("-")[0]}}, "number": {"eq": int(key.rpartition("-")[2])}}
        for key in keys
    ]
    rows = yield from nodes("IssueIds", first=len(keys), filter={"or": narrow})
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
    """A project by id, address or name."""
    return _thing("project", wanted, field, "Projects", ("name", "slugId"))


def initiative(wanted: str, field: str = "initiative") -> Asks[Json]:
    """An initiative by id, address or name."""
    return _thing("initiative", wanted, field, "Initiatives", ("name", "slugId"))


def _thing(kind: str, wanted: str, field: str, operation: str, keys: Sequence[str]) -> Asks[Json]:
    id, workspace = addressed(wanted, kind)
    found = yield from _one(operation, id or wanted, field, keys, **({"includeArchived": True} if id else {}))
    return here(found, workspace, field)


def customer(wanted: str) -> Asks[Json]:
    """A customer by id or name."""
    return _one("LookupCustomers", wanted, "customer", ("name",))


def document(wanted: str) -> Asks[Json]:
    """A document by id, slug or address, with its text."""
    id, workspace = addressed(wanted, "document")
    return here((yield from get("Document", id=id or wanted.strip())), workspace, "document")


def milestone(project_id: str, wanted: str) -> Asks[Json]:
    """A milestone of a project by id or name."""
    rows = yield from nodes("ProjectMilestones", first=250, filter={"project": {"id": {"eq": project_id}}})
    return chosen(rows, wanted, "milestone")


# ----------------------------------------------------------------- values


def priority(word: str | None) -> int | None:
    """The number Linear has for a priority."""
    return None if word is None else PRIORITIES.index(word)


def day(text: str | None, field: str) -> str | None:
    """A date without a time. Raises `InvalidInput` for anything else."""
    if text is None:
        return None
    try:
        return date.fromisoformat(text.strip()).isoformat()
    except ValueError:
        raise InvalidInput(f"{field}: not a date.", hint="Use YYYY-MM-DD.") from None


def since(text: str, now: float, field: str) -> str:
    """A point in time as a filter takes it."""
    return times.moment(text, now, field).isoformat().replace("+00:00", "Z")


def given(values: Mapping[str, Any]) -> Json:
    """What was word; what was not is left alone."""
    return {key: value for key, value in values.items() if value is not None}
