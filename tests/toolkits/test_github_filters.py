"""A filter of a GitHub list with an unknown value is an error that lists the valid ones, not an empty list."""

from __future__ import annotations

from typing import Any, Final

import pytest

from deputize.core import InvalidInput
from tests.toolkits.github_play import SITE, Play

WRONG: Final[list[tuple[str, dict[str, Any], str, str]]] = [  # tool, arguments, what is named in the error, the hint
    ("list_issues", {"repo": SITE, "labels": ["bugs"]}, "labels", "Did you mean bug?"),
    ("list_issues", {"repo": SITE, "labels": ["zzz"]}, "labels", "There are: bug, "),
    ("list_issues", {"repo": SITE, "query": "greeting", "labels": ["bugs"]}, "labels", "Did you mean bug?"),
    ("list_issues", {"repo": SITE, "milestone": "Winter"}, "milestone", "Spring"),
    ("list_issues", {"repo": SITE, "assignee": "bobb"}, "assignee", "These can: bob"),
    ("list_issues", {"repo": SITE, "author": "zorro"}, "author", "github_list_people"),
    ("list_issues", {"org": "acme", "assignee": "zorro"}, "assignee", "github_list_people"),
    ("list_pulls", {"repo": SITE, "author": "zorro"}, "author", "github_list_people"),
    ("list_pulls", {"reviewer": "zorro"}, "reviewer", "github_list_people"),
    ("list_commits", {"repo": SITE, "author": "zorro"}, "author", "github_list_people"),
    ("list_activity", {"repo": SITE, "actor": "zorro"}, "actor", "github_list_people"),
    ("list_runs", {"repo": SITE, "actor": "zorro"}, "actor", "github_list_people"),
    ("list_runs", {"repo": SITE, "event": "pull"}, "event", "pull_request"),
    ("list_discussions", {"repo": SITE, "query": "nothing", "category": "Q&B"}, "category", "Q&A"),
]


@pytest.mark.parametrize(
    ("tool", "arguments", "field", "hint"), WRONG, ids=[f"{n}-{one[0]}" for n, one in enumerate(WRONG)]
)
async def test_unknown_filter_value_is_an_error_with_the_known_ones(
    tool: str, arguments: dict[str, Any], field: str, hint: str, play: Play
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await play.act(tool, **arguments)
    assert refused.value.message.startswith(f"{field}: ") and hint in refused.value.hint


async def test_list_filter_with_known_values_and_no_match_returns_an_empty_list(play: Play) -> None:
    for arguments in ({"labels": ["help wanted"], "assignee": "bob", "author": "bob"}, {"query": "no such words"}):
        assert (await play.act("list_issues", repo=SITE, **arguments))["items"] == []


async def test_nonempty_list_sends_no_further_request(play: Play) -> None:
    assert (await play.act("list_issues", repo=SITE, author="alice", state="all"))["items"]
    assert play.asked == [f"GET /repos/{SITE}/issues"]


async def test_label_is_found_among_any_number(play: Play) -> None:
    labels = [{"id": n, "name": f"area {n}", "color": "ededed", "description": ""} for n in range(700)]
    play.store["repos"][SITE]["labels"] = labels
    await play.act("update_issue", repo=SITE, number=1, add_labels=["area 650"])
    assert "area 650" in play.store["issues"][SITE][0]["labels"]
