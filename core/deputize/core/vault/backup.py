"""Backups of a vault while it is in use, and their restoration. A backup is as encrypted as the vault.

The first record of a backup is marked. A vault with this mark is a restored backup, and `restore` decides which of its
records can be trusted.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from deputize.core.audit import Audit
from deputize.core.audit.trail import Trail
from deputize.core.errors import SettingsError
from deputize.core.vault.bootstrap import check_key, find_keys
from deputize.core.vault.chain_heads import ChainHeads
from deputize.core.vault.data_keys import KIND as DATA_KEY
from deputize.core.vault.restore import Enqueue, Replaced, Restored, distrust, record_generations
from deputize.core.vault.rollback import AuditedGenerations
from deputize.core.vault.stores import Backup, store_type
from deputize.core.vault.tenants import take_over_data_keys
from deputize.core.vault.vault import FIRST, Vault
from deputize.core.vault.vault_keys import VaultKeys


def backups_of(vault: Vault) -> Backup:
    """Return the backup interface of this vault. Raises `SettingsError` if its store has none."""
    return _require_backup(vault.store.backup)


def backups_at(url: str) -> Backup:
    """Return the backup interface for this address, which need not have a vault. Raises `SettingsError` if the store
    has none."""
    make = store_type(url).backup
    return _require_backup(make(url) if make else None)


def _require_backup(backup: Backup | None) -> Backup:
    if backup is None:
        hint = "Back it up with the tools of its database. A vault in memory ends with its process."
        raise SettingsError("This vault is not in a file, so deputize cannot back it up.", hint=hint)
    return backup


async def back_up(vault: Vault, to: Path, now: float) -> None:
    """Make a consistent copy at ``to``, mode 0600, while others read and write. ``now``: Unix seconds.

    Raises `SettingsError` if the file exists or cannot be written, and then leaves no file behind.
    """
    backups = backups_of(vault)
    await vault.get(*FIRST)  # reads the keys again if they have changed

    def marked(sealed: bytes) -> bytes:
        sealer = vault.sealer
        if not sealer.knows(sealed):  # its key has changed since
            sealer = find_keys([sealed], sealer)
        check_key(sealed, sealer)
        generation, plain = sealer.open(*FIRST, sealed)
        keys = replace(VaultKeys.unpack(plain), copied_at=now)
        return sealer.seal(*FIRST, generation, keys.pack())

    await asyncio.to_thread(backups.copy, to, {FIRST: marked})


async def restore(vault: Vault, backup: Path, audit: Audit, trail: Trail, enqueue: Enqueue) -> Restored:
    """Replace the vault's content by a backup of it, in one step, while others use it. Return what was kept.

    ``trail``: the audit's. Newer tokens of the same family, outcomes and queued revocations stay. Tokens that are
    overwritten enter the queue. Raises `SettingsError` for a backup of another vault, and `VaultError` for one that
    cannot be decrypted; nothing is changed then.
    """
    async with backups_of(vault).draft(backup) as draft:
        copied = await Vault.open(draft.store, vault.sealer)
        if copied.keys.index != vault.keys.index:
            raise SettingsError("This is a backup of another vault.", hint=str(backup))
        await audit.settle()
        keep_data_key = await take_over_data_keys(copied, vault)
        replaced = Replaced(vault)
        await replaced.hand_over(copied, enqueue)
        doubted = await distrust(copied, await AuditedGenerations.read(trail, vault), enqueue, replaced.kept)
        await ChainHeads(copied).take_over(ChainHeads(vault))
        at, ends = copied.keys.copied_at, copied.ended.ends.list_ends()
        await copied.accept_copy(vault.keys)
        await draft.publish({**replaced.records_to_keep(), DATA_KEY: keep_data_key})
    await vault.ended.take_over(ends)
    await record_generations(vault, audit, at, doubted)
    return Restored(doubted, len(replaced.kept), replaced.unread)
