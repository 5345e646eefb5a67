"""Copies of a vault while it is in use, and back. A copy is as sealed as the vault.

It is marked as one inside its first record: whoever opens a vault with that mark has a backup in hand that somebody
put back, and `restored` says what it may be trusted with.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from deputize.core.audit import Audit
from deputize.core.errors import SettingsError, VaultError
from deputize.core.vault.housekeys import HouseKeys
from deputize.core.vault.private import beside
from deputize.core.vault.restored import Owe, distrust
from deputize.core.vault.stores.vaultfile import FORMAT, check, connect, copy, told
from deputize.core.vault.told import RESTORED, Tale
from deputize.core.vault.vault import Vault


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
    path, record = path_of(vault), await vault.get("meta", "vault")
    if record is None:
        raise VaultError("The vault has lost its first record.")
    marked = replace(HouseKeys.unpack(record.plain), copied_at=now)
    sealed = vault.sealer.seal("meta", "vault", record.generation, marked.pack())
    await asyncio.to_thread(copy, path, to, {"meta/vault": FORMAT + sealed})


async def restore(vault: Vault, backup: Path, root_keys: Sequence[bytes], audit: Audit, folder: Path, owe: Owe) -> int:
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
            doubted = await distrust(copied, Tale(folder, vault.keys.audits), owe)
            for key, sealed in await vault.store.scan("outbox"):
                await copied.store.insert("outbox", key, sealed)
            at = copied.keys.copied_at
            await copied.accept_copy()
        finally:
            await copied.close()
        await asyncio.to_thread(_over, made, path)
    finally:
        for name in (made.name, f"{made.name}-wal", f"{made.name}-shm"):
            made.with_name(name).unlink(missing_ok=True)
    audit.write(RESTORED, copied_at=round(at), grants=doubted)
    return doubted


def _over(made: Path, path: Path) -> None:
    """Write one vault over another through SQLite, so that whoever has it open goes on with the new content."""
    try:
        with closing(connect(made)) as source, closing(connect(path, mode="rw")) as target:
            source.backup(target)
    except sqlite3.Error as error:
        raise told(error) from None
