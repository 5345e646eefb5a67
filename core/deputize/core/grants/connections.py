"""A user's connected accounts, in a form for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from deputize.core.grants.accounts import Accounts
from deputize.core.grants.grant_end import GrantEnd, end_of
from deputize.core.oauth.provider import App, Provider
from deputize.core.shared_services import Services
from deputize.core.value_object import ValueObject, frozen
from deputize.core.vault.grant import Grant, User
from deputize.core.vault.user import NO_USER
from deputize.core.vault.vault import Vault

ConnectionStatus: TypeAlias = Literal["active", "suspect", "needs_reauth"]
"""``suspect``: the API refuses the token now; it is kept, and each act tries it again. ``needs_reauth``: the grant has
ended, and the user is asked to connect the account again."""


@frozen
class Connection(ValueObject):
    """One connected account, for people: its scopes and its status. It contains no token.

    ``id``: opaque, and the same after a reconnection of this account. Any ``account`` argument accepts it. ``end``: its
    end, None if that is not known. `Deputy.connect` with ``renew`` connects it again before.
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
    end: GrantEnd | None = None


@frozen
class TenantConnection(ValueObject):
    """A connected account in a tenant, for an operator: its user and its status. ``user``: the id of the user."""

    user: str
    id: str
    provider: str
    app: str
    account: str
    status: ConnectionStatus


CONNECTIONS_PER_PAGE: Final = 50
MAX_SCANNED_GRANTS: Final = 2000
"""Grants of all tenants that are decrypted for one page. A page may be shorter, and even empty, if there are more."""


async def connections_in_tenant(vault: Vault, tenant: str, after: str = "") -> tuple[list[TenantConnection], str]:
    """Return one page of the connected accounts of a tenant's users, grouped by user, and the key for the next page.

    ``after``: the key from the previous page, "" for the first page. The returned key is "" on the last page.
    """
    found, seen = list[TenantConnection](), 0
    async for records, _ in vault.pages("grant", after=after):
        for record in records:
            after, seen = record.key, seen + 1
            owner = Grant.unpack(record.plain, record.generation).user
            if owner.tenant == tenant and not owner.id.startswith(NO_USER):
                grant = await vault.get_grant(record.key)  # a bulk revocation may have ended it
                if grant and grant.status != "revoked":
                    status: ConnectionStatus = "suspect" if grant.is_suspect else grant.status
                    name = grant.account.name
                    found.append(
                        TenantConnection(owner.id, grant.connection_id, grant.provider, grant.app, name, status)
                    )
            if len(found) == CONNECTIONS_PER_PAGE or seen == MAX_SCANNED_GRANTS:
                return found, after
    return found, ""


async def grants_ending_soon(
    vault: Vault, providers: Mapping[str, Provider], apps: Mapping[str, App], now: float
) -> list[tuple[Grant, GrantEnd]]:
    """Return the grants of all users that end within `END_NOTICE_SECONDS`, the next one first."""
    found = []
    async for records, _ in vault.pages("grant"):
        for record in records:
            grant = await vault.get_grant(record.key)  # a bulk revocation may have ended it
            provider, app = (providers.get(grant.provider), apps.get(grant.app)) if grant else (None, None)
            end = end_of(grant, provider, app) if grant and provider and app else None
            if grant and end and end.is_near(now):
                found.append((grant, end))
    return sorted(found, key=lambda one: one[1].at)


async def connections_of(user: User, services: Services, accounts: Accounts) -> list[Connection]:
    """Return all accounts that are not disconnected. ``default``: True for the account of calls that name none."""
    found = []
    for grant in await services.vault.list_grants(user):
        if grant.status != "revoked":
            provider, app = services.providers.get(grant.provider), services.apps.get(grant.app)
            scopes = tuple(sorted(grant.scopes))
            found.append(
                Connection(
                    id=grant.connection_id,
                    provider=grant.provider,
                    app=grant.app,
                    account=grant.account.name,
                    scopes=scopes,
                    scope_descriptions=tuple(services.registry.words(grant.provider, scope) for scope in scopes),
                    status="suspect" if grant.is_suspect else grant.status,
                    reason=grant.reason,
                    default=await accounts.is_default(user, grant),
                    end=end_of(grant, provider, app) if provider and app else None,
                )
            )
    return found
