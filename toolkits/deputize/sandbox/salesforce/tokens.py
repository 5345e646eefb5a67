"""login.salesforce.com/services/oauth2: tokens that name their org's address (OAuth 2.0 Web Server Flow)."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

from deputize.sandbox.http_types import Ask, Refused, Reply, in_json
from deputize.sandbox.issue_tokens import IssuedTokens, TokenMaker, random, redeem, refresh
from deputize.sandbox.oauth import App, GrantFault, InvalidGrant, Token
from deputize.sandbox.people import Person
from deputize.sandbox.salesforce.seed import ORG, user_id
from deputize.sandbox.world import World

LOGIN = "login.salesforce.com"
INSTANCE = "acme.my.salesforce.com"
WORDS = {
    "openid": "Access unique user identifiers (openid)",
    "id": "Access the identity URL service",
    "profile": "Access profile information",
    "email": "Access email address",
    "api": "Manage user data via APIs",
    "full": "Full access",
    "refresh_token": "Perform requests at any time",
    "offline_access": "Perform requests at any time",
}
LIVES = 7200.0
TOKEN_MAKER = TokenMaker(lambda: f"{ORG[:15]}!{random('AQ', 60)}", lambda: random("5Aep861", 60), LIVES)
REFUSALS: dict[GrantFault, tuple[str, str]] = {
    "code": ("invalid_grant", "invalid authorization code"),
    "redirect_uri": ("redirect_uri_mismatch", "redirect_uri must match configuration"),
    "verifier": ("invalid_grant", "invalid code verifier"),
    "refresh_token": ("invalid_grant", "expired access/refresh token"),
}


def error(name: str, description: str) -> Refused:
    """Return an error of the token endpoint: always 400."""
    return Refused(in_json({"error": name, "error_description": description}, 400))


def token(ask: Ask, world: World) -> Reply:
    """Exchange a code or refresh token. Without rotation, a refresh returns no new refresh token."""
    form = ask.single()
    app, kind = _authenticate(ask, form, world), form.get("grant_type")
    try:
        if kind == "authorization_code":
            return _reply(ask, world, app, redeem(world, app, form, TOKEN_MAKER, refreshable=True))
        if kind == "refresh_token":
            return _reply(ask, world, app, refresh(world, app, form, TOKEN_MAKER, rotates=world.switches.rotate))
    except InvalidGrant as invalid:
        raise error(*REFUSALS[invalid.fault]) from None
    raise error("unsupported_grant_type", "grant type not supported")


def _authenticate(ask: Ask, form: dict[str, str], world: World) -> App:
    client_id, secret = ask.basic() or (form.get("client_id", ""), form.get("client_secret", ""))
    app = world.app(client_id, "salesforce")
    if app is None:
        raise error("invalid_client_id", "client identifier invalid")
    if not app.has_secret(secret):
        raise error("invalid_client", "invalid client credentials")
    return app


def _reply(ask: Ask, world: World, app: App, issued: IssuedTokens) -> Reply:
    """Return tokens without ``expires_in``; ``issued_at`` is milliseconds as text, signed with the app's secret."""
    person = world.address_of(issued.sub)
    who, at = f"https://{LOGIN}/id/{ORG}/{user_id(issued.sub)}", str(int(world.clock() * 1000))
    signed = hmac.new(app.client_secret.encode(), (who + at).encode(), hashlib.sha256).digest()
    body: dict[str, Any] = {
        "access_token": issued.access,
        "signature": base64.b64encode(signed).decode(),
        "instance_url": ask.origin_of(INSTANCE),
        "id": who,
        "token_type": "Bearer",
        "issued_at": at,
    }
    if issued.refresh:
        body["refresh_token"] = issued.refresh
    if not world.switches.omit_scope:
        body["scope"] = " ".join(issued.scopes)
    return in_json(body, who=person, gives_tokens=True)


def revoke(ask: Ask, world: World) -> Reply:
    """Revoke all tokens of the code behind either token; GET with ``token`` in the query works too."""
    known = world.revoke(ask.single().get("token") or ask.one("token"), "salesforce", alone=True)
    if known is None:
        raise error("unsupported_token_type", "this token type is not supported")
    return Reply(200, who=world.address_of(known.sub))


def userinfo(ask: Ask, world: World) -> Reply:
    """Return the token's user. Raise 403 with a plain-text body for an invalid token."""
    person, known = _caller(ask, world)
    claims = {
        "sub": f"https://{LOGIN}/id/{ORG}/{user_id(person.sub)}",
        "user_id": user_id(person.sub),
        "organization_id": ORG,
        "preferred_username": person.email,
        "nickname": person.email.partition("@")[0],
        "name": person.name,
        "email": person.email,
        "email_verified": True,
        "active": True,
        "zoneinfo": "Europe/Berlin",
        "urls": {"rest": f"{ask.origin_of(INSTANCE)}/services/data/v{{version}}/"},
    }
    if ask.path.startswith("/id/") and ask.path != f"/id/{ORG}/{user_id(known.sub)}":
        raise Refused(Reply(403, (("content-type", "text/html"),), b"Wrong_Id"))
    return in_json(claims, changes=False)


def _caller(ask: Ask, world: World) -> tuple[Person, Token]:
    known = world.access(ask.bearer(), "salesforce")
    person = world.person(world.address_of(known.sub)) if known else None
    if known is None or person is None:
        raise Refused(Reply(403, (("content-type", "text/html"),), b"Bad_OAuth_Token"))
    return person, known
