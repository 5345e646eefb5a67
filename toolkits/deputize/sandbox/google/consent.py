"""accounts.google.com: the authorization request, the consent page, and the redirect to the app.

Google's guide "Using OAuth 2.0 for Web Server Applications" and "... for Desktop Apps".
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from deputize.sandbox.google import errors
from deputize.sandbox.google.scopes import BASIC, DESCRIPTIONS, read_scopes, unknown_scopes
from deputize.sandbox.http_types import Ask, Refused, Reply, in_html, redirect
from deputize.sandbox.oauth import CODE_LIVES, App, Code
from deputize.sandbox.pages import consent_page, error_page
from deputize.sandbox.people import Person
from deputize.sandbox.world import World

AUTHORIZE = "/o/oauth2/v2/auth"
ISSUER = "https://accounts.google.com"


@dataclass(frozen=True)
class AuthorizationRequest:
    """A valid authorization request."""

    app: App
    redirect_uri: str
    state: str = field(repr=False)
    challenge: str = field(repr=False)
    scopes: tuple[str, ...]
    offline: bool
    prompt: tuple[str, ...]
    with_earlier: bool
    hint: str

    @property
    def optional(self) -> dict[str, str]:
        """The scopes that a person can untick, with their descriptions."""
        return {scope: DESCRIPTIONS[scope] for scope in self.scopes if scope in DESCRIPTIONS}


def handle(ask: Ask, world: World) -> Reply:
    """Serve the consent page (GET) and its form (POST, to the same address)."""
    if ask.path != AUTHORIZE or ask.method not in ("GET", "POST"):
        return errors.not_found(ask.path)
    request = read_request(ask, world)
    if world.switches.deny:
        return _redirect_back(request, world, [("error", "access_denied")])
    if "none" in request.prompt:
        return _redirect_back(request, world, [("error", "interaction_required")])
    if ask.method == "POST":
        return _decide(ask, world, request)
    basic = [scope for scope in request.scopes if scope in BASIC]
    return in_html(consent_page("Google", request.app.name, world.people, request.hint, basic, request.optional))


def read_request(ask: Ask, world: World) -> AuthorizationRequest:
    """Return the valid request. Raise an error page for an invalid one, never a redirect."""
    app = world.app(ask.one("client_id"), "google")
    if app is None:
        raise _stop(401, "invalid_client", "The OAuth client was not found.")
    if not app.redirects_to(ask.one("redirect_uri")):
        raise _stop(400, "redirect_uri_mismatch", app.mismatch(ask.one("redirect_uri")))
    if ask.one("response_type") != "code":
        raise _stop(400, "unsupported_response_type", "Only response_type=code is served.")
    scopes = read_scopes(ask.one("scope"))
    if not scopes:
        raise _stop(400, "invalid_request", "Missing required parameter: scope")
    if unknown := unknown_scopes(scopes):
        raise _stop(400, "invalid_scope", f"Some requested scopes were invalid: {', '.join(unknown)}")
    return AuthorizationRequest(
        app,
        ask.one("redirect_uri"),
        ask.one("state"),
        _challenge(ask, strict=world.switches.strict_pkce),
        tuple(scopes),
        ask.one("access_type") == "offline",
        tuple(ask.one("prompt").split()),
        ask.one("include_granted_scopes") == "true",
        ask.one("login_hint"),
    )


def _challenge(ask: Ask, *, strict: bool) -> str:
    challenge, method = ask.one("code_challenge"), ask.one("code_challenge_method")
    if not challenge and not method:
        if strict:
            raise _stop(400, "invalid_request", "Missing required parameter: code_challenge")
        return ""
    if method != "S256" or len(challenge) != 43:
        raise _stop(400, "invalid_request", "Only an S256 code_challenge is accepted.")
    return challenge


def _decide(ask: Ask, world: World, request: AuthorizationRequest) -> Reply:
    form = ask.form()
    decision = form.get("decision", [""])[0]
    if decision == "deny":
        return _redirect_back(request, world, [("error", "access_denied")])
    person = world.person(form.get("account", [""])[0])
    if decision != "allow" or person is None:
        raise _stop(400, "invalid_request", "Choose an account, then allow or deny.")
    person = world.person(world.switches.swap_account) or person
    return _allow(world, request, person, set(form.get("scope", ())))


def _allow(world: World, request: AuthorizationRequest, person: Person, ticked: set[str]) -> Reply:
    agreed = [scope for scope in request.scopes if scope in BASIC or scope in ticked]
    before = world.authority.consented(request.app.client_id, person.sub)
    scopes = list(dict.fromkeys([*agreed, *before])) if request.with_earlier else agreed
    secret = "4/0" + secrets.token_urlsafe(48)
    code = Code(
        request.app.client_id,
        person.sub,
        request.redirect_uri,
        request.challenge,
        scopes,
        refreshable=request.offline and (not before or "consent" in request.prompt),
        expires=world.clock() + CODE_LIVES,
    )
    world.authority.consent(secret, code)
    shown = [("code", secret), ("scope", " ".join(scopes)), ("authuser", "0"), ("prompt", "consent")]
    return _redirect_back(request, world, shown, who=person.email)


def _redirect_back(
    request: AuthorizationRequest, world: World, params: list[tuple[str, str]], *, who: str = ""
) -> Reply:
    issuer = ISSUER if world.switches.iss == "right" else world.switches.iss
    state = [("state", request.state)] if request.state else []
    return redirect(request.redirect_uri, [*state, *([("iss", issuer)] if issuer else []), *params], who=who)


def _stop(status: int, code: str, message: str) -> Refused:
    return Refused(in_html(error_page("Google", status, code, message), status))
