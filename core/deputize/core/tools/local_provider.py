"""Null provider for tools that need none, because they work on the user's data here, such as stored files.

Such an act passes policy, ledger, approval and audit like any other. It has no token and cannot send requests, even
with an approval. It cannot report facts that only a provider knows about the user.
"""

from __future__ import annotations

from typing import Final

from deputize.core.oauth.identity import NAMELESS
from deputize.core.oauth.provider import ApiRules, OAuthEndpoints, Provider
from deputize.core.vault.grant import Account, Grant, Secret, User

NO_PROVIDER: Final = Provider("", "deputize", OAuthEndpoints("", ""), ApiRules({}, frozenset(), NAMELESS))
"""The provider of tools without one: no API, no host."""


def no_grant(user: User) -> Grant:
    """Return the grant of tools without a provider: no account, no scope, no token."""
    return Grant(user, "", "", Account("", ""), frozenset(), Secret(""))
