"""Tenants in a vault: their users, their records, and the erasure of both.

The key of a record is a keyed digest, so records that a root key has encrypted are found by their users, and records
that a data key has encrypted by their head. See `deputize.core.vault.data_keys`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from deputize.core.errors import StoreUnavailable, VaultError
from deputize.core.vault.data_key import DataKey, tenant_place
from deputize.core.vault.data_keys import KIND, keys_in
from deputize.core.vault.grant import Grant, User
from deputize.core.vault.record import KINDS, OF_TENANTS, PAGE, Record
from deputize.core.vault.stores import Keep
from deputize.core.vault.vault import Vault

NAMING: Final = ("person", "grant", "consent", "mandate", "session", "scim_user", "chat_link", "offboarding")
"""Kinds of records that name their user. A user whom the audit names has a record of the first kind."""


async def users_by_prefix(vault: Vault) -> dict[str, User]:
    """Return the users of all tenants by the first part of their records' keys, without users that have no tenant."""
    found = dict[str, User]()
    for kind in NAMING:
        async for records, _ in vault.pages(kind):
            for record in records:
                user = _user_of(record)
                if user is not None and user.tenant:
                    found[_prefix(record.key)] = user
    return found


def _user_of(record: Record) -> User | None:
    """Return the user whom a record names, or None if it names nobody or has an unknown form."""
    try:
        if record.kind == "grant":
            return Grant.unpack(record.plain, record.generation).user
        content: dict[str, Any] = record.json
    except VaultError:
        return None
    user, tenant = content.get("user"), content.get("tenant")
    if isinstance(user, list) and len(user) == 2:  # sessions, users of SCIM
        tenant, user = user
    return User(user, tenant) if isinstance(user, str) and isinstance(tenant, str) else None


def _prefix(key: str) -> str:
    return key.partition(".")[0]


class DataKeyUpgrade:
    """The data keys for records of tenants that a root key has encrypted, as earlier versions did."""

    def __init__(self, vault: Vault, users: dict[str, User]) -> None:
        self._keys, self._users = vault.data_keys, users

    @classmethod
    async def of(cls, vault: Vault) -> DataKeyUpgrade:
        """Find the users of all tenants."""
        return cls(vault, await users_by_prefix(vault))

    async def key_for(self, kind: str, key: str) -> DataKey | None:
        """Return the data key of a record's tenant. None for a record of nobody, if the tenant is being erased, or if
        the data key is damaged, which must not stop a rotation."""
        user = self._users.get(_prefix(key)) if kind in OF_TENANTS else None
        try:
            return await self._keys.get(user.tenant) if user else None
        except (StoreUnavailable, VaultError):
            return None


async def delete_rows(vault: Vault, tenant: str, users: Mapping[str, User], *, only_erased: bool = False) -> int:
    """Delete all records of a tenant, also those that cannot be decrypted, and return their number. ``users``: from
    `users_by_prefix`, before any was erased. ``only_erased``: only records that an earlier erasure has left."""
    place, gone = vault.data_keys.place(tenant), 0
    prefixes = {prefix for prefix, user in users.items() if user.tenant == tenant}
    for kind in (kind for kind in KINDS if kind in OF_TENANTS):
        after = ""
        while page := await vault.store.scan(kind, after=after, most=PAGE):
            after = page[-1][0]
            mine = [row for row in page if tenant_place(row[1]) == place or _prefix(row[0]) in prefixes]
            await vault.find_keys(*(sealed for _, sealed in mine if only_erased))
            for key, sealed in mine:
                if not only_erased or vault.data_keys.has_erased(sealed):
                    gone += await vault.store.delete(kind, key, sealed)
    return gone


async def tenants_being_erased(vault: Vault) -> list[str]:
    """Return the tenants whose erasure is in progress, or was interrupted."""
    pages = [records async for records, _ in vault.pages(KIND)]
    return [record.json["tenant"] for records in pages for record in records if record.json.get("closed")]


async def take_over_data_keys(copied: Vault, vault: Vault) -> Keep:
    """Give a backup the data keys of the vault that it replaces, before anything else: that vault's records follow.
    Tenants that were erased since the backup are erased in it. Return a function that says which records of data keys
    stay as they are in the vault: those that have changed since, and those that are not in the backup."""
    rows = dict(await vault.store.scan(KIND))
    async for records, _ in vault.pages(KIND):
        for record in records:
            old, content = await copied.get(KIND, record.key), record.json
            if content.get("erased", 0.0) > copied.keys.copied_at:
                await delete_rows(copied, content["tenant"], await users_by_prefix(copied))
            elif old:
                content = _with_keys_of(old.json, content)
            await (copied.swap(old, content) if old else copied.insert(KIND, record.key, content))
    copied.data_keys.forget()
    taken = {key for key, _ in await copied.store.scan(KIND)}
    return lambda key, sealed: key not in taken or rows.get(key) != sealed


def _with_keys_of(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return the new content of a data key's record, with the keys of the old one. They differ if the record was lost
    and a new key was made."""
    keys = [*keys_in(new)]
    keys += [key for key in keys_in(old) if key not in keys]
    merged = {name: value for name, value in {**old, **new}.items() if name not in ("key", "older")}
    merged |= {"key": keys[0]} if keys else {}
    return merged | ({"older": keys[1:]} if keys[1:] else {})
