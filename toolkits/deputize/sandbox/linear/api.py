"""api.linear.app/graphql: viewer, organization, teams, issues, and their making.

Objects are plain JSON; a document takes out of them what it names, and a name they do not have is an error, as it is
with a schema.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from deputize.sandbox.linear.graphql import Field, Unreadable, read
from deputize.sandbox.linear.seed import ORGANIZATION_KEY, stable_id, stamp, user_id
from deputize.sandbox.linear.tokens import IMPLIES
from deputize.sandbox.oauth import Token
from deputize.sandbox.people import BOB, Person
from deputize.sandbox.wire import Ask, Refused, Reply, in_json
from deputize.sandbox.world import World

Json = dict[str, Any]
INPUT = {"id", "teamId", "title", "description", "priority", "stateId", "assigneeId"}


@dataclass(frozen=True)
class Call:
    """One operation, and who sends it with which token."""

    world: World
    person: Person
    token: Token

    @property
    def store(self) -> Json:
        """What the workspace keeps."""
        return self.world.services["linear"]

    def needs(self, *accepted: str) -> None:
        """FORBIDDEN unless one of these was granted."""
        held = set(self.token.scopes).union(*(IMPLIES.get(scope, set()) for scope in self.token.scopes))
        if not held & set(accepted):
            raise failed(403, f"Invalid scope: `{accepted[0]}` required", "forbidden", "FORBIDDEN")


def failed(status: int, message: str, kind: str, code: str, shown: str = "") -> Refused:
    """An answer with ``errors``."""
    told: Json = {"type": kind, "code": code, "statusCode": status if status >= 400 else 400, "userError": True}
    if shown:
        told["userPresentableMessage"] = shown
    nothing: Json = {} if status in (400, 401) else {"data": None}
    errors = [{"message": message, "extensions": told}]
    return Refused(in_json({"errors": errors} | nothing, status, changes=False))


def answer(ask: Ask, world: World) -> Reply:
    """POST /graphql with ``query`` and ``variables``."""
    if ask.method != "POST" or ask.path != "/graphql":
        raise failed(404, "Not found", "other", "NOT_FOUND")
    call, content = _call(ask, world), ask.content()
    try:
        kind, fields = read(str(content.get("query") or ""), content.get("variables") or {})
    except Unreadable as unreadable:
        raise failed(400, str(unreadable), "graphql error", "GRAPHQL_PARSE_FAILED") from None
    roots = MUTATIONS if kind == "mutation" else QUERIES
    for one in fields:
        if one.name not in roots and one.name != "__typename":
            raise unknown(one.name, kind.capitalize())
    data = {one.alias: roots[one.name](call, one) for one in fields if one.name in roots}
    return in_json({"data": data}, headers=_limits(world), changes=kind == "mutation")


def _call(ask: Ask, world: World) -> Call:
    token = world.access(ask.bearer(), "linear")
    person = world.person(world.address_of(token.sub)) if token else None
    if token is None or person is None:
        raise failed(401, "Authentication required, not authenticated", "authentication error", "AUTHENTICATION_ERROR")
    return Call(world, person, token)


def _limits(world: World) -> list[tuple[str, str]]:
    reset = str(int((world.clock() + 3600) * 1000))
    return [
        ("x-ratelimit-requests-limit", "5000"),
        ("x-ratelimit-requests-remaining", "4990"),
        ("x-ratelimit-requests-reset", reset),
        ("x-complexity", "10"),
    ]


def unknown(name: str, kind: str) -> Refused:
    """The schema has no such field."""
    return failed(400, f'Cannot query field "{name}" on type "{kind}".', "graphql error", "GRAPHQL_VALIDATION_FAILED")


def taken(value: Any, one: Field) -> Any:
    """What a field's selection takes out of an object; through lists, and null stays null."""
    if value is None or not isinstance(value, dict | list):
        return value
    if isinstance(value, list):
        return [taken(item, one) for item in value]
    found: Json = {}
    for wanted in one.fields:
        if wanted.name != "__typename" and wanted.name not in value:
            raise unknown(wanted.name, value.get("__typename", one.name))
        found[wanted.alias] = taken(value.get(wanted.name), wanted)
    return found


def viewer(call: Call, one: Field) -> Any:
    """The person behind the token."""
    call.needs("read")
    return taken(_user(call, call.person.email), one)


def organization(call: Call, one: Field) -> Any:
    """The workspace that the token is good for."""
    call.needs("read")
    return taken({"id": stable_id("organization"), "name": "Acme", "urlKey": ORGANIZATION_KEY}, one)


def teams(call: Call, one: Field) -> Any:
    """The teams the person can see."""
    call.needs("read")
    return taken(_connection([_team(team) for team in _visible(call)], one), one)


def issues(call: Call, one: Field) -> Any:
    """The newest first; of ``filter``, equality of team key, state name and assignee's address."""
    call.needs("read")
    rows = [_issue(call, row) for row in reversed(call.store["issues"]) if _seen(call, row)]
    rows = [row for row in rows if _matches(row, one.arguments.get("filter") or {})]
    return taken(_connection(rows, one), one)


def issue(call: Call, one: Field) -> Any:
    """By id or identifier."""
    call.needs("read")
    wanted = str(one.arguments.get("id", ""))
    for row in call.store["issues"]:
        shown = _issue(call, row)
        if _seen(call, row) and wanted in (row["id"], shown["identifier"]):
            return taken(shown, one)
    raise failed(200, "Entity not found: Issue", "invalid input", "INPUT_ERROR", "Could not find referenced Issue.")


def issue_create(call: Call, one: Field) -> Any:
    """``issues:create`` suffices. An id that is there already is refused, whatever else the input says."""
    call.needs("issues:create")
    given: Json = one.arguments.get("input") or {}
    if wrong := set(given) - INPUT:
        message = f'Field "{sorted(wrong)[0]}" is not defined by type "IssueCreateInput".'
        raise failed(400, message, "graphql error", "GRAPHQL_VALIDATION_FAILED")
    team = next((team for team in _visible(call) if team["id"] == given.get("teamId")), None)
    if team is None or not str(given.get("title") or "").strip():
        raise failed(400, "Argument Validation Error", "invalid input", "INVALID_INPUT")
    row = _new(call, given, team)
    call.store["issues"].append(row)
    return taken({"success": True, "issue": _issue(call, row), "lastSyncId": 1.0}, one)


def _new(call: Call, given: Json, team: Json) -> Json:
    id = str(given.get("id") or uuid.uuid4())
    if any(row["id"] == id for row in call.store["issues"]):
        shown = f"Entity Issue with id {id} already exists."
        raise failed(200, "conflict on insert of Issue", "invalid input", "INPUT_ERROR", shown)
    at = stamp(call.world.clock())
    people = {user_id(person.email): person.email for person in call.world.people}
    states = {state["id"] for state in team["states"]}
    return {
        "id": id,
        "number": max((row["number"] for row in call.store["issues"] if row["team"] == team["id"]), default=0) + 1,
        "team": team["id"],
        "state": given["stateId"] if given.get("stateId") in states else team["states"][0]["id"],
        "title": given["title"],
        "description": given.get("description"),
        "priority": given.get("priority", 0),
        "creator": call.person.email,
        "assignee": people.get(str(given.get("assigneeId"))),
        "createdAt": at,
        "updatedAt": at,
    }


def _visible(call: Call) -> list[Json]:
    """A private team is its owner's alone."""
    return [team for team in call.store["teams"] if not team["private"] or call.person.email == BOB.email]


def _seen(call: Call, row: Json) -> bool:
    return any(team["id"] == row["team"] for team in _visible(call))


def _team(team: Json) -> Json:
    return {name: team[name] for name in ("id", "key", "name", "private")} | {"states": {"nodes": team["states"]}}


def _user(call: Call, email: str | None) -> Json | None:
    person = call.world.person(email or "")
    if person is None:
        return None
    names = {"name": person.name, "displayName": person.email.partition("@")[0], "email": person.email}
    return {"id": user_id(person.email)} | names | {"active": True, "admin": False}


def _issue(call: Call, row: Json) -> Json:
    team = next(team for team in call.store["teams"] if team["id"] == row["team"])
    identifier = f"{team['key']}-{row['number']}"
    plain = ("id", "number", "title", "description", "priority", "createdAt", "updatedAt")
    return {name: row[name] for name in plain} | {
        "identifier": identifier,
        "url": f"https://linear.app/{ORGANIZATION_KEY}/issue/{identifier}",
        "team": _team(team),
        "state": next(state for state in team["states"] if state["id"] == row["state"]),
        "creator": _user(call, row["creator"]),
        "assignee": _user(call, row["assignee"]),
        "labels": {"nodes": []},
    }


def _matches(value: Any, wanted: Json) -> bool:
    """Only ``eq`` is known; every other comparison is an error rather than a wrong answer."""
    for name, condition in wanted.items():
        if name == "eq":
            return bool(value == condition)
        if not isinstance(value, dict) or name not in value or not isinstance(condition, dict):
            raise failed(400, f'Field "{name}" is not defined by this filter.', "graphql error", "BAD_USER_INPUT")
        if not _matches(value[name], condition):
            return False
    return True


def _connection(rows: list[Json], one: Field) -> Json:
    """Relay's paging: a cursor is the id of the row before."""
    first, after = int(one.arguments.get("first") or 50), one.arguments.get("after")
    start = next((number + 1 for number, row in enumerate(rows) if row["id"] == after), 0) if after else 0
    page = rows[start : start + first]
    ends: Json = {"hasNextPage": start + first < len(rows), "hasPreviousPage": start > 0}
    ends |= {"startCursor": page[0]["id"] if page else None, "endCursor": page[-1]["id"] if page else None}
    return {"nodes": page, "pageInfo": ends}


QUERIES: dict[str, Callable[[Call, Field], Any]] = {
    "viewer": viewer,
    "organization": organization,
    "teams": teams,
    "issues": issues,
    "issue": issue,
}
MUTATIONS: dict[str, Callable[[Call, Field], Any]] = {"issueCreate": issue_create}
