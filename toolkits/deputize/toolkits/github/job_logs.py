"""Logs of jobs: their ends and errors, the lines around some words, or the whole log in parts."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from deputize.core import Answer, Continuation, PublicRequest, Request
from deputize.core.errors import DeputizeError, InvalidInput
from deputize.core.tools.steps import MAX_RESPONSE_BYTES
from deputize.toolkits._shared.find_text import excerpts
from deputize.toolkits._shared.long_text import ALONE, matches
from deputize.toolkits._shared.page import Rows, room_for, text_tokens
from deputize.toolkits._shared.text import window
from deputize.toolkits.github import api
from deputize.toolkits.github.api import Json, rest
from deputize.toolkits.github.base import Asks
from deputize.toolkits.github.prose import Prose, plain_log

BAD: Final = {"failure", "timed_out", "startup_failure", "action_required"}
PAGES: Final = 10
"""Pages of a run's jobs, and of its artifacts."""
_LOGS: Final = 2_800  # tokens of the ends of logs in a result
_ERRORS: Final = 700  # tokens of the lines around the errors before those ends, of all logs
_AROUND_ERROR: Final = 4  # lines before and after each of them
_MATCHES: Final = 3_400  # tokens of the lines around some words, of all logs
_ERROR_MARKER: Final = re.compile(r"^##\[error\]", re.MULTILINE)


def jobs_of(repo: str, at: Mapping[str, Any]) -> Asks[list[Any]]:
    return (yield from api.list_rows("R/actions/runs/{run_id}/jobs", repo, PAGES, rows="jobs", at=at))


def ends(
    repo: str, run: int, jobs: Sequence[Mapping[str, Any]], job_id: int | None, tail: int, failed: bool
) -> Asks[list[Json]]:
    """Return the ends of logs: of one job, of the failed jobs, or of the first few."""
    chosen = _choose(jobs, job_id, failed=failed)

    def end(log: str, job: Mapping[str, Any]) -> Json:
        return _first_failed_step(job) | _end(log, _read_call(repo, run, int(job["id"])), tail, len(chosen))

    return (yield from _each_log(repo, chosen, end))


def find_in_logs(
    repo: str, run: int, jobs: Sequence[Mapping[str, Any]], job_id: int | None, find: str, offset: int, failed: bool
) -> Asks[list[Json]]:
    """Return the lines around some words in the logs that `ends` would choose. ``offset``: where to begin."""
    chosen = _choose(jobs, job_id, failed=failed)

    def search(log: str, job: Mapping[str, Any]) -> Json:
        more = _read_call(repo, run, int(job["id"]), find=find)
        return matches(_shown_log(log), find, offset, _MATCHES // len(chosen), more)

    return (yield from _each_log(repo, chosen, search))


def _choose(jobs: Sequence[Mapping[str, Any]], job_id: int | None, *, failed: bool) -> list[Mapping[str, Any]]:
    if job_id:
        return [_find_job(jobs, job_id)]
    bad = [job for job in jobs if job.get("conclusion") in BAD]
    return (bad if failed else [*bad, *(job for job in jobs if job not in bad)])[:3]


def _each_log(
    repo: str, jobs: Sequence[Mapping[str, Any]], show: Callable[[str, Mapping[str, Any]], Json]
) -> Asks[list[Json]]:
    """Return a row for each job: what ``show`` returns of its log, or why the log could not be read."""
    shown: list[Json] = []
    for job in jobs:
        told: Json = {"job": Prose().line(str(job.get("name", "")), 80), "job_id": job["id"]}
        try:
            log = yield from _log(repo, int(job["id"]))
        except DeputizeError as refused:
            shown.append(told | {"reason": f"The log could not be read: {refused.message}"})
            continue
        shown.append(told | show(log, job))
    return shown


def _first_failed_step(job: Mapping[str, Any]) -> Json:
    name = next((step.get("name") for step in job.get("steps") or () if step.get("conclusion") in BAD), None)
    return {"failed_step": Prose().line(str(name), 80)} if name else {}


def _find_job(jobs: Sequence[Mapping[str, Any]], job_id: int) -> Mapping[str, Any]:
    found = next((job for job in jobs if job["id"] == job_id), None)
    if found is None:
        raise InvalidInput("job_id: not a job of this run.", hint='include=["jobs"] lists them.')
    return found


def part_of(repo: str, at: Mapping[str, Any], job_id: int | None, offset: int) -> Asks[Json]:
    """Return a part of one job's log, from a character on."""
    if job_id is None:
        raise InvalidInput(
            "offset: only together with job_id: it is a place in the log of one job.",
            hint="Add job_id, or leave out offset.",
        )
    job = _find_job((yield from jobs_of(repo, at)), job_id)
    text = _shown_log((yield from _log(repo, job_id)))
    if offset > len(text):
        raise InvalidInput("offset: beyond the end of the log.", hint=f"The log has {len(text)} characters.")
    shown, end = window(text, offset, room_for(text, offset, ALONE))
    told: Json = {"run_id": at["run_id"], "job_id": job_id, "job": Prose().line(str(job.get("name", "")), 80)}
    told |= {"text": shown, "total_chars": len(text), "untrusted": True}
    more = _read_call(repo, int(at["run_id"]), job_id)
    return told | ({"truncated": True, "next_offset": end, "more": more.at(end)} if end else {})


def _read_call(repo: str, run: int, job: int, **more: str) -> Continuation:
    """Return the call that reads the log of a job."""
    return Continuation("github_get_run", repo=repo, run_id=run, job_id=job, **more)


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
    """Return a log's last lines, the lines around the errors before them, and their offsets. ``more``: the call that
    reads the log. ``logs``: number of logs that share the budget."""
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
    begins = len(text) - len(end)
    if places := [found.start() for found in _ERROR_MARKER.finditer(text)]:
        errors = Rows(_ERRORS // logs)
        for _, row in excerpts(text, [place for place in places if place < begins], _AROUND_ERROR):
            if not errors.add(row):
                break
        told |= {"total_errors": len(places)} | ({"errors": errors.items} if errors.items else {})
    if len(shown) < len(text):
        told |= {"truncated": True, "offset": begins, "more": more.at(0)}
        told |= {"next_offset": begins + len(shown)} if begins + len(shown) < len(text) else {}
    return told
