"""Postgres as a store fulfils the contract, on a real server."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest

from deputize.core.errors import StoreUnavailable, VaultError
from deputize.core.vault.stores import Batches, Store, open_store
from deputize.core.vault.stores.postgres.address import Address
from deputize.core.vault.stores.postgres.schema import migrate
from deputize.core.vault.stores.postgres.store import PostgresStore
from deputize.sandbox.store_contract import StoreContract
from tests.support.postgres import postgres

pytestmark = pytest.mark.counterpart


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Return the address of a vault in an empty database."""
    with postgres() as connection:
        parts = dict(part.split("=", 1) for part in connection.split())
        url = f"postgresql://{parts['user']}@/{parts['dbname']}?host={parts['host']}"
        migrate(Address.of(url))
        yield url


@pytest.fixture
def empty(server: str) -> str:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("TRUNCATE deputize_record")
    return server


class TestPostgresStore(StoreContract):
    @pytest.fixture
    async def store(self, empty: str) -> AsyncIterator[Store]:
        store = open_store(empty, create=True)
        yield store
        await store.close()


@pytest.fixture
async def store(empty: str) -> AsyncIterator[Store]:
    store = open_store(empty, create=True)
    yield store
    await store.close()


async def test_two_processes_share_records_and_exclude_each_other(empty: str, store: Store) -> None:
    await store.insert("test", "a", b"ours")
    async with store.lock("one", 1):
        said = await asyncio.to_thread(another, empty, HOLDS)
        assert said == "ours, and the lock is another's"
    assert await asyncio.to_thread(another, empty, HOLDS) == "ours, and the lock is free"


async def test_lock_reads_the_last_write_of_its_holder_in_another_process(empty: str, store: Store) -> None:
    other = open_store(empty, create=True)
    assert isinstance(store, Batches) and isinstance(other, Batches)

    async def count(one: Batches) -> None:
        for _ in range(60):
            async with one.lock_and_read("one", 20, ("get", "test", "counter")) as (_, [old]):
                assert await one.write(("test", "counter", old, b"%d" % (int(old or 0) + 1))) == 1

    await asyncio.gather(count(store), count(other))
    assert await store.get("test", "counter") == b"120"
    await other.close()


async def test_lock_is_free_again_if_the_read_with_it_is_refused(empty: str, store: Store) -> None:
    other = open_store(empty, create=True)
    assert isinstance(store, Batches)
    with psycopg.connect(empty, autocommit=True) as admin:
        admin.execute("ALTER TABLE deputize_record RENAME TO away")
        try:
            with pytest.raises(VaultError, match="no tables"):
                async with store.lock_and_read("one", 1, ("get", "test", "a")):
                    pass
        finally:
            admin.execute("ALTER TABLE away RENAME TO deputize_record")
    async with other.lock("one", 1):
        pass
    await other.close()


@pytest.mark.processes
async def test_locked_table_frees_the_lock_and_leaves_the_other_locks_held(empty: str, store: Store) -> None:
    other = open_store(empty, create=True)
    assert isinstance(store, Batches)
    async with store.lock("held", 1) as held:
        with psycopg.connect(empty) as admin:
            admin.execute("LOCK TABLE deputize_record IN ACCESS EXCLUSIVE MODE")  # as VACUUM FULL
            with pytest.raises(StoreUnavailable):
                async with store.lock_and_read("one", 1, ("get", "test", "a")):
                    pass
        assert held and await held.confirm()
        async with other.lock("one", 1):
            pass
        with pytest.raises(TimeoutError):
            async with other.lock("held", 0.1):
                pass
    await other.close()


async def test_server_reads_nothing_for_a_caller_that_does_not_get_the_lock(empty: str, store: Store) -> None:
    other = open_store(empty, create=True)
    assert isinstance(store, PostgresStore)
    async with other.lock("one", 1):
        began = time.monotonic()
        assert await store._do(lambda at: at.locks.take("one", ("SELECT pg_sleep(2)", ()))) is None
        assert time.monotonic() - began < 1.5
    await other.close()


@pytest.mark.parametrize(("value", "made"), [(b"other", 1), (b"old", 2), (None, 2)])
async def test_writes_together_judge_the_record_that_another_transaction_leaves(
    empty: str, store: Store, value: bytes | None, made: int
) -> None:
    """The write waits for a row that another transaction has changed: to another value, to the same one, or in vain."""
    assert isinstance(store, Batches)
    await store.insert("approval", "a", b"old")
    with psycopg.connect(empty) as other:
        other.execute("UPDATE deputize_record SET value = %s WHERE place = 'approval/a'", (value or b"never",))
        writing = asyncio.create_task(store.write(("act", "a", None, b"1"), ("approval", "a", b"old", b"new")))
        await asyncio.sleep(0.3)
        assert not writing.done()
        other.commit() if value else other.rollback()
        assert await writing == made
    assert await store.scan("act") == [("a", b"1")]
    assert await store.get("approval", "a") == (b"new" if made == 2 else value)


async def test_lock_that_outlives_the_loop_of_its_store_ends_quietly(empty: str) -> None:
    assert await asyncio.to_thread(another, empty, ENDS_FIRST) == "ended"


async def test_lock_ends_with_its_process(empty: str, store: Store) -> None:
    assert (
        await asyncio.to_thread(another, empty, "held = store.lock('one', 1); await held.__aenter__(); os._exit(0)")
        == ""
    )
    async with store.lock("one", 1):
        await asyncio.sleep(0)


async def test_process_that_exits_without_close_ends_quietly(empty: str) -> None:
    assert await asyncio.to_thread(another, empty, "await store.insert('test', 'a', b'1'); print('done')") == "done"


async def test_forked_parent_and_child_continue_with_their_own_sessions(empty: str) -> None:
    assert await asyncio.to_thread(another, empty, FORKS) == "child: b'1', its lock taken\nparent: b'2', lock held"


HOLDS = """
    print((await store.get('test', 'a')).decode(), end=', and the lock is ')
    try:
        async with store.lock('one', 0.1):
            print('free')
    except TimeoutError:
        print("another's")
"""
ENDS_FIRST = """
    from deputize.core.background_loop import portal
    async with store.lock('one', 1):
        portal().close()
    print('ended')
"""
FORKS = """
    await store.insert('test', 'a', b'1')
    async with store.lock('one', 1) as held:
        if not (pid := os.fork()):
            async def child():
                value = await store.get('test', 'a')
                try:
                    async with open_store(URL, create=False).lock('one', 0.1):
                        print('two holders', flush=True)
                except TimeoutError:
                    print(f'child: {value}, its lock taken', flush=True)
                await store.swap('test', 'a', b'1', b'2')
            thread = threading.Thread(target=lambda: asyncio.run(child()))
            thread.start()
            thread.join()
            os._exit(0)
        os.waitpid(pid, 0)
        await held.confirm()
        print(f"parent: {await store.get('test', 'a')}, lock held")
"""


def another(url: str, body: str) -> str:
    """Return the output of another program that does this with the store."""
    program = f"""
import asyncio, os, threading
from deputize.core.vault.stores import open_store
URL = {url!r}
async def main():
    store = open_store(URL, create=False)
    {body.strip()}
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()
