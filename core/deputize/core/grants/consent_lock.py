"""The lock of a user's tokens of one app: held while a code is exchanged, and while a revocation is sent that could end
other tokens of the account.

At such a provider, a revocation in flight may arrive after an exchange and end tokens that nobody revoked.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Final

from deputize.core.errors import StoreUnavailable
from deputize.core.vault.grant import User
from deputize.core.vault.stores import HeldLock
from deputize.core.vault.vault import Vault

LOCK_TIMEOUT_SECONDS: Final = 30.0
"""Seconds to wait until another consent of the user for the same app has been redeemed."""

_held: ContextVar[Mapping[str, HeldLock | None]] = ContextVar("held", default=MappingProxyType({}))


@asynccontextmanager
async def consent_lock(
    vault: Vault, user: User, provider: str, app: str, timeout: float
) -> AsyncIterator[HeldLock | None]:
    """Hold the lock, and yield what the store yields. Raises `TimeoutError` after ``timeout`` seconds."""
    async with vault.store.lock(name := _name(vault, user, provider, app), timeout) as lock:
        before = _held.set({**_held.get(), name: lock})
        try:
            yield lock
        finally:
            _held.reset(before)


def is_held(vault: Vault, user: User, provider: str, app: str) -> bool:
    """Return True if the caller is inside `consent_lock`."""
    return _name(vault, user, provider, app) in _held.get()


async def is_lost(vault: Vault, user: User, provider: str, app: str) -> bool:
    """Return True if the caller is inside `consent_lock`, and others may hold the lock by now."""
    lock = _held.get().get(_name(vault, user, provider, app))
    if lock is None:
        return False
    try:
        await lock.confirm()
    except StoreUnavailable:
        return True
    return False


def _name(vault: Vault, user: User, provider: str, app: str) -> str:
    return f"consent-{vault.key_prefix(user, provider, app)}"
