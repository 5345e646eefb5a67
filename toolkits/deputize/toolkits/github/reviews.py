"""GitHub: review a pull request, settle a thread, merge."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

from pydantic import BaseModel

from deputize.core import Account, ActKey, Effect, Need, Run, Steps
from deputize.core.act.tool import Arguments
from deputize.core.errors import Conflict, DeputizeError, InvalidInput, NotFound, OutcomeUnknown
from deputize.toolkits.github import api, documents
from deputize.toolkits.github.api import Json, rest
from deputize.toolkits.github.argument_types import NewPath, Node, Number, Repo, Sha
from deputize.toolkits.github.base import GITHUB, PULL, SENDS, Asks, changes, reads
from deputize.toolkits.github.not_found import in_repo
from deputize.toolkits.github.once import Noted, again, once
from deputize.toolkits.github.prose import Body, Title, is_marked, is_own, marked
from deputize.toolkits.github.pulls import readiness

Event = Literal["APPROVE", "REQUEST_CHANGES", "COMMENT"]


class LineComment(BaseModel):
    """A comment on a line; on the whole file without one."""

    model_config = {"extra": "forbid", "hide_input_in_errors": True}
    path: NewPath
    body: Body
    line: Number | None = None
    start_line: Number | None = None
    side: Literal["LEFT", "RIGHT"] = "RIGHT"

    def on_line(self) -> Json:
        """As a review takes it."""
        told: Json = {"path": self.path, "body": self.body, "line": self.line, "side": self.side}
        if self.start_line and self.line and self.start_line < self.line:
            told |= {"start_line": self.start_line, "start_side": self.side}
        return told


def _review_needs(arguments: Arguments) -> Sequence[Need]:
    methods = [f"POST {PULL}/reviews"]
    methods += [f"POST {PULL}/comments"] if any(not one.line for one in arguments["comments"] or ()) else []
    found = [need for method in methods for need in changes(method, "pull_requests:write")]
    return [*found, reads(f"GET {PULL}", "pull_requests:read")]


@GITHUB.tool(
    needs=_review_needs,
    effect=SENDS,
    aliases=["GitHub.SubmitPullRequestReview", "GitHub.CreateReviewComment"],
)
@in_repo("this pull request")
def review_pull(
    repo: Repo,
    number: Number,
    event: Event = "COMMENT",
    body: Body = "",
    comments: list[LineComment] | None = None,
    head_sha: Sha | None = None,
    *,
    run: Run,
) -> Steps:
    """Review a pull request: approve, request changes or comment, with line or file comments."""
    given = comments or []
    if event != "APPROVE" and not body.strip() and not given:
        raise InvalidInput("body: needed.")
    if event == "REQUEST_CHANGES" and not body.strip():
        raise InvalidInput("body: needed: it says which changes are requested.")
    at = {"pull_number": number}
    head = str((yield from api.get(PULL, repo, at=at))["head"]["sha"])
    if head_sha and head != head_sha and not run.noted:
        raise _stale()
    sha = head_sha or head
    on_lines = [one.on_line() for one in given if one.line]
    on_files = [one for one in given if not one.line]
    posted: Json = {"state": "commented"}
    if event != "COMMENT" or body.strip() or on_lines:
        text = body if event == "APPROVE" and not body else marked(body, run.key)
        review: Json = {"commit_id": sha, "event": event, "comments": on_lines}
        review |= {"body": text} if text else {}
        write = _reviewed(repo, number, {name: value for name, value in review.items() if value})
        posted = yield from once(
            run.noted, write, lambda: _find(repo, number, run.key, run.account, sha, event, bool(text)), "review"
        )
    warnings = yield from _on_files(repo, number, sha, on_files, run.key, run.account, run.noted)
    return {
        "review_id": posted.get("id"),
        "state": str(posted.get("state", "")).lower(),
        "url": posted.get("html_url"),
        "comments_posted": len(given) - len(warnings),
        **({"warnings": warnings} if warnings else {}),
        "summary": {"APPROVE": "Approved.", "REQUEST_CHANGES": "Changes requested.", "COMMENT": "Commented."}[event],
    }


def _reviewed(repo: str, number: int, review: Json) -> Asks[Json]:
    request = rest(f"POST {PULL}/reviews", repo, at={"pull_number": number}, json=review)
    try:
        return (yield from api.sent(request))
    except InvalidInput as refused:
        if not review.get("comments"):
            raise
        ranges = yield from _ranges(repo, number, {one["path"] for one in review["comments"]})
        raise InvalidInput(
            "comments: a line is not part of the diff, so GitHub refused the whole review.",
            hint=f"Lines that are: {ranges}." if ranges else refused.hint,
        ) from None


def _ranges(repo: str, number: int, paths: set[str]) -> Asks[str]:
    """Which lines of these files a comment may be on."""
    files = yield from api.every(f"{PULL}/files", repo, at={"pull_number": number})
    told = []
    for file in files:
        if file["filename"] in paths and file.get("patch"):
            hunks = re.findall(r"^@@ [^+\n]*\+(\d+)(?:,(\d+))? @@", file["patch"], re.MULTILINE)
            spans = [f"{start}-{int(start) + int(length or 1) - 1}" for start, length in hunks[:10]]
            told.append(f"{file['filename']} {', '.join(spans)}")
    return "; ".join(told[:5])


def _find(
    repo: str, number: int, key: ActKey, account: Account, sha: str, event: Event, has_text: bool
) -> Asks[Json | None]:
    """The review of this act: by its mark, or an approval of this commit without words."""
    rows = yield from api.every(f"{PULL}/reviews", repo, at={"pull_number": number})
    for row in reversed(rows):
        bare = not row.get("body") and row.get("state") == "APPROVED" and row.get("commit_id") == sha
        if is_marked(row, key, account) or (not has_text and event == "APPROVE" and bare and is_own(row, account)):
            return dict(row)
    return None


def _on_files(
    repo: str, number: int, sha: str, comments: Sequence[LineComment], key: ActKey, account: Account, noted: Noted
) -> Asks[list[str]]:
    """Comments on whole files, each found again by its mark; what went wrong with some of them.

    A run that takes up another writes none: it does not know how far that one came.
    """
    warnings: list[str] = []
    for n, one in enumerate(comments):
        own = key.nth(n + 1)
        if noted:
            if (yield from _comment(repo, number, own, account)) is None:
                raise OutcomeUnknown(
                    "GitHub's answer was lost: some comments may have been posted, and not all can be found.",
                    hint="Look for the comments before trying again.",
                )
            continue
        body = {"path": one.path, "body": marked(one.body, own), "commit_id": sha, "subject_type": "file"}
        write = api.sent(rest(f"POST {PULL}/comments", repo, at={"pull_number": number}, json=body))
        try:
            look = partial(_comment, repo, number, own, account)
            yield from once(None, write, look, "comment")
        except (InvalidInput, NotFound, Conflict) as refused:
            warnings.append(f"{one.path}: {refused.message}")
    return warnings


def _comment(repo: str, number: int, key: ActKey, account: Account) -> Asks[Json | None]:
    params = {"sort": "created", "direction": "desc", "per_page": 100}
    rows = yield from api.get(f"{PULL}/comments", repo, at={"pull_number": number}, params=params)
    return next((dict(row) for row in rows if is_marked(row, key, account)), None)


@GITHUB.tool(
    needs=lambda arguments: changes(
        "GRAPHQL UnresolveThread" if arguments["resolved"] is False else "GRAPHQL ResolveThread", "pull_requests:write"
    ),
    effect=SENDS,
    aliases=["GitHub.ResolveReviewThread"],
)
def resolve_thread(thread_id: Node, resolved: bool = True) -> Steps:
    """Resolve or reopen a review thread."""
    document = documents.RESOLVE if resolved else documents.UNRESOLVE
    data = yield from documents.query(document, "idem", threadId=thread_id)
    answer: Mapping[str, Any] = next(iter(data.values()), {})
    thread = answer.get("thread") or {}
    return {"thread_id": thread.get("id") or thread_id, "resolved": bool(thread.get("isResolved"))}


# ----------------------------------------------------------------- merge


def _merge_needs(arguments: Arguments) -> Sequence[Need]:
    method = "GRAPHQL AutoMergeOn" if arguments["when_ready"] else f"PUT {PULL}/merge"
    found = [*changes(method, "contents:write"), *changes(method, "pull_requests:write")]
    if arguments["delete_branch"]:
        found += [*changes("DELETE R/git/refs/{ref}", "contents:write"), reads("GET R/git/ref/{ref}", "contents:read")]
    return [*found, reads(f"GET {PULL}", "pull_requests:read")]


@GITHUB.tool(needs=_merge_needs, effect=SENDS | Effect.DESTRUCTIVE, aliases=["GitHub.MergePullRequest"])
@in_repo("this pull request")
def merge_pull(
    repo: Repo,
    number: Number,
    head_sha: Sha,
    method: Literal["merge", "squash", "rebase"] = "squash",
    title: Title | None = None,
    message: Body | None = None,
    delete_branch: bool = False,
    when_ready: bool = False,
) -> Steps:
    """Merge a pull request, or set auto-merge. head_sha comes from github_get_pull."""
    row = yield from api.get(PULL, repo, at={"pull_number": number})
    if row.get("merged"):
        return _merged(row, str(row.get("merge_commit_sha") or ""), existed=True)
    if row["head"]["sha"] != head_sha:
        raise _stale()
    if when_ready:
        return (yield from _auto(row, head_sha, method, title, message))
    body: Json = {"sha": head_sha, "merge_method": method, "commit_title": title, "commit_message": message}
    body = {name: value for name, value in body.items() if value}
    sha = yield from again(lambda: _merge(repo, number, body), lambda: _is_merged(repo, number, head_sha))
    told = _merged(row, sha, existed=False)
    if delete_branch:
        told |= yield from _branch_deleted(repo, row)
    return told


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
        raise _stale() from None


def _stale() -> Conflict:
    hint = "Read it again: github_get_pull."
    return Conflict("conflict (stale): the pull request has new commits since it was read.", reason="stale", hint=hint)


def _is_merged(repo: str, number: int, head_sha: str) -> Asks[str | None]:
    row = yield from api.get(PULL, repo, at={"pull_number": number})
    if row.get("merged") and row["head"]["sha"] != head_sha:  # somebody else merged something else
        raise _stale()
    return str(row.get("merge_commit_sha") or "") if row.get("merged") else None


def _merged(row: Mapping[str, Any], sha: str, *, existed: bool) -> Json:
    return {
        "merged": True,
        "sha": sha,
        "url": row.get("html_url"),
        "branch_deleted": False,
        "auto_merge": False,
        "existed": existed,
        "summary": "It was merged already." if existed else "Merged.",
    }


def _branch_deleted(repo: str, row: Mapping[str, Any]) -> Asks[Json]:
    """Delete the head branch, if it is one of this repository and not its default one."""
    head, base = row["head"], row["base"]
    if (head.get("repo") or {}).get("id") != (base.get("repo") or {}).get("id"):
        return {"warnings": ["The branch belongs to another repository and was left alone."]}
    if head["ref"] in (base["repo"].get("default_branch"), base["ref"]):
        return {"warnings": ["The branch is the repository's default one and was left alone."]}
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


def _auto(row: Mapping[str, Any], sha: str, method: str, title: str | None, message: str | None) -> Asks[Json]:
    """Set auto-merge, which merges once nothing is in the way."""
    given = {
        "pullRequestId": str(row["node_id"]),
        "mergeMethod": method.upper(),
        "expectedHeadOid": sha,
        "commitHeadline": title,
        "commitBody": message,
    }
    given = {name: value for name, value in given.items() if value}
    yield from documents.query(documents.AUTO_MERGE, "idem", input=given)
    told = _merged(row, "", existed=False)
    return told | {"merged": False, "auto_merge": True, "summary": "It will be merged when it is ready."}
