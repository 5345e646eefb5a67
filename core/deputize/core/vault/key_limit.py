"""The time limit of root keys: a program may use them only as long as their KMS still unwraps them.

Half the limit after the KMS last unwrapped them, it is asked again. If it is only away, the keys are used until the
limit is over. If it refuses the newest, they are closed at once. Closed records raise `StoreUnavailable` until the KMS
unwraps the keys again, which the next act tries.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Final

from deputize.core.vault.key_sources.wrapped import WrappedKeys
from deputize.core.vault.seal import ClosedSealer, id_of
from deputize.core.vault.vault import Vault

_STEP: Final = 1 / 20
"""Share of the limit between two tries."""
_LAST: Final = 0.8
"""Share of the limit after which keys of a KMS that is away are closed. The rest is for one more step, and one try that
hangs (`UNWRAP_SECONDS`)."""

log = logging.getLogger("deputize")


async def limit_keys(vault: Vault, ttl: float) -> None:
    """Begin to enforce a limit of ``ttl`` seconds, until the vault is closed. Call it on the portal's loop."""
    if isinstance(source := vault.sealer.source, WrappedKeys):
        task = asyncio.create_task(_enforce(vault, source, ttl))

        async def stop() -> None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

        vault.before_close.append(stop)


async def _enforce(vault: Vault, source: WrappedKeys, ttl: float) -> None:
    while True:
        await asyncio.sleep(max(ttl / 2 - source.age, ttl * _STEP))
        if source.age < ttl / 2 or isinstance(vault.sealer, ClosedSealer):
            continue
        keys = await asyncio.to_thread(source.renew, ttl * _LAST)
        if not keys:
            log.error("The root keys are closed: their KMS does not unwrap them. Acts fail until it does.")
            vault.close_keys()
        elif [id_of(key) for key in keys] != vault.sealer.ids:
            vault.rekey(keys)
