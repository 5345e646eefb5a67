"""Many schedules, in batches that processes play beside each other."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from tests.simulation.schedule import Came, play
from tests.simulation.stores import Model

SIZE: Final = 250
STRIDE: Final = 10**9
"""Schedules of one run. Schedule n of run s has the seed ``s * STRIDE + n``."""


@dataclass
class Batch:
    """Some schedules. ``met``: how often each thing happened in them; ``failed``: the first that failed."""

    seeds: range
    model: Model | None
    met: Counter[str] = field(default_factory=Counter)
    failed: list[Came] = field(default_factory=list)


def batches(number: int, run: int, model: Model | None) -> Iterator[Batch]:
    """Cut a run of so many schedules into batches."""
    first = run * STRIDE
    for begin in range(first, first + number, SIZE):
        yield Batch(range(begin, min(begin + SIZE, first + number)), model)


def played(batch: Batch) -> Batch:
    """Play a batch, and return it with what came of it."""
    gc.set_threshold(100_000, 20, 20)  # most of what a schedule makes lives until its end
    for seed in batch.seeds:
        came = play(seed, batch.model)
        batch.met.update(came.met)
        if came.wrong:
            batch.failed.append(came)
    return batch
