"""Root keys that change: sealing with the newest what an older one sealed, and who still needs which."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from deputize.core.errors import VaultError
from deputize.core.value_object import ValueObject
from deputize.core.vault.record import KINDS, PAGE
from deputize.core.vault.seal import Sealer, key_id
from deputize.core.vault.vault import Vault


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Resealed(ValueObject):
    """What `reseal` did: records sealed anew, and records that do not open, left as they are."""

    anew: int
    shut: int


async def reseal(vault: Vault, progress: Callable[[int], object] | None = None) -> Resealed:
    """Seal with the newest key whatever an older one sealed, the vault's own keys first.

    Others may read and write meanwhile. It can be cut off anywhere and begun again. An older key may be taken out
    of the list once no program seals with it any more and `key_uses` says that no record needs it. ``progress`` is told
    after each page how many were sealed anew so far.
    """
    sealer = vault.sealer
    await vault.renew_keys(lambda keys: keys.sealed_by(sealer.ids[0]))
    anew = shut = 0
    async for kind, page in _pages(vault):
        stale = [row for row in page if sealer.stale(row[1])]
        ended = await asyncio.gather(*(_reseal(vault, sealer, kind, *row) for row in stale), return_exceptions=True)
        for one in ended:
            if isinstance(one, BaseException) and not isinstance(one, VaultError):
                raise one
        shut += sum(isinstance(one, VaultError) for one in ended)
        anew += ended.count(True)
        if progress:
            progress(anew)
    return Resealed(anew, shut)


async def _pages(vault: Vault) -> AsyncIterator[tuple[str, list[tuple[str, bytes]]]]:
    """All records of all kinds, sealed, a page at a time: what is sealed anew together costs one sync."""
    for kind in KINDS:
        after = ""
        while page := await vault.store.scan(kind, after=after, most=PAGE):
            after = page[-1][0]
            yield kind, page
            await asyncio.sleep(0)  # a store whose reads never wait leaves the event loop to others here


async def _reseal(vault: Vault, sealer: Sealer, kind: str, key: str, now: bytes | None) -> bool:
    while now is not None and sealer.stale(now):
        generation, plain = vault.unsealed(kind, key, now)
        if await vault.store.swap(kind, key, now, sealer.seal(kind, key, generation, plain)):
            return True
        now = await vault.store.get(kind, key)
    return False


async def key_uses(vault: Vault) -> Counter[str]:
    """How many records each root key has sealed, by the key's id, whether the key is at hand or not."""
    uses = Counter[str]()
    async for _, page in _pages(vault):
        uses.update(key_id(sealed) for _, sealed in page)
    return uses
