"""GitHub: delete a branch, tag, comment, label, milestone, release or gist. Never a repository."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, Literal

from deputize.core import Effect, Need, Request, Steps
from deputize.core.act.tool import Arguments
from deputize.core.errors import InvalidInput, NotFound
from deputize.toolkits.github import api, documents, names
from deputize.toolkits.github.api import Json, rest
from deputize.toolkits.github.argument_types import Repo, awkward, label_of, ref_of
from deputize.toolkits.github.base import GITHUB, Asks, changes, needs, optional, reads
from deputize.toolkits.github.not_found import in_repo

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
    "branch": ["GET R", "GET R/branches/{branch}"],
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
    if kind == "label" and awkward(arguments["id"] or ""):
        looks += changes("GRAPHQL DeleteLabel", right)
    return [*changes(method, right), *looks]


@GITHUB.tool(needs=_needs, effect=Effect.WRITES | Effect.DESTRUCTIVE)
@in_repo("this thing")
def delete(kind: Kind, id: str, repo: Repo | None = None) -> Steps:
    """Delete a branch, tag, comment, label, milestone, release or gist, by name, number or id."""
    if (kind == "gist") == bool(repo):
        raise InvalidInput("repo: needed for everything except a gist.")
    if kind == "gist":
        if not re.fullmatch(r"[0-9a-f]{20,40}", id):
            raise InvalidInput("id: not a gist's id.")
        yield from api.get("/gists/{gist_id}", at={"gist_id": id})
        return (yield from _gone(kind, id, rest("DELETE /gists/{gist_id}", at={"gist_id": id}, repeat="idem")))
    if kind in ("branch", "tag"):
        return (yield from _ref(str(repo), kind, _checked(ref_of, id)))
    if kind == "label":
        return (yield from _label(str(repo), _checked(label_of, id)))
    if kind == "milestone":
        id = str((yield from names.milestone(str(repo), id)))
    if not re.fullmatch(r"[1-9]\d{0,15}", id):
        raise InvalidInput("id: must be a number.")
    method = _METHODS[kind][0]
    place = method.rpartition("{")[2].rstrip("}")
    if kind != "milestone":
        yield from api.get(method.partition(" ")[2], str(repo), at={place: id})
    return (yield from _gone(kind, id, rest(method, str(repo), at={place: id}, repeat="idem")))


def _checked(check: Any, text: str) -> str:
    try:
        return str(check(text))
    except ValueError as wrong:
        raise InvalidInput(f"id: {wrong}.") from None


def _gone(kind: str, id: str, request: Request) -> Asks[Json]:
    """Delete what was seen to be there. So if it is not found now, an answer was lost, and it is gone."""
    try:
        yield from api.send(request)
    except NotFound as missing:
        if "right" in missing.message:
            raise
    except InvalidInput:
        if kind not in ("branch", "tag") or (yield from _still(request)):
            raise
    return {"kind": kind, "id": id, "deleted": True}


def _still(request: Request) -> Asks[bool]:
    """Whether a branch or tag is there: GitHub says the same of a missing one and of one that it protects."""
    path = request.path.replace("/git/refs/", "/git/ref/", 1)
    try:
        yield from api.send(replace(request, method="GET", path=path, repeat=None))
    except NotFound:
        return False
    return True


def _ref(repo: str, kind: str, name: str) -> Asks[Json]:
    """A branch or a tag; never the default or a protected branch. ``sha`` brings it back."""
    if name.startswith("refs/"):
        raise InvalidInput("id: must be the short name, without refs/.")
    if kind == "branch":
        whole = yield from api.get("R", repo)
        if name == whole.get("default_branch"):
            raise InvalidInput("id: the default branch cannot be deleted.")
        found = yield from api.get("R/branches/{branch}", repo, wide={"branch": name})
        if found.get("protected"):
            raise InvalidInput("id: a protected branch cannot be deleted.")
        sha = str((found.get("commit") or {}).get("sha", ""))
    else:
        found = yield from api.get("R/git/ref/{ref}", repo, wide={"ref": f"tags/{name}"})
        sha = str((found.get("object") or {}).get("sha", ""))
    ref = f"{'heads' if kind == 'branch' else 'tags'}/{name}"
    told = yield from _gone(kind, name, rest("DELETE R/git/refs/{ref}", repo, wide={"ref": ref}, repeat="idem"))
    undo = {"tool": "github_create_branch", "args": {"repo": repo, "branch": name, "from_ref": sha}}
    return {**told, "sha": sha} | ({"undo": undo} if kind == "branch" else {})


def _label(repo: str, name: str) -> Asks[Json]:
    [row] = yield from names.label_rows(repo, [name], "id")
    spelt = str(row["name"])
    if awkward(spelt):
        yield from documents.query(documents.DELETE_LABEL, "idem", id=str(row["node_id"]))
        return {"kind": "label", "id": spelt, "deleted": True}
    return (yield from _gone("label", spelt, rest("DELETE R/labels/{name}", repo, at={"name": spelt}, repeat="idem")))
