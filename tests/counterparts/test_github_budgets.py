"""The token cost of GitHub's results, counted by a real tokenizer of the o200k family, whatever GitHub contains."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from tests.counterparts.test_token_budgets import counted
from tests.toolkits.github_play import GARDEN, SITE, Play
from tests.toolkits.test_github_text import READS
from tests.toolkits.test_github_tools import put

pytestmark = pytest.mark.counterpart
TEXTS: Final = {
    "latin": "Quarterly numbers and what they mean for all of us in the coming year ",
    "german": "Übergrößenträger müssen Gebühren für Änderungen ",
    "chinese": "季度数据及其对我们所有人的意义",
}
ROWS: Final[list[tuple[str, dict[str, Any]]]] = [
    ("list_issues", {"repo": SITE, "state": "all"}),
    ("list_issues", {"query": "greeting", "state": "all"}),
    ("list_pulls", {"repo": SITE}),
    ("search_repos", {}),
    ("list_commits", {"repo": SITE}),
    ("list_refs", {"repo": SITE}),
    ("list_notifications", {"all": True}),
    ("list_releases", {"repo": SITE}),
    ("list_runs", {"repo": SITE}),
    ("list_gists", {}),
    ("list_discussions", {"repo": SITE}),
    ("list_activity", {"repo": SITE}),
    ("list_people", {"repo": SITE, "role": "contributors"}),
    ("list_labels", {"repo": GARDEN}),
]


def cost(*values: Any) -> list[int]:
    return counted([json.dumps(one, ensure_ascii=False, separators=(",", ":")) for one in values])


@pytest.mark.parametrize(("tool", "arguments"), ROWS, ids=[f"{n}-{one}" for n, (one, _) in enumerate(ROWS)])
async def test_ordinary_row_costs_at_most_eighty_tokens(tool: str, arguments: dict[str, Any]) -> None:
    play = await Play.begin()
    rows = (await play.act(tool, **arguments))["items"]
    assert rows and max(cost(*rows)) <= 80


def fill(play: Play, text: str) -> None:
    """Fill everything to GitHub's maximum lengths, with many objects."""
    for issue in play.store["issues"][SITE]:
        issue |= {"title": (text * 20)[:250], "body": text * 400, "labels": ["bug", "help wanted", "area/ui"]}
    first = play.store["issues"][SITE][0]
    play.store["issues"][SITE] += [{**first, "number": n} for n in range(4, 130)]
    line = play.store["review_comments"][SITE][0]
    play.store["review_comments"][SITE] = [{**line, "id": n, "body": text * 60} for n in range(6101, 6160)]
    talk = play.store["discussions"][SITE][0]["comments"][0]
    by_bob = {"user": "bob", "body": text * 60, "at": talk["at"]}
    talk |= {"body": text * 60, "replies": [{"id": f"DC_reply{n:04}", **by_bob} for n in range(60)]}
    check = play.store["checks"][SITE][0]
    check["output"] = {"title": text, "summary": text * 400}
    play.store["repos"][SITE]["milestones"] = [
        {"number": n, "title": (text * 9)[:200], "state": "open", "due_on": None, "description": text * 90}
        for n in range(1, 90)
    ]
    event = {"event": "labeled", "actor": "bob", "created_at": first["created_at"], "label": {"name": text[:50]}}
    first["events"] = [{"id": n, **event} for n in range(300)]
    said = play.store["comments"][SITE][0]
    play.store["comments"][SITE] = [{**said, "id": n, "body": text * 40} for n in range(7000, 7120)]
    for n in range(300):
        play.store["runs"][SITE].append({**play.store["runs"][SITE][0], "id": 20_000 + n, "name": (text * 5)[:200]})
    for row in play.store["notifications"]:
        row["title"] = (text * 20)[:250]
    for n in range(40):
        put(play, f"src/{'deep/' * 8}file{n}.py", (text + "\n") * 80, "feature/polite")


MANY: Final[list[tuple[str, dict[str, Any]]]] = [
    *READS,
    ("list_issues", {"repo": SITE, "state": "all", "limit": 100}),
    ("list_comments", {"repo": SITE, "number": 1, "limit": 100}),
    ("list_runs", {"repo": SITE, "limit": 100}),
    ("list_comments", {"repo": SITE, "kind": "review", "limit": 100}),
    ("list_comments", {"repo": SITE, "thread_id": "PRRT_thread0001", "limit": 100}),
    ("list_comments", {"repo": SITE, "comment_id": 6101, "kind": "review"}),
    ("list_discussions", {"repo": SITE, "comment_id": "DC_comment01"}),
    ("list_labels", {"repo": SITE, "kind": "milestones", "limit": 100}),
    ("list_labels", {"repo": SITE, "milestone": "1"}),
    ("get_issue", {"repo": SITE, "number": 1, "include": ["timeline"]}),
    ("get_checks", {"repo": SITE, "pull": 2, "annotations": True}),
    ("get_checks", {"repo": SITE, "check_id": 9201}),
    ("get_run", {"repo": SITE, "run_id": 9001, "job_id": 9101, "offset": 0}),
    ("get_pull", {"repo": SITE, "number": 2, "include": ["files", "diff", "reviews"]}),
    ("get_file", {"repo": SITE, "ref": "feature/polite", "recursive": True}),
    ("compare", {"repo": SITE, "base": "main", "head": "feature/polite", "include_diff": True}),
]


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
async def test_every_result_costs_at_most_four_thousand_tokens(text: str) -> None:
    play = await Play.begin()
    fill(play, text)
    results = [await play.act(tool, **arguments) for tool, arguments in MANY]
    costs = dict(zip([f"{tool} {arguments}" for tool, arguments in MANY], cost(*results), strict=True))
    assert max(costs.values()) <= 4_000, costs
    assert sorted(costs.values())[len(costs) // 2] <= 2_000


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
async def test_detail_without_blocks_costs_at_most_six_hundred_and_fifty_tokens(text: str) -> None:
    play = await Play.begin()
    fill(play, text)
    for tool, number in (("get_issue", 1), ("get_pull", 2)):
        found = await play.act(tool, repo=SITE, number=number)
        assert 250 <= cost(found)[0] <= 650 and found["truncated"] and found["next_offset"]
