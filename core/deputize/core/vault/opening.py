"""How a vault is opened: its first record, which an empty store gets, and the key that a record needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, TypeAlias

from deputize.core.errors import SettingsError, VaultError
from deputize.core.vault.record import FIRST, KINDS
from deputize.core.vault.seal import Sealer, key_id
from deputize.core.vault.stores.protocol import Store
from deputize.core.vault.vault_keys import VaultKeys

LOST: Final = "Restore it (deputize vault restore), or begin anew: deputize vault new says what is lost then."

Reread: TypeAlias = Callable[[], Sequence[bytes]]
"""Gives the root keys of now, newest first."""


async def open_first(store: Store, sealer: Sealer, reread: Reread | None, *, begin: bool) -> tuple[Sealer, VaultKeys]:
    """What opens the vault in this store, and the vault's own keys, from its first record.

    An empty store gets one, unless ``begin`` is False. Raises as `deputize.core.vault.vault.Vault.open` says.
    """
    for _ in range(2):
        if sealed := await store.get(*FIRST):
            sealer = knowing(sealed, sealer, reread)
            keys = VaultKeys.unpack(sealer.open(*FIRST, sealed)[1])
            keys.check_order(sealer.ids[0])
            return sealer, keys
        if begin and not await _any(store):
            keys = VaultKeys.new(sealer.ids[0])
            await store.insert(*FIRST, sealer.seal(*FIRST, 1, keys.pack()))
        # else another program may have begun it since the look for a first record, and written more
    raise VaultError("The vault has lost its first record.", hint=LOST)


async def _any(store: Store) -> bool:
    """Whether any record lies there."""
    for kind in KINDS:
        if await store.scan(kind):
            return True
    return False


def knowing(sealed: bytes, sealer: Sealer, reread: Reread | None) -> Sealer:
    """What can open it: this, or what the keys of now make. Raises `VaultError` where neither has its key."""
    if sealer.knows(sealed):
        return sealer
    with suppress(SettingsError):
        sealer = Sealer(reread()) if reread else sealer
    if not sealer.knows(sealed):
        raise _key_missing(sealed, sealer)
    return sealer


def _key_missing(sealed: bytes, sealer: Sealer) -> VaultError:
    given = ", ".join(sealer.ids)
    return VaultError(
        "A record in the vault cannot be opened: its key is not among those given.",
        hint=f"It needs the key with the id {key_id(sealed)}; given: {given}. Check DEPUTIZE_KEY or the key file, and "
        "put the missing key back behind the newest. Nothing was changed.",
    )
