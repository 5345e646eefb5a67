"""What every run does and what only a full one does; the lanes stand in CONTRIBUTING.md."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Final, Self, TypeVar
from zlib import crc32

import pytest
from _pytest.mark import ParameterSet

Case = TypeVar("Case")

LANES: Final = ("sweep", "processes", "browser", "counterpart")
"""The marks of what the default run leaves out."""
MAX_CASES: Final = 2
"""As many cases of a test does the default run take: the first and the last; the others are in `sweep`."""
MAX_PROCESSES: Final = 2
"""As many processes may a test start in the default run: more belong into `processes`."""


class Run:
    """Which run this is; set before tests are collected."""

    whole = False
    """Whether all lanes run (``-m ""``)."""
    sweeps = True
    """Whether a case in the lane `sweep` could run: else it need not be made, which takes a while for thousands."""
    part: Part | None = None
    """Of which part of the lane `sweep` the cases run, unless all do."""


def examples(count: int) -> int:
    """As many examples of a property (Hypothesis) does this run look at: all of them where all lanes run, else a
    twentieth, at least twenty."""
    return count if Run.whole else min(count, max(count // 20, 20))


def thin(items: Sequence[pytest.Item]) -> None:
    """Put into the lane `sweep` what a test has beyond `MAX_CASES` cases, but its first and its last.

    Whoever asks for single cases by their ids gets them.
    """
    tests = dict[str, list[pytest.Item]]()
    for item in items:
        if not any(item.get_closest_marker(lane) for lane in LANES):
            tests.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for cases in tests.values():
        for place in set(range(len(cases))) - set(spread(len(cases), MAX_CASES)):
            cases[place].add_marker(pytest.mark.sweep)


@dataclass(frozen=True)
class Part:
    """One of some equal parts of the lane `sweep`, written ``2/3``: each case is in one of them, always the same."""

    number: int
    of: int

    @classmethod
    def read(cls, text: str) -> Self:
        """The part that ``--sweep-part`` names."""
        number, slash, of = text.partition("/")
        if not (slash and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
            raise pytest.UsageError(f"--sweep-part {text!r} is no part such as 2/3: a number, and of how many parts")
        return cls(int(number), int(of))

    def has(self, item: pytest.Item) -> bool:
        """Whether this runs with the part: it is no case of the lane `sweep`, or one of the part's."""
        return item.get_closest_marker("sweep") is None or crc32(item.nodeid.encode()) % self.of == self.number - 1


def few(metafunc: pytest.Metafunc) -> None:
    """Make only those cases of a test that `thin` would leave in the run, where no sweep could run.

    What pytest makes of a case takes as long as many a test. Their list is pytest's own; where it is called otherwise,
    all are made, and `thin` does its work.
    """
    cases: list[Any] = getattr(metafunc, "_calls", [])
    if len(cases) > MAX_CASES and not any(metafunc.definition.get_closest_marker(lane) for lane in LANES):
        in_lanes = [any(mark.name in LANES for mark in case.marks) for case in cases]
        usual = [place for place, in_lane in enumerate(in_lanes) if not in_lane]
        kept = {usual[n] for n in spread(len(usual), MAX_CASES)}
        cases[:] = [case for place, case in enumerate(cases) if in_lanes[place] or place in kept]


def worker(config: pytest.Config) -> int | None:
    """Which process of a run this is, from 0 on; None in one that has given its tests to others, or is the only one."""
    given: dict[str, Any] | None = getattr(config, "workerinput", None)  # pytest-xdist's
    return None if given is None else int(given["workerid"].removeprefix("gw"))


def staggered(found: Sequence[Any], number: int | None) -> list[Any]:
    """The same in another order for each of three processes: from the front, from the back, from the middle on.

    Compiling a module of tests with what pytest writes into its assertions is more than half of collecting it. It is
    done once and kept: so no two processes should come to the same module at the same time.
    """
    match (number or 0) % 3:
        case 0:
            return list(found)
        case 1:
            return list(reversed(found))
        case _:
            return [*found[len(found) // 2 :], *found[: len(found) // 2]]


def spread(count: int, most: int) -> list[int]:
    """At most so many of the places from 0 on, at equal distances, the first and the last among them."""
    return list(range(count)) if count <= most else [round(n * (count - 1) / (most - 1)) for n in range(most)]


def part_of(cases: Sequence[Case]) -> list[Case]:
    """Of what a heavy test goes through itself: all, or an eighth where the run takes a part of the sweep."""
    if Run.part is None:
        return list(cases)
    of = min(Run.part.of, 8)
    return list(cases[(Run.part.number - 1) % of :: of])


def some_and_all(cases: Sequence[Any], step: int) -> list[ParameterSet]:
    """Two cases of a test that goes through many values itself: each ``step``-th of them in every run, and all of them
    in the lane `processes`, which CI runs with each commit."""
    return [pytest.param(cases[::step], id="some"), pytest.param(cases, id="all", marks=pytest.mark.processes)]


def sample(
    cases: Iterable[Any],
    shape: Callable[[Any], object] = lambda case: None,
    *,
    ids: Iterable[str] | None = None,
    spread: bool = False,
) -> list[ParameterSet]:
    """Parameters for a test of which every run needs an example only.

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
