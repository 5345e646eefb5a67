"""A user's connected accounts, for people to look at."""

from __future__ import annotations

from deputize.core.engine import Engine
from deputize.core.grants.accounts import Accounts
from deputize.core.value_object import ValueObject, frozen
from deputize.core.vault.grant import GrantStatus, User


@frozen
class Connection(ValueObject):
    """One connected account, for people: what was consented to, and whether it still holds. No token.

    ``id``: opaque, and the same for as long as this account can be connected; it may be given wherever an ``account``
    is named.
    """

    id: str
    provider: str
    app: str
    account: str
    scopes: tuple[str, ...]
    scope_descriptions: tuple[str, ...]
    status: GrantStatus
    reason: str
    default: bool


async def connections_of(user: User, engine: Engine, accounts: Accounts) -> list[Connection]:
    """All that are not disconnected. ``default``: acts where none is named."""
    found = []
    for grant in await engine.vault.grants(user):
        if grant.status != "revoked":
            scopes = tuple(sorted(grant.scopes))
            found.append(
                Connection(
                    id=grant.connection_id,
                    provider=grant.provider,
                    app=grant.app,
                    account=grant.account.name,
                    scopes=scopes,
                    scope_descriptions=tuple(engine.registry.words(grant.provider, scope) for scope in scopes),
                    status=grant.status,
                    reason=grant.reason,
                    default=await accounts.acting(user, grant),
                )
            )
    return found
