"""The use of a grant is limited to its origin, even if the settings have changed since.

Each grant is encrypted with its `Origin`. If the settings now name another server or registration, its grants do not
apply: no token and no client secret is sent there. A grant without an origin is from before origins were stored. It
counts as one of its provider's built-in definition and is used with no other.

    another registration at the same server    the user must consent again; a disconnect is reported to that server
    another server                             `InvalidInput` with the reason ``moved``: only the operator can fix it
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from deputize.core.errors import InvalidInput
from deputize.core.oauth.provider import App, Provider
from deputize.core.providers import PROVIDERS
from deputize.core.vault.grant import Grant, Origin

MOVED: Final = "moved"

Differs = Literal["", "app", "place"]
"""What has changed since the consent: nothing, only the registration, or the server."""

_PORT: Final = re.compile(r"(?:(?<=://127\.0\.0\.1)|(?<=://\[::1\])|(?<=^127\.0\.0\.1)|(?<=^\[::1\])):[0-9]+")


def origin_of(row: Provider, app: App) -> Origin:
    """Return the origin of grants that this app would get at this provider now."""
    return _origin(row.name, _places(row), row.apis.hosts, row.plain_http, app.client_id)


@lru_cache(maxsize=256)
def _origin(
    name: str, places: tuple[tuple[str, ...], tuple[str, ...]], hosts: frozenset[str], local: bool, client_id: str
) -> Origin:
    table = PROVIDERS.get(name)
    built_in = table is not None and _places(table) == places
    if not local:
        return Origin(client_id, *places, hosts, built_in)
    endpoints, ends = (tuple(_PORT.sub("", url) for url in urls) for urls in places)
    return Origin(client_id, endpoints, ends, frozenset(_PORT.sub("", host) for host in hosts))


def _places(row: Provider) -> tuple[tuple[str, ...], tuple[str, ...]]:
    oauth = row.oauth
    return (oauth.issuer, oauth.authorize_url, oauth.token_url), (oauth.revoke_url, oauth.revoke_leaked_url)


def origin_change(origin: Origin | None, row: Provider, app: App) -> Differs:
    """Return the difference between a grant's origin and the present settings."""
    now = origin_of(row, app)
    if origin is None:
        return "" if now.built_in else "place"
    if not origin.is_same_server(now):
        return "place"
    return "" if origin.client_id == now.client_id else "app"


def restrict_to_origin(row: Provider, grant: Grant, app: App) -> Provider:
    """Return the provider without the API hosts that were added after the grant's consent.

    Raises `InvalidInput` with the reason ``moved`` if the provider has changed.
    """
    if origin_change(grant.origin, row, app):
        raise moved(grant, row)
    origin = grant.origin
    if origin is None or origin.built_in or row.plain_http or row.apis.hosts <= origin.hosts:
        return row
    return replace(row, apis=replace(row.apis, hosts=row.apis.hosts & origin.hosts))


def moved(grant: Grant, row: Provider) -> InvalidInput:
    """Return the error for a grant from another server or registration."""
    came, leads = _server(grant.origin, grant.provider), urlsplit(row.oauth.token_url).netloc
    return InvalidInput(
        f"The {grant.provider} account {grant.account.name} was connected elsewhere, so it is not used here.",
        hint=f"It comes from {came}, and the settings of the app {grant.app!r} lead to {leads}. Restore them; or, "
        f"if the change is intended, disconnect it (deputize revoke {grant.provider}) and connect it again.",
        fix_by="operator",
        reason=MOVED,
    )


def _server(origin: Origin | None, provider: str) -> str:
    if origin is not None:
        return urlsplit(origin.endpoints[-1]).netloc
    table = PROVIDERS.get(provider)
    return urlsplit(table.oauth.token_url).netloc if table else "an unknown server"


def pack_origin(origin: Origin | None) -> dict[str, str]:
    """Return an origin as the field of a record."""
    return {"origin": origin.pack()} if origin else {}


def origin_in(note: Mapping[str, Any]) -> Origin | None:
    """Return the origin in a record with the field from `pack_origin`, or None."""
    return Origin.unpack(note["origin"]) if note.get("origin") else None
