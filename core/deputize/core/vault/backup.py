"""Copies of a vault while it is in use, and back. A copy is as sealed as the vault.

It is marked as one inside its first record: whoever opens a vault with that mark has a backup in hand that somebody
put back, and `restore` says what it may be trusted with.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from deputize.core.audit import Audit
from deputize.core.errors import SettingsError
from deputize.core.vault.private_files import beside, private_folder
from deputize.core.vault.restore import Owe, count_anew, distrust, end_revoked
from deputize.core.vault.rollback import AuditedGenerations
from deputize.core.vault.stores.sqlite_file import FORMAT, check, connect, copy, remove, told
from deputize.core.vault.vault import Vault
from deputize.core.vault.vault_keys import VaultKeys

_ROWS_OF_OTHERS = 0.6
"""Seconds after which what other processes did is in the audit: see `deputize.core.audit.writer.GATHER`."""


def path_of(vault: Vault) -> Path:
    """The file of a vault. Raises `SettingsError` where it lies in none."""
    from deputize.core.vault.stores.sqlite import SqliteStore

    if isinstance(vault.store, SqliteStore):
        return vault.store.path
    raise SettingsError("This vault lies in no file, so there is no backup of it.")


async def back_up(vault: Vault, to: Path, now: float) -> None:
    """Make a consistent copy at ``to``, mode 0600, while others read and write. ``now``: Unix seconds.

    Raises `SettingsError` where something is there already or nothing can be written, and leaves nothing behind then.
    """
    path = path_of(vault)
    await vault.get("meta", "vault")  # with keys that open it now

    def marked(cell: bytes) -> bytes:
        generation, plain = vault.sealer.open("meta", "vault", cell[len(FORMAT) :])
        keys = replace(VaultKeys.unpack(plain), copied_at=now)
        return FORMAT + vault.sealer.seal("meta", "vault", generation, keys.pack())

    await asyncio.to_thread(copy, path, to, {"meta/vault": marked})


def put_in_place(backup: Path, path: Path) -> None:
    """Where there is no vault any more: make a backup the vault, to be doubted when it is opened.

    Raises `StoreUnavailable`, `VaultError` or `SettingsError` where it is none, or where a vault lies there.
    """
    check(backup)
    private_folder(path.parent)
    if path.with_name(f"{path.name}-wal").exists():  # of the vault that is gone: it would be read into this one
        raise SettingsError("The vault is gone, but its log is there.", hint=f"Move {path}-wal away first.")
    copy(backup, path, {})


async def restore(
    vault: Vault, backup: Path, root_keys: Sequence[bytes], audit: Audit, folder: Path, enqueue: Owe
) -> int:
    """Replace what is in the vault by a backup of it, as one step, while others use it. How many grants are in doubt.

    ``folder``: of the audit. What is owed to providers now stays owed. Raises `SettingsError` for a backup of another
    vault, `VaultError` for one that does not open, and has changed nothing then.
    """
    from deputize.core.vault.stores.sqlite import SqliteStore

    path, made = path_of(vault), beside(path_of(vault))
    check(backup)
    await asyncio.to_thread(copy, backup, made, {})
    try:
        copied = await Vault.open(SqliteStore.open(made, create=False), root_keys)
        try:
            if copied.keys.index != vault.keys.index:
                raise SettingsError("This is a backup of another vault.", hint=str(backup))
            await audit.settle()
            doubted = await distrust(copied, AuditedGenerations(folder, vault.keys.audits), enqueue)
            for key, sealed in await vault.store.scan("outbox"):
                await copied.store.insert("outbox", key, sealed)
            at = copied.keys.copied_at
            await copied.accept_copy(vault.keys)
        finally:
            await copied.close()
        await asyncio.to_thread(_over, made, path)
    finally:
        remove(made)
    await asyncio.sleep(_ROWS_OF_OTHERS)
    await end_revoked(
        vault, AuditedGenerations(folder, vault.keys.audits), enqueue
    )  # what was revoked meanwhile was written over
    await count_anew(vault, audit, at, doubted)
    return doubted


def _over(made: Path, path: Path) -> None:
    """Write one vault over another through SQLite, so that whoever has it open goes on with the new content."""
    try:
        with closing(connect(made)) as source, closing(connect(path, mode="rw")) as target:
            source.backup(target)
    except sqlite3.Error as error:
        raise told(error) from None
