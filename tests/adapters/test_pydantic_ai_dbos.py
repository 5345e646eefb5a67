"""A pydantic-ai agent in a DBOS workflow whose process is killed (SIGKILL), and recovered by a new one each time."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deputize.core.web.local.server import serve
from deputize.sandbox import Sandbox

pytest.importorskip("dbos")
pytest.importorskip("pydantic_ai.durable_exec.dbos", reason="this release of pydantic-ai knows no DBOSDurability")
ROOT = Path(__file__).parents[2]


async def killed_after(folder: Path, stage: str, base: str) -> str:
    """Return the line that this stage prints, or "" if it kills itself first. Then kill its process."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.dbos_child", str(folder), stage, base,
        stdout=subprocess.PIPE, cwd=ROOT, env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    assert child.stdout
    try:
        return (await asyncio.wait_for(child.stdout.readline(), 120)).decode().strip()
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


@pytest.mark.every(2)
@pytest.mark.processes
@pytest.mark.parametrize(
    ("stages", "result"),
    [
        ({"start": "Consent", "consent": "Approval", "cut": ""}, "An earlier run of this act was interrupted"),
        ({"whole": ""}, '"summary":"Sent."'),
    ],
    ids=["at each pause and during the act", "after the act"],
)
async def test_killed_dbos_workflow_recovers_and_sends_one_mail(
    stages: dict[str, str], result: str, tmp_path: Path
) -> None:
    sandbox = Sandbox()
    async with serve(sandbox.app) as base:
        for stage, asks in stages.items():
            assert await killed_after(tmp_path, stage, base) == asks
        assert len(sandbox.sent("alice@example.test")) == 1
        assert result in await killed_after(tmp_path, "finish", base)
    assert len(sandbox.sent("alice@example.test")) == 1
