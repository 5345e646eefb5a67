"""``oauth.v2.access`` and ``auth.*``: user tokens, optional rotation, and errors with status 200.

docs.slack.dev: "Installing with OAuth", "Using token rotation", "Using PKCE".
"""

from __future__ import annotations

from typing import Any

from deputize.sandbox.http_types import Ask, Reply
from deputize.sandbox.issue_tokens import IssuedTokens, TokenMaker, random, redeem, refresh
from deputize.sandbox.oauth import App, GrantFault, InvalidGrant
from deputize.sandbox.slack.call import failed, good
from deputize.sandbox.slack.seed import TEAM, user_id
from deputize.sandbox.world import World

LIVES = 43200.0
REFUSALS: dict[GrantFault, str] = {
    "code": "invalid_code",
    "redirect_uri": "bad_redirect_uri",
    "verifier": "invalid_code",
    "refresh_token": "invalid_refresh_token",
}


def token_maker(world: World) -> TokenMaker:
    """Return the token settings: a rotating app's tokens expire, others do not."""
    if world.switches.rotate:
        return TokenMaker(lambda: random("xoxe.xoxp-1-", 60), lambda: random("xoxe-1-", 60), LIVES)
    return TokenMaker(lambda: random("xoxp-", 60), lambda: "", None)


def token(ask: Ask, world: World) -> Reply:
    """Run ``oauth.v2.access``: the user's token is under ``authed_user`` for a code, at the top level for a refresh."""
    form = ask.single()
    app = _authenticate(ask, form, world)
    kind, rotates = form.get("grant_type", "authorization_code"), world.switches.rotate
    try:
        if kind == "authorization_code":
            return _format_installation(world, app, redeem(world, app, form, token_maker(world), refreshable=rotates))
        if kind == "refresh_token":
            return _format_refresh(world, app, refresh(world, app, form, token_maker(world), rotates=rotates))
    except InvalidGrant as invalid:
        raise failed(REFUSALS[invalid.fault]) from None
    raise failed("invalid_grant_type")


def _authenticate(ask: Ask, form: dict[str, str], world: World) -> App:
    """Return the app by its secret, in Basic or the form; an app with PKCE may omit the secret."""
    client_id, secret = ask.basic() or (form.get("client_id", ""), form.get("client_secret", ""))
    app = world.app(client_id, "slack")
    if app is None:
        raise failed("invalid_client_id")
    if not app.has_secret(secret) and not (app.pkce and not secret):
        raise failed("bad_client_secret")
    return app


def _user(world: World, issued: IssuedTokens) -> dict[str, Any]:
    body: dict[str, Any] = {"access_token": issued.access, "token_type": "user"}
    if not world.switches.omit_scope:
        body["scope"] = ",".join(issued.scopes)
    if issued.refresh:
        body["refresh_token"] = issued.refresh
    if issued.lives is not None:
        body["expires_in"] = issued.lives
    return body


def _format_installation(world: World, app: App, issued: IssuedTokens) -> Reply:
    person = world.address_of(issued.sub)
    return good(
        {
            "app_id": "A0SANDBOX01",
            "authed_user": {"id": user_id(person)} | _user(world, issued),
            "team": {"id": TEAM["id"], "name": TEAM["name"]},
            "enterprise": None,
            "is_enterprise_install": False,
        },
        who=person,
        gives_tokens=True,
    )


def _format_refresh(world: World, app: App, issued: IssuedTokens) -> Reply:
    person = world.address_of(issued.sub)
    told = {"user_id": user_id(person), "team": {"id": TEAM["id"], "name": TEAM["name"]}, "enterprise": None}
    return good(_user(world, issued) | told, who=person, gives_tokens=True)
