"""The built-in stores fulfil the contract, and are selected by their address."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deputize.core.errors import SettingsError, StoreUnavailable
from deputize.core.vault.stores import Store, open_store
from deputize.core.vault.stores.memory import MemoryStore
from deputize.core.vault.stores.sqlite.store import SqliteStore
from deputize.sandbox.store_contract import StoreContract


class TestMemoryStore(StoreContract):
    @pytest.fixture
    async def store(self) -> AsyncIterator[Store]:
        store = MemoryStore()
        yield store
        await store.close()


class TestSqliteStore(StoreContract):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[Store]:
        store = SqliteStore.open(tmp_path / "vault.db", create=True)
        yield store
        await store.close()


async def test_memory_is_a_valid_store_url() -> None:
    store = open_store("memory:", create=False)
    assert isinstance(store, MemoryStore)
    await store.close()


@pytest.mark.parametrize("address", ["sqlite://{0}/vault.db", "{0}/vault.db", " {0}/new/folder/vault.db\n"])
async def test_path_is_a_valid_store_url(tmp_path: Path, address: str) -> None:
    store = open_store(address.format(tmp_path), create=True)
    assert isinstance(store, SqliteStore)
    assert store.path.is_relative_to(tmp_path) and store.path.name == "vault.db" and store.path.exists()
    await store.close()


async def test_path_may_contain_any_characters(tmp_path: Path) -> None:
    folder = tmp_path / "50% of ?x=1 #é"
    await open_store(str(folder / "my vault.db"), create=True).close()
    for address in (
        str(folder / "my vault.db"),
        f"sqlite://{tmp_path}/50%25%20of%20%3Fx%3D1%20%23%C3%A9/my%20vault.db",
    ):
        store = open_store(address, create=False)
        assert await store.insert("test", address[-9:-3].strip("./ "), b"1")
        await store.close()


async def test_path_may_be_relative_to_home_or_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for address in ("~/vault.db", "vault.db"):
        store = open_store(address, create=True)
        assert isinstance(store, SqliteStore) and store.path == tmp_path / "vault.db"
        await store.close()


@pytest.mark.parametrize(
    "address",
    [
        "",
        "/",
        "folder/",
        "sqlite://",
        "sqlite:///",
        "sqlite://host/vault.db",
        "sqlite:///vault.db?mode=memory",
        "mysql://alice:hunter2@example.test/vault",
        "postgresql://alice:hunter2@example.test/vault?sslmode=prefer",
        "oracle://alice:hunter2@example.test/vault",
    ],
)
def test_unknown_store_url_is_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(SettingsError) as caught:
        open_store(address, create=True)
    assert "hunter2" not in f"{caught.value} {caught.value.hint}"
    scheme = address.partition("://")[0]
    if scheme in ("mysql", "oracle"):
        assert f"Unknown store {scheme!r}" in str(caught.value) and "memory, sqlite" in caught.value.hint


def test_vault_is_not_created_unless_requested(tmp_path: Path) -> None:
    for path in (tmp_path / "vault.db", tmp_path / "missing" / "vault.db"):
        with pytest.raises(StoreUnavailable, match="no vault") as caught:
            open_store(str(path), create=False)
        assert str(path) in caught.value.hint and str(path) not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.processes
def test_stores_load_only_the_modules_they_use() -> None:
    script = (
        "import sys\nfrom deputize.core.vault.stores import open_store\nopen_store('memory:', create=False)\n"
        "sys.exit(bool({'sqlite3', 'sqlitedict', 'filelock'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", script], timeout=30).returncode == 0
