"""Search of issues, code, commits, repositories and users, as far as the tools use it."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Iterator
from typing import NamedTuple

from deputize.sandbox.github.api_code import format_commit
from deputize.sandbox.github.call import Call, Json
from deputize.sandbox.github.issues import format_issue
from deputize.sandbox.github.routes import route
from deputize.sandbox.github.seed import login
from deputize.sandbox.github.shapes import repository
from deputize.sandbox.http_types import Refused, Reply


class Query(NamedTuple):
    """A parsed query: free words, and qualifiers by name."""

    words: list[str]
    of: dict[str, list[str]]

    def fits(self, repo: Json) -> bool:
        """Return True if the query's repositories and owners include this repository."""
        name = repo["full_name"].lower()
        places = [one.lower() for one in self.of.get("repo", ())]
        owners = [one.lower() for kind in ("org", "user", "owner") for one in self.of.get(kind, ())]
        if not places and not owners:
            return True
        return name in places or name.partition("/")[0] in owners


def _query(call: Call) -> Query:
    text = call.ask.one("q")
    if not text.strip():
        raise call.invalid("Search", "q", "missing")
    try:
        parts = shlex.split(text.replace("'", " "))
    except ValueError:
        raise call.invalid("Search", "q") from None
    found = Query([], {})
    for part in parts:
        name, colon, value = part.partition(":")
        if colon and value and name.replace("-", "").isalpha():
            found.of.setdefault(name, []).append(value)
        else:
            found.words.append(part.lower())
    return found


def _visible_repos(call: Call, query: Query) -> Iterator[Json]:
    for repo in call.store["repos"].values():
        if call.sees(repo) and query.fits(repo):
            yield repo


def _me(call: Call, name: str) -> str:
    return call.me if name == "@me" else name


@route("GET", "/search/issues")
def issues(call: Call) -> Reply:
    """Search issues. Raise 422 if the query does not say whether issues or pull requests are meant."""
    query = _query(call)
    kinds = {one for name in ("is", "type") for one in query.of.get(name, ())} & {"issue", "pull-request", "pr"}
    if not kinds:
        message = "Query must include 'is:issue' or 'is:pull-request'"
        raise Refused(call.refusal(422, "Validation Failed", {"resource": "Search", "field": "q", "message": message}))
    rows = [
        (repo, row)
        for repo in _visible_repos(call, query)
        for row in call.store["issues"][repo["full_name"]]
        if bool(row["pull"]) == ("issue" not in kinds) and _matches(call, query, row)
    ]
    rows.sort(key=lambda one: str(one[1]["updated_at"]), reverse=True)
    return call.page([{**format_issue(call, repo, row), "score": 1.0} for repo, row in rows], "items")


def _matches(call: Call, query: Query, row: Json) -> bool:
    text = f"{row['title']} {row['body'] or ''}".lower()
    pull, of = row["pull"] or {}, query.of
    reviewers = [_me(call, one) for one in of.get("review-requested", ())]
    checks = [
        all(word in text for word in query.words),
        all(one == row["state"] for one in of.get("state", ())),
        all(one == row["state"] for one in of.get("is", ()) if one in ("open", "closed")),
        "merged" not in of.get("is", ()) or bool(pull.get("merged_at")),
        all(_me(call, one) == login(row["user"]) for one in of.get("author", ())),
        all(_me(call, one) in row["assignees"] for one in of.get("assignee", ())),
        "assignee" not in of.get("no", ()) or not row["assignees"],
        all(f"@{_me(call, one)}" in text for one in of.get("mentions", ())),
        all(one in row["labels"] for one in of.get("label", ())),
        all(one in pull.get("reviewers", ()) for one in reviewers),
        all(one == pull.get("base") for one in of.get("base", ())),
        all(one == pull.get("head") for one in of.get("head", ())),
        all((one == "true") == pull.get("draft") for one in of.get("draft", ())),
        all(row["updated_at"] >= one.removeprefix(">=") for one in of.get("updated", ())),
    ]
    return all(checks)


@route("GET", "/search/commits")
def commits(call: Call) -> Reply:
    """Search commits of default branches."""
    query = _query(call)
    rows = []
    for repo in _visible_repos(call, query):
        for sha, row in call.store["commits"][repo["full_name"]].items():
            since = [one.removeprefix(">=") for one in query.of.get("committer-date", ())]
            by = [_me(call, one) for one in query.of.get("author", ())]
            if all(one == row["author"] for one in by) and all(row["at"] >= one for one in since):
                rows.append({**format_commit(call, repo, sha), "repository": repository(repo), "score": 1.0})
    return call.page(rows, "items")


@route("GET", "/search/code")
def code(call: Call) -> Reply:
    """Search files of default branches that contain all words."""
    query = _query(call)
    rows = []
    for repo in _visible_repos(call, query):
        head = repo["branches"].get(repo["default_branch"])
        tree = call.store["commits"][repo["full_name"]][head]["tree"] if head else {}
        for path, content in tree.items():
            text = base64.b64decode(content).decode(errors="replace")
            there = all(word in text.lower() for word in query.words)
            if there and all(one in path for one in query.of.get("path", ())):
                rows.append(_hit(call, repo, path, text, query))
    return call.page(rows, "items")


def _hit(call: Call, repo: Json, path: str, text: str, query: Query) -> Json:
    line = next((one for one in text.splitlines() if query.words and query.words[0] in one.lower()), "")
    told: Json = {"name": path.rpartition("/")[2], "path": path, "sha": "0" * 40, "repository": repository(repo)}
    told |= {"html_url": f"https://github.com/{repo['full_name']}/blob/main/{path}", "score": 1.0}
    if "text-match" in call.ask.headers.get("accept", ""):
        told["text_matches"] = [{"object_type": "FileContent", "property": "content", "fragment": line, "matches": []}]
    return told


@route("GET", "/search/repositories")
def repositories(call: Call) -> Reply:
    """Search by name and description."""
    query = _query(call)
    rows = [
        repository(row)
        for row in _visible_repos(call, query)
        if all(word in f"{row['full_name']} {row['description']}".lower() for word in query.words)
    ]
    return call.page([row | {"score": 1.0} for row in rows], "items")


@route("GET", "/search/users")
def users(call: Call) -> Reply:
    """Search by login and name."""
    words = _query(call).words
    found = [one for one in call.world.people if all(word in f"{one.email} {one.name}".lower() for word in words)]
    return call.page([{**(call.user(login(one.email)) or {}), "score": 1.0} for one in found], "items")
