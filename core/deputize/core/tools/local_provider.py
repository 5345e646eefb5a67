"""Null provider for tools without a provider, which work on the user's data here, such as stored files.

Policy, ledger, approval and audit treat their acts like any other. These acts have no token, and no approval lets them
send requests. Facts that only a provider knows about the user are missing.
"""

from __future__ import annotations

from typing import Final

from deputize.core.oauth.identity import NAMELESS
from deputize.core.oauth.provider import ApiRules, OAuthEndpoints, Provider
from deputize.core.vault.grant import Account, Grant, Secret, User

NO_PROVIDER: Final = Provider("", "deputize", OAuthEndpoints("", ""), ApiRules({}, frozenset(), NAMELESS))
"""The provider of tools without one: no API, no host."""


def no_grant(user: User) -> Grant:
    """Return the grant for tools without a provider: no account, no scope, no token."""
    return Grant(user, "", "", Account("", ""), frozenset(), Secret(""))
