"""The authorization request, the consent page and the redirect, for providers that grant all scopes or none."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from deputize.sandbox.http_types import Ask, Refused, Reply, in_html, redirect
from deputize.sandbox.oauth import CODE_LIVES, App, Code
from deputize.sandbox.pages import consent_page, error_page
from deputize.sandbox.world import World


@dataclass(frozen=True)
class AuthorizePage:
    """A provider's settings of the authorization page.

    ``words``: the known scopes, with descriptions. ``parameter``: the scopes' parameter. ``prefix``: the start of
    codes. ``sends_iss``: callbacks have an ``iss`` (RFC 9207). ``strict``: an unknown scope is an error, not ignored.
    ``needs_scope``: a request without scopes is an error. ``always``: the scopes that an app gets unrequested, and no
    others if ``only_always``. ``normal``: converts scopes to their granted form. ``refreshable``: True if these scopes
    include a refresh token.
    """

    provider: str
    label: str
    path: str
    words: Mapping[str, str]
    issuer: str = ""
    sends_iss: bool = False
    parameter: str = "scope"
    prefix: str = ""
    strict: bool = True
    needs_scope: bool = True
    always: Callable[[App], tuple[str, ...]] = lambda app: ()
    only_always: Callable[[App], bool] = lambda app: False
    normal: Callable[[list[str]], list[str]] = lambda scopes: scopes
    refreshable: Callable[[list[str]], bool] = lambda scopes: True


@dataclass(frozen=True)
class AuthorizationRequest:
    """A valid authorization request."""

    app: App
    redirect_uri: str
    state: str = field(repr=False)
    challenge: str = field(repr=False)
    scopes: list[str]
    hint: str


def handle(ask: Ask, world: World, page: AuthorizePage) -> Reply:
    """Serve the consent page (GET) and its form (POST, to the same address)."""
    request = read_request(ask, world, page)
    if world.switches.deny:
        return _redirect_back(request, world, page, [("error", "access_denied")])
    if ask.method == "POST":
        return _decide(ask, world, request, page)
    words = {scope: page.words.get(scope, scope) for scope in request.scopes}
    return in_html(consent_page(page.label, request.app.name, world.people, request.hint, (), words, whole=True))


def read_request(ask: Ask, world: World, page: AuthorizePage) -> AuthorizationRequest:
    """Return the valid request. Raise an error page for an invalid one, never a redirect."""
    app = world.app(ask.one("client_id"), page.provider)
    if app is None:
        raise stop(page, "invalid_client_id", "There is no app with this client id.")
    uri = ask.one("redirect_uri")
    if not app.redirects_to(uri):
        raise stop(page, "redirect_uri_mismatch", app.mismatch(uri))
    if ask.one("response_type", "code") != "code":
        raise stop(page, "unsupported_response_type", "Only response_type=code is served.")
    return AuthorizationRequest(
        app,
        uri,
        ask.one("state"),
        _challenge(ask, page, app, strict=world.switches.strict_pkce),
        scopes_of(ask.one(page.parameter), page, app),
        ask.one("login_hint") or ask.one("login"),
    )


def scopes_of(text: str, page: AuthorizePage, app: App) -> list[str]:
    """Return the scopes that a request for these would be granted."""
    if page.only_always(app):
        return list(page.always(app))
    asked = [scope for scope in re.split(r"[,\s]+", text) if scope]
    unknown = [scope for scope in asked if scope not in page.words]
    if unknown and page.strict:
        raise stop(page, "invalid_scope", f"Unknown scopes: {', '.join(unknown)}")
    if not asked and page.needs_scope:
        raise stop(page, "invalid_scope", f"Missing required parameter: {page.parameter}")
    known = [scope for scope in asked if scope in page.words]
    return page.normal(list(dict.fromkeys([*page.always(app), *known])))


def _challenge(ask: Ask, page: AuthorizePage, app: App, *, strict: bool) -> str:
    """Return the PKCE challenge, or "" if the app does not use PKCE."""
    if not app.pkce:
        return ""
    challenge, method = ask.one("code_challenge"), ask.one("code_challenge_method")
    if not challenge and not method and not strict:
        return ""
    if method != "S256" or len(challenge) != 43:
        raise stop(page, "invalid_request", "An S256 code_challenge is needed.")
    return challenge


def _decide(ask: Ask, world: World, request: AuthorizationRequest, page: AuthorizePage) -> Reply:
    form = ask.single()
    if form.get("decision") == "deny":
        return _redirect_back(request, world, page, [("error", "access_denied")])
    person = world.person(form.get("account", ""))
    if form.get("decision") != "allow" or person is None:
        raise stop(page, "invalid_request", "Choose an account, then allow or deny.")
    person = world.person(world.switches.swap_account) or person
    secret = page.prefix + secrets.token_hex(20)
    world.authority.consent(secret, code_for(world, request, person.sub, page))
    return _redirect_back(request, world, page, [("code", secret)], who=person.email)


def code_for(world: World, request: AuthorizationRequest, sub: str, page: AuthorizePage) -> Code:
    """Return the authorization code of this person's decision."""
    return Code(
        request.app.client_id,
        sub,
        request.redirect_uri,
        request.challenge,
        request.scopes,
        refreshable=page.refreshable(request.scopes),
        expires=world.clock() + CODE_LIVES,
    )


def _redirect_back(
    request: AuthorizationRequest, world: World, page: AuthorizePage, params: list[tuple[str, str]], *, who: str = ""
) -> Reply:
    usual = page.issuer if page.sends_iss else ""
    issuer = page.issuer if world.switches.iss == "right" else world.switches.iss or usual
    state = [("state", request.state)] if request.state else []
    return redirect(request.redirect_uri, [*params, *state, *([("iss", issuer)] if issuer else [])], who=who)


def stop(page: AuthorizePage, code: str, message: str) -> Refused:
    """Return the error page of an authorization request."""
    return Refused(in_html(error_page(page.label, 400, code, message), 400))
