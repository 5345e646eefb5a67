"""Check of a vault's table for damage that hides records: its index must lead to every row."""

from __future__ import annotations

from typing import Any, Final

import psycopg

from deputize.core.vault.stores.postgres.address import Address, explain

Counts = dict[str, tuple[int, int]]
"""The number of records of each kind, and a digest of their places."""

_COUNT: Final = "SELECT split_part(place, '/', 1), count(*), sum(hashtext(place)::bigint) FROM deputize_record"
_BY_TABLE: Final = "SET LOCAL enable_indexscan = off; SET LOCAL enable_bitmapscan = off"
_BY_INDEX: Final = "SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = on"
_REMEDY: Final = "Run REINDEX TABLE deputize_record, and check the disk. Restore the database if records stay away."


def find_damage(address: Address) -> list[tuple[str, str]]:
    """Return the damage found, each with a remedy. Blocks, and reads all places twice in one snapshot. Raises
    `SettingsError` if no connection can be made."""
    with address.connect_waiting() as connection:
        try:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            with connection.transaction():
                table, index = _counts(connection, _BY_TABLE), _counts(connection, _BY_INDEX, " WHERE place > ''")
        except psycopg.Error as error:
            return [(f"The vault's table cannot be read: {explain(error)}", _REMEDY)]
    return [
        (
            f"The index of the vault's table hides records of kind {kind}: it leads to {_number(index, kind)} of "
            f"{_number(table, kind)}",
            _REMEDY,
        )
        for kind in sorted(table.keys() | index.keys())
        if table.get(kind) != index.get(kind)
    ]


def _number(counts: Counts, kind: str) -> int:
    return counts.get(kind, (0, 0))[0]


def _counts(connection: psycopg.Connection[tuple[Any, ...]], way: str, where: str = "") -> Counts:
    connection.execute(way.encode())
    rows = connection.execute(f"{_COUNT}{where} GROUP BY 1".encode()).fetchall()
    return {kind: (number, int(digest)) for kind, number, digest in rows}
