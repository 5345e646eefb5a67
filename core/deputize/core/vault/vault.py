"""The vault: grants and all other records that must be encrypted, bound to their key and swapped atomically.

A record can only be decrypted under its own kind and key (`records`). `grant_index` makes the keys of grants and
selects a grant, `bulk_revocation` ends many at once, `rotation` handles changed root keys.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final, TypeAlias
from weakref import WeakValueDictionary

from deputize.core.errors import VaultError
from deputize.core.vault.bootstrap import LOST, open_first
from deputize.core.vault.bulk_revocation import BulkRevocationState
from deputize.core.vault.data_key import DataKey
from deputize.core.vault.grant import Grant, User
from deputize.core.vault.grant_index import GrantIndex, grants_of_account, has_same_origin, select_grant
from deputize.core.vault.record import EXPIRING, FIRST, KINDS, PAGE, Record
from deputize.core.vault.seal import ClosedSealer, Sealer, generation_of
from deputize.core.vault.sealed_records import Records
from deputize.core.vault.stores.protocol import Store
from deputize.core.vault.token_ownership import NextOwner, has_next_owner
from deputize.core.vault.vault_keys import VaultKeys

__all__ = ["EXPIRING", "FIRST", "KINDS", "LOST", "PAGE", "Record", "Vault", "grants_of_account"]

DAMAGED: Final = "Connect it again, or name another account. deputize doctor --drop removes what does not open."

Replacing: TypeAlias = Callable[[Grant, Grant], Awaitable[object]]
"""Called with a grant whose tokens are about to be overwritten, and with the grant that replaces it."""


class Vault(Records):
    """Encrypted records in a store. Made by `Vault.open`."""

    def __init__(self, store: Store, sealer: Sealer, keys: VaultKeys) -> None:
        super().__init__(store, sealer, keys)
        index = GrantIndex(keys.index)
        self.key_prefix, self.record_key = index.key_prefix, index.record_key
        self.ended = BulkRevocationState(self)
        self._shared = WeakValueDictionary[tuple[str, bytes], Grant]()
        self.before_close: list[Callable[[], Awaitable[None]]] = []
        """Awaited before the store is closed, for components that still have something to write."""

    @classmethod
    async def open(cls, store: Store, root_keys: Sequence[bytes] | Sealer, *, begin: bool = True) -> Vault:
        """Return the vault in this store. An empty store gets a new vault, unless ``begin`` is False.

        ``root_keys``: newest first, or a `Sealer` with them. If the sealer has a key source, the vault reads the source
        again when it finds a record that a newer key encrypted, because keys can change while this process runs or
        starts. Raises `VaultError` if the keys do not decrypt the vault or its first record is lost, and
        `SettingsError` if the keys are in the wrong order.
        """
        sealer = root_keys if isinstance(root_keys, Sealer) else Sealer(root_keys)
        del root_keys  # the traceback of a store error would show them
        sealer, keys = await open_first(store, sealer, begin=begin)
        return cls(store, sealer, keys)

    # ------------------------------------------------------------- keys that change

    def rekey(self, root_keys: Sequence[bytes]) -> None:
        """Replace the root keys. ``root_keys``: newest first."""
        self.sealer = Sealer(root_keys, self.sealer.source)
        self._shared.clear()

    def close_keys(self) -> None:
        """Forget the root keys. Records are closed until the key source is read again."""
        self.sealer = ClosedSealer(self.sealer)
        self.data_keys.forget()
        self._shared.clear()

    async def renew_audit_key(self) -> None:
        """Give the audit a new key. The old key is kept to verify old rows.

        Running programs use the old key until they are restarted.
        """
        await self.renew_keys(VaultKeys.with_new_audit)

    async def accept_copy(self, newer: VaultKeys | None = None) -> None:
        """Accept this vault, a restored backup, as the current one. ``newer``: the latest known keys of the vault, so
        that an audit key that was replaced after the backup does not come back."""
        await self.renew_keys(lambda keys: replace(newer or keys, copied_at=0.0))

    # ------------------------------------------------------------- grants

    async def list_grants(self, user: User, provider: str = "", app: str = "") -> list[Grant]:
        """Return a user's grants, including tombstones of revoked ones, without damaged ones.

        Raises `VaultError` if a key needed to decrypt one is missing.
        """
        return (await self._open_grants(user, provider, app))[0]

    async def _open_grants(self, user: User, provider: str, app: str) -> tuple[list[Grant], int]:
        """Return the grants that can be decrypted, and the number of damaged ones."""
        await self.ended.refresh()
        found, damaged = [], 0
        rows = await self.stored("scan", "grant", self.key_prefix(user, provider, app))
        await self.find_keys(*[sealed for _, sealed in rows])
        for key, sealed in rows:
            if (grant := self._grant_or_none(key, sealed)) is None:
                damaged += 1
            else:
                found.append(grant)
        return found, damaged

    def _grant_or_none(self, key: str, sealed: bytes) -> Grant | None:
        """Return the grant in a record, or None if the record is damaged although its key is known."""
        try:
            return self._grant(key, sealed)
        except VaultError:
            if not self.knows(sealed):
                raise
        return None

    async def get_stored_grant(self, key: str) -> Grant | None:
        """Return the grant under this key as stored, with its tokens even if a bulk revocation ended it, or None."""
        record = await self.get("grant", key)
        return Grant.unpack(record.plain, record.generation) if record else None

    async def get_grant(self, key: str) -> Grant | None:
        """Return the grant under this key, or None."""
        await self.ended.refresh()
        sealed = await self.store.get("grant", key)
        if sealed is None:
            return None
        await self.find_keys(sealed)
        return self._grant(key, sealed)

    async def find_grant(self, user: User, provider: str, app: str, account: str | None = None) -> Grant | None:
        """Return the grant to act with, or None: that of the named account (name or subject), or the default one.

        Raises `AccountMismatch` if the named account is not connected while others are, or if several accounts have
        that name. Raises `VaultError` if the wanted grant may be a damaged one, which no other grant replaces.
        """
        whole, damaged = await self._open_grants(user, provider, app)
        grant = select_grant(whole, account)
        if damaged and (grant is None or not (account or grant.default)):
            raise VaultError("A grant of this user is damaged.", hint=DAMAGED)
        return grant

    async def find_undamaged(self, user: User, provider: str, app: str, account: str | None = None) -> Grant | None:
        """Return the grant as `find_grant` does, but ignore damaged grants, which a new consent replaces."""
        return select_grant(await self.list_grants(user, provider, app), account)

    async def add(self, grant: Grant, replacing: Replacing | None = None) -> Grant:
        """Store a newly consented grant over any earlier one under its key. Return it with its generation.

        A grant without a refresh token keeps the stored one, if that came from the same server and app and has the same
        proof key. ``replacing``: called with the old and the new grant before tokens are overwritten, to make sure that
        the old tokens end. Raises `TypeError` if it is missing and there are such tokens.
        """
        key, data_key = self.record_key(grant), await self.data_keys.get(grant.user.tenant)
        await self.ended.refresh(fresh=True)
        others = [g for g in await self.list_grants(grant.user, grant.provider, grant.app) if g.status != "revoked"]
        first = all(g.account.subject == grant.account.subject for g in others)
        while True:
            if sealed := await self.store.get("grant", key):
                await self.find_keys(sealed)
            if sealed is None or self._grant_or_none(key, sealed) is None:
                if stored := await self._put(key, sealed, fresh := replace(grant, default=first), data_key):
                    return replace(fresh, generation=stored.generation)
                continue
            old = self._opened("grant", key, sealed)
            before = Grant.unpack(old.plain, old.generation)
            alive = before.status == "active" and not self.has_ended(before)
            same = has_same_origin(before, grant) and before.proof_key == grant.proof_key
            kept = before.refresh_token if alive and same and not grant.refresh_token else None
            fresh = replace(
                grant,
                default=first or (before.default and before.status != "revoked"),
                refresh_token=kept or grant.refresh_token,
                family=before.family if kept else grant.family,
                refresh_ends_at=before.refresh_ends_at if kept else grant.refresh_ends_at,
                end_told_at=before.end_told_at if kept else grant.end_told_at,
            )
            if replacing:
                await replacing(before, fresh)
            elif before.access_token and before.access_token != fresh.access_token:
                raise TypeError("Nothing would revoke the tokens of the earlier grant.")
            if stored := await self.swap(old, fresh.pack()):
                return replace(fresh, generation=stored.generation)

    async def _put(self, key: str, damaged: bytes | None, grant: Grant, data_key: DataKey | None) -> Record | None:
        """Insert a grant, or replace one that cannot be opened. Return None if another write came first."""
        if damaged is None:
            return await self.insert("grant", key, grant.pack(), data_key)
        generation, plain = generation_of(damaged) + 1, grant.pack()
        sealed = (data_key or self.sealer).seal("grant", key, generation, plain)
        if await self.store.swap("grant", key, damaged, sealed):
            return Record("grant", key, generation, plain, sealed, data_key)
        return None

    async def delete_damaged(self) -> int:
        """Remove the grants that cannot be decrypted, and return their number. Their users and tokens are unknown."""
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
        """Replace ``old`` by ``new``. Return None if the stored grant is not ``old``: another write came first, or a
        backup with the same generation was restored. Return None also if a bulk revocation ended it.

        Raises `TypeError` if ``new`` has no tokens, because only `end_grant` may end a grant.
        """
        if old.access_token and not new.access_token:
            raise TypeError("A grant that loses its tokens is ended by `end_grant`.")
        await self.ended.refresh()
        return None if self.has_ended(old) else await self._swap_grant(old, new)

    async def end_grant(self, grant: Grant, ended: Grant, next_owner: NextOwner) -> Grant | None:
        """Replace a grant by ``ended``, the same grant without tokens. Returns None if `replace` would, except that a
        tombstone can be written after a bulk revocation. No other function drops the tokens of an undamaged grant.

        ``next_owner``: the next owner of the tokens, see `deputize.core.vault.token_ownership`. Raises `TypeError` if
        it does not have them.
        """
        if not has_next_owner(grant, next_owner):
            raise TypeError("Nothing would revoke the tokens of this grant.")
        await self.ended.refresh()
        if ended.status != "revoked" and self.has_ended(grant):
            return None
        return await self._swap_grant(grant, ended)

    async def _swap_grant(self, old: Grant, new: Grant) -> Grant | None:
        key = self.record_key(old)
        while (record := await self.get("grant", key)) and Grant.unpack(record.plain, record.generation) == old:
            if stored := await self.swap(record, new.pack()):
                return replace(new, generation=stored.generation)
        return None

    def _grant(self, key: str, sealed: bytes) -> Grant:
        """Return the grant in a record, as a tombstone if a bulk revocation ended it.

        Concurrent acts share one opened grant. It is freed with the last of them.
        """
        row = key, sealed
        grant = self._shared.get(row)
        if grant is None:
            generation, plain = self.unsealed("grant", key, sealed)
            grant = self._shared[row] = Grant.unpack(plain, generation)
        return grant.tombstone() if self.ended.has_ended(grant.user.tenant, grant.epoch) else grant

    def has_ended(self, grant: Grant) -> bool:
        """Return whether a bulk revocation ended this grant, as far as this process knows. See
        `BulkRevocationState.refresh`."""
        return self.ended.has_ended(grant.user.tenant, grant.epoch)

    async def close(self) -> None:
        """Close the store, after all `before_close` callbacks."""
        for last in self.before_close:
            await last()
        await self.store.close()
