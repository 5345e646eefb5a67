"""Sign-in to deputize's pages at an issuer (OpenID Connect Core 1.0): authorization code, PKCE, nonce.

    sign_in = SignIn(deputy, issuer="https://login.example.com", client_id="...", client_secret=Secret("..."))
    pages = pages_app(deputy, verifier=sign_in, sign_in=sign_in.path, pages=[*PAGES, *sign_in.pages])

    GET  /sign-in             to the issuer, and with ?next= back to a page of this host
    GET  /sign-in/callback    back from the issuer: a session begins, under a new cookie whatever the browser had
    GET  /sign-out            asks; POST ends the session here, and at the issuer if it supports that
    GET  /signed-out          confirms the sign-out
    POST /sign-in/backchannel from the issuer: a user has signed out there (Back-Channel Logout 1.0)

The issuer is trusted for its users' identity (`deputize.core.web.signin.issuer.user_at`). The user here equals the user
that a `ResourceServer` finds in a token of the same issuer, so the person at a link can only be the user of the call.
The access token that comes with the code is neither used nor stored.
"""

from __future__ import annotations

import base64
import hmac
import logging
import re
import secrets
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import Response

from deputize.core.base_deputy import BaseDeputy
from deputize.core.engine import FixedPages
from deputize.core.errors import InvalidInput, ProviderUnavailable, SettingsError
from deputize.core.failures import Kind
from deputize.core.oauth import messages as flow
from deputize.core.oauth.app import App
from deputize.core.oauth.endpoint import Endpoint, Refusal
from deputize.core.oauth.id_token import claims_of
from deputize.core.oauth.pkce import challenge_of
from deputize.core.oauth.provider import ApiRules, Identity, OAuthEndpoints, Provider
from deputize.core.value_object import ValueObject, frozen
from deputize.core.vault.grant import Secret, User
from deputize.core.web.cookies import Cookies, cookies_for
from deputize.core.web.pages import texts
from deputize.core.web.pages.rendering import root_of, see_other
from deputize.core.web.pages.return_to import ReturnTo
from deputize.core.web.pages.site import SIGN_OUT, Page, Site, current_path, fields_of
from deputize.core.web.signin.back_channel_logout import Logout, read_logout
from deputize.core.web.signin.issuer import Issuer, user_at
from deputize.core.web.signin.sign_in_sessions import IDLE_SECONDS, MAX_SESSION_SECONDS, Sessions
from deputize.core.web.signing_key import sign

log = logging.getLogger("deputize.web")

PATH: Final = "/sign-in"
NOT_KEPT: Final = {"cache-control": "no-store"}
_HERE: Final = ReturnTo.of(["/"])
SIGN_IN_TTL: Final = 600
"""Seconds that a user may take at the issuer."""
_COOKIE: Final = re.compile(r"([A-Za-z0-9_-]{43})\.([0-9]{1,12})\.([A-Za-z0-9_=-]*)\.([0-9a-f]{64})")


@frozen
class SignInRequest(ValueObject):
    """A sign-in that has begun: it binds the browser to the issuer's response (login CSRF, replay).

    Nothing is stored on the server, because anybody may begin one. The browser keeps one signed cookie with a random
    value, the time and the target page; ``state``, ``nonce`` and PKCE's verifier are keyed digests of that random
    value, each for its own purpose. So a code that was issued to another browser is useless in this one, and a copied
    cookie reveals neither the verifier nor the nonce. ``key``: the vault's own for the web. ``target``: a checked path.
    """

    key: bytes
    value: str
    began: int
    target: str

    @classmethod
    def new(cls, key: bytes, now: float, target: str) -> SignInRequest:
        """Return a sign-in that begins now (Unix seconds)."""
        return cls(key, secrets.token_urlsafe(32), int(now), target)

    @classmethod
    def read(cls, key: bytes, now: float, cookie: str, state: str) -> SignInRequest | None:
        """Return the unexpired sign-in that this browser began and to which this ``state`` belongs, or None."""
        found = _COOKIE.fullmatch(cookie)
        if found is None:
            return None
        signed = hmac.compare_digest(_signature(key, found[1], found[2], found[3]), found[4])
        if not signed or not 0 <= now - int(found[2]) + 1 <= SIGN_IN_TTL:
            return None
        target = base64.urlsafe_b64decode(found[3]).decode()
        request = cls(key, found[1], int(found[2]), target)
        return request if hmac.compare_digest(request.state.reveal().encode(), state.encode()) else None

    @property
    def cookie(self) -> str:
        """The value of the browser's cookie."""
        target = base64.urlsafe_b64encode(self.target.encode()).decode()
        parts = self.value, str(self.began), target
        return ".".join((*parts, _signature(self.key, *parts)))

    @property
    def state(self) -> Secret:
        """The state of RFC 6749 10.12."""
        return Secret(sign(self.key, "sign-in state", self.value))

    @property
    def nonce(self) -> str:
        """The nonce of OpenID Connect Core 3.1.2.1."""
        return sign(self.key, "sign-in nonce", self.value)

    @property
    def verifier(self) -> Secret:
        """The code verifier of RFC 7636 4.1."""
        return Secret(sign(self.key, "sign-in verifier", self.value))


def _signature(key: bytes, *parts: str) -> str:
    return sign(key, "sign-in cookie", *parts)


class SignIn:
    """Sign-in at one issuer, and the `UserVerifier` of pages that use it.

    ``issuer``: its address exactly as the issuer spells it, or the `Issuer` shared with a resource server.
    ``client_id``, ``client_secret``: the credentials of a client with the redirect URI ``{base_url}/sign-in/callback``
    (and ``{base_url}/signed-out`` for sign-outs, ``{base_url}/sign-in/backchannel`` as its ``backchannel_logout_uri``).
    ``subject``: the claim of an id_token with the user id, which the issuer gives to no other user: ``oid`` at Entra,
    whose ``sub`` differs from client to client. ``idle``, ``lasts``: seconds until a session ends. Raises
    `SettingsError` in local mode, and for an invalid issuer address.
    """

    def __init__(
        self,
        deputy: BaseDeputy,
        *,
        issuer: Issuer | str,
        client_id: str,
        client_secret: Secret | None = None,
        subject: str = "sub",
        idle: float = IDLE_SECONDS,
        lasts: float = MAX_SESSION_SECONDS,
    ) -> None:
        if not isinstance(deputy.pages, FixedPages):
            raise SettingsError(
                "Sign-in is not available in local mode, which has one user.",
                hint="Set DEPUTIZE_BASE_URL to the address of the pages.",
            )
        self.issuer = issuer if isinstance(issuer, Issuer) else Issuer(issuer, deputy.http, deputy.clock)
        self.app = App("sign-in", client_id, client_secret)
        self.deputy, self.subject, self._base = deputy, subject, deputy.pages.url.rstrip("/")
        self.sessions = Sessions(deputy.vault, self.issuer.url, deputy.clock, idle, lasts)
        self.path: Final = urlsplit(self._base).path + PATH
        """The page that signs people in, for ``pages_app(sign_in=...)`` and for your own links."""
        self.pages: Final = (
            Page("GET", PATH, self._start),
            Page("GET", f"{PATH}/callback", self._finish),
            Page("GET", SIGN_OUT, self._ask),
            Page("POST", SIGN_OUT, self._end),
            Page("GET", "/signed-out", self._signed_out),
            Page("POST", f"{PATH}/backchannel", self._handle_logout),
        )

    async def __call__(self, request: Request) -> User | None:
        """Return the user who is signed in at this browser, or None."""
        return await self.sessions.user(request.cookies.get(_session(self._cookies()), ""))

    # ------------------------------------------------------------- in

    async def _start(self, site: Site, request: Request) -> Response:
        target = request.query_params.get("next", "")
        target = target if _HERE.allows(target) else f"{root_of(request)}/connections"
        if await self(request):
            return see_other(target)
        asked = SignInRequest.new(site.key, self.deputy.clock(), target)
        provider = await self._provider()
        answer = see_other(
            flow.authorize_url(
                provider,
                self.app,
                redirect_uri=self._redirect_uri,
                scopes=frozenset(),
                state=asked.state,
                challenge=challenge_of(asked.verifier.reveal()),
                nonce=asked.nonce,
            )
        )
        cookies = self._cookies()
        cookies.put(answer, cookies.nonce(asked.state.reveal()), asked.cookie, SIGN_IN_TTL)
        return answer

    async def _finish(self, site: Site, request: Request) -> Response:
        given, cookies = request.query_params, self._cookies()
        state = given.get("state", "")
        name = cookies.nonce(state)
        asked = SignInRequest.read(site.key, self.deputy.clock(), request.cookies.get(name, ""), state)
        if asked is None or len(given.multi_items()) != len(given):
            raise InvalidInput("This sign-in did not begin in this browser.", fix_by="user", reason="state")
        answer = await self._finish_sign_in(site, request, asked, flow.parse_callback(given))
        cookies.drop(answer, name)
        return answer

    async def _finish_sign_in(
        self, site: Site, request: Request, asked: SignInRequest, back: flow.Callback
    ) -> Response:
        """Finish a sign-in that this browser began: start a session, or show why there is none."""
        provider = await self._provider()
        issuer = provider.oauth.issuer
        if back.iss != issuer and (back.iss or provider.oauth.iss_required):  # RFC 9207 2.4, before all else
            log.warning("A sign-in at %s was answered by another issuer.", issuer)
            return site.refusal_page(request)
        if back.code is None:
            log.info("A sign-in at %s ended there: %s", issuer, back.error[:60])
            return site.message_page(request, 403, texts.NOT_SIGNED_IN)
        token = await self._id_token(provider, back.code, asked)
        user = await self._user(provider, token, asked) if token else None
        if token is None or user is None:
            return site.message_page(request, 403, texts.NOT_SIGNED_IN)
        cookies = self._cookies()
        await self.sessions.end(request.cookies.get(_session(cookies), ""))
        answer = see_other(asked.target)
        cookies.put(answer, _session(cookies), await self.sessions.begin(user, token), int(self.sessions.lasts))
        return answer

    async def _id_token(self, provider: Provider, code: Secret, asked: SignInRequest) -> Secret | None:
        """Exchange the code for an id_token; None if the issuer refuses. Raises `ProviderUnavailable` in an outage."""
        endpoint = Endpoint(self.issuer.http, provider, self.app, self.deputy.clock)
        try:
            tokens = await endpoint.exchange(code, asked.verifier, self._redirect_uri, asked.nonce)
        except Refusal as refused:
            if refused.outcome.kind in (Kind.TRANSIENT, Kind.RATE_LIMITED):
                raise ProviderUnavailable(f"{provider.label} cannot answer now.") from None
            return None
        if tokens.id_token is None:
            log.warning("%s gave no id_token: does the client have the scope openid?", provider.oauth.issuer)
        return tokens.id_token

    async def _user(self, provider: Provider, token: Secret, asked: SignInRequest) -> User | None:
        """Return the user of a valid id_token (OpenID Connect Core 3.1.3.7), or None."""
        await self.issuer.claims(token, provider.oauth.id_token_algs)  # so that a new key is known
        claims = claims_of(provider, self.app, token, asked.nonce, await self.issuer.keys(), self.deputy.clock())
        if isinstance(claims, str):
            log.warning("The id_token of %s %s.", provider.oauth.issuer, claims)
            return None
        return user_at(provider.oauth.issuer, claims.get(self.subject))

    # ------------------------------------------------------------- out

    async def _ask(self, site: Site, request: Request) -> Response:
        user = await self(request)
        if user is None:
            return see_other(f"{root_of(request)}/signed-out")
        local = " http:" if self.issuer.url.startswith("http:") else ""
        return await site.with_forms(
            request, "sign_out.html", user, f"'self' https:{local}", action=current_path(request)
        )

    async def _end(self, site: Site, request: Request) -> Response:
        """End the session at the pages first, whatever the issuer does then (RP-Initiated Logout 1.0 2)."""
        if (user := await self(request)) is None:
            return see_other(f"{root_of(request)}/signed-out")
        await site.form(request, user)
        cookies = self._cookies()
        token = await self.sessions.end(request.cookies.get(_session(cookies), ""))
        answer = see_other(await self._end_session_url(token) or f"{root_of(request)}/signed-out")
        cookies.drop(answer, _session(cookies))
        return answer

    async def _end_session_url(self, token: Secret | None) -> str:
        """Return the address that ends the session at the issuer, or "" if it has none or cannot be reached."""
        try:
            key = self.issuer.endpoint(await self.issuer.metadata(), "end_session_endpoint")
        except ProviderUnavailable:
            return ""
        back = {"client_id": self.app.client_id, "post_logout_redirect_uri": f"{self._base}/signed-out"}
        hint = {"id_token_hint": token.reveal()} if token else {}
        return key + ("&" if "?" in key else "?") + urlencode(back | hint) if key else ""

    async def _signed_out(self, site: Site, request: Request) -> Response:
        return site.message_page(request, 200, texts.SIGNED_OUT)

    async def _handle_logout(self, site: Site, request: Request) -> Response:
        """Handle a back-channel logout: end the user's sessions here, and the grants that came from them.

        The reason for refusing a token is in the log, not in the reply (2.8). Raises `ProviderUnavailable` while no key
        is available.
        """
        found = await self._logout(request)
        if not isinstance(found, str) and not await self.sessions.is_used(found):
            whose = await self.sessions.log_out(found)
            named = user_at(self.issuer.url, found.subject) if self.subject == "sub" else None
            for user in {*whose, *filter(None, [named])}:
                await self.deputy.sources.session_ended(user)
            await self.sessions.mark_used(found)
            return Response(status_code=200, headers=NOT_KEPT)
        why = found if isinstance(found, str) else "was used before"
        log.warning("A logout token of %s %s.", self.issuer.url, why)
        return Response(status_code=400, headers=NOT_KEPT)

    async def _logout(self, request: Request) -> Logout | str:
        """Return the logout that the issuer sent, or the reason why it is refused."""
        try:
            token = Secret((await fields_of(request)).get("logout_token", ""))
        except InvalidInput:
            return "is in no form"
        provider = await self._provider()
        claims = await self.issuer.claims(token, provider.oauth.id_token_algs or frozenset({"RS256"}))
        if isinstance(claims, str):
            return claims
        return read_logout(token, claims, self.issuer.url, self.app.client_id, self.deputy.clock())

    # ------------------------------------------------------------- where

    @property
    def _redirect_uri(self) -> str:
        return f"{self._base}{PATH}/callback"

    def _cookies(self) -> Cookies:
        return cookies_for(self._base, self.deputy.vault.keys.web)

    async def _provider(self) -> Provider:
        """Return the issuer as an authorization server. Raises `SettingsError` if users cannot sign in there."""
        return sign_in_at(self.issuer, await self.issuer.metadata(), self.app)


def sign_in_at(issuer: Issuer, metadata: Mapping[str, Any], app: App) -> Provider:
    """Return the sign-in provider of an issuer's metadata. Raises `SettingsError` if this client cannot use it."""
    ends = {name: issuer.endpoint(metadata, name) for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")}
    if missing := [name for name, url in ends.items() if not url]:
        raise SettingsError(f"Users cannot sign in at {issuer.url}: its metadata has no {missing[0]}.")
    if not app.client_secret and "S256" not in metadata.get("code_challenge_methods_supported", ()):
        raise SettingsError(
            f"{issuer.url} does not say that it supports PKCE with S256, so a client needs a secret there."
        )
    methods = metadata.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    algs = metadata.get("id_token_signing_alg_values_supported", ["RS256"])
    return Provider(
        name="sign-in",
        label=urlsplit(issuer.url).netloc,
        oauth=OAuthEndpoints(
            authorize_url=ends["authorization_endpoint"],
            token_url=ends["token_endpoint"],
            jwks_url=ends["jwks_uri"],
            id_token_algs=frozenset(alg for alg in algs if isinstance(alg, str)),
            issuer=issuer.url,
            iss_required=metadata.get("authorization_response_iss_parameter_supported") is True,
            client_auth="basic" if "client_secret_basic" in methods else "post",
            always_scopes=("openid",),
        ),
        apis=ApiRules({}, frozenset(), Identity("", "{sub}", "{sub}")),
        plain_http=issuer.url.startswith("http:"),
    )


def _session(cookies: Cookies) -> str:
    return f"{cookies.name}-session"
