"""Backups of a vault in an SQLite file, made and restored through SQLite while others use it."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import quote

from deputize.core.errors import SettingsError, VaultError
from deputize.core.value_object import ValueObject
from deputize.core.vault.private_files import private_folder, temporary_path
from deputize.core.vault.stores.common import place, span
from deputize.core.vault.stores.protocol import Changes, Keep, Store
from deputize.core.vault.stores.sqlite.file import FORMAT, TABLE, check, connect, copy, remove, store_error

log = logging.getLogger("deputize")

_KIND: Final = f'SELECT key, value FROM main."{TABLE}" WHERE key >= ? AND key < ?'  # noqa: S608
_PUT: Final = f'INSERT OR REPLACE INTO copied."{TABLE}" VALUES (?, ?)'  # noqa: S608
_EMPTY: Final = f'DELETE FROM main."{TABLE}"'  # noqa: S608
_FILL: Final = f'INSERT INTO main."{TABLE}" SELECT key, value FROM copied."{TABLE}"'  # noqa: S608


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SqliteBackup(ValueObject):
    """The `deputize.core.vault.stores.Backup` of the vault at ``path``. ``open_file``: opens a copy as a store."""

    path: Path
    open_file: Callable[[Path], Store]

    def copy(self, to: Path, changes: Changes) -> None:
        """Make a consistent copy, which includes the log's content."""
        copy(self.path, to, {place(*where): partial(_change_cell, change) for where, change in changes.items()})

    @asynccontextmanager
    async def draft(self, backup: Path) -> AsyncIterator[SqliteDraft]:
        """Yield a copy of the backup beside the vault, so that its records are as private as the vault's."""
        check(backup)
        with temporary_path(self.path) as made:
            await asyncio.to_thread(copy, backup, made, {})
            store = self.open_file(made)
            try:
                yield SqliteDraft(store, made, self.path)
            finally:
                await store.close()

    def put_in_place(self, backup: Path) -> None:
        """Copy the backup to the vault's place. Raises `SettingsError` if the log of a lost vault is there, because
        SQLite would apply it to the copy."""
        check(backup)
        private_folder(self.path.parent)
        if self.path.with_name(f"{self.path.name}-wal").exists():
            raise SettingsError("The vault is gone, but its log is there.", hint=f"Move {self.path}-wal away first.")
        copy(backup, self.path, {})

    def remove(self) -> None:
        """Remove the file, and the files that SQLite keeps beside it."""
        remove(self.path)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SqliteDraft(ValueObject):
    """A copy of a backup in the file ``made``, which will replace the content of ``path``."""

    store: Store
    made: Path
    path: Path

    async def publish(self, kept: Mapping[str, Keep]) -> None:
        """Write the copy over the vault through SQLite, so that processes with the vault open see the new content."""
        await self.store.close()
        await asyncio.to_thread(_overwrite, self.made, self.path, kept)


def _change_cell(change: Callable[[bytes], bytes], cell: bytes) -> bytes:
    """Return a changed value in the table's form."""
    return FORMAT + change(cell[len(FORMAT) :])


def _overwrite(made: Path, path: Path, kept: Mapping[str, Keep]) -> None:
    """Replace the content of the vault by that of the copy, except for the records that stay."""
    try:
        with closing(connect(path, mode="rw")) as target:
            try:
                _replace_records(target, made, kept)
                return
            except sqlite3.Error as error:
                if target.in_transaction:
                    target.execute("ROLLBACK")
                if not isinstance(store_error(error, path), VaultError):
                    raise
        log.warning("The vault that is replaced is damaged: nothing of it could be kept.")
        with closing(connect(made)) as source, closing(connect(path, mode="rw")) as target:
            source.backup(target)  # page by page, whatever is there
    except sqlite3.Error as error:
        raise store_error(error, path) from None


def _replace_records(target: sqlite3.Connection, made: Path, kept: Mapping[str, Keep]) -> None:
    """Replace all records in one transaction, during which no other process writes. Raises sqlite3.Error."""
    target.execute("PRAGMA secure_delete=1")
    target.execute("ATTACH DATABASE ? AS copied", (f"file:{quote(str(made))}?mode=rw",))
    target.execute("BEGIN IMMEDIATE")
    for kind, keep in kept.items():
        for at, cell in target.execute(_KIND, span(kind, "")):
            if isinstance(cell, bytes) and keep(at.partition("/")[2], cell[len(FORMAT) :]):
                target.execute(_PUT, (at, cell))
    for statement in (_EMPTY, _FILL, "COMMIT"):
        target.execute(statement)
