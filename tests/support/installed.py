"""An environment as an installer would make it: the built wheel, and nothing beside what some extras bring.

The other distributions are linked from those of this environment, so that no index is asked.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, PathDistribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def site(wheel: Path, extras: Iterable[str], folder: Path) -> Path:
    """A folder for ``sys.path`` with the wheel and all that it needs with these extras."""
    folder.mkdir()
    with zipfile.ZipFile(wheel) as held:
        held.extractall(folder)
    [info] = folder.glob("deputize-*.dist-info")
    for other in _closure(PathDistribution(info), frozenset(extras)):
        _link(other, folder)
    return folder


def run(place: Path, program: str, home: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """A program that sees the standard library and this folder only."""
    code = f"import sys\nsys.path.insert(0, {str(place)!r})\n{program}"
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin", **more}
    command = [sys.executable, "-I", "-S", "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def _closure(first: Distribution, extras: frozenset[str]) -> Iterator[Distribution]:
    """The distributions that are needed, each once. Extras of the first one itself are followed, too."""
    seen, waiting = {("deputize", extras)}, [(first, extras)]
    done = set[str]()
    while waiting:
        one, wanted = waiting.pop()
        for line in one.requires or ():
            need = Requirement(line)
            if need.marker and not any(need.marker.evaluate({"extra": extra}) for extra in wanted | {""}):
                continue
            name, more = canonicalize_name(need.name), frozenset(need.extras)
            if (name, more) in seen:
                continue
            seen.add((name, more))
            other = first if name == "deputize" else distribution(name)
            waiting.append((other, more))
            if name not in done | {"deputize"}:
                done.add(name)
                yield other


def _link(other: Distribution, folder: Path) -> None:
    """Its files, each under its place, and what the installer compiled, so that no program does it; no scripts."""
    for file in other.files or ():
        if file.parts[0] == "..":
            continue
        source, target = Path(str(other.locate_file(file))), folder / file
        if "__pycache__" in file.parts and not source.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            target.symlink_to(source)
