"""Begun acts are known even if the process was killed: intents are written to the kernel before a request leaves."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from deputize.core.audit import Audit, commit_thread, read, verify
from deputize.core.errors import StoreUnavailable
from deputize.sandbox import Sandbox
from tests.core.audit.audit_files import KEY, Disk, Make, files, kinds, lines, write
from tests.support.gmail_toolkit import ALL
from tests.support.lanes import sample
from tests.support.sandbox_deputy import build, connect, new_vault

DYING = """
import asyncio, os, signal, sys
from pathlib import Path
from deputize.core import Call, allow_all
from deputize.core.audit import Audit
from deputize.sandbox import Sandbox
from tests.support.sandbox_deputy import build, new_vault
from tests.support.gmail_toolkit import MAIL, gmail

folder, number = Path(sys.argv[1]), int(sys.argv[2])

async def main():
    inner = Sandbox(state=folder / "sandbox.json").transport()
    handle, sent = inner.handle_async_request, 0

    async def handling(request):
        nonlocal sent
        response = await handle(request)
        if request.method == "POST" and request.url.path.endswith("/messages/send"):
            sent += 1
            if sent == number:
                os.kill(os.getpid(), signal.SIGKILL)
        return response

    inner.handle_async_request = handling
    vault = await new_vault(folder / "vault" / "vault.sqlite", b"k" * 32)
    audit = Audit(folder / "audit", vault.keys.audit)
    deputy = await build(vault=vault, audit=audit, toolkits=[gmail], transport=inner, policy=allow_all)
    for n in range(number):
        await deputy.act("gmail_send", MAIL, user="alice", call=Call("t", "m", f"c{n}"))

asyncio.run(main())
"""


@pytest.mark.processes
@pytest.mark.parametrize("number", sample([7, 1, 2]))
async def test_killed_process_has_an_intent_for_every_write_in_standard_mode(tmp_path: Path, number: int) -> None:
    sandbox = Sandbox(state=tmp_path / "sandbox.json")
    vault = await new_vault(tmp_path / "vault" / "vault.sqlite", b"k" * 32)
    key = vault.keys.audit
    async with await build(sandbox, vault=vault) as deputy:
        await connect(deputy, sandbox, *ALL)
    command = [sys.executable, "-c", DYING, str(tmp_path), str(number)]
    ended = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    sent = Sandbox(state=tmp_path / "sandbox.json").sent("alice@example.test")
    intents = [row for row in read(tmp_path / "audit") if row["event"] == "act.intent"]
    assert len(sent) == number == len(intents)
    assert kinds(verify(tmp_path / "audit", [key])) <= {"partial", "unfinished"}


def test_handed_over_rows_are_in_the_file_immediately(
    make: Make, folder: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        commit_thread, "MAX_UNAWAITED_DELAY_SECONDS", 60.0
    )  # a busy machine may take longer than half a second
    audit = make()
    write(audit, 3)
    audit.hand_over()
    assert disk.syncs == 0
    assert [json.loads(line)["n"] for line in lines(folder)] == [0, 1, 2]
    write(audit, 2)
    audit.flush()
    assert disk.syncs == 1 and [row["n"] for row in read(folder)] == [0, 1, 2, 0, 1]
    assert verify(folder, [KEY]).findings == ()


async def test_waiting_hand_overs_are_batched_and_flushed_at_the_end(folder: Path, disk: Disk, audit: Audit) -> None:
    handed, hand_over = list[int](), audit._sink.add
    audit._sink.add = lambda content: handed.append(content.count(b"\n")) or hand_over(content)  # type: ignore

    async def one() -> None:
        write(audit, 1)
        await audit.hand_over_async()

    async with asyncio.timeout(10):
        await asyncio.gather(*(one() for _ in range(32)))
    assert len(lines(folder)) == 32 == sum(handed) and len(handed) < 16 and disk.syncs == 0
    audit.close()
    write(audit, 1)
    await audit.hand_over_async()
    assert len(lines(folder)) == 33 and verify(folder, [KEY]).findings == ()


def test_handed_over_rows_are_rewritten_when_the_sync_fails(folder: Path, disk: Disk, audit: Audit) -> None:
    write(audit, 1)
    audit.flush()
    write(audit, 3)
    audit.hand_over()
    disk.sync_fails = True
    write(audit, 1)
    with pytest.raises(StoreUnavailable):
        audit.flush()
    disk.sync_fails = False
    audit.flush()
    assert [row["n"] for row in read(folder)] == [0, 0, 1, 2, 0] and len(files(folder)) == 2
    assert verify(folder, [KEY]).findings == ()


def test_hand_over_on_a_full_disk_raises_nothing(folder: Path, disk: Disk, audit: Audit) -> None:
    write(audit, 1)
    audit.flush()
    disk.room = 50
    write(audit, 2)
    audit.hand_over()
    assert len(lines(folder)) == 1
    disk.room = None
    audit.flush()
    assert [row["n"] for row in read(folder)] == [0, 0, 1] and verify(folder, [KEY]).findings == ()


def test_rows_handed_over_to_a_removed_folder_stay_there(folder: Path, audit: Audit) -> None:
    write(audit, 1)
    audit.flush()
    write(audit, 2)
    audit.hand_over()
    taken = folder.rename(folder.with_name("taken"))
    write(audit, 1)
    with pytest.raises(StoreUnavailable):
        audit.flush()
    folder.mkdir(mode=0o700)
    audit.flush()
    assert len(lines(taken)) == 3 and len(lines(folder)) == 1
    files(taken)[0].rename(folder / files(taken)[0].name)
    assert verify(folder, [KEY]).findings == ()


def test_hand_over_does_not_wait_for_a_sync(make: Make, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    slow, syncing, fsync = threading.Event(), threading.Event(), os.fsync

    def syncs(fd: int) -> None:
        syncing.set()
        assert slow.wait(10)
        fsync(fd)

    monkeypatch.setattr(os, "fsync", syncs)
    audit = make()
    write(audit, 1)
    flushing = threading.Thread(target=audit.flush)
    flushing.start()
    assert syncing.wait(10)
    write(audit, 1)
    audit.hand_over()
    assert len(lines(folder)) == 2
    slow.set()
    flushing.join(10)
    audit.flush()
    assert verify(folder, [KEY]).findings == () and len(lines(folder)) == 2


def test_hand_over_keeps_the_chain_across_files_threads_and_anchors(make: Make, folder: Path) -> None:
    anchors: list[str] = []
    audit = make(rotate_bytes=4000, anchor=anchors.append)

    def writing() -> None:
        for _ in range(300):
            write(audit, 1)
            audit.hand_over()

    threads = [threading.Thread(target=writing) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    audit.close()
    assert len(files(folder)) > 1 and anchors
    assert sum(row["event"] == "token.refreshed" for row in read(folder)) == 1200
    assert verify(folder, [KEY], anchors=anchors).findings == ()
