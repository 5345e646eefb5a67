"""api.github.com: who am I, where is the app installed, and issues.

What a token cannot see is 404. Every answer tells the scopes that are held and those that would do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from deputize.sandbox.github import tokens
from deputize.sandbox.github.people import user
from deputize.sandbox.github.scopes import closed, normal
from deputize.sandbox.github.seed import login, stamp
from deputize.sandbox.oauth import Token
from deputize.sandbox.people import Person
from deputize.sandbox.wire import Ask, Refused, Reply, in_json
from deputize.sandbox.world import World

HOST = "api.github.com"
Json = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """One request, and who sends it with which token."""

    ask: Ask
    world: World
    person: Person
    token: Token
    permissions: tuple[str, ...]

    @property
    def store(self) -> Json:
        """What GitHub keeps."""
        return self.world.services["github"]

    def reply(
        self, content: Any, status: int = 200, accepted: Iterable[str] = (), more: Iterable[tuple[str, str]] = ()
    ) -> Reply:
        """An answer with the headers that every answer has."""
        now = int(self.world.clock())
        limits = [("x-ratelimit-limit", "5000"), ("x-ratelimit-remaining", "4987")]
        limits += [("x-ratelimit-reset", str(now + 1800)), ("x-ratelimit-resource", "core")]
        return in_json(content, status, [*self._rights(accepted), *limits, *more])

    def missing(self, accepted: Iterable[str] = ()) -> Refused:
        """404, with what would have been accepted."""
        return Refused(self.reply({"message": "Not Found", "status": "404"}, 404, accepted))

    def _rights(self, accepted: Iterable[str]) -> list[tuple[str, str]]:
        if self.permissions:
            return [("x-accepted-github-permissions", "issues=write" if self.ask.method == "POST" else "issues=read")]
        return [
            ("x-oauth-scopes", ", ".join(normal(self.token.scopes))),
            ("x-accepted-oauth-scopes", ", ".join(accepted)),
        ]


def answer(ask: Ask, world: World) -> Reply:
    """The app's own endpoints take Basic, all others a user's token."""
    if own := re.fullmatch(r"/applications/([^/]+)/(token|grant)", ask.path):
        return tokens.of_app(ask, world, own[1], own[2])
    call = _call(ask, world)
    if ask.path == "/user" and ask.method == "GET":
        return call.reply(_me(call))
    if ask.path == "/user/installations" and ask.method == "GET":
        return _installations(call)
    if ask.path == "/user/repos" and ask.method == "GET":
        rows = [_repository(row) for row in call.store["repos"].values() if _sees(call, row)]
        return _page(call, rows, ("repo", "public_repo"))
    if found := re.fullmatch(r"/repos/([\w.-]+)/([\w.-]+)/issues(?:/(\d+))?", ask.path):
        return _issues(call, f"{found[1]}/{found[2]}", found[3])
    raise call.missing()


def _call(ask: Ask, world: World) -> Call:
    if "authorization" not in ask.headers:
        raise Refused(in_json({"message": "Requires authentication", "status": "401"}, 401))
    token = world.access(ask.bearer(), "github")
    person = world.person(world.address_of(token.sub)) if token else None
    if token is None or person is None:
        raise Refused(in_json({"message": "Bad credentials", "status": "401"}, 401))
    app = world.app(token.app, "github")
    return Call(ask, world, person, token, app.permissions if app else ())


def _me(call: Call) -> Json:
    mine = [row for row in call.store["repos"].values() if row["full_name"].startswith(f"{login(call.person.email)}/")]
    shown = call.permissions or {"user", "user:email", "read:user"} & set(call.token.scopes)
    return user(call.person) | {
        "name": call.person.name,
        "email": call.person.email if shown else None,
        "public_repos": sum(not row["private"] for row in mine),
        "created_at": "2020-01-01T00:00:00Z",
        "updated_at": stamp(call.world.clock()),
    }


def _installations(call: Call) -> Reply:
    """Where the app is installed for this user, and what it may do there."""
    if not call.permissions:
        message = "You must authenticate with an access token authorized to a GitHub App in order to list installations"
        return call.reply({"message": message, "status": "403"}, 403)
    owners = sorted({name.partition("/")[0] for name in call.store["installed"] if _sees_name(call, name)})
    rights = dict(permission.split(":") for permission in call.permissions)
    rows = [
        {"id": 7000 + number, "account": {"login": owner}, "target_type": "User", "permissions": rights}
        for number, owner in enumerate(owners)
    ]
    return call.reply({"total_count": len(rows), "installations": rows})


def _sees_name(call: Call, name: str) -> bool:
    return login(call.person.email) in call.store["repos"][name]["members"]


def _sees(call: Call, repo: Json) -> bool:
    """Public ones everybody; private ones members with the scope, or the app where it is installed."""
    if not repo["private"]:
        return True
    member = login(call.person.email) in repo["members"]
    if call.permissions:
        return member and repo["full_name"] in call.store["installed"]
    return member and "repo" in call.token.scopes


def _repository(row: Json) -> Json:
    owner, _, name = row["full_name"].partition("/")
    return {
        "id": row["id"],
        "name": name,
        "full_name": row["full_name"],
        "private": row["private"],
        "archived": row["archived"],
        "owner": {"login": owner},
        "html_url": f"https://github.com/{row['full_name']}",
        "url": f"https://{HOST}/repos/{row['full_name']}",
    }


def _issues(call: Call, name: str, number: str | None) -> Reply:
    repo = call.store["repos"].get(name)
    if repo is None or not _sees(call, repo):
        raise call.missing(("repo",))
    rows: list[Json] = call.store["issues"][name]
    if call.ask.method == "POST" and number is None:
        return _create(call, repo, rows)
    if call.ask.method != "GET":
        raise call.missing()
    if number is None:
        state, by = call.ask.one("state", "open"), call.ask.one("creator")
        found = [row for row in reversed(rows) if state in ("all", row["state"]) and by in ("", login(row["user"]))]
        since = call.ask.one("since")
        found = [row for row in found if row["updated_at"] >= since]
        return _page(call, [_issue(call, name, row) for row in found], ("repo",))
    one = next((row for row in rows if row["number"] == int(number)), None)
    if one is None:
        raise call.missing(("repo",))
    return call.reply(_issue(call, name, one), accepted=("repo",))


def _create(call: Call, repo: Json, rows: list[Json]) -> Reply:
    """201 with the issue; the right to write is looked at before what is written."""
    accepted = ("public_repo", "repo") if not repo["private"] else ("repo",)
    if call.permissions and repo["full_name"] not in call.store["installed"]:
        raise Refused(call.reply({"message": "Resource not accessible by integration", "status": "403"}, 403))
    if not call.permissions and not closed(call.token.scopes) & set(accepted):
        raise call.missing(accepted)
    if repo["archived"]:
        raise Refused(call.reply({"message": "Repository was archived so is read-only.", "status": "403"}, 403))
    given = call.ask.content()
    if not isinstance(given.get("title"), str) or not given["title"].strip():
        error = {"resource": "Issue", "field": "title", "code": "missing_field"}
        raise Refused(call.reply({"message": "Validation Failed", "errors": [error], "status": "422"}, 422))
    at = stamp(call.world.clock())
    issue: Json = {"number": len(rows) + 1, "user": call.person.email, "title": given["title"]}
    issue |= {"body": given.get("body"), "state": "open", "labels": list(given.get("labels", ()))}
    issue |= {"assignees": list(given.get("assignees", ())), "created_at": at, "updated_at": at, "closed_at": None}
    rows.append(issue)
    made = _issue(call, repo["full_name"], issue)
    return call.reply(made, 201, accepted, [("location", made["url"])])


def _issue(call: Call, repo: str, row: Json) -> Json:
    person = call.world.person(row["user"])
    where = f"{repo}/issues/{row['number']}"
    return {
        "id": call.store["repos"][repo]["id"] * 1000 + row["number"],
        "node_id": f"I_{repo}_{row['number']}",
        "url": f"https://{HOST}/repos/{where}",
        "repository_url": f"https://{HOST}/repos/{repo}",
        "labels_url": f"https://{HOST}/repos/{where}/labels{{/name}}",
        "comments_url": f"https://{HOST}/repos/{where}/comments",
        "events_url": f"https://{HOST}/repos/{where}/events",
        "timeline_url": f"https://{HOST}/repos/{where}/timeline",
        "html_url": f"https://github.com/{where}",
        "number": row["number"],
        "state": row["state"],
        "state_reason": "completed" if row["state"] == "closed" else None,
        "title": row["title"],
        "body": row["body"],
        "user": user(person) if person else None,
        "labels": [{"id": 1, "name": name, "color": "ededed", "default": False} for name in row["labels"]],
        "assignee": None,
        "assignees": [{"login": name} for name in row["assignees"]],
        "milestone": None,
        "locked": False,
        "active_lock_reason": None,
        "author_association": "OWNER" if person and repo.startswith(f"{login(person.email)}/") else "COLLABORATOR",
        "closed_by": None,
        "performed_via_github_app": None,
        "comments": 0,
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
        "closed_at": row["closed_at"],
    }


def _page(call: Call, rows: list[Json], accepted: tuple[str, ...]) -> Reply:
    size = max(1, min(_number(call.ask.one("per_page"), 30), 100))
    page = max(1, _number(call.ask.one("page"), 1))
    more: list[tuple[str, str]] = []
    if page * size < len(rows):
        query = {name: values[0] for name, values in call.ask.query.items()} | {"page": str(page + 1)}
        more = [("link", f'<https://{HOST}{call.ask.path}?{urlencode(query)}>; rel="next"')]
    return call.reply(rows[(page - 1) * size : page * size], accepted=accepted, more=more)


def _number(text: str, usual: int) -> int:
    return int(text) if text.isdecimal() else usual
