"""The audit in the vault's database: one table for the rows of all machines, to which programs only add.

    writer, seq, line      what the chain is made of; a line is exactly the bytes that its mac covers
    ts, tenant, who, event to search by, as the line says them in JSON; not believed by anything here

The role of programs may read and insert, and the server refuses it everything else. That is a second line: whoever
owns the database can do all, so what proves the rows is their chain, and heads that are kept elsewhere.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from deputize.core.audit.rows import parsed
from deputize.core.audit.trail import TableChain
from deputize.core.errors import VaultError
from deputize.core.vault.stores.postgres_address import Address
from deputize.core.vault.stores.postgres_blocking import InDoubt, KeptConnection
from deputize.core.vault.stores.postgres_timeline import KEPT, MOST_BYTES

PAGE: Final = 500
"""Rows in one answer."""
INSERT: Final = """
    INSERT INTO deputize_audit (writer, seq, ts, tenant, who, event, line)
    SELECT %s, * FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[])
    ON CONFLICT DO NOTHING
"""
_LINES: Final = "SELECT seq, line FROM deputize_audit WHERE writer = %s AND seq >= %s ORDER BY seq LIMIT %s"
_LAST: Final = "SELECT line FROM deputize_audit WHERE writer = %s ORDER BY seq DESC LIMIT 1"
_SAME: Final = """
    SELECT count(*) FROM unnest(%s::bigint[], %s::text[]) AS ours (seq, line)
    JOIN deputize_audit AS a ON a.writer = %s AND a.seq = ours.seq AND a.line = ours.line
"""
_WRITERS: Final = """
    WITH RECURSIVE found AS (
        (SELECT writer FROM deputize_audit ORDER BY writer LIMIT 1)
        UNION ALL
        SELECT (SELECT a.writer FROM deputize_audit a WHERE a.writer > found.writer ORDER BY a.writer LIMIT 1)
        FROM found WHERE found.writer IS NOT NULL
    )
    SELECT writer FROM found WHERE writer IS NOT NULL
"""
"""One look into the index for each writer, however many rows it has."""
_NEWEST: Final = "SELECT line FROM deputize_audit WHERE who = ANY(%s) ORDER BY ts DESC, seq DESC LIMIT %s OFFSET %s"


class PostgresAudit:
    """The `AuditTable` at an address. One connection reads; each sink has one of its own."""

    def __init__(self, address: Address) -> None:
        self.address = address.host
        self._at, self._reading = address, KeptConnection(address)

    def holds_rows(self) -> bool:
        return bool(self._reading.rows("SELECT 1 FROM deputize_audit LIMIT 1"))

    def chains(self) -> Mapping[str, TableChain]:
        return {writer: PostgresChain(self._reading, writer) for (writer,) in self._reading.rows(_WRITERS)}

    def newest(self, users: Collection[str], most_bytes: int) -> tuple[list[bytes], bool]:
        lines, size = list[bytes](), 0
        who = [_escaped(user) for user in users]
        while rows := self._reading.rows(_NEWEST, who, PAGE, len(lines)):
            for (line,) in rows:
                size += len(line)
                if size > most_bytes:
                    return lines, False
                lines.append(_bytes(line))
        return lines, True

    def sink(self, writer: str) -> AuditSink:
        return AuditSink(KeptConnection(self._at), writer)

    def take_over(self, writer: str, lines: Sequence[bytes]) -> int:
        return sum(
            self._reading.changed(INSERT, writer, *_columns(lines[at : at + PAGE])) for at in range(0, len(lines), PAGE)
        )


@dataclass(frozen=True, slots=True, repr=False)
class PostgresChain:
    """A `TableChain`."""

    reading: KeptConnection
    writer: str

    def lines(self, at: int = 0) -> Iterator[tuple[int, bytes]]:
        while rows := self.reading.rows(_LINES, self.writer, at, PAGE):
            for seq, line in rows:
                at = seq + 1
                yield at, _bytes(line)

    def last(self) -> bytes:
        rows = self.reading.rows(_LAST, self.writer)
        return _bytes(rows[0][0]) if rows else b""


class AuditSink:
    """A `Sink`: rows wait here until `sync`, which is one insert and one commit for all of them.

    Where its answer was lost and the server stays away, they may be there: then exactly these are inserted again, as
    often as it takes, before anything that follows. Whoever could make them others would break the chain. Rows of the
    last minutes are kept, and go first to a server of another past, which may lack them.
    """

    at_once = False

    def __init__(self, writing: KeptConnection, writer: str) -> None:
        self._writing, self._writer = writing, writer
        self._lines = list[bytes]()
        self._recent, self._size = deque[tuple[float, bytes]](), 0
        self._timeline = ""
        self.in_doubt = False

    def turn(self) -> bool:
        return False

    def append(self, data: bytes) -> None:
        self._lines += data.splitlines(keepends=True)

    def add(self, data: bytes) -> bool:
        return False

    def mark(self) -> int:
        return len(self._lines)

    def sync(self, mark: int) -> None:
        lines = self._lines[:mark]
        if not lines and not self._recent:
            return
        try:
            while (timeline := self._writing.timeline()) != self._timeline:
                self._insert([line for _, line in self._recent])
                self._timeline = timeline
            self._insert(lines)
            if self._writing.timeline() != self._timeline:
                return self.sync(mark)
        except InDoubt:
            self.in_doubt = True
            raise
        del self._lines[:mark]
        self.in_doubt = False
        self._remember(lines)

    def _insert(self, lines: list[bytes]) -> None:
        for at in range(0, len(lines), PAGE):
            columns = _columns(page := lines[at : at + PAGE])
            fresh = self._writing.changed(INSERT, self._writer, *columns) == len(page)
            if not fresh and self._writing.rows(_SAME, columns[0], columns[-1], self._writer)[0][0] != len(page):
                raise VaultError(
                    "Somebody else has written rows of this process's audit chain.",
                    hint="Find out who has the role of the vault's database, then start this program again.",
                )

    def _remember(self, lines: list[bytes]) -> None:
        now = time.monotonic()
        self._recent += [(now, line) for line in lines]
        self._size += sum(map(len, lines))
        while self._recent and (self._recent[0][0] < now - KEPT or self._size > MOST_BYTES):
            self._size -= len(self._recent.popleft()[1])

    def take_back(self) -> bool:
        if not self.in_doubt:
            self._lines.clear()
        return not self.in_doubt

    def ends_after(self, size: int) -> bool:
        return False

    def close(self) -> None:
        self._writing.close()


def _columns(lines: Iterable[bytes]) -> tuple[list[Any], ...]:
    """Of each line seq, ts, tenant, who, event, and the line itself. Raises `VaultError` for a line that is no row."""
    rows = list[tuple[object, ...]]()
    for line in lines:
        if (row := parsed(line)) is None:
            raise VaultError("A line that is no row of an audit cannot be kept.")
        found = (_escaped(row.get(name, "")) for name in ("tenant", "user", "event"))
        rows.append((row["seq"], row["ts"], *found, line.decode("ascii").rstrip("\n")))
    return tuple(map(list, zip(*rows, strict=True)))


def _escaped(value: object) -> str:
    """As the line has it: ASCII, whatever it is, and no character that a column cannot hold."""
    return json.dumps(value).strip('"')


def _bytes(line: str) -> bytes:
    return line.encode("utf-8", "replace") + b"\n"
