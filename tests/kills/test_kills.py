"""Twenty trials of ``python -m tests.kills``, different each time, and five on Postgres; more in the lane `sweep`."""

from __future__ import annotations

import random

import pytest

from tests.kills.__main__ import main


@pytest.mark.processes
@pytest.mark.parametrize(
    ("store", "trials"),
    [
        ("sqlite", 20),
        pytest.param("sqlite", 20, marks=pytest.mark.sweep),
        pytest.param("postgres", 5, marks=pytest.mark.counterpart),
        pytest.param("postgres", 15, marks=[pytest.mark.counterpart, pytest.mark.sweep]),
    ],
)
async def test_R36_killed_processes_leave_no_repeated_act_and_no_unknown_token_family(store: str, trials: int) -> None:
    seen = await main(trials, random.SystemRandom().randrange(10**6), store)
    assert seen.clean, "the table above says what happened"
    assert seen.killed > trials / 2
