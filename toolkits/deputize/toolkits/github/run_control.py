"""GitHub Actions: starting, repeating and cancelling runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from deputize.core import Account, Effect, Need, Run, Steps
from deputize.core.errors import InvalidInput
from deputize.core.tools.tool import Arguments
from deputize.toolkits.github import api
from deputize.toolkits.github.actions import WORKFLOW, WORKFLOWS, workflow_of
from deputize.toolkits.github.api import Json, rest
from deputize.toolkits.github.argument_types import At, Number, Repo, Workflow
from deputize.toolkits.github.base import GITHUB, SENDS, Asks, changes, reads
from deputize.toolkits.github.idempotent_create import LOST, raise_if_unsent, write_once
from deputize.toolkits.github.issues import moment
from deputize.toolkits.github.not_found import in_repo
from deputize.toolkits.github.prose import Content
from deputize.toolkits.github.show_fields import HOME, commit_shown, home_of

_RUNS: Final = "R/actions/workflows/{workflow_id}/runs"


@GITHUB.tool(
    needs=lambda arguments: [
        *changes("POST R/actions/workflows/{workflow_id}/dispatches", "actions:write"),
        reads(WORKFLOWS, "actions:read"),
        reads(WORKFLOW, "actions:read"),
        reads(f"GET {_RUNS}", "actions:read"),
        HOME,
    ],
    effect=SENDS,
    toolset="actions",
)
@in_repo("this workflow")
def run_workflow(
    repo: Repo,
    workflow: Annotated[Workflow, Field(description="name, file or id")],
    ref: At | None = None,
    inputs: dict[str, Content] | None = None,
    *,
    run: Run,
) -> Steps:
    """Start a workflow_dispatch workflow."""
    if len(inputs or {}) > 25:
        raise InvalidInput("inputs: at most 25.", hint="Leave out those that have a default.")
    if run.noted:
        repo, on = str(run.noted.get("repo") or repo), str(run.noted.get("ref") or ref or "")
        at = {"workflow_id": str(run.noted.get("workflow") or workflow)}
    else:
        home = yield from home_of(repo)
        repo, on = home.name, ref or home.default_branch
        row = yield from workflow_of(repo, workflow)
        at = {"workflow_id": str(row["id"])}
        given = [f"{name}: {value}" for name, value in sorted((inputs or {}).items())]
        named = f"{row.get('name')} ({row.get('path')})"
        yield home.shows("Run this workflow", workflow=named, on=on, inputs=given or None, pins={"workflow": row["id"]})
    body: Json = {"ref": on, "return_run_details": True} | ({"inputs": inputs} if inputs else {})
    request = rest("POST R/actions/workflows/{workflow_id}/dispatches", repo, at=at, json=body)

    earlier = [] if run.noted else (yield from _list_started(repo, at, run.account, run.now))
    before = max((int(row["id"]) for row in earlier), default=0)

    def look() -> Asks[Json | None]:
        rows = yield from _list_started(repo, at, run.account, run.now)
        new = [dict(row) for row in rows if int(row["id"]) > before]
        return new[0] if len(new) == 1 else None

    made = yield from write_once(
        run.noted, api.write(request), look, "run", repo=repo, ref=on, workflow=at["workflow_id"]
    )
    if not made:  # an older host returns nothing
        made = (yield from look()) or {}
    id = made.get("workflow_run_id") or made.get("id")
    return {
        "workflow": workflow,
        "ref": on,
        "run_id": id,
        "url": made.get("html_url"),
        "summary": "Started." if id else "Started; its run is not to be seen yet.",
    }


def _list_started(repo: str, at: Json, account: Account, now: float) -> Asks[list[Json]]:
    """Return the newest runs that this account started manually."""
    since = moment("-2m", now, "now")
    params = {"event": "workflow_dispatch", "actor": account.name, "created": f">={since}", "per_page": 5}
    found = yield from api.get(_RUNS, repo, at=at, params=params)
    return list((found or {}).get("workflow_runs") or ())


# ----------------------------------------------------------------- repeat, cancel

Action = Literal["rerun", "rerun_failed", "cancel", "force_cancel"]
_PATHS: Final = {
    "rerun": "rerun",
    "rerun_failed": "rerun-failed-jobs",
    "cancel": "cancel",
    "force_cancel": "force-cancel",
}


def _control_needs(arguments: Arguments) -> Sequence[Need]:
    run = "R/actions/runs/{run_id}"
    path = _PATHS.get(arguments["action"], "rerun")
    return [*changes(f"POST {run}/{path}", "actions:write"), reads(f"GET {run}", "actions:read"), HOME]


@GITHUB.tool(
    needs=_control_needs,
    effect=lambda arguments: Effect.WRITES | Effect.DESTRUCTIVE if "cancel" in arguments["action"] else SENDS,
    gravest=SENDS | Effect.DESTRUCTIVE,
    toolset="actions",
)
@in_repo("this run")
def control_run(repo: Repo, run_id: Number, action: Action, debug: bool = False) -> Steps:
    """Re-run, re-run failed jobs, or cancel a workflow run."""
    if debug and "cancel" in action:
        raise InvalidInput("debug: only together with a rerun.", hint="Add a rerun, or leave out debug.")
    at = {"run_id": run_id}
    home = yield from home_of(repo)
    repo = home.name
    before = yield from api.get("R/actions/runs/{run_id}", repo, at=at)
    if "cancel" in action and before.get("status") == "completed":
        return _receipt(before, "It had ended already.")
    body = {"enable_debug_logging": True} if debug else None
    cancels = "cancel" in action
    yield home.shows(
        _WHAT[action],
        branch=str(before.get("head_branch") or ""),
        workflow=f"{before.get('name')} #{before.get('run_number')}",
        commit=commit_shown(str(before.get("head_sha")), before.get("display_title")),
        with_debug_log=debug or None,
        pins={"run": before.get("id"), "attempt": before.get("run_attempt")},
        undo="it can be run again" if cancels else None,
        context={"link": before.get("html_url")},
        beside={"state": str(before.get("conclusion") or before.get("status")).replace("_", " ")},
    )
    request = rest(
        f"POST R/actions/runs/{{run_id}}/{_PATHS[action]}", repo, at=at, json=body, repeat="idem" if cancels else None
    )
    try:
        yield from api.send(request)
    except LOST as lost:
        raise_if_unsent(lost)
        after = yield from api.get("R/actions/runs/{run_id}", repo, at=at)
        if after.get("run_attempt") == before.get("run_attempt") and not cancels:
            raise
    after = yield from api.get("R/actions/runs/{run_id}", repo, at=at)
    return _receipt(after, "Cancelling." if cancels else "Running again.")


_WHAT: Final = {
    "rerun": "Run this workflow again",
    "rerun_failed": "Run the failed jobs of this workflow again",
    "cancel": "Cancel this run of a workflow",
    "force_cancel": "Cancel this run of a workflow by force",
}


def _receipt(row: Mapping[str, Any], summary: str) -> Json:
    return {
        "run_id": row.get("id"),
        "attempt": row.get("run_attempt"),
        "status": row.get("conclusion") or row.get("status"),
        "url": row.get("html_url"),
        "summary": summary,
    }
