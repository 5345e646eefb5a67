"""oauth2.googleapis.com: exchange of codes and refresh tokens, and revocation (RFC 6749, 7009, 7636)."""

from __future__ import annotations

import secrets
from typing import Any

from deputize.sandbox.google import errors
from deputize.sandbox.http_types import Ask, Refused, Reply, in_json
from deputize.sandbox.issue_tokens import TokenMaker
from deputize.sandbox.oauth import App, GrantFault, InvalidGrant, Token
from deputize.sandbox.people import Person
from deputize.sandbox.world import World

REFUSALS: dict[GrantFault, tuple[str, str]] = {
    "code": ("invalid_grant", "Malformed auth code."),
    "redirect_uri": ("redirect_uri_mismatch", "Bad Request"),
    "verifier": ("invalid_grant", "Invalid code verifier."),
    "refresh_token": ("invalid_grant", "Token has been expired or revoked."),
}
LIVES = 3599.0
TOKEN_MAKER = TokenMaker(lambda: "ya29." + secrets.token_urlsafe(90), lambda: "1//0" + secrets.token_urlsafe(60), LIVES)
NO_STORE = (("cache-control", "no-store"), ("pragma", "no-cache"))


def handle(ask: Ask, world: World) -> Reply:
    """Serve the two endpoints, which accept POST only."""
    if ask.method == "POST" and ask.path == "/token":
        return _token(ask, world)
    if ask.method == "POST" and ask.path == "/revoke":
        return _revoke(ask, world)
    return errors.not_found(ask.path)


def _token(ask: Ask, world: World) -> Reply:
    form = _single(ask)
    app = _authenticate(ask, form, world)
    try:
        if form.get("grant_type") == "authorization_code":
            return _redeem(form, app, world)
        if form.get("grant_type") == "refresh_token":
            return _refresh(form, app, world)
    except InvalidGrant as invalid:
        return errors.token_error(400, *REFUSALS[invalid.fault])
    return errors.token_error(400, "unsupported_grant_type", "Invalid grant_type")


def _single(ask: Ask) -> dict[str, str]:
    """Return the form's parameters. Raise 400 if one is repeated (RFC 6749 3.2)."""
    form = ask.form()
    if any(len(values) > 1 for values in form.values()):
        raise Refused(errors.token_error(400, "invalid_request", "A parameter is repeated."))
    return {name: values[0] for name, values in form.items()}


def _authenticate(ask: Ask, form: dict[str, str], world: World) -> App:
    """Return the app by its secret, in the form or by Basic, not both."""
    basic = ask.basic()
    if basic and "client_secret" in form:
        raise Refused(errors.token_error(400, "invalid_request", "Two ways of client authentication."))
    client_id, secret = basic or (form.get("client_id", ""), form.get("client_secret", ""))
    app = world.app(client_id, "google")
    if app is None or not app.has_secret(secret):
        challenge = [("www-authenticate", 'Basic realm="https://accounts.google.com/"')] if basic else []
        found = "The OAuth client was not found." if app is None else "Unauthorized"
        raise Refused(errors.token_error(401, "invalid_client", found, challenge))
    return app


def _redeem(form: dict[str, str], app: App, world: World) -> Reply:
    now = world.clock()
    family, code = world.authority.redeem(
        form.get("code", ""), app, form.get("redirect_uri", ""), form.get("code_verifier", ""), now
    )
    access = _issue_access(world, app, code.sub, family, code.scopes)
    refresh = ""
    if code.refreshable and not world.switches.omit_refresh_token:
        refresh = _issue_refresh(world, app, code.sub, family, code.scopes)
    return _reply(world, access, refresh, code.scopes, code.sub)


def _refresh(form: dict[str, str], app: App, world: World) -> Reply:
    switches, now = world.switches, world.clock()
    old = world.authority.refresh(
        form.get("refresh_token", ""), app, now, reuse_kills_family=switches.reuse_kills_family
    )
    scopes = _narrow_scopes(form.get("scope", ""), old)
    access = _issue_access(world, app, old.sub, old.family, scopes)
    refresh = ""
    if switches.rotate:
        world.authority.retire(old, now, switches.grace)
        refresh = _issue_refresh(world, app, old.sub, old.family, old.scopes)
    return _reply(world, access, "" if switches.omit_refresh_token else refresh, scopes, old.sub)


def _narrow_scopes(asked: str, token: Token) -> list[str]:
    """Return the requested scopes of a refresh. Raise 400 if one was not granted (RFC 6749 6)."""
    if not set(asked.split()) <= set(token.scopes):
        raise Refused(errors.token_error(400, "invalid_scope", "Some requested scopes were not granted."))
    return [scope for scope in token.scopes if scope in asked.split()] or token.scopes


def _issue_access(world: World, app: App, sub: str, family: str, scopes: list[str]) -> str:
    secret = TOKEN_MAKER.access()
    ends = world.clock() + world.access_ttl(LIVES)
    world.authority.issue(secret, Token("access", app.client_id, sub, family, scopes, ends))
    return secret


def _issue_refresh(world: World, app: App, sub: str, family: str, scopes: list[str]) -> str:
    secret = TOKEN_MAKER.refresh()
    world.authority.issue(secret, Token("refresh", app.client_id, sub, family, scopes, None))
    return secret


def _reply(world: World, access: str, refresh: str, scopes: list[str], sub: str) -> Reply:
    body: dict[str, Any] = {"access_token": access, "token_type": "Bearer"}
    if not world.switches.omit_expires_in:
        body["expires_in"] = int(world.access_ttl(LIVES))
    if not world.switches.omit_scope:
        body["scope"] = " ".join(scopes)
    if refresh:
        body["refresh_token"] = refresh
    return in_json(body, headers=NO_STORE, who=world.address_of(sub), gives_tokens=True)


def _revoke(ask: Ask, world: World) -> Reply:
    """End the whole grant of a valid token of either kind."""
    secret = _single(ask).get("token") or ask.one("token")
    token = world.revoke(secret, "google")
    if token is None:
        return errors.token_error(400, "invalid_token", "Token expired or revoked")
    return in_json({}, who=world.address_of(token.sub))


def caller(ask: Ask, world: World) -> tuple[Person, Token]:
    """Return the request's person and token. Raise 401 if the token is unknown, expired or absent."""
    token = world.access(ask.bearer(), "google")
    person = world.person(world.address_of(token.sub)) if token else None
    if token is None or person is None:
        raise Refused(errors.invalid_token())
    return person, token
