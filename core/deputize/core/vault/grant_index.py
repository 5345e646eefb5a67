"""Keys of a user's grants, and the choice among them: the grant of the named account, or the default one.

Keys are keyed digests. So no user id is readable in the store, and one user's grants have a common key prefix.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from functools import lru_cache

from deputize.core.errors import AccountMismatch
from deputize.core.vault.grant import Grant, User


class GrantIndex:
    """Grant keys, made with the vault's own index key: ``HMAC(tenant, user) . HMAC(provider, app) . HMAC(account)``."""

    def __init__(self, index: bytes) -> None:
        self._index = index
        self._digest = lru_cache(maxsize=8192)(self._hash)

    def _hash(self, *parts: str) -> str:
        framed = b"".join(len(p := str.encode(part, errors="surrogatepass")).to_bytes(4, "big") + p for part in parts)
        return hmac.digest(self._index, framed, "sha256")[:16].hex()

    def key_prefix(self, user: User, provider: str = "", app: str = "", subject: str = "") -> str:
        """Return the key of a grant, or with fewer parts the common prefix of several keys."""
        key = self._digest("user", user.tenant, user.id) + "."
        if provider:
            key += self._digest("app", provider, app) + "."
        return key + self._digest("account", subject) if subject else key

    def record_key(self, grant: Grant) -> str:
        """Return the key of this grant."""
        return self.key_prefix(grant.user, grant.provider, grant.app, grant.account.subject)


def select_grant(grants: Sequence[Grant], account: str | None) -> Grant | None:
    """Return the grant of the named account, or the default one, or the first; None if no grant is live.

    Raises `AccountMismatch` if the account is not connected while others are, or if several have that name.
    """
    held = [grant for grant in grants if grant.status != "revoked"]
    if account is None:
        return next((grant for grant in held if grant.default), held[0] if held else None)
    over = any(grant.status == "revoked" and grant.connection_id == account for grant in grants)
    if len(found := [] if over else grants_of_account(held, account)) == 1:
        return found[0]
    if found:
        ids = ", ".join(sorted(grant.account.subject for grant in found))
        raise AccountMismatch(f"Several accounts {account!r} are connected.", hint=f"Name one by its id: {ids}.")
    if held:
        names = ", ".join(sorted(grant.account.name for grant in held))
        raise AccountMismatch(f"No account {account!r} is connected.", hint=f"Connected: {names}.")
    return None


def grants_of_account(grants: Sequence[Grant], account: str) -> list[Grant]:
    """Return the grants for an account: by connection id, else by subject, else by name in any case. The connection id
    comes first, because a provider chooses subjects and names."""
    by_id = [grant for grant in grants if grant.connection_id == account]
    exact = by_id or [grant for grant in grants if grant.account.subject == account]
    return exact or [grant for grant in grants if grant.account.name.casefold() == str.casefold(account)]


def has_same_origin(before: Grant, grant: Grant) -> bool:
    """Return whether both grants are from the same server and app, so that one refresh token may serve both."""
    if grant.origin is None:
        return before.origin is None
    return before.origin.is_same_app(grant.origin) if before.origin else grant.origin.built_in
