"""Copies of a vault while it is in use, and back. A copy is as sealed as the vault.

It is marked as one inside its first record: whoever opens a vault with that mark has a backup in hand that somebody
put back, and `restore` says what it may be trusted with.
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
from deputize.core.vault.restore import Enqueue, count_anew, distrust, end_revoked, keep_what_may_live
from deputize.core.vault.rollback import AuditedGenerations
from deputize.core.vault.stores import Backup, store_type
from deputize.core.vault.vault import FIRST, Vault
from deputize.core.vault.vault_keys import VaultKeys

_ROWS_OF_OTHERS = 0.6
"""Seconds after which what other processes did is in the audit: see `deputize.core.audit.commit_thread.GATHER`."""


def backups_of(vault: Vault) -> Backup:
    """What copies this vault. Raises `SettingsError` where its store cannot."""
    return _there(vault.store.backup)


def backups_at(url: str) -> Backup:
    """What copies the vault at this address, be there one or not. Raises `SettingsError` where its store cannot."""
    make = store_type(url).backup
    return _there(make(url) if make else None)


def _there(backup: Backup | None) -> Backup:
    if backup is None:
        hint = "Back it up with the means of the database it lies in. A vault in memory ends with its process."
        raise SettingsError("This vault lies in no file, so there is no backup of it.", hint=hint)
    return backup


async def back_up(vault: Vault, to: Path, now: float) -> None:
    """Make a consistent copy at ``to``, mode 0600, while others read and write. ``now``: Unix seconds.

    Raises `SettingsError` where something is there already or nothing can be written, and leaves nothing behind then.
    """
    backups = backups_of(vault)
    await vault.get(*FIRST)  # with keys that open it now

    def marked(sealed: bytes) -> bytes:
        sealer = vault.sealer
        if not sealer.knows(sealed):  # its key has changed since
            sealer = find_keys([sealed], sealer)
        check_key(sealed, sealer)
        generation, plain = sealer.open(*FIRST, sealed)
        keys = replace(VaultKeys.unpack(plain), copied_at=now)
        return sealer.seal(*FIRST, generation, keys.pack())

    await asyncio.to_thread(backups.copy, to, {FIRST: marked})


async def restore(vault: Vault, backup: Path, audit: Audit, trail: Trail, enqueue: Enqueue) -> int:
    """Replace what is in the vault by a backup of it, as one step, while others use it. How many grants are in doubt.

    ``trail``: the audit's. The revocation queue stays as it is in the vault now, and gets what is written over.
    Raises `SettingsError` for a backup of another vault, `VaultError` for one that does not open, and has changed
    nothing then.
    """
    async with backups_of(vault).draft(backup) as draft:
        copied = await Vault.open(draft.store, vault.sealer)
        if copied.keys.index != vault.keys.index:
            raise SettingsError("This is a backup of another vault.", hint=str(backup))
        await audit.settle()
        doubted = await distrust(copied, await AuditedGenerations.read(trail, vault), enqueue)
        await keep_what_may_live(vault, copied, enqueue)
        await ChainHeads(copied).take_over(ChainHeads(vault))
        at = copied.keys.copied_at
        await copied.accept_copy(vault.keys)
        await draft.publish()
    await asyncio.sleep(_ROWS_OF_OTHERS)
    await end_revoked(
        vault, await AuditedGenerations.read(trail, vault), enqueue
    )  # what was revoked meanwhile was written over
    await count_anew(vault, audit, at, doubted)
    return doubted
