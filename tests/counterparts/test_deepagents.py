"""Deep agents send each mail once: a program in an environment that has the package prints the table."""

from __future__ import annotations

import asyncio
import os
from asyncio.subprocess import PIPE, STDOUT

import pytest

from tests.support.counterparts import CHECKOUT, deepagents_python

pytestmark = pytest.mark.counterpart


async def test_deep_agent_and_its_subagents_send_once(capsys: pytest.CaptureFixture[str]) -> None:
    child = await asyncio.create_subprocess_exec(
        deepagents_python(), "-m", "tests.support.features.deep",
        stdout=PIPE, stderr=STDOUT, cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), "LANGSMITH_TRACING": "false"},
    )  # fmt: skip
    shown, _ = await asyncio.wait_for(child.communicate(), 120)
    with capsys.disabled():
        print(f"\n{shown.decode().strip()}", end="")
    assert child.returncode == 0, "a row has sent another number of mails"
