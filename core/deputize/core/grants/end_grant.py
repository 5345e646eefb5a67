"""The local end of a grant: its tokens enter the revocation queue, then its tombstone is written."""

from __future__ import annotations

from contextlib import suppress
from typing import Final, TypeAlias

from deputize.core.audit.events import GrantRevoked
from deputize.core.errors import VaultError
from deputize.core.grants.revocation_queue import RevocationQueue
from deputize.core.vault.grant import Grant, grant_fields
from deputize.core.vault.record import Record

Ended: TypeAlias = tuple[Grant, Record | None]
"""A grant after its end, and its entry in the revocation queue."""

QUEUED: Final = "queued"


async def end_grant(queue: RevocationQueue, grant: Grant, *, leaked: bool) -> list[Ended]:
    """Write the grant's tombstone, even if it is refreshed or replaced in between. Also returns a grant that a newer
    consent replaced. Returns nothing if another process wrote the tombstone.

    A queue entry is deleted only after its successor was added, and only if its tokens were refreshed. If a newer
    consent replaced the tokens, the entry may be their only record. A process that finds an entry without a tombstone
    writes the tombstone.
    """
    vault, before = queue.vault, None
    replaced: list[Ended] = []
    while True:
        entry = await queue.enqueue_grant(grant, leaked=leaked)
        if before:
            await vault.delete(before)
        if stone := await vault.end_grant(grant, grant.tombstone(), entry):
            return [*replaced, (stone, entry)]
        current = await vault.get_stored_grant(vault.record_key(grant))
        if current is None or current.status == "revoked":
            return [*replaced, *([(current or grant, entry)] if entry else [])]
        before = entry
        if entry and grant.family != current.family:
            replaced.append((grant.tombstone(), entry))
            before = None
        grant = current


async def finish_bulk_end(queue: RevocationQueue, key: str) -> list[Record]:
    """Finish the end of a grant that a bulk revocation ended but that is still stored, replaced by a newer grant or
    stored late. Returns queue entries to deliver after the newer grant is stored, because otherwise both might end."""
    vault = queue.vault
    ends = await vault.ended.refresh(fresh=True)
    grant = None
    with suppress(VaultError):  # a damaged grant is overwritten: its tokens cannot be read any more
        grant = await vault.get_stored_grant(key) if ends.epoch else None
    if grant is None or grant.status == "revoked" or not vault.has_ended(grant):
        return []
    leaked = any(end.leaked and end.covers(grant.user.tenant, grant.epoch) for end in ends.open)
    ended = await end_grant(queue, grant, leaked=leaked)
    for stone, _ in ended:
        await queue.audit.record(GrantRevoked(grant_fields(stone), QUEUED))
    return [entry for _, entry in ended if entry]
