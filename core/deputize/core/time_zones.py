"""The time zone in which each user reads and writes times.

The operator may set it for each user or for all. Otherwise it comes from a provider: a response that a tool read anyway
may contain the zone, which is then stored, encrypted, until another response differs. If an argument depends on the
zone, a tool asks its provider once (`deputize.core.tools.steps.TimeZone`). No scope is requested for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final, TypeAlias

from deputize.core.vault.grant import User
from deputize.core.vault.stores.protocol import RecordRead
from deputize.core.vault.vault import Vault

Zone: TypeAlias = tzinfo | Callable[[User], tzinfo | None] | None
"""The time zone of users: one for all, or a function of the user; None for the machine's."""

ZONE_TTL: Final = 60.0
"""Seconds for which this process caches a zone: another process may have learned a newer one."""
MAX_CACHED_USERS: Final = 1024
"""Users whose zone this process caches."""


class Zones:
    """The zones of all users of one vault. ``default``: the operator's setting. ``clock`` returns Unix seconds."""

    def __init__(self, vault: Vault, said: Zone = UTC, clock: Callable[[], float] = time.time) -> None:
        self.vault, self.default, self.clock = vault, said, clock
        self._known: dict[tuple[str, str], tuple[float, tzinfo | None]] = {}

    async def of(self, user: User) -> tzinfo | None:
        """Return the user's zone: from the application's function, else from a provider, else the default zone. The
        default may be None for the machine's zone. Raises `StoreUnavailable` and `VaultError`."""
        zone, _ = await self.find(user)
        return zone

    async def find(self, user: User) -> tuple[tzinfo | None, bool]:
        """Return the user's zone, and False if it is only the default zone and therefore a guess."""
        if callable(self.default):
            return self.default(user), True
        until, zone = self._known.get((user.tenant, user.id), (0.0, None))
        if self.clock() >= until:
            record = await self.vault.get("zone", self._place(user))
            zone = await named_zone(record.json["zone"]) if record else None
            self._remember(user, zone)
        return (zone, True) if zone else (self.default, False)

    def reads(self, user: User) -> list[RecordRead]:
        """Return what `find` reads."""
        until, _ = self._known.get((user.tenant, user.id), (0.0, None))
        known = callable(self.default) or self.clock() < until
        return [] if known else [("get", "zone", self._place(user))]

    @property
    def guess(self) -> tzinfo | None:
        """The operator's default zone, or None if the operator set none (UTC is the default then)."""
        if self.default is UTC or callable(self.default):
            return None
        return self.default or MachineZone()

    async def learn(self, user: User, provider: str, name: str) -> tzinfo | None:
        """Store and return the zone that a provider reports for a user; None if the IANA database has no such name.

        If providers differ, the most recently changed report is used, because people change one setting first.
        """
        zone = await named_zone(name)
        if zone is not None and not callable(self.default):
            await self._keep(user, provider, name, zone)
        return zone

    async def _keep(self, user: User, provider: str, name: str, zone: tzinfo) -> None:
        while True:
            record = await self.vault.get("zone", self._place(user))
            old: dict[str, Any] = record.json if record else {"said": {}}
            if old["said"].get(provider) == name:
                return
            content = {"zone": name, "said": old["said"] | {provider: name}}
            data_key = await self.vault.data_keys.get(user.tenant)
            if await (
                self.vault.swap(record, content)
                if record
                else self.vault.insert("zone", self._place(user), content, data_key)
            ):
                break
        self._remember(user, zone)

    def forget(self, user: User) -> None:
        """Drop the cached zone of an erased user."""
        self._known.pop((user.tenant, user.id), None)

    def _remember(self, user: User, zone: tzinfo | None) -> None:
        whose = user.tenant, user.id
        self._known.pop(whose, None)
        self._known[whose] = self.clock() + ZONE_TTL, zone
        while len(self._known) > MAX_CACHED_USERS:
            self._known.pop(next(iter(self._known)), None)

    def _place(self, user: User) -> str:
        return self.vault.key_prefix(user) + "zone"


class MachineZone(tzinfo):
    """The machine's zone by its rules, including daylight saving time."""

    def utcoffset(self, when: datetime | None) -> timedelta | None:
        return when.replace(tzinfo=None).astimezone().utcoffset() if when else None

    def dst(self, when: datetime | None) -> None:
        return None

    def tzname(self, when: datetime | None) -> str | None:
        return when.replace(tzinfo=None).astimezone().tzname() if when else None

    def fromutc(self, when: datetime) -> datetime:
        there = when.replace(tzinfo=UTC).astimezone()
        here = there.replace(tzinfo=self)  # the first of two equal clock times
        return here if here.utcoffset() == there.utcoffset() else here.replace(fold=1)


def zone_name(zone: tzinfo | None, at: float) -> str:
    """Return the zone's name, such as ``Europe/Berlin``. If it has none, like the machine's zone: its offset from UTC
    at this time (Unix seconds)."""
    if zone is UTC:
        return "UTC"
    if key := getattr(zone, "key", ""):
        return str(key)
    there = datetime.fromtimestamp(at, UTC).astimezone(zone)
    return "UTC" if not there.utcoffset() else f"UTC{there:%z}"


async def named_zone(name: object) -> tzinfo | None:
    """Return the zone of this name, or None if there is none. Its rules are read from a file, in a thread."""
    return await asyncio.to_thread(_read, name) if isinstance(name, str) and name else None


def _read(name: str) -> tzinfo | None:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
