"""Which past the server has. After a failover, or where a backup was put back, it is another one, and what the server
before had acknowledged last may never have reached it.

So a process keeps what it wrote in the last minutes, and writes it again where a server of another past lacks it,
before anything else is asked there. What is lost then is what processes wrote that have ended with their server. The
past of a server is its timeline and the identity of its cluster
(https://www.postgresql.org/docs/current/continuous-archiving.html#BACKUP-TIMELINES).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

import psycopg

from deputize.core.vault.stores.postgres.address import Connection

KEPT: Final = 300.0
"""Seconds that a write is kept for: longer than a standby may be behind that somebody lets take over."""
MAX_RECORDS: Final = 20_000
MAX_BYTES: Final = 32 << 20
STATES: Final = 1000
"""Earlier states that are known of one place."""
PUT_AGAIN: Final = frozenset({"act", "grant", "outbox", "received", "intent", "chosen", "person", "meta", "erased"})
"""Kinds of which a lost record would lead to a second effect, or to tokens that nobody knows."""
_GOES_WITH_ITS_USER: Final = frozenset({"act", "grant", "intent", "chosen", "person"})

TIMELINE: Final = """
    SELECT (SELECT system_identifier FROM pg_control_system())::text || '.'
        || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)
"""
NOT_SAID: Final = (
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.UndefinedFunction,
    psycopg.errors.FeatureNotSupported,
    psycopg.errors.ObjectNotInPrerequisiteState,
)
_GET: Final = b"SELECT value FROM deputize_record WHERE place = %s"
_INSERT: Final = b"INSERT INTO deputize_record (place, value) VALUES (%s, %s) ON CONFLICT DO NOTHING"
_SWAP: Final = b"UPDATE deputize_record SET value = %s WHERE place = %s AND value = %s"
_DELETE: Final = b"DELETE FROM deputize_record WHERE place = %s AND value = %s"

log = logging.getLogger("deputize")


async def timeline_of(connection: Connection) -> str:
    """The past of the server; empty where it does not say so, as at some hosted ones. Raises what psycopg raises."""
    try:
        row = await (await connection.execute(TIMELINE.encode())).fetchone()
    except NOT_SAID:
        return ""
    return str(row[0]) if row else ""


@dataclass(eq=False, repr=False)
class _Written:
    """What this process wrote in one place. ``newest``: None where it was removed; ``before``: what lay there."""

    newest: bytes | None
    at: float
    before: dict[bytes, None] = field(default_factory=dict)

    def follows(self, *states: bytes | None) -> None:
        """These lay there before, the last of them last. A place that is written all the time keeps the newest."""
        for state in map(_digest, states):
            self.before.pop(state, None)
            self.before[state] = None
        while len(self.before) > STATES:
            del self.before[next(iter(self.before))]


class RecentWrites:
    """What this process wrote lately, on one event loop. Values are sealed as they are in the database."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._places, self._size = clock, OrderedDict[str, _Written](), 0
        self.left = list[str]()
        """Places in which something else lay when it was last put again, and those where there is to be nothing."""

    def __bool__(self) -> bool:
        self._drop_old()
        return bool(self._places)

    def add(self, key: str, old: bytes | None, new: bytes | None) -> None:
        """A write was acknowledged that put ``new`` there in place of ``old``; None: no record."""
        if key.partition("/")[0] not in PUT_AGAIN:
            return
        one = self._places.pop(key, None) or _Written(None, 0.0)
        self._size += len(new or b"") - len(one.newest or b"")
        one.follows(*([one.newest] if one.at else []), old)
        one.newest, one.at = new, self._clock()
        self._places[key] = one
        self._drop_old()

    def _drop_old(self) -> None:
        while self._places:
            key = next(iter(self._places))
            old = self._places[key].at < self._clock() - KEPT
            if not (old or len(self._places) > MAX_RECORDS or self._size > MAX_BYTES):
                return
            self._size -= len(self._places.pop(key).newest or b"")

    async def put_again(self, connection: Connection, places: Iterable[str] | None = None) -> int:
        """Write again what is not there, where an earlier state is that this process knows; how many that were.

        What lies in a place and is neither was written by another: it stays, and the place is one of those ``left``,
        since that other may yet write there what this process's own write followed. ``places``: only these. Raises what
        psycopg raises.
        """
        count, left = 0, list[str]()
        for key in list(self._places if places is None else places):
            if (one := self._places.get(key)) is None:
                continue
            there = await _at(connection, key)
            knows = _digest(there) in one.before or (there is None and key.startswith("act/"))
            if there == one.newest or (there is None and await _erased(connection, key)):
                done = False
            elif done := knows and await _written(connection, key, there, one.newest):
                count += 1
            if one.newest is None or not (done or there == one.newest):
                left.append(key)
        self.left = left
        return count


async def _at(connection: Connection, key: str) -> bytes | None:
    row = await (await connection.execute(_GET, (key,), binary=True)).fetchone()
    return bytes(row[0]) if row else None


async def _erased(connection: Connection, record_key: str) -> bool:
    """Whether nothing is to lie there, since its user was erased lately (`deputize.core.acts.erase`). Else where a
    record is gone it was lost: before its time nobody removes the record of an act."""
    kind, _, key = record_key.partition("/")
    return kind in _GOES_WITH_ITS_USER and await _at(connection, f"erased/{key.partition('.')[0]}.") is not None


async def _written(connection: Connection, key: str, old: bytes | None, new: bytes | None) -> bool:
    if new is None:
        done = await connection.execute(_DELETE, (key, old))
    elif old is None:
        done = await connection.execute(_INSERT, (key, new))
    else:
        done = await connection.execute(_SWAP, (new, key, old))
    return done.rowcount == 1


def _digest(value: bytes | None) -> bytes:
    return b"" if value is None else blake2b(value, digest_size=16).digest()


class Past:
    """Sees to it that no connection is used to a server of another past before it has what was written here lately.

    ``changed`` is called then, with how many records were written again.
    """

    def __init__(self, recent: RecentWrites, timeline: str, changed: Callable[[int], None]) -> None:
        self.timeline, self._recent, self._changed = timeline, recent, changed
        self._one = asyncio.Lock()

    async def meet(self, connection: Connection) -> None:
        """A new connection, before its first use. Raises what psycopg raises."""
        async with self._one:
            now = await timeline_of(connection)
            if self.timeline and now and now != self.timeline:
                count = await self._recent.put_again(connection)
                log.warning("The vault's database has another past: %d records were written again there.", count)
                self._changed(count)
            self.timeline = now or self.timeline
