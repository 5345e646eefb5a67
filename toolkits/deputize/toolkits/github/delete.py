"""GitHub: deleting a branch, tag, comment, label, milestone, release or gist, but never a repository."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Literal

from deputize.core import Effect, Need, Request, Steps, Undo
from deputize.core.errors import InvalidInput, NotFound
from deputize.core.tools.tool import Arguments
from deputize.toolkits.github import api, documents
from deputize.toolkits.github import name_lookup as names
from deputize.toolkits.github.api import Json, rest
from deputize.toolkits.github.argument_types import Repo, is_awkward, label_of, ref_of
from deputize.toolkits.github.base import GITHUB, Asks, changes, needs, optional, reads
from deputize.toolkits.github.not_found import in_repo
from deputize.toolkits.github.save_gist import gist_show
from deputize.toolkits.github.show_fields import HOME, ISSUE, Home, commit_shown, home_of, size_shown, subject_of

Kind = Literal["branch", "tag", "comment", "review_comment", "label", "milestone", "release", "gist"]
_METHODS: Final = {
    "branch": ("DELETE R/git/refs/{ref}", "contents:write"),
    "tag": ("DELETE R/git/refs/{ref}", "contents:write"),
    "comment": ("DELETE R/issues/comments/{comment_id}", "issues:write"),
    "review_comment": ("DELETE R/pulls/comments/{comment_id}", "pull_requests:write"),
    "label": ("DELETE R/labels/{name}", "issues:write"),
    "milestone": ("DELETE R/milestones/{milestone_number}", "issues:write"),
    "release": ("DELETE R/releases/{release_id}", "contents:write"),
}
_LOOKUPS: Final = {
    "branch": ["GET R/branches/{branch}"],
    "tag": ["GET R/git/ref/{ref}"],
    "label": ["GET R/labels"],
    "milestone": ["GET R/milestones"],
    **{kind: [method.replace("DELETE", "GET")] for kind, (method, _) in _METHODS.items() if method.endswith("_id}")},
}


def _needs(arguments: Arguments) -> Sequence[Need]:
    kind = arguments["kind"] or "branch"
    if kind == "gist":
        look = optional("GET /gists/{gist_id}", "gist")
        return [needs("DELETE /gists/{gist_id}", "gist", app=("gists:write",)), look]
    method, right = _METHODS[kind]
    looks = [reads(one, right.replace("write", "read"), right) for one in _LOOKUPS.get(kind, ())]
    if kind == "label" and is_awkward(arguments["id"] or ""):
        looks += changes("GRAPHQL DeleteLabel", right)
    looks += [ISSUE] if "comment" in kind else []
    return [*changes(method, right), *looks, HOME]


@GITHUB.tool(needs=_needs, effect=Effect.WRITES | Effect.DESTRUCTIVE)
@in_repo("this thing")
def delete(kind: Kind, id: str, repo: Repo | None = None) -> Steps:
    """Delete a branch, tag, comment, label, milestone, release or gist, by name, number or id."""
    if (kind == "gist") == bool(repo):
        raise InvalidInput("repo: needed for everything except a gist.", hint="Add repo.")
    if kind == "gist":
        return (yield from _gist(id))
    home = yield from home_of(str(repo))
    if kind in ("branch", "tag"):
        return (yield from _ref(home, kind, _check_id(ref_of, id)))
    if kind == "label":
        return (yield from _label(home, _check_id(label_of, id)))
    return (yield from _delete_numbered(home, kind, id))


def _check_id(check: Any, text: str) -> str:
    try:
        return str(check(text))
    except ValueError as wrong:
        raise InvalidInput(f"id: {wrong}.", hint="As another tool returned it.") from None


def _delete(kind: str, id: str, request: Request) -> Asks[Json]:
    """Delete an item that existed before. If it is missing now, a lost response had deleted it."""
    try:
        yield from api.send(request)
    except NotFound as missing:
        if "right" in missing.message:
            raise
    except InvalidInput:
        if kind not in ("branch", "tag") or (yield from _still_exists(request)):
            raise
    return {"kind": kind, "id": id, "deleted": True}


def _still_exists(request: Request) -> Asks[bool]:
    """Return whether a branch or tag exists, because GitHub refuses a missing and a protected one in the same way."""
    path = request.path.replace("/git/refs/", "/git/ref/", 1)
    try:
        yield from api.send(replace(request, method="GET", path=path, repeat=None))
    except NotFound:
        return False
    return True


def _gist(id: str) -> Asks[Json]:
    if not re.fullmatch(r"[0-9a-f]{20,40}", id):
        raise InvalidInput("id: not a gist's id.", hint="github_list_gists lists them.")
    row = yield from api.get("/gists/{gist_id}", at={"gist_id": id})
    files = {name: one.get("content") or "" for name, one in (row.get("files") or {}).items()}
    listed = [f"{name}:\n{text}" for name, text in files.items()]
    yield gist_show("Delete this gist", row, description=row.get("description") or None, files=listed, destroys=True)
    return (yield from _delete("gist", id, rest("DELETE /gists/{gist_id}", at={"gist_id": id}, repeat="idem")))


def _ref(home: Home, kind: str, name: str) -> Asks[Json]:
    """Delete a branch or a tag, never the default or a protected branch. The result's ``sha`` restores it."""
    repo = home.name
    if name.startswith("refs/"):
        raise InvalidInput("id: must be the short name, without refs/.", hint="Such as v1.2, or feature/x.")
    if kind == "branch":
        if name == home.default_branch:
            raise InvalidInput(
                "id: the default branch cannot be deleted.", hint="Make another branch the default first."
            )
        found = yield from api.get("R/branches/{branch}", repo, wide={"branch": name})
        if found.get("protected"):
            raise InvalidInput(
                "id: a protected branch cannot be deleted.",
                hint="Somebody who administers the repository can end its protection.",
            )
        commit = found.get("commit") or {}
        sha = str(commit.get("sha", ""))
        at = commit_shown(sha, (commit.get("commit") or {}).get("message"))
    else:
        found = yield from api.get("R/git/ref/{ref}", repo, wide={"ref": f"tags/{name}"})
        sha = str((found.get("object") or {}).get("sha", ""))
        at = commit_shown(sha, "")
    yield home.shows(_WHAT[kind], **{f"{kind}_": name}, commit=at, pins={"sha": sha}, destroys=True)
    ref = f"{'heads' if kind == 'branch' else 'tags'}/{name}"
    told = yield from _delete(kind, name, rest("DELETE R/git/refs/{ref}", repo, wide={"ref": ref}, repeat="idem"))
    if kind == "tag":
        return {**told, "sha": sha}
    args = {"repo": repo, "branch": name, "from_ref": sha}
    yield Undo("github_create_branch", args, holds={"sha": sha})
    return {**told, "sha": sha, "undo": {"tool": "github_create_branch", "args": args}}


_WHAT: Final = {
    "branch": "Delete this branch",
    "tag": "Delete this tag",
    "comment": "Delete this comment",
    "review_comment": "Delete this comment on code",
    "milestone": "Delete this milestone",
    "release": "Delete this release, but not its tag",
}


def _label(home: Home, name: str) -> Asks[Json]:
    repo = home.name
    [row] = yield from names.label_rows(repo, [name], "id")
    spelt = str(row["name"])
    yield home.shows(
        "Delete this label and remove it from everything that has it",
        label=spelt,
        about=row.get("description") or None,
        pins={"id": row.get("node_id")},
        destroys=True,
    )
    if is_awkward(spelt):
        yield from documents.query(documents.DELETE_LABEL, "idem", id=str(row["node_id"]))
        return {"kind": "label", "id": spelt, "deleted": True}
    return (yield from _delete("label", spelt, rest("DELETE R/labels/{name}", repo, at={"name": spelt}, repeat="idem")))


def _delete_numbered(home: Home, kind: str, id: str) -> Asks[Json]:
    """Delete an item with a number: a comment, a release, or a milestone, which also has a title."""
    method = _METHODS[kind][0]
    place = method.rpartition("{")[2].rstrip("}")
    if kind == "milestone":
        row = yield from names.milestone_row(home.name, id)
        id = str(row["number"])
    elif not re.fullmatch(r"[1-9]\d{0,15}", id):
        raise InvalidInput("id: must be a number.", hint="As another tool returned it.")
    else:
        row = yield from api.get(method.partition(" ")[2], home.name, at={place: id})
    if kind in ("milestone", "release"):
        fields = _milestone(row) if kind == "milestone" else _release(row)
    else:
        fields = _comment(row, (yield from subject_of(home, row)))
    yield home.shows(_WHAT[kind], pins={"id": id}, destroys=True, **fields)
    return (yield from _delete(kind, id, rest(method, home.name, at={place: id}, repeat="idem")))


def _comment(row: Mapping[str, Any], subject: str | None) -> Json:
    by = str((row.get("user") or {}).get("login") or "") or None
    return {"text": row.get("body") or "", "by": by, "on": subject, "file": row.get("path")}


def _milestone(row: Mapping[str, Any]) -> Json:
    due = str(row.get("due_on") or "")[:10] or None
    beside = {"open_issues": row.get("open_issues"), "closed_issues": row.get("closed_issues")}
    return {"milestone": row.get("title"), "about": row.get("description") or None, "due": due, "beside": beside}


def _release(row: Mapping[str, Any]) -> Json:
    return {
        "release": row.get("name") or row.get("tag_name"),
        "text": row.get("body") or "",
        "tag": row.get("tag_name"),
        "files": sorted(size_shown(one) for one in row.get("assets") or ()) or None,
        "draft": True if row.get("draft") else None,
    }
