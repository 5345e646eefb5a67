"""Audit files are rotated, readable by their owner only, and read in order."""

from __future__ import annotations

import itertools
import json
import os
import stat
from pathlib import Path

import pytest

from deputize.core.audit import Audit, read, verify
from deputize.core.audit.compressed_file import BLOCK
from deputize.core.errors import SettingsError, StoreUnavailable
from tests.core.audit.audit_files import KEY, Make, files, kinds, lines, write


def fill(make: Make) -> tuple[Audit, list[str]]:
    """Write a chain over five small files and a last one, with its final row and its anchors."""
    anchors: list[str] = []
    audit = make(anchor=anchors.append, rotate_bytes=500)
    for _ in range(5):
        write(audit, 5)
        audit.flush()
    audit.close()
    return audit, anchors


def test_U11_chain_continues_across_files(make: Make, folder: Path) -> None:
    audit, anchors = fill(make)
    assert [path.name for path in files(folder)] == [f"{audit.writer}.{n}.jsonl" for n in range(6)]
    for before, after in itertools.pairwise(files(folder)):
        last, first = before.read_bytes().splitlines()[-1], after.read_bytes().splitlines()[0]
        assert json.loads(first)["prev"] == json.loads(last)["mac"]
    report = verify(folder, [KEY], anchors=anchors)
    assert report.ok and report.findings == () and (report.rows, report.writers, report.orphans) == (31, 1, ())


def test_U11_oldest_files_may_be_dropped_if_an_anchor_covers_their_end(make: Make, folder: Path) -> None:
    _, anchors = fill(make)
    for gone in files(folder)[:2]:
        gone.unlink()
    assert kinds(verify(folder, [KEY])) == {"beginning"}
    assert kinds(verify(folder, [KEY], anchors=anchors[:1])) == {"beginning"}
    assert verify(folder, [KEY], anchors=anchors).findings == ()
    path = files(folder)[0]
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[1:]))
    assert kinds(verify(folder, [KEY], anchors=anchors)) == {"beginning"}


@pytest.mark.parametrize(("gone", "kind"), [(2, "missing"), (5, "truncated")])
def test_U11_any_other_missing_file_is_found(make: Make, folder: Path, gone: int, kind: str) -> None:
    _, anchors = fill(make)
    files(folder)[gone].unlink()
    assert kinds(verify(folder, [KEY], anchors=anchors)) == {kind}


def test_files_are_private_whatever_the_umask(make: Make, folder: Path) -> None:
    before = os.umask(0)
    try:
        write(audit := make(), 1)
        audit.flush()
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [stat.S_IMODE(path.stat().st_mode) for path in files(folder)] == [0o600]


def test_folder_or_file_open_to_others_stops_the_start(make: Make, folder: Path) -> None:
    write(audit := make(), 1)
    audit.close()
    for path, wide in ((folder, 0o750), (files(folder)[0], 0o604)):
        mode = stat.S_IMODE(path.stat().st_mode)
        path.chmod(wide)
        with pytest.raises(SettingsError, match="accessible to other accounts") as caught:
            make()
        assert "0700" in caught.value.hint
        path.chmod(mode)
    make()


def test_folder_that_cannot_be_created_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="Not a directory"):
        Audit(tmp_path / "file" / "audit", KEY)


def test_existing_file_is_never_overwritten(folder: Path, audit: Audit) -> None:
    planted = folder / f"{audit.writer}.0.jsonl"
    planted.symlink_to(folder.with_name("elsewhere"))
    audit._append("act.intent")
    with pytest.raises(StoreUnavailable, match="File exists"):
        audit.flush()
    assert not folder.with_name("elsewhere").exists()
    planted.unlink()
    audit.flush()


def test_reader_merges_writers_by_time(make: Make, folder: Path) -> None:
    now = 1000.0
    audits = [make(clock=lambda: now, rotate_bytes=1) for _ in range(3)]
    for n in range(9):
        now = 1000.0 + n
        audits[n % 3]._append("e", n=n)
        audits[n % 3].flush()
    assert [row["n"] for row in read(folder)] == list(range(9))


def test_reader_marks_an_unreadable_line(make: Make, folder: Path) -> None:
    write(audit := make(), 3)
    audit.close()
    files(folder)[0].write_bytes(b"".join([lines(folder)[0], b"garbage\n", lines(folder)[2]]))
    assert [row["event"] for row in read(folder)] == ["token.refreshed", "unreadable", "token.refreshed"]


def test_follow_yields_new_rows_once_including_new_writers(make: Make, folder: Path) -> None:
    first = make()
    write(first, 2)
    first.flush()
    follow = read(folder, follow=True, poll=0.01)
    assert [row["n"] for row in itertools.islice(follow, 2)] == [0, 1]
    first._append("e", n=2)
    first.flush()
    assert next(follow)["n"] == 2
    second = make()
    second._append("e", n=3)
    second.flush()
    path = folder / f"{second.writer}.0.jsonl"
    assert next(follow)["n"] == 3
    with path.open("ab") as file:  # a line that is still being written
        file.write(b'{"ts":1')
    first._append("e", n=4)
    first.flush()
    assert next(follow)["n"] == 4


def test_rows_longer_than_a_read_block_are_read_whole(folder: Path, audit: Audit) -> None:
    for n in range(20):
        audit._append("e", n=n, **{f"f{i}": "\u00e9" * 4000 for i in range(8)})
    audit.close()
    assert min(map(len, lines(folder))) > BLOCK
    assert [row["n"] for row in read(folder)] == list(range(20)) and verify(folder, [KEY]).rows == 20
    assert verify(folder, [KEY]).ok
