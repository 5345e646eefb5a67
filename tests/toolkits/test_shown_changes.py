"""Every argument that changes what is sent also changes what the approval is bound to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from deputize.core import Act, ApprovalRequired, Call, Verdict
from tests.support.preview_coverage import ShownWorld, made, shown_world
from tests.toolkits.shown_rows import ROWS, Row

MORE = "zqxj"
"""A word that occurs in no case."""
NOTHING_TO_DO = {  # by a tool and an argument that is there: those of which nothing leaves then
    ("github_create_pull", "issue"): {"title", "body"},  # the issue's own stay
    ("github_create_pull", "reviewers"): {"title"},  # of a pull request that is there already
    ("github_merge_pull", "when_ready"): {"delete_branch"},
    ("github_update_issue", "remove_assignees"): {"remove_assignees"},  # who is none
    ("gmail_reply_email", "all"): {"all"},  # nobody else got the mail
    ("gmail_unsubscribe", "by_email"): {"by_email"},  # this list takes a request
}


def changed(arguments: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return the arguments with one of them changed, for each: one word more, or the other truth value."""
    for name, value in arguments.items():
        if isinstance(value, str):
            yield name, {**arguments, name: f"{value} {MORE}"}
        elif isinstance(value, bool):
            yield name, {**arguments, name: not value}
        elif isinstance(value, list) and value and isinstance(value[0], str):
            yield name, {**arguments, name: value[1:]}


async def digest_of(world: ShownWorld, tool: str, arguments: Mapping[str, Any]) -> str:
    """Return the digest of a call's request; "" if it is refused before."""
    world.calls += 1
    call = Call("t", "m", f"ask-{world.calls}")
    [found] = await world.deputy.check_calls([(tool, arguments, call)], user="alice")
    return found.approval.digest if isinstance(found, ApprovalRequired) else ""


async def without_change(row: Row) -> tuple[set[str], int]:
    """Return a case's arguments whose change does not change the preview, and how many could be changed at all."""
    async with shown_world(**row.world) as world:
        arguments = await made(row.make, world)
        world.deputy.policy = _ask
        before = await digest_of(world, row.tool, arguments)
        assert before, f"{row.tool} is not asked about"
        others = {name: await digest_of(world, row.tool, other) for name, other in changed(arguments)}
    idle = {
        name
        for (tool, given), names in NOTHING_TO_DO.items()
        for name in names
        if tool == row.tool and given in arguments
    }
    possible = {name: digest for name, digest in others.items() if digest}
    return {name for name, digest in possible.items() if digest == before} - idle, len(possible)


def _ask(act: Act) -> Verdict:
    return Verdict.ASK


@pytest.mark.parametrize("row", ROWS, ids=[f"{n}-{row.tool}" for n, row in enumerate(ROWS)])
async def test_changed_argument_needs_another_approval(row: Row) -> None:
    same, _ = await without_change(row)
    assert same == set()


@pytest.mark.sweep
async def test_most_rows_have_changeable_arguments() -> None:
    found = [(await without_change(row))[1] for row in ROWS]
    assert sum(found) > len(ROWS) and sum(1 for count in found if count) > len(ROWS) // 2
