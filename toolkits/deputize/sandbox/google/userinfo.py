"""openidconnect.googleapis.com: userinfo of the token's user (OpenID Connect Core 5.3)."""

from __future__ import annotations

from typing import Any

from deputize.sandbox.google import errors
from deputize.sandbox.google.scopes import ALIASES, BASIC
from deputize.sandbox.google.tokens import caller
from deputize.sandbox.http_types import Ask, Reply, in_json
from deputize.sandbox.world import World

HOST = "openidconnect.googleapis.com"


def handle(ask: Ask, world: World) -> Reply:
    """Return the subject, and address and name if their scopes were granted."""
    if ask.path != "/v1/userinfo" or ask.method not in ("GET", "POST"):
        return errors.not_found(ask.path)
    person, token = caller(ask, world)
    if not set(BASIC) & set(token.scopes):
        return errors.scope_missing(HOST, "google.identity.openidconnect.v1.OpenIDConnect.GetUserInfo", BASIC)
    claims: dict[str, Any] = {"sub": person.sub}
    if ALIASES["email"] in token.scopes:
        claims |= {"email": person.email, "email_verified": True}
    if ALIASES["profile"] in token.scopes:
        claims |= {"name": person.name}
    return in_json(claims)
