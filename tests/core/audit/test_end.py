"""No row is lost when a process or an audit ends."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deputize.core.audit import Audit, read, verify
from tests.core.audit.audit_files import KEY, Disk, Make, lines, run, write


@pytest.mark.processes
def test_process_that_exits_without_close_loses_no_rows(folder: Path) -> None:
    run(
        """
        import atexit, sys
        atexit.register(lambda: audit._append("after.the.end"))
        from pathlib import Path
        from deputize.core.audit import Audit
        audit = Audit(Path(sys.argv[1]), b"k" * 32)
        atexit.register(lambda: audit._append("at.the.end"))
        for n in range(5000):
            audit._append("token.refreshed", n=n)
        """,
        folder,
    )
    events = [row["event"] for row in read(folder)]
    assert events == ["token.refreshed"] * 5000 + ["at.the.end", "after.the.end"]
    assert verify(folder, [KEY]).ok


@pytest.mark.processes
def test_first_row_during_exit_is_written(folder: Path) -> None:
    run(
        """
        import atexit, sys
        from pathlib import Path
        from deputize.core.audit import Audit
        audit = Audit(Path(sys.argv[1]), b"k" * 32)
        atexit.register(lambda: audit._append("at.the.end"))
        """,
        folder,
    )
    assert [row["event"] for row in read(folder)] == ["at.the.end"]


@pytest.mark.processes
def test_exit_with_a_full_disk_reports_the_lost_rows(folder: Path) -> None:
    run(
        """
        import resource, sys
        from pathlib import Path
        from deputize.core.audit import Audit
        audit = Audit(Path(sys.argv[1]), b"k" * 32)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        audit._append("act.intent")
        """,
        folder,
        complaints="Audit rows are lost: The audit cannot be written: File too large.",
    )
    assert list(read(folder)) == []


def test_rows_are_written_immediately_without_a_thread(
    make: Make, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    audit = make()
    for n in range(1, 4):
        write(audit, 1)
        assert len(lines(folder)) == n


def test_close_ends_the_thread_and_a_later_row_is_written_immediately(make: Make, folder: Path) -> None:
    before = set(threading.enumerate())  # those of an earlier test may end meanwhile
    audit = make()
    write(audit, 3)
    assert len(set(threading.enumerate()) - before) == 1
    audit.close()
    audit.close()
    assert set(threading.enumerate()) <= before and len(lines(folder)) == 3
    audit._append("late")
    assert [row["event"] for row in read(folder)][3:] == ["late"]
    asyncio.run(audit.settle())
    assert verify(folder, [KEY]).ok


def test_row_after_a_delayed_close_is_written(folder: Path, disk: Disk, audit: Audit) -> None:
    disk.open.clear()
    write(audit, 1)
    flushing, closing = threading.Thread(target=audit.flush), threading.Thread(target=audit.close)
    flushing.start()
    while audit._queue:  # until its thread has taken the row, and hangs in the write
        time.sleep(0.001)
    write(audit, 1)
    closing.start()
    while not audit._thread.inline:
        time.sleep(0.001)
    disk.open.set()
    flushing.join(10)
    closing.join(10)
    write(audit, 1)
    assert len(lines(folder)) == 3


def test_rows_written_during_close_are_kept(folder: Path, audit: Audit) -> None:
    with ThreadPoolExecutor(4) as pool:
        for _ in range(4):
            pool.submit(write, audit, 500)
        audit.close()
    assert len(lines(folder)) == 2000 and verify(folder, [KEY]).ok


async def test_closing_a_deputy_on_a_slow_disk_does_not_block_its_loop(make: Make, disk: Disk) -> None:
    from tests.support.sandbox_deputy import build

    audit = make()
    deputy = await build(audit=audit)
    disk.open.clear()
    write(audit, 1)
    closing = asyncio.create_task(deputy.close())
    began = time.monotonic()
    for _ in range(20):
        await asyncio.sleep(0.005)
    assert time.monotonic() - began < 5 and not closing.done()
    disk.open.set()
    await closing
    assert audit.rows()
