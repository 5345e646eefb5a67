"""Two rows before a write leaves: the act's claim, and the yes that it happens on, which is used up.

The claim comes first, so that there is no moment with a yes that is used up and nothing that tells by whom. Where a
store keeps the order of what it is asked for, both are asked for at once and share a sync.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from deputize.core.vault.vault import Record, Vault

Claim: TypeAlias = Callable[[], Awaitable[None]]
"""Makes the claim durable. It asks the store for that before it waits for anything."""


async def use_up(vault: Vault, record: Record, used: dict[str, Any], claim: Claim | None) -> bool:
    """Whether the yes in this record was still there, and is used up now, after the claim. Raises what the claim does:
    then the yes is there again."""
    if claim is None or not getattr(vault.store, "in_order", False):
        if claim is not None:
            await claim()
        return await vault.swap(record, used) is not None
    claimed, swapped = await asyncio.gather(claim(), vault.swap(record, used), return_exceptions=True)
    if isinstance(claimed, BaseException):
        if isinstance(swapped, Record):
            await vault.swap(swapped, record.json)
        raise claimed
    if isinstance(swapped, BaseException):
        raise swapped
    return swapped is not None
