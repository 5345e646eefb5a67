"""In which time zone each user reads and writes times.

Who runs the deputy may say it, for each user or for all. Otherwise it is what a provider says of the user: an answer
that a tool read anyway may hold it, and it is kept, sealed, until another one says otherwise. A tool asks its own
provider once if an argument depends on it (`deputize.core.tools.steps.TimeZone`). No scope is asked for to find it out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final, TypeAlias

from deputize.core.vault.grant import User
from deputize.core.vault.vault import Vault

Zone: TypeAlias = tzinfo | Callable[[User], tzinfo | None] | None
"""In which people read times: all in one, or each in their own; None for the machine's own."""

KNOWN: Final = 60.0
"""Seconds for which this process believes what it has looked up: another one may have learnt better."""
MAX_CACHED_USERS: Final = 1024
"""Users of whom this process remembers it."""


class Zones:
    """The zones of all users of one vault. ``said``: by who runs the deputy. ``clock`` returns Unix seconds."""

    def __init__(self, vault: Vault, said: Zone = UTC, clock: Callable[[], float] = time.time) -> None:
        self.vault, self.said, self.clock = vault, said, clock
        self._known: dict[tuple[str, str], tuple[float, tzinfo | None]] = {}

    async def of(self, user: User) -> tzinfo | None:
        """The user's zone: as a function of the host says; else as a provider says; else the one for all, which may be
        None, for the machine's own. Raises `StoreUnavailable` and `VaultError`."""
        zone, _ = await self.find(user)
        return zone

    async def find(self, user: User) -> tuple[tzinfo | None, bool]:
        """Return the user's zone, and True if somebody said it of this user. The zone for all is a guess."""
        if callable(self.said):
            return self.said(user), True
        until, zone = self._known.get((user.tenant, user.id), (0.0, None))
        if self.clock() >= until:
            record = await self.vault.get("zone", self._place(user))
            zone = await named_zone(record.json["zone"]) if record else None
            self._remember(user, zone)
        return (zone, True) if zone else (self.said, False)

    @property
    def guess(self) -> tzinfo | None:
        """The zone for all, None if the host named none: UTC stands for that."""
        if self.said is UTC or callable(self.said):
            return None
        return self.said or MachineZone()

    async def learn(self, user: User, provider: str, name: str) -> tzinfo | None:
        """The zone of this name in the IANA database, None for what is none; kept, as what a provider says of the user.

        Where providers differ, the one that said something new last is believed: people change one setting first.
        """
        zone = await named_zone(name)
        if zone is not None and not callable(self.said):
            await self._keep(user, provider, name, zone)
        return zone

    async def _keep(self, user: User, provider: str, name: str, zone: tzinfo) -> None:
        while True:
            record = await self.vault.get("zone", self._place(user))
            old: dict[str, Any] = record.json if record else {"said": {}}
            if old["said"].get(provider) == name:
                return
            content = {"zone": name, "said": old["said"] | {provider: name}}
            if await (
                self.vault.swap(record, content) if record else self.vault.insert("zone", self._place(user), content)
            ):
                break
        self._remember(user, zone)

    def forget(self, user: User) -> None:
        """The user was erased."""
        self._known.pop((user.tenant, user.id), None)

    def _remember(self, user: User, zone: tzinfo | None) -> None:
        whose = user.tenant, user.id
        self._known.pop(whose, None)
        self._known[whose] = self.clock() + KNOWN, zone
        while len(self._known) > MAX_CACHED_USERS:
            self._known.pop(next(iter(self._known)), None)

    def _place(self, user: User) -> str:
        return self.vault.key_prefix(user) + "zone"


class MachineZone(tzinfo):
    """The zone of the machine that this runs on, by its rules, so that clocks change in it."""

    def utcoffset(self, when: datetime | None) -> timedelta | None:
        return when.replace(tzinfo=None).astimezone().utcoffset() if when else None

    def dst(self, when: datetime | None) -> None:
        return None

    def tzname(self, when: datetime | None) -> str | None:
        return when.replace(tzinfo=None).astimezone().tzname() if when else None

    def fromutc(self, when: datetime) -> datetime:
        there = when.replace(tzinfo=UTC).astimezone()
        here = there.replace(tzinfo=self)  # of the two that clocks show alike, the first
        return here if here.utcoffset() == there.utcoffset() else here.replace(fold=1)


def zone_name(zone: tzinfo | None, at: float) -> str:
    """What a zone is called where times in it are told: ``Europe/Berlin``, or its distance from UTC at this time (Unix
    seconds) where it has no name, as the machine's own."""
    if zone is UTC:
        return "UTC"
    if key := getattr(zone, "key", ""):
        return str(key)
    there = datetime.fromtimestamp(at, UTC).astimezone(zone)
    return "UTC" if not there.utcoffset() else f"UTC{there:%z}"


async def named_zone(name: object) -> tzinfo | None:
    """The zone of this name, or None for what is none. Its rules are a file, which no event loop waits for."""
    return await asyncio.to_thread(_read, name) if isinstance(name, str) and name else None


def _read(name: str) -> tzinfo | None:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
