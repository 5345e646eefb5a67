"""Service accounts: accounts of an organisation, without a user and without a consent.

Their tokens are requested with the client's own credentials (RFC 6749 4.4), or with a JWT that the account's key signs
(RFC 7523 2.1; developers.google.com/identity/protocols/oauth2/service-account). The grant is stored under an owner that
your application cannot name, so that no user can choose, see or end it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import httpx

from deputize.core.errors import InvalidInput, PolicyDenied
from deputize.core.grants.sources.token_exchange import JWT_GRANT
from deputize.core.oauth import messages as flow
from deputize.core.oauth.app import ServiceAccount
from deputize.core.oauth.endpoint import Endpoint
from deputize.core.oauth.provider import App, Provider
from deputize.core.vault.grant import NO_USER, Account, Grant, Secret, User

if TYPE_CHECKING:
    from deputize.core.oauth.client_key import ClientKey

ASSERTION_TTL: Final = 300
"""Lifetime of a signed JWT in seconds; Google accepts an hour at most."""


def owner_of(app: App, user: User) -> User:
    """Return the owner of the grants that an act of this user uses: the user, or the service account's owner.

    Raises `PolicyDenied` for a user of another tenant than the account's.
    """
    if not isinstance(app.source, ServiceAccount):
        return user
    if user.tenant != app.source.tenant:
        raise PolicyDenied(f"The service account of {app.source.organisation} is for users of another tenant.")
    return User(NO_USER + app.name, app.source.tenant)


def organisation_of(app: App) -> str:
    """Return the organisation that acts through this app, or "" if its users act."""
    return app.source.organisation if isinstance(app.source, ServiceAccount) else ""


def check_reference(apps: Mapping[str, App], app: str, came_from: str) -> None:
    """Raise `InvalidInput` if a user's call follows a reference from a service account, or the reverse. ``app``: the
    app that the caller names; ``came_from``: the app that the reference names."""
    if app != came_from and any(one in apps and organisation_of(apps[one]) for one in (app, came_from)):
        raise InvalidInput(
            "ref belongs to another account than this call.", hint="Read the item again with this account."
        )


def account_of(app: App, source: ServiceAccount) -> Account:
    """Return the service account, with the organisation in its displayed name."""
    return Account(app.client_id, f"{source.organisation} (service account {app.client_id})")


def refuse_to_ask(
    app: App, provider: Provider, scopes: Iterable[str] = (), enough: Iterable[frozenset[str]] = ()
) -> None:
    """Raise `InvalidInput` for a service account's app, because no user can consent for an organisation. ``scopes``:
    scopes that the account lacks. ``enough``: groups of scopes, of which one scope each suffices."""
    if not isinstance(source := app.source, ServiceAccount):
        return
    may = provider.implied_scopes(source.scopes)
    may |= {scope for group in enough if not group.isdisjoint(may) for scope in group}
    if more := sorted(set(scopes) - may):
        raise InvalidInput(
            f"The service account of {source.organisation} may not have this: {', '.join(more)}.",
            hint=f"If it should have it, add it to the scopes of the source of the app {app.name!r}.",
            fix_by="operator",
        )
    raise InvalidInput(
        f"The service account of {source.organisation} lacks the permission for this, and no user can grant it.",
        hint=f"The app {app.name!r} gets what its key and its scopes allow: check both at the provider.",
        fix_by="operator",
    )


def has_all(source: ServiceAccount, provider: Provider, grant: Grant) -> bool:
    """Return True if this grant has all scopes that the account may have, so that a new request adds none."""
    return source.scopes <= provider.implied_scopes(grant.scopes)


def has_more(source: ServiceAccount, provider: Provider, grant: Grant) -> bool:
    """Return True if this grant has scopes that the account may no longer have, because the settings have changed."""
    return not grant.scopes <= provider.implied_scopes(source.scopes)


async def request_tokens(endpoint: Endpoint, source: ServiceAccount) -> flow.Tokens:
    """Return tokens of the account, limited to its allowed scopes even if the server grants more. Raises `Refusal`."""
    provider, app = endpoint.provider, endpoint.app
    came = await endpoint.issue(lambda: _request(provider, app, source), flow.parse_tokens)
    if came.scopes is None:
        return replace(came, scopes=source.scopes if provider.oauth.absent_scope == "requested" else None)
    may, given = provider.implied_scopes(source.scopes), provider.implied_scopes(came.scopes)
    return replace(came, scopes=(came.scopes & may) | (source.scopes & given))


def _request(provider: Provider, app: App, source: ServiceAccount) -> httpx.Request:
    if source.key is None:
        return flow.by_grant(provider, app, "client_credentials", source.scopes)
    signed = _sign_assertion(provider, app, source, source.key)
    return flow.by_grant(provider, app, JWT_GRANT, source.scopes, assertion=signed.reveal())


def _sign_assertion(provider: Provider, app: App, source: ServiceAccount, key: ClientKey) -> Secret:
    """Return the signed JWT (RFC 7523 3). It has no ``sub``, because the account itself acts."""
    now = int(time.time())
    claims = {"iss": app.client_id, "aud": provider.oauth.token_url, "scope": " ".join(sorted(source.scopes))}
    return key.signed(claims | {"jti": secrets.token_urlsafe(16), "iat": now, "exp": now + ASSERTION_TTL})
