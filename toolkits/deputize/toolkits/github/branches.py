"""GitHub: creating branches, and the commit of a branch."""

from __future__ import annotations

from deputize.core import Steps, Undo
from deputize.core.errors import Conflict, InvalidInput, NotFound
from deputize.toolkits.github import api
from deputize.toolkits.github.api import rest
from deputize.toolkits.github.argument_types import At, Branch, Repo
from deputize.toolkits.github.base import GITHUB, SENDS, Asks, changes, reads
from deputize.toolkits.github.not_found import in_repo
from deputize.toolkits.github.show_fields import HOME, commit_shown, home_of


@GITHUB.tool(
    needs=[
        *changes("POST R/git/refs", "contents:write"),
        reads("GET R/commits/{ref}", "contents:read"),
        reads("GET R/git/ref/{ref}", "contents:read"),
        HOME,
    ],
    effect=SENDS,
)
@in_repo("this branch, tag or sha to start from")
def create_branch(repo: Repo, branch: Branch, from_ref: At | None = None) -> Steps:
    """Create a branch from another ref."""
    home = yield from home_of(repo)
    repo, start = home.name, from_ref or home.default_branch
    commit = yield from api.get("R/commits/{ref}", repo, wide={"ref": start})
    sha = str(commit["sha"])
    at = commit_shown(sha, (commit.get("commit") or {}).get("message"))
    yield home.shows("Create this branch", new_branch=branch, from_=start, commit=at, pins={"sha": sha})
    body = {"ref": f"refs/heads/{branch}", "sha": sha}
    try:
        yield from api.send(rest("POST R/git/refs", repo, json=body, repeat="idem"))
    except (Conflict, InvalidInput) as refused:
        there = yield from head_of(repo, branch)
        if there is None:
            raise refused from None
        if there != sha:
            raise Conflict(
                "branch: conflict (exists): a branch of this name is at another commit.",
                reason="exists",
                hint="Use another name, or github_get_commit to see that commit.",
            ) from None
        return {"branch": branch, "sha": sha, "existed": True, "summary": "It was there already."}
    args = {"kind": "branch", "repo": repo, "id": branch}
    yield Undo("github_delete", args, holds={"sha": sha})
    undo = {"tool": "github_delete", "args": args}
    return {"branch": branch, "sha": sha, "undo": undo, "summary": f"Created from {start}."}


def head_of(repo: str, branch: str) -> Asks[str | None]:
    """Return the commit that a branch points at, or None."""
    try:
        found = yield from api.get("R/git/ref/{ref}", repo, wide={"ref": f"heads/{branch}"})
    except NotFound:
        return None
    return str(found["object"]["sha"])
