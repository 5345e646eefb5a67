"""What is kept of a user, removed: tombstones, outcomes, approvals, mandates, consents, files, what strangers named in
their conversations, their time zone, where they are signed in, refreshes that were cut off, the key of their pseudonym.
"""

from __future__ import annotations

from typing import Final

from deputize.core.act.files import Files
from deputize.core.act.outside_record import OutsideRecord
from deputize.core.audit.events import UserErased
from deputize.core.audit.facts import OfUser
from deputize.core.consent.consents import Consents
from deputize.core.engine import Engine
from deputize.core.vault.grant import Grant, User

KINDS: Final = ("act", "approval", "mandate", "consent", "chosen", "outside", "zone", "call", "session", "intent")


async def erase(user: User, engine: Engine, consents: Consents, files: Files, outside: OutsideRecord) -> None:
    """Remove all of it, and say so in the audit. An act under way ends by itself: its row goes when it expires.

    Grants must have been revoked; of those only tombstones are left, which say whose account it was.
    """
    vault, audit = engine.vault, engine.audit
    await consents.settle(vault.place(user), wait=True)
    await files.erase(user)
    for kind in KINDS:
        for record in await vault.scan(kind, vault.place(user)):
            if record.json.get("state") != "claimed":
                await vault.delete(record)
    for record in (await vault.scan_open("grant", vault.place(user)))[0]:
        if Grant.unpack(record.plain, record.generation).status == "revoked":
            await vault.delete(record)
    for entry in (await vault.scan_open("outbox", vault.place(user)))[0]:
        await vault.swap(entry, entry.json | {"user": ""})  # it is sent all the same, and nobody's name with it
    await audit.tell(UserErased(OfUser(tenant=user.tenant, user=user.id)))
    if audit.names:
        await audit.names.forget(user.tenant, user.id)
    engine.zones.forget(user)
    outside.forget(user)
