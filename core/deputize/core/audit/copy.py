"""From one trail to another: the same lines, so neither a key nor a look into them is needed, and proof stays proof."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from deputize.core.audit.reader import files_of, lines_of
from deputize.core.audit.sinks import checked
from deputize.core.audit.trail import Trail, whole_lines
from deputize.core.audit.verification import verify
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


def refuse_strange(folder: Path, keys: Sequence[bytes]) -> None:
    """Raise `SettingsError` where a folder holds chains that none of these audit keys has made, or lines that are no
    rows of their chains: nobody could take them out of a table again, and its audit would never be whole."""
    findings = verify(folder, keys).findings
    strange = [found.writer for found in findings if found.kind == "unknown_key"]
    if strange:
        raise SettingsError(
            f"No audit key of this vault has made the chain {_named(strange)} in {folder}.",
            hint="It is another vault's audit: add it to that vault's database. Nothing was added.",
        )
    mixed = list(dict.fromkeys(found.writer for found in findings if found.kind in ("foreign", "unreadable")))
    if mixed:
        raise SettingsError(
            f"Not all lines are rows of its chain in the file of {_named(mixed)} in {folder}.",
            hint="Its name has to be the one under which it was written, and no line may be added. Nothing was added.",
        )


def _named(writers: Sequence[str]) -> str:
    return f"{writers[0][:64]!r}" + (f" and {len(writers) - 1} more" if writers[1:] else "")


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
