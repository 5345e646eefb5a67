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
The access token that comes with the code is not stored. It is used once, if roles need a claim that the id_token lacks.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import httpx
from starlette.requests import Request
from starlette.responses import Response

from deputize.core.base_deputy import BaseDeputy
from deputize.core.errors import InvalidInput, ProviderUnavailable, SettingsError
from deputize.core.failures import Kind
from deputize.core.oauth import messages as flow
from deputize.core.oauth.app import App
from deputize.core.oauth.client_auth import bearer
from deputize.core.oauth.endpoint import Endpoint, Refusal
from deputize.core.oauth.id_token import CLOCK_SKEW_SECONDS, claims_of
from deputize.core.oauth.pkce import challenge_of
from deputize.core.oauth.provider import ApiRules, Identity, OAuthEndpoints, Provider
from deputize.core.vault.grant import Secret
from deputize.core.web.pages.site import Page, Site, fields_of
from deputize.core.web.signin.back_channel_logout import Logout, read_logout
from deputize.core.web.signin.base_sign_in import BaseSignIn, SignInRequest
from deputize.core.web.signin.issuer import Issuer, claims_fault, subject_of, user_at
from deputize.core.web.signin.sign_in_sessions import NAMES, Session

log = logging.getLogger("deputize.web")

NOT_KEPT: Final = {"cache-control": "no-store"}


class SignIn(BaseSignIn):
    """Sign-in at one OpenID Connect issuer.

    ``issuer``: its address exactly as the issuer spells it, or the `Issuer` shared with a resource server.
    ``client_id``, ``client_secret``: the credentials of a client with the redirect URI ``{base_url}/sign-in/callback``
    (and ``{base_url}/signed-out`` for sign-outs, ``{base_url}/sign-in/backchannel`` as its ``backchannel_logout_uri``).
    With a ``name``, these are ``/sign-in/{name}/callback`` and ``/sign-in/{name}/backchannel``. ``subject``: the claim
    of an id_token with the user id, which the issuer gives to no other user: ``oid`` at Entra, whose ``sub`` differs
    from client to client. ``scopes``: more scopes to request, if the issuer needs one for its groups. ``required``:
    claims that an id_token must have, with these values. ``more``: see `BaseSignIn`. Raises `SettingsError` in local
    mode, and for an invalid issuer address.
    """

    def __init__(
        self,
        deputy: BaseDeputy,
        *,
        issuer: Issuer | str,
        client_id: str,
        client_secret: Secret | None = None,
        subject: str = "sub",
        scopes: Iterable[str] = (),
        required: Mapping[str, str] = MappingProxyType({}),
        **more: Any,
    ) -> None:
        self.issuer = issuer if isinstance(issuer, Issuer) else Issuer(issuer, deputy.http, deputy.clock)
        self.app = App("sign-in", client_id, client_secret)
        self.subject, self.scopes, self.required = subject, frozenset(scopes), required
        super().__init__(deputy, issuer_id=self.issuer.url, **more)

    def protocol_pages(self) -> tuple[Page, ...]:
        return (
            Page("GET", f"{self.at}/callback", self._finish),
            Page("POST", f"{self.at}/backchannel", self._handle_logout),
        )

    @property
    def is_local(self) -> bool:
        return self.issuer.url.startswith("http:")

    # ------------------------------------------------------------- in

    async def issuer_address(self, asked: SignInRequest) -> str:
        url = flow.authorize_url(
            await self._provider(),
            self.app,
            redirect_uri=self._redirect_uri,
            scopes=self.scopes,
            state=asked.state,
            challenge=challenge_of(asked.verifier.reveal()),
            nonce=asked.nonce,
        )
        if not asked.step_up or self.step_up is None:
            return url
        acr = {"acr_values": " ".join(self.step_up.acr_values)} if self.step_up.acr_values else {}
        return f"{url}&{urlencode({'prompt': 'login', 'max_age': int(self.step_up.max_age), **acr})}"

    async def _finish(self, site: Site, request: Request) -> Response:
        given = request.query_params
        asked = self.begun(request, given.get("state", ""))
        if len(given.multi_items()) != len(given):
            raise InvalidInput("The issuer's answer names a parameter twice.", fix_by="user", reason="state")
        back, provider = flow.parse_callback(given), await self._provider()
        issuer = provider.oauth.issuer
        if back.iss != issuer and (back.iss or provider.oauth.iss_required):  # RFC 9207 2.4, before all else
            log.warning("A sign-in at %s was answered by another issuer.", issuer)
            answer, cookies = site.refusal_page(request), self.cookies()
            cookies.drop(answer, cookies.nonce(asked.state.reveal()))
            return answer
        if back.code is None:
            log.info("A sign-in at %s ended there: %r", issuer, back.error[:60])
            return await self.finish(site, request, asked, None)
        tokens = await self._tokens(provider, back.code, asked)
        return await self.finish(site, request, asked, await self._session(provider, tokens, asked) if tokens else None)

    async def _tokens(self, provider: Provider, code: Secret, asked: SignInRequest) -> flow.Tokens | None:
        """Exchange the code; None if the issuer refuses. Raises `ProviderUnavailable` in an outage."""
        endpoint = Endpoint(self.issuer.http, provider, self.app, self.deputy.clock)
        try:
            return await endpoint.exchange(code, asked.verifier, self._redirect_uri, asked.nonce)
        except Refusal as refused:
            if refused.outcome.kind in (Kind.TRANSIENT, Kind.RATE_LIMITED):
                raise ProviderUnavailable(f"{provider.label} cannot answer now.") from None
            return None

    async def _session(self, provider: Provider, tokens: flow.Tokens, asked: SignInRequest) -> Session | None:
        """Return the session of a valid id_token (OpenID Connect Core 3.1.3.7), or None."""
        issuer, token = provider.oauth.issuer, tokens.id_token
        if token is None:
            log.warning("%s gave no id_token: does the client have the scope openid?", issuer)
            return None
        await self.issuer.claims(token, provider.oauth.id_token_algs)  # so that a new key is known
        now = self.deputy.clock()
        claims = claims_of(provider, self.app, token, asked.nonce, await self.issuer.keys(), now)
        fault = claims if isinstance(claims, str) else claims_fault(claims, self.required)
        if fault or isinstance(claims, str):
            log.warning("The id_token of %s %s.", issuer, fault)
            return None
        user = user_at(issuer, subject_of(claims, self.subject), self.tenant)
        if user is None:
            log.warning("The id_token of %s names nobody (%s).", issuer, self.subject)
            return None
        acr = claims.get("acr")
        return Session(
            user,
            self.roles.roles_of(await self._with_userinfo(claims, tokens.access)),
            {name: str(claims[name]) for name in NAMES if claims.get(name)},
            claims["iat"],
            _authenticated_at(claims, now),
            acr if isinstance(acr, str) else "",
            token,
        )

    async def _with_userinfo(self, claims: Mapping[str, Any], access: Secret) -> Mapping[str, Any]:
        """Return the claims, with those of the userinfo endpoint (OpenID Connect Core 5.3) if roles need more of them.

        Without an answer, the missing claims give no role.
        """
        wanted = {name for pairs in self.roles.entries.values() for name, _ in pairs}
        if all(name in claims or name.partition(".")[0] in claims for name in wanted):
            return claims
        try:
            url = self.issuer.endpoint(await self.issuer.metadata(), "userinfo_endpoint")
            shown = await self.issuer.json(httpx.Request("GET", url, headers=bearer(access))) if url else None
        except ProviderUnavailable:
            log.warning("%s did not answer for the claims that roles need.", self.issuer.url)
            shown = None
        if shown is None or shown.get("sub") != claims.get("sub"):  # 5.3.2
            return claims
        return {**shown, **claims}

    # ------------------------------------------------------------- out

    async def end_address(self, session: Session) -> str:
        try:
            key = self.issuer.endpoint(await self.issuer.metadata(), "end_session_endpoint")
        except ProviderUnavailable:
            return ""
        back = {"client_id": self.app.client_id, "post_logout_redirect_uri": f"{self.base}/signed-out"}
        hint = {"id_token_hint": session.id_token.reveal()} if session.id_token else {}
        return key + ("&" if "?" in key else "?") + urlencode(back | hint) if key else ""

    async def _handle_logout(self, site: Site, request: Request) -> Response:
        """Handle a back-channel logout: end the user's sessions here, and the grants that came from them.

        The reason for refusing a token is in the log, not in the reply (2.8). Raises `ProviderUnavailable` while no key
        is available.
        """
        found = await self._logout(request)
        if not isinstance(found, str) and await self.log_out(found, is_user=self.subject == "sub"):
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
        return f"{self.base}{self.at}/callback"

    async def _provider(self) -> Provider:
        """Return the issuer as an authorization server. Raises `SettingsError` if users cannot sign in there."""
        return sign_in_at(self.issuer, await self.issuer.metadata(), self.app)


def _authenticated_at(claims: Mapping[str, Any], now: float) -> float:
    """Return when the user last authenticated (Unix seconds), or 0.0 if no claim says so. A time in the future says
    nothing: the issuer's clock is wrong, and an old authentication must not pass for a new one."""
    at = claims.get("auth_time")
    if isinstance(at, bool) or not isinstance(at, int | float):
        return 0.0
    return min(float(at), now) if 0 < at <= now + CLOCK_SKEW_SECONDS else 0.0


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
