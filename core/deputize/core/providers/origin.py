"""Where a grant may be used: only where it came from, whatever the settings say now.

Each grant is sealed with its `Origin`. Settings that name another server, or another registration, find grants that are
not theirs: no token and no client secret is sent there. A grant without an origin, from before origins were kept, is
taken for one of the table's row of its provider, and is used with no other.

    another registration at the same server    the user is asked anew; a disconnect tells that server
    another server                             `InvalidInput` with the reason ``moved``: only the operator can mend it
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
"""What is another than it was: nothing, the registration alone, or the server."""

_PORT: Final = re.compile(r"(?:(?<=://127\.0\.0\.1)|(?<=://\[::1\])|(?<=^127\.0\.0\.1)|(?<=^\[::1\])):[0-9]+")


def origin_of(row: Provider, app: App) -> Origin:
    """The origin of what this app is granted at this provider now."""
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


def differs(origin: Origin | None, row: Provider, app: App) -> Differs:
    """What of the settings is not as it was when this was granted."""
    now = origin_of(row, app)
    if origin is None:
        return "" if now.built_in else "place"
    if not origin.same_place(now):
        return "place"
    return "" if origin.client_id == now.client_id else "app"


def at_home(row: Provider, grant: Grant, app: App) -> Provider:
    """The provider as far as this grant may use it: no API host beside those that it came with.

    Raises `InvalidInput` with the reason ``moved`` where the provider is another one.
    """
    if differs(grant.origin, row, app):
        raise moved(grant, row)
    origin = grant.origin
    if origin is None or origin.built_in or row.plain_http or row.apis.hosts <= origin.hosts:
        return row
    return replace(row, apis=replace(row.apis, hosts=row.apis.hosts & origin.hosts))


def moved(grant: Grant, row: Provider) -> InvalidInput:
    """What is told of a grant that comes from elsewhere."""
    came, leads = _server(grant.origin, grant.provider), urlsplit(row.oauth.token_url).netloc
    return InvalidInput(
        f"The {grant.provider} account {grant.account.name} was connected elsewhere, so it is not used here.",
        hint=f"It comes from {came}, and the settings of the app {grant.app!r} lead to {leads}. Put them back; or, "
        f"where the change is meant, disconnect it (deputize revoke {grant.provider}) and connect it again.",
        fix_by="operator",
        reason=MOVED,
    )


def _server(origin: Origin | None, provider: str) -> str:
    if origin is not None:
        return urlsplit(origin.endpoints[-1]).netloc
    table = PROVIDERS.get(provider)
    return urlsplit(table.oauth.token_url).netloc if table else "a server that was not noted"


def noted(origin: Origin | None) -> dict[str, str]:
    """An origin in a record."""
    return {"origin": origin.pack()} if origin else {}


def origin_in(note: Mapping[str, Any]) -> Origin | None:
    """What `noted` wrote."""
    return Origin.unpack(note["origin"]) if note.get("origin") else None
