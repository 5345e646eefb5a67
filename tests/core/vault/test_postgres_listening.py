"""With a Postgres vault a wait for a consent is notified, and also ends without notifications."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from inspect import getattr_static
from pathlib import Path

import psycopg
import pytest

from deputize.core import Call, ConsentRequired, Deputy, User
from deputize.core.vault.stores import FailsOver, Watch, Watches, open_store
from deputize.core.vault.stores.postgres import notify as listening
from deputize.core.vault.stores.postgres.address import Address, Connection
from deputize.core.vault.stores.postgres.connections import Lost
from deputize.core.vault.stores.postgres.schema import migrate
from deputize.core.vault.vault import Vault
from deputize.core.web.ops.metrics import MeasuredStore
from deputize.sandbox import Sandbox
from tests.support.gmail_toolkit import READ, gmail
from tests.support.lossy_socket import lossy
from tests.support.postgres import USER, Server, postgres_server
from tests.support.sandbox_deputy import build, consent

pytestmark = pytest.mark.counterpart

SOCKET = ".s.PGSQL.5432"
LISTENING = "FROM pg_stat_activity WHERE query = 'LISTEN deputize'"
"""The sessions that listen."""


@pytest.fixture(scope="module")
def made() -> Iterator[Server]:
    with postgres_server() as server:
        migrate(Address.of(server.url))
        yield server


@pytest.fixture
async def two(made: Server) -> AsyncIterator[tuple[Sandbox, Deputy, Deputy]]:
    with psycopg.connect(made.dsn, autocommit=True) as admin:
        admin.execute("TRUNCATE deputize_record")
    sandbox, deputies = Sandbox(), list[Deputy]()
    for _ in range(2):
        vault = await Vault.open(await asyncio.to_thread(open_store, made.url, create=True), [b"k" * 32])
        deputies.append(await build(sandbox, vault=vault, toolkits=[gmail], transport=sandbox.transport()))
    yield sandbox, deputies[0], deputies[1]
    for deputy in deputies:
        await deputy.close()


async def hearing(watch: Watch) -> None:
    """Wait until notifications are active, and the initial ones were received."""
    assert isinstance(watch, listening.PlaceWatch)
    while not (watch.listener and watch.listener.hears):  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    await watch.changed(1.0)


async def until_granted(two: tuple[Sandbox, Deputy, Deputy], timeout: float) -> float:
    """Return the seconds from a consent in one program to the end of the wait for it in the other."""
    sandbox, one, other = two
    [asked] = await one.connect("alice", "google", scopes=[READ])
    waiting = asyncio.create_task(other.wait_for_consents([asked.id], timeout=timeout))
    await asyncio.sleep(1.5)
    assert not waiting.done()
    await consent(one, sandbox, asked)
    since = time.monotonic()
    assert [ended.status for ended in await waiting] == ["granted"]
    return time.monotonic() - since


async def test_wait_ends_with_the_consent(two: tuple[Sandbox, Deputy, Deputy], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "CONNECTED_POLL_SECONDS", 60.0)
    monkeypatch.setattr(listening, "DISCONNECTED_POLL_SECONDS", 60.0)
    assert await until_granted(two, 50) < 10


async def test_waiter_without_notifications_polls_often(
    two: tuple[Sandbox, Deputy, Deputy], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def deaf(self: listening.Listener, connection: Connection) -> None:
        raise Lost(sent=True)

    monkeypatch.setattr(listening.Listener, "_hear", deaf)
    monkeypatch.setattr(listening, "CONNECTED_POLL_SECONDS", 60.0)
    monkeypatch.setattr(listening, "DISCONNECTED_POLL_SECONDS", 0.5)
    assert await until_granted(two, 50) < 10


async def test_notifications_resume_after_the_session_was_cut(
    made: Server, two: tuple[Sandbox, Deputy, Deputy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "CONNECTED_POLL_SECONDS", 60.0)
    monkeypatch.setattr(listening, "DISCONNECTED_POLL_SECONDS", 0.2)
    sandbox, one, other = two
    [asked] = await one.connect("alice", "google", scopes=[READ])
    waiting = asyncio.create_task(other.wait_for_consents([asked.id], timeout=50))
    with psycopg.connect(made.dsn, autocommit=True) as admin:
        while not admin.execute(f"SELECT pg_terminate_backend(pid) {LISTENING}").fetchall():  # noqa: ASYNC110
            await asyncio.sleep(0.2)
    await asyncio.sleep(1.0)
    monkeypatch.setattr(listening, "DISCONNECTED_POLL_SECONDS", 60.0)
    await consent(one, sandbox, asked)
    assert [ended.status for ended in await asyncio.wait_for(waiting, 10)] == ["granted"]


async def test_only_watched_kinds_are_notified_with_the_key_only(made: Server) -> None:
    store = await asyncio.to_thread(open_store, made.url, create=True)
    with psycopg.connect(made.dsn, autocommit=True) as hearing:
        hearing.execute("LISTEN deputize")
        for kind in ("act", "approval", "consent", "mandate", "meta"):
            assert await store.insert(kind, "a", b"1") and not await store.insert(kind, "a", b"2")
            assert await store.swap(kind, "a", b"1", b"2") and not await store.swap(kind, "a", b"1", b"3")
            assert await store.delete(kind, "a", b"2") and not await store.delete(kind, "a", b"2")
        told = [notice.payload for notice in hearing.notifies(timeout=1.0)]
    assert told == ["approval/a"] * 3 + ["consent/a"] * 3
    await store.close()


async def test_watched_write_with_a_lost_answer_is_reported_as_done(made: Server, tmp_path: Path) -> None:
    with lossy(Path(made.url.partition("host=")[2]) / SOCKET, tmp_path / SOCKET) as way:
        store = await asyncio.to_thread(open_store, f"postgresql://{USER}@/postgres?host={tmp_path}", create=True)
        await store.get("consent", "b")
        way.lose = 1
        assert await store.insert("consent", "b", b"1") is True
        way.lose = 1
        assert await store.swap("consent", "b", b"1", b"2") is True
        assert way.lost == 2 and await store.delete("consent", "b", b"2")
        await store.close()


async def test_watcher_is_notified_of_its_own_keys_only(made: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "CONNECTED_POLL_SECONDS", 60.0)
    store = await asyncio.to_thread(open_store, made.url, create=True)
    assert isinstance(store, Watches)
    async with store.watch(("consent", "mine.")) as watch:
        await hearing(watch)
        begun = time.monotonic()
        await store.insert("consent", "other.a", b"1")
        await watch.changed(0.7)
        assert time.monotonic() - begun >= 0.7
        await store.insert("consent", "mine.a", b"1")
        await watch.changed(30.0)
        assert time.monotonic() - begun < 20
    await store.delete("consent", "other.a", b"1")
    await store.delete("consent", "mine.a", b"1")
    await store.close()


async def test_constantly_notified_waiter_polls_at_most_ten_times_a_second() -> None:
    watch, begun, looks = listening.PlaceWatch((("consent", "mine."),)), time.monotonic(), 0

    async def waking() -> None:
        while True:
            watch.wake("consent/mine.a")
            await asyncio.sleep(0)

    storm = asyncio.create_task(waking())
    while time.monotonic() < begun + 0.55:
        await watch.changed(5.0)
        looks += 1
    storm.cancel()
    assert 2 <= looks <= 7


async def test_notification_flood_blocks_nothing(made: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another application of the database may notify on any channel, with any payload."""
    monkeypatch.setattr(listening, "CONNECTED_POLL_SECONDS", 60.0)
    store = await asyncio.to_thread(open_store, made.url, create=True)
    assert isinstance(store, Watches)
    ended, sent = asyncio.Event(), 0

    def storm(words: str) -> int:
        with psycopg.connect(made.dsn, autocommit=True) as other:
            statement = "SELECT count(pg_notify('deputize', %s || n)) FROM generate_series(1, 5000) n"
            return int((other.execute(statement, (words,)).fetchone() or [0])[0])

    async def storms() -> None:
        nonlocal sent
        for words in ("", "consent/mine.", "/", "grant/" + "x" * 7000, "consent", "\u202e\x01{}'", "consent/mine."):
            sent += await asyncio.to_thread(storm, words)
        ended.set()

    async with store.watch(("consent", "mine.")) as watch:
        await hearing(watch)
        longest = 0.0
        storming = asyncio.create_task(storms())
        while not ended.is_set():
            await watch.changed(0.5)
            asked = time.monotonic()
            await store.get("consent", "mine.a")
            longest = max(longest, time.monotonic() - asked)
        await storming
        assert sent == 35_000 and longest < 2.0
        for _ in range(3):
            await watch.changed(0.5)
        begun = time.monotonic()
        await store.insert("consent", "mine.a", b"1")
        await watch.changed(30.0)
        assert time.monotonic() - begun < 20
    await store.delete("consent", "mine.a", b"1")
    await store.close()


async def test_notifications_of_other_channels_wake_no_waiter(made: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "CONNECTED_POLL_SECONDS", 60.0)
    store = await asyncio.to_thread(open_store, made.url, create=True)
    assert isinstance(store, Watches)
    async with store.watch(("consent", "mine.")) as watch:
        await hearing(watch)
        with psycopg.connect(made.dsn, autocommit=True) as other:
            for words in ("", "/", "mine.", "act/mine.a", "consent/other.a"):
                other.execute("SELECT pg_notify('deputize', %s)", (words,))
        begun = time.monotonic()
        await watch.changed(0.7)
        assert time.monotonic() - begun >= 0.7
    await store.close()


async def test_measured_store_notifies_like_the_store_it_wraps(made: Server) -> None:
    """From Python 3.12 on ``isinstance`` of a protocol ignores attributes provided by ``__getattr__`` only."""
    store = await asyncio.to_thread(open_store, made.url, create=True)
    measured = MeasuredStore(store, lambda seconds, operation: None)
    for protocol in (Watches, FailsOver):
        assert isinstance(store, protocol) and isinstance(measured, protocol)
    for name in ("watch", "timeline", "on_failover"):
        assert getattr_static(measured, name) == getattr(store, name)
    await store.close()


async def test_ended_questions_come_from_another_process_and_after_its_end(
    two: tuple[Sandbox, Deputy, Deputy],
) -> None:
    sandbox, asking, listening = two
    call = Call("chat", "message", "1")
    with pytest.raises(ConsentRequired) as asked:
        await asking.act("gmail_search", {}, user="alice", call=call)
    first, second = listening.ended_questions(), asking.ended_questions()
    waiting = asyncio.create_task(anext(first))
    await asyncio.sleep(1.0)
    assert not waiting.done()
    await consent(asking, sandbox, asked.value.consent)
    async with asyncio.timeout(10):
        told = await waiting
    assert (told.thread, told.user, told.change, told.question.status) == ("chat", User("alice"), "decided", "granted")
    next_one = asyncio.create_task(anext(second))  # waits until the other listener ends
    await asyncio.sleep(1.0)
    assert not next_one.done()
    await listening.close()
    await first.aclose()
    async with asyncio.timeout(30):
        assert (await next_one).thread == "chat"
    await second.aclose()
