"""Random trials: a hundred steps always, on Postgres where there is one, and ten thousand on each store in the lane
`sweep`, in ten cases of which its parts take some; others each time."""

from __future__ import annotations

import random

import pytest

from tests.properties.parts import PART, Part, played

POSTGRES = pytest.mark.counterpart
CASES = [
    pytest.param("memory", 100, id="memory"),
    pytest.param("postgres", 100, id="postgres", marks=POSTGRES),
    *(
        pytest.param(store, PART, id=f"{store}, part {number}", marks=[pytest.mark.sweep, *marks])
        for store, marks in (("memory", ()), ("sqlite", ()), ("postgres", (POSTGRES,)))
        for number in range(1, 11)
    ),
]


@pytest.mark.parametrize(("store", "steps"), CASES)
def test_no_token_is_used_twice_nothing_comes_back_and_nobody_acts_for_another(store: str, steps: int) -> None:
    seed = random.SystemRandom().randrange(10**6) if steps == PART else 2
    came = played(Part(store, steps, seed))
    assert not came.wrong, f"Part({store!r}, {steps}, {seed}):\n{came.wrong}"
    assert came.played.total() > steps / 2, f"seed {seed}"
    assert came.met["codes"] and came.met["api"] and came.met["refreshes"], f"seed {seed}: nothing happened"
