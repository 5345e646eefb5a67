"""Data keys: one for each tenant, so that erasing a tenant is erasing its key (crypto-shredding).

A data key is 32 random bytes in a record of its own, which the root keys encrypt (envelope encryption). Users without a
tenant have no data key. Their records, those that belong to nobody, and queued revocations, which must outlive the
tenant, are encrypted by the root key.

A process caches data keys. It reads them again after `DATA_KEY_TTL` seconds, because another one may erase them. An
erasure has three steps. First the data key is closed: from then on no process begins to write records for the tenant,
as soon as its cache has expired. Then the key is replaced by a tombstone. Once all records are deleted, the tenant is
open again: if it comes back, it receives a new key.

A tenant has several keys if its record was lost, a new one was made, and a backup brought the first one back. The
newest encrypts. A record whose key is unknown counts as erased only if there is a tombstone, else as damaged.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from deputize.core.errors import StoreUnavailable, VaultError
from deputize.core.vault.data_key import DataKey, is_of_tenant, tenant_place
from deputize.core.vault.grant import Secret, SecretBytes
from deputize.core.vault.record import Record
from deputize.core.vault.seal import KEY_BYTES
from deputize.core.vault.stores.protocol import RecordRead

KIND: Final = "data_key"
DATA_KEY_TTL: Final = 10.0
"""Seconds after which a cached data key is read again."""
ERASURE_WAIT_SECONDS: Final = 15.0
"""Seconds between the two steps of an erasure: longer than a data key is cached, and than a write then takes."""
MAX_CACHED: Final = 4096
"""Tenants whose data keys are cached."""


class OpensRecords(Protocol):
    """The records of a vault, as far as data keys need them."""

    async def get(self, kind: str, key: str) -> Record | None:
        """Return the decrypted record, or None."""
        ...

    async def insert(self, kind: str, key: str, content: dict[str, Any]) -> Record | None:
        """Insert a record and return it, or None if the key has one."""
        ...

    def swap(self, record: Record, content: dict[str, Any]) -> Awaitable[Record | None]:
        """Replace the content, and return the new record, or None if the old one has changed."""
        ...


class _Known(NamedTuple):
    """A tenant's data keys as this process knows them. ``keys``: newest first, none after the erasure. ``erased``: True
    if there were others before an erasure. ``closed``: True if no records may be written for the tenant, because it is
    being erased. ``until``: when they are read again, by the monotonic clock."""

    keys: tuple[DataKey, ...]
    erased: bool
    closed: bool
    until: float


class DataKeys:
    """The data keys of one vault, each read on first use. ``index``: the vault's index key. ``clock``: monotonic."""

    def __init__(self, records: OpensRecords, index: bytes, clock: Callable[[], float] = time.monotonic) -> None:
        self._records, self._index, self._clock = records, index, clock
        self._known: dict[str, _Known] = {}

    def place(self, tenant: str) -> str:
        """Return the key of the record that holds the tenant's data key."""
        name = tenant.encode("utf-8", "surrogatepass")
        return hmac.digest(self._index, b"data key of the tenant " + name, "sha256")[:16].hex()

    def reads(self, tenant: str) -> list[RecordRead]:
        """Return what `get` reads now."""
        if not tenant or self._is_fresh(place := self.place(tenant)):
            return []
        return [("get", KIND, place)]

    async def get(self, tenant: str) -> DataKey | None:
        """Return the tenant's data key, or None for users without a tenant. Creates it if there is none.

        Raises `StoreUnavailable` if the tenant is being erased.
        """
        if not tenant:
            return None
        place = self.place(tenant)
        if not self._is_fresh(place):
            self._trim()
            await self._read(place)
        while True:
            known = self._known.get(place)
            if known is not None and known.closed:
                raise _being_erased()
            if known is not None and known.keys:
                return known.keys[0]
            old = await self._records.get(KIND, place)
            if old is None or "key" not in old.json:
                content = {"tenant": tenant, **(old.json if old else {}), "key": Secret(secrets.token_hex(KEY_BYTES))}
                made = self._records.swap(old, content) if old else self._records.insert(KIND, place, content)
                old = await made
            if old is not None:
                self._know(old)

    async def load(self, rows: Sequence[bytes]) -> None:
        """Read the data keys of these records, unless they are cached."""
        missing = {
            tenant_place(row)
            for row in rows
            if is_of_tenant(row) and not (self._is_fresh(tenant_place(row)) and self.find(row))
        }
        if not missing:
            return
        self._trim()  # before and not during: all of these are needed at the same time
        for place in missing:
            await self._read(place)

    def _trim(self) -> None:
        for place in list(self._known)[: max(0, len(self._known) - MAX_CACHED)]:
            self._known.pop(place, None)

    async def _read(self, place: str) -> None:
        try:
            record = await self._records.get(KIND, place)
        except VaultError:  # its root key is missing, or it is damaged
            record = None
        if record is None:
            self._known.pop(place, None)
        else:
            self._know(record)

    def _know(self, record: Record) -> None:
        content = record.json
        keys = tuple(DataKey(key, record.key) for key in keys_in(content))
        erased, closed = "erased" in content, bool(content.get("closed"))
        self._known.pop(record.key, None)
        self._known[record.key] = _Known(keys, erased, closed, self._clock() + DATA_KEY_TTL)

    def _is_fresh(self, place: str) -> bool:
        known = self._known.get(place)
        return known is not None and self._clock() < known.until

    def find(self, sealed: bytes) -> DataKey | None:
        """Return the data key of a record, if `load` could read it and it was not erased."""
        known = self._known.get(tenant_place(sealed))
        return next((key for key in known.keys if key.has_sealed(sealed)), None) if known else None

    def open(self, kind: str, key: str, sealed: bytes) -> tuple[int, SecretBytes]:
        """Return generation and plaintext of a record. Raises `VaultError`, also if its data key is unknown."""
        if (found := self.find(sealed)) is not None:
            return found.open(kind, key, sealed)
        if self.has_erased(sealed):
            raise VaultError("A record in the vault cannot be opened: the data key of its tenant was erased.")
        raise VaultError(
            "A record in the vault cannot be opened: the data key of its tenant is missing or damaged.",
            hint="deputize store check shows the damage. Restore a backup: deputize vault restore.",
        )

    def knows(self, sealed: bytes) -> bool:
        """Return whether the data key of a record is known, or is known to be erased."""
        return self.find(sealed) is not None or self.has_erased(sealed)

    def has_erased(self, sealed: bytes) -> bool:
        """Return whether the record's data key was erased."""
        known = self._known.get(tenant_place(sealed))
        return known is not None and known.erased and self.find(sealed) is None

    async def close(self, tenant: str) -> bool:
        """Let no process begin to write records for the tenant: the first step of its erasure. Durable on return.

        Return True if the tenant has a data key, which other processes may have cached.
        """
        return "key" in await self._change(tenant, lambda content: {**content, "closed": True})

    async def erase(self, tenant: str, now: float) -> None:
        """Replace the data key by a tombstone. ``now``: Unix seconds. Durable on return. The tenant stays closed."""
        await self._change(tenant, lambda _: {"tenant": tenant, "erased": now, "closed": True})

    async def reopen(self, tenant: str) -> None:
        """Let an erased tenant come back, since nothing of it is left."""
        await self._change(tenant, lambda old: {name: value for name, value in old.items() if name != "closed"})

    async def _change(self, tenant: str, change: Callable[[Mapping[str, Any]], dict[str, Any]]) -> dict[str, Any]:
        """Replace the content of the tenant's record, and return the new one."""
        place = self.place(tenant)
        while True:
            old = await self._records.get(KIND, place)
            content = change(old.json if old else {"tenant": tenant})
            made = self._records.swap(old, content) if old else self._records.insert(KIND, place, content)
            if stored := await made:
                self._know(stored)
                return content

    def forget(self) -> None:
        """Drop all cached data keys."""
        self._known.clear()


def keys_in(content: Mapping[str, Any]) -> list[Secret]:
    """Return the data keys in the content of a tenant's record, newest first."""
    return [key for key in (content.get("key"), *content.get("older", ())) if key]


def _being_erased() -> StoreUnavailable:
    return StoreUnavailable(
        "This tenant is being erased. Nothing was done.",
        hint="Wait until the erasure is complete. If it was interrupted, repeat it: deputize erase-tenant.",
    )
