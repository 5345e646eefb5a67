"""What the default policy asks about is what docs/toolkits.md says, for every tool that writes."""

from __future__ import annotations

from typing import Any

import pytest

from deputize.core.act.policy import Verdict
from deputize.core.act.tool import Effect, Tool
from tests.docs.writing_tools import BEGIN, PAGE, by_default, written
from tests.support.answers import HARMS, OWN, Harm, answer, writing_tools
from tests.toolkits import calendar_calls, github_calls, gmail_calls, linear_calls, slack_calls
from tests.toolkits.test_salesforce_tools import EXAMPLES

TOOLS = {tool.name: tool for tool in writing_tools()}
QUIET = {  # the only tools that never ask: what they change, nobody but the user sees
    "github_set_star",
    "github_update_notifications",
    "gmail_save_draft",
    "linear_resolve_comment",
    "linear_update_notifications",
    "slack_mark_read",
}


def calls() -> list[tuple[str, dict[str, Any]]]:
    """Every call of a writing tool that the toolkits' tests make."""
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


def test_the_page_has_the_table_that_the_tools_make() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert BEGIN in page and page == written(page), "python -m tests.docs.writing_tools writes it anew"


@pytest.mark.parametrize("harm", HARMS, ids=str)
def test_what_others_see_or_what_hides_is_asked_about(harm: Harm) -> None:
    assert answer(TOOLS[harm.tool], harm.arguments) is Verdict.ASK


@pytest.mark.parametrize("tool", OWN)
def test_what_stays_with_the_user_runs(tool: str) -> None:
    assert {answer(TOOLS[tool], arguments) for arguments in OWN[tool]} == {Verdict.ALLOW}


def test_a_tool_that_never_asks_is_one_of_few() -> None:
    assert {tool.name for tool in TOOLS.values() if by_default(tool) == "runs"} == QUIET


def test_a_tool_of_which_the_page_says_that_it_asks_always_asks() -> None:
    told = {name for name, tool in TOOLS.items() if by_default(tool) == "asks"}
    found = [(name, arguments) for name, arguments in calls() if name in told]
    assert {name for name, _ in found} == told, "each has a call in its toolkit's tests"
    assert [one for one in found if answer(TOOLS[one[0]], _filled(one[1])) is not Verdict.ASK] == []


def test_a_tool_of_which_the_page_says_when_it_asks_asks_then() -> None:
    told = {name: tool for name, tool in TOOLS.items() if name in OWN}
    asked = {harm.tool for harm in HARMS} | {name for name, given in calls() if _asks(told.get(name), given)}
    assert set(told) <= asked


def _asks(tool: Tool | None, arguments: dict[str, Any]) -> bool:
    return tool is not None and answer(tool, _filled(arguments)) is Verdict.ASK


def _filled(arguments: dict[str, Any]) -> dict[str, Any]:
    """Any commit where one is named by its branch, any message where one is named by its place."""
    stands = {"$head:": "0" * 40, "{ow": "1795435200.000102", "{ot": "1795435200.000102"}
    return {
        name: next((any_ for start, any_ in stands.items() if str(value).startswith(start)), value)
        for name, value in arguments.items()
    }


def test_no_rule_says_less_than_the_declared_gravest() -> None:
    for name, arguments in calls():
        valid = TOOLS[name].validate(_filled(arguments))
        declared = TOOLS[name].gravest | Effect.WRITES
        assert TOOLS[name].effect_of(valid) | declared == declared
