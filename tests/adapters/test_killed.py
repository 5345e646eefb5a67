"""A conversation whose process is killed at every pause (SIGKILL), and continued by a new process each time."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


async def killed_after(folder: Path, step: str) -> dict[str, Any]:
    """Return the output of a process after this step; then kill it without warning."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.graph_child", str(folder), step,
        stdout=subprocess.PIPE, cwd=ROOT, env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    assert child.stdout
    try:
        shown = await asyncio.wait_for(child.stdout.readline(), 60)
    finally:
        child.kill()
        await child.wait()
    return dict(json.loads(shown))


@pytest.mark.every(2)
@pytest.mark.processes
async def test_process_killed_at_each_pause_is_continued_by_the_next(tmp_path: Path) -> None:
    first = await killed_after(tmp_path, "ask")
    again = await killed_after(tmp_path, "wake")
    assert first["pause"]["type"] == "deputize.consent"
    assert again["pause"] == first["pause"], "the same consents, the same links"
    granted = await killed_after(tmp_path, "consent")
    assert granted["pause"]["type"] == "deputize.approval" and granted["sent"] == 0
    looked = await killed_after(tmp_path, "look")
    assert looked["pause"] == granted["pause"]
    assert await killed_after(tmp_path, "approve") == {"pause": {}, "sent": 1}
    assert await killed_after(tmp_path, "wake") == {"pause": {}, "sent": 1}
