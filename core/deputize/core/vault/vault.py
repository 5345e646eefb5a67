"""The only truth: grants, and every other record that must be sealed, bound to its place and swapped atomically.

A grant's place is ``HMAC(tenant, user) . HMAC(provider, app) . HMAC(account)`` under the vault's own index key: no
user id is readable in the store, one user's grants are one range, and a row opens nowhere but in its place.
"""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from deputize.core.errors import AccountMismatch, VaultError
from deputize.core.vault.grant import Grant, User
from deputize.core.vault.seal import Sealer
from deputize.core.vault.stores.base import Store

EXPIRING = ("consent", "asked", "ticket", "state", "approval", "act")
"""Kinds of records that carry ``expires`` (Unix seconds) and are swept. The others: grant, intent, outbox, meta."""


@dataclass(frozen=True, slots=True)
class Record:
    """One opened record, and the sealed bytes that a swap must still find."""

    kind: str
    key: str
    generation: int
    plain: bytes
    sealed: bytes

    @property
    def json(self) -> dict[str, Any]:
        """The record's content, where it is JSON."""
        content: dict[str, Any] = json.loads(self.plain)
        return content


@dataclass(frozen=True, slots=True)
class HouseKeys:
    """Keys that belong to the vault and outlive the root keys that seal it. Each has one purpose."""

    index: bytes
    ticket: bytes
    web: bytes
    audit: bytes

    @classmethod
    def new(cls) -> HouseKeys:
        """Four fresh 256-bit keys."""
        return cls(*(secrets.token_bytes(32) for _ in range(4)))

    def pack(self) -> bytes:
        """As JSON, to be sealed."""
        return json.dumps({n: getattr(self, n).hex() for n in self.__slots__}).encode()

    @classmethod
    def unpack(cls, plain: bytes) -> HouseKeys:
        """What `pack` made."""
        return cls(**{name: bytes.fromhex(value) for name, value in json.loads(plain).items()})


class Vault:
    """Sealed records in a store. Made by `Vault.open`."""

    def __init__(self, store: Store, sealer: Sealer, keys: HouseKeys) -> None:
        self.store, self.sealer, self.keys = store, sealer, keys
        self._place = lru_cache(maxsize=8192)(self._hash)

    @classmethod
    async def open(cls, store: Store, root_keys: Sequence[bytes]) -> Vault:
        """The vault in this store; a store without one gets it. Raises `VaultError` if the keys do not open it."""
        sealer = Sealer(root_keys)
        for _ in range(2):
            if sealed := await store.get("meta", "vault"):
                return cls(store, sealer, HouseKeys.unpack(sealer.open("meta", "vault", sealed)[1]))
            keys = HouseKeys.new()
            await store.insert("meta", "vault", sealer.seal("meta", "vault", 1, keys.pack()))
        raise VaultError("The vault could not be opened: its first record does not stay.")

    # ------------------------------------------------------------- records

    async def get(self, kind: str, key: str) -> Record | None:
        """The record in this place, opened, or None. Raises `VaultError` if it cannot be opened."""
        sealed = await self.store.get(kind, key)
        return None if sealed is None else self._opened(kind, key, sealed)

    async def insert(self, kind: str, key: str, content: bytes | dict[str, Any]) -> Record | None:
        """A new record, or None where one is."""
        plain = _plain(content)
        sealed = self.sealer.seal(kind, key, 1, plain)
        return Record(kind, key, 1, plain, sealed) if await self.store.insert(kind, key, sealed) else None

    async def swap(self, record: Record, content: bytes | dict[str, Any]) -> Record | None:
        """The record with new content and the next generation; None, and nothing changed, if it is not as it was."""
        plain, generation = _plain(content), record.generation + 1
        sealed = self.sealer.seal(record.kind, record.key, generation, plain)
        if await self.store.swap(record.kind, record.key, record.sealed, sealed):
            return Record(record.kind, record.key, generation, plain, sealed)
        return None

    async def delete(self, record: Record) -> bool:
        """Whether the record was still as it was, and is gone now."""
        return await self.store.delete(record.kind, record.key, record.sealed)

    async def scan(self, kind: str, prefix: str = "") -> list[Record]:
        """All records of a kind whose key begins so, opened, in key order."""
        return [self._opened(kind, key, sealed) for key, sealed in await self.store.scan(kind, prefix)]

    def _opened(self, kind: str, key: str, sealed: bytes) -> Record:
        generation, plain = self.sealer.open(kind, key, sealed)
        return Record(kind, key, generation, plain, sealed)

    async def sweep(self, now: float) -> int:
        """Remove what has expired; how many records that were. What cannot be opened is left for `deputize doctor`."""
        gone = 0
        for kind in EXPIRING:
            for key, sealed in await self.store.scan(kind):
                try:
                    record = self._opened(kind, key, sealed)
                except VaultError:
                    continue
                if record.json.get("expires", now + 1) <= now:
                    gone += await self.delete(record)
        return gone

    # ------------------------------------------------------------- grants

    def _hash(self, *parts: str) -> str:
        framed = b"".join(len(p := part.encode()).to_bytes(4, "big") + p for part in parts)
        return hmac.digest(self.keys.index, framed, "sha256")[:16].hex()

    def place(self, user: User, provider: str = "", app: str = "", subject: str = "") -> str:
        """Where a grant lies; with fewer parts, the beginning of the places of several."""
        place = self._place("user", user.tenant, user.id) + "."
        if provider:
            place += self._place("app", provider, app) + "."
        return place + self._place("account", subject) if subject else place

    def place_of(self, grant: Grant) -> str:
        """Where this grant lies."""
        return self.place(grant.user, grant.provider, grant.app, grant.account.subject)

    async def grants(self, user: User, provider: str = "", app: str = "") -> list[Grant]:
        """A user's grants, tombstones of revoked ones included."""
        found = await self.store.scan("grant", self.place(user, provider, app))
        return [self._grant(key, sealed) for key, sealed in found]

    async def grant(self, place: str) -> Grant | None:
        """The grant in this place."""
        sealed = await self.store.get("grant", place)
        return None if sealed is None else self._grant(place, sealed)

    async def find(self, user: User, provider: str, app: str, account: str | None = None) -> Grant | None:
        """The grant to act with: of the named account (name or subject), else the default one. None: there is none.

        Raises `AccountMismatch` if an account is named that is not connected while others are.
        """
        held = [g for g in await self.grants(user, provider, app) if g.status != "revoked"]
        if account is None:
            return next((g for g in held if g.default), held[0] if held else None)
        for grant in held:
            if account in (grant.account.name, grant.account.subject):
                return grant
        if held:
            names = ", ".join(sorted(g.account.name for g in held))
            raise AccountMismatch(f"No account {account!r} is connected.", hint=f"Connected: {names}.")
        return None

    async def add(self, grant: Grant) -> Grant:
        """Store a freshly consented grant, over whatever lies in its place. Returns it with its generation.

        Without a refresh token it keeps the one that lies there now.
        """
        place = self.place_of(grant)
        others = [g for g in await self.grants(grant.user, grant.provider, grant.app) if g.status != "revoked"]
        first = all(g.account.subject == grant.account.subject for g in others)
        while True:
            if (old := await self.get("grant", place)) is None:
                fresh = replace(grant, default=first)
                if stored := await self.insert("grant", place, fresh.pack()):
                    return replace(fresh, generation=stored.generation)
                continue
            before = Grant.unpack(old.plain, old.generation)
            alive = before.status == "active"
            fresh = replace(
                grant,
                default=first or (before.default and before.status != "revoked"),
                refresh_token=grant.refresh_token or (before.refresh_token if alive else None),
            )
            if stored := await self.swap(old, fresh.pack()):
                return replace(fresh, generation=stored.generation)

    async def replace(self, old: Grant, new: Grant) -> Grant | None:
        """Write ``new`` where ``old`` lies, if its generation is still the same. None: another write came first."""
        place = self.place_of(old)
        while (record := await self.get("grant", place)) and record.generation == old.generation:
            if stored := await self.swap(record, new.pack()):
                return replace(new, generation=stored.generation)
        return None

    def _grant(self, place: str, sealed: bytes) -> Grant:
        generation, plain = self.sealer.open("grant", place, sealed)
        return Grant.unpack(plain, generation)

    async def close(self) -> None:
        """Let go of the store."""
        await self.store.close()


def _plain(content: bytes | dict[str, Any]) -> bytes:
    return content if isinstance(content, bytes) else json.dumps(content, separators=(",", ":")).encode()
