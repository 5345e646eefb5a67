"""The default policy asks for what docs/toolkits.md says, for every tool that writes."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest

from deputize.core import Audience, Preview
from deputize.core.tools.tool import Effect
from tests.docs.writing_tools import BEGIN, PAGE, by_default, written
from tests.support.harmful_calls import HARMS, Harm, writing_tools
from tests.support.preview_coverage import shown_world
from tests.toolkits import calendar_calls, github_calls, gmail_calls, linear_calls, slack_calls
from tests.toolkits.shown_rows import AUDIENCES, ROWS, Row
from tests.toolkits.test_salesforce_tools import EXAMPLES

TOOLS = {tool.name: tool for tool in writing_tools()}


def test_page_has_the_table_generated_from_the_tools() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert BEGIN in page and page == written(page), "python -m tests.docs.writing_tools writes it anew"
    assert AUDIENCES.keys() == TOOLS.keys()


async def shown(row: Row) -> Preview:
    """Return the preview of a case's call."""
    async with shown_world(**row.world) as world:
        await world.unseen(row.tool, row.make)
        return world.shown[0]


def asks(show: Preview) -> bool:
    return show.audience > Audience.SELF or show.destroys or bool(show.dangers)


@pytest.mark.parametrize("row", ROWS, ids=[f"{n}-{row.tool}" for n, row in enumerate(ROWS)])
async def test_call_is_allowed_or_asked_as_the_page_says(row: Row) -> None:
    show, said = await shown(row), by_default(TOOLS[row.tool])
    if said in ("asks", "runs"):
        assert asks(show) is (said == "asks"), show.kept
    elif said.startswith("asks where something is lost"):
        assert show.audience is Audience.SELF
    else:
        assert said == "asks where others see it or something is lost"


@pytest.mark.sweep
async def test_conditional_tools_have_calls_that_run_and_calls_that_ask() -> None:
    answers = defaultdict[str, set[bool]](set)
    for row in ROWS:
        if "where" in by_default(TOOLS[row.tool]):
            answers[row.tool].add(asks(await shown(row)))
    assert answers and {tool: found for tool, found in answers.items() if found != {True, False}} == {}


@pytest.mark.parametrize("harm", HARMS, ids=str)
def test_visible_or_hiding_acts_have_a_tool_that_asks(harm: Harm) -> None:
    assert "asks" in by_default(TOOLS[harm.tool])


def calls() -> list[tuple[str, dict[str, Any]]]:
    """Return every call of a writing tool in the toolkits' tests."""
    parts: list[tuple[str, Any]] = [
        ("calendar", calendar_calls.CASES),
        ("github", github_calls.CASES),
        ("gmail", gmail_calls.CASES),
        ("linear", linear_calls.EVERY),
        ("slack", slack_calls.CASES),
    ]
    found = [(f"{kit}_{case.tool}", dict(case.arguments)) for kit, cases in parts for case in cases]
    found += [(f"salesforce_{tool}", arguments) for tool, arguments, _ in EXAMPLES]
    return [one for one in found if one[0] in TOOLS]


def _filled(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return arguments with any commit in place of a branch, and any message in place of its position."""
    stands = {"$head:": "0" * 40, "{ow": "1795435200.000102", "{ot": "1795435200.000102"}
    return {
        name: next((any_ for start, any_ in stands.items() if str(value).startswith(start)), value)
        for name, value in arguments.items()
    }


def test_effect_rules_never_fall_below_the_declared_effect() -> None:
    for name, arguments in calls():
        valid = TOOLS[name].validate(_filled(arguments))
        declared = TOOLS[name].gravest | Effect.WRITES
        assert TOOLS[name].effect_of(valid) | declared == declared
