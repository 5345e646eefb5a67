"""The audit in the vault's database: one table for the rows of all machines, to which programs can only add.

    writer, seq, line       make up the chain; a line is exactly the bytes that its mac covers
    ts, tenant, who, event  search columns with the line's JSON values, which verification ignores

The programs' role may read and insert, and the server denies it everything else. That is a second line of defense: the
owner of the database can do anything. The proof is the rows' chain, and heads that are stored elsewhere.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import psycopg

from deputize.core.audit.rows import parse_row
from deputize.core.audit.trail import ChainTaken, TableChain
from deputize.core.errors import SettingsError, VaultError
from deputize.core.vault.stores.postgres.address import Address
from deputize.core.vault.stores.postgres.connections import statement_error
from deputize.core.vault.stores.postgres.sync_connection import AlreadyThere, InDoubt, KeptConnection
from deputize.core.vault.stores.postgres.timeline import MAX_RECENT_BYTES, RECENT_WRITE_TTL

ROWS_PER_QUERY: Final = 500
"""Rows in one answer."""
MAX_LINE_BYTES: Final = 4 << 20
"""Characters of a line. Genuine ones are shorter; anyone who may add rows may add huge ones."""
MAX_AT_ONCE: Final = 8 << 20
"""Characters of lines in one answer, plus one more line."""
INSERT: Final = """
    INSERT INTO deputize_audit (writer, seq, ts, tenant, who, event, line)
    SELECT %s, * FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[])
"""
"""All of these rows, or none if one exists."""
_INSERT_LACKING: Final = f"{INSERT} ON CONFLICT DO NOTHING"
_LENGTH: Final = f"least(octet_length(line), {MAX_LINE_BYTES})"
_LINE: Final = f"CASE WHEN octet_length(line) < {MAX_LINE_BYTES} THEN line ELSE 'too long' END"
ROWS_PER_DELETE: Final = 5000
"""Numbers of rows that one transaction removes, so that others can write meanwhile."""
_MAY: Final = "SELECT has_table_privilege('deputize_audit', 'DELETE')"
_OLDER: Final = "SELECT count(*) FROM deputize_audit WHERE ts < %s"
_FIRST: Final = "SELECT min(seq) FROM deputize_audit WHERE writer = %s"
_REMOVE: Final = "DELETE FROM deputize_audit WHERE writer = %s AND seq <= %s"


def _paged(columns: str, where: str, order: str) -> str:
    """Return the query for one page of rows in an order, shorter if the rows are long. Its last two parameters are the
    number of rows to skip, and to return."""
    return f"""
        SELECT {columns} FROM (
            SELECT seq, line, row_number() OVER ranked AS rank, sum({_LENGTH}) OVER ranked - {_LENGTH} AS before
            FROM (SELECT * FROM deputize_audit WHERE {where} ORDER BY {order} OFFSET %s LIMIT %s) AS found
            WINDOW ranked AS (ORDER BY {order} ROWS UNBOUNDED PRECEDING)
        ) AS page WHERE before < {MAX_AT_ONCE} ORDER BY rank
    """  # noqa: S608


_LINES: Final = _paged(f"seq, {_LINE}", "writer = %s AND seq >= %s", "seq")
_LAST: Final = f"SELECT {_LINE} FROM deputize_audit WHERE writer = %s ORDER BY seq DESC LIMIT 1"  # noqa: S608
_FOREIGN: Final = """
    SELECT count(*) FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[])
        AS ours (seq, ts, tenant, who, event, line)
    JOIN deputize_audit AS a ON a.writer = %s AND a.seq = ours.seq
    WHERE (a.ts, a.tenant, a.who, a.event, a.line) <> (ours.ts, ours.tenant, ours.who, ours.event, ours.line)
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
"""One index lookup for each writer, however many rows it has."""
_ENDS: Final = f"""
    SELECT chain.writer, (SELECT max(seq) FROM deputize_audit a WHERE a.writer = chain.writer)
    FROM ({_WRITERS}) AS chain
"""  # noqa: S608
_NEWEST: Final = _paged(_LINE, "who = ANY(%s)", "ts DESC, seq DESC, writer")


class PostgresAudit:
    """The `AuditTable` at an address. One connection reads; each sink has its own."""

    def __init__(self, address: Address) -> None:
        self.address = address.host
        self._at, self._reading = address, KeptConnection(address)

    def holds_rows(self) -> bool:
        return bool(self._reading.rows("SELECT 1 FROM deputize_audit LIMIT 1"))

    def chains(self) -> Mapping[str, TableChain]:
        return {writer: PostgresChain(self._reading, writer) for (writer,) in self._reading.rows(_WRITERS)}

    def ends(self) -> Mapping[str, int]:
        return dict(self._reading.rows(_ENDS))

    def newest(self, users: Collection[str], most_bytes: int) -> tuple[list[bytes], bool]:
        lines, size = list[bytes](), 0
        who = [_escaped(user) for user in users]
        while rows := self._reading.rows(_NEWEST, who, len(lines), ROWS_PER_QUERY):
            for (line,) in rows:
                size += len(line)
                if size > most_bytes:
                    return lines, False
                lines.append(_bytes(line))
        return lines, True

    def sink(self, writer: str) -> AuditSink:
        return AuditSink(KeptConnection(self._at), writer)

    def take_over(self, writer: str, lines: Sequence[bytes]) -> int:
        return sum(self._reading.changed(_INSERT_LACKING, writer, *_columns(page)) for page in _pages(lines))


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class PostgresChain:
    """The `TableChain` of one writer."""

    reading: KeptConnection
    writer: str

    def lines(self, at: int = 0) -> Iterator[tuple[int, bytes]]:
        while rows := self.reading.rows(_LINES, self.writer, at, 0, ROWS_PER_QUERY):
            for seq, line in rows:
                at = seq + 1
                yield at, _bytes(line)

    def last(self) -> bytes:
        rows = self.reading.rows(_LAST, self.writer)
        return _bytes(rows[0][0]) if rows else b""


class AuditSink:
    """A `Sink`: rows wait here until `sync`, which inserts and commits all of them at once.

    If the server's answer is lost, the rows may be stored. Then exactly these rows are inserted again, as often as
    needed, before any later ones: changed rows would break the chain. Rows of the last minutes are kept. A server with
    another history receives them first, because it may lack them.
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
                for page in _pages([line for _, line in self._recent]):
                    self._writing.changed(_INSERT_LACKING, self._writer, *_columns(page))
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
        """Insert a page of rows. Raises `ChainTaken`, and writes none of them, if another row has the place of one."""
        for page in _pages(lines):
            columns = _columns(page)
            try:
                self._writing.changed(INSERT, self._writer, *columns)
            except AlreadyThere:
                self._insert_lacking(columns)

    def _insert_lacking(self, columns: tuple[list[Any], ...]) -> None:
        """Insert missing rows after a lost answer. Raises `ChainTaken` if the existing ones differ."""
        if not self._writing.rows(_FOREIGN, *columns, self._writer)[0][0]:
            self._writing.changed(_INSERT_LACKING, self._writer, *columns)
        if self._writing.rows(_FOREIGN, *columns, self._writer)[0][0]:
            self.in_doubt = False
            raise ChainTaken(
                "Another program has written rows in this process's audit chain.",
                hint="Find out who uses the role of the vault's database: deputize audit verify names the rows.",
            )

    def _remember(self, lines: list[bytes]) -> None:
        now = time.monotonic()
        self._recent += [(now, line) for line in lines]
        self._size += sum(map(len, lines))
        while self._recent and (self._recent[0][0] < now - RECENT_WRITE_TTL or self._size > MAX_RECENT_BYTES):
            self._size -= len(self._recent.popleft()[1])

    def take_back(self) -> bool:
        if not self.in_doubt:
            self._lines.clear()
        return not self.in_doubt

    def ends_after(self, size: int) -> bool:
        return False

    def close(self) -> None:
        self._recent.clear()  # else a second close calls a server that may be gone
        self._size = 0
        self._writing.close()


def _pages(lines: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    return (lines[at : at + ROWS_PER_QUERY] for at in range(0, len(lines), ROWS_PER_QUERY))


def _columns(lines: Iterable[bytes]) -> tuple[list[Any], ...]:
    """Return seq, ts, tenant, who, event and text of the lines, by column. Raises `VaultError` for an invalid line."""
    rows = list[tuple[object, ...]]()
    for line in lines:
        if (row := parse_row(line)) is None:
            raise VaultError("A line that is not an audit row cannot be stored.")
        found = (_escaped(row.get(name, "")) for name in ("tenant", "user", "event"))
        rows.append((row["seq"], row["ts"], *found, line.decode("ascii").rstrip("\n")))
    return tuple(map(list, zip(*rows, strict=True)))


def _escaped(value: object) -> str:
    """Return the value as in the line: ASCII, without characters that a column cannot store."""
    return json.dumps(value).strip('"')


def _bytes(line: str) -> bytes:
    return line.encode("utf-8", "replace") + b"\n"


class OwnedAudit:
    """The audit table, opened by the role that owns it: only this role can remove rows.

    Raises `SettingsError` for any other role, and `StoreUnavailable`.
    """

    def __init__(self, address: Address) -> None:
        self._at, self._connection = address, address.connect_waiting()
        try:
            self._refuse_programs()
        except BaseException:
            self.close()
            raise

    def _refuse_programs(self) -> None:
        with self._refusing():
            allowed = self._one(_MAY)
        if not allowed:
            raise SettingsError(
                "This role may only read the audit and add to it.",
                hint="Give the address with the role that owns the tables; programs never need it.",
            )

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def older(self, before: int) -> int:
        """Return how many rows claim to be older than this time, UTC ns. Unverified, for a confirmation question."""
        with self._refusing():
            return int(self._one(_OLDER, before))

    def refuse_other(self, writer: str) -> None:
        """Implement `Removes.refuse_other`."""
        with self._refusing():
            first = self._one(_FIRST, writer)
        if first is None:
            raise SettingsError(
                "That address is of another vault than DEPUTIZE_VAULT. No row was removed.",
                hint="Name the database of DEPUTIZE_VAULT, with the role that owns it.",
            )

    def remove(self, writer: str, last: int) -> int:
        """Implement `Removes.remove`."""
        rows = 0
        with self._refusing():
            first = self._one(_FIRST, writer)
            for end in range(
                (last if first is None else first) + ROWS_PER_DELETE - 1, last + ROWS_PER_DELETE, ROWS_PER_DELETE
            ):
                rows += self._connection.execute(_REMOVE, (writer, min(end, last))).rowcount
        return rows

    def _one(self, statement: str, *values: object) -> Any:
        row = self._connection.execute(statement.encode(), values).fetchone()
        return row[0] if row else None

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            raise statement_error(error) from None
