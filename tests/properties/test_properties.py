"""Random trials: a hundred steps always, on Postgres where there is one, and ten cases for each store in `sweep`.

Those have a thousand steps, on Postgres, where a step takes a fifth of a second, two hundred. Their seeds are fixed:
`python -m tests.properties` looks at others.
"""

from __future__ import annotations

import pytest

from tests.properties.parallel_trials import PART, Part, played

POSTGRES = pytest.mark.counterpart
CASES = [
    pytest.param("memory", 100, 2, id="memory"),
    pytest.param("postgres", 100, 2, id="postgres", marks=POSTGRES),
    *(
        pytest.param(store, steps, number, id=f"{store}, part {number}", marks=[pytest.mark.sweep, *marks])
        for store, steps, marks in (("memory", PART, ()), ("sqlite", PART, ()), ("postgres", PART // 5, (POSTGRES,)))
        for number in range(1, 11)
    ),
]


@pytest.mark.parametrize(("store", "steps", "seed"), CASES)
def test_no_token_is_used_twice_nothing_comes_back_and_nobody_acts_for_another(
    store: str, steps: int, seed: int
) -> None:
    came = played(Part(store, steps, seed))
    assert not came.wrong, f"Part({store!r}, {steps}, {seed}):\n{came.wrong}"
    assert came.played.total() > steps / 2, f"seed {seed}"
    assert came.met["codes"] and came.met["api"] and came.met["refreshes"], f"seed {seed}: nothing happened"
