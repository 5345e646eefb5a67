"""The default run stays short, needs nothing but Python, and omits nothing that was not put into a lane."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.lanes import LANES, MAX_CASES, Part, Run, sample, spread, staggered, thin, worker

ROOT: Final = Path(__file__).parents[1]
OPTIONS: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]


def test_default_run_leaves_out_exactly_the_lanes() -> None:
    assert " and ".join(f"not {lane}" for lane in LANES) == OPTIONS["addopts"][OPTIONS["addopts"].index("-m") + 1]
    assert [marker.partition(":")[0] for marker in OPTIONS["markers"]] == list(LANES)


def test_default_run_takes_a_few_spread_cases(request: pytest.FixtureRequest) -> None:
    here = [item for item in request.session.items if not any(item.get_closest_marker(lane) for lane in LANES)]
    cases = Counter(item.nodeid.partition("[")[0] for item in here)
    assert len(cases) > 0 and max(cases.values()) <= MAX_CASES
    assert spread(3, 6) == [0, 1, 2] and spread(11, 6) == [0, 2, 4, 6, 8, 10] and spread(8, 3) == [0, 4, 7]


MADE: Final = list[pytest.Metafunc]()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Record the cases that pytest generates, to check them."""
    MADE.append(metafunc)


@pytest.mark.parametrize("case", [*range(8), pytest.param(8, marks=pytest.mark.processes), *range(9, 12)])
def test_only_cases_a_lane_of_the_run_takes_are_generated(case: int) -> None:
    [here] = {one for one in MADE if one.function.__name__.startswith("test_only_cases_a_lane")}
    made = [found.params["case"] for found in here._calls]
    assert case in made and made == (list(range(12)) if Run.sweeps else [0, 8, 11])


def test_sweep_case_is_in_one_part_and_other_tests_are_in_every_part(
    request: pytest.FixtureRequest,
) -> None:
    parts = [Part.read(f"{number}/3") for number in (1, 2, 3)]
    cases = [
        pytest.Function.from_parent(request.node.parent, name=f"test_it[{n}]", callobj=lambda: None) for n in range(300)
    ]
    assert all(part.has(cases[0]) for part in parts)
    for case in cases:
        case.add_marker("sweep")
    where = Counter(next(part for part in parts if part.has(case)) for case in cases)
    assert all(sum(part.has(case) for part in parts) == 1 for case in cases) and min(where.values()) > 70


def test_drill_for_every_fourth_commit_is_in_each_fourth_part(request: pytest.FixtureRequest) -> None:
    drills = [
        pytest.Function.from_parent(request.node.parent, name=f"test_drill_{n}", callobj=lambda: None)
        for n in range(40)
    ]
    for drill in drills:
        drill.add_marker(pytest.mark.every(4))
        runs = [number for number in range(1, 49) if Part(number, 48).has(drill)]
        assert len(runs) == 12 and {after - before for before, after in pairwise(runs)} == {4}
    assert all(any(Part(number, 48).has(drill) for drill in drills) for number in range(1, 5))


def test_cases_of_another_lane_but_the_first_and_last_are_also_in_the_sweep(request: pytest.FixtureRequest) -> None:
    cases = [
        pytest.Function.from_parent(request.node.parent, name=f"test_it[{n}]", callobj=lambda: None) for n in range(5)
    ]
    for case in cases:
        case.add_marker("processes")
    thin(cases)
    assert [case.get_closest_marker("sweep") is not None for case in cases] == [False, True, True, True, False]
    assert all(case.get_closest_marker("processes") for case in cases)


def test_three_processes_visit_the_files_of_a_folder_in_different_orders() -> None:
    files = list(range(12))
    orders = [staggered(files, number) for number in (0, 1, 2)]
    assert all(sorted(order) == files for order in orders) and staggered(files, None) == files
    assert all(len({order[place] for order in orders}) == 3 for place in range(3))


def test_each_process_has_the_same_tests_in_file_order(request: pytest.FixtureRequest) -> None:
    paths = [item.path for item in request.session.items]
    assert worker(request.config) is None or sorted(paths) == paths


@pytest.mark.parametrize("text", ["3", "0/3", "4/3", "a/3", "/", "1/0", "-1/3"])
def test_invalid_sweep_part_is_refused(text: str) -> None:
    with pytest.raises(pytest.UsageError, match=r"--sweep-part .* such as 2/3"):
        Part.read(text)


def lanes(made: list[Any]) -> list[tuple[Any, ...]]:
    """Return each sample's values, and whether it is in the lane `sweep`."""
    return [(*one.values, bool(one.marks)) for one in made]


def test_first_case_of_each_shape_always_runs_and_none_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Run, "sweeps", True)
    assert lanes(sample([1, 3, 2, 4], lambda n: n % 2)) == [(1, False), (3, True), (2, False), (4, True)]
    assert lanes(sample("abc")) == [("a", False), ("b", True), ("c", True)]
    assert lanes(sample([(1, "x"), (2, "x")], lambda row: row[1], spread=True)) == [(1, "x", False), (2, "x", True)]


def test_sweep_cases_are_not_made_when_no_sweep_can_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Run, "sweeps", False)
    made = sample([1, 3, 2, 4], lambda n: n % 2, ids="abcd")
    assert lanes(made) == [(1, False), (2, False)] and [one.id for one in made] == ["a", "c"]


def test_continuous_integration_runs_every_lane() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    [lanes] = re.findall(r'^lanes="([^"]*)"', script, re.MULTILINE)
    assert lanes == " or ".join(LANES) and '-m "$lanes"' in script
    assert 'readme "passes the tests"' in script


def test_test_paths_in_the_continuous_integration_exist() -> None:
    named = re.findall(r"\btests/[^\s\"']*", (ROOT / ".ci" / "run").read_text())
    assert named and [path for path in named if not (ROOT / path).exists()] == []
