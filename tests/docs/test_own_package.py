"""examples/own_package works as a distribution: installed, found by its entry points, tested, used."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

PACKAGE: Final = Path(__file__).parents[2] / "examples" / "own_package"

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for ``sys.path`` with the package in it, made as an installer makes it, without an index."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run(
        [*pip, "--disable-pip-version-check", "--target", str(folder), str(PACKAGE)], check=True, timeout=120
    )
    return folder


def run(place: Path, home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a program in an environment with the package, in a folder that has only its tests and its program."""
    work = home / "work"
    work.mkdir(parents=True)
    for name in ("conftest.py", "test_acme_tasks.py", "try_it.py"):
        shutil.copy(PACKAGE / name, work)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("DEPUTIZE_", "PYTEST_"))}
    environment = clean | {"DEPUTIZE_HOME": str(home / "deputize"), "PYTHONPATH": str(place)}
    command = [sys.executable, "-m", *words] if not words[0].endswith(".py") else [sys.executable, *words]
    return subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_package_tests_pass_over_the_sandbox(place: Path, tmp_path: Path) -> None:
    options = ("-q", "-p", "no:cacheprovider", "-o", "asyncio_default_fixture_loop_scope=function")
    done = run(place, tmp_path, "pytest", *options)
    assert done.returncode == 0 and "7 passed" in done.stdout, done.stdout + done.stderr


def test_command_line_knows_the_packages_tools_and_provider(place: Path, tmp_path: Path) -> None:
    done = run(place, tmp_path / "tools", "deputize.cli", "tools", "acme")
    assert done.returncode == 0, done.stderr
    assert "acme_list_tasks" in done.stdout and "acme_create_task" in done.stdout
    asked = run(place, tmp_path / "connect", "deputize.cli", "connect", "gogle")
    assert "Unknown provider 'gogle'; known: google, " in asked.stderr and ", acme." in asked.stderr


def test_package_user_connects_by_a_link_and_the_agent_acts(place: Path, tmp_path: Path) -> None:
    done = run(place, tmp_path, "try_it.py", "--auto")
    assert done.returncode == 0 and "/connect/" in done.stdout, done.stderr
    assert done.stdout.endswith("created: {'id': 'T1', 'title': 'Buy milk'}\n")
