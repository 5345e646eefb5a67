"""Releases: drafts and published ones, and their tags."""

from __future__ import annotations

from deputize.sandbox.github import git
from deputize.sandbox.github.call import Call, Json
from deputize.sandbox.github.routes import route
from deputize.sandbox.http_types import Reply


@route("GET", "R/releases", "contents:read")
def releases(call: Call, repo: Json) -> Reply:
    """Return releases, newest first; drafts only with push access."""
    rows = [row for row in reversed(call.records("releases", repo)) if not row["draft"] or call.pushes(repo)]
    return call.page([_release(call, repo, row) for row in rows])


def _release(call: Call, repo: Json, row: Json) -> Json:
    home = f"https://github.com/{repo['full_name']}/releases"
    assets = [
        {**one, "browser_download_url": f"{home}/download/{row['tag']}/{one['name']}", "state": "uploaded"}
        for one in row["assets"]
    ]
    return {
        "id": row["id"],
        "tag_name": row["tag"],
        "target_commitish": row["target"],
        "name": row["name"],
        "body": row["body"],
        "draft": row["draft"],
        "prerelease": row["prerelease"],
        "created_at": row["at"],
        "published_at": None if row["draft"] else row["at"],
        "author": call.user(row["author"]),
        "assets": assets,
        "html_url": f"{home}/tag/{row['tag']}",
    }


def _published_releases(call: Call, repo: Json) -> list[Json]:
    return [row for row in call.records("releases", repo) if not row["draft"]]


@route("GET", "R/releases/latest", "contents:read")
def latest(call: Call, repo: Json) -> Reply:
    """Return the newest release that is published and not a prerelease."""
    rows = [row for row in _published_releases(call, repo) if not row["prerelease"]]
    if not rows:
        raise call.not_found()
    return call.reply(_release(call, repo, rows[-1]))


@route("GET", "R/releases/tags/{tag+}", "contents:read")
def release_by_tag(call: Call, repo: Json, tag: str) -> Reply:
    row = next((one for one in _published_releases(call, repo) if one["tag"] == tag), None)
    if row is None:
        raise call.not_found()
    return call.reply(_release(call, repo, row))


@route("GET", "R/releases/{release_id}", "contents:read")
def release(call: Call, repo: Json, release_id: str) -> Reply:
    """Return a release; a draft only with push access."""
    row = next((one for one in call.records("releases", repo) if str(one["id"]) == release_id), None)
    if row is None or (row["draft"] and not call.pushes(repo)):
        raise call.not_found()
    return call.reply(_release(call, repo, row))


@route("POST", "R/releases", "contents:write", push=True)
def create(call: Call, repo: Json) -> Reply:
    """Return 201. Raise 422 for a tag that has a published release."""
    given = call.body()
    if any(row["tag"] == given.get("tag_name") for row in _published_releases(call, repo)):
        raise call.invalid("Release", "tag_name", "already_exists")
    history = call.store["commits"][repo["full_name"]]
    target = given.get("target_commitish") or repo["default_branch"]
    sha = git.resolve(repo, history, str(target))
    if sha is None:
        raise call.invalid("Release", "target_commitish")
    row = {
        "id": call.next_id(),
        "tag": given["tag_name"],
        "assets": [],
        "author": call.me,
        "at": call.now,
        "name": None,
    }
    row |= {"body": "## What's Changed" if given.get("generate_release_notes") else None, "target": target}
    row |= {"draft": False, "prerelease": False}
    _fill(repo, row, given, sha)
    call.records("releases", repo).append(row)
    return call.reply(_release(call, repo, row), 201)


def _fill(repo: Json, row: Json, given: Json, sha: str | None) -> None:
    for field, name in (("name", "name"), ("body", "body"), ("draft", "draft"), ("prerelease", "prerelease")):
        if given.get(field) is not None:
            row[name] = given[field]
    if not row["draft"] and sha:
        repo["tags"].setdefault(row["tag"], sha)


@route("PATCH", "R/releases/{release_id}", "contents:write", push=True)
def change(call: Call, repo: Json, release_id: str) -> Reply:
    row = next((one for one in call.records("releases", repo) if str(one["id"]) == release_id), None)
    if row is None:
        raise call.not_found()
    _fill(repo, row, call.body(), git.resolve(repo, call.store["commits"][repo["full_name"]], row["target"]))
    return call.reply(_release(call, repo, row))


@route("DELETE", "R/releases/{release_id}", "contents:write", push=True)
def delete(call: Call, repo: Json, release_id: str) -> Reply:
    """Delete the release; its tag stays."""
    rows = call.records("releases", repo)
    row = next((one for one in rows if str(one["id"]) == release_id), None)
    if row is None:
        raise call.not_found()
    rows.remove(row)
    return call.empty_reply()
