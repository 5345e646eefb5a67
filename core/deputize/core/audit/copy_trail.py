"""Copy of one trail to another, line by line. It needs no key, and the proof stays valid."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from deputize.core.audit.reader import files_of, lines_of
from deputize.core.audit.sinks import prepare_folder
from deputize.core.audit.trail import Trail, whole_lines
from deputize.core.audit.verification import verify
from deputize.core.errors import SettingsError


def copy_rows(start: Trail, to: Trail) -> int:
    """Add all rows of a trail to another, and return the number of added rows. Repeat the call after an interruption.

    Unfinished last lines are left out. Raises `SettingsError` if the folder has a different chain of the same name,
    `VaultError` for a line that is not a row, and `StoreUnavailable`.
    """
    count = 0
    for writer, parts in files_of(start).items():
        lines = whole_lines(line for _, line in chain.from_iterable(map(lines_of, parts)))
        count += (
            _write_chain(prepare_folder(to), writer, lines) if isinstance(to, Path) else to.take_over(writer, lines)
        )
    return count


def refuse_strange(folder: Path, keys: Sequence[bytes]) -> None:
    """Raise `SettingsError` if a folder has chains made with none of these audit keys, or lines that are not rows of
    their chain. Call this before rows are copied into a database, because wrong rows cannot be removed there and would
    make every later verification of the audit fail."""
    findings = verify(folder, keys).findings
    strange = [found.writer for found in findings if found.kind == "unknown_key"]
    if strange:
        raise SettingsError(
            f"No audit key of this vault made the chain {_list_writers(strange)} in {folder}.",
            hint="It is another vault's audit: add it to that vault's database. Nothing was added.",
        )
    mixed = list(dict.fromkeys(found.writer for found in findings if found.kind in ("foreign", "unreadable")))
    if mixed:
        raise SettingsError(
            f"The file of the chain {_list_writers(mixed)} in {folder} has lines that are not rows of this chain.",
            hint="Restore the file's original name, and remove added lines. Nothing was added.",
        )


def _list_writers(writers: Sequence[str]) -> str:
    return f"{writers[0][:64]!r}" + (f" and {len(writers) - 1} more" if writers[1:] else "")


def _write_chain(folder: Path, writer: str, lines: list[bytes]) -> int:
    path, data = folder / f"{writer}.0.jsonl", b"".join(lines)
    if path.name != f"{Path(writer).name}.0.jsonl":
        raise SettingsError(f"{writer[:64]!r} cannot be the name of a chain's file.")
    if path.exists():
        if path.read_bytes() == data:
            return 0
        raise SettingsError("Another chain of this name is there already.", hint=str(path))
    part = path.with_suffix(".part")
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)
    return len(lines)
