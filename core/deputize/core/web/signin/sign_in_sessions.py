"""Sessions at deputize's pages: one encrypted record of the vault for each browser, with an expiry.

The browser has a random value. The record's key begins with its user's prefix and ends with a keyed digest of that
value. So processes share only the vault, erasing a user erases the user's sessions, and a copy of the store signs
nobody in. A session ends at a sign-out, `idle` seconds after the last page, and `lasts` seconds after it began.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from deputize.core.acts.offboard import LOGOUT_TTL, sign_ins_key
from deputize.core.value_object import ValueObject, frozen
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

NAMES: Final = ("sid", "sub")
"""Claims that name a session, or all of a user's (OpenID Connect Back-Channel Logout 1.0, 2.4)."""

_COOKIE: Final = re.compile(r"([A-Za-z0-9_-]{43})\.([0-9a-f]{32}\.)")


@frozen
class Session(ValueObject):
    """A sign-in that the issuer has confirmed. ``roles``: by the claims of this sign-in. ``names``: the claims `NAMES`.
    ``issued``: when the issuer said so. ``authenticated_at``: when the user last authenticated there (Unix seconds), 0
    if that is unknown; ``acr``: by which means. ``id_token``: what a sign-out at the issuer needs. ``ends``: when the
    issuer ends it (Unix seconds), 0 if that is unknown."""

    user: User
    roles: frozenset[str] = frozenset()
    names: Mapping[str, str] = field(default_factory=dict)
    issued: float = 0.0
    authenticated_at: float = 0.0
    acr: str = ""
    id_token: Secret | None = None
    ends: float = 0.0

    def packed(self) -> dict[str, Any]:
        """Return the content of a record."""
        token = {"id_token": self.id_token} if self.id_token else {}
        return token | {
            "user": [self.user.tenant, self.user.id],
            "roles": sorted(self.roles),
            "names": dict(self.names),
            "issued": self.issued,
            "authenticated_at": self.authenticated_at,
            "acr": self.acr,
            "ends": self.ends,
        }

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Session:
        """Return the session in a record."""
        return cls(
            _user(content),
            frozenset(content["roles"]),
            content["names"],
            content["issued"],
            content["authenticated_at"],
            content["acr"],
            content.get("id_token"),
            content["ends"],
        )


@dataclass(frozen=True, eq=False, repr=False)
class Sessions(ValueObject):
    """The sessions of one issuer's users, in one tenant. ``clock``: Unix seconds. ``mapping``: digest of the mapping
    from claims to roles, "" for none. A session from before the mapping changed says nothing about roles."""

    vault: Vault
    issuer: str
    clock: Callable[[], float]
    idle: float = IDLE_SECONDS
    lasts: float = MAX_SESSION_SECONDS
    tenant: str = ""
    mapping: str = ""

    async def begin(self, session: Session, began: float | None = None) -> str:
        """Start a session and return its cookie value. Roles that it does not have are lost in the user's others.

        ``began``: when the sign-in began here (Unix seconds). If the issuer has ended the session since, or the user
        was offboarded since, the session ends at once.
        """
        cookie = f"{secrets.token_urlsafe(32)}.{self.vault.key_prefix(session.user)}"
        now, key = self.clock(), self._key(cookie)
        ends = min(now + self.lasts, session.ends or float("inf"))
        times = {"ends": ends, **self._touch(ends)}
        content = session.packed() | {"issuer": self.issuer, "mapping": self.mapping, **times}
        await self.vault.insert("session", key, content, await self.vault.data_keys.get(session.user.tenant))
        await self._take_roles(session)
        names = [self._name(kind, value) for kind, value in session.names.items() if value]
        for name in names:
            content = {"place": key, "expires": now + self.lasts}
            await self.vault.insert("session_names", name + key.rpartition(".")[2], content)
        own, oldest = sign_ins_key(session.user, self.vault), min(session.issued, began or session.issued)
        if await self._is_over(names, session.issued) or await self._is_over([own], oldest):
            await self.end(cookie)
        return cookie

    async def _take_roles(self, session: Session) -> None:
        """Take the roles that this sign-in does not give from the user's other sessions."""
        record: Record | None
        for record in (await self.vault.scan_openable("session", self.vault.key_prefix(session.user)))[0]:
            while record and (lost := set(record.json["roles"]) - session.roles):
                fewer = record.json | {"roles": sorted(set(record.json["roles"]) - lost)}
                record = None if await self.vault.swap(record, fewer) else await self.vault.get("session", record.key)

    async def get(self, cookie: str) -> Session | None:
        """Return the session of this cookie, or None if it has ended or is unknown."""
        record = await self.record(cookie)
        if record is None or not self._is_own(record.json):
            return None
        found = Session.of(record.json)
        return found if self._has_roles(record.json) else replace(found, roles=frozenset())

    async def user(self, cookie: str) -> User | None:
        """Return the user of this session, or None if it has ended or is unknown. Counts as a page."""
        record = await self.record(cookie)
        if record is None or not self._is_own(record.json):
            return None
        content = record.json
        if content["seen"] <= self.clock() - TOUCH_INTERVAL_SECONDS:
            await self.vault.swap(record, content | self._touch(content["ends"]))  # or another page updated it
        return (
            replace(_user(content), roles=frozenset(content["roles"])) if self._has_roles(content) else _user(content)
        )

    async def end(self, cookie: str) -> Session | None:
        """End the session of this cookie, at whichever issuer it began, and return it."""
        while record := await self.record(cookie):
            if await self.vault.delete(record):
                return Session.of(record.json)
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
            if logout.subject not in ("", content["names"].get("sub")):
                return None
            if await self.vault.delete(record):
                return _user(content)
        return None

    async def _is_over(self, names: Iterable[str], issued: float) -> bool:
        """Return True if the record of one of these names says that sign-ins of this time or before have ended."""
        for name in names:
            over = await self.vault.get("logged_out", name)
            if over and over.json["expires"] > self.clock() and issued <= over.json["at"]:
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

    async def record(self, cookie: str) -> Record | None:
        """Return the record of a session that has not ended, of any issuer, or None."""
        key = self._key(cookie)
        record = await self.vault.get("session", key) if key else None
        if record is None:
            return None
        content = record.json
        alive = content["expires"] > self.clock() and key.startswith(self.vault.key_prefix(_user(content)))
        return record if alive else None

    def _is_own(self, content: Mapping[str, Any]) -> bool:
        """Return True if the session began at this issuer, in this tenant: an issuer vouches for no other users."""
        return bool(content["issuer"] == self.issuer and content["user"][0] == self.tenant)

    def _has_roles(self, content: Mapping[str, Any]) -> bool:
        """Return True if the session says which roles the user has by the mapping of now."""
        return bool(self.mapping) and content.get("mapping") == self.mapping

    def _key(self, cookie: str) -> str:
        """Return the key of this cookie's record, or "" for an invalid cookie."""
        found = _COOKIE.fullmatch(cookie)
        return found[2] + sign(self.vault.keys.web, "session", found[1]) if found else ""

    def _touch(self, ends: float) -> dict[str, float]:
        now = self.clock()
        return {"seen": now, "expires": min(now + self.idle, ends)}


def _user(content: Mapping[str, Any]) -> User:
    tenant, name = content["user"]
    return User(name, tenant)
