"""Frameworks' own tests pass with deputize in place, except for the listed differences."""

from __future__ import annotations

import asyncio
from importlib.metadata import version

import pytest

from tests.counterparts.frameworks import RECORDED, SUITES, Suite, differences, run
from tests.support.counterparts import require_suite

pytestmark = [pytest.mark.counterpart, pytest.mark.every(2)]


@pytest.mark.parametrize(
    ("suite", "mode"),
    [pytest.param(suite, mode, id=f"{suite.package}-{mode}") for suite in SUITES for mode in suite.modes],
)
async def test_own_tests_of_framework_pass_with_deputize(suite: Suite, mode: str) -> None:
    require_suite(suite.package)
    recorded = RECORDED.get((suite.package, version(suite.package)))
    stock = recorded if recorded is not None else await asyncio.to_thread(run, suite)
    ours = await asyncio.to_thread(run, suite, mode)
    found = ours.failed - stock.failed
    assert ours.collected == stock.collected > 200
    assert not found - differences(mode), "fail with deputize only"
    assert not recorded or found == differences(mode) - stock.failed, "are listed as differences, yet pass"
