"""GitHub: CI results of a commit: its check runs, and statuses of the older kind.

The result is green only if all checks were read, because an unread one could have failed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import Field

from deputize.core import Continuation, Need, Steps
from deputize.core.errors import DeputizeError, InvalidInput, NotFound
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared.arguments import Offset
from deputize.toolkits._shared.long_text import PART, part
from deputize.toolkits._shared.page import Rows
from deputize.toolkits.github import api
from deputize.toolkits.github.api import Json, rest
from deputize.toolkits.github.argument_types import At, Number, Repo
from deputize.toolkits.github.base import GITHUB, Asks, optional, reads
from deputize.toolkits.github.not_found import in_repo
from deputize.toolkits.github.prose import FORM, Prose, code
from deputize.toolkits.github.rows import outer

_GOOD: Final = {"success", "neutral", "skipped"}
_SIZE: Final = 100  # of a page
_PAGES: Final = 10  # of each kind: a result with more than a thousand checks says so
_KINDS: Final = {  # by method: the field of its rows, and their name
    "R/commits/{ref}/check-runs": ("check_runs", "check runs"),
    "R/commits/{ref}/status": ("statuses", "statuses"),
}
_OPEN: Final = {"pending", "queued", "in_progress", "waiting", "requested", "expected"}


def _needs(arguments: Arguments) -> Sequence[Need]:
    annotated = reads("GET R/check-runs/{check_run_id}/annotations", "checks:read")
    if arguments["check_id"]:
        return [reads("GET R/check-runs/{check_run_id}", "checks:read"), annotated]
    return [
        reads("GET R/commits/{ref}/check-runs", "checks:read"),
        optional("GET R/commits/{ref}/status", "repo:status", "repo", app=("statuses:read",)),
        *([annotated] if arguments["annotations"] else []),
        *([reads("GET R/pulls/{pull_number}", "pull_requests:read")] if arguments["pull"] else []),
        *([reads("GET R")] if not arguments["pull"] and not arguments["ref"] else []),
    ]


@GITHUB.tool(needs=_needs)
@in_repo("this commit, branch or pull request")
def get_checks(
    repo: Repo,
    ref: At | None = None,
    pull: Number | None = None,
    failed_only: bool = False,
    annotations: Annotated[bool, Field(description="what failed checks say of lines of code")] = False,
    check_id: Annotated[Number | None, Field(description="all that this one says")] = None,
    offset: Annotated[Offset, Field(description="into that")] = 0,
) -> Steps:
    """Is CI green for this commit, branch or pull request, and what failed."""
    if check_id:
        return (yield from _one_check(repo, check_id, offset))
    if offset:
        raise InvalidInput("offset: only together with check_id.", hint="Add check_id, or leave out offset.")
    if ref and pull:
        raise InvalidInput("Give ref or pull, not both.", hint="Leave out ref or pull.")
    where = ref
    if pull:
        where = str((yield from api.get("R/pulls/{pull_number}", repo, at={"pull_number": pull}))["head"]["sha"])
    if not where:
        where = str((yield from api.get("R", repo))["default_branch"])
    found = yield from _load_checks(repo, where)
    every = found.rows
    counts = count(every)
    rows = Rows(3_000)
    bad = [one for one in every if one["result"] not in _GOOD | _OPEN]
    for row in bad if failed_only else [*bad, *(one for one in every if one not in bad)]:
        if not rows.add(row):
            break
    state = _state(counts, whole=not found.unread)
    told: Json = {"sha": found.sha or where, "state": state, "counts": counts, "items": rows.items}
    told |= {"truncated": bool(found.unread) or len(rows.items) < (len(bad) if failed_only else len(every))}
    told |= {"not_all_read": found.unread} if found.unread else {}
    if annotations:
        told |= yield from _annotations(repo, found.runs)
    return told | {"untrusted": True}


def _one_check(repo: str, id: int, offset: int) -> Asks[Json]:
    """Return a check's title, summary, text and annotations as one text."""
    row = yield from api.get("R/check-runs/{check_run_id}", repo, at={"check_run_id": id})
    lines = yield from api.list_rows("R/check-runs/{check_run_id}/annotations", repo, _PAGES, at={"check_run_id": id})
    output = row.get("output") or {}
    words = [str(output.get(name) or "") for name in ("title", "summary", "text")]
    words += [f"{_place(one)} {one.get('annotation_level')}: {one.get('message')}" for one in lines]
    outside = Prose()
    more = Continuation("github_get_checks", repo=repo, check_id=id)
    told = part(FORM, outside, "\n\n".join(filter(None, words)), PART, offset, more=more)
    told.pop("text_digest", None)
    return outer({"check_id": id, **{name: _run(row)[name] for name in ("name", "result")}, **told}, outside)


def _place(annotation: Mapping[str, Any]) -> str:
    return f"{annotation.get('path')}:{annotation.get('start_line')}-{annotation.get('end_line')}"


def verdict(repo: str, sha: str) -> Asks[Json]:
    """Return counts of a commit's good, failed and pending checks; ``not_all_read`` names incompletely read kinds.

    The result is empty if there is no commit.
    """
    if not sha:
        return {}
    try:
        found = yield from _load_checks(repo, sha)
    except (NotFound, InvalidInput):
        return {"not_all_read": ["check runs", "statuses"]}
    return count(found.rows) | ({"not_all_read": found.unread} if found.unread else {})


def describe_checks(repo: str, sha: str) -> Asks[tuple[str, list[str]]]:
    """Return a sentence about a commit's checks (failed, by name, running or passed) and the names of failed ones."""
    try:
        found = yield from _load_checks(repo, sha)
    except DeputizeError:
        return "checks could not be read", []
    bad = sorted(str(one["name"]) for one in found.rows if one["result"] not in _GOOD | _OPEN)
    return _sentence(bad, count(found.rows)["pending"], len(found.rows), whole=not found.unread), bad


def _sentence(bad: Sequence[str], running: int, total: int, *, whole: bool) -> str:
    if not total:
        told = "there are no checks"
    elif bad:
        more = f" and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
        told = f"{_share(len(bad), total)} failed: {', '.join(bad[:_NAMED])}{more}"
        told += f"; {running} still running" if running else ""
    elif running:
        told = _share(running, total) + (" is still running" if total == 1 else " are still running")
    else:
        told = f"{'all ' * whole}{total} checks passed" if total > 1 else "the only check passed"
    return told if whole else f"{told}, but not all checks could be read"


def _share(some: int, total: int) -> str:
    return f"{some} of {total} checks" if total > 1 else "the only check"


_NAMED: Final = 5  # failed checks that a sentence names


@dataclass(frozen=True, slots=True)
class _Found:
    """The checks of a commit. ``unread``: the kinds that were not read to their end."""

    runs: list[Json]
    statuses: list[Json]
    sha: str
    unread: list[str]

    @property
    def rows(self) -> list[Json]:
        return [*map(_run, self.runs), *map(_status, self.statuses)]


def _load_checks(repo: str, ref: str) -> Asks[_Found]:
    """Return every check of a commit. Later pages belong to the same commit, even if the branch moves."""
    first = [rest(f"GET {method}", repo, wide={"ref": ref}, params={"per_page": _SIZE}) for method in _KINDS]
    runs, status = yield from api.gather(first)
    if isinstance(runs, DeputizeError) and isinstance(status, DeputizeError):
        raise runs
    sha = "" if isinstance(status, DeputizeError) else str(status.get("sha") or "")
    if not sha and not isinstance(runs, DeputizeError):
        sha = str(next((one.get("head_sha") or "" for one in runs.get("check_runs") or ()), ""))
    found: list[list[Json]] = []
    unread: list[str] = []
    for answer, (method, (rows, name)) in zip((runs, status), _KINDS.items(), strict=True):
        told, whole = yield from _pages(method, repo, sha or ref, rows, answer)
        found.append(told)
        unread += [] if whole else [name]
    return _Found(found[0], found[1], sha, unread)


def _pages(method: str, repo: str, ref: str, rows: str, answer: Any) -> Asks[tuple[list[Json], bool]]:
    """Return the rows of all pages after ``answer``, the first page, and whether they are all that GitHub counts."""
    if isinstance(answer, DeputizeError):
        return [], False
    found: dict[tuple[Any, Any], Json] = {}
    total = 0
    for page in range(1, _PAGES + 1):
        if page > 1:
            params = {"per_page": _SIZE, "page": page}
            answer = yield from api.get(method, repo, wide={"ref": ref}, params=params)
        told = answer.get(rows) or ()
        found |= {(one.get("id"), one.get("context")): one for one in told}  # pages can shift between requests
        total = answer.get("total_count") or len(found) + (len(told) == _SIZE)
        if not told or len(found) >= total:
            break
    return list(found.values()), len(found) >= total


def count(rows: Iterable[Mapping[str, Any]]) -> Json:
    """Return the counts of ok, failed and pending checks."""
    results = [str(row["result"]) for row in rows]
    ok, pending = sum(one in _GOOD for one in results), sum(one in _OPEN for one in results)
    return {"ok": ok, "failed": len(results) - ok - pending, "pending": pending}


def _state(counts: Mapping[str, int], *, whole: bool) -> str:
    if counts["failed"]:
        return "failure"
    if not whole:
        return "unknown"
    return "pending" if counts["pending"] else "success" if counts["ok"] else "none"


def _run(row: Mapping[str, Any]) -> Json:
    outside = Prose()
    details = str(row.get("html_url") or row.get("details_url") or "")
    run, _, job = details.partition("/actions/runs/")[2].partition("/job/")
    output = row.get("output") or {}
    silent = not (output.get("summary") or output.get("text") or output.get("annotations_count"))
    return {
        "check_id": None if silent else row.get("id"),
        "name": outside.line(str(row.get("name", "")), 100),
        "result": row.get("conclusion") or row.get("status"),
        "run_id": int(run) if run.isdecimal() else None,
        "job_id": int(job) if job.isdecimal() else None,
        "summary": outside.short(output.get("title") or output.get("summary"), 160),
    }


def _status(row: Mapping[str, Any]) -> Json:
    outside = Prose()
    return {
        "name": outside.line(str(row.get("context", "")), 100),
        "result": row.get("state"),
        "summary": outside.short(row.get("description"), 160),
    }


_ANNOTATED: Final = 5  # failed checks whose annotations are shown together


def _annotations(repo: str, runs: Sequence[Mapping[str, Any]]) -> Asks[Json]:
    """Return the annotations of failed runs on lines of code."""
    bad = [row for row in runs if _run(row)["result"] not in _GOOD | _OPEN]
    method = "GET R/check-runs/{check_run_id}/annotations"
    requests = [rest(method, repo, at={"check_run_id": row["id"]}) for row in bad[:_ANNOTATED]]
    rows, whole = Rows(1_500), len(bad) <= _ANNOTATED
    for answer in (yield from api.gather(requests)):
        whole = whole and not isinstance(answer, DeputizeError) and len(answer) < _FIRST
        for one in [] if isinstance(answer, DeputizeError) else answer:
            told: Json = {
                "path": code(str(one.get("path", "")))[0][:300],
                "lines": f"{one.get('start_line')}-{one.get('end_line')}",
                "level": one.get("annotation_level"),
                "message": Prose().short(one.get("message"), 300),
            }
            whole = rows.add(told) and whole
    cut = {} if whole else {"cut": ["annotations: not all are shown; check_id reads those of one check."]}
    return {"annotations": rows.items, **cut}


_FIRST: Final = 30  # annotations on a page
