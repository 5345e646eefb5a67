"""Marks of token requests without a consent while they are in progress, so that a disconnect in between wins.

    mark, durable -> tokens -> mark still there? -> grant -> mark removed -> was it there? -> used
                                no -> tokens revoked                          no -> tombstone, tokens revoked

If a grant exists, its tombstone has the same effect. For a user's first request and for an erased user, there is no
tombstone. A disconnect removes the marks, then ends grants that were stored in between. So either the request sees that
its mark is gone, or the disconnect finds the new grant.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from deputize.core.shared_services import Services
from deputize.core.vault.bulk_revocation import BulkRevocation
from deputize.core.vault.grant import User
from deputize.core.vault.record import Record
from deputize.core.vault.vault import Vault

KIND: Final = "obtaining"
MARK_TTL: Final = 3600.0
"""Seconds after which a mark that a dead process has left is swept."""


@asynccontextmanager
async def mark_request(services: Services, owner: User, provider: str, app: str) -> AsyncIterator[Record]:
    """Store the mark of a request for this owner's tokens, and remove it after the block."""
    vault, mark = services.vault, None
    while mark is None:
        key = vault.key_prefix(owner, provider, app) + secrets.token_hex(8)
        content = {"tenant": owner.tenant, "epoch": await vault.ended.epoch(), "expires": services.clock() + MARK_TTL}
        mark = await vault.insert(KIND, key, content)
    try:
        yield mark
    finally:
        await vault.delete(mark)


async def stop_requests(vault: Vault, key: str) -> None:
    """Remove the marks below this key of a user or of a user's app, so that these requests store no grant."""
    for mark in (await vault.scan_openable(KIND, key))[0]:
        await vault.delete(mark)


async def stop_all_requests(vault: Vault, end: BulkRevocation) -> None:
    """Remove the marks of requests that began before a bulk revocation."""
    async for marks, _ in vault.pages(KIND):
        for mark in marks:
            if end.covers(mark.json["tenant"], mark.json["epoch"]):
                await vault.delete(mark)
