"""Many writers: processes, threads, forks, and rows that are on disk once their writer waits for them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deputize.core.audit import Audit, Report, read, verify
from tests.core.audit.audit_files import KEY, Disk, Make, kinds, lines, run, write

WRITER = """
    import sys
    from pathlib import Path
    from deputize.core.audit import Audit
    audit = Audit(Path(sys.argv[1]), b"k" * 32)
    print(audit.writer, flush=True)
    for n in range(10_000_000):
        audit._append("token.refreshed", n=n, filler="x" * 2000)
        if n % 50 == 49:
            audit.flush()
            print(n, flush=True)
"""


@pytest.mark.processes
def test_U5_chains_verify_after_eight_writers_are_killed(folder: Path) -> None:
    command = [sys.executable, "-c", textwrap.dedent(WRITER), str(folder)]
    writers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    promised: dict[str, int] = {}
    names = [process.stdout.readline().strip() for process in writers if process.stdout]
    for process in writers:
        assert process.stdout and process.stdout.readline().strip() == "49"
    for n, process in enumerate(writers):
        time.sleep(0.013 * n)
        process.send_signal(signal.SIGKILL)
    for name, process in zip(names, writers, strict=True):
        told = process.communicate(timeout=30)[0].split()
        promised[name] = int(told[-1]) if told else 49
    report = verify(folder, [KEY])
    assert report.ok and report.writers == 8 and kinds(report) <= {"partial"}
    whole = [row for row in read(folder)]
    assert len(whole) == report.rows
    for name in names:
        written = [row["n"] for row in whole if row["writer"] == name]
        assert written == list(range(len(written))) and len(written) > promised[name]


def test_U5_unfinished_line_after_a_crash_is_tolerated_and_reported(make: Make, folder: Path) -> None:
    cut, whole = make(), make()
    write(cut, 5)
    write(whole, 5)
    cut.close()
    whole.close()
    path = folder / f"{cut.writer}.0.jsonl"
    for left in (1, 40, 100):
        path.write_bytes(path.read_bytes()[:-left])
        report = verify(folder, [KEY])
        assert report.ok and [(f.kind, f.writer, f.seq) for f in report.findings] == [("partial", cut.writer, 4)]
        assert report.rows == 9 and sum(row["writer"] == cut.writer for row in read(folder)) == 4


def test_U5_threads_share_a_chain_without_gaps(folder: Path, audit: Audit) -> None:
    with ThreadPoolExecutor(8) as pool:
        for thread in range(8):
            pool.submit(write, audit, 250, thread=str(thread))
    audit.flush()
    rows = [json.loads(line) for line in lines(folder)]
    assert [row["seq"] for row in rows] == list(range(2000))
    for thread in range(8):
        assert [row["n"] for row in rows if row["thread"] == str(thread)] == list(range(250))
    assert verify(folder, [KEY]).ok


@pytest.mark.processes
def test_forked_child_is_its_own_writer_and_loses_no_rows(folder: Path) -> None:
    parent, child = run(
        """
        import os, sys
        from pathlib import Path
        from deputize.core.audit import Audit
        audit = Audit(Path(sys.argv[1]), b"k" * 32)
        audit._append("before.fork", side="parent")
        audit.flush()
        audit._append("waits.at.fork", side="parent")
        if os.fork() == 0:
            audit._append("in.child", side="child")
            audit.flush()
            audit._append("at.exit", side="child")
        else:
            os.wait()
            audit._append("after.fork", side="parent")
        print(audit.writer)
        """,
        folder,
    ).split()[::-1]
    assert verify(folder, [KEY])[:4] == Report(5, 2, (), ())[:4]
    seen = sorted((row["writer"], row["seq"], row["event"]) for row in read(folder))
    assert seen == sorted(
        [
            (parent, 0, "before.fork"),
            (parent, 1, "waits.at.fork"),
            (parent, 2, "after.fork"),
            (child, 0, "in.child"),
            (child, 1, "at.exit"),
        ]
    )


async def test_U6_thirty_two_tasks_share_syncs_and_keep_their_order(folder: Path, disk: Disk, audit: Audit) -> None:

    async def act(task: int) -> None:
        for n in range(10):
            audit._append("act.intent", task=task, n=n)
            await audit.settle()

    await asyncio.gather(*map(act, range(32)))
    rows = [json.loads(line) for line in lines(folder)]
    assert len(rows) == 320 and len(rows) / disk.syncs >= 8
    for task in range(32):
        assert [row["n"] for row in rows if row["task"] == task] == list(range(10))


async def test_U6_settled_rows_are_on_disk(make: Make, folder: Path) -> None:
    audit = make(mode="strict")
    for n in range(1, 20):
        audit._append("act.intent", n=n)
        await audit.settle()
        assert len(lines(folder)) == n
    assert audit.mode == "strict"


def test_U6_two_event_loops_settle_concurrently(folder: Path, audit: Audit) -> None:

    async def settle(side: str) -> None:
        for n in range(50):
            audit._append("act.intent", side=side, n=n)
            await asyncio.gather(audit.settle(), audit.settle())
            assert f'"side":"{side}","n":{n},'.encode() in b"".join(lines(folder))

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(asyncio.run, settle(side)) for side in ("a", "b")]:
            done.result(30)
    assert len(lines(folder)) == 100 and verify(folder, [KEY]).ok


async def test_U6_cancelled_waiter_disturbs_no_other(disk: Disk, audit: Audit) -> None:
    disk.open.clear()
    audit._append("act.intent")
    cancelled, kept = asyncio.ensure_future(audit.settle()), asyncio.ensure_future(audit.settle())

    def elsewhere() -> None:
        loop = asyncio.new_event_loop()
        with contextlib.suppress(TimeoutError):
            loop.run_until_complete(asyncio.wait_for(audit.settle(), 0.01))
        loop.close()

    await asyncio.to_thread(elsewhere)
    cancelled.cancel()
    await asyncio.sleep(0.01)
    disk.open.set()
    await asyncio.wait_for(kept, 5)
    assert cancelled.cancelled()


def test_U6_writing_never_waits_for_the_disk(folder: Path, disk: Disk, audit: Audit) -> None:
    disk.open.clear()
    audit._append("act.intent")
    flushed = threading.Thread(target=audit.flush)
    flushed.start()
    write(audit, 1000)
    assert flushed.is_alive() and not b"".join(lines(folder))
    disk.open.set()
    flushed.join(10)
    audit.flush()
    assert not flushed.is_alive() and len(lines(folder)) == 1001


@pytest.mark.processes
def test_U7_row_is_on_disk_within_a_second_in_standard_mode(folder: Path, disk: Disk, audit: Audit) -> None:
    write(audit, 100)
    began = time.monotonic()
    while not disk.syncs or len(lines(folder)) < 100:
        assert time.monotonic() - began < 1
        time.sleep(0.02)
    assert disk.syncs == 1
