"""Removal of a user's data: tombstones, outcomes, approvals, mandates, consents, files, the record of untrusted
content, known contacts, time zone, sessions, roles, links to chats,
interrupted refreshes, budgets, and the key of their pseudonym."""

from __future__ import annotations

import time
from typing import Final, Protocol

from deputize.core.approvals.outcome import LedgerRecord, State
from deputize.core.audit.common_fields import OfUser
from deputize.core.audit.events import UserErased
from deputize.core.consent.consents import Consents
from deputize.core.errors import VaultError
from deputize.core.shared_services import Services
from deputize.core.tools.stored_files import Files
from deputize.core.vault.grant import Grant, User
from deputize.core.vault.stores import FailsOver
from deputize.core.vault.vault import Record, Vault

ERASURE_MARK_TTL: Final = 600.0
"""Seconds for which the erasure is remembered: longer than processes keep data that they would write again after a
failover. The mark's key is a keyed digest, and it holds no other data."""
KINDS: Final = (
    *("act", "approval", "mandate", "consent", "chosen", "outside", "contacts", "zone", "call", "session", "intent"),
    *("budget", "roles", "assertion", "offboarding", "scim_user", "chat_link"),
)


class Cache(Protocol):
    """Data of users that one process caches."""

    def forget(self, user: User) -> None:
        """Clear the data of an erased user."""


async def erase(user: User, services: Services, consents: Consents, files: Files, *caches: Cache) -> None:
    """Remove all data of the user and record the erasure in the audit.

    Acts in progress continue, and their records expire. The user's grants must have been revoked before, so only their
    tombstones are left, which name the account. ``caches``: the caches of this process that may contain the user's
    data.
    """
    vault, audit = services.vault, services.audit
    await consents.settle(vault.key_prefix(user), wait=True)
    if isinstance(vault.store, FailsOver):
        await _mark_erased(user, vault)
    await files.erase(user)
    for record in (await vault.scan_openable("scim_user", vault.key_prefix(user)))[0]:
        index = record.json.get("name") and await vault.get("scim_name", record.json["name"])
        if index:
            await vault.delete(index)
    for kind in (*KINDS, "file", "filepart"):
        for record in (await vault.scan_openable(kind, vault.key_prefix(user)))[0]:
            if not _is_under_way(record):
                await vault.delete(record)
        await _delete_damaged(kind, user, vault)
    for record in (await vault.scan_openable("grant", vault.key_prefix(user)))[0]:
        if Grant.unpack(record.plain, record.generation).status == "revoked":
            await vault.delete(record)
    for entry in (await vault.scan_openable("outbox", vault.key_prefix(user)))[0]:
        await vault.swap(entry, entry.json | {"user": ""})  # the revocation is still sent, without the user's name
    await audit.record(UserErased(OfUser(tenant=user.tenant, user=user.id)))
    if audit.names:
        await audit.names.forget(user.tenant, user.id)
    services.zones.forget(user)
    for cache in caches:
        cache.forget(user)


async def _delete_damaged(kind: str, user: User, vault: Vault) -> None:
    """Delete the user's records that do not open. Raises `VaultError` if a key is missing that may open them."""
    for key, sealed in await vault.store.scan(kind, vault.key_prefix(user)):
        try:
            vault.unsealed(kind, key, sealed)
        except VaultError:
            if not vault.knows(sealed):
                raise
            await vault.store.delete(kind, key, sealed)


def _is_under_way(row: Record) -> bool:
    return row.kind == LedgerRecord.KIND and any(one.state is State.CLAIMED for one in LedgerRecord.read_all([row]))


async def _mark_erased(user: User, vault: Vault) -> None:
    key, mark = vault.key_prefix(user), {"expires": time.time() + ERASURE_MARK_TTL}
    while not await vault.insert("erased", key, mark):
        if (known := await vault.get("erased", key)) and await vault.swap(known, mark):
            return
