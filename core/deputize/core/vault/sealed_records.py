"""Encrypted records in a store: bound to their kind and key, swapped atomically, read in pages."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, Final, Literal

from deputize.core.errors import InvalidInput, VaultError
from deputize.core.vault.bootstrap import check_key, find_keys
from deputize.core.vault.data_key import DataKey, is_of_tenant
from deputize.core.vault.data_keys import DataKeys
from deputize.core.vault.encoding import encode
from deputize.core.vault.grant import SecretBytes
from deputize.core.vault.record import FIRST, KINDS, OF_TENANTS, PAGE, Content, Record, mark_of
from deputize.core.vault.seal import Sealer
from deputize.core.vault.stores.protocol import Batches, HeldLock, RecordRead, RecordWrite, Store
from deputize.core.vault.vault_keys import VaultKeys

READ_AHEAD_TTL: Final = 1.0
"""Seconds for which a value that was read ahead may be used."""
_ahead: ContextVar[ReadAhead | None] = ContextVar("deputize_ahead", default=None)


class ReadAhead:
    """Values that a task is about to read, from one round trip. Each serves one read of this task, within
    `READ_AHEAD_TTL` seconds. So a task that reads again, as after a lost race, reads what is stored then. So does a
    task that has taken a lock, or has written a record of this kind: `drop`."""

    def __init__(self, store: Store, wanted: Sequence[RecordRead], found: Sequence[Any]) -> None:
        self._store, self._task, self._outer = store, asyncio.current_task(), _ahead.get()
        self._until = time.monotonic() + READ_AHEAD_TTL
        self._found = dict(zip(wanted, found, strict=True))

    def take(self, store: Store, wanted: RecordRead) -> list[Any]:
        """Return the value in a list, which is empty if there is none to use."""
        if store is not self._store or asyncio.current_task() is not self._task or time.monotonic() > self._until:
            return []
        return [self._found.pop(wanted)] if wanted in self._found else []

    def drop(self, kind: str = "") -> None:
        """Drop the values of a kind, or all values, of this read-ahead block and of the blocks around it."""
        self._found = {wanted: value for wanted, value in self._found.items() if kind and wanted[1] != kind}
        if self._outer is not None:
            self._outer.drop(kind)

    @contextmanager
    def use(self) -> Iterator[None]:
        """Let the reads of this task take these values."""
        _ahead.set(self)
        try:
            yield
        finally:
            _ahead.set(self._outer)


class PreparedWrite:
    """A write that is encrypted and not yet made. ``old``: the record to replace, None for a new one."""

    def __init__(self, old: Record | None, new: Record) -> None:
        self.old, self.new = old, new

    @property
    def put(self) -> RecordWrite:
        """The write, for a store."""
        return self.new.kind, self.new.key, self.old.sealed if self.old else None, self.new.sealed


class Records:
    """The records of one vault, of every kind."""

    def __init__(self, store: Store, sealer: Sealer, keys: VaultKeys) -> None:
        self.store, self.sealer, self.keys = store, sealer, keys
        self.data_keys = DataKeys(self, keys.index)

    async def get(self, kind: str, key: str) -> Record | None:
        """Return the decrypted record, or None. Raises `VaultError` if it cannot be decrypted."""
        sealed = await self.stored("get", kind, key)
        if sealed is None:
            return None
        await self.find_keys(sealed)
        return self._opened(kind, key, sealed)

    async def stored(self, verb: Literal["get", "scan", "tails"], kind: str, key: str) -> Any:
        """Return what the store's method returns, or what was read ahead for it."""
        if (ahead := _ahead.get()) is not None and (at_hand := ahead.take(self.store, (verb, kind, key))):
            return at_hand[0]
        return await getattr(self.store, verb)(kind, key)

    @property
    def batches(self) -> Batches | None:
        """The store, if it saves round trips."""
        store: Any = self.store
        return store if hasattr(store, "lock_and_read") else None

    def read_ahead(self, *wanted: RecordRead) -> AbstractAsyncContextManager[None]:
        """Read what the block is about to read, if that saves round trips: see `ReadAhead`."""
        store = self.batches if len(wanted) > 1 else None
        return self._read_ahead(store, wanted) if store else nullcontext()

    @asynccontextmanager
    async def _read_ahead(self, store: Batches, wanted: Sequence[RecordRead]) -> AsyncIterator[None]:
        with ReadAhead(self.store, wanted, await store.read(*wanted)).use():
            yield

    def lock(self, name: str, timeout: float, *wanted: RecordRead) -> AbstractAsyncContextManager[HeldLock | None]:
        """Hold a lock of the store: see `Store.lock`. A store that saves round trips reads ahead once it is held. What
        was read ahead before that is dropped."""
        store = self.batches
        return self._lock_and_read(store, name, timeout, wanted) if store else self.store.lock(name, timeout)

    @asynccontextmanager
    async def _lock_and_read(
        self, store: Batches, name: str, timeout: float, wanted: Sequence[RecordRead]
    ) -> AsyncIterator[HeldLock]:
        async with store.lock_and_read(name, timeout, *wanted) as (held, found):
            self.drop_read_ahead()
            with ReadAhead(self.store, wanted, found).use():
                yield held

    def drop_read_ahead(self, kind: str = "") -> None:
        """Let the next reads of this kind, or of all, read what is stored then."""
        if (ahead := _ahead.get()) is not None:
            ahead.drop(kind)

    def prepare(
        self,
        old: Record | None,
        kind: str,
        key: str,
        content: Content,
        data_key: DataKey | Literal["missing"] | None = "missing",
    ) -> PreparedWrite:
        """Encrypt the content of a new record, or of one that replaces ``old``, for `write`. ``data_key``: the key of a
        new record's tenant, from `DataKeys.get`; None for a user without a tenant. A replaced record keeps its key.
        Raises `TypeError` if the kind needs a data key and none is given: the record would survive its tenant."""
        if data_key == "missing":
            if old is None and kind in OF_TENANTS:
                raise TypeError(f"A record of the kind {kind!r} needs the data key of its tenant, or None.")
            data_key = None
        plain, generation, by = encode(content), old.generation + 1 if old else 1, old.data_key if old else data_key
        sealed = (by or self.sealer).seal(kind, key, generation, plain)
        return PreparedWrite(old, Record(kind, key, generation, plain, sealed, by))

    async def write(self, *writes: PreparedWrite) -> int:
        """Make writes in one round trip and in their order, until one does not apply: there is another record. Return
        how many were made. Raises `TypeError` for a store without `batches`."""
        if (store := self.batches) is None:
            raise TypeError("This store writes one record at a time.")
        made, left = 0, list(writes)
        while left:
            for write in left:
                self.drop_read_ahead(write.new.kind)
            done = await store.write(*(write.put for write in left))
            made, left = made + done, left[done:]
            if left and (old := left[0].old) is not None and (again := await self._resealed(old)) is not None:
                left[0] = PreparedWrite(again, left[0].new)
            else:
                break
        return made

    async def insert(
        self, kind: str, key: str, content: Content, data_key: DataKey | Literal["missing"] | None = "missing"
    ) -> Record | None:
        """Insert a record and return it, or None if the key has one. ``data_key``: see `prepare`. Raises `InvalidInput`
        for an unknown kind."""
        if kind not in KINDS:
            raise InvalidInput(f"A vault keeps no records of the kind {kind!r}.", fix_by="operator")
        new = self.prepare(None, kind, key, content, data_key).new
        self.drop_read_ahead(kind)
        return new if await self.store.insert(kind, key, new.sealed) else None

    async def swap(self, record: Record, content: Content) -> Record | None:
        """Replace the content, and return the record of the next generation, or None if the old one has changed."""
        return await self.start_swap(record, content)

    def start_swap(self, record: Record, content: Content) -> Awaitable[Record | None]:
        """Encrypt the content now, and return an awaitable that replaces the record. Its first step calls the store."""
        return self._swapped(record, self.prepare(record, record.kind, record.key, content).new)

    async def _swapped(self, record: Record, new: Record) -> Record | None:
        self.drop_read_ahead(record.kind)
        while not await self.store.swap(record.kind, record.key, record.sealed, new.sealed):
            if (again := await self._resealed(record)) is None:
                return None
            record = again
        return new

    async def delete(self, record: Record) -> bool:
        """Delete the record if it is unchanged. Return True if it was deleted."""
        self.drop_read_ahead(record.kind)
        while not await self.store.delete(record.kind, record.key, record.sealed):
            if (again := await self._resealed(record)) is None:
                return False
            record = again
        return True

    async def _resealed(self, record: Record) -> Record | None:
        """Return the stored record if it only differs in its encryption, else None."""
        now = await self.get(record.kind, record.key)
        same = now is not None and (now.generation, now.plain) == (record.generation, record.plain)
        return now if now is not None and same and now.sealed != record.sealed else None

    async def marks(self, kind: str, prefix: str = "") -> list[tuple[str, bytes]]:
        """Return key and mark of each record with this key prefix, without decrypting any."""
        if hasattr(self.store, "tails"):
            found: list[tuple[str, bytes]] = await self.stored("tails", kind, prefix)
            return found
        return [(key, mark_of(sealed)) for key, sealed in await self.store.scan(kind, prefix)]

    async def scan(self, kind: str, prefix: str = "", *, known: Mapping[str, bytes] | None = None) -> list[Record]:
        """Return all records with this key prefix, decrypted, in key order, except the ``known`` ones.

        ``known``: marks by key of records that the caller does not need.
        """
        past = known or {}
        rows = [
            row
            for row in await self.stored("scan", kind, prefix)
            if (mark := past.get(row[0])) is None or mark != mark_of(row[1])
        ]
        await self.find_keys(*(sealed for _, sealed in rows))
        return [self._opened(kind, key, sealed) for key, sealed in rows]

    async def scan_openable(self, kind: str, prefix: str = "") -> tuple[list[Record], int]:
        """Return the records with this key prefix that can be decrypted, and the number of the others. For work that
        one damaged record must not stop."""
        found, shut = [], 0
        rows = await self.store.scan(kind, prefix)
        await self.find_keys(*(sealed for _, sealed in rows))
        for key, sealed in rows:
            try:
                found.append(self._opened(kind, key, sealed))
            except VaultError:
                shut += 1
        return found, shut

    async def pages(
        self, kind: str, size: int = PAGE, *, after: str = "", strict: bool = False
    ) -> AsyncIterator[tuple[list[Record], int]]:
        """Yield all records of a kind after a key, in pages of ``size``: the decrypted ones, and the number of damaged
        ones.

        Records that are added behind the last page in between are included, records of erased tenants are not.
        ``strict``: raise for a damaged record.
        """
        while page := await self.store.scan(kind, after=after, most=size):
            after, shut = page[-1][0], 0
            found: list[Record] = []
            await self.find_keys(*(sealed for _, sealed in page))
            for key, sealed in page:
                if self.data_keys.has_erased(sealed):
                    continue
                try:
                    found.append(self._opened(kind, key, sealed))
                except VaultError:
                    if strict:
                        raise
                    shut += 1
            yield found, shut
            await asyncio.sleep(0)

    async def count_openable(self, kind: str) -> tuple[int, int]:
        """Return how many records of a kind can be decrypted, and how many cannot."""
        found = shut = 0
        async for records, closed in self.pages(kind):
            found, shut = found + len(records), shut + closed
        return found, shut

    def _opened(self, kind: str, key: str, sealed: bytes) -> Record:
        generation, plain = self.unsealed(kind, key, sealed)
        return Record(
            kind, key, generation, plain, sealed, self.data_keys.find(sealed) if is_of_tenant(sealed) else None
        )

    def unsealed(self, kind: str, key: str, sealed: bytes) -> tuple[int, SecretBytes]:
        """Return generation and plaintext. Raises `VaultError`, also if the key is unknown: see `find_keys`."""
        if is_of_tenant(sealed):
            return self.data_keys.open(kind, key, sealed)
        sealer = self.sealer  # read once: another thread may replace it
        try:
            return sealer.open(kind, key, sealed)
        except VaultError:
            check_key(sealed, sealer)
            raise

    def knows(self, sealed: bytes) -> bool:
        """Return whether the key named in the record's head is known, or is known to be erased."""
        return self.data_keys.knows(sealed) if is_of_tenant(sealed) else self.sealer.knows(sealed)

    async def find_keys(self, *rows: bytes) -> None:
        """Read the key source again if one of these records has an unknown key, and the data keys of tenants. Raises
        `StoreUnavailable` if the source fails for now. A key that the source lacks stays unknown."""
        if of_tenants := list(filter(is_of_tenant, rows)):
            await self.data_keys.load(of_tenants)
        while unknown := [sealed for sealed in rows if not (is_of_tenant(sealed) or self.sealer.knows(sealed))]:
            before = self.sealer
            found = await asyncio.to_thread(find_keys, unknown, before)
            if self.sealer is before:  # else another task has replaced it, perhaps without these keys
                self.sealer = found
                return

    async def renew_keys(self, change: Callable[[VaultKeys], VaultKeys]) -> None:
        """Change the vault's own keys, in the store and in this object."""
        while record := await self.get(*FIRST):
            before = VaultKeys.unpack(record.plain)
            after = change(before)
            if after == before or await self.swap(record, after.pack()):
                self.keys = after
                return
        raise VaultError("The vault has lost its first record.")
