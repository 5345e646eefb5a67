"""Data keys: one for each tenant, so that erasing a tenant is erasing its key (crypto-shredding).

A data key is 32 random bytes in a record of its own, which the root keys encrypt (envelope encryption). Users without a
tenant have no data key. Their records, those that belong to nobody, and queued revocations, which must outlive the
tenant, are encrypted by the root key.

A process caches data keys. It reads them again after `DATA_KEY_TTL` seconds, because another one may erase them. An
erasure has two steps. First the data key is closed: from then on no process begins to write records for the tenant, as
soon as its cache has expired. Then the key is replaced by a tombstone. A tenant that comes back receives a new key.
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
    """A tenant's data key as this process knows it. ``key``: None after the erasure. ``closed``: True if no records may
    be written for the tenant, because it is being erased. ``until``: when it is read again, by the monotonic clock."""

    key: DataKey | None
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
            if known is not None and known.key is not None:
                return known.key
            old = await self._records.get(KIND, place)
            if old is None or "key" not in old.json:
                content = {"tenant": tenant, **(old.json if old else {}), "key": Secret(secrets.token_hex(KEY_BYTES))}
                made = self._records.swap(old, content) if old else self._records.insert(KIND, place, content)
                old = await made
            if old is not None:
                self._know(old)

    async def load(self, rows: Sequence[bytes]) -> None:
        """Read the data keys of these records, unless they are cached."""
        places = {tenant_place(row) for row in rows if is_of_tenant(row)}
        if not (missing := [place for place in places if not self._is_fresh(place)]):
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
        key = DataKey(content["key"], record.key) if "key" in content else None
        self._known.pop(record.key, None)
        self._known[record.key] = _Known(key, bool(content.get("closed")), self._clock() + DATA_KEY_TTL)

    def _is_fresh(self, place: str) -> bool:
        known = self._known.get(place)
        return known is not None and self._clock() < known.until

    def find(self, sealed: bytes) -> DataKey | None:
        """Return the data key of a record, if `load` could read it and it was not erased."""
        known = self._known.get(tenant_place(sealed))
        return known.key if known is not None and known.key is not None and known.key.has_sealed(sealed) else None

    def open(self, kind: str, key: str, sealed: bytes) -> tuple[int, SecretBytes]:
        """Return generation and plaintext of a record. Raises `VaultError`, also if its data key is unknown."""
        if (found := self.find(sealed)) is not None:
            return found.open(kind, key, sealed)
        if self.knows(sealed):
            raise VaultError("A record in the vault cannot be opened: the data key of its tenant was erased.")
        raise VaultError(
            "A record in the vault cannot be opened: the data key of its tenant is missing or damaged.",
            hint="deputize store check shows the damage. Restore a backup: deputize vault restore.",
        )

    def knows(self, sealed: bytes) -> bool:
        """Return whether the data key of a record's tenant is known, or is known to be erased."""
        return tenant_place(sealed) in self._known

    def has_erased(self, sealed: bytes) -> bool:
        """Return whether the record's data key was erased."""
        return is_of_tenant(sealed) and self.knows(sealed) and self.find(sealed) is None

    async def close(self, tenant: str) -> bool:
        """Let no process begin to write records for the tenant: the first step of its erasure. Durable on return.

        Return True if the tenant has a data key, which other processes may have cached.
        """
        return "key" in await self._change(tenant, lambda content: {**content, "closed": True})

    async def erase(self, tenant: str, now: float) -> None:
        """Replace the data key by a tombstone. ``now``: Unix seconds. Durable on return."""
        await self._change(tenant, lambda _: {"tenant": tenant, "erased": now})

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


def _being_erased() -> StoreUnavailable:
    return StoreUnavailable(
        "This tenant is being erased. Nothing was done.",
        hint="Wait until the erasure is complete. If it was interrupted, repeat it: deputize erase-tenant.",
    )
