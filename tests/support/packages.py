"""Distributions of third parties, really installed: a dist-info and its modules in a folder on ``sys.path``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pytest


def put(
    folder: Path, distribution: str, group: str, points: Iterable[str], modules: Mapping[str, str] | None = None
) -> None:
    """Install version 1.2 of a distribution with these entry points (``name = module:object``) and modules."""
    info = folder / f"{distribution.replace('-', '_')}-1.2.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
    with (info / "entry_points.txt").open("a") as file:
        file.write(f"[{group}]\n" + "\n".join(points) + "\n")
    for name, code in (modules or {}).items():
        (folder / f"{name}.py").write_text(code)


def install(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, points: Mapping[str, Sequence[str]], **modules: str
) -> None:
    """Install a distribution with entry points of several groups into a folder, and put the folder on the path for one
    test. The caller clears what was found before: `deputize.core.plugins.Plugins.forget`."""
    monkeypatch.syspath_prepend(str(folder))
    for module in modules:
        monkeypatch.delitem(sys.modules, module, raising=False)
    for group, lines in points.items():
        put(folder, name, group, lines, modules)
