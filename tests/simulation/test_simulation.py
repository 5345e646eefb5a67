"""A thousand schedules, and those that failed once. `python -m tests.simulation` plays others."""

from __future__ import annotations

from typing import Final

import pytest

from tests.simulation.batches import Batch, played
from tests.simulation.schedule import play
from tests.simulation.stores import MODELS, Model

FAILED_ONCE: Final[dict[tuple[int, Model], str]] = {
    (9_000_003_900, "postgres"): "a second process revoked what the first had granted, after its lock was lost",
}
"""Seeds and models, and what they found."""


@pytest.mark.parametrize("model", MODELS)
def test_schedules_break_no_invariant(model: Model) -> None:
    batch = played(Batch(range(500), model))
    assert not batch.failed, "\n".join(f"--replay {came.seed}: {came.wrong}" for came in batch.failed)
    for name in ("consent granted", "posts", "posts under mandates", "processes that died", "disconnect"):
        assert batch.met[name], f"{name} never happened"


def test_schedules_that_failed_once_break_no_invariant() -> None:
    assert {case: play(*case).wrong for case in FAILED_ONCE} == {case: [] for case in FAILED_ONCE}


def test_schedule_is_the_same_whenever_it_is_played() -> None:
    for seed in range(20):
        first, again = play(seed, log=True), play(seed, log=True)
        assert first.log == again.log and first.met == again.met
