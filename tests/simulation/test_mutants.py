"""Each fault that was put back is found: the quickest two in every run, the others in `sweep`."""

from __future__ import annotations

import pytest

from tests.simulation.mutants import MUTANTS, Mutant, find

QUICK = 2


@pytest.mark.parametrize(
    "mutant",
    [pytest.param(one, marks=() if place < QUICK else pytest.mark.sweep) for place, one in enumerate(MUTANTS)],
)
def test_mutant_is_found(mutant: Mutant) -> None:
    assert find(mutant)
