"""An approval at one server ends the wait at another, at once if the vault is in Postgres, with few queries."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import psycopg
import pytest

from deputize.adapters.mcp import DeputyServer
from deputize.core import Approval, ApprovalRequired, Call, Deputy
from deputize.core.vault.stores.postgres import notify as listening
from deputize.core.vault.stores.postgres.address import Connection
from deputize.core.vault.stores.postgres.connections import Lost
from deputize.core.vault.stores.postgres.statements import Statements
from deputize.sandbox import Sandbox
from tests.core.vault.test_postgres_listening import LISTENING, made, two
from tests.support.gmail_toolkit import MAIL
from tests.support.mcp_clients import by_bearer, client, served
from tests.support.postgres import Server
from tests.support.sandbox_deputy import connect

__all__ = ["made", "two"]

pytestmark = pytest.mark.counterpart

Two = tuple[Sandbox, Deputy, Deputy]


@pytest.fixture(autouse=True)
def ears(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lengthen the polling intervals, so that only a notification ends a wait in time."""
    monkeypatch.setattr(listening, "CONNECTED_POLL_SECONDS", 60.0)
    monkeypatch.setattr(listening, "DISCONNECTED_POLL_SECONDS", 60.0)


async def asked(two: Two) -> Approval:
    """Return what the second program asks Alice."""
    await connect(two[2], two[0], "readonly", "send")
    with pytest.raises(ApprovalRequired) as caught:
        await two[2].act("gmail_send", MAIL, user="alice", call=Call("t", "m", "c"))
    return caught.value.approval


async def answered(two: Two, approval: Approval, waiting: asyncio.Task[Approval | None]) -> None:
    """Alice approves at the first program, and the wait at the second ends."""
    await two[1].decide(approval.id, "approve", by="alice")
    since = time.monotonic()
    now = await asyncio.wait_for(waiting, 20)
    assert now and now.status == "approved" and time.monotonic() - since < 10


async def test_approval_wait_ends_when_another_process_records_the_decision(two: Two) -> None:
    approval = await asked(two)
    waiting = asyncio.create_task(two[2].get_approval(approval, by="alice", timeout=50))
    await asyncio.sleep(1.0)
    assert not waiting.done()
    await answered(two, approval, waiting)
    assert await two[2].get_approval(approval, by="bob", timeout=50) is None


async def test_approval_wait_ends_without_store_notifications(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    async def deaf(self: listening.Listener, connection: Connection) -> None:
        raise Lost(sent=True)

    monkeypatch.setattr(listening.Listener, "_hear", deaf)
    monkeypatch.setattr(listening, "DISCONNECTED_POLL_SECONDS", 0.5)
    approval = await asked(two)
    waiting = asyncio.create_task(two[2].get_approval(approval, by="alice", timeout=50))
    await asyncio.sleep(1.0)
    await answered(two, approval, waiting)


async def test_decision_during_a_cut_session_is_seen(made: Server, two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "DISCONNECTED_POLL_SECONDS", 1.0)
    approval = await asked(two)
    waiting = asyncio.create_task(two[2].get_approval(approval, by="alice", timeout=50))
    with psycopg.connect(made.dsn, autocommit=True) as admin:
        while not admin.execute(f"SELECT pg_terminate_backend(pid) {LISTENING}").fetchall():  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    await answered(two, approval, waiting)


async def test_undecided_approval_wait_returns_pending_at_its_timeout(two: Two) -> None:
    approval = await asked(two)
    began = time.monotonic()
    now = await two[2].get_approval(approval, by="alice", timeout=0.7)
    assert now and now.status == "pending" and 0.7 <= time.monotonic() - began < 5


@asynccontextmanager
async def counted(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[str]]:
    """Count which records the vaults of this process read meanwhile."""
    asked, before = list[str](), Statements._decided

    async def counting(self: Statements, sql: str, values: Sequence[object]) -> object:
        asked.extend(str(one) for one in values)
        return await before(self, sql, values)

    with monkeypatch.context() as patch:
        patch.setattr(Statements, "_decided", counting)
        yield asked


@pytest.mark.parametrize("listens", [True, False])
async def test_waiting_mcp_call_receives_an_approval_from_elsewhere(
    two: Two, monkeypatch: pytest.MonkeyPatch, listens: bool
) -> None:
    """The approval arrives during the long poll, which does not read the vault while it listens."""
    if not listens:
        monkeypatch.setattr("deputize.core.vault.notify.Watches", int)
        monkeypatch.setattr("deputize.core.vault.notify.REMOTE_POLL_INTERVAL_SECONDS", 0.2)
    sandbox, one, other = two
    await connect(other, sandbox, "readonly", "send")
    server = DeputyServer(other, tools=["gmail"])
    async with served(server.app(by_bearer)) as base, client(f"{base}/mcp") as alice:
        assert (await alice.call_tool("gmail_send", MAIL)).is_error
        [approval] = await one.pending("alice")
        again = asyncio.create_task(alice.call_tool("gmail_send", MAIL))
        await asyncio.sleep(2.0)
        async with counted(monkeypatch) as looks:
            await asyncio.sleep(3.0)
        assert not again.done() and (looks == [] if listens else len(looks) > 5)
        await one.decide(approval.id, "approve", by="alice")
        since = time.monotonic()
        said = await asyncio.wait_for(again, 15)
        assert time.monotonic() - since < 10
        assert not said.is_error and len(sandbox.sent("alice@example.test")) == 1


async def test_stopping_mcp_server_releases_waiting_calls(two: Two) -> None:
    sandbox, one, other = two
    await connect(other, sandbox, "readonly", "send")
    server = DeputyServer(other, tools=["gmail"])
    async with served(server.app(by_bearer)) as base, client(f"{base}/mcp") as alice:
        await alice.call_tool("gmail_send", MAIL)
        again = asyncio.create_task(alice.call_tool("gmail_send", MAIL))
        await asyncio.sleep(1.0)
        assert not again.done()
        server.performing.wait_no_longer()
        assert (await asyncio.wait_for(again, 10)).is_error
        assert len(await one.pending("alice")) == 1
