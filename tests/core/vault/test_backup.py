"""A backup made during use is complete and encrypted; after a restore, nothing that has changed since is trusted."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import stat
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deputize.core import (
    ApprovalRequired,
    Call,
    ConsentRequired,
    Deputy,
    ReconsentRequired,
    SettingsError,
    StoreUnavailable,
    User,
    VaultError,
    ask_before_sending,
)
from deputize.core.audit import Audit, verify
from deputize.core.vault.backup import back_up, restore
from deputize.core.vault.restore import Restored, take_into_use
from deputize.core.vault.rollback import find_rolled_back, find_unaudited
from deputize.core.vault.rotation import reseal
from deputize.core.vault.seal import Sealer
from deputize.core.vault.stores.sqlite import backup as sqlite_backup
from deputize.core.vault.stores.sqlite.file import copy
from deputize.core.vault.vault import Vault
from deputize.sandbox import Sandbox
from tests.core.vault.vault_processes import heard, start
from tests.support.faults import TOKEN
from tests.support.gmail_toolkit import ALL, MAIL, gmail
from tests.support.key_source import KeysInMemory
from tests.support.sandbox_deputy import build, connect, consent, new_vault

ALICE, KEY = User("alice"), b"k" * 32


class Home:
    """A deputy in a folder, as `Deputy.from_settings` makes one, that can be stopped and restarted."""

    def __init__(self, folder: Path) -> None:
        self.sandbox = Sandbox()
        self.sandbox.switches.rotate = self.sandbox.switches.reuse_kills_family = True
        self.file, self.folder, self.backup = folder / "vault" / "vault.sqlite", folder / "audit", folder / "backup"
        self.deputy: Deputy

    async def start(self) -> Home:
        vault = await new_vault(self.file, KEY)
        audit = Audit(self.folder, vault.keys.audit)
        self.deputy = await build(self.sandbox, vault=vault, toolkits=[gmail], audit=audit, policy=ask_before_sending)
        await take_into_use(vault, audit, self.folder, self.deputy.revocation_queue.enqueue_in)
        return self

    async def restore(self, file: Path) -> Restored:
        """Do what ``deputize vault restore`` does."""
        deputy = self.deputy
        return await restore(deputy.vault, file, deputy.audit, self.folder, deputy.revocation_queue.enqueue_in)

    async def put_back(self) -> None:
        """Stop the deputy, copy the backup over the vault, and start the deputy."""
        await self.deputy.close()
        shutil.copyfile(self.backup, self.file)
        await self.start()

    async def expire(self) -> None:
        self.sandbox.expire_access_tokens()
        grant = await self.deputy.vault.find_grant(ALICE, "google", "google")
        assert grant and await self.deputy.vault.replace(grant, replace(grant, expires_at=1.0))

    async def act(self) -> object:
        return await self.deputy.act("gmail_search", {}, user="alice", call=Call("t", os.urandom(4).hex(), "c"))

    def events(self) -> list[str]:
        return [row["event"] for row in self.deputy.audit.rows()]


@pytest.fixture
async def home(tmp_path: Path) -> Home:
    made = await Home(tmp_path).start()
    await connect(made.deputy, made.sandbox, *ALL)
    return made


async def test_V10_backup_of_a_vault_in_use_is_private_complete_and_encrypted(home: Home) -> None:
    grant = await home.deputy.vault.find_grant(ALICE, "google", "google")
    await back_up(home.deputy.vault, home.backup, 1_800_000_000.0)
    assert stat.S_IMODE(home.backup.stat().st_mode) == 0o600
    assert sorted(path.name for path in home.backup.parent.iterdir()) == ["audit", "backup", "vault"]
    raw = home.backup.read_bytes()
    assert grant and grant.refresh_token and grant.refresh_token.reveal().encode() not in raw and KEY not in raw
    copied = await new_vault(home.backup, KEY)
    found = await copied.find_grant(ALICE, "google", "google")
    assert found and found.access_token == grant.access_token and copied.keys.copied_at == 1_800_000_000.0
    assert home.deputy.vault.keys.copied_at == 0.0
    await copied.close()
    with pytest.raises(VaultError):
        await new_vault(home.backup, b"x" * 32)
    await home.deputy.close()


async def test_V10_backup_never_replaces_a_file_or_leaves_a_partial_one(home: Home) -> None:
    home.backup.write_text("mine")
    with pytest.raises(SettingsError):
        await back_up(home.deputy.vault, home.backup, 1.0)
    assert home.backup.read_text() == "mine"
    with pytest.raises(SettingsError):
        await back_up(home.deputy.vault, home.backup.parent / "nowhere" / "backup", 1.0)
    memory = await new_vault()
    with pytest.raises(SettingsError):
        await back_up(memory, home.backup.parent / "b", 1.0)
    assert sorted(path.name for path in home.backup.parent.iterdir()) == ["audit", "backup", "vault"]
    await home.deputy.close()


async def test_backup_removes_files_of_an_interrupted_backup(home: Home) -> None:
    left = [home.backup.with_name(f".older.{'0' * 16}.new{ending}") for ending in ("", "-journal")]
    other = [home.backup.with_name(".older.new"), home.backup.with_name(f"older.{'0' * 16}.new")]
    for file in (*left, *other):
        file.touch(mode=0o600)
    await back_up(home.deputy.vault, home.backup, 1.0)
    assert not any(file.exists() for file in left) and all(file.exists() for file in other)
    await home.deputy.close()


_WRITING = """
async def main():
    store = SqliteStore.open(path, create=False)
    say("ready")
    n = 0
    while True:
        n += 1
        for pair in ("a", "b"):
            assert await store.insert("test", f"{n:06d}.{pair}", pair.encode() * 500)
        if n == 20:
            say("many")

asyncio.run(main())
"""


@pytest.mark.processes
async def test_V10_backup_during_writes_opens_without_gaps(home: Home) -> None:
    writer = start(_WRITING, home.file)
    try:
        assert heard(writer) == "ready" and heard(writer) == "many"
        for n in range(3):
            to = home.backup.with_name(f"backup{n}")
            await back_up(home.deputy.vault, to, 1.0)
            with closing(sqlite3.connect(to)) as db:
                assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
                keys = [key for (key,) in db.execute("SELECT key FROM vault WHERE key LIKE 'test/%' ORDER BY key")]
            assert len(keys) >= 40
            expected = [f"test/{n // 2 + 1:06d}.{'ab'[n % 2]}" for n in range(len(keys))]
            assert keys == expected
    finally:
        writer.kill()
        writer.communicate()
    await home.deputy.close()


@pytest.mark.processes
async def test_W14_used_refresh_token_in_a_backup_leads_to_one_consent_without_loop(home: Home) -> None:
    await back_up(home.deputy.vault, home.backup, 1.0)
    await home.expire()
    assert await home.act()  # the refresh token in the backup is used up
    await home.put_back()
    before = home.sandbox.count(*TOKEN)
    asked = []
    for _ in range(5):
        with pytest.raises(ConsentRequired) as caught:
            await home.act()
        asked.append(caught.value.consent)
    assert home.sandbox.count(*TOKEN) == before + 1 and len({one.id for one in asked}) == 1
    assert (await consent(home.deputy, home.sandbox, asked[-1])).status == "granted"
    assert await home.act() and await find_rolled_back(home.deputy.vault, home.folder) == []
    assert home.events().count("vault.restored") == 1
    await home.deputy.close()


# ------------------------------------------------------------- over a vault that still opens


@pytest.mark.processes
async def test_restore_keeps_newer_tokens_of_the_same_family(home: Home) -> None:
    await back_up(home.deputy.vault, home.backup, 1.0)
    await home.expire()
    assert await home.act()  # the refresh token in the backup is used up
    newest = await home.deputy.vault.find_grant(ALICE, "google", "google")
    before = home.sandbox.count(*TOKEN), home.sandbox.live_tokens()
    assert await home.restore(home.backup) == Restored(doubted=0, kept=1, unread=0)
    kept = await home.deputy.vault.find_grant(ALICE, "google", "google")
    assert newest and kept and kept.refresh_token == newest.refresh_token
    assert await home.act() and (home.sandbox.count(*TOKEN), home.sandbox.live_tokens()) == before
    await home.expire()
    assert await home.act() and home.sandbox.count(*TOKEN) == before[0] + 1  # the family is alive
    assert await find_rolled_back(home.deputy.vault, home.folder) == []
    await home.deputy.close()


async def test_restore_does_not_keep_an_older_token_of_the_same_family(home: Home) -> None:
    with closing(sqlite3.connect(home.file)) as db:
        [older] = db.execute("SELECT key, value FROM vault WHERE key LIKE 'grant/%'")
    await home.expire()
    assert await home.act()
    await back_up(home.deputy.vault, home.backup, 1.0)
    newest = await home.deputy.vault.find_grant(ALICE, "google", "google")
    with closing(sqlite3.connect(home.file, isolation_level=None)) as db:  # somebody rolls the vault back
        db.execute("UPDATE vault SET value = ? WHERE key = ?", older[::-1])
    assert await home.restore(home.backup) == Restored(doubted=1, kept=0, unread=0)
    kept = await home.deputy.vault.find_grant(ALICE, "google", "google")
    assert newest and kept and kept.refresh_token == newest.refresh_token
    await home.deputy.close()


@pytest.mark.processes
@pytest.mark.parametrize("when", ["before", "while the backup replaces the vault"])
async def test_restore_keeps_outcomes_and_queued_revocations(
    home: Home, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    call, mail = Call("t", "m", "c"), {**MAIL, "subject": "Once"}
    await back_up(home.deputy.vault, home.backup, 1.0)

    async def send() -> None:
        with pytest.raises(ApprovalRequired) as asked:
            await home.deputy.act("gmail_send", mail, user="alice", call=call)
        await home.deputy.decide(asked.value.approval, "approve", by="alice")
        await home.deputy.act("gmail_send", mail, user="alice", call=call)
        home.sandbox.switches.down = True
        assert [one.upstream for one in await home.deputy.revoke("alice", "google")] == ["queued"]
        home.sandbox.switches.down = False

    over, loop = sqlite_backup._overwrite, asyncio.get_running_loop()

    def late(*asked: Any) -> None:
        if when != "before":
            asyncio.run_coroutine_threadsafe(send(), loop).result(20)
        over(*asked)

    monkeypatch.setattr(sqlite_backup, "_overwrite", late)
    if when == "before":
        await send()
    await home.restore(home.backup)
    assert await home.deputy.connections("alice") == []
    assert set(await home.deputy.revoker.retry()) == {"done"}
    assert home.sandbox.live_tokens()["alice@example.test"] == 0
    await connect(home.deputy, home.sandbox, *ALL)
    await home.deputy.act("gmail_send", mail, user="alice", call=call)  # as recorded
    assert len(home.sandbox.sent("alice@example.test")) == 1
    await home.deputy.close()


async def test_restore_keeps_a_grant_consented_during_the_replacement(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    await back_up(home.deputy.vault, home.backup, 1.0)
    over, loop = sqlite_backup._overwrite, asyncio.get_running_loop()

    async def connect_bob() -> None:
        for one in await home.deputy.connect("bob", "google", scopes=["gmail.readonly"]):
            await consent(home.deputy, home.sandbox, one, as_="bob@example.test")

    def late(*asked: Any) -> None:
        asyncio.run_coroutine_threadsafe(connect_bob(), loop).result(20)
        over(*asked)

    monkeypatch.setattr(sqlite_backup, "_overwrite", late)
    await home.restore(home.backup)
    assert [one.account for one in await home.deputy.connections("bob")] == ["bob@example.test"]
    assert home.sandbox.live_tokens()["bob@example.test"] > 0
    await home.deputy.close()


async def test_consent_in_progress_survives_a_restore(home: Home) -> None:
    await back_up(home.deputy.vault, home.backup, 1.0)
    [asked] = await home.deputy.connect("bob", "google", scopes=["gmail.readonly"])
    await home.restore(home.backup)
    ended = await consent(home.deputy, home.sandbox, asked, as_="bob@example.test")
    assert ended.status == "granted" and home.sandbox.live_tokens()["bob@example.test"] > 0
    await home.deputy.close()


async def test_restore_replaces_a_damaged_vault(home: Home) -> None:
    await back_up(home.deputy.vault, home.backup, 1.0)
    vault = home.deputy.vault
    [(key, sealed)] = await vault.store.scan("grant")
    assert await vault.store.swap("grant", key, sealed, sealed[:-1] + bytes([sealed[-1] ^ 1]))
    assert await home.restore(home.backup) == Restored(doubted=1, kept=0, unread=1)
    assert await home.act()
    with closing(sqlite3.connect(home.file, isolation_level=None)) as db:
        db.execute("UPDATE vault SET key = CAST('grant/x' || x'ff' AS TEXT) WHERE key LIKE 'grant/%'")
    assert await home.restore(home.backup) == Restored(doubted=1, kept=0, unread=0)
    assert [one.user for one in await home.deputy.vault.list_grants(ALICE)] == [ALICE]
    await home.deputy.close()


# ------------------------------------------------------------- in the vault's place


async def test_W14_restored_grant_is_confirmed_before_it_is_used(home: Home) -> None:
    await back_up(home.deputy.vault, home.backup, 1.0)
    await home.put_back()
    before = home.sandbox.count(*TOKEN)
    assert await home.act() and await home.act()
    assert home.sandbox.count(*TOKEN) == before + 1
    await home.put_back()  # the same backup, once more: its refresh token is used up now
    with pytest.raises(ReconsentRequired):
        await home.act()
    await home.deputy.close()


async def test_W14_grant_revoked_after_the_backup_stays_revoked(home: Home) -> None:
    await back_up(home.deputy.vault, home.backup, 1.0)
    await home.deputy.revoke("alice", "google")
    await home.put_back()
    before = home.sandbox.count(*TOKEN)
    with pytest.raises(ConsentRequired):
        await home.act()
    assert await home.deputy.connections("alice") == [] and home.sandbox.count(*TOKEN) == before
    [stone] = await home.deputy.vault.list_grants(ALICE)
    assert (stone.status, bool(stone.access_token)) == ("revoked", False)
    await home.deputy.close()


@pytest.mark.processes
@pytest.mark.parametrize("way", ["restore", "put back", "put back, without the audit's word"])
async def test_W14_bulk_revocation_after_the_backup_stays_in_effect(home: Home, way: str) -> None:
    await back_up(home.deputy.vault, home.backup, 1.0)
    assert home.deputy.vault.ended.ends.epoch == 0
    await home.deputy.revoker.many.begin(None, leaked=False)  # and dies
    if way == "restore":
        await home.restore(home.backup)
    elif way == "put back":
        await home.put_back()
    else:
        await home.deputy.revoker.many.follow()  # each grant's end has a row of its own
        await home.put_back()
    with pytest.raises(ConsentRequired):
        await home.act()
    await connect(home.deputy, home.sandbox, *ALL)
    await home.deputy.revoker.many.follow()
    await home.act()
    await home.deputy.close()


@pytest.mark.processes
async def test_W14_queued_revocation_missing_from_the_backup_is_still_sent(home: Home) -> None:
    for way in ("copied back", "restored"):
        to = home.backup = home.backup.with_name(f"backup {way}")
        await back_up(home.deputy.vault, to, 1.0)
        home.sandbox.switches.down = True
        assert [one.upstream for one in await home.deputy.revoke("alice", "google")] == ["queued"]
        home.sandbox.switches.down = False
        assert home.sandbox.live_tokens()["alice@example.test"] > 0
        await (home.put_back() if way == "copied back" else home.restore(to))
        assert set(await home.deputy.revoker.retry()) == {"done"}
        assert home.sandbox.live_tokens()["alice@example.test"] == 0
        await connect(home.deputy, home.sandbox, *ALL)
    await home.deputy.close()


async def test_W14_grant_revoked_and_renewed_after_the_backup_is_only_in_doubt(home: Home) -> None:
    await back_up(home.deputy.vault, home.backup, 1.0)
    await home.deputy.revoke("alice", "google")
    await connect(home.deputy, home.sandbox, *ALL)
    await home.put_back()
    with pytest.raises(ReconsentRequired):
        await home.act()
    await home.deputy.close()


async def test_W14_approval_used_after_the_backup_is_not_valid_again(home: Home) -> None:
    call = Call("t", "m", "c")
    with pytest.raises(ApprovalRequired) as asked:
        await home.deputy.act("gmail_send", MAIL, user="alice", call=call)
    await home.deputy.decide(asked.value.approval, "approve", by="alice")
    await back_up(home.deputy.vault, home.backup, 1.0)
    await home.deputy.act("gmail_send", MAIL, user="alice", call=call)
    await home.put_back()
    with pytest.raises((ApprovalRequired, ReconsentRequired)):
        await home.deputy.act("gmail_send", MAIL, user="alice", call=call)
    assert len(home.sandbox.sent("alice@example.test")) == 1
    await home.deputy.close()


async def test_W14_interrupted_start_after_a_restore_doubts_grants_again(home: Home) -> None:
    await back_up(home.deputy.vault, home.backup, 1.0)
    await home.deputy.close()
    shutil.copyfile(home.backup, home.file)
    vault = await new_vault(home.file, KEY)
    swap, left = vault.store.swap, 1

    async def failing(kind: str, key: str, old: bytes, new: bytes) -> bool:
        nonlocal left
        left -= 1
        if left < 0:
            raise StoreUnavailable("The vault's disk is full.")
        return await swap(kind, key, old, new)

    vault.store.swap = failing  # type: ignore[method-assign]
    audit = Audit(home.folder, vault.keys.audit)
    with suppress(StoreUnavailable):
        await take_into_use(vault, audit, home.folder, home.deputy.revocation_queue.enqueue_in)
    audit.close()
    await vault.close()
    await home.start()
    assert home.deputy.vault.keys.copied_at == 0.0
    before = home.sandbox.count(*TOKEN)
    assert await home.act() and home.sandbox.count(*TOKEN) == before + 1
    await home.deputy.close()


@pytest.mark.processes
async def test_running_process_sees_a_restore_immediately(home: Home) -> None:
    other = await new_vault(home.file, KEY)
    await back_up(home.deputy.vault, home.backup, 1.0)
    await home.deputy.revoke("alice", "google")
    assert await other.find_grant(ALICE, "google", "google") is None
    await home.restore(home.backup)
    [stone] = await other.list_grants(ALICE)
    assert stone.status == "revoked"  # the audit remembered
    assert await other.insert("grant", "x", {"n": 1}, None) and (await home.deputy.vault.get("grant", "x")) is not None
    assert sorted(path.name for path in home.file.parent.iterdir() if ".new" in path.name) == []
    await other.close()
    await home.deputy.close()


async def test_foreign_backup_is_not_restored(home: Home, tmp_path: Path) -> None:
    strange = await Home(tmp_path / "other").start()
    await back_up(strange.deputy.vault, strange.backup, 1.0)
    strange.deputy.vault.rekey([b"x" * 32, KEY])
    await reseal(strange.deputy.vault)
    await back_up(strange.deputy.vault, tmp_path / "another key", 1.0)
    await strange.deputy.close()
    (tmp_path / "junk").write_bytes(b"x" * 5000)
    (tmp_path / "junk").chmod(0o600)
    before = await home.deputy.vault.list_grants(ALICE)
    for file, error in ((strange.backup, SettingsError), (tmp_path / "junk", VaultError), (tmp_path / "no", Exception)):
        with pytest.raises(error):
            await home.restore(file)
    with pytest.raises(VaultError):
        await home.restore(tmp_path / "another key")
    assert await home.deputy.vault.list_grants(ALICE) == before and await home.act()
    assert "vault.restored" not in home.events()
    await home.deputy.close()


async def test_V7_vault_file_shows_no_user_tenant_address_or_account(home: Home) -> None:
    tenant_user = User("zoe-4711", "tenant-acme-0815")
    for one in await home.deputy.connect(tenant_user, "google", scopes=["gmail.readonly"]):
        await consent(home.deputy, home.sandbox, one, as_="bob@example.test")
    await home.deputy.connect(tenant_user, "google", scopes=["gmail.send"])
    await home.deputy.act("gmail_search", {}, user=tenant_user)
    with pytest.raises(ApprovalRequired):
        await home.deputy.act("gmail_send", MAIL, user="alice", call=Call("thread-9", "message-9", "call-9"))
    home.sandbox.switches.down = True
    await home.deputy.revoke("alice", "google")
    grants = [*await home.deputy.vault.list_grants(ALICE), *await home.deputy.vault.list_grants(tenant_user)]
    words = [grant.account.subject for grant in grants] + [grant.account.name for grant in grants]
    words += ["alice", "zoe-4711", "tenant-acme-0815", "bob@example", "google", "gmail", "thread-9", "message-9"]
    await home.deputy.close()
    raw = b"".join(path.read_bytes() for path in sorted(home.file.parent.rglob("*")) if path.is_file())
    assert len(raw) > 8192 and [word for word in words if word.encode().lower() in raw.lower()] == []
    assert b"outbox/" in raw and b"approval/" in raw  # the search is of the right files


async def test_backup_does_not_block_the_event_loop(home: Home) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.001)

    ticking = asyncio.create_task(tick())
    for n in range(20):  # a copy may be quicker than a tick
        await back_up(home.deputy.vault, home.backup.with_name(f"copy{n}"), 1.0)
        if ticks > 1:
            break
    ticking.cancel()
    assert ticks > 1
    await home.deputy.close()


@pytest.mark.processes
async def test_U10_restore_brings_back_no_replaced_audit_key(home: Home) -> None:
    await back_up(home.deputy.vault, home.backup, 1.0)
    await home.deputy.vault.renew_audit_key()
    new = home.deputy.vault.keys.audits
    await home.deputy.close()
    await home.start()
    await home.restore(home.backup)
    other = await new_vault(home.file, KEY)
    assert other.keys.audits == new
    home.deputy.audit.flush()
    assert await find_rolled_back(other, home.folder) == [] and verify(home.folder, new).rows
    await other.close()
    await home.deputy.close()


@pytest.mark.processes
@pytest.mark.parametrize("way", ["copied back", "restored"])
async def test_V2_rollback_detection_restarts_after_a_restore(home: Home, way: str) -> None:
    with closing(sqlite3.connect(home.file)) as db:
        [older] = db.execute("SELECT key, value FROM vault WHERE key LIKE 'grant/%'")
    await back_up(home.deputy.vault, home.backup, 1.0)
    await (home.put_back() if way == "copied back" else home.restore(home.backup))
    home.deputy.audit.flush()
    assert (
        await find_rolled_back(home.deputy.vault, home.folder)
        == await find_unaudited(home.deputy.vault, home.folder)
        == []
    )
    if way == "restored":  # the grant was kept as it is, and older rows are those before its next refresh
        await home.expire()
        assert await home.act()
        home.deputy.audit.flush()
    with closing(sqlite3.connect(home.file, isolation_level=None)) as db:
        db.execute("UPDATE vault SET value = ? WHERE key = ?", older[::-1])
    assert [one.user for one in await find_rolled_back(home.deputy.vault, home.folder)] == [ALICE]
    await home.deputy.close()


@pytest.mark.processes
async def test_R32_disconnect_during_a_restore_is_not_undone(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    await back_up(home.deputy.vault, home.backup, 1.0)
    over, loop = sqlite_backup._overwrite, asyncio.get_running_loop()

    def after_a_disconnect(*asked: Any) -> None:
        asyncio.run_coroutine_threadsafe(home.deputy.revoke("alice"), loop).result(10)
        over(*asked)

    monkeypatch.setattr(sqlite_backup, "_overwrite", after_a_disconnect)
    await home.restore(home.backup)
    assert await home.deputy.connections("alice") == [] and home.sandbox.live_tokens()["alice@example.test"] == 0
    await home.deputy.close()


async def test_R33_record_of_equal_generation_from_another_history_is_not_overwritten(home: Home) -> None:
    """A process that read a grant before a restore must not mistake the backup's record for the one it read."""
    vault = home.deputy.vault
    read = await vault.find_grant(ALICE, "google", "google")
    assert read
    stone = replace(read.tombstone(), generation=read.generation)
    record = await vault.get("grant", vault.record_key(read))
    assert record
    await vault.store.swap(
        "grant", record.key, record.sealed, vault.sealer.seal("grant", record.key, record.generation, stone.pack())
    )
    assert await vault.replace(read, replace(read, expires_at=2.0)) is None
    assert await home.deputy.connections("alice") == []
    await home.deputy.close()


async def test_V10_backup_contains_the_first_record_as_of_its_copy(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()

    def after_a_change(path: Path, to: Path, changes: Any) -> None:
        asyncio.run_coroutine_threadsafe(home.deputy.vault.renew_audit_key(), loop).result(10)
        copy(path, to, changes)

    monkeypatch.setattr(sqlite_backup, "copy", after_a_change)
    await back_up(home.deputy.vault, home.backup, 7.0)
    copied = await new_vault(home.backup, KEY)
    assert copied.keys == replace(home.deputy.vault.keys, copied_at=7.0)
    await copied.close()
    await home.deputy.close()


async def test_backup_opens_after_a_rotation_in_between(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first record then has a key that this process has not loaded."""
    loop, newer = asyncio.get_running_loop(), b"n" * 32
    vault = await Vault.open(home.deputy.vault.store, Sealer([KEY], KeysInMemory([newer, KEY])))

    async def rotated() -> None:
        await reseal(await Vault.open(vault.store, [newer, KEY]))

    def after_a_rotation(path: Path, to: Path, changes: Any) -> None:
        asyncio.run_coroutine_threadsafe(rotated(), loop).result(10)
        copy(path, to, changes)

    monkeypatch.setattr(sqlite_backup, "copy", after_a_rotation)
    await back_up(vault, home.backup, 7.0)
    copied = await new_vault(home.backup, newer)
    assert copied.keys.copied_at == 7.0 and copied.keys.index == vault.keys.index
    await copied.close()
    await home.deputy.close()
