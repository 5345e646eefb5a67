"""A thousand schedules. `python -m tests.simulation` plays others."""

from __future__ import annotations

import pytest

from tests.simulation.batches import Batch, played
from tests.simulation.schedule import play
from tests.simulation.stores import MODELS, Model


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "seeds",
    [
        pytest.param(range(200), id="some"),
        pytest.param(range(200, 1000), id="all", marks=[pytest.mark.processes, pytest.mark.every(4)]),
    ],
)
def test_schedules_break_no_invariant(seeds: range, model: Model) -> None:
    batch = played(Batch(seeds, model))
    assert not batch.failed, "\n".join(f"--replay {came.seed}: {came.wrong}" for came in batch.failed)
    for name in ("consent granted", "posts", "posts under mandates", "processes that died", "disconnect"):
        assert batch.met[name], f"{name} never happened"


def test_schedule_replays_identically() -> None:
    for seed in range(10):
        first, again = play(seed, log=True), play(seed, log=True)
        assert first.log == again.log and first.met == again.met
