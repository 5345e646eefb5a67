"""GitHub: whether CI is green, and what failed. A commit has check runs, and statuses of the older kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from deputize.core.act.toolkit import Arguments, Need, Steps
from deputize.core.errors import DeputizeError, InvalidInput
from deputize.toolkits._github import api
from deputize.toolkits._github.api import Json, in_repo, rest
from deputize.toolkits._github.base import GITHUB, Asks, optional, reads
from deputize.toolkits._github.places import Number, Ref, Repo
from deputize.toolkits._github.prose import Prose, code
from deputize.toolkits._page import Rows

_GOOD: Final = {"success", "neutral", "skipped"}
_OPEN: Final = {"pending", "queued", "in_progress", "waiting", "requested", "expected"}


def _needs(arguments: Arguments) -> Sequence[Need]:
    annotated = reads("GET R/check-runs/{check_run_id}/annotations", "checks:read")
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
    ref: Ref | None = None,
    pull: Number | None = None,
    failed_only: bool = False,
    annotations: bool = False,
) -> Steps:
    """Is CI green for this commit, branch or pull request, and what failed."""
    if ref and pull:
        raise InvalidInput("Give ref or pull, not both.")
    where = ref
    if pull:
        where = str((yield from api.get("R/pulls/{pull_number}", repo, at={"pull_number": pull}))["head"]["sha"])
    if not where:
        where = str((yield from api.get("R", repo))["default_branch"])
    runs, statuses, sha = yield from _all(repo, where)
    every = [*map(_run, runs), *map(_status, statuses)]
    counts = count(every)
    rows = Rows(3_000)
    bad = [one for one in every if one["result"] not in _GOOD | _OPEN]
    for row in bad if failed_only else [*bad, *(one for one in every if one not in bad)]:
        if not rows.add(row):
            break
    told: Json = {"sha": sha or where, "state": _state(counts), "counts": counts, "items": rows.items}
    told |= {"truncated": len(rows.items) < (len(bad) if failed_only else len(every))}
    if annotations:
        told["annotations"] = yield from _annotations(repo, runs)
    return told | {"from_outside": True}


def verdict(repo: str, sha: str) -> Asks[Json]:
    """How many checks of a commit are good, failed and pending. Nothing where they cannot be seen."""
    if not sha:
        return {}
    runs, statuses, _ = yield from _all(repo, sha)
    return count([*map(_run, runs), *map(_status, statuses)])


def _all(repo: str, ref: str) -> Asks[tuple[list[Any], list[Any], str]]:
    wide = {"ref": ref}
    runs, status = yield from api.many(
        [
            rest("GET R/commits/{ref}/check-runs", repo, wide=wide, params={"per_page": 100}),
            rest("GET R/commits/{ref}/status", repo, wide=wide, params={"per_page": 100}),
        ]
    )
    if isinstance(runs, DeputizeError) and isinstance(status, DeputizeError):
        raise runs
    runs = {} if isinstance(runs, DeputizeError) else runs
    status = {} if isinstance(status, DeputizeError) else status
    found = list(runs.get("check_runs") or ())
    sha = str(status.get("sha") or (found[0].get("head_sha") if found else "") or "")
    return found, list(status.get("statuses") or ()), sha


def count(rows: Iterable[Mapping[str, Any]]) -> Json:
    """How many are ok, failed and pending."""
    results = [str(row["result"]) for row in rows]
    ok, pending = sum(one in _GOOD for one in results), sum(one in _OPEN for one in results)
    return {"ok": ok, "failed": len(results) - ok - pending, "pending": pending}


def _state(counts: Mapping[str, int]) -> str:
    if counts["failed"]:
        return "failure"
    return "pending" if counts["pending"] else "success" if counts["ok"] else "none"


def _run(row: Mapping[str, Any]) -> Json:
    outside = Prose()
    details = str(row.get("html_url") or row.get("details_url") or "")
    run, _, job = details.partition("/actions/runs/")[2].partition("/job/")
    output = row.get("output") or {}
    return {
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


def _annotations(repo: str, runs: Sequence[Mapping[str, Any]]) -> Asks[list[Json]]:
    """What failed runs say about lines of code."""
    bad = [row for row in runs if _run(row)["result"] not in _GOOD | _OPEN][:5]
    requests = [
        rest("GET R/check-runs/{check_run_id}/annotations", repo, at={"check_run_id": row["id"]}) for row in bad
    ]
    rows = Rows(1_500)
    for answer in (yield from api.many(requests)):
        for one in [] if isinstance(answer, DeputizeError) else answer:
            told: Json = {
                "path": code(str(one.get("path", "")))[0][:300],
                "lines": f"{one.get('start_line')}-{one.get('end_line')}",
                "level": one.get("annotation_level"),
                "message": Prose().short(one.get("message"), 300),
            }
            if not rows.add(told):
                return rows.items
    return rows.items
