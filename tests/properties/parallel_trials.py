"""Many trials, in parts that processes play beside each other, each with a seed of its own."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from tests.properties.hypothesis_rules import run
from tests.properties.trial_programs import InMemory, InPostgres, InSqlite, Place
from tests.support.postgres import postgres_server

PART: Final = 1000
"""Steps with one seed of their own."""


class Part(NamedTuple):
    """Some trials of all. ``seed``: their own."""

    store: str
    steps: int
    seed: int


class Came(NamedTuple):
    """What came of a part: what was played and met, and what was wrong, if anything was."""

    part: Part
    played: Counter[str]
    met: Counter[str]
    wrong: str = ""


@contextmanager
def place_of(store: str) -> Iterator[Place]:
    """Where vaults of this store lie; of Postgres, a server of its own."""
    if store == "postgres":
        with postgres_server() as server:
            yield InPostgres(server.url)
    else:
        yield InMemory() if store == "memory" else InSqlite()


def played(part: Part) -> Came:
    """Play it."""
    with place_of(part.store) as place:
        try:
            return Came(part, *run(place, part.steps, part.seed, shrink=part.steps < PART))
        except BaseException as error:  # of any kind: an assertion, or a group of them
            return Came(part, Counter(), Counter(), "".join(traceback.format_exception(error)))


def parts(store: str, steps: int, seed: int) -> list[Part]:
    """All of it, in parts of a thousand."""
    return [Part(store, min(PART, steps - done), seed * 10**6 + done // PART) for done in range(0, steps, PART)]
