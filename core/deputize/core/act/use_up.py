"""Two rows before a write leaves: the act's claim, and the yes that it happens on, which is used up.

The claim comes first, so that there is no moment with a yes that is used up and nothing that tells by whom. Where a
store keeps the order of what it is asked for, both are asked for at once and share a sync.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from deputize.core.errors import StoreUnavailable
from deputize.core.vault.vault import Record, Vault

Write: TypeAlias = Callable[[], Awaitable[None]]


class Claim:
    """Of one act. ``make`` makes it durable; it asks the store for that before it waits for anything. ``keep`` is given
    what the store could not be told, to be told before the next run of the act looks."""

    def __init__(self, make: Write, keep: Callable[[Write], None]) -> None:
        self.make, self.keep = make, keep


async def use_up(vault: Vault, record: Record, used: dict[str, Any], claim: Claim | None) -> bool:
    """Whether the yes in this record was still there, and is used up now, after the claim. Raises what the claim does:
    then the yes is there again."""
    if claim is None or not getattr(vault.store, "in_order", False):
        if claim is not None:
            await claim.make()
        return await vault.swap(record, used) is not None
    return await asyncio.shield(_together(vault, record, used, claim))


async def _together(vault: Vault, record: Record, used: dict[str, Any], claim: Claim) -> bool:
    """Both, to their end, also where whoever asked was cancelled: a yes without its claim would be lost.

    The yes is sealed before the claim is asked for: sealing lets other threads run, and the store would begin with the
    claim alone.
    """
    swapping = vault.swapping(record, used)
    claimed, swapped = await asyncio.gather(claim.make(), swapping, return_exceptions=True)
    if isinstance(claimed, BaseException):
        if isinstance(swapped, Record):
            await _undone(vault, swapped, record, claim)
        raise claimed
    if isinstance(swapped, BaseException):
        raise swapped
    return swapped is not None


async def _undone(vault: Vault, used: Record, record: Record, claim: Claim) -> None:
    """The yes is there again; at the latest when the store, which may be full by now, takes something again."""

    async def write() -> None:
        await vault.swap(used, record.json)

    try:
        await write()
    except StoreUnavailable:
        claim.keep(write)
