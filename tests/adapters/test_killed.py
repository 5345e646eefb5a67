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


async def killed_after(folder: Path, step: str, durability: str) -> dict[str, Any]:
    """Return the output of a process after this step, or nothing if it kills itself first. Then kill it."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.graph_child", str(folder), step, durability,
        stdout=subprocess.PIPE, cwd=ROOT, env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    assert child.stdout
    try:
        shown = await asyncio.wait_for(child.stdout.readline(), 120)
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()
    return dict(json.loads(shown or "{}"))


@pytest.mark.every(2)
@pytest.mark.processes
@pytest.mark.parametrize("durability", ["async", "sync", "exit"])
async def test_process_killed_at_each_pause_is_continued_by_the_next(durability: str, tmp_path: Path) -> None:
    first = await killed_after(tmp_path, "ask", durability)
    again = await killed_after(tmp_path, "wake", durability)
    assert first["pause"]["type"] == "deputize.consent"
    assert again["pause"] == first["pause"], "the same consents, the same links"
    granted = await killed_after(tmp_path, "consent", durability)
    assert granted["pause"]["type"] == "deputize.approval" and granted["sent"] == 0
    looked = await killed_after(tmp_path, "look", durability)
    assert looked["pause"] == granted["pause"]
    assert await killed_after(tmp_path, "approve", durability) == {"pause": {}, "sent": 1}
    assert await killed_after(tmp_path, "wake", durability) == {"pause": {}, "sent": 1}


@pytest.mark.every(2)
@pytest.mark.processes
@pytest.mark.parametrize("durability", ["async", "sync", "exit"])
async def test_process_killed_during_the_act_sends_one_mail(durability: str, tmp_path: Path) -> None:
    for step in ("ask", "consent"):
        await killed_after(tmp_path, step, durability)
    assert await killed_after(tmp_path, "cut", durability) == {}
    assert await killed_after(tmp_path, "wake", durability) == {"pause": {}, "sent": 1}
