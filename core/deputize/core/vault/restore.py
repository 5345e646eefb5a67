"""Trust in a vault that is a restored backup.

Since the backup was made, refresh tokens were used up, approvals consumed and grants revoked. So:

    open requests                  are dropped: the user is asked again
    grants that the audit saw      are revoked and queued for revocation at their provider, or ended by bulk
    revoked                        revocation
    other grants, if refreshable   are refreshed before use, so that the provider confirms them. A used-up refresh token
                                   leads to a new consent, once
    other grants                   are used as they are: the provider refuses a token that has ended
    tokens of the replaced vault   of the same family stay, because they are newer; those grants need no confirmation.
                                   Other tokens are queued for revocation
    outcomes, queued revocations,  of the replaced vault stay, up to the moment of the restore
    consents, pseudonyms, data
    keys of tenants

An audit row records the generation that each grant has after the restore. Rollback detection begins there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from dataclasses import replace
from typing import Final, Protocol

from deputize.core.audit import Audit
from deputize.core.audit.events import GrantRestored, VaultRestored
from deputize.core.audit.trail import Trail
from deputize.core.errors import VaultError
from deputize.core.value_object import ValueObject, frozen
from deputize.core.vault.grant import Grant, grant_fields
from deputize.core.vault.rollback import AuditedGenerations, all_grants
from deputize.core.vault.seal import generation_of
from deputize.core.vault.stores import Keep
from deputize.core.vault.vault import EXPIRING, PAGE, Record, Vault

log = logging.getLogger("deputize")


class Enqueue(Protocol):
    """Adds a grant's tokens to the revocation queue of a vault. ``replaced``: send them once no grant has them."""

    async def __call__(self, vault: Vault, grant: Grant, *, replaced: bool = False) -> None:
        """Add the tokens to the queue. Durable on return."""
        ...


_LONG_AGO = 1.0
CONSENTS: Final = ("consent", "asked", "ticket", "state", "browser")
"""Kinds of records that lead to a consent, which users may be answering at a provider during the restore."""
KEPT_KINDS: Final = ("act", "outbox", "received", "intent", "person", "erased", *CONSENTS)
"""Kinds whose records in the replaced vault are newer than the backup's, and stay."""


async def take_into_use(vault: Vault, audit: Audit, trail: Trail, enqueue: Enqueue) -> None:
    """Distrust the vault's content if it is a restored backup, else do nothing. Called at the start."""
    if not (at := vault.keys.copied_at):
        return
    log.warning("The vault is a restored backup: its grants are confirmed before they are used.")
    doubted = await distrust(vault, await AuditedGenerations.read(trail, vault), enqueue)
    await record_generations(vault, audit, at, doubted, found=True)
    await vault.accept_copy()


async def record_generations(
    vault: Vault, audit: Audit, copied_at: float, doubted: int, *, found: bool | None = None
) -> None:
    """Record in the audit that the vault is a backup of that time (Unix seconds), and the generation of each grant.

    ``found``: True if a start found the backup in the vault's place, so that an operator must accept it.
    """
    audit.write(VaultRestored(copied_at=round(copied_at), grants=doubted, found=found))
    async for grant in all_grants(vault):
        await audit.record(GrantRestored(grant_fields(grant)))


async def distrust(vault: Vault, audited: AuditedGenerations, enqueue: Enqueue, trusted: Collection[str] = ()) -> int:
    """Drop open requests, end grants that were revoked since, and have the other grants confirmed before use.

    Grants with ``trusted`` keys need no confirmation. Returns the number of grants to confirm. May be interrupted
    anywhere and repeated.
    """
    for kind in (kind for kind in EXPIRING if kind not in ("act", "erased")):
        async for records, _ in vault.pages(kind, strict=True):
            await asyncio.gather(*map(vault.delete, records))
    await end_revoked(vault, audited, enqueue)
    doubted = 0
    async for records, _ in vault.pages("grant", strict=True):
        doubtful = [record for record in records if record.key not in trusted]
        doubted += sum(await asyncio.gather(*(_mark_doubted(vault, record) for record in doubtful)))
    return doubted


async def _mark_doubted(vault: Vault, record: Record) -> bool:
    """Mark the grant to be confirmed before use if it can be refreshed. Return whether it is active."""
    grant = Grant.unpack(record.plain, record.generation)
    if grant.status == "active" and grant.refresh_token:
        await vault.swap(record, replace(grant, expires_at=_LONG_AGO).pack())
    return grant.status == "active"


@frozen
class Restored(ValueObject):
    """The result of a restore. ``doubted``: active grants that are confirmed before they are used. ``kept``: active
    grants with tokens of the replaced vault. ``unread``: grants of the replaced vault that could not be decrypted."""

    doubted: int
    kept: int
    unread: int


class Replaced:
    """The vault that a backup replaces, with newer tokens, and with tokens that the backup overwrites.

    ``kept``: keys of its active grants that stay; ``unread``: number of its grants that cannot be decrypted.
    """

    def __init__(self, vault: Vault) -> None:
        self.vault = vault
        self.kept = set[str]()
        self.unread = 0
        self._seen = dict[str, int]()
        self._damaged = False

    async def hand_over(self, copied: Vault, enqueue: Enqueue) -> None:
        """Copy into the backup the bulk revocations and newer tokens, and queue the tokens that it overwrites."""
        await copied.ended.take_over((await self.vault.ended.refresh(fresh=True)).list_ends())
        after = ""
        try:
            while page := await self.vault.store.scan("grant", after=after, most=PAGE):
                after = page[-1][0]
                await self.vault.find_keys(*(sealed for _, sealed in page))
                for key, sealed in page:
                    self._seen[key] = generation_of(sealed)
                    await self._hand_over(key, sealed, copied, enqueue)
        except VaultError as damaged:
            self._damaged = True
            log.warning("The vault that is replaced cannot be read to its end: %s", damaged.message)

    async def _hand_over(self, key: str, sealed: bytes, copied: Vault, enqueue: Enqueue) -> None:
        row = await copied.get("grant", key)
        try:
            generation, plain = self.vault.unsealed("grant", key, sealed)
        except VaultError:
            self.unread += 1
            return
        now = Grant.unpack(plain, generation)
        then = Grant.unpack(row.plain, row.generation) if row else None
        newer = then is not None and then.status != "revoked" and now.generation >= then.generation
        ended = now.status == "revoked"  # revocation wins
        same = then is not None and _is_same_family(now, then)
        if row and then and newer and (ended or same):
            if ended:
                await enqueue(copied, then)
            await copied.store.swap("grant", key, row.sealed, sealed)
            self.kept |= {key} if now.status == "active" else set()
        elif now.status == "active" and not same:
            await enqueue(copied, now, replaced=True)

    def records_to_keep(self) -> dict[str, Keep]:
        """Return a function per kind that says which records of the replaced vault stay. Grants stay if they have
        changed since they were read: refreshed, revoked or newly consented."""
        kept: dict[str, Keep] = dict.fromkeys(KEPT_KINDS, lambda key, sealed: True)
        if not self._damaged:
            kept["grant"] = lambda key, sealed: generation_of(sealed) > self._seen.get(key, 0)
        return kept


def _is_same_family(one: Grant, other: Grant) -> bool:
    """Return whether both grants have the same tokens, or one has tokens refreshed from the other's."""
    if one.family and one.family == other.family:
        return True
    if one.refresh_token or other.refresh_token:
        return one.refresh_token == other.refresh_token
    return one.access_token == other.access_token


async def end_revoked(vault: Vault, audited: AuditedGenerations, enqueue: Enqueue) -> None:
    """End grants that are live here but that the audit last saw revoked, even at the same generation. A generation may
    occur with two histories. Bulk revocations end their grants again with one write; their follow-up comes later."""
    await vault.ended.take_over(audited.ends)
    async for records, _ in vault.pages("grant", strict=True):
        for record in records:
            grant = Grant.unpack(record.plain, record.generation)
            last = audited.of(grant)
            if grant.status != "revoked" and last and last.revoked and last.generation >= grant.generation:
                await enqueue(vault, grant)
                await vault.swap(record, grant.tombstone().pack())
