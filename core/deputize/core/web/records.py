"""What the pages tell beyond a `Consent`, as the vault's records have it."""

from __future__ import annotations

from dataclasses import dataclass

from deputize.core.consent.record import Other
from deputize.core.oauth.pkce import fingerprint
from deputize.core.pending import Consent
from deputize.core.vault.grant import User
from deputize.core.vault.vault import Vault


@dataclass(frozen=True, slots=True)
class Behind:
    """Whose a consent is, which of its scopes the user left out, and whether its code is being redeemed now.

    ``other``, ``instead``: it is for one more account, or for one to act from now on instead of this one.
    """

    user: User
    missing: tuple[str, ...]
    returned: bool
    other: Other
    instead: str


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
        other=content.get("other", ""),
        instead=content.get("instead", ""),
    )
