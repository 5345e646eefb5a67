"""Which tests every run includes and which only a full one; CONTRIBUTING.md lists the lanes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Final, Self, TypeVar
from zlib import crc32

import pytest
from _pytest.mark import ParameterSet

Case = TypeVar("Case")

LANES: Final = ("sweep", "processes", "browser", "counterpart", "agentdojo")
"""The marks that the default run leaves out."""
MAX_CASES: Final = 2
"""Cases of a test that the default run takes: the first and the last; the others are in `sweep`."""
MAX_PROCESSES: Final = 2
"""Processes that a test may start in the default run: tests with more belong into `processes`."""


class Run:
    """The current run; set before tests are collected."""

    whole = False
    """Whether all lanes run (``-m ""``)."""
    sweeps = True
    """Whether a case in the lane `sweep` could run: otherwise it is not generated, which takes a while for
    thousands."""
    part: Part | None = None
    """The part of the lane `sweep` whose cases run, unless all do."""


def examples(count: int) -> int:
    """Return how many examples of a property (Hypothesis) this run tries: all if all lanes run, else a twentieth, at
    least twenty."""
    return count if Run.whole else min(count, max(count // 20, 20))


def thin(items: Sequence[pytest.Item]) -> None:
    """Add a test's cases beyond `MAX_CASES` to the lane `sweep`, except its first and last.

    Cases in another lane stay in it as well, so a run of that lane has all of them, and a part of the sweep has its
    part of them. Cases selected by id always run.
    """
    tests = dict[tuple[str, bool], list[pytest.Item]]()
    for item in items:
        in_lane = any(item.get_closest_marker(lane) for lane in LANES)
        tests.setdefault((item.nodeid.partition("[")[0], in_lane), []).append(item)
    for cases in tests.values():
        for place in set(range(len(cases))) - set(spread(len(cases), MAX_CASES)):
            cases[place].add_marker(pytest.mark.sweep)


@dataclass(frozen=True)
class Part:
    """One of several equal parts of the lane `sweep`, written ``2/3``: each case is always in the same one of them."""

    number: int
    of: int

    @classmethod
    def read(cls, text: str) -> Self:
        """Parse the value of ``--sweep-part``."""
        number, slash, of = text.partition("/")
        if not (slash and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
            raise pytest.UsageError(f"--sweep-part {text!r} is no part such as 2/3: a number, and of how many parts")
        return cls(int(number), int(of))

    def has(self, item: pytest.Item) -> bool:
        """Return whether the test runs with this part. A case of the lane `sweep` runs with one part, a test marked
        ``every(4)`` with each fourth part, and any other test with all."""
        seldom = item.get_closest_marker("every")
        of = self.of if item.get_closest_marker("sweep") else seldom.args[0] if seldom else 1
        return crc32(item.nodeid.encode()) % of == (self.number - 1) % of


def few(metafunc: pytest.Metafunc) -> None:
    """Generate only those cases of a test that `thin` would keep, if no sweep can run.

    Generating a case takes as long as running many a test. The list of cases is internal to pytest; if it has another
    name, all are generated, and `thin` applies.
    """
    cases: list[Any] = getattr(metafunc, "_calls", [])
    if len(cases) > MAX_CASES and not any(metafunc.definition.get_closest_marker(lane) for lane in LANES):
        in_lanes = [any(mark.name in LANES for mark in case.marks) for case in cases]
        usual = [place for place, in_lane in enumerate(in_lanes) if not in_lane]
        kept = {usual[n] for n in spread(len(usual), MAX_CASES)}
        cases[:] = [case for place, case in enumerate(cases) if in_lanes[place] or place in kept]


def worker(config: pytest.Config) -> int | None:
    """Return the number of this test process, from 0; None for a controller or the only process."""
    given: dict[str, Any] | None = getattr(config, "workerinput", None)  # pytest-xdist's
    return None if given is None else int(given["workerid"].removeprefix("gw"))


def staggered(found: Sequence[Any], number: int | None) -> list[Any]:
    """Return the same in another order for each of three processes: from the front, from the back, from the middle.

    Compiling a module of tests with pytest's assertion rewriting is more than half of collecting it. It is done once
    and cached: no two processes should reach the same module at the same time.
    """
    match (number or 0) % 3:
        case 0:
            return list(found)
        case 1:
            return list(reversed(found))
        case _:
            return [*found[len(found) // 2 :], *found[: len(found) // 2]]


def spread(count: int, most: int) -> list[int]:
    """Return at most this many of the positions from 0 on, at equal distances, including the first and the last."""
    return list(range(count)) if count <= most else [round(n * (count - 1) / (most - 1)) for n in range(most)]


def part_of(cases: Sequence[Case]) -> list[Case]:
    """Return all cases that a heavy test iterates over itself, or an eighth if the run takes a part of the sweep."""
    if Run.part is None:
        return list(cases)
    of = min(Run.part.of, 8)
    return list(cases[(Run.part.number - 1) % of :: of])


def some_and_all(cases: Sequence[Any], step: int) -> list[ParameterSet]:
    """Return two cases for a test that iterates over many values itself: each ``step``-th of them in every run, and all
    of them in the lane `processes`, which CI runs with each commit."""
    return [pytest.param(cases[::step], id="some"), pytest.param(cases, id="all", marks=pytest.mark.processes)]


def sample(
    cases: Iterable[Any],
    shape: Callable[[Any], object] = lambda case: None,
    *,
    ids: Iterable[str] | None = None,
    spread: bool = False,
) -> list[ParameterSet]:
    """Return parameters for a test of which every run needs only an example.

    Args:
        cases: the values, or rows of values.
        shape: what makes two cases alike; by default all are. The first of each shape always runs, the others in the
            lane `sweep`.
        ids: what each case is called; by default as pytest calls it.
        spread: whether a case is a row with a value for each name, not a value itself.
    """
    seen, made = set[object](), list[ParameterSet]()
    for case, name in zip(cases, repeat(None) if ids is None else ids, strict=ids is not None):
        alike = shape(case)
        if alike in seen and not Run.sweeps:
            continue
        marks = [pytest.mark.sweep] if alike in seen else []
        seen.add(alike)
        made.append(pytest.param(*(case if spread else [case]), marks=marks, id=name))
    return made
