"""A full disk: no row is lost unnoticed."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import pytest

import deputize.core.audit.writer as writer
from deputize.core.audit import Audit, read, verify
from deputize.core.errors import StoreUnavailable
from tests.core.audit.audit_files import KEY, Disk, Make, files, kinds, lines, run, write


async def test_U7_full_disk_refuses_strict_acts_and_loses_no_row(
    make: Make, folder: Path, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    audit = make(mode="strict")
    audit._append("act.intent", n=0)
    await audit.settle()
    disk.room = 100
    for n in (1, 2, 3):
        audit._append("act.intent", n=n)
        with pytest.raises(StoreUnavailable, match="No space left on device"):
            await audit.settle()
        with pytest.raises(StoreUnavailable):
            audit.flush()
    assert len(lines(folder)) == 1 and verify(folder, [KEY]).findings == ()
    assert len(files(folder)) == 1
    disk.room = None
    audit._append("act.intent", n=4)
    await audit.settle()
    assert [row["n"] for row in read(folder)] == [0, 1, 2, 3, 4]
    assert verify(folder, [KEY]).findings == ()
    levels = [record.levelno for record in caplog.records if record.name == "deputize.core.audit"]
    assert levels == [logging.ERROR, logging.WARNING]


async def test_U7_file_is_not_reused_after_a_failed_sync(folder: Path, disk: Disk, audit: Audit) -> None:
    audit._append("act.intent", n=0)
    await audit.settle()
    disk.sync_fails = True
    audit._append("act.intent", n=1)
    with pytest.raises(StoreUnavailable):
        await audit.settle()
    disk.sync_fails = False
    await audit.settle()
    assert [path.read_bytes().count(b"\n") for path in files(folder)] == [1, 1]
    assert verify(folder, [KEY]).findings == () and [row["n"] for row in read(folder)] == [0, 1]


def test_U7_standard_mode_counts_the_rows_it_lost(
    make: Make, folder: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "WAITING", 10)
    audit = make()
    disk.room = 0
    write(audit, 25)
    with pytest.raises(StoreUnavailable):
        audit.flush()
    write(audit, 2)
    disk.room = None
    audit.flush()
    write(audit, 1)
    audit.flush()
    rows = list(read(folder))
    assert (rows[0]["event"], rows[0]["rows"]) == ("audit.lost", 15)
    assert [row["n"] for row in rows[1:]] == [*range(15, 25), 0, 1, 0]
    assert verify(folder, [KEY]).findings == ()


@pytest.mark.processes
def test_U7_rows_are_written_after_space_returns_without_a_waiter(folder: Path, disk: Disk, audit: Audit) -> None:
    disk.room = 0
    write(audit, 3)
    with pytest.raises(StoreUnavailable):
        audit.flush()
    disk.room = None
    began = time.monotonic()
    while len(lines(folder)) < 3:
        assert time.monotonic() - began < 30
        time.sleep(0.02)
    assert verify(folder, [KEY]).ok


@pytest.mark.parametrize("replaced", [False, True])
async def test_U7_removed_folder_does_not_swallow_rows(make: Make, folder: Path, replaced: bool) -> None:
    audit = make(mode="strict")
    audit._append("act.intent", n=0)
    await audit.settle()
    taken = folder.with_name("taken")
    os.rename(folder, taken)
    audit._append("act.intent", n=1)
    if not replaced:
        with pytest.raises(StoreUnavailable, match="No such file"):
            await audit.settle()
    os.mkdir(folder, 0o700)
    await audit.settle()
    assert [row["n"] for row in read(folder)] == [1] and [row["n"] for row in read(taken)] == [0]
    assert kinds(verify(folder, [KEY])) == {"beginning"}
    files(taken)[0].rename(folder / files(taken)[0].name)
    assert verify(folder, [KEY]).findings == ()


@pytest.mark.processes
def test_U7_file_size_limit_refuses_like_a_full_disk(folder: Path) -> None:
    told = run(
        """
        import asyncio, resource, sys
        from pathlib import Path
        from deputize.core.audit import Audit, read, verify
        from deputize.core.errors import StoreUnavailable
        folder, key = Path(sys.argv[1]), b"k" * 32
        audit, calls = Audit(folder, key, mode="strict"), 0
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (600, hard))

        async def act():
            global calls
            audit._append("act.intent", filler="x" * 700)
            await audit.settle()
            calls += 1

        for _ in range(3):
            try:
                asyncio.run(act())
            except StoreUnavailable as e:
                print(e)
        print(calls, len(list(read(folder))), verify(folder, [key]).ok)
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        asyncio.run(act())
        print(calls, len(list(read(folder))), verify(folder, [key]).ok)
        """,
        folder,
        complaints="Audit rows can be written again.",
    ).splitlines()
    assert told == ["The audit cannot be written: File too large."] * 3 + ["0 0 True", "1 4 True"]
