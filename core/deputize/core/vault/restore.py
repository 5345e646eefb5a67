"""Trust in a vault that is a restored backup.

Since the backup was made, refresh tokens were used up, approvals consumed and grants revoked. So:

    open requests                  dropped: the user is asked again
    a grant the audit saw revoked  revoked, and queued for revocation at its provider; or ended by bulk revocation
    any other that can be          not used before the provider has confirmed it: it is refreshed first. A used-up
    refreshed                      refresh token leads to a new consent, once
    any other                      used as it is: the provider refuses a token that has ended
    overwritten tokens             queued for revocation, unless the backup has the same tokens

An audit row records the generation that each grant has now: rollback detection begins there.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Protocol

from deputize.core.audit import Audit
from deputize.core.audit.events import GrantRestored, VaultRestored
from deputize.core.audit.trail import Trail
from deputize.core.vault.grant import Grant, grant_fields
from deputize.core.vault.rollback import AuditedGenerations, all_grants
from deputize.core.vault.vault import EXPIRING, PAGE, Record, Vault

log = logging.getLogger("deputize")


class Enqueue(Protocol):
    """Adds a grant's tokens to the revocation queue of a vault; ``replaced``: to be sent once no grant has them."""

    async def __call__(self, vault: Vault, grant: Grant, *, replaced: bool = False) -> None:
        """Add them. Durable on return."""
        ...


_LONG_AGO = 1.0


async def take_into_use(vault: Vault, audit: Audit, trail: Trail, enqueue: Enqueue) -> None:
    """Call at the start. If the vault is a restored backup, distrust its content; else do nothing."""
    if not (at := vault.keys.copied_at):
        return
    log.warning("The vault is a restored backup: its grants are confirmed before they are used.")
    doubted = await distrust(vault, await AuditedGenerations.read(trail, vault), enqueue)
    await record_generations(vault, audit, at, doubted)
    await vault.accept_copy()


async def record_generations(vault: Vault, audit: Audit, copied_at: float, doubted: int) -> None:
    """Record in the audit that the vault is a backup of that time (Unix seconds), and the generation of each grant."""
    audit.write(VaultRestored(copied_at=round(copied_at), grants=doubted))
    async for grant in all_grants(vault):
        await audit.record(GrantRestored(grant_fields(grant)))


async def distrust(vault: Vault, audited: AuditedGenerations, enqueue: Enqueue) -> int:
    """Drop open requests, end grants that were revoked since, and have all others confirmed first. Return their number.

    It can be interrupted anywhere and repeated.
    """
    for kind in (kind for kind in EXPIRING if kind not in ("act", "erased")):
        async for records, _ in vault.pages(kind, strict=True):
            await asyncio.gather(*map(vault.delete, records))
    await end_revoked(vault, audited, enqueue)
    doubted = 0
    async for records, _ in vault.pages("grant", strict=True):
        doubted += sum(await asyncio.gather(*(_mark_doubted(vault, record) for record in records)))
    return doubted


async def _mark_doubted(vault: Vault, record: Record) -> bool:
    """Mark the grant to be confirmed first if it can be refreshed, and return whether it is active."""
    grant = Grant.unpack(record.plain, record.generation)
    if grant.status == "active" and grant.refresh_token:
        await vault.swap(record, replace(grant, expires_at=_LONG_AGO).pack())
    return grant.status == "active"


async def keep_live_tokens(vault: Vault, copied: Vault, enqueue: Enqueue) -> None:
    """Copy into the backup the bulk revocations and all traces of tokens that may be alive: the revocation queue, token
    replies that are not stored yet, and tokens of grants that the backup overwrites."""
    await copied.ended.take_over((await vault.ended.refresh(fresh=True)).list_ends())
    for kind in ("outbox", "received"):
        after = ""
        while page := await vault.store.scan(kind, after=after, most=PAGE):
            after = page[-1][0]
            await asyncio.gather(*(copied.store.insert(kind, key, sealed) for key, sealed in page))
    async for grant in all_grants(vault):
        then = await copied.get_grant(copied.record_key(grant))
        if grant.status == "active" and not (then and _same_tokens(grant, then)):
            await enqueue(copied, grant, replaced=True)


def _same_tokens(one: Grant, other: Grant) -> bool:
    """Return whether revoking one grant's tokens revokes the other's."""
    if one.refresh_token or other.refresh_token:
        return one.refresh_token == other.refresh_token
    return one.access_token == other.access_token


async def end_revoked(vault: Vault, audited: AuditedGenerations, enqueue: Enqueue) -> None:
    """End grants that the audit last saw revoked and that are live here, even at the same generation, which had another
    past. Bulk revocations end theirs again with one write, and are followed up later."""
    await vault.ended.take_over(audited.ends)
    async for records, _ in vault.pages("grant", strict=True):
        for record in records:
            grant = Grant.unpack(record.plain, record.generation)
            last = audited.of(grant)
            if grant.status != "revoked" and last and last.revoked and last.generation >= grant.generation:
                await enqueue(vault, grant)
                await vault.swap(record, grant.tombstone().pack())
