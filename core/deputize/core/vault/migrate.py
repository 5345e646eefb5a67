"""Migration from one store to another. It copies the encrypted records, so it needs no key.

The first record is copied last: after an interruption, the copy is not a vault yet, and the next run continues it.
Nobody may write during the copy, because a token that is rotated in one of two vaults is dead in the other. A change is
detected at the end.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from deputize.core.errors import Conflict, SettingsError
from deputize.core.vault.record import FIRST, KINDS
from deputize.core.vault.stores import Store

RECORDS_PER_BATCH: Final = 200


async def copy_records(start: Store, to: Store) -> int:
    """Copy the records of ``start`` to ``to``, and return their number.

    Raises `SettingsError` if ``start`` has no vault or ``to`` has one already. Raises `Conflict` if another program
    wrote to ``start`` in between; then ``to`` is not a vault yet.
    """
    first = await start.get(*FIRST)
    if first is None:
        raise SettingsError("There is no vault to copy.")
    if await to.get(*FIRST) is not None:
        raise SettingsError("There is a vault already where the copy is to go.", hint="Name a store that is empty.")
    count = 0
    for kind in KINDS:
        async for key, value in _rows(start, kind):
            await _put(to, kind, key, value)
            count += 1
    await _drop_others(start, to)
    if not await _same(start, to) or await start.get(*FIRST) != first:
        raise Conflict("The vault was written to while it was copied.", hint="Stop what uses it, then copy it again.")
    await to.insert(*FIRST, first)
    return count + 1


async def _rows(store: Store, kind: str) -> AsyncIterator[tuple[str, bytes]]:
    """Yield all records of a kind except the first record."""
    after = ""
    while page := await store.scan(kind, after=after, most=RECORDS_PER_BATCH):
        for key, value in page:
            if (kind, key) != FIRST:
                yield key, value
        after = page[-1][0]


async def _put(to: Store, kind: str, key: str, value: bytes) -> None:
    while not await to.insert(kind, key, value):
        old = await to.get(kind, key)
        if old == value or (old is not None and await to.swap(kind, key, old, value)):
            return


async def _drop_others(start: Store, to: Store) -> None:
    """Delete records that an interrupted copy left behind and that were deleted in ``start`` since."""
    for kind in KINDS:
        async for key, value in _rows(to, kind):
            if await start.get(kind, key) is None:
                await to.delete(kind, key, value)


async def _same(start: Store, to: Store) -> bool:
    for kind in KINDS:
        copied = _rows(to, kind)
        async for row in _rows(start, kind):
            if row != await anext(copied, None):
                return False
        if await anext(copied, None) is not None:
            return False
    return True
