"""GitHub Actions: workflows, runs, jobs and their logs."""

from __future__ import annotations

import io
import zipfile

from deputize.sandbox.github.call import Call, Json
from deputize.sandbox.github.routes import route
from deputize.sandbox.github.seed_code import run as new_run
from deputize.sandbox.http_types import Ask, Refused, Reply
from deputize.sandbox.world import World

BLOBS = "productionresultssa1.blob.core.windows.net"
_RUN = "R/actions/runs/{run_id}"


@route("GET", "R/actions/workflows", "actions:read")
def workflows(call: Call, repo: Json) -> Reply:
    return call.page(list(call.records("workflows", repo)), "workflows")


def _workflow(call: Call, repo: Json, id: str) -> Json:
    for row in call.records("workflows", repo):
        if id in (str(row["id"]), row["path"].rpartition("/")[2]):
            return row
    raise call.not_found()


@route("GET", "R/actions/workflows/{workflow_id}", "actions:read")
def workflow(call: Call, repo: Json, workflow_id: str) -> Reply:
    """Return a workflow by its id or its file name."""
    return call.reply(_workflow(call, repo, workflow_id))


@route("GET", "R/actions/runs", "actions:read")
def runs(call: Call, repo: Json) -> Reply:
    """Return all runs, newest first."""
    return _page(call, repo, call.records("runs", repo))


@route("GET", "R/actions/workflows/{workflow_id}/runs", "actions:read")
def workflow_runs(call: Call, repo: Json, workflow_id: str) -> Reply:
    id = _workflow(call, repo, workflow_id)["id"]
    return _page(call, repo, [row for row in call.records("runs", repo) if row["workflow"] == id])


def _page(call: Call, repo: Json, rows: list[Json]) -> Reply:
    ask = call.ask
    wanted = {
        "branch": ask.one("branch"),
        "event": ask.one("event"),
        "actor": ask.one("actor"),
        "sha": ask.one("head_sha"),
    }
    state, since = ask.one("status"), ask.one("created").removeprefix(">=")
    found = [
        _run(call, repo, row)
        for row in reversed(rows)
        if all(not value or row[name] == value for name, value in wanted.items())
        and state in ("", row["status"], row["conclusion"])
        and row["at"] >= since
    ]
    return call.page(found, "workflow_runs")


def _run(call: Call, repo: Json, row: Json) -> Json:
    return {
        "id": row["id"],
        "node_id": f"WFR_{row['id']}",
        "name": row["name"],
        "display_title": row["name"],
        "run_number": row["id"] % 1000,
        "run_attempt": row["attempt"],
        "event": row["event"],
        "status": row["status"],
        "conclusion": row["conclusion"],
        "head_branch": row["branch"],
        "head_sha": row["sha"],
        "workflow_id": row["workflow"],
        "actor": call.user(row["actor"]),
        "created_at": row["at"],
        "run_started_at": row["at"],
        "updated_at": row["at"],
        "html_url": f"https://github.com/{repo['full_name']}/actions/runs/{row['id']}",
    }


def _find_run(call: Call, repo: Json, run_id: str) -> Json:
    row = next((one for one in call.records("runs", repo) if str(one["id"]) == run_id), None)
    if row is None:
        raise call.not_found()
    return row


@route("GET", _RUN, "actions:read")
def run(call: Call, repo: Json, run_id: str) -> Reply:
    return call.reply(_run(call, repo, _find_run(call, repo, run_id)))


@route("GET", f"{_RUN}/jobs", "actions:read")
def jobs(call: Call, repo: Json, run_id: str) -> Reply:
    """Return the run's jobs with their steps."""
    row = _find_run(call, repo, run_id)
    rows = [
        {
            "id": job["id"],
            "run_id": row["id"],
            "name": job["name"],
            "status": "completed",
            "conclusion": job["conclusion"],
            "steps": [{"name": "Run pytest", "status": "completed", "conclusion": job["conclusion"], "number": 1}],
        }
        for job in row["jobs"]
    ]
    return call.page(rows, "jobs")


@route("GET", f"{_RUN}/artifacts", "actions:read")
def artifacts(call: Call, repo: Json, run_id: str) -> Reply:
    """Return the run's artifacts: always one."""
    return call.page([_artifact(call, _find_run(call, repo, run_id))], "artifacts")


def _artifact(call: Call, row: Json) -> Json:
    about = {"name": row.get("artifact_name", "report"), "expires_at": call.now, "expired": row.get("expired", False)}
    return {"id": row["id"] + 1, "size_in_bytes": len(_archive(row)), **about}


def _archive(row: Json) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in row.get("files", {"report.txt": "All is well."}).items():
            archive.writestr(zipfile.ZipInfo(name), text)
    return packed.getvalue()


@route("GET", "R/actions/artifacts/{artifact_id}", "actions:read")
def artifact(call: Call, repo: Json, artifact_id: str) -> Reply:
    return call.reply(_artifact(call, _find_run(call, repo, str(int(artifact_id) - 1))))


@route("GET", "R/actions/artifacts/{artifact_id}/{archive_format}", "actions:read")
def download(call: Call, repo: Json, artifact_id: str, archive_format: str) -> Reply:
    """Return 302 to a signed URL, or 410 for an expired artifact."""
    if _find_run(call, repo, str(int(artifact_id) - 1)).get("expired"):
        raise Refused(call.refusal(410, "Artifact has expired"))
    url = f"https://{BLOBS}/artifacts/{repo['id']}/{artifact_id}?sig=sandbox"
    return call.reply(None, 302, more=[("location", url)])


@route("GET", "R/actions/jobs/{job_id}/logs", "actions:read")
def logs(call: Call, repo: Json, job_id: str) -> Reply:
    """Return 302 to a signed URL."""
    if not any(str(job["id"]) == job_id for row in call.records("runs", repo) for job in row["jobs"]):
        raise call.not_found()
    url = f"https://{BLOBS}/logs/{repo['id']}/{job_id}?sig=sandbox"
    return call.reply(None, 302, more=[("location", url)])


def blob(ask: Ask, world: World) -> Reply:
    """Return a log or an artifact at its signed URL. A request with a token is refused."""
    _, kind, repo, job = (ask.path + "///").split("/")[:4]
    if "authorization" in ask.headers or ask.one("sig") != "sandbox":
        return Reply(400, (("content-type", "application/xml"),), b"<Error/>")
    for name, rows in world.services["github"]["runs"].items():
        if str(world.services["github"]["repos"][name]["id"]) == repo:
            packed = next((row for row in rows if str(row["id"] + 1) == job), None) if kind == "artifacts" else None
            if packed:
                return Reply(200, (("content-type", "application/zip"),), _archive(packed))
            for one in (one for row in rows for one in row["jobs"]):
                if str(one["id"]) == job:
                    return Reply(200, (("content-type", "text/plain"),), one["log"].encode())
    return Reply(404, (("content-type", "application/xml"),), b"<Error/>")


@route("POST", "R/actions/workflows/{workflow_id}/dispatches", "actions:write", push=True)
def dispatch(call: Call, repo: Json, workflow_id: str) -> Reply:
    """Return 200 with the run if the request wants details, else 204."""
    flow, given = _workflow(call, repo, workflow_id), call.body()
    if given.get("ref") not in repo["branches"]:
        raise Refused(call.refusal(422, f"No ref found for: {given.get('ref')}"))
    sha = repo["branches"][given["ref"]]
    id = call.next_id()
    row = new_run(id, flow["id"], flow["name"], given["ref"], sha, "workflow_dispatch", call.me, call.now, "", [])
    call.records("runs", repo).append(row)
    if not given.get("return_run_details") or call.store.get("old_host"):
        return call.empty_reply()
    started = _run(call, repo, row)
    return call.reply({"workflow_run_id": id, "run_url": "", "html_url": started["html_url"]})


@route("POST", f"{_RUN}/rerun", "actions:write", push=True)
def rerun(call: Call, repo: Json, run_id: str) -> Reply:
    """Return 201 and start another attempt."""
    row = _find_run(call, repo, run_id)
    if row["status"] != "completed":
        raise Refused(call.refusal(403, "This workflow is already running"))
    row |= {"attempt": row["attempt"] + 1, "status": "queued", "conclusion": None}
    return call.reply({}, 201)


@route("POST", f"{_RUN}/rerun-failed-jobs", "actions:write", push=True)
def rerun_failed(call: Call, repo: Json, run_id: str) -> Reply:
    return rerun(call, repo, run_id)


@route("POST", f"{_RUN}/cancel", "actions:write", push=True)
def cancel(call: Call, repo: Json, run_id: str) -> Reply:
    """Return 202, or 409 for a completed run."""
    row = _find_run(call, repo, run_id)
    if row["status"] == "completed":
        raise Refused(call.refusal(409, "Cannot cancel a workflow run that is completed."))
    row |= {"status": "completed", "conclusion": "cancelled"}
    return call.reply({}, 202)


@route("POST", f"{_RUN}/force-cancel", "actions:write", push=True)
def force_cancel(call: Call, repo: Json, run_id: str) -> Reply:
    return cancel(call, repo, run_id)
