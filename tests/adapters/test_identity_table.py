"""Who acts, who is asked and who may decide: every identity at every shape of a run, in each framework.

`tests.support.identity.table` says what happens in a cell. The frameworks' own servers are in
`tests/counterparts/test_identity_table.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.identity.rows import SHAPES, TABLE, exceptions
from tests.support.identity.table import Play, Run, faults_in, lines_of, row_of

pytestmark = [
    pytest.mark.filterwarnings("ignore::langgraph.warnings.LangGraphDeprecatedSinceV10"),  # a supervisor is one
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of ADK's agents that graphs replace, and LlamaIndex's
]
PLAYS: Final = [(a, shape, play) for a, rows in TABLE.items() for shape, play in rows.items() if callable(play)]


PROCESSES: Final = [pytest.mark.processes, pytest.mark.every(4)]


async def check(adapter: str, shape: str, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Print a row of the table, and compare it with what is expected."""
    found = await row_of(run)
    with capsys.disabled():
        print(f"\n{lines_of(adapter, shape, found)}", end="")
    assert faults_in(found, exceptions(adapter, shape)) == []


@pytest.mark.parametrize(
    ("adapter", "shape", "play"),
    [
        pytest.param(a, shape, play, marks=PROCESSES if shape == "restored" else [], id=f"{a}-{shape}")
        for a, shape, play in PLAYS
    ],
)
async def test_nobody_but_the_owner_acts_or_decides(
    adapter: str, shape: str, play: Play, tmp_path: Path, capsys: Any
) -> None:
    async with play(tmp_path) as run:
        await check(adapter, shape, run, capsys)


@pytest.mark.parametrize("adapter", TABLE)
def test_each_missing_shape_has_a_reason(adapter: str, capsys: Any) -> None:
    rows = TABLE[adapter]
    assert set(SHAPES) <= set(rows)
    with capsys.disabled():
        for shape, why in rows.items():
            if isinstance(why, str):
                print(f"\n{lines_of(adapter, shape, {'-': why})}", end="")
