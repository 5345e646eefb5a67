"""What is kept for a user beside grants and audit, removed: recorded outcomes, approvals, consents, files."""

from __future__ import annotations

from typing import Final

from deputize.core.act.files import Files
from deputize.core.audit import Audit
from deputize.core.audit.events import UserErased
from deputize.core.audit.facts import OfUser
from deputize.core.vault.grant import User
from deputize.core.vault.vault import Vault

KINDS: Final = ("act", "approval", "consent", "chosen")


async def erase(user: User, vault: Vault, files: Files, audit: Audit) -> None:
    """Remove all of it, and say so in the audit. An act under way ends by itself: its row goes when it expires."""
    await files.erase(user)
    for kind in KINDS:
        for record in await vault.scan(kind, vault.place(user)):
            if record.json.get("state") != "claimed":
                await vault.delete(record)
    audit.write(UserErased(OfUser(tenant=user.tenant, user=user.id)))
