"""A user's connected accounts, in a form for people."""

from __future__ import annotations

from typing import Literal, TypeAlias

from deputize.core.engine import Engine
from deputize.core.grants.accounts import Accounts
from deputize.core.value_object import ValueObject, frozen
from deputize.core.vault.grant import User

ConnectionStatus: TypeAlias = Literal["active", "suspect", "needs_reauth"]
"""``suspect``: the API refuses the token now; it is kept, and each act tries it again. ``needs_reauth``: the grant has
ended, and the user is asked to connect the account again."""


@frozen
class Connection(ValueObject):
    """One connected account, for people: its scopes and its status. It contains no token.

    ``id``: opaque, and the same after a reconnection of this account. Any ``account`` argument accepts it.
    """

    id: str
    provider: str
    app: str
    account: str
    scopes: tuple[str, ...]
    scope_descriptions: tuple[str, ...]
    status: ConnectionStatus
    reason: str
    default: bool


async def connections_of(user: User, engine: Engine, accounts: Accounts) -> list[Connection]:
    """Return all accounts that are not disconnected. ``default``: True for the account of calls that name none."""
    found = []
    for grant in await engine.vault.list_grants(user):
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
                    status="suspect" if grant.is_suspect else grant.status,
                    reason=grant.reason,
                    default=await accounts.is_default(user, grant),
                )
            )
    return found
