"""Where grants lie: keyed digests, so that no user id is readable in the store and one user's grants are one range."""

from __future__ import annotations

import hmac
from functools import lru_cache

from deputize.core.vault.grant import Grant, User


class GrantIndex:
    """Places under the vault's own index key: ``HMAC(tenant, user) . HMAC(provider, app) . HMAC(account)``."""

    def __init__(self, index: bytes) -> None:
        self._index = index
        self._digest = lru_cache(maxsize=8192)(self._hash)

    def _hash(self, *parts: str) -> str:
        framed = b"".join(len(p := part.encode()).to_bytes(4, "big") + p for part in parts)
        return hmac.digest(self._index, framed, "sha256")[:16].hex()

    def place(self, user: User, provider: str = "", app: str = "", subject: str = "") -> str:
        """Where a grant lies; with fewer parts, the beginning of the places of several."""
        place = self._digest("user", user.tenant, user.id) + "."
        if provider:
            place += self._digest("app", provider, app) + "."
        return place + self._digest("account", subject) if subject else place

    def place_of(self, grant: Grant) -> str:
        """Where this grant lies."""
        return self.place(grant.user, grant.provider, grant.app, grant.account.subject)
