"""A vault that is lost or damaged: it is recreated only on request, and unreadable records are dropped."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.conftest import Command, Provider, connected


@pytest.mark.processes
def test_vault_new_recreates_the_vault_and_lists_the_losses(cli: Command, home: Path, provider: Provider) -> None:
    settings, folder = connected(home, provider, "gmail.readonly"), home / "deputize"
    refused = cli("vault", "new", "--yes", **settings)
    assert refused.exit_code == 1 and "it opens" in refused.stderr
    for file in folder.glob("vault.sqlite*"):
        file.unlink()
    found = cli("doctor", "--offline", **settings)
    assert found.exit_code == 1 and "gone" in found.stdout and "deputize vault new" in found.stdout
    assert cli("vault", "new", stdin="n\n", **settings).exit_code == 1 and not (folder / "vault.sqlite").exists()
    begun = cli("vault", "new", "--yes", **settings)
    assert begun.exit_code == 0, begun.stderr
    assert "every grant" in begun.stderr and "live on at the providers" in begun.stderr
    assert (folder / "vault.sqlite").exists() and list(folder.glob("audit.lost-*/*"))
    assert cli("accounts", **settings).exit_code == 0


@pytest.mark.processes
def test_doctor_drop_removes_unreadable_records(cli: Command, home: Path, settings: dict[str, str]) -> None:
    with closing(sqlite3.connect(home / "deputize" / "vault.sqlite")) as db:
        db.execute("UPDATE vault SET value = CAST(substr(value, 1, 60) || 'x' AS BLOB) WHERE key LIKE 'grant/%'")
        db.commit()
    assert "deputize doctor --drop" in cli("doctor", "--offline", **settings).stdout
    told = cli("revoke", "google", **settings)
    assert told.exit_code == 1 and "1 grants in the vault do not open" in told.stderr
    assert cli("doctor", "--drop", stdin="n\n", **settings).exit_code == 1
    dropped = cli("doctor", "--drop", "--yes", **settings)
    assert dropped.exit_code == 0 and "Removed 1" in dropped.stdout and "live on" in dropped.stdout
    assert "All 0 grants open" in cli("doctor", "--drop", **settings).stderr


@pytest.mark.processes
def test_vault_copied_to_another_store_is_not_called_lost(cli: Command, home: Path, provider: Provider) -> None:
    settings, folder = connected(home, provider, "gmail.readonly"), home / "deputize"
    moved = cli("store", "copy", str(folder / "vault.sqlite"), str(folder / "other.sqlite"), **settings)
    assert moved.exit_code == 0, moved.stderr
    said = " ".join(moved.stderr.split())
    assert "Moved aside: " in said and "other.sqlite now: set DEPUTIZE_VAULT to that." in said and "lost" not in said
    assert list(folder.glob("vault.sqlite.moved-*")) and not list(folder.glob("*lost*"))
    assert "alice" in cli("accounts", **settings, DEPUTIZE_VAULT=str(folder / "other.sqlite")).stdout


@pytest.mark.processes
def test_moved_vault_is_neither_recreated_nor_restored_in_place(cli: Command, home: Path, provider: Provider) -> None:
    settings, folder = connected(home, provider, "gmail.readonly"), home / "deputize"
    vault, other = str(folder / "vault.sqlite"), str(folder / "other.sqlite")
    assert cli("vault", "backup", str(home / "backup"), **settings).exit_code == 0
    assert cli("store", "copy", vault, other, **settings).exit_code == 0
    before = {path.name for path in folder.iterdir()}
    for words in (("vault", "new", "--yes"), ("vault", "restore", str(home / "backup"))):
        refused = cli(*words, **settings)
        assert refused.exit_code == 1 and "moved to another store" in refused.stderr, refused.stderr
        assert "Lost with" not in refused.stderr and {path.name for path in folder.iterdir()} == before
    assert cli("audit", "verify", **settings, DEPUTIZE_VAULT=other).exit_code == 0
    assert cli("store", "copy", other, vault, **settings).exit_code == 0
    assert "alice" in cli("accounts", **settings).stdout
    for file in folder.glob("vault.sqlite*"):
        if ".moved-" not in file.name:
            file.unlink()
    lost = cli("accounts", **settings)
    assert lost.exit_code == 1 and "vault is gone" in lost.stderr, lost.stderr
    assert cli("vault", "new", "--yes", **settings).exit_code == 0
