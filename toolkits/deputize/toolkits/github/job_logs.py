"""Logs of jobs: their ends, the lines around the first error, or the whole log in parts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from deputize.core import Answer, Continuation, PublicRequest, Request
from deputize.core.errors import DeputizeError, InvalidInput
from deputize.core.tools.steps import MAX_RESPONSE_BYTES
from deputize.toolkits._shared.long_text import ALONE
from deputize.toolkits._shared.page import room_for, text_tokens
from deputize.toolkits._shared.text import window
from deputize.toolkits.github import api
from deputize.toolkits.github.api import Json, rest
from deputize.toolkits.github.base import Asks
from deputize.toolkits.github.prose import Prose, plain_log

BAD: Final = {"failure", "timed_out", "startup_failure", "action_required"}
PAGES: Final = 10
"""Pages of a run's jobs, and of its artifacts."""
_LOGS: Final = 2_800  # tokens of the ends of logs in a result
_ERROR: Final = 700  # tokens of the lines around the first error, of all logs


def jobs_of(repo: str, at: Mapping[str, Any]) -> Asks[list[Any]]:
    return (yield from api.list_rows("R/actions/runs/{run_id}/jobs", repo, PAGES, rows="jobs", at=at))


def ends(
    repo: str, run: int, jobs: Sequence[Mapping[str, Any]], job_id: int | None, tail: int, failed: bool
) -> Asks[list[Json]]:
    """Return the ends of logs: of one job, of the failed jobs, or of the first few."""
    if job_id:
        chosen = [_find_job(jobs, job_id)]
    else:
        bad = [job for job in jobs if job.get("conclusion") in BAD]
        chosen = (bad if failed else [*bad, *(job for job in jobs if job not in bad)])[:3]
    shown: list[Json] = []
    for job in chosen:
        told: Json = {"job": Prose().line(str(job.get("name", "")), 80), "job_id": job["id"]}
        try:
            log = yield from _log(repo, int(job["id"]))
        except DeputizeError as refused:
            shown.append(told | {"reason": f"The log could not be read: {refused.message}"})
            continue
        more = _read_call(repo, run, int(job["id"]))
        shown.append(told | _end(log, more, tail, max(len(chosen), 1)))
    return shown


def _find_job(jobs: Sequence[Mapping[str, Any]], job_id: int) -> Mapping[str, Any]:
    found = next((job for job in jobs if job["id"] == job_id), None)
    if found is None:
        raise InvalidInput("job_id: not a job of this run.", hint='include=["jobs"] lists them.')
    return found


def part_of(repo: str, at: Mapping[str, Any], job_id: int | None, offset: int) -> Asks[Json]:
    """Return a part of one job's log, from a character on."""
    if job_id is None:
        raise InvalidInput("offset: only together with job_id: it is a place in the log of one job.")
    job = _find_job((yield from jobs_of(repo, at)), job_id)
    text = _shown_log((yield from _log(repo, job_id)))
    if offset > len(text):
        raise InvalidInput("offset: beyond the end of the log.", hint=f"The log has {len(text)} characters.")
    shown, end = window(text, offset, room_for(text, offset, ALONE))
    told: Json = {"run_id": at["run_id"], "job_id": job_id, "job": Prose().line(str(job.get("name", "")), 80)}
    told |= {"text": shown, "total_chars": len(text), "untrusted": True}
    more = _read_call(repo, int(at["run_id"]), job_id)
    return told | ({"truncated": True, "next_offset": end, "more": more.at(end)} if end else {})


def _read_call(repo: str, run: int, job: int) -> Continuation:
    """Return the call that reads the log of a job."""
    return Continuation("github_get_run", repo=repo, run_id=run, job_id=job)


def _log(repo: str, job: int) -> Asks[str]:
    data = yield from fetch_signed(
        rest("GET R/actions/jobs/{job_id}/logs", repo, at={"job_id": job}, raw=True), MAX_RESPONSE_BYTES
    )
    return data.decode(errors="replace")


def fetch_signed(request: Request, most: int) -> Asks[bytes]:
    """Fetch data from the signed address that GitHub returns, without the user's token."""
    answer: Answer = yield request
    if answer.status in (301, 307, 308):  # the repository was renamed; a 302 leads to the log
        answer = yield api.follow_move(request, answer)
    if 300 <= answer.status < 400:
        answer = yield PublicRequest(answer.headers.get("location", ""), max_bytes=most)
    return answer.data if isinstance(answer.data, bytes) else str(answer.data or "").encode()


_STAMP: Final = re.compile(r"^\ufeff?\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z ?", re.MULTILINE)


def _shown_log(log: str) -> str:
    """Return a log without timestamps, colours and other control characters. Offsets count the remaining text."""
    return plain_log(_STAMP.sub("", log)).rstrip("\n")


def _end(log: str, more: Continuation, tail: int, logs: int) -> Json:
    """Return a log's last lines, the lines around its first error, and their offsets. ``more``: the call that reads the
    log. ``logs``: number of logs that share the budget."""
    text = _shown_log(log)
    lines = text.split("\n")
    kept, room = list[str](), _LOGS // logs
    for line in reversed(lines[-tail:]):
        room -= text_tokens(line) + 1
        if room < 0 and kept:
            break
        kept.insert(0, line)
    end = "\n".join(kept)
    shown = window(end, 0, room_for(end, 0, _LOGS // logs))[0]
    told: Json = {"text": shown, "total_lines": len(lines), "total_chars": len(text)}
    first = next((n for n, line in enumerate(lines) if "##[error]" in line), None)
    if first is not None and first < len(lines) - len(kept):
        start = max(first - 10, 0)
        near = "\n".join(lines[start : first + 10])
        around = window(near, 0, room_for(near, 0, _ERROR // logs))[0]
        told["first_error"] = {"text": around, "offset": sum(len(line) + 1 for line in lines[:start])}
        told["first_error"]["more"] = more.at(told["first_error"]["offset"])
    if len(shown) < len(text):
        begins = len(text) - len(end)
        told |= {"truncated": True, "offset": begins, "more": more.at(0)}
        told |= {"next_offset": begins + len(shown)} if begins + len(shown) < len(text) else {}
    return told
