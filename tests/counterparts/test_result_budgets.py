"""What the results of every toolkit cost a model, counted by a real tokenizer of the o200k family.

An ordinary result of each tool is its example's. The largest honest one is a full page of rows, or a long text, in
each of several scripts; Gmail's and GitHub's have files of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pytest

from deputize.adapters.tool_messages import as_text
from deputize.core import Call, allow_all
from deputize.core.act.toolkit import find_toolkits
from deputize.sandbox import Sandbox
from deputize.sandbox.deputies import give_grant, new_deputy
from tests.counterparts.test_token_budgets import counted
from tests.support.examples import EXAMPLES, arguments

pytestmark = pytest.mark.counterpart
ORDINARY: Final = 600


def costs_of(results: Mapping[str, Any]) -> dict[str, int]:
    """Tokens by the result's name, the dearest first."""
    costs = dict(zip(results, counted([as_text(one) for one in results.values()]), strict=True))
    return dict(sorted(costs.items(), key=lambda one: -one[1]))


# ----------------------------------------------------------------- ordinary results

FURTHER: Final = {"contacts": {"contacts_search": {"query": "bob"}, "contacts_get": {"id": "people/c2"}}}
ROWS: Final = EXAMPLES | FURTHER


def results_of_examples() -> dict[str, Any]:
    """By tool: what Alice's model reads. A file that a tool has kept is read as well."""
    sandbox = Sandbox()
    deputy = new_deputy(sandbox)
    deputy.policy = allow_all
    for tool in deputy.tools(*(f"{kit}:all" for kit in ROWS)):
        scopes = [need.ask for need in tool.usual_needs(tool.provider)]
        give_grant(sandbox, deputy, "alice", scopes, provider=tool.provider, email="alice@example.test")
    calls = 0

    def use(tool: str, args: Mapping[str, Any]) -> Any:
        nonlocal calls
        calls += 1
        return deputy.run(deputy.act(tool, dict(args), user="alice", call=Call("t", "m", str(calls))))

    found = {tool: use(tool, arguments(row, use)) for kit in ROWS.values() for tool, row in kit.items()}
    found["files_read"] = use("files_read", {"file": found["slack_get_file"]["handle"]})
    deputy.run(deputy.close())
    return found


def test_an_ordinary_result_of_every_tool_costs_at_most_six_hundred_tokens(capsys: pytest.CaptureFixture[str]) -> None:
    costs = costs_of(results_of_examples())
    kits = find_toolkits()
    with capsys.disabled():
        for name, kit in kits.items():
            mine = {tool: cost for tool, cost in costs.items() if tool in kit.tools}
            print(
                f"\n{name}:\n  " + ", ".join(f"{tool.removeprefix(f'{name}_')} {cost}" for tool, cost in mine.items())
            )
    assert set(costs) == {tool for kit in kits.values() for tool in kit.tools}
    assert {tool: cost for tool, cost in costs.items() if cost > ORDINARY} == {}
