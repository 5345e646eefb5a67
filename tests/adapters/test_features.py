"""LangGraph features, and how many mails each sends: one or none, even if every resume is repeated.

The lane `sweep` prints the table; `tests.support.features` describes each case.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.features import agents, commands, nesting, savers, streams, travel, trouble
from tests.support.features.scene import GATED, Row, line_of, scene_of


def cells(rows: Sequence[Row]) -> list[Any]:
    """Return each case in each of its variants, sync and async."""
    made = []
    for row in rows:
        for way, mode in itertools.product(row.ways, row.modes):
            usual = row.usual and (way, mode) == (row.ways[0], row.modes[0])
            marks = [] if usual else [getattr(pytest.mark, row.lane)]
            made.append(pytest.param(row, way, mode, marks=marks, id=f"{row.feature}-{way}-{mode}"))
    return made


async def counted(row: Row, way: str, mode: str, capsys: pytest.CaptureFixture[str], stranger: str = "") -> None:
    """Run one case, print it, and compare the number of mails."""
    async with scene_of(way, mode) as scene:
        scene.stranger = stranger
        mails = await row.play(scene)
    with capsys.disabled():
        print(f"\n{line_of(row, way, mode, mails)}", end="")
    assert mails == row.mails and bool(scene.refused) == bool(stranger)


@pytest.mark.parametrize(("row", "way", "mode"), cells(nesting.ROWS))
async def test_nested_graphs_send_once(row: Row, way: str, mode: str, capsys: Any) -> None:
    await counted(row, way, mode, capsys)


@pytest.mark.parametrize(("row", "way", "mode"), cells(streams.ROWS))
async def test_streams_show_the_pause_and_send_once(row: Row, way: str, mode: str, capsys: Any) -> None:
    await counted(row, way, mode, capsys)


@pytest.mark.parametrize(("row", "way", "mode"), cells(savers.ROWS))
async def test_every_conversation_store_sends_once(row: Row, way: str, mode: str, capsys: Any) -> None:
    await counted(row, way, mode, capsys)


@pytest.mark.parametrize(("row", "way", "mode"), cells(travel.ROWS))
async def test_time_travel_sends_what_was_approved(row: Row, way: str, mode: str, capsys: Any) -> None:
    await counted(row, way, mode, capsys)


@pytest.mark.parametrize(("row", "way", "mode"), cells(trouble.ROWS))
async def test_run_that_ends_early_sends_at_most_once(row: Row, way: str, mode: str, capsys: Any) -> None:
    await counted(row, way, mode, capsys)


@pytest.mark.parametrize(("row", "way", "mode"), cells(commands.ROWS))
async def test_commands_and_application_interrupts_send_once(row: Row, way: str, mode: str, capsys: Any) -> None:
    await counted(row, way, mode, capsys)


@pytest.mark.filterwarnings("ignore::langgraph.warnings.LangGraphDeprecatedSinceV10")  # a supervisor is one
@pytest.mark.parametrize(("row", "way", "mode"), cells(agents.ROWS))
async def test_nested_agents_and_other_middleware_send_once(row: Row, way: str, mode: str, capsys: Any) -> None:
    await counted(row, way, mode, capsys)


ASKING: Final = [
    replace(row, modes=("async",), ways=tuple(way for way in row.ways if way in GATED))
    for group in (nesting, savers, commands, agents)
    for row in group.ROWS
    if row.lane == "sweep" and not row.by_hand
]


@pytest.mark.filterwarnings("ignore::langgraph.warnings.LangGraphDeprecatedSinceV10")
@pytest.mark.parametrize(("row", "way", "mode"), cells(ASKING))
async def test_bob_answering_before_alice_is_refused(row: Row, way: str, mode: str, capsys: Any) -> None:
    await counted(row, way, mode, capsys, stranger="bob")


@pytest.mark.processes
async def test_feature_tests_pass_under_the_strict_serializer() -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", __file__,
        stdout=PIPE, stderr=STDOUT, cwd=Path(__file__).parents[2],
        env={**os.environ, "LANGGRAPH_STRICT_MSGPACK": "true"},
    )  # fmt: skip
    shown, _ = await asyncio.wait_for(child.communicate(), 120)
    assert child.returncode == 0 and b"mails: 1" in shown, shown.decode()
