"""How many mails are sent: every entry into a graph, sync and async, in memory and with a new process for every step.

The whole table, once; if a run is given a part of the sweeps, that part of the courses of each cell on disk, too.
`python -m tests.support.langgraph_matrix 1 disk` runs all of those; with 50, each of them fifty times.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from langgraph.types import Command

from deputize.adapters.langgraph import resume_when_done
from deputize.core import Deputy
from deputize.sandbox import Sandbox
from tests.support.graphs import SEARCH, SEND, Context, Graph, approvals_of, asking, config, grant_all, plain
from tests.support.lanes import Part, Run
from tests.support.langgraph_matrix import CELLS, MAILS, Cell, played, row
from tests.support.sandbox_deputy import connect

ALICE = Context("alice")
RACES = 5


def lane(cell: Cell) -> list[pytest.MarkDecorator]:
    """Return the lane. On disk each step is a new process; in memory every run plays the two most used variants."""
    if cell.store == "disk":
        return [pytest.mark.processes]
    usual = cell.mode == "async" and cell.way in ("act_node", "create_agent")
    return [] if usual else [pytest.mark.sweep]


def courses(cell: Cell, part: Part | None) -> list[str]:
    """Those that this run plays: on disk, where each takes up to ten processes, a part of them where one is asked for.

    Which ones differs between cells, so that each part plays every course in some of them: an eighth at least, and one
    of each cell.
    """
    every = list(cell.expected)
    if part is None or cell.store == "memory":
        return every
    of = min(part.of, 8, len(every))
    return every[(part.number - 1 + CELLS.index(cell) // 2) % of :: of]


@pytest.mark.parametrize("of", [3, 8])
def test_matrix_parts_cover_every_course(of: int) -> None:
    parts = [Part(number, of) for number in range(1, of + 1)]
    for cell in CELLS:
        played_by = [how for part in parts for how in courses(cell, part)]
        assert courses(cell, None) == list(cell.expected) and all(courses(cell, part) for part in parts)
        assert set(played_by) == set(cell.expected)
        count = len(cell.expected)
        assert len(played_by) == (count * of if cell.store == "memory" else max(count, of))
    on_disk = [cell for cell in CELLS if cell.store == "disk"]
    assert all({how for cell in on_disk for how in courses(cell, part)} == set(MAILS) for part in parts)
    assert courses(on_disk[0], Part(9, 24)) == courses(on_disk[0], Part(1, 8))


@pytest.mark.parametrize(
    "cell", [pytest.param(cell, marks=lane(cell), id=f"{cell.way}-{cell.mode}-{cell.store}") for cell in CELLS]
)
async def test_each_mail_is_sent_once_or_not_at_all(cell: Cell, capsys: pytest.CaptureFixture[str]) -> None:
    seeds = {how: random.SystemRandom().random() for how in courses(cell, Run.part)}
    counts = await asyncio.gather(*(played(cell, how, seed) for how, seed in seeds.items()))
    counted = dict(zip(seeds, counts, strict=True))
    with capsys.disabled():
        print(f"\n{row(cell, counted)}", end="")
    assert counts and all(count in cell.expected[how] for how, count in counted.items()), (counted, seeds)


async def raced(graph: Graph, given: dict[str, Any]) -> None:
    """Three threads resume with the same answer."""
    runs = [asyncio.to_thread(graph.invoke, Command(resume=given), config(), context=ALICE) for _ in range(3)]
    await asyncio.gather(*runs)


async def answers(graph: Graph, decision: str = "") -> dict[str, Any]:
    """Return what a client that has just fetched the pause would answer."""
    pauses = (await graph.aget_state(config())).interrupts
    ids = [ask["approval_id"] for ask in await approvals_of(graph, config())] if decision else []
    return {pause.id: {"decisions": dict.fromkeys(ids, decision)} if ids else {"wake": True} for pause in pauses}


@pytest.mark.parametrize("turn", range(RACES))
async def test_consent_after_racing_resumes_is_seen_on_resume(deputy: Deputy, sandbox: Sandbox, turn: int) -> None:
    """The pause that a client sees then may differ from the one the inner graph waits at."""
    graph = plain(deputy)
    await graph.ainvoke(asking(SEARCH), config(), context=ALICE)
    await raced(graph, await answers(graph))
    await grant_all(deputy, sandbox, graph, config())
    await resume_when_done(deputy, graph, config(), context=ALICE, timeout=5)
    assert (await graph.aget_state(config())).next == ()


@pytest.mark.parametrize("turn", range(RACES))
async def test_decision_after_racing_resumes_is_seen_on_resume(deputy: Deputy, sandbox: Sandbox, turn: int) -> None:
    await connect(deputy, sandbox, "send")
    graph = plain(deputy)
    await graph.ainvoke(asking(SEND), config(), context=ALICE)
    await raced(graph, await answers(graph))
    [ask] = await approvals_of(graph, config())
    await deputy.decide(ask["approval_id"], "approve", by="alice")
    await raced(graph, await answers(graph))
    assert (await graph.aget_state(config())).next == () and len(sandbox.sent("alice@example.test")) == 1


@pytest.mark.parametrize("turn", range(RACES))
async def test_decision_for_a_lost_run_needs_one_more_resume(deputy: Deputy, sandbox: Sandbox, turn: int) -> None:
    await connect(deputy, sandbox, "send")
    graph = plain(deputy)
    await graph.ainvoke(asking(SEND), config(), context=ALICE)
    await raced(graph, await answers(graph))
    await raced(graph, await answers(graph, "approve"))
    if (await graph.aget_state(config())).next:
        assert sandbox.sent("alice@example.test") == []
        await raced(graph, await answers(graph, "approve"))
    assert (await graph.aget_state(config())).next == () and len(sandbox.sent("alice@example.test")) == 1
