"""What is written down before a token is used for new ones: so that whoever comes after a crash knows that it may have
been used already.

Where a store's lock can be lost while its holder goes on (`HeldLock`), it is a lease, too: it names its holder, and
until when a request with this token may be under way, by the store's clock. Nobody else sends the token before that. So
a holder that loses its lock in the middle of a request is the only one that has sent it, and stores what comes.
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
"""Seconds between two looks at another's lease."""


class Intent:
    """That this token of the grant in this place is about to be used, by one refresh of one holder.

    ``holder``: another one in each process; what an earlier refresh of the same process has left binds nobody there.
    ``lock``: what it is made under; None where nothing but the end of its holder ends that. ``seconds``: that a request
    may take. ``reopened``: the same had been written down before.
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
        """Write it down, durably. ``now``: Unix seconds. Raises TimeoutError where another one's lease does not end
        within so many seconds, `StoreUnavailable` where the lock is lost: nothing may be sent then."""
        deadline = time.monotonic() + timeout
        while True:
            old = await self.vault.get("intent", self.place)
            stored = await self.lock.confirm() if self.lock else 0.0
            left = self._left(old, stored)
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

    def _left(self, old: Record | None, stored: float) -> float:
        """Seconds for which another holder may still send."""
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
        """Whether another request may be sent: it is still this one's turn, for as long as that may take."""
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
        """The token was not used up, or what it has brought is stored. What cannot be removed now is no harm."""
        if self._record:
            with suppress(StoreUnavailable):
                await self.vault.delete(self._record)

    async def leave(self) -> None:
        """The provider may have taken the token, but no request is under way any more: nobody has to wait."""
        if self.lock and self._record:
            with suppress(StoreUnavailable):
                await self.vault.swap(self._record, {**self._record.json, "until": 0.0})
