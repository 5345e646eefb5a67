"""Opening of a vault: its first record, which an empty store receives, and the key that decrypts a record."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Final

from deputize.core.errors import SettingsError, StoreUnavailable, VaultError
from deputize.core.vault.key_source import PartialKeySource
from deputize.core.vault.record import FIRST, KINDS
from deputize.core.vault.seal import Sealer, key_id
from deputize.core.vault.stores.protocol import Store
from deputize.core.vault.vault_keys import VaultKeys

LOST: Final = "Restore it (deputize vault restore), or start a new one: deputize vault new says what is lost then."


async def open_first(store: Store, sealer: Sealer, *, begin: bool) -> tuple[Sealer, VaultKeys]:
    """Return the sealer that decrypts the vault in this store, and the vault's own keys, from its first record.

    An empty store gets one, unless ``begin`` is False. Raises the errors of `deputize.core.vault.vault.Vault.open`.
    """
    for _ in range(2):
        if sealed := await store.get(*FIRST):
            if not sealer.knows(sealed):
                sealer = await asyncio.to_thread(find_keys, [sealed], sealer)
                check_key(sealed, sealer)
            keys = VaultKeys.unpack(sealer.open(*FIRST, sealed)[1])
            keys.check_order(sealer.ids[0])
            check_proven(sealer, {key_id(sealed), *keys.sealers})
            return sealer, keys
        if begin and not await _any(store):
            keys = VaultKeys.new(sealer.ids[0])
            await store.insert(*FIRST, sealer.seal(*FIRST, 1, keys.pack()))
        # else another program may have created it since the first record was looked up, and written more
    raise VaultError("The vault has lost its first record.", hint=LOST)


async def _any(store: Store) -> bool:
    """Return whether the store has any record."""
    for kind in KINDS:
        if await store.scan(kind):
            return True
    return False


def find_keys(rows: Sequence[bytes], sealer: Sealer) -> Sealer:
    """Return a sealer with the source's present keys if it can decrypt one of these records, else this sealer.

    Raises `StoreUnavailable` if the source fails for now. Reads the source, so call it in a thread.
    """
    if (source := sealer.source) is None:
        return sealer
    try:
        found = Sealer.from_source(source)
        check_proven(found, sealer.ids)
    except SettingsError:
        return sealer
    if isinstance(source, PartialKeySource):
        closed = source.closed_keys()
        for error in (closed.get(key_id(sealed)) for sealed in rows if not found.knows(sealed)):
            if isinstance(error, StoreUnavailable):
                raise error
    return found if any(map(found.knows, rows)) else sealer


def check_proven(sealer: Sealer, trusted: Collection[str]) -> None:
    """Raise `SettingsError` if somebody has added a root key to a list without knowing a ``trusted`` one."""
    source = sealer.source
    if isinstance(source, PartialKeySource) and (unproven := source.unproven_keys(trusted)):
        raise SettingsError(
            f"The root key {unproven[0]} was added by somebody who did not know the keys of this vault.",
            hint=f"Find out who changed {source.name}, and restore it from a copy. Nothing was sealed with that key.",
        )


def check_key(sealed: bytes, sealer: Sealer) -> None:
    """Raise `VaultError` if the key of a record is unknown."""
    if not sealer.knows(sealed):
        raise _key_missing(sealed, sealer)


def _key_missing(sealed: bytes, sealer: Sealer) -> VaultError:
    given, source = ", ".join(sealer.ids), sealer.source.name if sealer.source else "the list of keys"
    return VaultError(
        "A record in the vault cannot be opened: its key is not among those given.",
        hint=f"It needs the key with the id {key_id(sealed)}; given: {given}. Check {source}, and "
        "put the missing key back behind the newest. Nothing was changed.",
    )
