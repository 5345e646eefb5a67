"""What is written down before a token is used for new ones: so that whoever comes after a crash knows that it may have
been used already."""

from __future__ import annotations

from deputize.core.oauth.pkce import fingerprint
from deputize.core.vault.grant import Secret
from deputize.core.vault.record import Record
from deputize.core.vault.vault import Vault


async def intended(vault: Vault, place: str, token: Secret, now: float) -> tuple[Record, bool]:
    """Write down, durably, that this token of the grant there is about to be used; whether that had been written
    before. ``now``: Unix seconds."""
    mark = {"token": fingerprint(token), "at": now}
    while True:
        if (old := await vault.get("intent", place)) is None:
            if made := await vault.insert("intent", place, mark):
                return made, False
        elif kept := await vault.swap(old, mark):
            return kept, bool(old.json["token"] == mark["token"])
