"""Kill processes at every step of what they do, and count what is left.

python -m tests.kills 300 [SEED] [postgres]      so many trials; ``all``: one for each step

Each trial has a provider, a vault and processes of its own; the vault lies in a file, or in a database of the trial's
own. One process is killed (SIGKILL) before or after one of its writes (into the vault, its copy, or the audit) or
requests; in some trials others act at the same time, or the root keys change, or APIs refuse good tokens, nobody says
whose a token is, and connections are cut (`FAULTS`). Then another process passes by, as any running program does; after
faults it comes a second time, when all is well again. Prints a table; exit code 1 where something happened that must
not.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import nullcontext
from itertools import cycle, islice, product
from typing import Final, TypeVar

from tests.kills.killed_process import Work
from tests.kills.trial import BEFORE, FAULTS, Plan, Seen, length, played
from tests.support.kill_points import When
from tests.support.postgres import postgres_server

T = TypeVar("T")
R = TypeVar("R")

PROVIDERS: Final = ("linear", "google", "github")
TOGETHER: Final = 3
"""Concurrent trials: processes also wait."""
WHEN: Final[tuple[When, ...]] = ("before", "after")


_NONE: Final = {
    *(("act", "linear"), ("act", "github"), ("refresh", "github")),
    *product(("key change", "copy"), ("google", "github")),
}
"""Only one provider has mail, GitHub's tokens do not expire, and vault maintenance asks no provider."""


async def steps() -> list[Work]:
    """Return every step of every work at which a process can be killed."""
    kinds = [one for one in product(BEFORE, PROVIDERS) if one not in _NONE]
    lengths = [steps async for steps in in_turn(kinds, lambda one: length(*one))]
    return [
        Work(*one, at=at, when=when)
        for one, steps in zip(kinds, lengths, strict=True)
        for at, when in product(range(1, steps + 1), WHEN)
    ]


def plans(works: list[Work], number: int, seed: int, server: str = "") -> Iterator[Plan]:
    """Return this many trials, spread over all steps; rivals, rotations and faults are random."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    chance.shuffle(works)
    for work in islice(cycle(works), number):
        rival, rotation = chance.random() < 0.5, chance.random() < 0.3
        faults = tuple(one for one in FAULTS if chance.random() < 0.3 and work.name != "copy")  # nobody may write then
        yield Plan(work, rival, rotation, faults, chance.randrange(10**6), server)


def table(seen: Seen, seed: int, seconds: float) -> str:
    """Return the results of all trials, a line each."""
    rows = {
        "seed": seed,
        "trials": seen.trials,
        "killed": seen.killed,
        "with faults": seen.disturbed,
        "writes twice": seen.writes_twice,
        "wrong user": seen.wrong_user,
        "records that do not open": seen.shut,
        "families alive that nobody knows": seen.unknown,
        "families alive after a disconnect": seen.outlived,
        "living families revoked by us": seen.revoked,
        "starts disturbed by rotation": seen.starts_disturbed,
        "older keys still needed, or not copied": seen.left_over,
        "audits that do not verify": seen.audit,
        "replies that could not be written": seen.in_flight,
        "losses": dict(seen.losses),
        "losses under a wrong name": dict(seen.wrong_losses),
        "what callers were told": dict(seen.errors),
        "seconds": round(seconds),
    }
    return "\n".join([*(f"{name:40} {value}" for name, value in rows.items()), *seen.notes])


async def in_turn(all_of: Iterable[T], play: Callable[[T], Awaitable[R]]) -> AsyncIterator[R]:
    """Run the trials, a few at the same time, and return their results in order."""
    left = iter(all_of)
    while some := list(islice(left, TOGETHER)):
        for one in await asyncio.gather(*map(play, some)):
            yield one


async def main(number: int | None, seed: int, store: str = "sqlite") -> Seen:
    """Run this many trials, or one for each step, and print the table."""
    began, total, works = time.monotonic(), Seen(), await steps()
    with postgres_server() if store == "postgres" else nullcontext() as server:
        chosen = plans(works, number or len(works), seed, server.url if server else "")
        async for seen in in_turn(chosen, played):
            total.add(seen)
    print(f"{'store':40} {store}\n{table(total, seed, time.monotonic() - began)}")
    return total


if __name__ == "__main__":
    chosen = int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().randrange(10**6)
    asked = None if sys.argv[1] == "all" else int(sys.argv[1])
    sys.exit(not asyncio.run(main(asked, chosen, *sys.argv[3:])).clean)
