"""Organizations with their members and teams, and user profiles."""

from __future__ import annotations

from deputize.sandbox.github.call import Call, Json
from deputize.sandbox.github.routes import route
from deputize.sandbox.github.shapes import repository
from deputize.sandbox.http_types import Reply

_ORG = ("read:org",)


def team(call: Call, slug: str, org: str) -> Json:
    """Return a team in GitHub's format."""
    return {"id": 100, "slug": slug, "name": slug.title(), "permission": "push", "organization": {"login": org}}


@route("GET", "/user/orgs", "members:read")
def my_orgs(call: Call) -> Reply:
    """Return the caller's organizations. 403 without the scope."""
    if not call.permissions and not call.covered_scopes & {"read:org", "user"}:
        message = "You need at least read:org scope or user scope to list your organizations."
        return call.refusal(403, message, accepted=("admin:org", "read:org", "repo", "user", "write:org"))
    rows = [(name, org) for name, org in call.store["orgs"].items() if call.me in org["members"]]
    return call.page([{"login": name, "id": org["id"], "description": None} for name, org in rows])


@route("GET", "/user/teams", "members:read", scopes=("read:org", "repo", "user"))
def my_teams(call: Call) -> Reply:
    """Return all teams of the caller's organizations."""
    orgs = [(name, org) for name, org in call.store["orgs"].items() if call.me in org["members"]]
    return call.page([team(call, slug, name) for name, org in orgs for slug in org["teams"]])


@route("GET", "/orgs/{org}/repos")
def org_repos(call: Call, org: str) -> Reply:
    """Return the organization's repositories that the caller can see."""
    if org not in call.store["orgs"]:
        raise call.not_found()
    rows = [row for row in call.store["repos"].values() if row["full_name"].startswith(f"{org}/") and call.sees(row)]
    return call.page([repository(row) for row in rows])


@route("GET", "/orgs/{org}/members", "members:read", scopes=_ORG)
def members(call: Call, org: str) -> Reply:
    if org not in call.store["orgs"]:
        raise call.not_found()
    return call.page([call.user(name) or {} for name in call.store["orgs"][org]["members"]])


@route("GET", "/orgs/{org}/teams", "members:read", scopes=_ORG)
def org_teams(call: Call, org: str) -> Reply:
    if org not in call.store["orgs"]:
        raise call.not_found()
    return call.page([team(call, slug, org) for slug in call.store["orgs"][org]["teams"]])


@route("GET", "/users/{username}")
def person(call: Call, username: str) -> Reply:
    find_person = call.find_person(username)
    if find_person is None:
        raise call.not_found()
    return call.reply({**(call.user(username) or {}), "name": find_person.name, "email": None})
