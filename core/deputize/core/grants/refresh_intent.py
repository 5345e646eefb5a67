"""The record written before a token is exchanged for new ones. After a crash, it proves that the token may be used up.

If a store's lock can be lost while its holder continues (`HeldLock`), the intent is also a lease. It names its holder,
and the time, by the store's clock, until which a request with this token may be in progress. No other process sends the
token before that time. So if a holder loses its lock during a request, it is still the only sender, and stores the
reply.
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

LEASE_MARGIN_SECONDS: Final = 10.0
"""Seconds of a lease beside those that a request may take: for what happens before it leaves, and for a clock of a
database that another server has taken over."""
POLL_INTERVAL_SECONDS: Final = 0.2
"""Seconds between two checks of another holder's lease."""


class Intent:
    """A record that one refresh by one holder is about to use this token of the grant.

    ``holder``: differs in each process; an intent left by an earlier refresh of the same process does not block it.
    ``lock``: the lock that covers it; None if only the death of its holder releases the lock. ``seconds``: how long a
    request may take. ``reopened``: True if an earlier refresh left the same intent.
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
        """Store the intent durably. ``now``: Unix seconds. Raises `TimeoutError` if another holder's lease lasts longer
        than ``timeout`` seconds. Raises `StoreUnavailable` if the lock is lost: nothing may be sent then."""
        deadline = time.monotonic() + timeout
        while True:
            old = await self.vault.get("intent", self.place)
            stored = await self.lock.confirm() if self.lock else 0.0
            left = self._seconds_left(old, stored)
            if left > 0:
                if time.monotonic() >= deadline:
                    raise TimeoutError("Another process may still be sending this token.")
                await asyncio.sleep(min(left, POLL_INTERVAL_SECONDS))
                continue
            content = self._content(now, stored)
            self._record = await (
                self.vault.swap(old, content) if old else self.vault.insert("intent", self.place, content)
            )
            if self._record:
                self.reopened = old is not None and old.json["token"] == self.token
                return

    def _seconds_left(self, old: Record | None, stored: float) -> float:
        """Return the seconds for which another holder may still send the token."""
        if old is None or self.lock is None or old.json.get("holder") == self.holder:
            return 0.0
        return float(old.json.get("until", 0.0)) - stored

    def _content(self, now: float, stored: float) -> dict[str, Any]:
        mark: dict[str, Any] = {"token": self.token, "at": now}
        if self.lock is None:
            return mark
        self._until = stored + self.seconds + LEASE_MARGIN_SECONDS
        return {**mark, "holder": self.holder, "until": self._until}

    async def allows_another(self) -> bool:
        """Return True if another request may be sent, because the lease covers the time that it may take."""
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
        """Delete the intent, because the token was not used or the reply is stored. A failed deletion does no harm."""
        if self._record:
            with suppress(StoreUnavailable):
                await self.vault.delete(self._record)

    async def leave(self) -> None:
        """End the lease, because no request is in progress any more. The provider may have accepted the token."""
        if self.lock and self._record:
            with suppress(StoreUnavailable):
                await self.vault.swap(self._record, {**self._record.json, "until": 0.0})
