"""Whether linters and type checkers accept a generated module as they would in a project of its own."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

RULES: Final = "E,F,I,B,UP,S,RUF,ASYNC,DTZ"


def lint(*texts: str) -> None:
    """Fail unless ruff finds nothing in these modules, and would format them as they are."""
    with tempfile.TemporaryDirectory() as folder:
        files = _put(folder, texts)
        options = ("--isolated", "--line-length", "120", "--no-cache")
        _run("-m", "ruff", "check", *options, "--select", RULES, *files)
        _run("-m", "ruff", "format", *options, "--diff", *files)


def type_check(*texts: str) -> None:
    """Fail unless mypy finds nothing in these modules, in its strict mode."""
    with tempfile.TemporaryDirectory() as folder:
        _run("-m", "mypy", "--strict", "--cache-dir", folder, *_put(folder, texts))


def _put(folder: str, texts: tuple[str, ...]) -> list[str]:
    files = []
    for number, text in enumerate(text for text in texts if text):
        path = Path(folder, f"module_{number}.py")
        path.write_text(text, encoding="utf-8")
        files.append(str(path))
    return files


def _run(*words: str) -> None:
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
