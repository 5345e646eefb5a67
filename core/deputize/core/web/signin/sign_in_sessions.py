"""Sessions at deputize's pages: one encrypted record of the vault for each browser, with an expiry.

The browser has a random value. The record's key begins with its user's prefix and ends with a keyed digest of that
value. So processes share only the vault, erasing a user erases the user's sessions, and a copy of the store signs
nobody in. A session ends at a sign-out, `idle` seconds after the last page, and `lasts` seconds after it began.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from deputize.core.oauth.jose import content_of
from deputize.core.value_object import ValueObject
from deputize.core.vault.grant import Secret, User
from deputize.core.vault.record import Record
from deputize.core.vault.vault import Vault
from deputize.core.web.signin.back_channel_logout import Logout
from deputize.core.web.signing_key import sign

IDLE_SECONDS: Final = 1800.0
"""Seconds without a page after which a session ends."""
MAX_SESSION_SECONDS: Final = 43200.0
"""Seconds after which a session ends in any case."""
TOUCH_INTERVAL_SECONDS: Final = 60.0
"""Seconds between two updates of the last page's time: one for each page would be too many writes."""

LOGOUT_TTL: Final = 900.0
"""Seconds for which a logout is remembered: longer than a sign-in takes from its id_token on."""
NAMES: Final = ("sid", "sub")
"""Claims that name a session, or all of a user's (OpenID Connect Back-Channel Logout 1.0, 2.4)."""

_COOKIE: Final = re.compile(r"([A-Za-z0-9_-]{43})\.([0-9a-f]{32}\.)")


@dataclass(frozen=True, eq=False, repr=False)
class Sessions(ValueObject):
    """The sessions of one issuer's users. ``clock``: Unix seconds."""

    vault: Vault
    issuer: str
    clock: Callable[[], float]
    idle: float = IDLE_SECONDS
    lasts: float = MAX_SESSION_SECONDS

    async def begin(self, user: User, id_token: Secret | None) -> str:
        """Start a session and return its cookie value. ``id_token``: sent at sign-out (RP-Initiated Logout 1.0)."""
        cookie = f"{secrets.token_urlsafe(32)}.{self.vault.key_prefix(user)}"
        ends, key = self.clock() + self.lasts, self._key(cookie)
        content = {"issuer": self.issuer, "user": [user.tenant, user.id], "ends": ends, **self._touch(ends)}
        kept = {"id_token": id_token} if id_token else {}
        claims = content_of(id_token.reveal()) if id_token else {}
        await self.vault.insert("session", key, content | kept)
        names = [self._name(kind, str(claims[kind])) for kind in NAMES if claims.get(kind)]
        for name in names:
            await self.vault.insert("session_names", name + key.rpartition(".")[2], {"place": key, "expires": ends})
        if await self._is_over(names, claims):  # logged out while the user was on the way back
            await self.end(cookie)
        return cookie

    async def user(self, cookie: str) -> User | None:
        """Return the user of this session, or None if it has ended or is unknown."""
        record = await self._record(cookie)
        if record is None:
            return None
        content = record.json
        if content["seen"] <= self.clock() - TOUCH_INTERVAL_SECONDS:
            await self.vault.swap(record, content | self._touch(content["ends"]))  # or another page updated it
        return _user(content)

    async def end(self, cookie: str) -> Secret | None:
        """End the session of this cookie, if any, and return the id_token with which it began."""
        while record := await self._record(cookie):
            if await self.vault.delete(record):
                token: Secret | None = record.json.get("id_token")
                return token
        return None

    async def is_used(self, logout: Logout) -> bool:
        """Return True if the effects of this logout token are complete."""
        return await self.vault.get("logged_out", self._name("jti", logout.id)) is not None

    async def mark_used(self, logout: Logout) -> None:
        """Record that a logout token was handled. If a crash prevents that, the issuer may repeat the token."""
        await self._write(self._name("jti", logout.id), {"expires": logout.until})

    async def log_out(self, logout: Logout) -> list[User]:
        """End the sessions that the issuer has ended, in any browser, and return their users.

        If a session begins in between by an earlier id_token, it ends at once: it reads the record written here first.
        """
        name = self._name("sid", logout.session) if logout.session else self._name("sub", logout.subject)
        await self._write(name, {"at": logout.issued, "expires": self.clock() + LOGOUT_TTL})
        whose = list[User]()
        for found in (await self.vault.scan_openable("session_names", name))[0]:
            if (user := await self._end_by_logout(found.json["place"], logout)) and user not in whose:
                whose.append(user)
        return whose

    async def _end_by_logout(self, key: str, logout: Logout) -> User | None:
        while record := await self.vault.get("session", key):
            content = record.json
            token = content.get("id_token")
            subject = content_of(token.reveal()).get("sub") if token else None
            if logout.subject not in ("", subject):
                return None
            if await self.vault.delete(record):
                return _user(content)
        return None

    async def _is_over(self, names: Iterable[str], claims: Mapping[str, Any]) -> bool:
        """Return True if the issuer ended a session with one of these names after this id_token was issued."""
        for name in names:
            over = await self.vault.get("logged_out", name)
            if over and over.json["expires"] > self.clock() and claims.get("iat", 0.0) <= over.json["at"]:
                return True
        return False

    async def _write(self, key: str, content: dict[str, float]) -> None:
        while not await self.vault.insert("logged_out", key, content):
            old = await self.vault.get("logged_out", key)
            later = (
                content if old is None else {what: max(one, old.json.get(what, one)) for what, one in content.items()}
            )
            if old and await self.vault.swap(old, later):  # a delayed one does not replace a later one
                return

    def _name(self, kind: str, value: str) -> str:
        """Return the key of a session at the issuer, which does not reveal the session."""
        return sign(self.vault.keys.web, "session name", self.issuer, kind, value) + "."

    async def _record(self, cookie: str) -> Record | None:
        """Return the record of a session of this issuer that has not ended, or None."""
        key = self._key(cookie)
        record = await self.vault.get("session", key) if key else None
        if record is None:
            return None
        content = record.json
        alive = content["expires"] > self.clock() and content["issuer"] == self.issuer
        return record if alive and key.startswith(self.vault.key_prefix(_user(content))) else None

    def _key(self, cookie: str) -> str:
        """Return the key of this cookie's record, or "" for an invalid cookie."""
        found = _COOKIE.fullmatch(cookie)
        return found[2] + sign(self.vault.keys.web, "session", found[1]) if found else ""

    def _touch(self, ends: float) -> dict[str, float]:
        now = self.clock()
        return {"seen": now, "expires": min(now + self.idle, ends)}


def _user(content: dict[str, Any]) -> User:
    tenant, name = content["user"]
    return User(name, tenant)
