"""The record written before a token is used for new ones: after a crash, it says that the token may have been used.

If a store's lock can be lost while its holder continues (`HeldLock`), the intent is also a lease: it names its holder,
and until when a request with this token may be in progress, by the store's clock. No other process sends the token
before that. So a holder that loses its lock during a request is the only one that sent it, and stores the reply.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any, Final

from deputize.core.errors import StoreUnavailable
from deputize.core.oauth.pkce import fingerprint
from deputize.core.vault.grant import Secret
from deputize.core.vault.record import Record
from deputize.core.vault.stores import HeldLock
from deputize.core.vault.vault import Vault

SPARE: Final = 10.0
"""Seconds of a lease beside those that a request may take: for what happens before it leaves, and for a clock of a
database that another server has taken over."""
LOOK: Final = 0.2
"""Seconds between two checks of another holder's lease."""


class Intent:
    """A record that one refresh of one holder is about to use this token of the grant with this key.

    ``holder``: differs in each process; an intent left by an earlier refresh of the same process does not bind it.
    ``lock``: the lock that covers it; None if only the death of its holder frees that. ``seconds``: how long a request
    may take. ``reopened``: the same intent had been written before.
    """

    def __init__(
        self, vault: Vault, key: str, token: Secret, *, holder: str, lock: HeldLock | None, seconds: float
    ) -> None:
        self.vault, self.place, self.token = vault, key, fingerprint(token)
        self.holder, self.lock, self.seconds = holder, lock, seconds
        self.reopened = False
        self._record: Record | None = None
        self._until = 0.0

    async def write(self, now: float, timeout: float) -> None:
        """Store the intent durably. ``now``: Unix seconds. Raises TimeoutError if another holder's lease lasts longer
        than ``timeout`` seconds, `StoreUnavailable` if the lock is lost: then nothing may be sent."""
        deadline = time.monotonic() + timeout
        while True:
            old = await self.vault.get("intent", self.place)
            stored = await self.lock.confirm() if self.lock else 0.0
            left = self._seconds_left(old, stored)
            if left > 0:
                if time.monotonic() >= deadline:
                    raise TimeoutError("Another process may still be sending this token.")
                await asyncio.sleep(min(left, LOOK))
                continue
            content = self._content(now, stored)
            self._record = await (
                self.vault.swap(old, content) if old else self.vault.insert("intent", self.place, content)
            )
            if self._record:
                self.reopened = old is not None and old.json["token"] == self.token
                return

    def _seconds_left(self, old: Record | None, stored: float) -> float:
        """Return the seconds for which another holder may still send."""
        if old is None or self.lock is None or old.json.get("holder") == self.holder:
            return 0.0
        return float(old.json.get("until", 0.0)) - stored

    def _content(self, now: float, stored: float) -> dict[str, Any]:
        mark: dict[str, Any] = {"token": self.token, "at": now}
        if self.lock is None:
            return mark
        self._until = stored + self.seconds + SPARE
        return {**mark, "holder": self.holder, "until": self._until}

    async def allows_another(self) -> bool:
        """Return True if another request may be sent: the lease covers the time it may take."""
        if self.lock is None:
            return True
        try:
            stored = await self.lock.confirm()
            if stored + self.seconds > self._until and self._record:
                content = self._content(float(self._record.json["at"]), stored)
                self._record = await self.vault.swap(self._record, content)
        except StoreUnavailable:
            return False
        return self._record is not None

    async def end(self) -> None:
        """Delete the intent: the token was not used, or the reply is stored. A failed deletion does no harm."""
        if self._record:
            with suppress(StoreUnavailable):
                await self.vault.delete(self._record)

    async def leave(self) -> None:
        """End the lease: the provider may have taken the token, but no request is in progress any more."""
        if self.lock and self._record:
            with suppress(StoreUnavailable):
                await self.vault.swap(self._record, {**self._record.json, "until": 0.0})
