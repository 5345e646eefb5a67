"""GitHub: reviewing pull requests, resolving threads."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, Field

from deputize.core import Account, ActKey, Change, Need, Preview, Run, Steps, Undo
from deputize.core.errors import Conflict, InvalidInput, NotFound, OutcomeUnknown
from deputize.core.tools.tool import Arguments
from deputize.toolkits.github import api, documents
from deputize.toolkits.github.api import Json, rest
from deputize.toolkits.github.argument_types import NewPath, Node, Number, Repo, Unmoved, inline_schema
from deputize.toolkits.github.base import GITHUB, PULL, SENDS, Asks, changes, reads
from deputize.toolkits.github.idempotent_create import Noted, write_once
from deputize.toolkits.github.not_found import in_repo
from deputize.toolkits.github.prose import Body, add_mark, is_marked, is_own
from deputize.toolkits.github.pulls import stale
from deputize.toolkits.github.show_fields import FOR_GOOD, Home, pull_size, title_of

Event = Literal["APPROVE", "REQUEST_CHANGES", "COMMENT"]


class LineComment(BaseModel):
    """A comment on a line, or on the whole file without a line."""

    model_config = {"extra": "forbid", "hide_input_in_errors": True}
    path: NewPath
    body: Body
    line: Annotated[Number | None, Field(description="none: the whole file")] = None
    start_line: Number | None = None
    side: Literal["LEFT", "RIGHT"] = "RIGHT"

    @property
    def place(self) -> str:
        """The position of the comment in words."""
        if not self.line:
            return self.path
        first = f"{self.start_line}-" if self.start_line and self.start_line < self.line else ""
        return f"{self.path}, line {first}{self.line}{' before the change' if self.side == 'LEFT' else ''}"

    def on_line(self) -> Json:
        """Return the fields of a review's comment."""
        told: Json = {"path": self.path, "body": self.body, "line": self.line, "side": self.side}
        if self.start_line and self.line and self.start_line < self.line:
            told |= {"start_line": self.start_line, "start_side": self.side}
        return told


def _review_needs(arguments: Arguments) -> Sequence[Need]:
    methods = [f"POST {PULL}/reviews"]
    methods += [f"POST {PULL}/comments"] if any(not one.line for one in arguments["comments"] or ()) else []
    found = [need for method in methods for need in changes(method, "pull_requests:write")]
    return [*found, reads(f"GET {PULL}", "pull_requests:read")]


@GITHUB.tool(needs=_review_needs, effect=SENDS)
@in_repo("this pull request")
def review_pull(
    repo: Repo,
    number: Number,
    event: Event = "COMMENT",
    body: Body = "",
    comments: list[Annotated[LineComment, inline_schema(LineComment)]] | None = None,
    head_sha: Unmoved | None = None,
    *,
    run: Run,
) -> Steps:
    """Review a pull request: approve, request changes or comment, with line or file comments."""
    given = comments or []
    if event != "APPROVE" and not body.strip() and not given:
        raise InvalidInput("body: needed.", hint="Add body.")
    if event == "REQUEST_CHANGES" and not body.strip():
        raise InvalidInput("body: needed: it says which changes are requested.", hint="Add body.")
    row = yield from api.get(PULL, repo, at={"pull_number": number})
    home, head = Home(row["base"]["repo"]), str(row["head"]["sha"])
    if head_sha and head != head_sha and not run.noted:
        raise stale()
    noted = run.noted or {}
    repo, sha = str(noted.get("repo") or home.name), str(noted.get("sha") or head_sha or head)
    if not run.noted:
        yield _review_show(home, row, event, body, given)
    on_lines = [one.on_line() for one in given if one.line]
    on_files = [one for one in given if not one.line]
    posted: Json = {"state": "commented"}
    if event != "COMMENT" or body.strip() or on_lines:
        text = body if event == "APPROVE" and not body else add_mark(body, run.key)
        review: Json = {"commit_id": sha, "event": event, "comments": on_lines}
        review |= {"body": text} if text else {}
        write = _send_review(repo, number, {name: value for name, value in review.items() if value})
        look = lambda: _find_review(repo, number, run.key, run.account, sha, event, bool(text))  # noqa: E731
        posted = yield from write_once(run.noted, write, look, "review", repo=repo, sha=sha)
    warnings = yield from _comment_on_files(repo, number, sha, on_files, run.key, run.account, run.noted)
    return {
        "review_id": posted.get("id"),
        "state": str(posted.get("state", "")).lower(),
        "url": posted.get("html_url"),
        "comments_posted": len(given) - len(warnings),
        **({"warnings": warnings} if warnings else {}),
        "summary": {"APPROVE": "Approved.", "REQUEST_CHANGES": "Changes requested.", "COMMENT": "Commented."}[event],
    }


_WHAT: Final = {
    "APPROVE": "Approve this pull request",
    "REQUEST_CHANGES": "Request changes to this pull request",
    "COMMENT": "Comment on this pull request",
}
_VERDICTS: Final = {"APPROVE": "approves it", "REQUEST_CHANGES": "requests changes", "COMMENT": "comments only"}


def _review_show(home: Home, row: Mapping[str, Any], event: Event, body: str, comments: list[LineComment]) -> Preview:
    """Preview the whole review, and the commit that it is about."""
    return home.shows(
        _WHAT[event],
        pull_request=title_of(row),
        text=body or None,
        comments=[f"{one.place}:\n{one.body}" for one in comments] or None,
        verdict=_VERDICTS[event],
        undo=FOR_GOOD,
        context={"link": row.get("html_url")},
        beside=pull_size(row),
        pins={"pull_request": row.get("node_id"), "number": row.get("number"), "head": row["head"]["sha"]},
    )


def _send_review(repo: str, number: int, review: Json) -> Asks[Json]:
    request = rest(f"POST {PULL}/reviews", repo, at={"pull_number": number}, json=review)
    try:
        return (yield from api.write(request))
    except InvalidInput as refused:
        if not review.get("comments"):
            raise
        ranges = yield from _ranges(repo, number, {one["path"] for one in review["comments"]})
        raise InvalidInput(
            "comments: a line is not part of the diff, so GitHub refused the whole review.",
            hint=f"Lines that are: {ranges}." if ranges else refused.hint,
        ) from None


def _ranges(repo: str, number: int, paths: set[str]) -> Asks[str]:
    """Return the lines of these files that can have comments."""
    files = yield from api.list_rows(f"{PULL}/files", repo, at={"pull_number": number})
    told = []
    for file in files:
        if file["filename"] in paths and file.get("patch"):
            hunks = re.findall(r"^@@ [^+\n]*\+(\d+)(?:,(\d+))? @@", file["patch"], re.MULTILINE)
            spans = [f"{start}-{int(start) + int(length or 1) - 1}" for start, length in hunks[:10]]
            told.append(f"{file['filename']} {', '.join(spans)}")
    return "; ".join(told[:5])


def _find_review(
    repo: str, number: int, key: ActKey, account: Account, sha: str, event: Event, has_text: bool
) -> Asks[Json | None]:
    """Return this act's review: by its mark, or an approval of this commit without text."""
    rows = yield from api.list_rows(f"{PULL}/reviews", repo, at={"pull_number": number})
    for row in reversed(rows):
        bare = not row.get("body") and row.get("state") == "APPROVED" and row.get("commit_id") == sha
        if is_marked(row, key, account) or (not has_text and event == "APPROVE" and bare and is_own(row, account)):
            return dict(row)
    return None


def _comment_on_files(
    repo: str, number: int, sha: str, comments: Sequence[LineComment], key: ActKey, account: Account, noted: Noted
) -> Asks[list[str]]:
    """Comment on whole files, each comment found again by its mark. Return warnings for those that failed.

    A run that continues another writes none, because it does not know how far that run came.
    """
    warnings: list[str] = []
    for n, one in enumerate(comments):
        own = key.nth(n + 1)
        if noted:
            if (yield from _find_comment(repo, number, own, account)) is None:
                raise OutcomeUnknown(
                    "GitHub's answer was lost: some comments may have been posted, and not all can be found.",
                    hint="Look for the comments before trying again.",
                )
            continue
        body = {"path": one.path, "body": add_mark(one.body, own), "commit_id": sha, "subject_type": "file"}
        write = api.write(rest(f"POST {PULL}/comments", repo, at={"pull_number": number}, json=body))
        try:
            look = partial(_find_comment, repo, number, own, account)
            yield from write_once(None, write, look, "comment", repo=repo, sha=sha)
        except (InvalidInput, NotFound, Conflict) as refused:
            warnings.append(f"{one.path}: {refused.message}")
    return warnings


def _find_comment(repo: str, number: int, key: ActKey, account: Account) -> Asks[Json | None]:
    params = {"sort": "created", "direction": "desc", "per_page": 100}
    rows = yield from api.get(f"{PULL}/comments", repo, at={"pull_number": number}, params=params)
    return next((dict(row) for row in rows if is_marked(row, key, account)), None)


# ----------------------------------------------------------------- resolve a thread


def _resolve_needs(arguments: Arguments) -> Sequence[Need]:
    name = "UnresolveThread" if arguments["resolved"] is False else "ResolveThread"
    return [*changes(f"GRAPHQL {name}", "pull_requests:write"), reads("GRAPHQL ReviewThread", "pull_requests:read")]


@GITHUB.tool(needs=_resolve_needs, effect=SENDS)
def resolve_thread(
    thread_id: Annotated[Node, Field(description="of github_list_comments with kind=review")], resolved: bool = True
) -> Steps:
    """Resolve or reopen a review thread."""
    there = (yield from documents.query(documents.THREAD, id=thread_id)).get("node") or {}
    if not there:
        hint = "github_list_comments with kind=review lists the threads of a pull request."
        raise NotFound("GitHub: the thread is not found, or not visible to this user.", hint=hint)
    was = bool(there.get("isResolved"))
    if was == resolved:
        return {"thread_id": thread_id, "resolved": resolved}
    yield _thread_show(there, thread_id, resolved)
    document = documents.RESOLVE if resolved else documents.UNRESOLVE
    data = yield from documents.query(document, "idem", threadId=thread_id)
    answer: Mapping[str, Any] = next(iter(data.values()), {})
    thread = answer.get("thread") or {}
    back = {"thread_id": thread_id, "resolved": was}
    yield Undo("github_resolve_thread", back, holds={"state": _STATES[resolved]})
    return {"thread_id": thread.get("id") or thread_id, "resolved": bool(thread.get("isResolved"))}


_STATES = {True: "resolved", False: "open"}


def _thread_show(there: Mapping[str, Any], id: str, resolved: bool) -> Preview:
    """Preview the thread with its first comment."""
    comment: Json = next(iter((there.get("comments") or {}).get("nodes") or ()), {})
    line = f", line {there['line']}" if there.get("line") else ""
    return Home.from_node(there.get("repository") or {}).shows(
        "Resolve this review thread" if resolved else "Reopen this review thread",
        pull_request=title_of(there.get("pullRequest") or {}),
        file=f"{there.get('path')}{line}",
        first_comment=comment.get("body"),
        by=(comment.get("author") or {}).get("login"),
        state=Change(_STATES[not resolved], _STATES[resolved]),
        pins={"thread": id},
    )
