"""Tools that need no provider: they work on what the user has here already, such as kept files.

Such an act passes policy, ledger, approval and audit like any other. It has no token, and no request of
it leaves, with a yes or without; nor does it say what only a provider knows of the user.
"""

from __future__ import annotations

from typing import Final

from deputize.core.oauth.identity import NAMELESS
from deputize.core.oauth.provider import ApiRules, OAuthEndpoints, Provider
from deputize.core.vault.grant import Account, Grant, Secret, User

NO_PROVIDER: Final = Provider("", "deputize", OAuthEndpoints("", ""), ApiRules({}, frozenset(), NAMELESS))
"""Stands where others have their provider: no API, no host."""


def no_grant(user: User) -> Grant:
    """Stands where others have their grant: no account, no scope, no token."""
    return Grant(user, "", "", Account("", ""), frozenset(), Secret(""))
