"""An environment as an installer would create it: the built wheel, and what some extras require.

The other distributions are linked from this environment, so that no package index is needed.
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
    """Return a folder for ``sys.path`` with the wheel and everything it needs with these extras."""
    folder.mkdir()
    with zipfile.ZipFile(wheel) as held:
        held.extractall(folder)
    [info] = folder.glob("deputize-*.dist-info")
    for other in _closure(PathDistribution(info), frozenset(extras)):
        _link(other, folder)
    return folder


def run(place: Path, program: str, home: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a program that sees only the standard library and this folder."""
    code = f"import sys\nsys.path.insert(0, {str(place)!r})\n{program}"
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin", **more}
    command = [sys.executable, "-I", "-S", "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def _closure(first: Distribution, extras: frozenset[str]) -> Iterator[Distribution]:
    """Return the required distributions, each once. Extras of the first one itself are followed, too."""
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
    """Link its files to their places, with compiled files so that no program compiles them; no scripts."""
    for file in other.files or ():
        if file.parts[0] == "..":
            continue
        source, target = Path(str(other.locate_file(file))), folder / file
        if "__pycache__" in file.parts and not source.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            target.symlink_to(source)
