"""Key sources: the vault knows only their protocol, so an unknown source works like a file."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from deputize.core import Deputy, SettingsError, StoreUnavailable, VaultError
from deputize.core.settings import Settings
from deputize.core.vault.check_records import try_all
from deputize.core.vault.key_source import ChangeableKeySource, KeySource, read_keys
from deputize.core.vault.key_sources.file import KeyFile
from deputize.core.vault.key_sources.given import GivenKeys
from deputize.core.vault.key_sources.keyring import KeyringEntry
from deputize.core.vault.root_keys import new_key, parse_keys
from deputize.core.vault.rotation import key_uses, reseal
from deputize.core.vault.seal import Sealer, id_of
from deputize.core.vault.stores.memory import MemoryStore
from deputize.core.vault.vault import Vault
from tests.support.key_source import KeysInMemory

OLD, NEW, NEWER = os.urandom(32), os.urandom(32), os.urandom(32)


@pytest.fixture
def source() -> KeysInMemory:
    return KeysInMemory([OLD])


@pytest.fixture
async def vault(source: KeysInMemory) -> Vault:
    """A vault with three records under the old key."""
    made = await Vault.open(MemoryStore(), Sealer.from_source(source))
    for n in range(3):
        assert await made.insert("grant", f"old{n}", {"n": n}, None)
    return made


async def rotated(vault: Vault, *keys: bytes) -> Vault:
    """Return the view of another program that has added keys and resealed everything with the newest."""
    other = await Vault.open(vault.store, keys)
    await reseal(other)
    return other


# ------------------------------------------------------------- choosing a source


@pytest.mark.parametrize(
    ("given", "kind", "name", "changeable"),
    [
        ({}, KeyFile, "{home}/key", True),
        ({"key_file": "/etc/deputize/key"}, KeyFile, "/etc/deputize/key", True),
        ({"keyring": True}, KeyringEntry, "the keyring", False),
        ({"key": "x"}, GivenKeys, "DEPUTIZE_KEY", False),
        ({"key": "x", "keyring": True, "key_file": "/etc/deputize/key"}, GivenKeys, "DEPUTIZE_KEY", False),
        ({"keyring": True, "key_file": "/etc/deputize/key"}, KeyringEntry, "the keyring", False),
    ],
)
def test_settings_choose_one_key_source(
    tmp_path: Path, given: dict[str, object], kind: type, name: str, changeable: bool
) -> None:
    source = Settings.load(home=tmp_path, **given).key_source
    assert type(source) is kind and source.name == name.format(home=tmp_path)
    assert isinstance(source, ChangeableKeySource) is changeable


def test_given_keys_are_hidden_and_keep_their_order() -> None:
    text = f"{new_key()},{new_key()}"
    source = Settings.load(key=text).key_source
    assert source.read_keys() == parse_keys(text) and source.exists()
    assert text[:20] not in repr(source)


# ------------------------------------------------------------- a source that deputize does not know


async def test_vault_rotates_keys_of_any_source(vault: Vault, source: KeysInMemory) -> None:
    vault.rekey(source.add_key())
    assert (await reseal(vault)).anew == 3
    assert await key_uses(vault) == {id_of(source.keys[0]): 4}, "the first record too"
    assert source.remove_key(id_of(OLD)) == "memory"
    again = await Vault.open(vault.store, Sealer.from_source(source))
    assert [record.json["n"] for record in await again.scan("grant")] == [0, 1, 2]


async def test_key_source_is_read_once_for_a_page_of_unknown_keys(vault: Vault, source: KeysInMemory) -> None:
    source.keys = [NEW, OLD]
    await rotated(vault, NEW, OLD)
    assert source.reads == 1
    assert len(await vault.scan("grant")) == 3 and vault.sealer.ids == [id_of(NEW), id_of(OLD)]
    assert source.reads == 2
    assert await vault.get("grant", "old1") and source.reads == 2, "the keys are known now"


async def test_key_source_is_still_read_after_other_keys_were_given(vault: Vault, source: KeysInMemory) -> None:
    vault.rekey([NEW, OLD])
    source.keys = [NEWER, NEW, OLD]
    await rotated(vault, *source.keys)
    assert await vault.get("grant", "old0")


async def test_vault_opened_late_reads_the_first_key_from_its_source(vault: Vault, source: KeysInMemory) -> None:
    sealer = Sealer.from_source(source)
    source.keys = [NEW, OLD]
    await rotated(vault, NEW, OLD)
    late = await Vault.open(vault.store, sealer)
    assert late.sealer.ids[0] == id_of(NEW) and late.keys == vault.keys.sealed_by(id_of(NEW))


async def test_key_source_is_never_read_on_the_event_loop(vault: Vault, source: KeysInMemory) -> None:
    """A network source takes seconds: acts of other users must continue meanwhile."""
    read, threads = source.read_keys, list[int]()

    def seen() -> list[bytes]:
        threads.append(threading.get_ident())
        return read()

    source.read_keys = seen  # type: ignore[method-assign]
    source.keys = [NEW, OLD]
    late = Sealer([OLD], source)
    await rotated(vault, NEW, OLD)
    assert await vault.get("grant", "old0") and await Vault.open(vault.store, late)
    assert len(threads) == 2 and threading.get_ident() not in threads


async def test_key_is_found_when_another_task_loads_keys_concurrently(vault: Vault, source: KeysInMemory) -> None:
    """Two rotations, and two tasks that each look for a key: the slower response lacks the newest key."""
    read = source.read_keys

    def overtaken() -> list[bytes]:
        keys = read()
        source.keys = [NEWER, NEW, OLD]
        source.read_keys = read  # type: ignore[method-assign]
        vault.sealer = Sealer([NEW, OLD], source)  # what the other task has found
        return keys

    source.keys, source.read_keys = [NEW, OLD], overtaken  # type: ignore[method-assign]
    await rotated(vault, NEWER, NEW, OLD)
    assert await vault.get("grant", "old0") and vault.sealer.ids[0] == id_of(NEWER)


# ------------------------------------------------------------- a source that fails


async def test_record_stays_closed_when_the_source_lacks_its_key(vault: Vault, source: KeysInMemory) -> None:
    await rotated(vault, NEW, OLD)
    with pytest.raises(VaultError) as caught:
        await vault.get("grant", "old0")
    assert id_of(NEW) in caught.value.hint and source.name in caught.value.hint
    assert vault.sealer.ids == [id_of(OLD)]


async def test_answer_without_the_key_does_not_replace_known_keys(vault: Vault, source: KeysInMemory) -> None:
    other = await Vault.open(vault.store, [NEW, OLD])
    assert await other.insert("grant", "new", {}, None)
    source.keys = [NEWER]
    with pytest.raises(VaultError):
        await vault.get("grant", "new")
    assert await vault.get("grant", "old0")


@pytest.mark.parametrize("fails", [StoreUnavailable("The service is down."), ConnectionError("secret in words")])
async def test_unavailable_key_source_costs_no_grant(vault: Vault, source: KeysInMemory, fails: Exception) -> None:
    await rotated(vault, NEW, OLD)
    before = await vault.store.scan("grant")
    source.keys, source.fails = [NEW, OLD], fails
    for work in (
        vault.get("grant", "old0"),
        vault.scan_openable("grant"),
        vault.count_openable("grant"),
        try_all(vault),
    ):
        with pytest.raises(StoreUnavailable):
            await work
    with pytest.raises(StoreUnavailable):
        await vault.delete_damaged()
    assert await vault.store.scan("grant") == before, "nothing is dropped that would open tomorrow"
    source.fails = None
    assert len(await vault.scan("grant")) == 3


async def test_unavailable_key_source_does_not_block_known_keys(vault: Vault, source: KeysInMemory) -> None:
    source.fails = ConnectionError()
    assert await vault.insert("grant", "another", {"n": 9}, None) and len(await vault.scan("grant")) == 4


@pytest.mark.parametrize("fails", [ConnectionError("key=hunter2"), TimeoutError(), KeyError("hunter2"), OSError()])
def test_failing_key_source_gives_a_typed_error_without_its_text(source: KeysInMemory, fails: Exception) -> None:
    source.fails = fails
    with pytest.raises(StoreUnavailable, match=type(fails).__name__) as caught:
        read_keys(source)
    said = caught.value.message + caught.value.hint
    assert source.name in said and "hunter2" not in said and caught.value.hint


def test_deputize_errors_of_a_key_source_are_not_wrapped(source: KeysInMemory) -> None:
    source.fails = SettingsError("The entry is malformed.", hint="Write it anew.")
    with pytest.raises(SettingsError) as caught:
        read_keys(source)
    assert caught.value is source.fails


# ------------------------------------------------------------- from settings to a deputy


@pytest.fixture
def chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KeysInMemory:
    """An empty source that the settings select."""
    source = KeysInMemory()

    def key_source(_: Settings) -> KeySource:
        return source

    for name in [name for name in os.environ if name.startswith(("DEPUTIZE_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DEPUTIZE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Settings, "key_source", property(key_source))
    return source


def started() -> Deputy:
    return Deputy.from_settings(Settings.load(port=0))


def test_first_key_is_created_in_any_writable_source(
    chosen: KeysInMemory, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with started() as deputy:
        assert deputy.vault.sealer.ids == [id_of(chosen.keys[0])]
    assert f"Made a new key in {chosen.name}" in caplog.text
    with started() as deputy:
        assert len(chosen.keys) == 1
    assert not (tmp_path / "home" / "key").exists()


def test_running_program_finds_the_key_another_one_created(chosen: KeysInMemory) -> None:
    with started() as running, started() as other:
        other.vault.rekey(chosen.add_key())
        other.run(reseal(other.vault))
        assert running.run(running.vault.get("meta", "vault"))
        assert running.vault.sealer.ids == other.vault.sealer.ids


def test_start_stops_when_the_key_source_fails_and_leaves_no_vault(chosen: KeysInMemory, tmp_path: Path) -> None:
    chosen.keys, chosen.fails = [OLD], ConnectionError()
    with pytest.raises(StoreUnavailable) as caught:
        started()
    assert caught.value.hint and not list(tmp_path.glob("home/vault*"))
    chosen.fails = None
    with started() as deputy:
        assert deputy.vault.sealer.ids == [id_of(OLD)]


def test_key_source_without_keys_stops_the_start_of_an_existing_vault(chosen: KeysInMemory) -> None:
    with started():
        pass
    chosen.keys = []
    with pytest.raises(SettingsError, match=f"There is a vault but no key: {chosen.name}"):
        started()
    assert chosen.keys == []
