"""Types of pauses and decisions in users' programs, as mypy and pyright see them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Final

import pytest

from tests.typing.programs import PROGRAMS

FOUND: Final = re.compile(r"program_(\w+)\.py:(\d+): error")


def marked(checker: str) -> dict[str, set[int]]:
    """Return the lines of mistakes that this type checker must find, by program."""
    ends = ("# wrong", f"# wrong: {checker}")
    return {
        name: {number for number, line in enumerate(text.splitlines(), 1) if line.endswith(ends)}
        for name, text in PROGRAMS.items()
    }


def written(folder: Path) -> list[str]:
    """Write the programs, and return their files."""
    for name, text in PROGRAMS.items():
        (folder / f"program_{name}.py").write_text(text, encoding="utf-8")
    return sorted(str(path) for path in folder.glob("program_*.py"))


def checked(folder: Path, *words: str) -> str:
    """Return the output of a type checker that finds mistakes."""
    done = subprocess.run([sys.executable, "-m", *words], cwd=folder, capture_output=True, text=True, timeout=400)
    assert done.returncode == 1, (done.stdout + done.stderr)[-4000:]
    return done.stdout


@pytest.mark.every(2)
@pytest.mark.processes
def test_mypy_finds_each_mistake_in_programs_and_nothing_else(tmp_path: Path) -> None:
    options = ("--strict", "--config-file=", "--cache-dir", str(tmp_path / "cache"))
    lines = defaultdict[str, set[int]](set)
    for name, line in FOUND.findall(said := checked(tmp_path, "mypy", *options, *written(tmp_path))):
        lines[name].add(int(line))
    assert lines == marked("mypy"), said[-4000:]


@pytest.mark.every(2)
@pytest.mark.processes
def test_pyright_finds_each_mistake_in_programs_and_nothing_else(tmp_path: Path) -> None:
    said = checked(tmp_path, "pyright", "--pythonpath", sys.executable, "--outputjson", *written(tmp_path))
    lines = defaultdict[str, set[int]](set)
    for one in json.loads(said)["generalDiagnostics"]:
        lines[Path(one["file"]).stem.removeprefix("program_")].add(one["range"]["start"]["line"] + 1)
    assert lines == marked("pyright"), said[-4000:]
