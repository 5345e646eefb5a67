"""api.linear.app/oauth: access tokens for 24 hours, single-use refresh tokens (Linear's OAuth guide)."""

from __future__ import annotations

from deputize.sandbox.http_types import Ask, Refused, Reply, in_json
from deputize.sandbox.issue_tokens import IssuedTokens, TokenMaker, random, redeem, refresh
from deputize.sandbox.oauth import App, GrantFault, InvalidGrant
from deputize.sandbox.world import World

WORDS = {
    "read": "Read access to the workspace, as you",
    "write": "Write access to the workspace, as you",
    "issues:create": "Create issues and their attachments",
    "comments:create": "Create comments on issues",
    "timeSchedule:write": "Create and change schedules",
    "admin": "Full administration of the workspace",
}
IMPLIES = {
    "write": {"read", "issues:create", "comments:create", "timeSchedule:write"},
    "admin": {"read", "write", "issues:create", "comments:create", "timeSchedule:write"},
}
LIVES = 86399.0
TOKEN_MAKER = TokenMaker(lambda: random("lin_oauth_", 64), lambda: random("lin_refresh_", 64), LIVES)
REFUSALS: dict[GrantFault, str] = {
    "code": "Invalid authorization code",
    "redirect_uri": "Invalid redirect_uri",
    "verifier": "Invalid code_verifier",
    "refresh_token": "Invalid refresh token",
}


def handle(ask: Ask, world: World) -> Reply:
    """Serve the two endpoints, which accept POST only."""
    if ask.method == "POST" and ask.path == "/oauth/token":
        return _token(ask, world)
    if ask.method == "POST" and ask.path == "/oauth/revoke":
        return _revoke(ask, world)
    raise error(404, "not_found", "There is nothing here.")


def error(status: int, name: str, description: str) -> Refused:
    """Return an error of the token endpoint (RFC 6749 5.2)."""
    return Refused(in_json({"error": name, "error_description": description}, status))


def _token(ask: Ask, world: World) -> Reply:
    form = ask.single()
    app, kind = _authenticate(ask, form, world), form.get("grant_type")
    try:
        if kind == "authorization_code":
            return _reply(world, redeem(world, app, form, TOKEN_MAKER, refreshable=True))
        if kind == "refresh_token":
            return _reply(world, refresh(world, app, form, TOKEN_MAKER, rotates=True))
    except InvalidGrant as invalid:
        raise error(400, "invalid_grant", REFUSALS[invalid.fault]) from None
    raise error(400, "unsupported_grant_type", "Unsupported grant_type")


def _authenticate(ask: Ask, form: dict[str, str], world: World) -> App:
    client_id, secret = ask.basic() or (form.get("client_id", ""), form.get("client_secret", ""))
    app = world.app(client_id, "linear")
    if app is None or not app.has_secret(secret):
        raise error(401, "invalid_client", "Invalid client credentials")
    return app


def _reply(world: World, issued: IssuedTokens) -> Reply:
    body: dict[str, object] = {"access_token": issued.access, "token_type": "Bearer"}
    if issued.lives is not None:
        body["expires_in"] = issued.lives
    if issued.refresh:
        body["refresh_token"] = issued.refresh
    if not world.switches.omit_scope:
        body["scope"] = " ".join(issued.scopes)
    return in_json(body, who=world.address_of(issued.sub), gives_tokens=True)


def _revoke(ask: Ask, world: World) -> Reply:
    """Revoke all tokens of the code behind either token. Raise 400 for a token that is already revoked."""
    form = ask.single()
    secret = form.get("token") or form.get("access_token") or form.get("refresh_token") or ask.bearer()
    token = world.revoke(secret, "linear", alone=True)
    if token is None:
        raise error(400, "invalid_request", "The token is not known.")
    return in_json({"success": True}, who=world.address_of(token.sub))
