"""Who is signed in at our own pages: a row of the vault for each browser, sealed, with an end.

The browser has a random value; the row lies below its user's place, under a keyed digest of that value. Several
processes share nothing but the vault, an erased user's sessions go with the rest, and a copy of the store signs nobody
in. A session ends when it is signed out of, `idle` seconds after the last page, and `lasts` seconds after it began.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from deputize.core.value_object import ValueObject
from deputize.core.vault.grant import Secret, User
from deputize.core.vault.record import Record
from deputize.core.vault.vault import Vault
from deputize.core.web.signing import proof

IDLE: Final = 1800.0
"""Seconds without a page after which a session ends."""
LASTS: Final = 43200.0
"""Seconds after which it ends in any case."""
TOUCHED: Final = 60.0
"""Seconds between two notes of the last page: a write for each page would be many."""

_COOKIE: Final = re.compile(r"([A-Za-z0-9_-]{43})\.([0-9a-f]{32}\.)")


@dataclass(frozen=True, eq=False, repr=False)
class Sessions(ValueObject):
    """The sessions of one issuer's users. ``clock``: Unix seconds."""

    vault: Vault
    issuer: str
    clock: Callable[[], float]
    idle: float = IDLE
    lasts: float = LASTS

    async def begin(self, user: User, id_token: Secret | None) -> str:
        """A new session; the value of its cookie. ``id_token``: kept for its end only (RP-Initiated Logout 1.0)."""
        cookie = f"{secrets.token_urlsafe(32)}.{self.vault.place(user)}"
        ends = self.clock() + self.lasts
        content = {"issuer": self.issuer, "user": [user.tenant, user.id], "ends": ends, **self._used(ends)}
        kept = {"id_token": id_token} if id_token else {}
        await self.vault.insert("session", self._place(cookie), content | kept)
        return cookie

    async def user(self, cookie: str) -> User | None:
        """Whose session this is; None if it has ended, or never was."""
        record = await self._record(cookie)
        if record is None:
            return None
        content = record.json
        if content["seen"] <= self.clock() - TOUCHED:
            await self.vault.swap(record, content | self._used(content["ends"]))  # or another page did
        return _user(content)

    async def end(self, cookie: str) -> Secret | None:
        """End a session, if it is one; the id_token it began with."""
        while record := await self._record(cookie):
            if await self.vault.delete(record):
                token: Secret | None = record.json.get("id_token")
                return token
        return None

    async def _record(self, cookie: str) -> Record | None:
        """The row of a session that has not ended, and is of this issuer."""
        place = self._place(cookie)
        record = await self.vault.get("session", place) if place else None
        if record is None:
            return None
        content = record.json
        alive = content["expires"] > self.clock() and content["issuer"] == self.issuer
        return record if alive and place.startswith(self.vault.place(_user(content))) else None

    def _place(self, cookie: str) -> str:
        """Where the row of this cookie lies; "" for what is no cookie of ours."""
        found = _COOKIE.fullmatch(cookie)
        return found[2] + proof(self.vault.keys.web, "session", found[1]) if found else ""

    def _used(self, ends: float) -> dict[str, float]:
        now = self.clock()
        return {"seen": now, "expires": min(now + self.idle, ends)}


def _user(content: dict[str, Any]) -> User:
    tenant, name = content["user"]
    return User(name, tenant)
