"""The only truth: grants, and every other record that must be sealed, bound to its place and swapped atomically.

A row opens nowhere but in its place. Where grants lie is in `grant_index`, which of them is meant in `choose`, what
happens when root keys change in `rotation`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, TypeAlias
from weakref import WeakValueDictionary

from deputize.core.errors import InvalidInput, VaultError
from deputize.core.vault.choose import called, meant, same_origin
from deputize.core.vault.content import packed
from deputize.core.vault.grant import Grant, SecretBytes, User
from deputize.core.vault.grant_index import GrantIndex
from deputize.core.vault.opening import LOST, Reread, knowing, open_first
from deputize.core.vault.record import EXPIRING, FIRST, KINDS, PAGE, Content, Record
from deputize.core.vault.seal import Sealer, generation_of
from deputize.core.vault.stores.protocol import Store
from deputize.core.vault.vault_keys import VaultKeys

__all__ = ["EXPIRING", "FIRST", "KINDS", "LOST", "PAGE", "Record", "Vault", "called"]

DAMAGED: Final = "Connect it again, or name another account. deputize doctor --drop removes what does not open."

Replacing: TypeAlias = Callable[[Grant, Grant], Awaitable[object]]
"""Told of a grant whose tokens are about to be written over, and of the grant that is written."""


class Vault:
    """Sealed records in a store. Made by `Vault.open`."""

    def __init__(self, store: Store, sealer: Sealer, keys: VaultKeys, reread: Reread | None = None) -> None:
        self.store, self.sealer, self.keys, self._reread = store, sealer, keys, reread
        index = GrantIndex(keys.index)
        self.place, self.place_of = index.place, index.place_of
        self._shared = WeakValueDictionary[tuple[str, bytes], Grant]()
        self.before_close: list[Callable[[], Awaitable[None]]] = []
        """What is awaited before the store is let go: for who still has something to write."""

    @classmethod
    async def open(
        cls,
        store: Store,
        root_keys: Sequence[bytes] | Sealer,
        reread: Reread | None = None,
        *,
        begin: bool = True,
    ) -> Vault:
        """The vault in this store; an empty store without one gets it, unless ``begin`` is False.

        ``root_keys``: newest first, or what seals with them. ``reread`` gives them again: it is asked when a record
        turns up that a newer key sealed, so that keys can be changed while this process runs or starts. Raises
        `VaultError` if the keys do not open it or its first record is lost, `SettingsError` if they are in the wrong
        order.
        """
        sealer = root_keys if isinstance(root_keys, Sealer) else Sealer(root_keys)
        del root_keys  # an error of the store would show them
        sealer, keys = await open_first(store, sealer, reread, begin=begin)
        return cls(store, sealer, keys, reread)

    # ------------------------------------------------------------- records

    async def get(self, kind: str, key: str) -> Record | None:
        """The record in this place, opened, or None. Raises `VaultError` if it cannot be opened."""
        sealed = await self.store.get(kind, key)
        return None if sealed is None else self._opened(kind, key, sealed)

    async def insert(self, kind: str, key: str, content: Content) -> Record | None:
        """A new record, or None where one is. Raises `InvalidInput` for a kind that is not in `KINDS`."""
        if kind not in KINDS:
            raise InvalidInput(f"A vault keeps no records of the kind {kind!r}.", fix_by="operator")
        plain = packed(content)
        sealed = self.sealer.seal(kind, key, 1, plain)
        return Record(kind, key, 1, plain, sealed) if await self.store.insert(kind, key, sealed) else None

    async def swap(self, record: Record, content: Content) -> Record | None:
        """The record with new content and the next generation; None, and nothing changed, if it is not as it was."""
        plain, generation = packed(content), record.generation + 1
        sealed = self.sealer.seal(record.kind, record.key, generation, plain)
        while not await self.store.swap(record.kind, record.key, record.sealed, sealed):
            if (again := await self._resealed(record)) is None:
                return None
            record = again
        return Record(record.kind, record.key, generation, plain, sealed)

    async def delete(self, record: Record) -> bool:
        """Whether the record was still as it was, and is gone now."""
        while not await self.store.delete(record.kind, record.key, record.sealed):
            if (again := await self._resealed(record)) is None:
                return False
            record = again
        return True

    async def _resealed(self, record: Record) -> Record | None:
        """The record as it lies there now, if only its seal is another; else None."""
        now = await self.get(record.kind, record.key)
        same = now is not None and (now.generation, now.plain) == (record.generation, record.plain)
        return now if now is not None and same and now.sealed != record.sealed else None

    async def scan(self, kind: str, prefix: str = "", *, known: Mapping[str, bytes] | None = None) -> list[Record]:
        """All records of a kind whose key begins so, opened, in key order; but those that are ``known``.

        ``known``: by key, the sealed bytes in which a record says nothing that is asked for here.
        """
        rows, past = await self.store.scan(kind, prefix), known or {}
        return [self._opened(kind, key, sealed) for key, sealed in rows if past.get(key) != sealed]

    async def scan_open(self, kind: str, prefix: str = "") -> tuple[list[Record], int]:
        """Those of them that open, and how many do not: for work that one damaged record must not stop."""
        found, shut = [], 0
        for key, sealed in await self.store.scan(kind, prefix):
            try:
                found.append(self._opened(kind, key, sealed))
            except VaultError:
                shut += 1
        return found, shut

    async def pages(self, kind: str, size: int = PAGE, *, after: str = "") -> AsyncIterator[tuple[list[Record], int]]:
        """All records of a kind behind a key, so many at a time: those that open, and how many do not.

        What is put in meanwhile behind the last page is met, too.
        """
        while page := await self.store.scan(kind, after=after, most=size):
            after, shut = page[-1][0], 0
            found: list[Record] = []
            for key, sealed in page:
                try:
                    found.append(self._opened(kind, key, sealed))
                except VaultError:
                    shut += 1
            yield found, shut
            await asyncio.sleep(0)

    def _opened(self, kind: str, key: str, sealed: bytes) -> Record:
        generation, plain = self.unsealed(kind, key, sealed)
        return Record(kind, key, generation, plain, sealed)

    def unsealed(self, kind: str, key: str, sealed: bytes) -> tuple[int, SecretBytes]:
        """Generation and plaintext; a key that is not known yet is looked for where keys come from."""
        sealer = self.sealer  # once: another thread may replace it
        if not sealer.knows(sealed):
            self.sealer = sealer = knowing(sealed, sealer, self._reread)
        return sealer.open(kind, key, sealed)

    # ------------------------------------------------------------- keys that change

    def rekey(self, root_keys: Sequence[bytes]) -> None:
        """Use these root keys from now on, newest first."""
        self.sealer = Sealer(root_keys)
        self._shared.clear()

    async def renew_audit_key(self) -> None:
        """Give the audit a new key; the old one stays beside it, to prove old rows.

        Programs that run go on with the key they have until they are started again.
        """
        await self.renew_keys(VaultKeys.with_new_audit)

    async def accept_copy(self, newer: VaultKeys | None = None) -> None:
        """This vault was a backup, and is the vault from now on. ``newer``: its own keys, where they are known as they
        were last: an audit key that was replaced since does not come back with the backup."""
        await self.renew_keys(lambda keys: replace(newer or keys, copied_at=0.0))

    async def renew_keys(self, change: Callable[[VaultKeys], VaultKeys]) -> None:
        """Change the vault's own keys where they lie, and here."""
        while record := await self.get(*FIRST):
            before = VaultKeys.unpack(record.plain)
            after = change(before)
            if after == before or await self.swap(record, after.pack()):
                self.keys = after
                return
        raise VaultError("The vault has lost its first record.")

    # ------------------------------------------------------------- grants

    async def grants(self, user: User, provider: str = "", app: str = "") -> list[Grant]:
        """A user's grants, tombstones of revoked ones included; without those that are damaged.

        Raises `VaultError` where the key of one is missing.
        """
        return (await self._whole(user, provider, app))[0]

    async def _whole(self, user: User, provider: str, app: str) -> tuple[list[Grant], int]:
        """The grants that open, and how many are damaged."""
        found, damaged = [], 0
        for key, sealed in await self.store.scan("grant", self.place(user, provider, app)):
            if (grant := self._grant_or_none(key, sealed)) is None:
                damaged += 1
            else:
                found.append(grant)
        return found, damaged

    def _grant_or_none(self, place: str, sealed: bytes) -> Grant | None:
        """The grant of a row; None where the row is damaged, for all that its key is here."""
        try:
            return self._grant(place, sealed)
        except VaultError:
            if not self.sealer.knows(sealed):
                raise
        return None

    async def grant(self, place: str) -> Grant | None:
        """The grant in this place."""
        sealed = await self.store.get("grant", place)
        return None if sealed is None else self._grant(place, sealed)

    async def find(self, user: User, provider: str, app: str, account: str | None = None) -> Grant | None:
        """The grant to act with: of the named account (name or subject), else the default one. None: there is none.

        Raises `AccountMismatch` if an account is named that is not connected while others are, or whose name several
        have; `VaultError` where the one that is meant may be a damaged one: no other acts in its place.
        """
        whole, damaged = await self._whole(user, provider, app)
        grant = meant(whole, account)
        if damaged and (grant is None or not (account or grant.default)):
            raise VaultError("A grant of this user is damaged.", hint=DAMAGED)
        return grant

    async def find_whole(self, user: User, provider: str, app: str, account: str | None = None) -> Grant | None:
        """The same for who asks for a new consent, which takes the place of a damaged one."""
        return meant(await self.grants(user, provider, app), account)

    async def add(self, grant: Grant, replacing: Replacing | None = None) -> Grant:
        """Store a freshly consented grant, over whatever lies in its place. Returns it with its generation.

        Without a refresh token it keeps the one that lies there now, if that came from the same server and app, and is
        bound to no other key.
        ``replacing`` is called before tokens are written over, with the grant that has them and the one that comes.
        """
        place = self.place_of(grant)
        others = [g for g in await self.grants(grant.user, grant.provider, grant.app) if g.status != "revoked"]
        first = all(g.account.subject == grant.account.subject for g in others)
        while True:
            sealed = await self.store.get("grant", place)
            if sealed is None or self._grant_or_none(place, sealed) is None:
                if stored := await self._put(place, sealed, fresh := replace(grant, default=first)):
                    return replace(fresh, generation=stored.generation)
                continue
            old = self._opened("grant", place, sealed)
            before = Grant.unpack(old.plain, old.generation)
            alive = before.status == "active" and same_origin(before, grant) and before.proof_key == grant.proof_key
            kept = before.refresh_token if alive and not grant.refresh_token else None
            fresh = replace(
                grant,
                default=first or (before.default and before.status != "revoked"),
                refresh_token=kept or grant.refresh_token,
                family=before.family if kept else grant.family,
            )
            if replacing:
                await replacing(before, fresh)
            if stored := await self.swap(old, fresh.pack()):
                return replace(fresh, generation=stored.generation)

    async def _put(self, place: str, damaged: bytes | None, grant: Grant) -> Record | None:
        """A grant where none lies, or over one that nobody can open any more. None: another write came first."""
        if damaged is None:
            return await self.insert("grant", place, grant.pack())
        generation, plain = generation_of(damaged) + 1, grant.pack()
        sealed = self.sealer.seal("grant", place, generation, plain)
        if await self.store.swap("grant", place, damaged, sealed):
            return Record("grant", place, generation, plain, sealed)
        return None

    async def drop_shut(self) -> int:
        """Remove the grants that do not open; how many those were. Whose they were, and what lives on, nobody knows."""
        gone = 0
        for key, sealed in await self.store.scan("grant"):
            try:
                self.unsealed("grant", key, sealed)
            except VaultError:
                gone += await self.store.delete("grant", key, sealed)
        return gone

    async def replace(self, old: Grant, new: Grant) -> Grant | None:
        """Write ``new`` where ``old`` lies. None: another write came first, or a backup with the same generation."""
        place = self.place_of(old)
        while (record := await self.get("grant", place)) and Grant.unpack(record.plain, record.generation) == old:
            if stored := await self.swap(record, new.pack()):
                return replace(new, generation=stored.generation)
        return None

    def _grant(self, place: str, sealed: bytes) -> Grant:
        """The grant of a row. Acts at the same time share the one that is open; with the last of them it is gone."""
        row = place, sealed
        grant = self._shared.get(row)
        if grant is None:
            generation, plain = self.unsealed("grant", place, sealed)
            grant = self._shared[row] = Grant.unpack(plain, generation)
        return grant

    async def close(self) -> None:
        """Let go of the store."""
        for last in self.before_close:
            await last()
        await self.store.close()
