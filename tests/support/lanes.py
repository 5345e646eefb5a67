"""What every run does and what only a full one does; the lanes stand in CONTRIBUTING.md."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import pytest
from _pytest.mark import ParameterSet

LANES: Final = ("sweep", "processes", "browser", "counterpart")
"""The marks of what the default run leaves out."""
MOST_CASES: Final = 70
"""As many cases may a test have in the default run: more belong into `sweep`."""
MOST_PROCESSES: Final = 2
"""As many processes may a test start in the default run: more belong into `processes`."""


class Run:
    """Which run this is; set before tests are collected."""

    whole = False
    """Whether all lanes run (``-m ""``)."""


def examples(count: int) -> int:
    """As many examples of a property (Hypothesis) does this run look at: all of them where all lanes run, else a fifth,
    at least twenty."""
    return count if Run.whole else min(count, max(count // 5, 20))


def sample(
    cases: Iterable[Any], shape: Callable[[Any], object] = lambda case: None, *, spread: bool = False
) -> list[ParameterSet]:
    """Parameters for a test of which every run needs an example only.

    Args:
        cases: the values, or rows of values.
        shape: what makes two cases alike; by default all are. The first of each shape always runs, the others in the
            lane `sweep`.
        spread: whether a case is a row with a value for each name, not a value itself.
    """
    seen, made = set[object](), list[ParameterSet]()
    for case in cases:
        marks = [pytest.mark.sweep] if shape(case) in seen else []
        seen.add(shape(case))
        made.append(pytest.param(*(case if spread else [case]), marks=marks))
    return made
