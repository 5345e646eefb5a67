"""The token cost of the tools' definitions, counted by a real tokenizer of the o200k family, and the tables of it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from deputize.core.tools.plugins import find_toolkits
from deputize.core.tools.tool import Tool
from deputize.toolkits._shared.page import tokens
from tests.support.counterparts import node, require_description

pytestmark = pytest.mark.counterpart
AVERAGE: Final = 150  # of all toolkits
OF_ONE: Final = 160  # of a toolkit with few tools, each of many fields
LARGEST: Final = 350
ELSEWHERE: Final = {  # tools and tokens of the best-equipped peer's public definitions, by the same count
    "gmail": (30, 8313),
    "calendar": (8, 2256),
    "slack": (10, 3457),
    "github": (43, 9976),
    "linear": (46, 9458),
    "salesforce": (17, 4150),
}


def counted(texts: Sequence[str]) -> list[int]:
    folder, binary = require_description("gpt-tokenizer"), node()
    assert binary is not None
    script = Path(__file__).parents[1] / "support" / "tokens.mjs"
    lines = "\n".join(json.dumps(text) for text in texts)
    done = subprocess.run([binary, str(script), str(folder)], input=lines, capture_output=True, text=True, check=True)
    return [int(line) for line in done.stdout.split()]


def definition(tool: Tool) -> str:
    return json.dumps(
        {"name": tool.name, "description": tool.description, "parameters": tool.schema}, separators=(",", ":")
    )


@pytest.fixture(scope="module")
def costs() -> dict[str, int]:
    tools = [tool for kit in find_toolkits().values() for tool in kit.tools.values()]
    return dict(zip([tool.name for tool in tools], counted([definition(tool) for tool in tools]), strict=True))


def test_tokenizer_counts_as_published() -> None:
    assert counted(["hello world", "", "antidisestablishmentarianism", "你好"]) == [2, 0, 6, 1]


@pytest.mark.parametrize("name", find_toolkits())
def test_toolkit_definitions_stay_small(name: str, costs: dict[str, int], capsys: pytest.CaptureFixture[str]) -> None:
    kit = find_toolkits(name)[name]
    mine = {tool: costs[tool] for tool in kit.tools}
    total, core = sum(mine.values()), sum(costs[t.name] for t in kit.tools.values() if t.toolset == "core")
    peer = f", peer {ELSEWHERE[name][0]} / {ELSEWHERE[name][1]}" if name in ELSEWHERE else ""
    with capsys.disabled():
        print(f"\n{name}: {len(mine)} tools / {total} tokens, average {total / len(mine):.0f}, core {core}{peer}")
    assert total / len(mine) <= OF_ONE
    assert max(mine.values()) <= LARGEST, max(mine, key=lambda tool: mine[tool])
    assert name not in ELSEWHERE or total < ELSEWHERE[name][1]


def test_all_definitions_stay_small_on_average(costs: dict[str, int]) -> None:
    assert sum(costs.values()) / len(costs) <= AVERAGE


def test_token_estimate_in_lists_is_near_the_count(costs: dict[str, int]) -> None:
    for kit in find_toolkits().values():
        for tool in kit.tools.values():
            told = {"name": tool.name, "description": tool.description, "parameters": tool.schema}
            assert 0.6 < tokens(told) / costs[tool.name] < 1.7, tool.name
