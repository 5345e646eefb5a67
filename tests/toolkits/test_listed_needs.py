"""The needs that `deputize tools --json` lists of a tool are exactly those that its calls ask for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final

import pytest

from deputize.cli.scope_requirements import ListedNeed, listed_needs
from deputize.core.errors import InvalidInput
from deputize.core.tools.catalog import Catalog
from deputize.core.tools.required_scopes import Need
from tests.toolkits import calendar_calls, github_calls, gmail_calls, slack_calls

CATALOG: Final = Catalog()
CALLS: Final[Mapping[str, Sequence[Any]]] = {
    "calendar": calendar_calls.CASES,
    "github": github_calls.CASES,
    "gmail": gmail_calls.CASES,
    "slack": slack_calls.CASES,
}
"""Calls that together make every request that these toolkits make. Others need the same for all calls."""


def called() -> Iterator[tuple[str, Mapping[str, Any]]]:
    for toolkit, cases in CALLS.items():
        for case in cases:
            name = case.tool if case.tool.startswith(f"{toolkit}_") else f"{toolkit}_{case.tool}"
            yield name, case.arguments


def key(need: Need) -> tuple[str, str]:
    return need.method, need.ask


@cache
def listed(name: str) -> list[ListedNeed]:
    return listed_needs(CATALOG.tool(name))


@pytest.mark.processes
def test_every_need_of_a_call_is_listed() -> None:
    known: dict[str, set[tuple[str, str]]] = {}
    checked = 0
    for name, arguments in called():
        tool = CATALOG.tool(name)
        try:
            valid = tool.validate({one: value for one, value in arguments.items() if "{" not in str(value)})
        except InvalidInput:
            continue  # some of it only a world knows
        known.setdefault(name, {key(one.need) for one in listed(name)})
        assert {key(need) for need in tool.needs_of(valid)} <= known[name], (name, arguments)
        checked += 1
    assert checked > 400 and len(known) > 90


def test_toolkits_without_example_calls_have_constant_needs() -> None:
    others = [tool for tool in CATALOG.tools("linear:all", "salesforce:all") if callable(tool.needs)]
    for tool in others:
        assert {key(one.need) for one in listed_needs(tool)} >= {key(one) for one in tool.usual_needs()}


@pytest.mark.parametrize(
    ("tool", "scope", "when"),
    [
        ("slack_pin", "pins:write", ()),
        ("slack_pin", "bookmarks:write", ("url",)),
        ("slack_pin", "bookmarks:read", ("remove=true, url",)),
        ("slack_search", "search:read.private", ("types=private",)),
        ("slack_search", "search:read.files", ("kinds=files",)),
        ("slack_get_conversation", "pins:read", ("include=pins",)),
        ("slack_set_status", "dnd:write", ("snooze",)),
    ],
)
def test_need_names_the_arguments_that_cause_it(tool: str, scope: str, when: tuple[str, ...]) -> None:
    assert when in [one.when for one in listed(tool) if one.need.ask == scope]


def test_plain_call_is_listed_first_and_matches_advance_consent() -> None:
    for tool in CATALOG.tools("slack:all", "github:all", "gmail:all", "calendar:all"):
        found = listed(tool.name)
        plain = [one.need for one in found if not one.when]
        assert {key(one) for one in plain} == {key(one) for one in tool.usual_needs()}
        assert [one.need for one in found[: len(plain)]] == plain
