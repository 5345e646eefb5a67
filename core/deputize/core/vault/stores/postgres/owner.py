"""The audit's table, opened by the role that owns it: only that role can remove rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg

from deputize.core.errors import SettingsError, StoreUnavailable
from deputize.core.vault.stores.postgres.address import Address, explain, refusal

AT_ONCE: Final = 5000
"""Numbers of rows in one transaction, so that others can write meanwhile."""
_MAY: Final = "SELECT has_table_privilege('deputize_audit', 'DELETE')"
_OLDER: Final = "SELECT count(*) FROM deputize_audit WHERE ts < %s"
_FIRST: Final = "SELECT min(seq) FROM deputize_audit WHERE writer = %s"
_REMOVE: Final = "DELETE FROM deputize_audit WHERE writer = %s AND seq <= %s"


class OwnedAudit:
    """The table at an address. Raises `SettingsError` for a role that may not remove rows, `StoreUnavailable`."""

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
            for end in range((last if first is None else first) + AT_ONCE - 1, last + AT_ONCE, AT_ONCE):
                rows += self._connection.execute(_REMOVE, (writer, min(end, last))).rowcount
        return rows

    def _one(self, statement: str, *values: object) -> Any:
        row = self._connection.execute(statement.encode(), values).fetchone()
        return row[0] if row else None

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            yield
        except psycopg.OperationalError as error:
            raise StoreUnavailable("The vault's database could not run the statement.", hint=explain(error)) from None
        except psycopg.Error as error:
            raise refusal(error) from None
