"""Rotation of root keys: encrypting records with the newest key, and counting the records that need each key."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any, Final

from deputize.core.audit import Audit
from deputize.core.audit.events import KeyResealed
from deputize.core.errors import VaultError
from deputize.core.value_object import ValueObject, frozen
from deputize.core.vault.data_key import DataKey, is_of_tenant
from deputize.core.vault.record import KINDS, PAGE, Record
from deputize.core.vault.seal import key_id
from deputize.core.vault.tenants import DataKeyUpgrade
from deputize.core.vault.vault import Vault

RESEALING: Final = ("meta", "resealing")
"""Kind and key of the marker: which key all records are being encrypted with, and how far that got."""
PAGES_PER_MARK: Final = 10
"""Pages between two updates of the marker."""
PAGE_PAUSE_SECONDS: Final = 0.01
"""Seconds between two pages in the background, which leaves the store to others."""


@frozen
class Resealed(ValueObject):
    """The result of `reseal`: records encrypted again, and damaged records, which are left unchanged."""

    anew: int
    shut: int


async def reseal(vault: Vault, progress: Callable[[int], object] | None = None) -> Resealed:
    """Encrypt all records under older keys with the newest key, the vault's own keys first. Records of tenants that an
    earlier version wrote are encrypted with the tenants' data keys.

    Others may read and write during that. It may be interrupted anywhere: then a process with the same newest key
    continues in the background (`continue_reseal`), or the caller repeats it. An older key may be removed once no
    program uses it and `key_uses` counts no record for it. ``progress`` is called after each page with the number of
    records encrypted so far.
    """
    mark = await begin_reseal(vault)
    begun_with = vault.sealer.ids[0]
    done = await _through(vault, mark, progress=progress)
    await _finish(vault, begun_with)
    return done


async def begin_reseal(vault: Vault) -> Record | None:
    """Store a marker, so that running processes encrypt all records with the newest key in the background."""
    await vault.renew_keys(lambda keys: keys.sealed_by(vault.sealer.ids[0]))  # read late: it may be a newer one
    content = {"key": vault.sealer.ids[0], "kind": KINDS[0], "after": ""}
    return await _note(vault, await vault.get(*RESEALING), content)


async def continue_reseal(vault: Vault, audit: Audit) -> None:
    """Finish an interrupted `reseal` in the background, one process at a time, if this process has the newest key."""
    mark = await vault.get(*RESEALING)
    if mark is None or mark.json["key"] != vault.sealer.ids[0]:
        return
    with suppress(TimeoutError):
        async with vault.store.lock("resealing", 0.0):
            done = await _through(vault, mark, pause=PAGE_PAUSE_SECONDS)
            if await _finish(vault, mark.json["key"]):
                audit.write(KeyResealed(mark.json["key"], records=done.anew, shut=done.shut))


async def _through(
    vault: Vault,
    mark: Record | None,
    *,
    progress: Callable[[int], object] | None = None,
    pause: float = 0.0,
) -> Resealed:
    """Encrypt all pages again, starting at the marker."""
    came, upgrade = mark.json if mark else {}, await DataKeyUpgrade.of(vault)
    anew = shut = pages = 0
    async for kind, page in _pages(vault, came.get("kind", KINDS[0]), came.get("after", ""), pause):
        rows = [(key, sealed, await upgrade.key_for(kind, key)) for key, sealed in page if not is_of_tenant(sealed)]
        stale = [row for row in rows if row[2] or vault.sealer.stale(row[1])]
        results = await asyncio.gather(*(_reseal(vault, kind, *row) for row in stale), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, VaultError):
                raise result
        shut += sum(isinstance(result, VaultError) for result in results)
        anew += results.count(True)
        pages += 1
        if pages % PAGES_PER_MARK == 0 and mark:
            mark = await _note(vault, mark, {**came, "kind": kind, "after": page[-1][0]})
        if progress:
            progress(anew)
    return Resealed(anew, shut)


async def _note(vault: Vault, mark: Record | None, content: dict[str, Any]) -> Record | None:
    return await (vault.swap(mark, content) if mark else vault.insert(*RESEALING, content))


async def _finish(vault: Vault, key: str) -> bool:
    """Remove the marker unless it is for another key. Return whether this call removed it."""
    mark = await vault.get(*RESEALING)
    return mark is not None and mark.json["key"] == key and await vault.delete(mark)


async def _pages(
    vault: Vault, first: str = KINDS[0], after: str = "", pause: float = 0.0
) -> AsyncIterator[tuple[str, list[tuple[str, bytes]]]]:
    """Yield all records of all kinds, encrypted, a page at a time: the writes of a page share a sync to disk."""
    for kind in KINDS[KINDS.index(first) if first in KINDS else 0 :]:
        while page := await vault.store.scan(kind, after=after, most=PAGE):
            after = page[-1][0]
            yield kind, page
            await asyncio.sleep(pause)  # yields the event loop even if the store's reads never wait
        after = ""


async def _reseal(vault: Vault, kind: str, key: str, now: bytes | None, data_key: DataKey | None) -> bool:
    """Encrypt a record with the data key, or else with the newest root key. Return whether this call did so."""
    while now is not None and not is_of_tenant(now) and (data_key or vault.sealer.stale(now)):
        await vault.find_keys(now)
        generation, plain = vault.unsealed(kind, key, now)
        sealer = vault.sealer  # read after `find_keys`, which may have replaced it
        if (data_key or sealer.stale(now)) and await vault.store.swap(
            kind, key, now, (data_key or sealer).seal(kind, key, generation, plain)
        ):
            return True
        now = await vault.store.get(kind, key)
    return False


async def key_uses(vault: Vault) -> Counter[str]:
    """Return the number of records that each root key has encrypted, by key id, including unknown keys. Data keys of
    tenants are such records; the records that they encrypt are not counted."""
    uses = Counter[str]()
    async for _, page in _pages(vault):
        uses.update(key_id(sealed) for _, sealed in page if not is_of_tenant(sealed))
    return uses
