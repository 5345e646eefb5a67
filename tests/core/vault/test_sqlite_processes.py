"""One vault, many processes: created once, locked in turn, killed at any moment, forked."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from deputize.core.errors import StoreUnavailable
from deputize.core.vault.stores.sqlite import file as sqlite_file
from deputize.core.vault.stores.sqlite import table as sqlite_table
from deputize.core.vault.stores.sqlite.store import SqliteStore
from tests.core.vault.vault_processes import end, go_on, heard, running, start


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "vault" / "vault.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore.open(path, create=True)
    yield store
    await store.close()


COUNTING = """
async def main():
    store = SqliteStore.open(path, create=False)
    say("ready")
    wait()
    for _ in range(50):
        async with store.lock("counter", 60):
            old = await store.get("test", "counter")
            assert await store.swap("test", "counter", old, b"%d" % (int(old) + 1))
    await store.close()
    say("done")

asyncio.run(main())
"""


@pytest.mark.processes
async def test_V33_eight_processes_count_to_four_hundred_under_the_lock(store: SqliteStore, path: Path) -> None:
    await store.insert("test", "counter", b"0")
    counters = [start(COUNTING, path) for _ in range(8)]
    try:
        assert [heard(counter) for counter in counters] == ["ready"] * 8
        for counter in counters:
            go_on(counter)
        assert [await asyncio.to_thread(heard, counter) for counter in counters] == ["done"] * 8
    finally:
        for counter in counters:
            end(counter)
    assert await store.get("test", "counter") == b"400"


HOLDING = """
async def main():
    store = SqliteStore.open(path, create=False)
    async with store.lock("alice", 5):
        say("ready")
        wait()
    await store.close()
    say("freed")

asyncio.run(main())
"""


@pytest.mark.processes
async def test_lock_excludes_another_process_until_freed(store: SqliteStore, path: Path) -> None:
    with running(HOLDING, path) as other:
        with pytest.raises(TimeoutError):
            async with store.lock("alice", 0.1):
                raise AssertionError("two holders")
        async with store.lock("bob", 0):
            go_on(other)
        async with store.lock("alice", 5):
            assert heard(other) == "freed"


async def test_killed_holder_frees_its_lock_immediately(store: SqliteStore, path: Path) -> None:
    with running(HOLDING, path) as other:
        other.kill()
        other.wait(10)
        async with store.lock("alice", 0):
            await store.insert("test", "a", b"1")


@pytest.mark.processes
async def test_stopped_holder_keeps_its_lock(store: SqliteStore, path: Path) -> None:
    with running(HOLDING, path) as other:
        other.send_signal(signal.SIGSTOP)
        with pytest.raises(TimeoutError):
            async with store.lock("alice", 0.1):
                raise AssertionError("two holders")
        other.send_signal(signal.SIGCONT)
        go_on(other)
        async with store.lock("alice", 5):
            assert heard(other) == "freed"


async def test_two_stores_in_one_process_exclude_each_other(store: SqliteStore, path: Path) -> None:
    other = SqliteStore.open(path, create=False)
    async with store.lock("alice", 0):
        with pytest.raises(TimeoutError):
            async with other.lock("alice", 0.05):
                raise AssertionError("two holders")
    async with other.lock("alice", 0):
        with pytest.raises(TimeoutError):
            async with store.lock("alice", 0.05):
                raise AssertionError("two holders")
    await other.close()


async def test_lock_file_stays_and_shows_no_name(store: SqliteStore, path: Path) -> None:
    for _ in range(2):
        async with store.lock("alice@example.test", 0):
            await asyncio.sleep(0)
        (file,) = (path.parent / "locks").iterdir()
        assert "alice" not in file.name and file.read_bytes() == b""


async def test_unusable_lock_file_is_an_error(store: SqliteStore, path: Path) -> None:
    async with store.lock("alice", 0):
        await asyncio.sleep(0)
    (file,) = (path.parent / "locks").iterdir()
    file.unlink()
    file.mkdir()
    with pytest.raises(StoreUnavailable, match="lock file"):
        async with store.lock("alice", 0):
            raise AssertionError("locked a folder")
    file.rmdir()
    async with store.lock("alice", 0):
        await asyncio.sleep(0)


MAKING = """
async def main():
    say("ready")
    wait()
    store = SqliteStore.open(path, create=True)
    await store.insert("test", sys.argv[2], b"1")
    await store.close()
    say("done")

asyncio.run(main())
"""


@pytest.mark.processes
async def test_processes_creating_a_vault_concurrently_end_with_one(path: Path) -> None:
    makers = [start(MAKING, path, f"{n}") for n in range(6)]
    try:
        assert [heard(maker) for maker in makers] == ["ready"] * 6
        for maker in makers:
            go_on(maker)
        assert [await asyncio.to_thread(heard, maker) for maker in makers] == ["done"] * 6
    finally:
        for maker in makers:
            end(maker)
    store = SqliteStore.open(path, create=False)
    assert [key for key, _ in await store.scan("test")] == [f"{n}" for n in range(6)]
    await store.close()
    assert [file.name for file in path.parent.iterdir()] == ["vault.db"]


async def test_vault_just_created_and_used_by_another_process_is_kept(store: SqliteStore, path: Path) -> None:
    await store.insert("test", "a", b"1")
    sqlite_file.make(path)
    assert await store.swap("test", "a", b"1", b"2")
    assert not [file for file in path.parent.iterdir() if file.name.endswith(".new")]


DYING_WHILE_MAKING = """
from deputize.core.vault.stores.sqlite import file as sqlite_file

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

setattr(sqlite_file, sys.argv[2], die)
say("ready")
wait()
SqliteStore.open(path, create=True)
"""


@pytest.mark.processes
@pytest.mark.parametrize("step", ["connect", "sync", "publish"])
async def test_crash_during_creation_leaves_no_vault(path: Path, step: str) -> None:
    with running(DYING_WHILE_MAKING, path, step) as maker:
        go_on(maker)
        assert maker.wait(30) == -signal.SIGKILL
    with pytest.raises(StoreUnavailable, match="no vault"):
        SqliteStore.open(path, create=False)
    store = SqliteStore.open(path, create=True)
    assert await store.insert("test", "a", b"1")
    await store.close()


WRITING = """
async def main():
    store = SqliteStore.open(path, create=False)
    say("ready")
    for n in range(100000):
        assert await store.insert("test", f"{n:06}", os.urandom(500))
        say(f"{n:06}")

asyncio.run(main())
"""


@pytest.mark.processes
async def test_killed_writer_loses_no_acknowledged_write(tmp_path: Path) -> None:
    for path in (tmp_path / f"{n}" / "vault.db" for n in range(3)):
        await SqliteStore.open(path, create=True).close()
        with running(WRITING, path) as writer:
            told = [heard(writer) for _ in range(30)]
            writer.kill()
            rest = writer.stdout.read() if writer.stdout else ""
            told += [line for line in rest.splitlines() if len(line) == 6]
        store = SqliteStore.open(path, create=False)
        kept = [key for key, _ in await store.scan("test")]
        assert kept[: len(told)] == told and len(kept) <= len(told) + 1
        await store.close()


FORKING = """
def locks():
    with open("/proc/locks") as lines:
        return sum(f" {os.getpid()} " in line for line in lines)

def child(n):
    async def use():
        assert await store.get("test", "parent") == b"1"
        assert locks() > 0, "the child reads without a lock of its own"
        assert await store.insert("test", f"child{n}", b"2")
        async with store.lock(f"own{n}", 0):
            pass
        try:
            async with store.lock("parents", 0.02):
                raise SystemExit("two holders")
        except TimeoutError:
            pass
        assert await store.swap("test", f"child{n}", b"2", b"3")
        await store.close()
    try:
        asyncio.run(asyncio.wait_for(use(), 20))
        os._exit(0)
    except BaseException as error:
        print(repr(error), file=sys.stderr, flush=True)
        os._exit(1)

async def before():
    await store.insert("test", "parent", b"1")
    await store.get("test", "parent")

async def between(n):
    assert await store.insert("test", f"parent{n}", b"4")
    assert await store.get("test", "parent") == b"1"
    if sys.argv[2] == "close":
        await store.close()

store = SqliteStore.open(path, create=False)
asyncio.run(before())
held = store.lock("parents", 0)
loop = asyncio.new_event_loop()
loop.run_until_complete(held.__aenter__())
children = []
for n in range(4):
    if not (pid := os.fork()):
        child(n)
    children.append(pid)
    if sys.argv[2] == "use":
        loop.run_until_complete(between(n))
say("ready")
codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
loop.run_until_complete(held.__aexit__(None, None, None))
loop.run_until_complete(between(9))
loop.run_until_complete(store.close())
loop.close()
say(f"{codes}")
"""


@pytest.mark.processes
@pytest.mark.parametrize("parent", ["use", "close"])
async def test_V30_forked_child_reopens_everything(store: SqliteStore, path: Path, parent: str) -> None:
    with running(FORKING, path, parent) as program:
        assert await asyncio.to_thread(heard, program) == "[0, 0, 0, 0]"
    kept = dict(await store.scan("test"))
    assert [kept[f"child{n}"] for n in range(4)] == [b"3"] * 4
    assert kept["parent9"] == b"4"


FORKING_WHILE_WRITING = """
import threading

def write():
    async def many():
        for n in range(150):
            assert await store.insert("parent", f"{n}", b"1")
    asyncio.run(many())

async def child(n):
    assert await store.insert("child", f"{n}", b"1")
    await store.close()

codes = []

def fork(numbers):
    for n in numbers:
        if not (pid := os.fork()):
            try:
                asyncio.run(asyncio.wait_for(child(n), 20))
                os._exit(0)
            except BaseException as error:
                print(repr(error), file=sys.stderr, flush=True)
                os._exit(1)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

store = SqliteStore.open(path, create=False)
threads = [threading.Thread(target=write)]
threads += [threading.Thread(target=fork, args=(range(start, 10, 2),)) for start in (0, 1)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
asyncio.run(store.close())
say("ready")
say(f"{sum(codes)} {len(codes)}")
"""


@pytest.mark.processes
async def test_V30_forks_during_writes_in_threads_break_nothing(store: SqliteStore, path: Path) -> None:
    with running(FORKING_WHILE_WRITING, path) as program:
        assert heard(program) == "0 10"
    assert len(await store.scan("child")) == 10
    assert len(await store.scan("parent")) == 150
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


AT_EXIT = """
import atexit

store = SqliteStore.open(path, create=False)

def save():
    async def last():
        await store.insert("test", "last", b"1")
        await store.close()
    asyncio.run(last())
    say("saved")

atexit.register(save)
say("ready")
"""


@pytest.mark.processes
async def test_write_during_interpreter_exit_is_done(store: SqliteStore, path: Path) -> None:
    with running(AT_EXIT, path) as program:
        assert heard(program) == "saved"
        assert program.wait(10) == 0
    assert await store.get("test", "last") == b"1"


FORGETTING = """
store = SqliteStore.open(path, create=False)
asyncio.run(store.insert("test", "a", b"1"))
say("ready")
"""


@pytest.mark.processes
async def test_program_that_does_not_close_still_exits(store: SqliteStore, path: Path) -> None:
    with running(FORGETTING, path) as program:
        assert program.wait(10) == 0
    assert await store.get("test", "a") == b"1"


async def test_V12_other_process_sees_a_write_at_its_next_read(store: SqliteStore, path: Path) -> None:
    watching = """
async def main():
    store = SqliteStore.open(path, create=False)
    assert await store.get("grant", "alice") == b"live"
    say("ready")
    wait()
    say((await store.get("grant", "alice")).decode())
    await store.close()

asyncio.run(main())
"""
    await store.insert("grant", "alice", b"live")
    with running(watching, path) as other:
        await store.swap("grant", "alice", b"live", b"gone")
        go_on(other)
        assert heard(other) == "gone"


@pytest.mark.processes
async def test_opening_a_locked_vault_waits_a_bounded_time(path: Path) -> None:
    await SqliteStore.open(path, create=True).close()
    locking = """
db = sqlite3.connect(path, isolation_level=None)
db.execute("PRAGMA locking_mode=EXCLUSIVE")
db.execute("BEGIN EXCLUSIVE")
say("ready")
wait()
"""
    with running(locking, path):
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match="locked"):
            SqliteStore.open(path, create=False)
        assert time.monotonic() - began < 2 * sqlite_file.BUSY_SECONDS + sqlite_table.WRITE_TIMEOUT_SECONDS
    store = SqliteStore.open(path, create=False)
    assert await store.insert("test", "a", b"1")
    await store.close()


KILLED = """
from deputize.core.vault.stores.sqlite import file as sqlite_file

def publish(made, to):
    say("made")
    wait()

sqlite_file.publish = publish
sqlite_file.copy(path, Path(sys.argv[2]), {})
"""


def unpublished(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if ".new" in path.name)


@pytest.mark.processes
async def test_backup_removes_files_of_an_interrupted_but_not_a_running_backup(path: Path, tmp_path: Path) -> None:
    await SqliteStore.open(path, create=True).close()
    (folder := tmp_path / "backups").mkdir()
    foreign = folder / ".notes.0123456789abcdef.new"
    foreign.write_text("of somebody else")
    foreign.chmod(0o644)
    killed, alive = (start(KILLED, path, str(folder / f"backup-{day}")) for day in ("monday", "tuesday"))
    assert [heard(killed), heard(alive)] == ["made", "made"]
    end(killed)
    sqlite_file.copy(path, folder / "backup-wednesday", {})
    assert len(unpublished(folder)) == 3  # another backup is under way: nothing is removed
    end(alive)
    sqlite_file.copy(path, folder / "backup-thursday", {})
    assert unpublished(folder) == [foreign.name]
