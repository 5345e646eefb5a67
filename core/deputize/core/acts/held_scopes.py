"""What a user's grant at a provider allows already, for lists of tools that could be called without asking."""

from __future__ import annotations

from deputize.core.engine import Engine
from deputize.core.errors import SettingsError
from deputize.core.grants.accounts import Accounts
from deputize.core.providers.origin import differs
from deputize.core.vault.grant import User


async def held_scopes(
    engine: Engine, accounts: Accounts, user: User, provider: str
) -> tuple[str, frozenset[str]] | None:
    """The kind of provider that acts would use, and all that the grant there allows; None where there is none."""
    if not provider:
        return "", frozenset()
    try:
        app = await accounts.app(user, provider, "", None)
    except SettingsError:
        return None
    row, grant = engine.providers[app.provider], await engine.vault.find_whole(user, app.provider, app.name)
    usable = grant and grant.status == "active" and not differs(grant.origin, row, app)
    return (row.base, row.covered(grant.scopes)) if grant and usable else None
