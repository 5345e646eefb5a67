"""Losses are reported: no vault is created over an old one, and one damaged record locks nobody out for good."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deputize.core import Deputy, Secret, StoreUnavailable, User, VaultError
from deputize.core.audit.events import VaultCopied
from deputize.core.background_loop import portal
from deputize.core.from_settings import open_vault
from deputize.core.settings import Settings
from deputize.core.vault.grant import Account, Grant
from deputize.core.vault.rotation import reseal
from deputize.core.vault.seal import Sealer
from deputize.core.vault.stores.memory import MemoryStore
from deputize.core.vault.vault import Vault
from deputize.sandbox import Sandbox
from tests.support.gmail_toolkit import ALL, gmail
from tests.support.key_source import KeysInMemory
from tests.support.sandbox_deputy import build, connect

OLD, NEW = os.urandom(32), os.urandom(32)
ALICE = User("alice")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The home of an existing vault, with an audit and a grant."""
    for name in [name for name in os.environ if name.startswith(("DEPUTIZE_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DEPUTIZE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    with Deputy.from_settings(settings()) as deputy:
        deputy.run(deputy.vault.add(grant()))
        deputy.audit.write(VaultCopied())
    yield tmp_path / "home"


def settings() -> Settings:
    return Settings.load(port=0)


def grant(subject: str = "1", **more: Any) -> Grant:
    made = Grant(ALICE, "google", "google", Account(subject, f"{subject}@x.test"), frozenset({"s"}), Secret("ya29.x"))
    return replace(made, **more)


def edit(folder: Path, statement: str) -> None:
    with closing(sqlite3.connect(folder / "vault.sqlite")) as db:
        db.execute(statement)
        db.commit()


# ------------------------------------------------------------- never over an old one


@pytest.mark.parametrize("key", [True, False], ids=["with its key", "without its key"])
def test_missing_vault_with_an_audit_is_not_recreated(folder: Path, key: bool) -> None:
    for file in folder.glob("vault.sqlite*"):
        file.unlink()
    if not key:
        (folder / "key").unlink()
    with pytest.raises(VaultError, match="gone") as refused:
        Deputy.from_settings(settings())
    assert "deputize vault new" in refused.value.hint and "restore" in refused.value.hint
    assert not list(folder.glob("vault.sqlite*")) and (folder / "key").exists() is key


def test_vault_moved_away_during_start_is_not_recreated(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def meanwhile(_: Settings) -> list[bytes]:
        for file in folder.glob("vault.sqlite*"):
            file.rename(folder / f"{file.name}.moved-1Z")
        return keys

    keys = settings().keys()
    monkeypatch.setattr(Settings, "keys", meanwhile)
    with pytest.raises(StoreUnavailable):
        Deputy.from_settings(settings())
    assert not list(folder.glob("vault.sqlite"))


@pytest.mark.parametrize("rest", [True, False], ids=["other records exist", "no other record"])
def test_missing_first_record_is_not_replaced(folder: Path, rest: bool) -> None:
    edit(folder, "DELETE FROM vault WHERE key = 'meta/vault'" if rest else "DELETE FROM vault WHERE key LIKE '%/%'")
    with pytest.raises(VaultError, match="lost its first record"):
        Deputy.from_settings(settings())


async def test_store_with_records_but_no_first_one_is_not_a_new_vault() -> None:
    vault = await Vault.open(store := MemoryStore(), [OLD])
    await vault.add(grant())
    first = await store.get("meta", "vault")
    assert first and await store.delete("meta", "vault", first)
    with pytest.raises(VaultError, match="lost its first record"):
        await Vault.open(store, [OLD])
    assert await store.get("meta", "vault") is None


async def test_two_programs_creating_a_vault_concurrently_accept_each_others_records() -> None:
    class Met(MemoryStore):
        """A store where another program creates the vault, and writes, right after this one found it empty."""

        other: Vault | None = None

        async def get(self, kind: str, key: str) -> bytes | None:
            found = await super().get(kind, key)
            if self.other is None and (kind, key) == ("meta", "vault"):
                self.other = await Vault.open(copy(self), [OLD])
                await self.other.add(grant())
            return found

    def copy(met: Met) -> MemoryStore:
        vars(twin := MemoryStore()).update(vars(met))
        return twin

    vault = await Vault.open(store := Met(), [OLD])
    assert store.other and vault.keys == store.other.keys and len(await vault.list_grants(ALICE)) == 1


# ------------------------------------------------------------- keys that change meanwhile


async def test_vault_rekeyed_after_the_key_file_was_read_opens_with_current_keys() -> None:
    vault = await Vault.open(store := MemoryStore(), [OLD])
    vault.rekey([NEW, OLD])
    await reseal(vault)
    late = await Vault.open(store, Sealer([OLD], KeysInMemory([NEW, OLD])))
    assert late.sealer.ids == vault.sealer.ids
    with pytest.raises(VaultError, match="not among those given"):
        await Vault.open(store, Sealer([OLD], KeysInMemory([OLD])))


async def test_record_opens_while_another_thread_loads_the_new_key() -> None:
    store = MemoryStore()
    writer = await Vault.open(store, [OLD])
    reader = await Vault.open(store, Sealer([OLD], KeysInMemory([NEW, OLD])))
    writer.rekey([NEW, OLD])
    await writer.insert("chosen", "a", {"app": "x"}, None)

    class Overtaken(Sealer):
        """While it fails to open, another thread has loaded the new keys."""

        def open(self, kind: str, key: str, sealed: bytes) -> Any:
            reader.sealer = Sealer([NEW, OLD])
            return super().open(kind, key, sealed)

        def knows(self, sealed: bytes) -> bool:
            known = super().knows(sealed)
            reader.sealer = Sealer([NEW, OLD])
            return known

    reader.sealer = Overtaken([OLD])
    record = await reader.get("chosen", "a")
    assert record is not None and record.json == {"app": "x"}


# ------------------------------------------------------------- a damaged row


async def damaged(*others: Grant) -> tuple[Vault, Grant]:
    """Return a vault in which the first grant's record was altered."""
    vault = await Vault.open(store := MemoryStore(), [OLD])
    hurt = await vault.add(grant())
    for one in others:
        await vault.add(one)
    sealed = await store.get("grant", vault.record_key(hurt))
    assert sealed and await store.swap("grant", vault.record_key(hurt), sealed, sealed[:-1] + bytes([sealed[-1] ^ 1]))
    return vault, hurt


async def test_new_consent_replaces_a_damaged_grant() -> None:
    vault, hurt = await damaged()
    with pytest.raises(VaultError, match="damaged") as refused:
        await vault.find_grant(ALICE, "google", "google")
    assert "Connect it again" in refused.value.hint
    assert await vault.find_undamaged(ALICE, "google", "google") is None and await vault.list_grants(ALICE) == []
    fresh = await vault.add(grant(access_token=Secret("ya29.new")))
    assert fresh.generation == hurt.generation + 1 and fresh.default
    assert (await vault.find_grant(ALICE, "google", "google")) == fresh


async def test_user_with_a_damaged_grant_can_connect_again(sandbox: Sandbox) -> None:
    vault = await Vault.open(store := MemoryStore(), [OLD])
    deputy = await build(sandbox, vault=vault, toolkits=[gmail])
    await connect(deputy, sandbox, *ALL)
    [(key, sealed)] = await store.scan("grant")
    assert await store.swap("grant", key, sealed, sealed[:-1] + bytes([sealed[-1] ^ 1]))
    with pytest.raises(VaultError, match="damaged"):
        await deputy.act("gmail_search", {}, user="alice")
    assert await deputy.connections("alice") == []
    await connect(deputy, sandbox, *ALL)
    assert await deputy.act("gmail_search", {}, user="alice") is not None
    [(_, sealed)] = await store.scan("grant")
    assert vault.sealer.open("grant", key, sealed)[0] == 2


async def test_no_other_account_acts_instead_of_a_damaged_one() -> None:
    vault, _ = await damaged(grant("2"))
    with pytest.raises(VaultError, match="damaged"):
        await vault.find_grant(ALICE, "google", "google")
    other = await vault.find_grant(ALICE, "google", "google", "2@x.test")
    assert other is not None and other.account.subject == "2"


async def test_grant_with_a_missing_key_is_not_treated_as_damaged() -> None:
    vault, _ = await damaged()
    vault.rekey([NEW])
    with pytest.raises(VaultError, match="not among those given"):
        await vault.find_grant(ALICE, "google", "google")
    with pytest.raises(VaultError, match="not among those given"):
        await vault.add(grant())


async def test_only_damaged_records_are_deleted() -> None:
    vault, _ = await damaged(other := grant("2", user=User("bob")))
    assert await vault.delete_damaged() == 1 and await vault.delete_damaged() == 0
    assert [one.account for one in await vault.list_grants(User("bob"))] == [other.account]


def test_vault_that_crashed_during_creation_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEPUTIZE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)

    async def begin() -> None:
        await (await open_vault(settings())).close()

    portal().run(begin())
    edit(tmp_path / "home", "DELETE FROM vault WHERE key LIKE '%/%'")
    portal().run(begin())
