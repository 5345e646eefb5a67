"""Situations as a model meets them: results contain all that it needs to continue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from deputize.core import Conflict
from tests.toolkits.github_play import SITE, Play

SUGGESTION = "Shorter:\n```suggestion\n    return 'Good day'\n```\n"


def say(play: Play, thread: str, body: str, line: int, reply_to: int | None = None) -> int:
    """Write in a review thread of pull request 2, as Bob."""
    id = 7_000 + len(play.store["review_comments"][SITE])
    row = {"id": id, "number": 2, "user": "bob", "body": body, "reply_to": reply_to, "thread": thread}
    place = {"path": "src/main.py", "line": line, "side": "RIGHT", "at": "2026-11-20T09:00:00Z"}
    play.store["review_comments"][SITE].append(row | place)
    play.store["threads"].setdefault(thread, {"repo": SITE, "resolved": False})
    return id


async def whole(play: Play, comment: dict[str, Any]) -> str:
    """Return a review comment, read to its end if the row has only its beginning."""
    if not comment.get("cut"):
        return str(comment["body"])
    text, found = "", {"next_offset": 0}
    while "next_offset" in found:
        arguments = {"comment_id": comment["id"], "kind": "review", "offset": found["next_offset"]}
        found = await play.act("list_comments", repo=SITE, **arguments)
        text += found["body"]
    return text


async def open_threads(play: Play) -> list[dict[str, Any]]:
    """Return every open thread of pull request 2."""
    rows: list[dict[str, Any]] = []
    more: dict[str, Any] = {}
    while True:
        found = await play.act("list_comments", repo=SITE, number=2, kind="review", unresolved_only=True, **more)
        rows += found["items"]
        if found["next"] is None:
            return rows
        more = {"cursor": found["next"]}


async def test_review_threads_are_read_answered_and_resolved(play: Play) -> None:
    play.store["review_comments"][SITE].clear()
    play.store["threads"].clear()
    texts: dict[int, str] = {}
    for n in range(30):
        body = f"No. {n}. {SUGGESTION}" + "Because of that, and of this. " * (5 + 40 * (n % 7))
        texts[say(play, f"PRRT_thread{n:04}", body.strip(), n + 1)] = body.strip()
    say(play, "PRRT_thread0003", "I agree.", 4, 7_003)
    play.store["threads"]["PRRT_thread0005"]["resolved"] = True
    threads = await open_threads(play)
    assert len(threads) == 29 and all(one["untrusted"] for one in threads)
    for thread in threads:
        first = thread["comments"][0]
        said = await whole(play, first)
        assert said == texts[first["id"]] and SUGGESTION in said
        await play.act("write_comment", repo=SITE, number=2, reply_to=first["id"], body="Done, thank you.")
        await play.act("resolve_thread", thread_id=thread["thread_id"])
    assert await open_threads(play) == []
    answered = [row for row in play.store["review_comments"][SITE] if row["user"] == "alice"]
    assert {row["reply_to"] for row in answered} == set(texts) - {7_005}


def checks(play: Play, results: Sequence[str | None]) -> None:
    """Set these check runs at the head of pull request 3; None is an unfinished one."""
    sha = play.store["repos"][SITE]["branches"]["feature/polite"]
    told = {"sha": sha, "run": 1, "job": 1, "annotations": []}
    play.store["checks"][SITE] = [
        {"id": 100 + n, "name": f"t{n}", "conclusion": result, **told} for n, result in enumerate(results)
    ]


async def test_auto_merge_waits_for_the_last_of_150_checks(play: Play) -> None:
    row = next(one for one in play.store["issues"][SITE] if one["number"] == 3)
    row["pull"] |= {"head": "feature/polite"}
    play.store["statuses"][SITE] = []
    for last, blocker in ((None, "checks pending"), ("failure", "checks failed")):
        checks(play, [*["success"] * 149, last])
        found = await play.act("get_pull", repo=SITE, number=3)
        assert not found["merge"]["ready"] and blocker in found["merge"]["blockers"]
    failed = await play.act("get_checks", repo=SITE, pull=3, failed_only=True)
    assert [one["name"] for one in failed["items"]] == ["t149"] and not failed["truncated"]
    checks(play, ["success"] * 150)
    found = await play.act("get_pull", repo=SITE, number=3)
    assert found["merge"] | {"state": ""} == {
        "ready": True,
        "state": "",
        "checks": {"ok": 150, "failed": 0, "pending": 0},
        "blockers": [],
    }
    with pytest.raises(Conflict, match="stale"):
        await play.act("merge_pull", repo=SITE, number=3, head_sha="0" * 40)
    told = await play.act("merge_pull", repo=SITE, number=3, head_sha=found["head_sha"])
    assert told["merged"] and (await play.act("get_pull", repo=SITE, number=3))["state"] == "merged"


async def test_failing_run_is_traced_from_pull_request_to_log_line(play: Play) -> None:
    job = play.store["runs"][SITE][0]["jobs"][0]
    lines = [f"step {n}" for n in range(3_000)]
    lines[1_200] = "##[error]tests/test_main.py:3: Hello expected"
    job["log"] = "\n".join(lines)
    found = await play.act("get_checks", repo=SITE, pull=2, failed_only=True)
    [failed] = found["items"]
    where = {"run_id": failed["run_id"], "job_id": failed["job_id"]}
    [log] = (await play.act("get_run", repo=SITE, **where, include=["logs"]))["logs"]
    [error] = log["errors"]
    assert "Hello expected" in error["text"] and "Hello expected" not in log["text"]
    around = await play.act("get_run", repo=SITE, **where, offset=error["offset"])
    assert "Hello expected" in around["text"] and "step 1250" in around["text"]
