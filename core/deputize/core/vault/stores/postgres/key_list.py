"""The list of wrapped root keys in the vault's database, which all machines share.

It is a row beside the records, under a kind of its own: no root key encrypts it, and no rotation touches it.
"""

from __future__ import annotations

from contextlib import closing
from typing import Final

from deputize.core.value_object import Printed, frozen
from deputize.core.vault.stores.common import place
from deputize.core.vault.stores.postgres.address import Address
from deputize.core.vault.stores.postgres.sync_connection import AlreadyThere, KeptConnection

PLACE: Final = place("rootkeys", "wrapped")
_GET: Final = "SELECT value FROM deputize_record WHERE place = %s"
_INSERT: Final = "INSERT INTO deputize_record (place, value) VALUES (%s, %s)"
_SWAP: Final = "UPDATE deputize_record SET value = %s WHERE place = %s AND value IN (%s, %s)"


@frozen
class PostgresKeyList(Printed):
    """The row of one database."""

    address: Address

    @property
    def name(self) -> str:
        """The name in messages."""
        return "the list of keys in the vault's database"

    @property
    def is_shared(self) -> bool:
        """Return True: it is in the database."""
        return True

    def read(self) -> str | None:
        """Return the text, or None if there is no row, or no tables yet."""
        with closing(KeptConnection(self.address)) as connection:
            if not connection.rows("SELECT to_regclass('deputize_record')")[0][0]:
                return None
            rows = connection.rows(_GET, PLACE)
        return bytes(rows[0][0]).decode("utf-8", "replace") if rows else None

    def replace(self, old: str | None, new: str) -> bool:
        """Replace the row, unless it is no longer ``old``. Raises `StoreUnavailable` if the answer was lost."""
        with closing(KeptConnection(self.address)) as connection:
            if old is not None:  # the statement may be repeated after a lost answer, and find its own value
                value = new.encode()
                return connection.changed(_SWAP, value, PLACE, old.encode(), value) == 1
            try:
                return connection.changed(_INSERT, PLACE, new.encode()) == 1
            except AlreadyThere:
                return self.read() == new
