"""An account of an organisation's own: no user has it, and no user consented.

Its tokens are asked for with the client's own credentials (RFC 6749 4.4), or with a JWT that the account's key signs
(RFC 7523 2.1), as developers.google.com/identity/protocols/oauth2/service-account has it. The grant is nobody's of the
users: it lies under an owner that no host can name, so that it is no user's to choose, to see or to end.
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
from deputize.core.oauth import flow
from deputize.core.oauth.endpoint import Endpoint
from deputize.core.oauth.grant_sources import ServiceAccount
from deputize.core.oauth.provider import App, Provider
from deputize.core.vault.grant import NO_USER, Account, Grant, Secret, User

if TYPE_CHECKING:
    from deputize.core.oauth.client_key import ClientKey

ASSERTION_TTL: Final = 300
"""Seconds that a signed JWT is good for; Google takes an hour at most."""


def owner_of(app: App, user: User) -> User:
    """Whose grants an act of this user uses through this app: the user's, or those of the account's owner.

    Raises `PolicyDenied` for a user of another tenant than the account is for.
    """
    if not isinstance(app.source, ServiceAccount):
        return user
    if user.tenant != app.source.tenant:
        raise PolicyDenied(f"The service account of {app.source.organisation} is for users of another tenant.")
    return User(NO_USER + app.name, app.source.tenant)


def organisation_of(app: App) -> str:
    """The organisation that acts through this app, in words; "" where users do."""
    return app.source.organisation if isinstance(app.source, ServiceAccount) else ""


def check_reference(apps: Mapping[str, App], app: str, came_from: str) -> None:
    """Raise `InvalidInput` for a reference that an organisation's account gave and another call follows, or the other
    way round. ``app``: the one that the host names; ``came_from``: the one that the reference names."""
    if app != came_from and any(one in apps and organisation_of(apps[one]) for one in (app, came_from)):
        raise InvalidInput("ref: is of another account than this call.", hint="Read the thing itself again.")


def account_of(app: App, source: ServiceAccount) -> Account:
    """The account, with its organisation in its name: so it stands wherever an account is shown."""
    return Account(app.client_id, f"{source.organisation} (service account {app.client_id})")


def refuse_to_ask(
    app: App, provider: Provider, scopes: Iterable[str] = (), enough: Iterable[frozenset[str]] = ()
) -> None:
    """Raise `InvalidInput` for an app of a service account: no user can consent for an organisation. ``scopes``: what
    the account lacks; ``enough``: groups of scopes of each of which one would do."""
    if not isinstance(source := app.source, ServiceAccount):
        return
    may = provider.covered(source.scopes)
    may |= {scope for group in enough if not group.isdisjoint(may) for scope in group}
    if more := sorted(set(scopes) - may):
        raise InvalidInput(
            f"The service account of {source.organisation} may not have this: {', '.join(more)}.",
            hint=f"Where that is meant, add it to the scopes of the source of the app {app.name!r}.",
            fix_by="operator",
        )
    raise InvalidInput(
        f"The service account of {source.organisation} has not the right for this, and no user can give it.",
        hint=f"The app {app.name!r} gets what its key and its scopes allow: see to both at the provider.",
        fix_by="operator",
    )


def has_all(source: ServiceAccount, provider: Provider, grant: Grant) -> bool:
    """Whether this grant has all that the account may ever have, so that asking again brings nothing more."""
    return source.scopes <= provider.covered(grant.scopes)


def has_more(source: ServiceAccount, provider: Provider, grant: Grant) -> bool:
    """Whether this grant has what the account may not have any more: the settings named it when it was obtained."""
    return not grant.scopes <= provider.covered(source.scopes)


async def tokens(endpoint: Endpoint, source: ServiceAccount) -> flow.Tokens:
    """Tokens of the account, with all that it may have, and no more, whatever the server gives. Raises `Refusal`."""
    provider, app = endpoint.provider, endpoint.app
    came = await endpoint.issue(lambda: _request(provider, app, source), flow.parse_tokens)
    if came.scopes is None:
        return replace(came, scopes=source.scopes if provider.oauth.absent_scope == "requested" else None)
    may, given = provider.covered(source.scopes), provider.covered(came.scopes)
    return replace(came, scopes=(came.scopes & may) | (source.scopes & given))


def _request(provider: Provider, app: App, source: ServiceAccount) -> httpx.Request:
    if source.key is None:
        return flow.by_grant(provider, app, "client_credentials", source.scopes)
    signed = _signed(provider, app, source, source.key)
    return flow.by_grant(provider, app, JWT_GRANT, source.scopes, assertion=signed.reveal())


def _signed(provider: Provider, app: App, source: ServiceAccount, key: ClientKey) -> Secret:
    """RFC 7523 3. It names no user (``sub``): it is the account itself that acts."""
    now = int(time.time())
    claims = {"iss": app.client_id, "aud": provider.oauth.token_url, "scope": " ".join(sorted(source.scopes))}
    return key.signed(claims | {"jti": secrets.token_urlsafe(16), "iat": now, "exp": now + ASSERTION_TTL})
