"""Root keys that change: sealing with the newest what an older one sealed, and who still needs which."""

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
from deputize.core.vault.record import KINDS, PAGE, Record
from deputize.core.vault.seal import key_id
from deputize.core.vault.vault import Vault

RESEALING: Final = ("meta", "resealing")
"""Kind and key of the mark: which key everything is being sealed with, and how far that came."""
MARKED: Final = 10
"""Pages after which it is noted how far it came."""
PAUSE: Final = 0.01
"""Seconds between two pages in the background, which leaves the store to others."""


@frozen
class Resealed(ValueObject):
    """What `reseal` did: records sealed anew, and records that do not open, left as they are."""

    anew: int
    shut: int


async def reseal(vault: Vault, progress: Callable[[int], object] | None = None) -> Resealed:
    """Seal with the newest key whatever an older one sealed, the vault's own keys first.

    Others may read and write meanwhile. It can be cut off anywhere: then a process whose newest key is the same one
    goes on in the background (`go_on`), or it is begun again. An older key may be taken out of the list once no program
    seals with it any more and `key_uses` says that no record needs it. ``progress`` is told after each page how many
    were sealed anew so far.
    """
    mark = await begin(vault)
    begun_with = vault.sealer.ids[0]
    done = await _through(vault, mark, progress=progress)
    await _finish(vault, begun_with)
    return done


async def begin(vault: Vault) -> Record | None:
    """Note that all is to be sealed with the newest key: whoever runs does so in the background."""
    await vault.renew_keys(lambda keys: keys.sealed_by(vault.sealer.ids[0]))  # once they were read: they may be newer
    content = {"key": vault.sealer.ids[0], "kind": KINDS[0], "after": ""}
    return await _note(vault, await vault.get(*RESEALING), content)


async def go_on(vault: Vault, audit: Audit) -> None:
    """What was begun and cut off is brought to its end, in one process at a time; nothing where another newest key
    stands in front here. For the background."""
    mark = await vault.get(*RESEALING)
    if mark is None or mark.json["key"] != vault.sealer.ids[0]:
        return
    with suppress(TimeoutError):
        async with vault.store.lock("resealing", 0.0):
            done = await _through(vault, mark, pause=PAUSE)
            if await _finish(vault, mark.json["key"]):
                audit.write(KeyResealed(mark.json["key"], records=done.anew, shut=done.shut))


async def _through(
    vault: Vault,
    mark: Record | None,
    *,
    progress: Callable[[int], object] | None = None,
    pause: float = 0.0,
) -> Resealed:
    """All pages from where the mark says."""
    came = mark.json if mark else {}
    anew = shut = pages = 0
    async for kind, page in _pages(vault, came.get("kind", KINDS[0]), came.get("after", ""), pause):
        stale = [row for row in page if vault.sealer.stale(row[1])]
        ended = await asyncio.gather(*(_reseal(vault, kind, *row) for row in stale), return_exceptions=True)
        for one in ended:
            if isinstance(one, BaseException) and not isinstance(one, VaultError):
                raise one
        shut += sum(isinstance(one, VaultError) for one in ended)
        anew += ended.count(True)
        pages += 1
        if pages % MARKED == 0 and mark:
            mark = await _note(vault, mark, {**came, "kind": kind, "after": page[-1][0]})
        if progress:
            progress(anew)
    return Resealed(anew, shut)


async def _note(vault: Vault, mark: Record | None, content: dict[str, Any]) -> Record | None:
    return await (vault.swap(mark, content) if mark else vault.insert(*RESEALING, content))


async def _finish(vault: Vault, key: str) -> bool:
    """Take the mark away, unless it is of another key; whether this call did."""
    mark = await vault.get(*RESEALING)
    return mark is not None and mark.json["key"] == key and await vault.delete(mark)


async def _pages(
    vault: Vault, first: str = KINDS[0], after: str = "", pause: float = 0.0
) -> AsyncIterator[tuple[str, list[tuple[str, bytes]]]]:
    """All records of all kinds, sealed, a page at a time: what is sealed anew together costs one sync."""
    for kind in KINDS[KINDS.index(first) if first in KINDS else 0 :]:
        while page := await vault.store.scan(kind, after=after, most=PAGE):
            after = page[-1][0]
            yield kind, page
            await asyncio.sleep(pause)  # a store whose reads never wait leaves the event loop to others here
        after = ""


async def _reseal(vault: Vault, kind: str, key: str, now: bytes | None) -> bool:
    """Whether it was sealed with another key, and is sealed with the newest there is: it may have come meanwhile."""
    while now is not None and vault.sealer.stale(now):
        await vault.find_keys(now)
        generation, plain = vault.unsealed(kind, key, now)
        sealer = vault.sealer  # that of now, which `find_keys` may have found
        if sealer.stale(now) and await vault.store.swap(kind, key, now, sealer.seal(kind, key, generation, plain)):
            return True
        now = await vault.store.get(kind, key)
    return False


async def key_uses(vault: Vault) -> Counter[str]:
    """How many records each root key has sealed, by the key's id, whether the key is at hand or not."""
    uses = Counter[str]()
    async for _, page in _pages(vault):
        uses.update(key_id(sealed) for _, sealed in page)
    return uses
