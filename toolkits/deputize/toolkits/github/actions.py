"""GitHub Actions: runs and their logs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from deputize.core import Need, Run, Steps
from deputize.core.errors import InvalidInput
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared.arguments import Cursor, Find, Limit
from deputize.toolkits._shared.page import Rows
from deputize.toolkits._shared.zone import in_zone, nobody
from deputize.toolkits.github import api, job_logs
from deputize.toolkits.github.api import Json, List, pages
from deputize.toolkits.github.argument_types import Branch, Login, Number, Repo, Sha, When, Word, Workflow
from deputize.toolkits.github.artifacts import artifact_row
from deputize.toolkits.github.base import GITHUB, Asks, reads
from deputize.toolkits.github.issues import moment
from deputize.toolkits.github.name_lookup import check_people, near_names, pick
from deputize.toolkits.github.not_found import in_repo
from deputize.toolkits.github.prose import Prose
from deputize.toolkits.github.rows import ZONED, full, login, outer, short

Status = Literal["queued", "in_progress", "completed", "success", "failure", "cancelled", "action_required"]
WORKFLOWS: Final = "GET R/actions/workflows"
WORKFLOW: Final = f"{WORKFLOWS}/{{workflow_id}}"


def _list_needs(arguments: Arguments) -> Sequence[Need]:
    runs = "GET R/actions/workflows/{workflow_id}/runs" if arguments["workflow"] else "GET R/actions/runs"
    people = [reads("GET U")] if arguments["actor"] else []
    return [reads(runs, "actions:read"), reads(WORKFLOWS, "actions:read"), *people]


@GITHUB.tool(needs=_list_needs, toolset="actions")
@in_repo("this workflow")
def list_runs(
    repo: Repo,
    workflow: Annotated[Workflow | None, Field(description="name, file or id")] = None,
    branch: Branch | None = None,
    status: Status | None = None,
    event: Word | None = None,
    actor: Annotated[Login | None, Field(description="login")] = None,
    head_sha: Sha | None = None,
    after: When | None = None,
    limit: Limit = 20,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """Workflow runs of a repository, and its workflows."""
    run = yield from in_zone(run, nobody, after=after)
    since = moment(after, run.now, "after", run.zone)
    params = {
        "branch": branch,
        "status": status,
        "event": event,
        "actor": actor,
        "head_sha": head_sha,
        "created": f">={since}" if since else None,
    }
    bound = ("github_list_runs", run.account.subject, repo, workflow, *params.values())
    method, at = "R/actions/runs", {}
    if workflow:
        method, at = "R/actions/workflows/{workflow_id}/runs", {"workflow_id": (yield from id_of(repo, workflow))}
    listing = List(bound, pages(method, repo, rows="workflow_runs", at=at, params=params), _run, 2_600, more=ZONED)
    shown = yield from listing.show(limit, cursor)
    if cursor:
        return shown
    if not shown["items"]:
        _check_event(event)
        yield from check_people(run.account, actor=actor)
    rows = yield from api.list_rows("R/actions/workflows", repo, rows="workflows")
    return {**_some("workflows", [_workflow(row) for row in rows], 700), **shown, "untrusted": True}


_EVENTS: Final = frozenset(
    "branch_protection_rule check_run check_suite create delete deployment deployment_status discussion "
    "discussion_comment dynamic fork gollum issue_comment issues label merge_group milestone page_build public "
    "pull_request pull_request_review pull_request_review_comment pull_request_target push registry_package release "
    "repository_dispatch schedule status watch workflow_call workflow_dispatch workflow_run".split()
)


def _check_event(event: str | None) -> None:
    """Raise `InvalidInput` for an event that starts no workflow: GitHub would return an empty list for it."""
    if event and event not in _EVENTS:
        near = near_names(event, _EVENTS) or ["push", "pull_request", "workflow_dispatch", "schedule"]
        raise InvalidInput("event: no workflow is started by this.", hint=f"There are {', '.join(near)}, and others.")


def id_of(repo: str, workflow: str) -> Asks[str]:
    """Return a workflow's file or id, looked up if the argument is a name."""
    return workflow if _is_id(workflow) else str((yield from workflow_of(repo, workflow))["id"])


def workflow_of(repo: str, workflow: str) -> Asks[Mapping[str, Any]]:
    """Return a workflow by its file, id or name."""
    if _is_id(workflow):
        return dict((yield from api.get("R/actions/workflows/{workflow_id}", repo, at={"workflow_id": workflow})))
    rows = yield from api.list_rows("R/actions/workflows", repo, rows="workflows")
    return dict(pick(workflow, rows, "workflow", lambda row: str(row["name"])))


def _is_id(workflow: str) -> bool:
    return workflow.isdecimal() or bool(re.fullmatch(r"[A-Za-z0-9._-]{1,255}\.ya?ml", workflow))


def _workflow(row: Mapping[str, Any]) -> Json:
    outside = Prose()
    path = str(row.get("path", "")).rpartition("/")[2]
    return {
        "id": row.get("id"),
        "name": outside.line(str(row.get("name", "")), 80),
        "file": outside.line(path, 100),
        "state": row.get("state"),
    }


def _run(row: Mapping[str, Any]) -> Json:
    outside = Prose()
    shown: Json = {
        "run_id": row.get("id"),
        "name": outside.line(str(row.get("display_title") or row.get("name") or ""), 80),
        "number": row.get("run_number"),
        "status": row.get("conclusion") or row.get("status"),
        "branch": outside.line(str(row.get("head_branch") or ""), 60),
        "sha": str(row.get("head_sha", ""))[:12],
        "event": row.get("event"),
        "actor": login(row.get("actor")),
        "started": short(row.get("run_started_at") or row.get("created_at")),
    }
    return outer(shown, outside)


# ----------------------------------------------------------------- one run

Extra = Literal["jobs", "logs", "artifacts"]


def _get_needs(arguments: Arguments) -> Sequence[Need]:
    wanted = arguments["include"] or ()
    run = "GET R/actions/runs/{run_id}"
    logs = [f"{run}/jobs", "GET R/actions/jobs/{job_id}/logs"]
    methods = [run] if arguments["offset"] is None and arguments["find"] is None else logs
    methods += [f"{run}/jobs"] if {"jobs", "logs"} & set(wanted) else []
    methods += ["GET R/actions/jobs/{job_id}/logs"] if "logs" in wanted else []
    methods += [f"{run}/artifacts"] if "artifacts" in wanted else []
    return [reads(method, "actions:read") for method in methods]


@GITHUB.tool(needs=_get_needs, toolset="actions")
@in_repo("this run")
def get_run(
    repo: Repo,
    run_id: Number,
    include: list[Extra] | None = None,
    job_id: Annotated[Number | None, Field(description="the log of this job")] = None,
    offset: Annotated[int | None, Field(ge=0, description="into that log, which is read on from there")] = None,
    find: Find = None,
    tail_lines: int = 100,
    failed_only: bool = True,
) -> Steps:
    """One workflow run: jobs, failed steps, ends and errors of logs, artifacts; or words in the logs."""
    if not 1 <= tail_lines <= 1000:
        raise InvalidInput("tail_lines: must be 1 to 1000.", hint="Read more with offset.")
    at, jobs = {"run_id": run_id}, list[Any]()
    if find is not None:
        jobs = yield from job_logs.jobs_of(repo, at)
        found = yield from job_logs.find_in_logs(repo, run_id, jobs, job_id, find, offset or 0, failed_only)
        return {"run_id": run_id, "logs": found, "untrusted": True}
    if offset is not None:
        return (yield from job_logs.part_of(repo, at, job_id, offset))
    row = yield from api.get("R/actions/runs/{run_id}", repo, at=at)
    wanted = include or []
    shown: Json = {
        "run_id": row.get("id"),
        "name": Prose().line(str(row.get("name") or ""), 100),
        "status": row.get("status"),
        "conclusion": row.get("conclusion"),
        "attempt": row.get("run_attempt"),
        "branch": Prose().line(str(row.get("head_branch") or ""), 100),
        "sha": row.get("head_sha"),
        "started": full(row.get("run_started_at")),
        "url": row.get("html_url"),
        "untrusted": True,
    }
    if "jobs" in wanted or "logs" in wanted:
        jobs = sorted(
            (yield from job_logs.jobs_of(repo, at)), key=lambda job: job.get("conclusion") not in job_logs.BAD
        )
    if "jobs" in wanted:
        shown |= _some("jobs", [_job(job) for job in jobs])
    if "logs" in wanted:
        shown["logs"] = yield from job_logs.ends(repo, run_id, jobs, job_id, tail_lines, failed_only)
    if "artifacts" in wanted:
        files = yield from api.list_rows(
            "R/actions/runs/{run_id}/artifacts", repo, job_logs.PAGES, rows="artifacts", at=at
        )
        more = _some("artifacts", [artifact_row(one) for one in files])
        shown |= more | {"cut": [*shown.get("cut", ()), *more.get("cut", ())]} if "cut" in more else more
    return shown


def _some(name: str, all_: Sequence[Json], budget: int = 1_200) -> Json:
    """Return the rows that fit the budget, with a note of the total number."""
    rows = Rows(budget)
    for row in all_:
        if not rows.add(row):
            break
    cut = {"cut": [f"{name}: {len(rows.items)} of {len(all_)} are shown."]} if len(rows.items) < len(all_) else {}
    return {name: rows.items, **cut}


def _job(row: Mapping[str, Any]) -> Json:
    outside = Prose()
    steps = row.get("steps") or ()
    failed = [outside.line(str(one.get("name", "")), 80) for one in steps if one.get("conclusion") in job_logs.BAD]
    shown: Json = {
        "job_id": row.get("id"),
        "name": outside.line(str(row.get("name", "")), 80),
        "result": row.get("conclusion") or row.get("status"),
        "failed_steps": failed[:10],
    }
    return {name: value for name, value in shown.items() if value}
