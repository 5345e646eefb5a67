"""A store as another package would provide it: all records in one JSON file, for the processes of one machine."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final, TypeVar

from filelock import FileLock

from deputize.core.errors import SettingsError, StoreUnavailable
from deputize.core.vault.private_files import private_folder
from deputize.core.vault.stores import StoreType
from deputize.core.vault.stores.common import opaque, place, span
from deputize.core.vault.stores.sqlite.filelocks import FileLocks

T = TypeVar("T")
Rows = dict[str, bytes]


class AcmeStore:
    """A store that reads or writes the whole file in every step, in a thread."""

    local_reads = False
    in_order = False
    backup = None

    def __init__(self, file: Path) -> None:
        self.file = file
        self._all_processes = FileLock(f"{file}.lock", thread_local=False)
        self._locks = FileLocks(file.parent / "locks")
        self._thread = ThreadPoolExecutor(1)

    @classmethod
    def open(cls, url: str, create: bool) -> AcmeStore:
        """Return the store at this address."""
        file = file_of(url)
        private_folder(file.parent)
        if create and not file.exists():
            write(file, {})
        if not file.exists():
            raise StoreUnavailable("There is no vault.")
        return cls(file)

    @staticmethod
    def exists(url: str) -> bool:
        """Return whether a vault exists there."""
        return file_of(url).exists()

    def _rows(self) -> Rows:
        return {where: base64.b64decode(value) for where, value in json.loads(self.file.read_text()).items()}

    async def _step(self, step: Callable[[Rows], T]) -> T:
        """Run a step on the rows, and write them if it changed any."""

        def locked() -> T:
            with self._all_processes:
                rows = self._rows()
                before = dict(rows)
                done = step(rows)
                if rows != before:
                    write(self.file, rows)
                return done

        try:
            asked = self._thread.submit(locked)
        except RuntimeError:
            raise StoreUnavailable("The vault is closed.") from None
        return await asyncio.shield(asyncio.wrap_future(asked))

    async def get(self, kind: str, key: str) -> bytes | None:
        where = place(kind, key)
        return await self._step(lambda rows: rows.get(where))

    async def insert(self, kind: str, key: str, value: bytes) -> bool:
        where, value = place(kind, key), opaque(value)
        return await self._step(lambda rows: where not in rows and rows.setdefault(where, value) is value)

    async def swap(self, kind: str, key: str, old: bytes, new: bytes) -> bool:
        where, old, new = place(kind, key), opaque(old), opaque(new)

        def step(rows: Rows) -> bool:
            if same := rows.get(where) == old:
                rows[where] = new
            return same

        return await self._step(step)

    async def delete(self, kind: str, key: str, old: bytes) -> bool:
        where, old = place(kind, key), opaque(old)
        return await self._step(lambda rows: rows.get(where) == old and rows.pop(where) == old)

    async def scan(
        self, kind: str, prefix: str = "", *, after: str = "", most: int | None = None
    ) -> list[tuple[str, bytes]]:
        begin, end = span(kind, prefix, after)

        def step(rows: Rows) -> list[tuple[str, bytes]]:
            found = sorted((at.partition("/")[2], value) for at, value in rows.items() if begin <= at < end)
            return found[:most]

        return await self._step(step)

    def lock(self, name: str, timeout: float) -> AbstractAsyncContextManager[None]:
        return self._locks.hold(name, timeout)

    async def close(self) -> None:
        await asyncio.to_thread(self._thread.shutdown)


def write(file: Path, rows: Rows) -> None:
    """Write the whole file, or leave the earlier one unchanged."""
    made = file.with_name(f"{file.name}.new")
    made.write_text(json.dumps({where: base64.b64encode(value).decode() for where, value in rows.items()}))
    os.replace(made, file)


def file_of(url: str) -> Path:
    """Return the path in ``acme:///absolute/path``."""
    path = Path(url.strip().partition("://")[2])
    if not path.is_absolute():
        raise SettingsError("An acme store is at acme:///absolute/path.")
    return path


STORE: Final = StoreType("acme", open=AcmeStore.open, exists=AcmeStore.exists)
