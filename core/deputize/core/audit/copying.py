"""From one trail to another: the same lines, so neither a key nor a look into them is needed, and proof stays proof."""

from __future__ import annotations

import os
from itertools import chain
from pathlib import Path

from deputize.core.audit.reading import files_of, lines_of
from deputize.core.audit.sinks import checked
from deputize.core.audit.trail import Trail, whole_lines
from deputize.core.errors import SettingsError


def copy_rows(start: Trail, to: Trail) -> int:
    """Add all rows of a trail to another; how many were not there yet. What was interrupted goes on when done again.

    Unfinished last lines are left out. Raises `SettingsError` where a folder has a chain of that name already that is
    another, `VaultError` for a line that is no row, `StoreUnavailable`.
    """
    count = 0
    for writer, parts in files_of(start).items():
        lines = whole_lines(line for _, line in chain.from_iterable(map(lines_of, parts)))
        count += _written(checked(to), writer, lines) if isinstance(to, Path) else to.take_over(writer, lines)
    return count


def _written(folder: Path, writer: str, lines: list[bytes]) -> int:
    path, data = folder / f"{writer}.0.jsonl", b"".join(lines)
    if path.name != f"{Path(writer).name}.0.jsonl":
        raise SettingsError(f"{writer[:64]!r} cannot be the name of a chain's file.")
    if path.exists():
        if path.read_bytes() == data:
            return 0
        raise SettingsError("A chain of this name lies there already, and is another.", hint=str(path))
    part = path.with_suffix(".part")
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)
    return len(lines)
