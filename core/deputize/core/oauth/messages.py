"""The OAuth protocol without I/O: builds requests to a provider and parses its replies, in the order of a flow.

Requests are `httpx.Request` objects that another module sends; parameters go through Authlib's functions. Sources: RFC
6749 (4.1, 5, 6), RFC 7636, RFC 7009, RFC 9126, RFC 9207.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import httpx

from deputize.core.errors import ProviderUnavailable
from deputize.core.http.request import JSON_HEADERS
from deputize.core.oauth.client_auth import basic, bearer, form_request, secret_of
from deputize.core.oauth.credential import headers_of, url_of
from deputize.core.oauth.provider import App, OAuthEndpoints, Permissions, Provider
from deputize.core.oauth.token_reply import Tokens as Tokens
from deputize.core.oauth.token_reply import parse_tokens as parse_tokens
from deputize.core.oauth.token_reply import seconds, usable
from deputize.core.value_object import Printed, ValueObject, frozen
from deputize.core.vault.grant import Account, Secret

MAX_URI: Final = 1024
"""Characters of a request URI (RFC 9126), which a browser must be able to carry."""


def authorize_url(
    provider: Provider,
    app: App,
    *,
    redirect_uri: str,
    scopes: frozenset[str],
    state: Secret,
    challenge: str,
    login_hint: str = "",
    choose: bool = False,
    nonce: str = "",
    claims: str = "",
) -> str:
    """Return the authorization URL: RFC 6749 4.1.1, with PKCE S256 (RFC 7636 4.3) if the app supports it.

    ``choose``: let the user choose an account even if only one is signed in. ``nonce``: must be repeated in an id_token
    (OpenID Connect Core 3.1.2.1). ``claims``: the claims that the provider requires in the request (5.5).
    """
    from authlib.oauth2.rfc6749.parameters import prepare_grant_uri  # here: a read needs no authlib

    oauth = provider.oauth
    more = {**oauth.params, **oauth.params_consent, **(oauth.params_choose if choose else {})}
    more |= {**_scopes_asked(oauth, scopes), **_resource(oauth)}
    if login_hint and oauth.login_hint:
        more[oauth.login_hint] = login_hint
    if oauth.jwks_url and nonce:
        more["nonce"] = nonce
    if claims:
        more["claims"] = claims
    if oauth.uses_pkce(app):
        more |= {"code_challenge": challenge, "code_challenge_method": "S256"}
    url: str = prepare_grant_uri(
        oauth.authorize_url,
        client_id=app.client_id,
        response_type="code",
        redirect_uri=redirect_uri,
        state=state.reveal(),
        **more,
    )
    return url


def _scopes_asked(oauth: OAuthEndpoints, scopes: frozenset[str]) -> dict[str, str]:
    wanted = [*oauth.always_scopes, *sorted(scopes - set(oauth.always_scopes))]
    named = bool(oauth.scope_param and wanted)  # RFC 6749 3.3: an empty one is none
    return {oauth.scope_param: oauth.scope_separator.join(wanted)} if named else {}


def push(provider: Provider, app: App, url: Secret) -> httpx.Request:
    """Return the server-to-server request that pushes an authorization request (RFC 9126 2.1)."""
    asked = {name: value for name, value in parse_qsl(urlsplit(url.reveal()).query) if name != "client_id"}
    return form_request(provider.oauth.par_url, provider, app, urlencode(asked), names_client=True)


def parse_pushed(provider: Provider, reply: Any) -> str:
    """Return the request URI in a reply to `push` (RFC 9126 2.2). Raises `ProviderUnavailable` if there is none."""
    uri = reply.get("request_uri") if isinstance(reply, Mapping) else None
    if not usable(uri) or len(uri) > MAX_URI:
        raise ProviderUnavailable(f"{provider.label} gave no usable address of the request that it was sent.")
    return uri


def pushed_url(provider: Provider, app: App, request_uri: str) -> str:
    """Return the URL that the browser opens for a pushed request (RFC 9126 4)."""
    joint = "&" if "?" in provider.oauth.authorize_url else "?"
    return provider.oauth.authorize_url + joint + urlencode({"client_id": app.client_id, "request_uri": request_uri})


@frozen
class Callback(ValueObject):
    """The parameters with which the browser returned. ``code`` and ``state`` are secret until they are used."""

    state: Secret
    code: Secret | None
    error: str
    iss: str


def parse_callback(params: Mapping[str, str]) -> Callback:
    """Return the parameters of a callback: RFC 6749 4.1.2 and 4.1.2.1; RFC 9207 2 for ``iss``."""
    code = params.get("code", "")
    return Callback(
        Secret(params.get("state", "")), Secret(code) if code else None, params.get("error", ""), params.get("iss", "")
    )


def exchange(provider: Provider, app: App, *, code: Secret, verifier: Secret, redirect_uri: str) -> httpx.Request:
    """Return the request for tokens with a code (RFC 6749 4.1.3, RFC 7636 4.5)."""
    proof = {"code_verifier": verifier.reveal()} if provider.oauth.uses_pkce(app) else {}
    params = {"redirect_uri": redirect_uri, "code": code.reveal(), **proof}
    return _token_request(provider, app, "authorization_code", **params)


def refresh(provider: Provider, app: App, *, refresh_token: Secret) -> httpx.Request:
    """Return the request for tokens with a refresh token (RFC 6749 6), without ``scope``, which could only narrow."""
    return _token_request(provider, app, "refresh_token", refresh_token=refresh_token.reveal())


def revoke(provider: Provider, app: App, *, token: Secret, alone: bool = False) -> httpx.Request:
    """Return a revocation request: RFC 7009 2.1, or the provider's own. ``alone``: use ``revoke_one_url``."""
    oauth = provider.oauth
    place = oauth.revoke_one_url if alone and oauth.revoke_one_url else oauth.revoke_url
    url = place.replace("{client_id}", quote(app.client_id, safe=""))
    if oauth.revoke_by == "bearer":
        return httpx.Request("POST", url, headers=bearer(token), content=b"")
    named = token.reveal()
    if oauth.revoke_by == "app":
        shown = basic(app.client_id, secret_of(app))
        headers = {"authorization": shown, **JSON_HEADERS}
        return httpx.Request("DELETE", url, headers=headers, json={"access_token": named})
    return form_request(url, provider, app, f"token={quote(named, safe='')}")


def is_of_app(provider: Provider, app: App, *, token: Secret) -> httpx.Request | None:
    """Return the request that checks whether a token is the app's, or None if the provider has no such request. "Check
    a token" (docs.github.com/en/rest/apps/oauth-applications), at the URL that also revokes."""
    oauth = provider.oauth
    if oauth.revoke_by != "app":
        return None
    url = (oauth.revoke_one_url or oauth.revoke_url).replace("{client_id}", quote(app.client_id, safe=""))
    headers = {"authorization": basic(app.client_id, secret_of(app)), **JSON_HEADERS}
    return httpx.Request("POST", url, headers=headers, json={"access_token": token.reveal()})


def revoke_leaked(provider: Provider, tokens: Iterable[Secret]) -> httpx.Request:
    """Return the request that revokes leaked tokens at ``revoke_leaked_url``. It names neither app nor user."""
    content = {"credentials": [token.reveal() for token in tokens]}
    return httpx.Request("POST", provider.oauth.revoke_leaked_url, headers=JSON_HEADERS, json=content)


def identity(provider: Provider, *, access_token: Secret) -> httpx.Request:
    """Return the request for the token's account: OpenID Connect Core 5.3, or the provider's own."""
    shape, headers, url = provider.apis.identity, bearer(access_token), provider.apis.identity.url
    if credential := provider.apis.credential:
        shown = dict(headers_of(credential, access_token))
        headers = {name: value for name, value in headers.items() if name != "authorization"} | shown
        url = url_of(credential, url, access_token)
    if shape.json is not None:
        return httpx.Request(shape.method, url, headers=headers, json=shape.json)
    return httpx.Request(shape.method, url, headers=headers)


def key_set(provider: Provider) -> httpx.Request:
    """Return the request for the keys that sign id_tokens (OpenID Connect Discovery 3, RFC 7517 5)."""
    return httpx.Request("GET", provider.oauth.jwks_url, headers=JSON_HEADERS)


def permissions(shown: Permissions, page: int, *, access_token: Secret) -> httpx.Request:
    """Return the request for a token's permissions, at a provider without scopes. ``page``: page number from 1."""
    url = httpx.URL(shown.url)
    more = {} if page == 1 else {"page": str(page)}
    return httpx.Request("GET", url.copy_merge_params(more) if more else url, headers=bearer(access_token))


def by_grant(provider: Provider, app: App, grant_type: str, scopes: frozenset[str], **params: str) -> httpx.Request:
    """Return a token request by another grant type, with these scopes (RFC 6749 4.5)."""
    return _token_request(provider, app, grant_type, **params, **_scopes_asked(provider.oauth, scopes))


def _token_request(provider: Provider, app: App, grant_type: str, **params: str) -> httpx.Request:
    from authlib.oauth2.rfc6749.parameters import prepare_token_request

    body = prepare_token_request(grant_type, **params, **_resource(provider.oauth))
    return form_request(provider.oauth.token_url, provider, app, body)


def _resource(oauth: OAuthEndpoints) -> dict[str, str]:
    """Return the ``resource`` parameter (RFC 8707 2), which every request for a code or token carries."""
    return {"resource": oauth.resource} if oauth.resource else {}


def device_codes(provider: Provider, app: App, *, scopes: frozenset[str]) -> httpx.Request:
    """Return the request for a device code (RFC 8628 3.1)."""
    asked = {**_scopes_asked(provider.oauth, scopes), **_resource(provider.oauth)}
    return form_request(provider.oauth.device_url, provider, app, urlencode(asked))


def device_token(provider: Provider, app: App, *, code: Secret) -> httpx.Request:
    """Return the request that polls for the tokens of a device code (RFC 8628 3.4)."""
    return _token_request(provider, app, "urn:ietf:params:oauth:grant-type:device_code", device_code=code.reveal())


@frozen
class DeviceCodes(Printed):
    """A reply to `device_codes`: the code for polling, and the code and address for the user. Times in seconds."""

    code: Secret
    user_code: str
    address: str
    lifetime: float
    interval: float


def parse_device_codes(provider: Provider, reply: Any) -> DeviceCodes:
    """Return the codes in a reply (RFC 8628 3.2). Raises `ProviderUnavailable` if it is unsafe to display."""
    codes = _device_codes(provider, reply if isinstance(reply, Mapping) else {})
    del reply
    if codes is None:
        raise ProviderUnavailable(f"{provider.label} gave no usable code for another device.")
    return codes


def _device_codes(provider: Provider, reply: Mapping[str, Any]) -> DeviceCodes | None:
    """Return the codes in a reply, or None for unusable codes. An exception would keep the code in its frame."""
    code, shown = reply.get("device_code"), reply.get("user_code")
    address = _own_address(provider, reply.get("verification_uri") or reply.get("verification_url"))
    if not usable(code) or not isinstance(shown, str) or not re.fullmatch(r"[A-Za-z0-9-]{4,20}", shown) or not address:
        return None
    interval = min(max(seconds(reply.get("interval"), 5.0), 1.0), 60.0)
    return DeviceCodes(Secret(code), shown, address, seconds(reply.get("expires_in"), 600.0), interval)


def _own_address(provider: Provider, url: Any) -> str:
    """Return the URL if it is https on the host of the provider's consent page, else ""."""
    if not isinstance(url, str) or not re.fullmatch(r"https?://[A-Za-z0-9.:-]+(?:/[A-Za-z0-9._~/-]*)?", url):
        return ""
    if provider.plain_http and url.startswith("https://"):  # a stand-in: see `Provider.moved_to`
        url = f"{provider.oauth.authorize_origin}/{url.removeprefix('https://')}"
    parts = urlsplit(url)
    return url if f"{parts.scheme}://{parts.netloc}" == provider.oauth.authorize_origin else ""


def parse_identity(provider: Provider, reply: Any) -> tuple[Account, dict[str, str]]:
    """Return the account of a token and its extra fields. Raises `ProviderUnavailable` if there is no account."""
    found = provider.apis.identity.read(reply)
    if found is None:
        raise ProviderUnavailable(f"{provider.label} did not say whose account this is.")
    return found


def parse_permissions(provider: Provider, reply: Any) -> tuple[frozenset[str], bool]:
    """Return the permissions in a reply, as ``name:level``, and whether the next page may have more.

    Raises `ProviderUnavailable` for a reply without a list of them.
    """
    found = provider.apis.permissions.read(reply) if provider.apis.permissions else None
    if found is None:
        raise ProviderUnavailable(f"{provider.label} did not say what this token may do.")
    return found
