"""Distributions of other people, really installed: a dist-info and its modules in a folder on ``sys.path``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path


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
