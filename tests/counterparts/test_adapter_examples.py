"""The adapters of `examples/adapters` ask their user and send each mail once, each in its framework's environment."""

from __future__ import annotations

import asyncio
import os
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

import pytest

from tests.support.counterparts import AGENT_FRAMEWORKS, CHECKOUT, agent_framework_python

pytestmark = pytest.mark.counterpart


@pytest.mark.parametrize("package", AGENT_FRAMEWORKS)
async def test_example_adapter_asks_its_user_and_sends_once(
    package: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = package.removesuffix("-agents").removesuffix("-core").replace("-", "_")
    quiet = {"CREWAI_DISABLE_TELEMETRY": "true", "CREWAI_TRACING_ENABLED": "false", "OTEL_SDK_DISABLED": "true"}
    folders = {"PYTHONPATH": str(CHECKOUT), "HOME": str(tmp_path), "CREWAI_STORAGE_DIR": str(tmp_path)}
    child = await asyncio.create_subprocess_exec(
        agent_framework_python(package), "-m", f"tests.support.adapter_examples.{module}",
        stdout=PIPE, stderr=STDOUT, cwd=CHECKOUT,
        env={**os.environ, **quiet, **folders},
    )  # fmt: skip
    output, _ = await asyncio.wait_for(child.communicate(), 300)
    shown = output.decode()
    with capsys.disabled():
        print(f"\n{package}", *(line for line in shown.splitlines() if " mails" in line), sep="\n", end="")
    assert child.returncode == 0, shown
