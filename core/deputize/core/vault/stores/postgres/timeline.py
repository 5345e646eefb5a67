"""The history of the server, and the recovery of recent writes after a failover or a restored backup.

The server then has another history, and may lack the last writes that the earlier server acknowledged. So a process
keeps its writes of the last minutes, and writes the missing ones again before any other statement. Only the writes of
processes that ended with their server are lost then. A history is the server's timeline and the identity of its cluster
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

RECENT_WRITE_TTL: Final = 300.0
"""Seconds that a write is kept: longer than the lag of a standby that an operator would promote."""
MAX_RECENT_RECORDS: Final = 20_000
MAX_RECENT_BYTES: Final = 32 << 20
MAX_EARLIER_VALUES: Final = 1000
"""Earlier values that are known of one place."""
PUT_AGAIN: Final = frozenset({"act", "grant", "outbox", "received", "intent", "chosen", "person", "meta", "erased"})
"""Kinds of which a lost record would lead to a second effect, or to unknown live tokens."""
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
    """Return the server's history, or "" if the server hides it, like some hosted ones. Raises psycopg's errors."""
    try:
        row = await (await connection.execute(TIMELINE.encode())).fetchone()
    except NOT_SAID:
        return ""
    return str(row[0]) if row else ""


@dataclass(eq=False, repr=False)
class _Written:
    """The writes of this process to one place. ``newest``: None if deleted; ``before``: earlier values."""

    newest: bytes | None
    at: float
    before: dict[bytes, None] = field(default_factory=dict)

    def follows(self, *states: bytes | None) -> None:
        """Add earlier values, the last one at the end. For a place that is written often, only the newest are kept."""
        for state in map(_digest, states):
            self.before.pop(state, None)
            self.before[state] = None
        while len(self.before) > MAX_EARLIER_VALUES:
            del self.before[next(iter(self.before))]


class RecentWrites:
    """The recent writes of this process, on one event loop. The values are encrypted as in the database."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._places, self._size = clock, OrderedDict[str, _Written](), 0
        self.left = list[str]()
        """Places that had another value in the last `rewrite_missing`, and those that must be empty."""

    def __bool__(self) -> bool:
        self._drop_old()
        return bool(self._places)

    def add(self, key: str, old: bytes | None, new: bytes | None) -> None:
        """Add an acknowledged write of ``new`` over ``old``. None means no record."""
        if key.partition("/")[0] not in PUT_AGAIN:
            return
        written = self._places.pop(key, None) or _Written(None, 0.0)
        self._size += len(new or b"") - len(written.newest or b"")
        written.follows(*([written.newest] if written.at else []), old)
        written.newest, written.at = new, self._clock()
        self._places[key] = written
        self._drop_old()

    def _drop_old(self) -> None:
        while self._places:
            key = next(iter(self._places))
            old = self._places[key].at < self._clock() - RECENT_WRITE_TTL
            if not (old or len(self._places) > MAX_RECENT_RECORDS or self._size > MAX_RECENT_BYTES):
                return
            self._size -= len(self._places.pop(key).newest or b"")

    async def rewrite_missing(self, connection: Connection, places: Iterable[str] | None = None) -> int:
        """Write missing values again over earlier ones that this process knows. Return how many were written.

        An unknown value is from another process and stays. Its place is added to ``left``, because that process may
        still restore the value that this process's write followed. ``places``: only these. Raises psycopg's errors.
        """
        count, left = 0, list[str]()
        for key in list(self._places if places is None else places):
            if (written := self._places.get(key)) is None:
                continue
            there = await _read_value(connection, key)
            knows = _digest(there) in written.before or (there is None and key.startswith("act/"))
            if there == written.newest or (there is None and await _is_erased(connection, key)):
                done = False
            elif done := knows and await _write(connection, key, there, written.newest):
                count += 1
            if written.newest is None or not (done or there == written.newest):
                left.append(key)
        self.left = left
        return count


async def _read_value(connection: Connection, key: str) -> bytes | None:
    row = await (await connection.execute(_GET, (key,), binary=True)).fetchone()
    return bytes(row[0]) if row else None


async def _is_erased(connection: Connection, record_key: str) -> bool:
    """Return whether the place must stay empty, because its user was erased lately (`deputize.core.acts.erase`). Any
    other missing record was lost: records of acts are never removed early."""
    kind, _, key = record_key.partition("/")
    return kind in _GOES_WITH_ITS_USER and await _read_value(connection, f"erased/{key.partition('.')[0]}.") is not None


async def _write(connection: Connection, key: str, old: bytes | None, new: bytes | None) -> bool:
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
    """Writes the recent writes of this process to a server of another history, before a connection to it is used.

    ``changed`` is called afterwards with the number of records that were written again.
    """

    def __init__(self, recent: RecentWrites, timeline: str, changed: Callable[[int], None]) -> None:
        self.timeline, self._recent, self._changed = timeline, recent, changed
        self._one = asyncio.Lock()

    async def meet(self, connection: Connection) -> None:
        """Check a new connection before its first use. Raises psycopg's errors."""
        async with self._one:
            now = await timeline_of(connection)
            if self.timeline and now and now != self.timeline:
                count = await self._recent.rewrite_missing(connection)
                log.warning("The vault's database has another past: %d records were written again there.", count)
                self._changed(count)
            self.timeline = now or self.timeline
