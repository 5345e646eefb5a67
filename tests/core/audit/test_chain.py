"""Without the key no change of the audit goes undetected."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deputize.core.audit import Audit, Finding, read, verify
from deputize.core.errors import SettingsError, StoreUnavailable
from tests.core.audit.audit_files import KEY, OLD, Make, files, imitate, kinds, lines, write


def edit(rows: list[bytes]) -> list[bytes]:
    return [*rows[:2], rows[2].replace(b'"user":"alice"', b'"user":"decoy"'), *rows[3:]]


def edit_mac(rows: list[bytes]) -> list[bytes]:
    """Replace the last digit of the last MAC by another one."""
    digit = rows[-1][-4:-3]
    return [*rows[:-1], rows[-1][:-4] + (b"1" if digit == b"0" else b"0") + b'"}\n']


def forge(rows: list[bytes]) -> list[bytes]:
    """Return a plausible row, chained without the key."""
    row = json.loads(rows[1])
    body = rows[2].split(b',"prev"')[0] + f',"prev":"{row["mac"]}"'.encode()
    mac = hashlib.blake2b(row["mac"].encode() + body, digest_size=16).hexdigest()
    return [*rows[:2], body + f',"mac":"{mac}"}}\n'.encode(), *rows[2:]]


TAMPERING: dict[str, tuple[Callable[[list[bytes]], list[bytes]], str]] = {
    "edit": (edit, "altered"),
    "edit the first": (lambda rows: [rows[0].replace(b"alice", b"decoy"), *rows[1:]], "altered"),
    "edit the last": (lambda rows: [*rows[:-1], rows[-1].replace(b"alice", b"decoy")], "altered"),
    "edit the mac": (edit_mac, "altered"),
    "delete": (lambda rows: [*rows[:2], *rows[3:]], "missing"),
    "delete the first": (lambda rows: rows[1:], "beginning"),
    "insert a copy": (lambda rows: [*rows[:4], rows[1], *rows[4:]], "moved"),
    "insert a forgery": (forge, "altered"),
    "reorder": (lambda rows: [*rows[:2], rows[3], rows[2], *rows[4:]], "moved"),
    "double the last": (lambda rows: [*rows, rows[-1]], "moved"),
    "garble": (lambda rows: [*rows[:2], b"\xff\xfe}\n", *rows[3:]], "unreadable"),
    "empty line": (lambda rows: [*rows[:2], b"\n", *rows[2:]], "unreadable"),
    "add a space": (lambda rows: [*rows[:2], rows[2].replace(b',"event"', b', "event"'), *rows[3:]], "altered"),
    "hide in escapes": (
        lambda rows: [*rows[:2], rows[2].replace(b'"prev":"', b'"prev":"\\u00e9'), *rows[3:]],
        "unreadable",
    ),
}


@pytest.mark.parametrize("name", TAMPERING)
def test_U3_every_change_of_a_chain_is_found(folder: Path, name: str, audit: Audit) -> None:
    write(audit, 6, user="alice")
    audit.close()
    untouched = verify(folder, [KEY])
    assert untouched.ok and untouched.findings == () and (untouched.rows, untouched.writers) == (6, 1)
    change, kind = TAMPERING[name]
    (path,) = files(folder)
    path.write_bytes(b"".join(change(lines(folder))))
    report = verify(folder, [KEY])
    assert not report.ok and kind in kinds(report)
    assert all(finding.writer == audit.writer for finding in report.findings)


def test_U3_one_edit_is_one_finding_at_its_row(folder: Path, audit: Audit) -> None:
    write(audit, 6, user="alice")
    audit.close()
    files(folder)[0].write_bytes(b"".join(edit(lines(folder))))
    assert verify(folder, [KEY]).findings == (Finding("altered", audit.writer, 2, "its mac does not fit"),)


def test_U3_rows_cannot_move_between_writers(make: Make, folder: Path) -> None:
    first, second = make(), make()
    write(first, 3)
    write(second, 3)
    first.close()
    second.close()
    a, b = files(folder)
    ours, theirs = a.read_bytes().splitlines(keepends=True), b.read_bytes().splitlines(keepends=True)
    a.write_bytes(ours[0] + theirs[1] + ours[2])
    b.write_bytes(theirs[0] + ours[1] + theirs[2])
    assert "foreign" in kinds(verify(folder, [KEY]))
    a.write_bytes(b"".join(theirs))
    b.write_bytes(b"".join(ours))
    assert kinds(verify(folder, [KEY])) == {"foreign"}


def test_U3_each_mac_covers_the_previous_mac_and_its_own_line(make: Make, folder: Path) -> None:
    write(audit := make(), 3)
    audit.close()
    prev = hashlib.blake2b(audit.writer.encode(), key=KEY, digest_size=16, person=b"deputize.first").hexdigest()
    for line in lines(folder):
        body, _, mac = line.partition(b',"mac":')
        covered = prev.encode() + body
        assert body.endswith(f',"prev":"{prev}"'.encode())
        prev = hashlib.blake2b(covered, key=KEY, digest_size=16, person=b"deputize.row").hexdigest()
        assert mac == f'"{prev}"}}\n'.encode()


def test_U3_rows_of_another_history_do_not_verify(make: Make, folder: Path) -> None:
    anchors: list[str] = []
    write(audit := make(anchor=anchors.append), 5)
    audit.close()
    (path,), rows = files(folder), lines(folder)
    other = imitate(KEY, audit.writer, "0" * 32, 0, 8)
    path.write_bytes(b"".join([*rows[:3], *other[3:]]))
    assert [(f.kind, f.seq) for f in verify(folder, [KEY]).findings] == [("broken", 3)]
    path.write_bytes(b"".join(other))
    assert [(f.kind, f.seq) for f in verify(folder, [KEY]).findings] == [("broken", 0)]
    path.write_bytes(b"".join(other[6:]))
    assert [(f.kind, f.seq) for f in verify(folder, [KEY], anchors=anchors).findings] == [("beginning", 6)]


def test_U3_complete_chain_under_a_foreign_key_is_reported(make: Make, folder: Path) -> None:
    write(ours := make(), 2)
    write(theirs := make(OLD), 3)
    ours.close()
    theirs.close()
    (finding,) = verify(folder, [KEY]).findings
    assert (finding.kind, finding.writer) == ("unknown_key", theirs.writer)


def test_U3_chain_copied_under_another_name_is_foreign(make: Make, folder: Path) -> None:
    write(audit := make(), 3)
    audit.close()
    files(folder)[0].rename(folder / "abcdef0123456789.0.jsonl")
    assert kinds(verify(folder, [KEY])) == {"foreign"}


@pytest.mark.parametrize("keys", [[], [b"short"], ["k" * 32]])
def test_verify_refuses_a_missing_or_unusable_key(folder: Path, keys: list[Any]) -> None:
    folder.mkdir()
    with pytest.raises(SettingsError):
        verify(folder, keys)


def test_verify_of_a_missing_folder_raises(folder: Path) -> None:
    with pytest.raises(StoreUnavailable):
        verify(folder, [KEY])
    with pytest.raises(StoreUnavailable):
        list(read(folder))
