"""GitHub: merging pull requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from deputize.core import Effect, Need, Preview, Steps
from deputize.core.errors import Conflict, DeputizeError, NotFound
from deputize.core.tools.tool import Arguments
from deputize.toolkits.github import api, documents
from deputize.toolkits.github.api import Json, rest
from deputize.toolkits.github.argument_types import Number, Repo, Sha
from deputize.toolkits.github.base import GITHUB, PULL, SENDS, Asks, changes, optional, reads
from deputize.toolkits.github.checks import describe_checks
from deputize.toolkits.github.idempotent_create import retry_once
from deputize.toolkits.github.not_found import in_repo
from deputize.toolkits.github.prose import Body, Title
from deputize.toolkits.github.pulls import readiness, stale
from deputize.toolkits.github.self_running_files import code_warning
from deputize.toolkits.github.show_fields import FOR_GOOD, Home, pull_size, title_of


def _merge_needs(arguments: Arguments) -> Sequence[Need]:
    method = "GRAPHQL AutoMergeOn" if arguments["when_ready"] else f"PUT {PULL}/merge"
    found = [*changes(method, "contents:write"), *changes(method, "pull_requests:write")]
    if arguments["delete_branch"]:
        found += [*changes("DELETE R/git/refs/{ref}", "contents:write"), reads("GET R/git/ref/{ref}", "contents:read")]
    return [
        *found,
        *(reads(f"GET {PULL}{part}", "pull_requests:read") for part in ("", "/files")),
        optional("GET R/commits/{ref}/check-runs", "repo", app=("checks:read",)),
        optional("GET R/commits/{ref}/status", "repo:status", "repo", app=("statuses:read",)),
    ]


@GITHUB.tool(needs=_merge_needs, effect=SENDS | Effect.DESTRUCTIVE)
@in_repo("this pull request")
def merge_pull(
    repo: Repo,
    number: Number,
    head_sha: Annotated[Sha, Field(description="of github_get_pull")],
    method: Literal["merge", "squash", "rebase"] = "squash",
    title: Title | None = None,
    message: Body | None = None,
    delete_branch: bool = False,
    when_ready: Annotated[bool, Field(description="set auto-merge")] = False,
) -> Steps:
    """Merge a pull request, or set auto-merge."""
    row = yield from api.get(PULL, repo, at={"pull_number": number})
    if row.get("merged"):
        return _receipt(row, str(row.get("merge_commit_sha") or ""), existed=True)
    if row["head"]["sha"] != head_sha:
        raise stale()
    home = Home(row["base"]["repo"])
    repo = home.name
    left = _keep_reason(row)
    known = yield from _load_known(repo, row)
    yield _show(home, row, known, method, title, message, deletes=delete_branch and not left, later=when_ready)
    if when_ready:
        return (yield from _set_auto(row, head_sha, method, title, message))
    body: Json = {"sha": head_sha, "merge_method": method, "commit_title": title, "commit_message": message}
    body = {name: value for name, value in body.items() if value}
    sha = yield from retry_once(lambda: _merge(repo, number, body), lambda: _merged_sha(repo, number, head_sha))
    told = _receipt(row, sha, existed=False)
    if delete_branch:
        told |= {"warnings": [left]} if left else (yield from _delete_branch(repo, row))
    return told


_PAGES: Final = 3
"""Pages of a hundred files that are read to find those that run by themselves."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What a merge preview says beyond GitHub's row. ``unread``: the number of files that were not looked at."""

    checks: str
    failed_checks: list[str]
    paths: list[str]
    unread: int


def _load_known(repo: str, row: Json) -> Asks[_Known]:
    files = yield from api.list_rows(f"{PULL}/files", repo, _PAGES, at={"pull_number": row["number"]})
    names = [one.get(name) for one in files for name in ("filename", "previous_filename")]
    checks, failed = yield from describe_checks(repo, str(row["head"]["sha"]))
    unread = max(0, int(row.get("changed_files") or 0) - len(files))
    return _Known(checks, failed, [str(one) for one in names if one], unread)


def _show(
    home: Home,
    row: Json,
    known: _Known,
    method: str,
    title: str | None,
    message: str | None,
    *,
    deletes: bool,
    later: bool,
) -> Preview:
    """Preview the merge. ``deletes``: the head branch too. ``later``: the merge happens once nothing blocks it."""
    head, base = row["head"], str(row["base"]["ref"])
    from_ = str(head.get("label") or head["ref"])
    return home.shows(
        "Merge this pull request as soon as it is ready" if later else "Merge this pull request",
        branch=base,
        pull_request=title_of(row),
        by=(row.get("user") or {}).get("login"),
        from_=from_,
        into=base,
        **code_warning(known.paths),
        not_looked_at=f"{known.unread} files; they may run by themselves, too" if known.unread else None,
        as_=_HOW[method],
        commit_title=title,
        commit_message=message or None,
        deletes_branch=from_ if deletes and not later else None,
        note="Commits that are pushed until then are merged, too." if later else None,
        undo=FOR_GOOD,
        pins={
            "pull_request": row.get("node_id"),
            "head": head["sha"],
            "base": base,
            "method": method,
            "checks": known.failed_checks,
        },
        context={"link": row.get("html_url")},
        beside={
            "checks": known.checks,
            "state": _STATES.get(str(row.get("mergeable_state")), _STATES["unknown"]).format(base=base),
            **pull_size(row),
        },
    )


_STATES: Final = {
    "clean": "it can be merged",
    "has_hooks": "it can be merged",
    "unstable": "it can be merged, but not all checks passed",
    "dirty": "it conflicts with {base} and cannot be merged",
    "blocked": "rules of {base} block it, such as a required review",
    "behind": "it lacks the newest commits of {base}",
    "draft": "it is a draft and cannot be merged",
    "unknown": "GitHub does not know yet if it can be merged",
}


_HOW = {
    "merge": "a merge commit",
    "squash": "one commit (squash)",
    "rebase": "its commits, one by one (rebase)",
}


def _keep_reason(row: Mapping[str, Any]) -> str:
    """Return the reason why the head branch cannot be deleted, or ""."""
    head, base = row["head"], row["base"]
    if (head.get("repo") or {}).get("id") != (base.get("repo") or {}).get("id"):
        return "The branch belongs to another repository and was left alone."
    if head["ref"] in (base["repo"].get("default_branch"), base["ref"]):
        return "The branch is the repository's default one and was left alone."
    return ""


def _merge(repo: str, number: int, body: Json) -> Asks[str]:
    try:
        request = rest(f"PUT {PULL}/merge", repo, at={"pull_number": number}, json=body)
        return str((yield from api.send(request)).data.get("sha", ""))
    except Conflict as refused:
        if refused.reason == "not_mergeable":
            row = yield from api.get(PULL, repo, at={"pull_number": number})
            state = yield from readiness(repo, number, row)
            blockers = ", ".join(state["blockers"]) or "rules of the branch"
            said, hint = "conflict (not_mergeable): the pull request cannot be merged.", f"Blocked by: {blockers}."
            raise Conflict(said, reason="not_mergeable", hint=hint) from None
        raise stale() from None


def _merged_sha(repo: str, number: int, head_sha: str) -> Asks[str | None]:
    row = yield from api.get(PULL, repo, at={"pull_number": number})
    if row.get("merged") and row["head"]["sha"] != head_sha:  # somebody else merged another head
        raise stale()
    return str(row.get("merge_commit_sha") or "") if row.get("merged") else None


def _receipt(row: Mapping[str, Any], sha: str, *, existed: bool) -> Json:
    return {
        "merged": True,
        "sha": sha,
        "url": row.get("html_url"),
        "branch_deleted": False,
        "auto_merge": False,
        "existed": existed,
        "summary": "It was merged already." if existed else "Merged.",
    }


def _delete_branch(repo: str, row: Mapping[str, Any]) -> Asks[Json]:
    """Delete the head branch, if it still ends at the merged commit."""
    head = row["head"]
    ref = {"ref": f"heads/{head['ref']}"}
    try:
        now = yield from api.get("R/git/ref/{ref}", repo, wide=ref)
        if (now.get("object") or {}).get("sha") != head["sha"]:
            return {"warnings": ["The branch has commits that were not merged, and was left alone."]}
        yield from api.send(rest("DELETE R/git/refs/{ref}", repo, wide=ref, repeat="idem"))
    except NotFound:
        return {"branch_deleted": True}
    except DeputizeError as refused:
        return {"warnings": [f"Merged, but the branch is still there: {refused.message}"]}
    return {"branch_deleted": True}


def _set_auto(row: Mapping[str, Any], sha: str, method: str, title: str | None, message: str | None) -> Asks[Json]:
    """Set auto-merge, which merges once nothing blocks it."""
    given = {
        "pullRequestId": str(row["node_id"]),
        "mergeMethod": method.upper(),
        "expectedHeadOid": sha,
        "commitHeadline": title,
        "commitBody": message,
    }
    given = {name: value for name, value in given.items() if value}
    yield from documents.query(documents.AUTO_MERGE, "idem", input=given)
    told = _receipt(row, "", existed=False)
    return told | {"merged": False, "auto_merge": True, "summary": "It will be merged when it is ready."}
