"""github.com's token endpoint, and the app's own view of its tokens at the API.

docs.github.com: "Authorizing OAuth apps", "Refreshing user access tokens", REST "OAuth authorizations".
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from deputize.sandbox.github import device
from deputize.sandbox.github.scopes import drop_included
from deputize.sandbox.github.seed import stamp
from deputize.sandbox.github.shapes import user
from deputize.sandbox.http_types import Ask, Refused, Reply, in_json
from deputize.sandbox.issue_tokens import IssuedTokens, TokenMaker, issue, random, redeem, refresh
from deputize.sandbox.oauth import App, GrantFault, InvalidGrant, Token
from deputize.sandbox.world import World

LIVES = 28800.0
REFRESH_LIVES = 15897600
REFUSALS: dict[GrantFault, tuple[str, str]] = {
    "code": ("bad_verification_code", "The code passed is incorrect or expired."),
    "verifier": ("bad_verification_code", "The code passed is incorrect or expired."),
    "redirect_uri": (
        "redirect_uri_mismatch",
        "The redirect_uri MUST match the registered callback URL for this application.",
    ),
    "refresh_token": ("bad_refresh_token", "The refresh token passed is incorrect or expired."),
}


def token_maker(world: World, app: App, scopes: list[str]) -> TokenMaker:
    """Return the token settings: expiring for a GitHub App, or an OAuth App that enables or requests expiry."""
    access = "ghu_" if app.permissions else "gho_"
    expires = bool(app.permissions) or world.switches.rotate or "offline_access" in scopes
    return TokenMaker(
        lambda: random(access, 36), lambda: random("ghr_", 76), LIVES if expires else None, kills_access=True
    )


def token(ask: Ask, world: World) -> Reply:
    """Serve ``/login/oauth/access_token``: always 200, as a form unless JSON is requested."""
    try:
        return _token_reply(ask, *_token(ask, world))
    except InvalidGrant as invalid:
        error, description = REFUSALS[invalid.fault]
        return _token_reply(ask, {"error": error, "error_description": description})


def _token(ask: Ask, world: World) -> tuple[dict[str, Any], str]:
    form = ask.single() or {name: str(value) for name, value in ask.content().items()}
    app = world.app(form.get("client_id", ""), "github")
    if app is not None and form.get("grant_type") == device.GRANT:
        return _redeem_device_code(world, app, form)
    if app is None or not app.has_secret(form.get("client_secret", "")):
        return {
            "error": "incorrect_client_credentials",
            "error_description": "The client_id and/or client_secret passed are incorrect.",
        }, ""
    kind = form.get("grant_type", "authorization_code")
    if kind == "authorization_code":
        scopes = world.authority.scopes_of_code(form.get("code", ""))
        how = token_maker(world, app, scopes)
        return _format_tokens(world, app, redeem(world, app, form, how, refreshable=how.lives is not None))
    if kind == "refresh_token":
        how = token_maker(world, app, ["offline_access"])
        return _format_tokens(world, app, refresh(world, app, form, how, rotates=True))
    return {"error": "unsupported_grant_type", "error_description": "The grant_type is not supported."}, ""


def _redeem_device_code(world: World, app: App, form: dict[str, str]) -> tuple[dict[str, Any], str]:
    """Return tokens for an allowed device code. GitHub needs no client secret here."""
    found = device.redeem(world, app, form)
    if not isinstance(found, device.AllowedCode):
        return found, ""
    how = token_maker(world, app, found.scopes)
    issued = issue(world, app, found.sub, found.family, found.scopes, how, refreshable=how.lives is not None)
    return _format_tokens(world, app, issued)


def _format_tokens(world: World, app: App, issued: IssuedTokens) -> tuple[dict[str, Any], str]:
    scope = "" if app.permissions else ",".join(issued.scopes)
    body: dict[str, Any] = {"access_token": issued.access, "scope": scope, "token_type": "bearer"}
    if issued.lives is not None:
        body["expires_in"] = issued.lives
    if issued.refresh:
        body |= {"refresh_token": issued.refresh, "refresh_token_expires_in": REFRESH_LIVES}
    if world.switches.omit_scope:
        del body["scope"]
    return body, world.address_of(issued.sub)


def _token_reply(ask: Ask, body: dict[str, Any], who: str = "") -> Reply:
    given = "access_token" in body
    if "json" in ask.headers.get("accept", ""):
        return in_json(body, who=who, gives_tokens=given, changes=given)
    kind = (("content-type", "application/x-www-form-urlencoded; charset=utf-8"),)
    return Reply(200, kind, urlencode(body).encode(), who, given, given)


def handle_app_request(ask: Ask, world: World, client_id: str, what: str) -> Reply:
    """Serve ``/applications/{client_id}/token`` and ``/grant``: check a token, revoke it, revoke its grant."""
    app, basic = world.app(client_id, "github"), ask.basic()
    if app is None or basic is None or basic[0] != client_id or not app.has_secret(basic[1]):
        return in_json({"message": "Bad credentials", "status": "401"}, 401, changes=False)
    secret = ask.content().get("access_token")
    if not isinstance(secret, str) or not secret:
        return in_json({"message": "Validation Failed", "status": "422"}, 422)
    known = world.access(secret, "github")
    if known is None or known.app != client_id:
        raise not_found()
    if ask.method == "POST" and what == "token":
        return _format_token_check(world, app, known)
    if ask.method != "DELETE":
        raise not_found()
    who = world.address_of(known.sub)
    if what == "grant":
        world.authority.end_grant(known.app, known.sub)
    else:
        world.authority.end_family(known.family)
    return Reply(204, who=who)


def _format_token_check(world: World, app: App, known: Token) -> Reply:
    person = world.person(world.address_of(known.sub))
    ends = None if known.expires is None else stamp(known.expires)
    about: dict[str, Any] = {"app": {"name": app.name, "client_id": app.client_id}, "expires_at": ends}
    about |= {
        "scopes": [] if app.permissions else drop_included(known.scopes),
        "user": user(person) if person else None,
    }
    return in_json(about, changes=False)


def not_found() -> Refused:
    """Return the 404 of a missing or hidden record."""
    return Refused(in_json({"message": "Not Found", "status": "404"}, 404))
