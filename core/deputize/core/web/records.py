"""What the pages tell beyond a `Consent` and an `Approval`, as the vault's records have it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from deputize.core.asks import Approval, Consent
from deputize.core.oauth.pkce import fingerprint
from deputize.core.vault.grant import User
from deputize.core.vault.vault import Vault

_APPROVAL_ID = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Behind:
    """Whose a consent is, which of its scopes the user left out, and whether its code is being redeemed now."""

    user: User
    missing: tuple[str, ...]
    returned: bool


async def behind(vault: Vault, consent: Consent) -> Behind | None:
    """The rest of a consent; None if it has gone meanwhile."""
    row = await vault.get("asked", fingerprint(consent.id))
    record = await vault.get("consent", row.json["key"]) if row else None
    if record is None or record.json["id"] != consent.id:
        return None
    content = record.json
    return Behind(
        user=User(content["user"], content["tenant"]),
        missing=tuple(content.get("missing", ())),
        returned=content["status"] in ("returned", "confirmed"),
    )


async def approval_of(vault: Vault, user: User, approval_id: str) -> Approval | None:
    """The approval of this id, decided or not, if it is this user's."""
    if not _APPROVAL_ID.fullmatch(approval_id):
        return None
    record = await vault.get("approval", vault.place(user) + approval_id)
    if record is None:
        return None
    content = record.json
    return Approval(
        id=content["id"],
        tool=content["tool"],
        effect=content["effect"],
        preview=content["preview"],
        expires_at=content["expires"],
        agent=content["agent"],
        account=content["account"],
        status=content["status"],
        reason=content["reason"],
    )
