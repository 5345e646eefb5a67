"""A deputy on Postgres whose server is full, read-only, overloaded, cut off or restarted under load, with the sandbox:
clear errors, nothing done twice, and no restart of the program needed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import psycopg
import pytest

from deputize.core import Call, DeputizeError, Deputy, StoreUnavailable, allow_all
from deputize.core.vault.stores import open_store
from deputize.core.vault.stores.postgres.address import Address
from deputize.core.vault.stores.postgres.schema import migrate
from deputize.core.vault.stores.postgres.statements import GET, Statements
from deputize.core.vault.vault import Vault
from deputize.sandbox import Sandbox
from tests.faults.conftest import Row
from tests.support.gmail_toolkit import ALL, MAIL, gmail
from tests.support.postgres import Server, postgres_server
from tests.support.sandbox_deputy import build, connect

pytestmark = pytest.mark.counterpart

FULL = """
CREATE OR REPLACE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'no space left' USING ERRCODE = '53100'; END $$;
CREATE TRIGGER no_room BEFORE INSERT OR UPDATE ON deputize_record FOR EACH STATEMENT EXECUTE FUNCTION no_room();
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres_server() as server:
        migrate(Address.of(server.url))
        yield server


def admin(server: Server, *statements: str) -> None:
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


@asynccontextmanager
async def acting(server: Server) -> AsyncIterator[tuple[Deputy, Sandbox]]:
    admin(server, "TRUNCATE deputize_record")
    sandbox, store = Sandbox(), open_store(server.url, create=True)
    vault = await Vault.open(store, [b"k" * 32])
    deputy = await build(sandbox, vault=vault, toolkits=[gmail], policy=allow_all)
    await connect(deputy, sandbox, *ALL)
    yield deputy, sandbox
    await deputy.close()


async def send(deputy: Deputy, call: str) -> Any:
    return await deputy.act("gmail_send", {**MAIL, "subject": call}, user="alice", call=Call("t", "m", call))


def mails(sandbox: Sandbox) -> list[str]:
    return [mail.subject for mail in sandbox.sent("alice@example.test")]


@contextmanager
def full(server: Server) -> Iterator[None]:
    """Answer every write as a full disk does."""
    admin(server, FULL)
    try:
        yield
    finally:
        admin(server, "DROP TRIGGER no_room ON deputize_record")


@contextmanager
def read_only(server: Server) -> Iterator[None]:
    """Answer as a server that became a standby."""
    admin(server, "ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
    try:
        yield
    finally:
        admin(
            server,
            "SET default_transaction_read_only = off",
            "ALTER SYSTEM RESET default_transaction_read_only",
            "SELECT pg_reload_conf()",
        )


@pytest.mark.parametrize(
    ("fault", "says", "hints"),
    [
        (full, "disk of the vault's database is full", "Make room"),
        (read_only, "is read-only now", "standby"),
    ],
    ids=["full", "read-only"],
)
async def test_server_that_cannot_write_is_reported_and_used_when_it_recovers(
    server: Server, row: Row, fault: Any, says: str, hints: str
) -> None:
    async with acting(server) as (deputy, sandbox):
        with fault(server):
            with pytest.raises(StoreUnavailable, match=says) as caught:
                await send(deputy, "a")
            assert hints in caught.value.hint and "may have" not in caught.value.hint
            assert mails(sandbox) == []
        first = await send(deputy, "a")
        assert await send(deputy, "a") == first and mails(sandbox) == ["a"]
        row(f"Postgres: {fault.__name__}", str(caught.value), "none", "at the next act")


async def _nothing(*_: object) -> None:
    """No failover is looked for."""


async def test_server_without_free_connections_is_reported_and_used_when_it_recovers(server: Server, row: Row) -> None:
    others, statements = list[psycopg.Connection[Any]](), Statements(Address.of(server.url), 2, _nothing, _nothing)
    with pytest.raises(psycopg.OperationalError):
        while True:
            others.append(psycopg.connect(server.dsn, autocommit=True))
    with pytest.raises(StoreUnavailable, match="no connection left") as caught:
        await statements.rows(GET, "meta/vault")
    assert "max_connections" in caught.value.hint and "may have" not in caught.value.hint
    for other in others:
        other.close()
    assert isinstance(await statements.rows(GET, "meta/vault"), list)
    await statements.connections.drop_idle()
    row("Postgres: no connection left", str(caught.value), "none", "at the next act")


async def test_server_restart_under_load_loses_and_repeats_no_act(server: Server, row: Row) -> None:
    async with acting(server) as (deputy, sandbox):
        ended: dict[str, Any] = {}

        async def persistent(call: str) -> None:
            for _ in range(30):
                try:
                    ended[call] = await send(deputy, call)
                    return
                except DeputizeError as error:
                    ended[call] = error.code
                    if error.code != "store_unavailable":
                        return
                    await asyncio.sleep(0.3)

        acts = asyncio.gather(*(persistent(f"{n}") for n in range(40)))
        await asyncio.sleep(0.2)
        await asyncio.to_thread(server.stop)
        await asyncio.sleep(0.5)
        await asyncio.to_thread(server.start)
        await acts
        assert len(mails(sandbox)) == len(set(mails(sandbox)))
        for call, end in ended.items():
            assert (end == "outcome_unknown") or (isinstance(end, dict) and call in mails(sandbox)), (call, end)
        row("Postgres restarted under load", "the result, or a refusal and then it", "once each", "at the next act")
