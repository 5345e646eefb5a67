"""Random trials: a hundred steps always, ten thousand on each store in the lane `sweep`, others each time."""

from __future__ import annotations

import random

import pytest

from tests.properties.machine import run
from tests.properties.parts import place_of

CASES = [
    pytest.param("memory", 100),
    pytest.param("memory", 10_000, marks=pytest.mark.sweep),
    pytest.param("sqlite", 10_000, marks=pytest.mark.sweep),
    pytest.param("postgres", 10_000, marks=[pytest.mark.sweep, pytest.mark.counterpart]),
]


@pytest.mark.parametrize(("store", "steps"), CASES)
def test_no_token_is_used_twice_nothing_comes_back_and_nobody_acts_for_another(store: str, steps: int) -> None:
    number = random.SystemRandom().randrange(10**6) if steps > 100 else 2
    with place_of(store) as place:
        played, met = run(place, steps, number, shrink=steps < 1000)
    assert played.total() > steps / 2, f"seed {number}"
    assert met["codes"] and met["api"] and met["refreshes"], f"seed {number}: nothing happened"
