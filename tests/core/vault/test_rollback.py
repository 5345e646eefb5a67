"""An older record put back is detected, since the audit has seen the newer one."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from deputize.core import Deputy, ReconsentRequired, User
from deputize.core.audit import Audit
from deputize.core.vault.grant import Account, Grant, Secret
from deputize.core.vault.pseudonyms import People
from deputize.core.vault.rollback import AuditedGenerations, GenerationMismatch, find_rolled_back, find_unaudited
from deputize.core.vault.vault import Vault
from deputize.sandbox import Sandbox
from tests.support.gmail_toolkit import gmail
from tests.support.sandbox_deputy import build, connect, new_vault

ALICE = User("alice")


class Place:
    """A deputy whose vault and audit are in a folder, and an attacker who can write there."""

    def __init__(self, folder: Path) -> None:
        self.sandbox, self.vault_file, self.folder = Sandbox(), folder / "vault" / "vault.sqlite", folder / "audit"
        self.deputy: Deputy

    async def open(self) -> Place:
        vault = await new_vault(self.vault_file, b"k" * 32)
        audit = Audit(self.folder, vault.keys.audit, old_keys=vault.keys.old_audit)
        self.deputy = await build(self.sandbox, vault=vault, toolkits=[gmail], audit=audit)
        return self

    @property
    def vault(self) -> Vault:
        return self.deputy.vault

    async def behind(self) -> list[GenerationMismatch]:
        self.deputy.audit.flush()
        return await find_rolled_back(self.vault, self.folder)

    def rows(self) -> dict[str, bytes]:
        """Return all grants' cells as stored on the disk."""
        with closing(sqlite3.connect(self.vault_file)) as db:
            return dict(db.execute("SELECT key, value FROM vault WHERE key LIKE 'grant/%'"))

    def put_back(self, rows: dict[str, bytes]) -> None:
        """Replace all grants by these, as an attacker who can write the disk."""
        with closing(sqlite3.connect(self.vault_file, isolation_level=None)) as db:
            db.execute("DELETE FROM vault WHERE key LIKE 'grant/%'")
            db.executemany("INSERT INTO vault VALUES (?, ?)", rows.items())


@pytest.fixture
async def place(tmp_path: Path) -> Place:
    made = await Place(tmp_path).open()
    await connect(made.deputy, made.sandbox, "readonly")
    return made


async def test_V2_restored_older_record_is_named_with_both_generations(place: Place) -> None:
    older = place.rows()
    await connect(place.deputy, place.sandbox, "send")
    assert await place.behind() == []
    place.put_back(older)
    [found] = await place.behind()
    assert found == GenerationMismatch(ALICE, "google", "google", "alice@example.test", 1, 2)
    await place.deputy.close()


async def test_V2_restored_revoked_grant_is_found(place: Place) -> None:
    older = place.rows()
    await place.deputy.revoke("alice", "google")
    place.put_back(older)
    [found] = await place.behind()
    assert (found.generation, found.audited) == (1, 2)
    await place.deputy.close()


async def test_V2_removed_record_is_found(place: Place) -> None:
    place.put_back({})
    [found] = await place.behind()
    assert (found.user, found.provider, found.generation, found.audited) == (ALICE, "google", 0, 1)
    await place.deputy.close()


async def test_V2_undone_refresh_and_undone_grant_end_are_found(place: Place) -> None:
    older = place.rows()
    place.sandbox.expire_access_tokens()
    grant = await place.vault.find_grant(ALICE, "google", "google")
    assert grant and await place.vault.replace(grant, replace(grant, expires_at=1.0))
    assert await place.deputy.act("gmail_search", {}, user="alice")
    newer = place.rows()
    place.put_back(older)
    assert [(one.generation, one.audited) for one in await place.behind()] == [(1, 3)]
    place.put_back(newer)
    assert await place.behind() == []
    place.sandbox._world.authority.tokens.clear()
    with pytest.raises(ReconsentRequired):
        await place.deputy.act("gmail_search", {}, user="alice")
    place.put_back(newer)
    assert [one.audited for one in await place.behind()] == [4]
    await place.deputy.close()


async def test_V2_grants_of_other_accounts_users_and_tenants_are_not_mixed_up(place: Place) -> None:
    for user, subject in ((User("bob"), "1"), (User("alice", "acme"), "2"), (ALICE, "3")):
        await place.vault.add(
            Grant(user, "google", "google", Account(subject, f"{subject}@x"), frozenset(), Secret("ya29.x"))
        )
    assert await place.behind() == []
    place.deputy.audit.flush()
    found = await find_unaudited(place.vault, place.folder)
    assert {one.account for one in found} == {"1@x", "2@x", "3@x"} and {one.audited for one in found} == {0}
    await place.deputy.close()


async def test_V2_rollback_is_found_after_an_audit_key_rotation(place: Place) -> None:
    older = place.rows()
    await connect(place.deputy, place.sandbox, "send")
    await place.vault.renew_audit_key()
    await place.deputy.close()
    again = await place.open()
    again.put_back(older)
    assert [(one.generation, one.audited) for one in await again.behind()] == [(1, 2)]
    await again.deputy.close()


async def test_V2_rows_written_without_the_key_are_ignored(place: Place) -> None:
    place.deputy.audit.flush()
    [file] = place.folder.glob("*.jsonl")
    row = next(json.loads(line) for line in file.read_text().splitlines() if "grant_gen" in line)
    forged = json.dumps(row | {"grant_gen": 99}).replace(", ", ",").replace(": ", ":")
    with file.open("a") as to:
        to.write(f"{forged}\n")
    assert await place.behind() == []
    assert AuditedGenerations(place.folder, [b"x" * 32], await People.of(place.deputy.vault)).gone([]) == []
    await place.deputy.close()


async def test_V2_unaudited_write_can_be_undone_unnoticed(place: Place) -> None:
    """The limit named in SECURITY.md: a write without an audit row can be undone unnoticed."""
    older = place.rows()
    grant = await place.vault.find_grant(ALICE, "google", "google")
    assert grant and await place.vault.replace(grant, replace(grant, default=False))
    place.put_back(older)
    assert await place.behind() == []
    await place.deputy.close()
