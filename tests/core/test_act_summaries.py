"""Summaries of acts outlive restarts, key rotations and restores, on each store, and are erased with their user."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from deputize.core import Call, Deputy
from deputize.core.audit import Audit
from deputize.core.audit.trail import Trail
from deputize.core.vault.backup import back_up, restore
from deputize.core.vault.rotation import reseal
from deputize.core.vault.stores import open_store
from deputize.core.vault.stores.postgres.address import Address
from deputize.core.vault.stores.postgres.audit import PostgresAudit
from deputize.core.vault.stores.protocol import Store
from deputize.core.vault.stores.sqlite.store import SqliteStore
from deputize.core.vault.vault import Vault
from deputize.core.web.pages.activity import history_of
from deputize.sandbox import Sandbox
from tests.core.web.test_activity_summary import ALICE, KIT, allow
from tests.support.postgres import USER, prepared_server
from tests.support.sandbox_deputy import build, connect

OLD, NEW = b"o" * 32, b"n" * 32


@asynccontextmanager
async def deputy_at(store: Store, trail: Trail, sandbox: Sandbox, *keys: bytes) -> AsyncIterator[Deputy]:
    """Open a deputy as after a restart, under these root keys."""
    vault = await Vault.open(store, keys)
    audit = Audit(trail, vault.keys.audit)
    async with await build(sandbox, vault=vault, audit=audit, policy=allow, toolkits=[KIT]) as deputy:
        yield deputy


async def post_note(deputy: Deputy, sandbox: Sandbox) -> None:
    await connect(deputy, sandbox, "send")
    given = {"to": "bob@example.test", "subject": "Invoice 4711"}
    await deputy.act("board_post", given, user="alice", call=Call("t", "m", "1"))


async def phrases(deputy: Deputy) -> list[tuple[str, ...]]:
    return [entry.parts for entry in (await history_of(deputy, ALICE)).entries]


NOTE = [("bob@example.test", "“Invoice 4711”", "#general")]


async def test_summary_is_readable_after_a_restart_with_a_new_root_key_and_after_a_restore(tmp_path: Path) -> None:
    sandbox, path, trail = Sandbox(), tmp_path / "vault" / "v.sqlite", tmp_path / "audit"
    async with deputy_at(SqliteStore.open(path, create=True), trail, sandbox, OLD) as deputy:
        await post_note(deputy, sandbox)
        await back_up(deputy.vault, tmp_path / "backup", time.time())
    async with deputy_at(SqliteStore.open(path, create=False), trail, sandbox, NEW, OLD) as deputy:
        await reseal(deputy.vault)
    async with deputy_at(SqliteStore.open(path, create=False), trail, sandbox, NEW) as deputy:
        assert await phrases(deputy) == NOTE
    written = b"".join(file.read_bytes() for file in trail.glob("*.jsonl"))
    assert b"sealed" in written and b"Invoice" not in written
    async with deputy_at(SqliteStore.open(path, create=False), trail, sandbox, NEW, OLD) as deputy:
        await restore(deputy.vault, tmp_path / "backup", deputy.audit, trail, deputy.revocation_queue.enqueue_in)
        assert await phrases(deputy) == NOTE
        await deputy.erase("alice")
    async with deputy_at(SqliteStore.open(path, create=False), trail, sandbox, NEW, OLD) as deputy:
        assert await phrases(deputy) == []


async def test_summary_is_read_from_the_audit_table_of_postgres_and_erased_with_its_user() -> None:
    sandbox, url = Sandbox(), ""
    with prepared_server() as server:
        url = server.url.replace(f"{USER}@", "app@")
        trail = PostgresAudit(Address.of(url))
        async with deputy_at(open_store(url, create=True), trail, sandbox, OLD) as deputy:
            await post_note(deputy, sandbox)
        async with deputy_at(open_store(url, create=False), trail, sandbox, OLD) as deputy:
            assert await phrases(deputy) == NOTE
            [row] = [row for row in deputy.audit.rows() if row["event"] == "act.result"]
            assert row["sealed"] and "Invoice" not in json.dumps(deputy.audit.rows())
            await deputy.erase("alice")
            assert await phrases(deputy) == []
