"""Forty trials of ``python -m tests.kills``, fifteen on Postgres, others each time."""

from __future__ import annotations

import random

import pytest

from tests.kills.__main__ import main


@pytest.mark.processes
@pytest.mark.parametrize("store", ["sqlite", pytest.param("postgres", marks=pytest.mark.counterpart)])
async def test_R36_killed_processes_leave_nothing_done_twice_and_no_family_that_nobody_knows(store: str) -> None:
    trials = 40 if store == "sqlite" else 15
    seen = await main(trials, random.SystemRandom().randrange(10**6), store)
    assert seen.clean, "the table above says what happened"
    assert seen.killed > trials / 2
