"""Commits, branches, tags, refs, comparisons and activity; checks and statuses of a commit."""

from __future__ import annotations

import re

from deputize.sandbox.github import git
from deputize.sandbox.github.call import HOST, Call, Json
from deputize.sandbox.github.routes import route
from deputize.sandbox.http_types import Refused, Reply


def load_history(call: Call, repo: Json) -> Json:
    history: Json = call.store["commits"][repo["full_name"]]
    return history


def format_commit(call: Call, repo: Json, sha: str, *, files: bool = False) -> Json:
    """Return a commit in GitHub's format."""
    row = load_history(call, repo)[sha]
    person = call.find_person(row["author"])
    by = {"name": person.name if person else row["author"], "email": person.email if person else "", "date": row["at"]}
    shown: Json = {
        "sha": sha,
        "node_id": f"C_{sha[:12]}",
        "url": f"https://{HOST}/repos/{repo['full_name']}/commits/{sha}",
        "html_url": f"https://github.com/{repo['full_name']}/commit/{sha}",
        "commit": {
            "message": row["message"],
            "author": by,
            "committer": by,
            "tree": {"sha": git.tree_sha(row["tree"])},
        },
        "author": call.user(row["author"]),
        "committer": call.user(row["author"]),
        "parents": [{"sha": one} for one in row["parents"]],
    }
    shown["commit"]["verification"] = {"verified": bool(row.get("signed")), "reason": "unsigned"}
    if files:
        before = load_history(call, repo)[row["parents"][0]]["tree"] if row["parents"] else {}
        changed = git.changes(before, row["tree"])
        shown |= {"files": changed, "stats": _stats(changed)}
    return shown


def _stats(files: list[Json]) -> Json:
    added, gone = (sum(one[kind] for one in files) for kind in ("additions", "deletions"))
    return {"additions": added, "deletions": gone, "total": added + gone}


def resolve_sha(call: Call, repo: Json, ref: str) -> str:
    """Return the sha of a ref. Raise 422 if there is none."""
    sha = git.resolve(repo, load_history(call, repo), ref)
    if sha is None:
        raise Refused(call.refusal(422, f"No commit found for SHA: {ref}"))
    return sha


@route("GET", "R/commits", "contents:read")
def commits(call: Call, repo: Json) -> Reply:
    """Return a branch's commits, filtered."""
    history = load_history(call, repo)
    start = git.resolve(repo, history, call.ask.one("sha"))
    if start is None:
        raise call.not_found()
    author, path = call.ask.one("author"), call.ask.one("path")
    since, until = call.ask.one("since"), call.ask.one("until", "9")
    rows = [
        sha
        for sha in git.ancestors(history, start)
        if author in ("", history[sha]["author"])
        and since <= history[sha]["at"] <= until
        and (not path or _touches(history, sha, path))
    ]
    return call.page([format_commit(call, repo, sha) for sha in rows])


def _touches(history: Json, sha: str, path: str) -> bool:
    row = history[sha]
    before = history[row["parents"][0]]["tree"] if row["parents"] else {}
    return any(
        one["filename"] == path or one["filename"].startswith(f"{path}/") for one in git.changes(before, row["tree"])
    )


@route("GET", "R/commits/{ref+}/check-runs", "checks:read")
def check_runs(call: Call, repo: Json, ref: str) -> Reply:
    sha = resolve_sha(call, repo, ref)
    rows = [one for one in call.records("checks", repo) if one["sha"] == sha]
    home = f"https://github.com/{repo['full_name']}/actions/runs"
    return call.page([_check(one, home) for one in rows], "check_runs")


@route("GET", "R/check-runs/{check_run_id}", "checks:read")
def check_run(call: Call, repo: Json, check_run_id: str) -> Reply:
    row = next((one for one in call.records("checks", repo) if str(one["id"]) == check_run_id), None)
    if row is None:
        raise call.not_found()
    return call.reply(_check(row, f"https://github.com/{repo['full_name']}/actions/runs"))


def _check(one: Json, home: str) -> Json:
    """Return a check in GitHub's format."""
    said = {"title": None, "summary": None, "text": None} | one.get("output", {})
    return {
        "id": one["id"],
        "name": one["name"],
        "head_sha": one["sha"],
        "status": "completed" if one["conclusion"] else "in_progress",
        "conclusion": one["conclusion"],
        "html_url": f"{home}/{one['run']}/job/{one['job']}",
        "output": said | {"annotations_count": len(one["annotations"])},
    }


@route("GET", "R/commits/{ref+}/status", "statuses:read")
def status(call: Call, repo: Json, ref: str) -> Reply:
    """Return the commit statuses, the API older than checks."""
    sha = resolve_sha(call, repo, ref)
    records = [one for one in call.records("statuses", repo) if one["sha"] == sha]
    rows = [{"id": id, **one} for id, one in enumerate(records, 1)]
    states = {str(one["state"]) for one in rows}
    state = "failure" if states & {"failure", "error"} else "success" if states == {"success"} else "pending"
    return call.page(rows, "statuses", extra={"state": state, "sha": sha})


@route("GET", "R/check-runs/{check_run_id}/annotations", "checks:read")
def check_annotations(call: Call, repo: Json, check_run_id: str) -> Reply:
    """Return a check's annotations of lines."""
    row = next((one for one in call.records("checks", repo) if str(one["id"]) == check_run_id), None)
    if row is None:
        raise call.not_found()
    return call.page([{"annotation_level": "failure", **one} for one in row["annotations"]])


@route("GET", "R/commits/{ref+}", "contents:read")
def commit(call: Call, repo: Json, ref: str) -> Reply:
    return call.reply(format_commit(call, repo, resolve_sha(call, repo, ref), files=True))


@route("GET", "R/compare/{basehead+}", "contents:read")
def compare(call: Call, repo: Json, basehead: str) -> Reply:
    """Return head's commits that base lacks: the first 250, or a page; files with the first page."""
    base, dots, head = basehead.partition("...")
    history = load_history(call, repo)
    ends = [git.resolve(repo, history, one.rpartition(":")[2]) for one in (base, head)]
    if not dots or None in ends:
        raise call.not_found()
    one, other = str(ends[0]), str(ends[1])
    root = git.merge_base(history, one, other)
    ahead = [sha for sha in git.ancestors(history, other) if sha not in set(git.ancestors(history, one))]
    behind = [sha for sha in git.ancestors(history, one) if sha not in set(git.ancestors(history, other))]
    state = "diverged" if ahead and behind else "ahead" if ahead else "behind" if behind else "identical"
    page, size = int(call.ask.one("page", "1")), int(call.ask.one("per_page", "250"))
    compared = {
        "status": state,
        "ahead_by": len(ahead),
        "behind_by": len(behind),
        "total_commits": len(ahead),
        "merge_base_commit": format_commit(call, repo, root),
        "commits": [format_commit(call, repo, sha) for sha in ahead[::-1][(page - 1) * size : page * size]],
        "files": git.changes(history[root]["tree"], history[other]["tree"]) if page == 1 else [],
    }
    return call.reply(compared)


# ----------------------------------------------------------------- refs


@route("GET", "R/branches", "contents:read")
def branches(call: Call, repo: Json) -> Reply:
    return call.page([_branch(repo, name) for name in sorted(repo["branches"])])


def _branch(repo: Json, name: str) -> Json:
    return {"name": name, "commit": {"sha": repo["branches"][name]}, "protected": name in repo["protected"]}


@route("GET", "R/branches/{branch+}", "contents:read")
def branch(call: Call, repo: Json, branch: str) -> Reply:
    if branch not in repo["branches"]:
        raise Refused(call.refusal(404, "Branch not found"))
    return call.reply(_branch(repo, branch) | {"commit": format_commit(call, repo, repo["branches"][branch])})


@route("GET", "R/tags", "contents:read")
def tags(call: Call, repo: Json) -> Reply:
    return call.page([{"name": name, "commit": {"sha": sha}} for name, sha in sorted(repo["tags"].items())])


def _kind(ref: str) -> tuple[str, str]:
    start, _, name = ref.partition("/")
    return {"heads": "branches", "tags": "tags"}.get(start, ""), name


@route("GET", "R/git/ref/{ref+}", "contents:read")
def ref(call: Call, repo: Json, ref: str) -> Reply:
    """Return one ref, written heads/name or tags/name."""
    kind, name = _kind(ref)
    if not kind or name not in repo[kind]:
        raise call.not_found()
    return call.reply(_ref(f"refs/{ref}", repo[kind][name]))


def _ref(ref: str, sha: str) -> Json:
    return {"ref": ref, "node_id": "REF_1", "object": {"type": "commit", "sha": sha}}


@route("POST", "R/git/refs", "contents:write", push=True)
def create_ref(call: Call, repo: Json) -> Reply:
    """Create a branch or tag. Raise 422 if it exists."""
    body = call.body()
    kind, name = _kind(str(body.get("ref", "")).removeprefix("refs/"))
    if not kind or body.get("sha") not in load_history(call, repo):
        raise Refused(call.refusal(422, "Object does not exist"))
    if name in repo[kind]:
        raise Refused(call.refusal(422, "Reference already exists"))
    repo[kind][name] = body["sha"]
    return call.reply(_ref(str(body["ref"]), body["sha"]), 201)


@route("DELETE", "R/git/refs/{ref+}", "contents:write", push=True)
def delete_ref(call: Call, repo: Json, ref: str) -> Reply:
    """Delete a ref. Raise 422 if it does not exist."""
    kind, name = _kind(ref)
    if not kind or name not in repo[kind]:
        raise Refused(call.refusal(422, "Reference does not exist"))
    if name in repo["protected"]:
        raise Refused(call.refusal(422, "Cannot delete protected branch"))
    del repo[kind][name]
    return call.empty_reply()


@route("GET", "R/activity", "contents:read")
def activity(call: Call, repo: Json) -> Reply:
    """Return pushes and other activity; paged by a cursor."""
    kind, actor, where = (call.ask.one(name) for name in ("activity_type", "actor", "ref"))
    rows = [
        row
        for row in reversed(call.records("activity", repo))
        if kind in ("", row["activity_type"])
        and actor in ("", row["actor"])
        and (not where or row["ref"] == "refs/heads/" + re.sub("^refs/heads/", "", where))
    ]
    if call.ask.one("direction") == "asc":
        rows.reverse()
    return call.page([row | {"actor": call.user(row["actor"])} for row in rows], by="after")
