"""The rules under which sqlitedict is safe to use, V20 to V35, each by its name."""

from __future__ import annotations

import asyncio
import inspect
import os
import pickle
import re
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
import sqlitedict  # noqa: TID251 - to show what it does without our rules

from deputize.core.errors import DeputizeError, SettingsError, StoreUnavailable, VaultError
from deputize.core.vault.stores.protocol import Store
from deputize.core.vault.stores.sqlite import file as sqlite_file
from deputize.core.vault.stores.sqlite import table as sqlite_table
from deputize.core.vault.stores.sqlite import writer as sqlite_writer
from deputize.core.vault.stores.sqlite.store import SqliteStore
from deputize.core.vault.stores.sqlite.writer import Writer
from tests.core.vault.vault_processes import LOCKING, go_on, heard, running

T = TypeVar("T")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "vault" / "vault.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore.open(path, create=True)
    yield store
    await store.close()


@pytest.fixture(params=[0o000, 0o022], ids=["umask-000", "umask-022"])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


async def owned(store: SqliteStore, step: Callable[[Writer], T]) -> T:
    """Run a step on the writing connection, in its own thread."""
    return await asyncio.wrap_future(store._owner.submit(lambda: step(store._opened())))


def plant(path: Path, key: str, value: object, *, cast: str = "?") -> None:
    """Insert a row into the table, as anyone with write access could."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(f'INSERT OR REPLACE INTO "{sqlite_file.TABLE}" VALUES (?, {cast})', (key, value))  # noqa: S608


def on_disk(path: Path) -> bytes:
    """Return the bytes of the database and its log."""
    return b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*") if not file.name.endswith("-shm"))


async def gone_from_disk(path: Path, canary: bytes) -> bool:
    """Return True if it vanishes within five seconds."""
    for _ in range(100):
        if canary not in on_disk(path):
            return True
        await asyncio.sleep(0.05)
    return False


class Bomb:
    """Creates a file when unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.marker),)


async def test_all_written_records_are_read_with_sqlitedict_and_our_codec(store: SqliteStore, path: Path) -> None:
    for key in ("alice", "bob", "carol"):
        await store.insert("grant", key, key.encode())
    await asyncio.gather(*(store.insert("test", f"{n}", bytes([n])) for n in range(20)))
    await store.swap("grant", "bob", b"bob", b"Bob")
    await store.delete("grant", "carol", b"carol")
    with closing(sqlite_table.dictionary(path)) as opened:
        found = {key: opened[key] for key in opened.keys()}
    assert found.pop("format").startswith(b"deputize vault")
    assert found == {"grant/alice": b"alice", "grant/bob": b"Bob", **{f"test/{n}": bytes([n]) for n in range(20)}}


async def test_vault_of_plain_sqlitedict_is_not_opened(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await SqliteStore.open(path, create=True).close()
    monkeypatch.setattr(sqlite_table, "MARK", ("format", b"\x01deputize vault 2"))
    with pytest.raises(VaultError, match="version"):
        SqliteStore.open(path, create=False)


async def test_V20_pickle_bomb_in_the_vault_is_an_error_and_never_runs(
    store: SqliteStore, path: Path, tmp_path: Path
) -> None:
    marker = tmp_path / "it ran"
    plant(path, "grant/alice", pickle.dumps(Bomb(marker)))
    for reading in (store.get("grant", "alice"), store.scan("grant")):
        with pytest.raises(VaultError):
            await reading
    with pytest.raises(VaultError):
        sqlite_table.unpack(pickle.dumps(Bomb(marker)))
    with closing(sqlite_table.dictionary(path)) as opened:
        assert opened.encode(b"x") == sqlite_table.pack(b"x")
        with pytest.raises(VaultError):
            opened["grant/alice"]
    assert not marker.exists()


def test_V20_control_sqlitedict_without_our_codec_runs_the_pickle(tmp_path: Path) -> None:
    path, marker = tmp_path / "control.db", tmp_path / "it ran"
    bare = sqlitedict.SqliteDict(str(path), "vault", autocommit=True)
    plant(path, "grant/alice", pickle.dumps(Bomb(marker)))
    assert bare["grant/alice"] is None
    bare.close()
    assert marker.exists()


@pytest.mark.parametrize("value", ["text", None, 7, 1.5, b"", b"\x02no", b"\x80\x04N."])
async def test_V21_foreign_row_is_an_error(store: SqliteStore, path: Path, value: object) -> None:
    await store.insert("grant", "bob", b"good")
    plant(path, "grant/alice", value)
    for reading in (store.get("grant", "alice"), store.scan("grant", "alice"), store.scan("grant")):
        with pytest.raises(VaultError):
            await reading
    assert not await store.swap("grant", "alice", b"good", b"new")
    assert not await store.delete("grant", "alice", b"good")
    assert not await store.insert("grant", "alice", b"new")
    assert await store.get("grant", "bob") == b"good"


async def test_V21_invalid_utf8_text_is_an_error_in_both_read_paths(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(path, "grant/alice", b"\xff\xfe", cast="CAST(? AS TEXT)")
    for rows in (store._reader.rows, lambda *_: None):
        monkeypatch.setattr(store._reader, "rows", rows)
        with pytest.raises(VaultError):
            await store.get("grant", "alice")


WANTED = {"synchronous": 2, "busy_timeout": 2000, "secure_delete": 1, "journal_mode": "wal", "fullfsync": 1}


async def pragmas(store: SqliteStore) -> dict[str, object]:
    return await owned(store, lambda writer: {name: writer.ask(f"PRAGMA {name}")[0][0] for name in WANTED})


async def test_V22_durability_pragmas_are_set_after_every_open(store: SqliteStore, path: Path) -> None:
    assert await pragmas(store) == WANTED
    store._before_fork()
    store._after_fork_in_parent()
    assert await pragmas(store) == WANTED
    again = SqliteStore.open(path, create=False)
    assert await pragmas(again) == WANTED
    await again.close()


async def test_V22_pragma_that_does_not_hold_is_refused(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sqlite_writer.PRAGMAS, "synchronous", 7)
    with pytest.raises(StoreUnavailable, match="safely"):
        SqliteStore.open(path, create=False)


def test_V23_only_the_store_protocol_is_exposed() -> None:
    protocol = {name for name in dir(Store) if not name.startswith("_")}
    assert {name for name in dir(SqliteStore) if not name.startswith("_")} == protocol | {
        *("find_damage", "open", "tails", "unshared")
    }


async def test_V23_close_removes_no_record(store: SqliteStore, path: Path) -> None:
    await store.insert("test", "a", b"1")
    await store.close()
    again = SqliteStore.open(path, create=False)
    assert await again.get("test", "a") == b"1"
    await again.close()


async def test_V24_all_files_are_private_whatever_the_umask(umask: None, store: SqliteStore, path: Path) -> None:
    async with store.lock("alice", 1):
        await store.insert("test", "a", b"1")
        modes = {at.relative_to(path.parent).as_posix(): at.stat().st_mode & 0o777 for at in path.parent.rglob("*")}
    assert modes.pop("locks/all.lock") == 0o600
    assert modes == {"locks": 0o700, "vault.db": 0o600, "vault.db-wal": 0o600, "vault.db-shm": 0o600}
    assert path.parent.stat().st_mode & 0o777 == 0o700


async def test_V9_vault_open_to_others_is_refused_with_the_command(path: Path) -> None:
    await SqliteStore.open(path, create=True).close()
    for at, mode, command in ((path, 0o640, "chmod 600"), (path.parent, 0o750, "chmod 700")):
        good = at.stat().st_mode & 0o777
        at.chmod(mode)
        for create in (True, False):
            with pytest.raises(SettingsError) as caught:
                SqliteStore.open(path, create=create)
            assert caught.value.hint == f"Run: {command} '{at}'"
        at.chmod(good)
    await SqliteStore.open(path, create=False).close()


async def test_V25_write_error_reaches_its_own_writer_only(store: SqliteStore, path: Path) -> None:
    trigger = f"CREATE TRIGGER no BEFORE INSERT ON \"{sqlite_file.TABLE}\" WHEN NEW.key LIKE 'bad/%'"
    await owned(store, lambda writer: writer.ask(f"{trigger} BEGIN SELECT RAISE(ABORT, 'no'); END"))
    await store.insert("good", "a", b"1")
    wrong: list[str] = []

    async def write(n: int) -> None:
        try:
            await store.insert("bad", f"{n}", b"1")
            wrong.append("a failed write reported success")
        except StoreUnavailable:
            return

    async def use(n: int) -> None:
        if n % 2 and not await store.insert("good", f"a{n}", b"1"):
            wrong.append("a write of another failed")
        if await store._done(partial(store._reader.rows_patiently, sqlite_table.GET, "good/a")) != [(b"\x011",)]:
            wrong.append("a read of another failed")

    await asyncio.gather(*(step for n in range(100) for step in (write(n), *(use(4 * n + i) for i in range(4)))))
    assert wrong == []
    assert await store.scan("bad") == []


@pytest.mark.processes
async def test_V26_vault_without_write_ahead_mode_is_corrected_or_refused(path: Path) -> None:
    await SqliteStore.open(path, create=True).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode=DELETE")
        other.execute("BEGIN")
        other.execute("SELECT * FROM vault").fetchall()  # a reader, who keeps others from changing the mode
        with pytest.raises(StoreUnavailable, match="locked"):
            SqliteStore.open(path, create=False)
    store = SqliteStore.open(path, create=False)
    assert await pragmas(store) == WANTED
    with closing(sqlite_table.dictionary(path)) as opened:
        assert opened.autocommit and opened.conn.autocommit
    await store.close()


def test_V27_no_statement_writes_and_returns_rows() -> None:
    assert "RETURNING" not in inspect.getsource(sqlite_table).upper()


async def test_V28_one_of_two_concurrent_swaps_wins(store: SqliteStore, path: Path) -> None:
    other = SqliteStore.open(path, create=False)
    await store.insert("test", "race", b"0")
    for n in range(100):
        old = b"%d" % n
        won = await asyncio.gather(*(one.swap("test", "race", old, b"%d" % (n + 1)) for one in (store, other)))
        assert sorted(won) == [False, True]
    assert await store.get("test", "race") == await other.get("test", "race") == b"100"
    await other.close()


async def test_V28_write_is_visible_to_all_when_it_returns(store: SqliteStore, path: Path) -> None:
    other = SqliteStore.open(path, create=False)
    for n in range(20):
        assert await store.insert("test", "a", b"%d" % n)
        assert await other.get("test", "a") == b"%d" % n
        assert await other.delete("test", "a", b"%d" % n)
        assert await store.get("test", "a") is None
    await other.close()


async def test_V29_record_is_one_row(store: SqliteStore, path: Path) -> None:
    await store.insert("grant", "alice", b"1")
    await store.swap("grant", "alice", b"1", b"2")
    await store.insert("grant", "bob", b"3")
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute("SELECT key, value FROM vault WHERE key LIKE '%/%' ORDER BY key").fetchall()
    assert rows == [("grant/alice", sqlite_file.FORMAT + b"2"), ("grant/bob", sqlite_file.FORMAT + b"3")]


@pytest.mark.processes
async def test_V30_hanging_disk_is_reported_in_time_and_nothing_is_written_later(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, gate = Writer.commit, threading.Event()

    def stand(writer: Writer, writes: Any) -> Any:
        gate.wait(30)
        return commit(writer, writes)

    monkeypatch.setattr(Writer, "commit", stand)
    monkeypatch.setattr(sqlite_table, "WRITE_TIMEOUT_SECONDS", 0.3)
    began = time.monotonic()
    with pytest.raises(StoreUnavailable) as caught:
        await store.insert("test", "first", b"1")
    assert "read before" in caught.value.hint
    with pytest.raises(StoreUnavailable, match="overloaded"):
        await store.insert("test", "second", b"1")
    assert time.monotonic() - began < 6
    gate.set()
    assert await store.insert("test", "third", b"1")
    assert {key for key, _ in await store.scan("test")} == {"first", "third"}


@pytest.mark.processes
async def test_V30_vault_on_a_hanging_disk_is_abandoned_at_close(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    monkeypatch.setattr(sqlite_table, "WRITE_TIMEOUT_SECONDS", 0.1)
    store._owner.submit(lambda: gate.wait(30))
    with pytest.raises(StoreUnavailable, match="does not answer"):
        await store.close()
    gate.set()
    await store.close()


async def test_V30_write_that_cannot_start_in_time_is_withdrawn(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_table, "WRITE_TIMEOUT_SECONDS", 0.2)
    gate = threading.Event()
    store._owner.submit(lambda: gate.wait(10))
    with pytest.raises(StoreUnavailable, match="overloaded"):
        await store.insert("test", "a", b"1")
    gate.set()
    assert await store.insert("test", "b", b"1")
    assert await store.get("test", "a") is None


async def test_cancelled_caller_does_not_cancel_its_write(store: SqliteStore) -> None:
    gate = threading.Event()
    store._owner.submit(lambda: gate.wait(10))
    task = asyncio.create_task(store.insert("test", "a", b"1"))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gate.set()
    assert not await store.insert("test", "a", b"2")
    assert await store.get("test", "a") == b"1"


def test_loop_closed_before_its_write_leaves_the_store_usable(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = SqliteStore.open(path, create=True)
    gate = threading.Event()
    store._owner.submit(lambda: gate.wait(10))

    async def leave() -> None:
        async with asyncio.timeout(0.05):
            await store.insert("test", "a", b"1")

    with pytest.raises(TimeoutError):
        asyncio.run(leave())
    gate.set()

    async def come_back() -> bytes | None:
        assert not await store.insert("test", "a", b"2")
        value = await store.get("test", "a")
        await store.close()
        return value

    assert asyncio.run(come_back()) == b"1"
    assert caplog.records == []


async def longest_lag(until: asyncio.Event) -> float:
    """Return the longest time, in seconds, for which the event loop was blocked."""
    longest, before = 0.0, time.perf_counter()
    while not until.is_set():
        await asyncio.sleep(0.001)
        now = time.perf_counter()
        longest, before = max(longest, now - before), now
    return longest


@pytest.mark.processes
async def test_V31_V32_vault_locked_elsewhere_delays_only_its_writer(store: SqliteStore, path: Path) -> None:
    await store.insert("test", "a", b"1")
    lags = []
    with running(LOCKING, path) as other:
        for _ in range(3):  # the machine may be busy with something else
            over = asyncio.Event()
            lag = asyncio.create_task(longest_lag(over))
            await asyncio.sleep(0.01)
            began = time.monotonic()
            write = asyncio.create_task(store.swap("test", "a", b"1", b"2"))
            reads = 0
            while not write.done():
                assert await store.get("test", "a") == b"1"
                assert await store.scan("test") == [("a", b"1")]
                reads += 1
                await asyncio.sleep(0.002)
            with pytest.raises(StoreUnavailable, match="locked"):
                await write
            assert 1.9 < time.monotonic() - began < 6
            assert reads > 50
            over.set()
            lags.append(await lag)
            if lags[-1] < 0.25:
                break
        go_on(other)
        assert heard(other) == ""
    assert min(lags) < 0.25, lags
    assert await store.swap("test", "a", b"1", b"2")


TAKING_ALL = """
db = sqlite3.connect(path, isolation_level=None)
db.execute("PRAGMA locking_mode=EXCLUSIVE")
db.execute("BEGIN EXCLUSIVE")
say("ready")
wait()
"""


@pytest.mark.processes
async def test_V31_vault_locked_for_reading_delays_only_its_reader(store: SqliteStore, path: Path) -> None:
    await store.insert("test", "a", b"1")
    lags = []
    for _ in range(3):  # the machine may be busy with something else
        store._before_fork()  # lets go of every connection
        store._after_fork_in_parent()
        with running(TAKING_ALL, path):
            over = asyncio.Event()
            lag = asyncio.create_task(longest_lag(over))
            await asyncio.sleep(0.01)
            with pytest.raises(StoreUnavailable, match="locked"):
                await store.get("test", "a")
            over.set()
            lags.append(await lag)
        if lags[-1] < 0.25:
            break
    assert min(lags) < 0.25, lags
    assert await store.get("test", "a") == b"1"


async def test_V31_read_that_would_wait_moves_to_the_owner_thread(store: SqliteStore) -> None:
    class Busy:
        asked = 0

        def execute(self, *_: object) -> None:
            self.asked += 1
            error = sqlite3.OperationalError("database is locked")
            error.sqlite_errorcode = sqlite3.SQLITE_BUSY_RECOVERY
            raise error

        def close(self) -> None:
            self.asked += 100

    await store.insert("test", "a", b"1")
    store._reader.forget()
    busy: Any = Busy()
    store._reader._connection = busy
    assert await store.get("test", "a") == b"1"
    assert await store.get("test", "b") is None
    assert await store.scan("test") == [("a", b"1")]
    assert busy.asked == 3
    await store.close()
    assert busy.asked == 103


async def test_V32_full_disk_is_reported_immediately_and_recovers(store: SqliteStore) -> None:
    await store.insert("test", "a", b"1")
    pages = (await owned(store, lambda writer: writer.ask("PRAGMA page_count")))[0][0]
    await owned(store, lambda writer: writer.ask(f"PRAGMA max_page_count={pages + 1}"))
    for write in (store.insert("test", "b", bytes(100_000)), store.swap("test", "a", b"1", bytes(100_000))):
        with pytest.raises(StoreUnavailable, match="full"):
            await write
    assert await store.scan("test") == [("a", b"1")]
    await owned(store, lambda writer: writer.ask("PRAGMA max_page_count=1000000"))
    assert await store.swap("test", "a", b"1", bytes(100_000))


async def test_V32_read_only_vault_is_reported_and_readable(store: SqliteStore) -> None:
    await store.insert("test", "a", b"1")
    await owned(store, lambda writer: writer.ask("PRAGMA query_only=ON"))
    for write in (
        store.insert("test", "b", b"1"),
        store.swap("test", "a", b"1", b"2"),
        store.delete("test", "a", b"1"),
    ):
        with pytest.raises(StoreUnavailable, match="cannot be written"):
            await write
    assert await store.get("test", "a") == b"1"
    await owned(store, lambda writer: writer.ask("PRAGMA query_only=OFF"))
    assert await store.delete("test", "a", b"1")


def whole_vault(path: Path) -> bytes:
    async def make() -> None:
        store = SqliteStore.open(path, create=True)
        for n in range(20):
            await store.insert("test", f"{n}", os.urandom(2000))
        await store.close()

    asyncio.run(make())
    return path.read_bytes()


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize("damage", ["zero bytes", "junk", "text", "short", "half", "header", "marker", "foreign"])
def test_V32_invalid_vault_file_is_refused_and_left_unchanged(path: Path, damage: str, create: bool) -> None:
    whole = whole_vault(path)
    if damage == "marker":
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("DELETE FROM vault WHERE key = 'format'")
        damaged = path.read_bytes()
    elif damage == "foreign":
        path.unlink()
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("CREATE TABLE notes (text)")
        path.chmod(0o600)
        damaged = path.read_bytes()
    else:
        damaged = {
            "zero bytes": b"",
            "junk": os.urandom(len(whole)),
            "text": b"SQLite format 3, or so it says\n" * 200,
            "short": whole[:50],
            "half": whole[: len(whole) // 2],
            "header": whole[:4096],
        }[damage]
        path.write_bytes(damaged)
    with pytest.raises(VaultError) as caught:
        SqliteStore.open(path, create=create)
    assert str(path) not in str(caught.value)
    assert path.read_bytes() == damaged


async def test_V32_folder_or_pipe_is_not_a_vault(tmp_path: Path) -> None:
    (tmp_path / "folder.db").mkdir(0o700)
    os.mkfifo(tmp_path / "pipe.db", 0o600)
    for name in ("folder.db", "pipe.db"):
        with pytest.raises(VaultError):
            SqliteStore.open(tmp_path / name, create=True)


def scramble(path: Path) -> None:
    """Damage all pages but the first."""
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + os.urandom(len(whole) - 4096))


async def test_V32_later_damage_is_reported(store: SqliteStore, path: Path) -> None:
    for n in range(50):
        await store.insert("test", f"{n:02}", os.urandom(2000))
    await owned(store, Writer.settle)
    scramble(path)
    with pytest.raises(VaultError, match="damaged"):
        await asyncio.to_thread(read_all_anew, store, path)


def read_all_anew(store: SqliteStore, path: Path) -> None:
    async def read() -> None:
        other = SqliteStore(path)
        try:
            await other.scan("test")
        finally:
            await other.close()

    asyncio.run(read())


@pytest.mark.parametrize("bit", [0x01, 0x20])
async def test_flipped_bit_in_a_key_is_reported_as_damage(tmp_path: Path, path: Path, bit: int) -> None:
    """One bit of a record's header in the index turns a key into a number, which sorts before all text, or a blob."""
    store = SqliteStore.open(path, create=True)
    for n in range(5):
        await store.insert("grant", f"row{n:03d}", b"x" * 60)
    await store.close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole, key, told = path.read_bytes(), b"grant/row002", 0
    text = 13 + 2 * len(key)  # the header's word for a text of this length: sqlite.org/fileformat2.html 2.1
    places = [hit.start() for hit in re.finditer(re.escape(key), whole)]
    for number, at in enumerate(
        one for record_key in places for one in range(record_key - 6, record_key) if whole[one] == text
    ):
        damaged = tmp_path / f"damaged{number}" / "vault.db"
        damaged.parent.mkdir(mode=0o700)
        damaged.write_bytes(whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :])
        damaged.chmod(0o600)
        store = SqliteStore.open(damaged, create=False)
        for read in (store.scan, store.tails, partial(store.scan, most=3)):
            try:
                await read("grant")
            except VaultError as error:
                told += "damaged" in error.message
        await store.close()
    assert places and (told > 0) == (bit == 0x20)


@pytest.mark.processes
async def test_V11_deleted_and_replaced_content_leaves_the_disk(store: SqliteStore, path: Path) -> None:
    await store.insert("test", "a", b"canary-of-alice" * 100)
    await store.insert("test", "b", b"canary-of-bob" * 100)
    await store.insert("test", "c", b"canary-that-stays" * 100)
    assert b"canary-of-alice" in on_disk(path) and b"canary-of-bob" in on_disk(path)
    assert await store.delete("test", "a", b"canary-of-alice" * 100)
    assert await store.swap("test", "b", b"canary-of-bob" * 100, b"nothing")
    assert await gone_from_disk(path, b"canary-of-")
    await store.insert("test", "d", b"canary-of-carol" * 100)
    await store.delete("test", "d", b"canary-of-carol" * 100)
    await store.close()
    assert b"canary-of-" not in on_disk(path)
    assert b"canary-that-stays" in on_disk(path)


@pytest.mark.processes
async def test_V11_foreign_reader_delays_disk_cleanup_but_no_writer(store: SqliteStore, path: Path) -> None:
    await store.insert("test", "a", b"canary-of-alice" * 100)
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM vault").fetchall()
        await store.delete("test", "a", b"canary-of-alice" * 100)
        await asyncio.sleep(0.7)
        began = time.monotonic()
        assert await store.insert("test", "b", b"1")
        assert time.monotonic() - began < 1
        assert b"canary-of-alice" in on_disk(path)
        reader.execute("ROLLBACK")
    assert await gone_from_disk(path, b"canary-of-")


async def test_replaced_vault_file_is_written_at_its_current_location(store: SqliteStore, path: Path) -> None:
    await store.insert("test", "a", b"1")
    restored = path.with_name("restored.db")
    with closing(sqlite3.connect(path)) as db, closing(sqlite3.connect(restored)) as copy:
        db.backup(copy)
    restored.chmod(0o600)
    os.replace(restored, path)
    for log in ("-wal", "-shm"):
        path.with_name(path.name + log).unlink()
    assert await store.insert("test", "b", b"2")
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT count(*) FROM vault WHERE key LIKE 'test/%'").fetchone() == (2,)
    assert await store.get("test", "b") == b"2"


async def test_removed_vault_file_accepts_no_writes(store: SqliteStore, path: Path) -> None:
    await store.insert("test", "a", b"1")
    os.unlink(path)
    with pytest.raises(StoreUnavailable, match="no vault"):
        await store.swap("test", "a", b"1", b"2")
    with pytest.raises(StoreUnavailable, match="no vault"):
        SqliteStore.open(path, create=False)


def test_write_ahead_log_without_its_vault_is_not_a_new_vault(path: Path) -> None:
    path.parent.mkdir(0o700)
    log = path.with_name(path.name + "-wal")
    log.write_bytes(b"of a vault that was")
    with pytest.raises(VaultError, match="log"):
        SqliteStore.open(path, create=True)
    assert not path.exists() and log.exists()


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs", "9p"])
def test_V34_network_file_system_is_detected(tmp_path: Path, kind: str) -> None:
    mounts = tmp_path / "mounts"
    lines = ("/dev/vda / ext4", f"host:/x /srv/the\\040share {kind}", "tmpfs /srv/the\\040share/fast tmpfs")
    mounts.write_text("".join(f"{line} rw 0 0\n" for line in lines))
    told = kind.removeprefix("fuse.")
    assert sqlite_file.network_file_system(Path("/srv/the share/deputize/vault.db"), mounts) == told
    for local in ("/srv/vault.db", "/srv/the share/fast/vault.db", "/srv/the shared/vault.db"):
        assert sqlite_file.network_file_system(Path(local), mounts) == ""
    assert sqlite_file.network_file_system(Path("/srv/vault.db"), tmp_path / "missing") == ""


async def test_V34_network_file_system_warning_is_logged_at_open(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await SqliteStore.open(path, create=True).close()
    assert caplog.records == []
    monkeypatch.setattr(sqlite_file, "network_file_system", lambda _: "nfs4")
    await SqliteStore.open(path, create=False).close()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "nfs4" in caplog.text


ROOT = Path(__file__).parents[3]


def test_V35_pinned_sqlitedict_version_matches_the_rules() -> None:
    assert f'"sqlitedict=={sqlitedict.__version__}"' in (ROOT / "pyproject.toml").read_text()


def test_V35_vulnerability_note_names_the_pinned_version() -> None:
    note = (ROOT / "SECURITY.md").read_text()
    words = ("CVE-2024-35515", f"sqlitedict {sqlitedict.__version__}", "not_affected")
    assert [word for word in (*words, "vulnerable_code_not_in_execute_path") if word not in note] == []


async def test_failed_writes_log_no_traceback(store: SqliteStore, caplog: pytest.LogCaptureFixture) -> None:
    await owned(store, lambda writer: writer.ask("PRAGMA query_only=ON"))
    with pytest.raises(StoreUnavailable):
        await store.insert("test", "a", b"1")
    assert caplog.records == []


async def test_errors_show_no_value_and_have_no_cause(store: SqliteStore, path: Path) -> None:
    plant(path, "test/planted", b"\x80canary")
    await owned(store, lambda writer: writer.ask("PRAGMA query_only=ON"))
    for refused in (store.insert("test", "a", b"canary"), store.get("test", "planted")):
        with pytest.raises(DeputizeError) as caught:
            await refused
        assert "canary" not in f"{caught.value!r} {caught.value} {caught.value.hint}"
        assert caught.value.__cause__ is None
