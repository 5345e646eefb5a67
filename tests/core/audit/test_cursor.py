"""Positions of a reader in the audit: each genuine row once, across files, compression and restarts."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from deputize.core.audit import Audit
from deputize.core.audit.compressed_file import compressed_path
from deputize.core.audit.compression import IDLE_CHAIN_SECONDS, closed_files, compress_file
from deputize.core.audit.cursor import GenuineRow, NewRows, pack_cursor, unpack_cursor
from deputize.core.audit.events import VaultCopied
from deputize.core.audit.rows import Key
from deputize.core.errors import InvalidInput

KEY = b"k" * 32
RING = [Key(KEY)]


def audit_in(folder: Path, *, rotate_bytes: int = 1500) -> Audit:
    return Audit(folder, KEY, rotate_bytes=rotate_bytes)


def write(audit: Audit, count: int) -> None:
    for _ in range(count):
        audit.write(VaultCopied())
        audit.flush()


def drain(rows: NewRows, most: int = 7) -> list[GenuineRow]:
    found = list[GenuineRow]()
    while part := rows.read(most, 1 << 20):
        found += part
    return found


def numbers(found: Sequence[GenuineRow]) -> list[int]:
    return [made.seq for made in found]


def test_rows_of_all_files_are_read_once_while_they_are_written(tmp_path: Path) -> None:
    audit = audit_in(tmp_path)
    rows = NewRows(tmp_path, RING)
    write(audit, 20)
    assert numbers(drain(rows)) == [*range(20)] and len(list(tmp_path.glob("*.jsonl"))) > 1
    assert drain(rows) == []
    write(audit, 5)
    assert numbers(drain(rows)) == [*range(20, 25)]
    again = NewRows(tmp_path, RING, {audit.writer: 18})
    assert numbers(drain(again)) == [*range(18, 25)]
    audit.close()


def test_position_survives_compression(tmp_path: Path) -> None:
    audit = audit_in(tmp_path, rotate_bytes=5000)
    write(audit, 80)
    rows = NewRows(tmp_path, RING)
    first = rows.read(30, 1 << 20)
    audit.close()
    compressed = [compress_file(path, RING) for path in closed_files(tmp_path, time.time() + IDLE_CHAIN_SECONDS + 1)]
    assert compressed.count(True) >= 2
    rest = drain(rows)
    assert numbers([*first, *rest]) == [*range(80)]
    assert numbers(drain(NewRows(tmp_path, RING, {audit.writer: 75}))) == [*range(75, 80)]


def test_unfinished_line_waits_for_its_end(tmp_path: Path) -> None:
    audit = audit_in(tmp_path)
    write(audit, 3)
    [path] = tmp_path.glob("*.jsonl")
    whole = path.read_bytes()
    audit.close()
    path.write_bytes(whole[:-10])
    rows = NewRows(tmp_path, RING)
    assert numbers(drain(rows)) == [0, 1]
    path.write_bytes(whole)
    assert numbers(drain(rows)) == [2]


def test_forged_lines_are_counted_and_move_no_position(tmp_path: Path) -> None:
    audit = audit_in(tmp_path, rotate_bytes=1 << 20)
    write(audit, 2)
    [path] = tmp_path.glob("*.jsonl")
    row = json.loads(path.read_bytes().splitlines()[0])
    forged = [row | {"seq": 2**40}, row | {"writer": "ff" * 8}, row | {"event": "audit.lost"}]
    with path.open("a") as to:
        to.writelines(f"{json.dumps(one)}\n" for one in forged)
        to.write("x" * (5 << 20) + "\n")
    write(audit, 2)
    rows = NewRows(tmp_path, RING)
    assert numbers(drain(rows)) == [0, 1, 2, 3]
    assert rows.strange == 4 and rows.positions == {audit.writer: 4}
    audit.close()


def test_moved_row_hides_no_other(tmp_path: Path) -> None:
    audit = audit_in(tmp_path, rotate_bytes=1 << 20)
    write(audit, 4)
    audit.close()
    [path] = tmp_path.glob("*.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], lines[3], lines[1], lines[2]]))
    assert sorted(numbers(drain(NewRows(tmp_path, RING), most=1))) == [0, 1, 2, 3]


def test_damaged_file_is_named_and_the_next_one_read(tmp_path: Path) -> None:
    audit = audit_in(tmp_path)
    write(audit, 20)
    audit.close()
    first = tmp_path / f"{audit.writer}.0.jsonl"
    lines = first.read_bytes().count(b"\n")
    compressed_path(first).write_bytes(b"no gzip")
    first.unlink()
    rows = NewRows(tmp_path, RING)
    assert numbers(drain(rows)) == [*range(lines, 20)]
    assert rows.damaged == {first.name}


def test_cursor_is_one_word_and_of_one_tenant() -> None:
    positions = {f"{number:016x}": number for number in range(2000)}
    cursor = pack_cursor(positions, "acme")
    assert unpack_cursor(cursor, "acme") == positions and len(cursor.split()) == 1
    assert unpack_cursor("", "acme") == {}
    with pytest.raises(InvalidInput, match="of the tenant 'acme', and the export is of ''"):
        unpack_cursor(cursor)


@pytest.mark.parametrize("cursor", ["x", "eJw", "A" * 5000, "ü", pack_cursor({"a": -1}), pack_cursor({"a": True})])
def test_cursor_from_elsewhere_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidInput, match="not one that `deputize audit export` printed"):
        unpack_cursor(cursor)
