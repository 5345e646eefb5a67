"""The only truth: grants, and every other record that must be sealed, bound to its place and swapped atomically.

A row opens nowhere but in its place (`records`). Where grants lie and which of them is meant is in
`grant_index`, how many end at once in `bulk_revocation`, what happens when root keys change in `rotation`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final, TypeAlias
from weakref import WeakValueDictionary

from deputize.core.errors import VaultError
from deputize.core.vault.bootstrap import LOST, open_first
from deputize.core.vault.bulk_revocation import EndedGrants
from deputize.core.vault.grant import Grant, User
from deputize.core.vault.grant_index import GrantIndex, called, meant, same_origin
from deputize.core.vault.record import EXPIRING, FIRST, KINDS, PAGE, Record
from deputize.core.vault.records import Records
from deputize.core.vault.seal import Sealer, generation_of
from deputize.core.vault.stores.protocol import Store
from deputize.core.vault.vault_keys import VaultKeys

__all__ = ["EXPIRING", "FIRST", "KINDS", "LOST", "PAGE", "Record", "Vault", "called"]

DAMAGED: Final = "Connect it again, or name another account. deputize doctor --drop removes what does not open."

Replacing: TypeAlias = Callable[[Grant, Grant], Awaitable[object]]
"""Told of a grant whose tokens are about to be written over, and of the grant that is written."""


class Vault(Records):
    """Sealed records in a store. Made by `Vault.open`."""

    def __init__(self, store: Store, sealer: Sealer, keys: VaultKeys) -> None:
        super().__init__(store, sealer, keys)
        index = GrantIndex(keys.index)
        self.key_prefix, self.record_key = index.key_prefix, index.record_key
        self.ended = EndedGrants(self)
        self._shared = WeakValueDictionary[tuple[str, bytes], Grant]()
        self.before_close: list[Callable[[], Awaitable[None]]] = []
        """What is awaited before the store is let go: for who still has something to write."""

    @classmethod
    async def open(cls, store: Store, root_keys: Sequence[bytes] | Sealer, *, begin: bool = True) -> Vault:
        """The vault in this store; an empty store without one gets it, unless ``begin`` is False.

        ``root_keys``: newest first, or what seals with them. If that has a source of keys, the vault asks it again
        when a record turns up that a newer key sealed: keys can change while this process runs or starts. Raises
        `VaultError` if the keys do not open it or its first record is lost, `SettingsError` if they are in the wrong
        order.
        """
        sealer = root_keys if isinstance(root_keys, Sealer) else Sealer(root_keys)
        del root_keys  # an error of the store would show them
        sealer, keys = await open_first(store, sealer, begin=begin)
        return cls(store, sealer, keys)

    # ------------------------------------------------------------- keys that change

    def rekey(self, root_keys: Sequence[bytes]) -> None:
        """Use these root keys from now on, newest first."""
        self.sealer = Sealer(root_keys, self.sealer.source)
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

    # ------------------------------------------------------------- grants

    async def grants(self, user: User, provider: str = "", app: str = "") -> list[Grant]:
        """A user's grants, tombstones of revoked ones included; without those that are damaged.

        Raises `VaultError` where the key of one is missing.
        """
        return (await self._whole(user, provider, app))[0]

    async def _whole(self, user: User, provider: str, app: str) -> tuple[list[Grant], int]:
        """The grants that open, and how many are damaged."""
        await self.ended.look()
        found, damaged = [], 0
        rows = await self.store.scan("grant", self.key_prefix(user, provider, app))
        await self.find_keys(*[sealed for _, sealed in rows])
        for key, sealed in rows:
            if (grant := self._grant_or_none(key, sealed)) is None:
                damaged += 1
            else:
                found.append(grant)
        return found, damaged

    def _grant_or_none(self, key: str, sealed: bytes) -> Grant | None:
        """The grant of a row; None where the row is damaged, for all that its key is here."""
        try:
            return self._grant(key, sealed)
        except VaultError:
            if not self.sealer.knows(sealed):
                raise
        return None

    async def stored(self, key: str) -> Grant | None:
        """The grant in this place as it is written there: with its tokens, though it may have ended with many."""
        record = await self.get("grant", key)
        return Grant.unpack(record.plain, record.generation) if record else None

    async def grant(self, key: str) -> Grant | None:
        """The grant in this place."""
        await self.ended.look()
        sealed = await self.store.get("grant", key)
        if sealed is None:
            return None
        await self.find_keys(sealed)
        return self._grant(key, sealed)

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
        key = self.record_key(grant)
        await self.ended.look(fresh=True)
        others = [g for g in await self.grants(grant.user, grant.provider, grant.app) if g.status != "revoked"]
        first = all(g.account.subject == grant.account.subject for g in others)
        while True:
            if sealed := await self.store.get("grant", key):
                await self.find_keys(sealed)
            if sealed is None or self._grant_or_none(key, sealed) is None:
                if stored := await self._put(key, sealed, fresh := replace(grant, default=first)):
                    return replace(fresh, generation=stored.generation)
                continue
            old = self._opened("grant", key, sealed)
            before = Grant.unpack(old.plain, old.generation)
            alive = before.status == "active" and not self.has_ended(before)
            same = same_origin(before, grant) and before.proof_key == grant.proof_key
            kept = before.refresh_token if alive and same and not grant.refresh_token else None
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

    async def _put(self, key: str, damaged: bytes | None, grant: Grant) -> Record | None:
        """A grant where none lies, or over one that nobody can open any more. None: another write came first."""
        if damaged is None:
            return await self.insert("grant", key, grant.pack())
        generation, plain = generation_of(damaged) + 1, grant.pack()
        sealed = self.sealer.seal("grant", key, generation, plain)
        if await self.store.swap("grant", key, damaged, sealed):
            return Record("grant", key, generation, plain, sealed)
        return None

    async def drop_shut(self) -> int:
        """Remove the grants that do not open; how many those were. Whose they were, and what lives on, nobody knows."""
        gone, after = 0, ""
        while page := await self.store.scan("grant", after=after, most=PAGE):
            after = page[-1][0]
            await self.find_keys(*(sealed for _, sealed in page))
            for key, sealed in page:
                try:
                    self.unsealed("grant", key, sealed)
                except VaultError:
                    gone += await self.store.delete("grant", key, sealed)
        return gone

    async def replace(self, old: Grant, new: Grant) -> Grant | None:
        """Write ``new`` where ``old`` lies. None: another write came first, or a backup with the same generation; or it
        has ended with many, and ``new`` is no tombstone."""
        await self.ended.look()
        if new.status != "revoked" and self.has_ended(old):
            return None
        key = self.record_key(old)
        while (record := await self.get("grant", key)) and Grant.unpack(record.plain, record.generation) == old:
            if stored := await self.swap(record, new.pack()):
                return replace(new, generation=stored.generation)
        return None

    def _grant(self, key: str, sealed: bytes) -> Grant:
        """The grant of a row; one that has ended with many is as good as a tombstone.

        Acts at the same time share the one that is open; with the last of them it is gone.
        """
        row = key, sealed
        grant = self._shared.get(row)
        if grant is None:
            generation, plain = self.unsealed("grant", key, sealed)
            grant = self._shared[row] = Grant.unpack(plain, generation)
        return grant.tombstone() if self.ended.over(grant.user.tenant, grant.epoch) else grant

    def has_ended(self, grant: Grant) -> bool:
        """Whether it has ended together with many others, by what is known here: see `EndedGrants.look`."""
        return self.ended.over(grant.user.tenant, grant.epoch)

    async def close(self) -> None:
        """Let go of the store."""
        for last in self.before_close:
            await last()
        await self.store.close()
