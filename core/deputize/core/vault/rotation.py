"""Root keys that change: sealing with the newest what an older one sealed, and who still needs which."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from deputize.core.errors import VaultError
from deputize.core.value_object import ValueObject
from deputize.core.vault.record import KINDS
from deputize.core.vault.seal import Sealer, key_id
from deputize.core.vault.vault import Vault


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Resealed(ValueObject):
    """What `reseal` did: records sealed anew, and records that do not open, left as they are."""

    anew: int
    shut: int


async def reseal(vault: Vault) -> Resealed:
    """Seal with the newest key whatever an older one sealed, the vault's own keys first.

    Others may read and write meanwhile. It can be cut off anywhere and begun again. An older key may be taken out
    of the list once no program seals with it any more and `key_uses` says that no record needs it.
    """
    sealer = vault.sealer
    await vault.renew_keys(lambda keys: keys.sealed_by(sealer.ids[0]))
    anew = shut = 0
    for kind in KINDS:
        for key, sealed in await vault.store.scan(kind):
            try:
                anew += await _reseal(vault, sealer, kind, key, sealed)
            except VaultError:
                shut += 1
    return Resealed(anew, shut)


async def _reseal(vault: Vault, sealer: Sealer, kind: str, key: str, now: bytes | None) -> bool:
    while now is not None and sealer.stale(now):
        generation, plain = vault.unsealed(kind, key, now)
        if await vault.store.swap(kind, key, now, sealer.seal(kind, key, generation, plain)):
            return True
        now = await vault.store.get(kind, key)
    return False


async def key_uses(vault: Vault) -> Counter[str]:
    """How many records each root key has sealed, by the key's id, whether the key is at hand or not."""
    return Counter([key_id(sealed) for kind in KINDS for _, sealed in await vault.store.scan(kind)])
