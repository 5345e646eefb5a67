"""Postgres as a store while sessions are cut, responses are lost and the server is restarted."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Iterator
from pathlib import Path
from typing import TypeVar

import psycopg
import pytest

from deputize.core.errors import SettingsError, StoreUnavailable
from deputize.core.vault.stores import Batches, Store, open_store
from deputize.core.vault.stores.postgres.address import Address, Connection
from deputize.core.vault.stores.postgres.checks import KEEPALIVES, check, risks, sessions
from deputize.core.vault.stores.postgres.schema import migrate
from deputize.sandbox.store_contract.outages import OutageContract
from tests.support.lossy_socket import LossySocket, lossy
from tests.support.postgres import USER, Server, postgres_server

pytestmark = pytest.mark.counterpart

T = TypeVar("T")


class Behind:
    """The server behind a store, and its failures."""

    def __init__(self, server: Server) -> None:
        self.server, self.stop, self.start = server, server.stop, server.start

    def cut(self) -> None:
        with psycopg.connect(self.server.dsn, autocommit=True) as admin:
            admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'deputize'")


@pytest.fixture(scope="module")
def made() -> Iterator[Server]:
    with postgres_server() as server:
        migrate(Address.of(server.url))
        yield server


@pytest.fixture
def server(made: Server) -> Behind:
    with psycopg.connect(made.dsn, autocommit=True) as admin:
        admin.execute("TRUNCATE deputize_record")
    return Behind(made)


@pytest.fixture
async def store(server: Behind) -> AsyncIterator[Store]:
    store = open_store(server.server.url, create=True)
    yield store
    await store.close()


class TestPostgresOutages(OutageContract):
    @pytest.fixture
    def server(self, server: Behind) -> Behind:
        return server

    @pytest.fixture
    async def store(self, store: Store) -> Store:
        return store

    @pytest.fixture
    async def other(self, server: Behind) -> AsyncIterator[Store]:
        store = open_store(server.server.url, create=True)
        yield store
        await store.close()


SOCKET = ".s.PGSQL.5432"


async def test_write_with_a_lost_answer_is_reported_as_done(server: Behind, tmp_path: Path) -> None:
    folder = Path(server.server.url.partition("host=")[2])
    with lossy(folder / SOCKET, tmp_path / SOCKET) as way:
        store = open_store(f"postgresql://{USER}@/postgres?host={tmp_path}", create=True)
        assert await store.insert("test", "a", b"0")
        assert await _losing(way, store.insert("test", "b", b"1")) is True
        assert await _losing(way, store.insert("test", "b", b"2")) is False
        assert await _losing(way, store.swap("test", "a", b"0", b"3")) is True
        assert await _losing(way, store.swap("test", "a", b"0", b"4")) is False
        assert await _losing(way, store.get("test", "a")) == b"3"
        with pytest.raises(StoreUnavailable, match="who deleted it"):
            await _losing(way, store.delete("test", "a", b"3"))
        assert await _losing(way, store.delete("test", "b", b"3")) is False
        assert await store.scan("test") == [("b", b"1")]
        assert isinstance(store, Batches)
        assert await _losing(way, store.write(("test", "c", None, b"1"), ("test", "b", b"1", b"2"))) == 2
        assert await _losing(way, store.write(("test", "c", None, b"2"), ("test", "b", b"2", b"3"))) == 0
        assert await _losing(way, store.write(("test", "d", None, b"1"), ("test", "b", b"1", b"3"))) == 1
        assert await _losing(way, store.read(("scan", "test", ""), ("get", "test", "b"))) == [
            [("b", b"2"), ("c", b"1"), ("d", b"1")], b"2"
        ]  # fmt: skip
        async with store.lock("one", 1) as lock:
            assert lock
            with pytest.raises(StoreUnavailable):
                await _losing(way, lock.confirm())
        with pytest.raises(StoreUnavailable):  # it may be held by a session that nobody has: that one has ended
            await _losing(way, _held(store))
        await _held(store)
        await store.close()


async def _held(store: Store) -> None:
    async with store.lock("one", 1):
        await asyncio.sleep(0)


async def _losing(way: LossySocket, call: Awaitable[T]) -> T:
    """Return the outcome of the call, whose first response is lost."""
    way.lose, before = 1, way.lost
    try:
        return await call
    finally:
        assert way.lost == before + 1


async def test_write_blocked_by_another_transaction_fails_with_a_lock_timeout(server: Behind, store: Store) -> None:
    await store.insert("test", "a", b"1")
    with psycopg.connect(server.server.dsn) as busy:
        busy.execute("UPDATE deputize_record SET value = '2'")
        with pytest.raises(StoreUnavailable, match="could not run the statement") as caught:
            await store.swap("test", "a", b"1", b"3")
        assert "55P03" in caught.value.hint and await store.get("test", "a") == b"1"
    assert await store.get("test", "a") == b"2" and await store.swap("test", "a", b"2", b"3")


async def test_hanging_server_times_out_and_its_write_is_resolved_later(server: Behind, store: Store) -> None:
    await store.insert("test", "a", b"1")
    pids = _backends(server)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        swapping = asyncio.create_task(store.swap("test", "a", b"1", b"2"))
        assert await swapping is True  # on another connection, when the one that stands still was given up
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    assert await store.get("test", "a") == b"2"


def _backends(server: Behind) -> list[int]:
    with psycopg.connect(server.server.dsn, autocommit=True) as admin:
        rows = admin.execute("SELECT pid FROM pg_stat_activity WHERE application_name = 'deputize'").fetchall()
    return [pid for (pid,) in rows]


async def test_server_crash_leaves_no_lock(server: Behind, store: Store) -> None:
    async with store.lock("one", 1) as lock:
        await asyncio.to_thread(server.stop, signal.SIGQUIT)
        await asyncio.to_thread(server.start)
        await _held(other := open_store(server.server.url, create=True))
        await other.close()
        assert lock
        with pytest.raises(StoreUnavailable):
            await lock.confirm()


# ------------------------------------------------------------- the start


async def test_transaction_pooler_is_refused(server: Behind) -> None:
    """Such a pooler shares one session between two clients, one transaction each."""
    address = Address.of(server.server.url)
    one = await address.connect()

    async def connect() -> Connection:
        return one

    with pytest.raises(SettingsError, match="by transaction") as caught:
        await check(address, connect)
    assert "pool_mode = session" in caught.value.hint


async def test_empty_or_newer_database_is_refused(server: Behind) -> None:
    url = server.server.url
    with psycopg.connect(server.server.dsn, autocommit=True) as admin:
        admin.execute("INSERT INTO deputize_schema (version) VALUES (99)")
        try:
            for refused in (lambda: open_store(url, create=True), lambda: migrate(Address.of(url))):
                with pytest.raises(SettingsError, match="have version 99"):
                    refused()
        finally:
            admin.execute("DELETE FROM deputize_schema WHERE version = 99")
        admin.execute("CREATE DATABASE empty")
        with pytest.raises(SettingsError, match="no tables") as caught:
            open_store(url.replace("/postgres?", "/empty?"), create=True)
        assert "deputize store init" in caught.value.hint


async def test_unreachable_server_error_shows_no_password(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable) as caught:
        open_store(f"postgresql://app:hunter2@/vault?host={tmp_path}", create=True)
    assert "hunter2" not in f"{caught.value} {caught.value.hint}" and caught.value.__cause__ is None


async def test_locks_of_a_vanished_machine_are_freed_after_seconds(made: Server) -> None:
    """By TCP keepalives that each session requests, and that are verified."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    made.stop()
    made.more, dsn = ("-c", "listen_addresses=127.0.0.1", "-c", f"port={port}"), made.dsn
    made.dsn = f"{dsn} port={port}"
    try:
        await asyncio.to_thread(made.start)
        address = Address.of(f"postgresql://{USER}@127.0.0.1:{port}/postgres")
        connection = await address.connect()
        set_to = [
            (await (await connection.execute(f"SHOW tcp_keepalives_{name}".encode())).fetchone() or [""])[0]
            for name in KEEPALIVES
        ]
        await connection.close()
        assert set_to == ["5", "2", "3"]
        assert not [what for what, _ in await asyncio.to_thread(risks, address) if "keepalives" in what]
        with psycopg.connect(f"{made.dsn} host=127.0.0.1", autocommit=True) as plain:
            [(what, todo)] = sessions(plain)
        assert "keepalives" in what and "tcp_keepalives_idle = 5" in todo
    finally:
        made.stop()
        made.more, made.dsn = (), dsn
        await asyncio.to_thread(made.start)
