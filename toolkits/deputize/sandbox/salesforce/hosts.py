"""Simulated hosts: login.salesforce.com, and the org at its own address."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from deputize.sandbox import authorize_page
from deputize.sandbox.http_types import Ask, Reply
from deputize.sandbox.salesforce import api, tokens
from deputize.sandbox.salesforce.call import failed
from deputize.sandbox.salesforce.tokens import INSTANCE, LOGIN, WORDS
from deputize.sandbox.world import World

AUTHORIZE_PAGE = authorize_page.AuthorizePage(
    "salesforce",
    "Salesforce",
    "/services/oauth2/authorize",
    WORDS,
    issuer=f"https://{LOGIN}",
    prefix="aPrx",
    normal=lambda scopes: list(
        dict.fromkeys("refresh_token" if scope == "offline_access" else scope for scope in scopes)
    ),
    refreshable=lambda scopes: "refresh_token" in scopes,
)


def login(ask: Ask, world: World) -> Reply:
    """Serve consent, tokens and userinfo."""
    if ask.path == AUTHORIZE_PAGE.path and ask.method in ("GET", "POST"):
        return authorize_page.handle(ask, world, AUTHORIZE_PAGE)
    if ask.path == "/services/oauth2/token" and ask.method == "POST":
        return tokens.token(ask, world)
    if ask.path == "/services/oauth2/revoke":
        return tokens.revoke(ask, world)
    if ask.path == "/services/oauth2/userinfo" or ask.path.startswith("/id/"):
        return tokens.userinfo(ask, world)
    raise failed(404, "NOT_FOUND", "The requested resource does not exist")


def org(ask: Ask, world: World) -> Reply:
    """Serve the org's API, and OAuth at the org's address too."""
    return login(ask, world) if ask.path.startswith(("/services/oauth2/", "/id/")) else api.handle(ask, world)


HOSTS: Mapping[str, Callable[[Ask, World], Reply]] = {LOGIN: login, INSTANCE: org}
