"""Play random trials, many: ``python -m tests.properties --steps 1000000 --seed 7 [--store memory] [--processes 2]``.

Each trial has a sandbox with reuse detection and a vault of its own, in memory, in sqlite or in Postgres, and two
programs that share it. Prints how far it came after every thousand steps; the same seed plays the same trials, each
thousand for itself: where one fails, its own seed is said. What was cut short goes on ``--after`` so many thousands.
Exit code 1 where something happened that must not.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections import Counter

from tests.properties.parallel_trials import parts, played
from tests.properties.trial_programs import PLACES


def main(store: str, steps: int, seed: int, processes: int, after: int) -> int:
    """Play all parts; the exit code."""
    began, steps_played, met, wrong = time.monotonic(), Counter[str](), Counter[str](), 0
    with multiprocessing.get_context("forkserver").Pool(processes, maxtasksperchild=20) as pool:
        for number, came in enumerate(pool.imap(played, parts(store, steps, seed)[after:]), after + 1):
            steps_played.update(came.played)
            met.update(came.met)
            if came.wrong:
                wrong += 1
                print(f"seed {came.part.seed} ({came.part.steps} steps):\n{came.wrong}", flush=True)
            total, seconds = steps_played.total(), time.monotonic() - began
            print(f"{store}: {number} thousand, {total} steps now, {wrong} wrong, {seconds:.0f} s", flush=True)
    for title, counts in (("played", steps_played), ("met", +met)):
        print(f"{title}:\n" + "\n".join(f"  {count:8} {name}" for name, count in counts.most_common()))
    return bool(wrong)


if __name__ == "__main__":
    asked = argparse.ArgumentParser(prog="python -m tests.properties")
    asked.add_argument("--store", choices=PLACES, default="memory")
    asked.add_argument("--steps", type=int, default=10_000)
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--processes", type=int, default=2)
    asked.add_argument("--after", type=int, default=0, help="thousands that were played before")
    sys.exit(main(**vars(asked.parse_args())))
