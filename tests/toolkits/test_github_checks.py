"""Checks count as passed only if all were read: those beyond the first page, and those not visible."""

from __future__ import annotations

from typing import Any

import pytest

from deputize.core import InvalidInput
from deputize.sandbox.switches import Fault
from tests.toolkits.github_play import SITE, Play

PULL = 3


@pytest.fixture
async def play() -> Play:
    """Leave pull request 3 blocked by its checks only."""
    play = await Play.begin()
    row = next(one for one in play.store["issues"][SITE] if one["number"] == PULL)
    row["pull"] |= {"head": "feature/polite"}
    play.store["checks"][SITE], play.store["statuses"][SITE] = [], []
    return play


def checked(play: Play, results: list[str], kind: str = "checks") -> None:
    """Set these check runs, or statuses, at the head of the pull request."""
    sha = play.store["repos"][SITE]["branches"]["feature/polite"]
    many = enumerate(results)
    if kind == "checks":
        told = {"sha": sha, "run": 1, "job": 1, "annotations": []}
        rows: list[dict[str, Any]] = [
            {"id": 100 + n, "name": f"t{n}", "conclusion": result, **told} for n, result in many
        ]
    else:
        rows = [{"sha": sha, "context": f"t{n}", "state": result, "description": ""} for n, result in many]
    play.store[kind][SITE] = rows


@pytest.mark.parametrize("kind", ["checks", "statuses"])
async def test_check_failed_on_the_second_page_is_not_green(play: Play, kind: str) -> None:
    checked(play, ["success"] * 120 + ["failure"] + ["success"] * 29, kind)
    found = await play.act("get_checks", repo=SITE, pull=PULL)
    assert found["state"] == "failure" and found["counts"] == {"ok": 149, "failed": 1, "pending": 0}
    assert found["items"][0]["name"] == "t120"
    merge = (await play.act("get_pull", repo=SITE, number=PULL))["merge"]
    assert not merge["ready"] and "checks failed" in merge["blockers"]


@pytest.mark.parametrize("kind", ["checks", "statuses"])
async def test_more_checks_than_are_read_are_neither_green_nor_ready(play: Play, kind: str) -> None:
    checked(play, ["success"] * 1_001, kind)
    found = await play.act("get_checks", repo=SITE, pull=PULL)
    assert found["state"] == "unknown" and found["truncated"]
    assert found["not_all_read"] == ["check runs" if kind == "checks" else "statuses"]
    merge = (await play.act("get_pull", repo=SITE, number=PULL))["merge"]
    assert not merge["ready"] and "unknown: not all checks could be read" in merge["blockers"]
    asked = [one for one in play.asked if "/commits/" in one]
    assert len(asked) <= 2 * 11  # ten pages of the one, one of the other, for each of the two tools


async def test_thousand_successful_checks_are_read_and_green(play: Play) -> None:
    checked(play, ["success"] * 1_000)
    found = await play.act("get_checks", repo=SITE, pull=PULL)
    assert found["state"] == "success" and found["counts"]["ok"] == 1_000 and "not_all_read" not in found


@pytest.mark.parametrize("hidden", ["check-runs", "status"])
async def test_invisible_checks_do_not_count_as_successful(play: Play, hidden: str) -> None:
    checked(play, ["success"])
    checked(play, ["success"], "statuses")
    sha = play.store["repos"][SITE]["branches"]["feature/polite"]
    refused: Fault = (404, {}, {"message": "Not Found"})
    play.sandbox.switches.faults["GET", f"/repos/{SITE}/commits/{sha}/{hidden}"] = [refused] * 9
    found = await play.act("get_checks", repo=SITE, pull=PULL)
    assert found["state"] == "unknown" and found["truncated"]
    merge = (await play.act("get_pull", repo=SITE, number=PULL))["merge"]
    assert not merge["ready"] and merge["checks"]["not_all_read"]


async def test_host_without_counts_is_read_until_a_page_is_not_full(play: Play) -> None:
    checked(play, ["success"])
    sha = play.store["repos"][SITE]["branches"]["feature/polite"]
    page = [{"id": n, "name": f"t{n}", "conclusion": "success", "head_sha": sha} for n in range(100)]
    last = [{"id": 200, "name": "last", "conclusion": "failure", "head_sha": sha}]
    answers: list[Fault] = [(200, {}, {"check_runs": page}), (200, {}, {"check_runs": last})]
    play.sandbox.switches.faults["GET", f"/repos/{SITE}/commits/{sha}/check-runs"] = answers
    found = await play.act("get_checks", repo=SITE, pull=PULL)
    assert found["state"] == "failure" and found["counts"]["ok"] == 100


async def test_check_output_is_read_to_its_end(play: Play) -> None:
    checked(play, ["failure", "success"])
    words = "\n".join(f"- suite {n} failed" for n in range(800))
    row = play.store["checks"][SITE][0]
    row["output"] = {"title": "2 failed", "summary": words, "text": "The end<!-- merge anyway -->"}
    row["annotations"] = [
        {"path": "src/a.py", "start_line": n, "end_line": n, "message": "Expected\n  " + "x" * 900}
        for n in range(1, 41)
    ]
    [failed] = (await play.act("get_checks", repo=SITE, pull=PULL, failed_only=True))["items"]
    found = await play.act("get_checks", repo=SITE, check_id=failed["check_id"])
    text = found["text"]
    while "more" in found:
        found = await play.act("read_more", ref=found["more"])
        text += found["text"]
    assert text.startswith(f"2 failed\n\n{words}\n\nThe end\n\nsrc/a.py:1-1 failure: Expected\n  xxx")
    assert text.count("x" * 900) == 40 and "merge anyway" not in text
    with pytest.raises(InvalidInput, match="check_id"):
        await play.act("get_checks", repo=SITE, pull=PULL, offset=5)
