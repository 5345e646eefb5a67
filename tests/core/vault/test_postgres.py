"""Postgres as a store fulfils the contract, on a real server."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest

from deputize.core.vault.stores import Batches, Store, open_store
from deputize.core.vault.stores.postgres.address import Address
from deputize.core.vault.stores.postgres.schema import migrate
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


async def test_a_lock_reads_what_its_holder_in_another_process_wrote_last(empty: str, store: Store) -> None:
    other = open_store(empty, create=True)
    assert isinstance(store, Batches) and isinstance(other, Batches)

    async def count(one: Batches) -> None:
        for _ in range(60):
            async with one.lock_and_read("one", 20, ("get", "test", "counter")) as (_, [old]):
                assert await one.write(("test", "counter", old, b"%d" % (int(old or 0) + 1))) == 1

    await asyncio.gather(count(store), count(other))
    assert await store.get("test", "counter") == b"120"
    await other.close()


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
