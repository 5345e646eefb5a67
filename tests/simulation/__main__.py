"""Play many schedules: ``python -m tests.simulation 1000000 --run 7 [--model sqlite] [--processes 2]``.

``--replay SEED`` plays one schedule alone, and prints what happened. ``--mutants`` puts faults back, one at a time, and
plays schedules until each is found. Exit code 1 if something happened that must not, or a mutant was not found.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections import Counter

from tests.simulation.batches import batches, played
from tests.simulation.mutants import MOST, MUTANTS, found
from tests.simulation.schedule import play
from tests.simulation.stores import MODELS, Model


def main(number: int, run: int, model: Model | None, processes: int) -> int:
    """Play them all; the exit code."""
    began, total, met, failed = time.monotonic(), 0, Counter[str](), 0
    with multiprocessing.get_context("forkserver").Pool(processes) as pool:
        for batch in pool.imap_unordered(played, batches(number, run, model)):
            total, failed = total + len(batch.seeds), failed + len(batch.failed)
            met.update(batch.met)
            for came in batch.failed:
                print(f"--replay {came.seed}: " + "; ".join(came.wrong), flush=True)
            if total % 10_000 == 0 or total == number:
                print(f"{total} schedules, {failed} failed, {time.monotonic() - began:.0f} s", flush=True)
    print("\n".join(f"{count:10} {name}" for name, count in met.most_common()))
    return bool(failed)


def replay(seed: int, model: Model | None) -> int:
    """Play one, and print what happened; the exit code."""
    came = play(seed, model, log=True)
    print("\n".join([*came.log, *(f"WRONG: {wrong}" for wrong in came.wrong)]))
    return bool(came.wrong)


def find_mutants(processes: int) -> int:
    """Look for each mutant; the exit code."""
    missing = 0
    with multiprocessing.get_context("forkserver").Pool(processes) as pool:
        for mutant, line in zip(MUTANTS, pool.imap(found, range(len(MUTANTS))), strict=True):
            missing += not line
            print(line or f"{mutant.__name__}: not found in {MOST} schedules", flush=True)
    return bool(missing)


if __name__ == "__main__":
    asked = argparse.ArgumentParser(prog="python -m tests.simulation")
    asked.add_argument("number", type=int, nargs="?", default=10_000)
    asked.add_argument("--run", type=int, default=0)
    asked.add_argument("--model", choices=MODELS)
    asked.add_argument("--processes", type=int, default=2)
    asked.add_argument("--replay", type=int)
    asked.add_argument("--mutants", action="store_true")
    given = asked.parse_args()
    if given.replay is not None:
        sys.exit(replay(given.replay, given.model))
    if given.mutants:
        sys.exit(find_mutants(given.processes))
    sys.exit(main(given.number, given.run, given.model, given.processes))
