"""The protocol without I/O: build what is sent to a provider, read what comes back. In the order it happens.

Requests are `httpx.Request` objects that something else sends; parameters go through Authlib's functions. Sources:
RFC 6749 (4.1, 5, 6), RFC 7636, RFC 7009, RFC 9126, RFC 9207.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import httpx

from deputize.core.errors import ProviderUnavailable
from deputize.core.oauth.client_auth import AGENT, basic, bearer, form_request, secret_of
from deputize.core.oauth.provider import App, OAuthEndpoints, Permissions, Provider
from deputize.core.oauth.token_reply import Tokens as Tokens
from deputize.core.oauth.token_reply import parse_tokens as parse_tokens
from deputize.core.oauth.token_reply import seconds, usable
from deputize.core.value_object import Printed, ValueObject, frozen
from deputize.core.vault.grant import Account, Secret

MAX_URI: Final = 1024
"""Characters of a request URI (RFC 9126): a browser must be able to carry it."""


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
    """Where the user's browser goes. RFC 6749 4.1.1, with PKCE S256 (RFC 7636 4.3) unless the app cannot have it.

    ``choose``: the user is to choose an account, even where only one is signed in. ``nonce``: what an id_token has to
    repeat (OpenID Connect Core 3.1.2.1). ``claims``: what the provider has said that it wants to be asked for (5.5).
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
    """An authorization request, as `authorize_url` made it, from server to server. RFC 9126 2.1."""
    asked = {name: value for name, value in parse_qsl(urlsplit(url.reveal()).query) if name != "client_id"}
    return form_request(provider.oauth.par_url, provider, app, urlencode(asked), names_client=True)


def parse_pushed(provider: Provider, reply: Any) -> str:
    """The request URI of a reply to `push`. RFC 9126 2.2. Raises `ProviderUnavailable` where it has none."""
    uri = reply.get("request_uri") if isinstance(reply, Mapping) else None
    if not usable(uri) or len(uri) > MAX_URI:
        raise ProviderUnavailable(f"{provider.label} gave no usable address of the request that it was sent.")
    return uri


def pushed_url(provider: Provider, app: App, request_uri: str) -> str:
    """Where the user's browser goes with a request that was pushed. RFC 9126 4."""
    joint = "&" if "?" in provider.oauth.authorize_url else "?"
    return provider.oauth.authorize_url + joint + urlencode({"client_id": app.client_id, "request_uri": request_uri})


@frozen
class Callback(ValueObject):
    """What the browser brought back. ``code`` is secret until it is spent, ``state`` until it is used up."""

    state: Secret
    code: Secret | None
    error: str
    iss: str


def parse_callback(params: Mapping[str, str]) -> Callback:
    """RFC 6749 4.1.2 and 4.1.2.1; RFC 9207 2 for ``iss``."""
    code = params.get("code", "")
    return Callback(
        Secret(params.get("state", "")), Secret(code) if code else None, params.get("error", ""), params.get("iss", "")
    )


def exchange(provider: Provider, app: App, *, code: Secret, verifier: Secret, redirect_uri: str) -> httpx.Request:
    """Code for tokens. RFC 6749 4.1.3, RFC 7636 4.5."""
    proof = {"code_verifier": verifier.reveal()} if provider.oauth.uses_pkce(app) else {}
    params = {"redirect_uri": redirect_uri, "code": code.reveal(), **proof}
    return _token_request(provider, app, "authorization_code", **params)


def refresh(provider: Provider, app: App, *, refresh_token: Secret) -> httpx.Request:
    """Refresh token for tokens, without ``scope``: it could only narrow the grant. RFC 6749 6."""
    return _token_request(provider, app, "refresh_token", refresh_token=refresh_token.reveal())


def revoke(provider: Provider, app: App, *, token: Secret, alone: bool = False) -> httpx.Request:
    """End a token: RFC 7009 2.1, or as the provider wants it. ``alone``: and no other, by ``revoke_one_url``."""
    oauth = provider.oauth
    place = oauth.revoke_one_url if alone and oauth.revoke_one_url else oauth.revoke_url
    url = place.replace("{client_id}", quote(app.client_id, safe=""))
    if oauth.revoke_by == "bearer":
        return httpx.Request("POST", url, headers=bearer(token), content=b"")
    named = token.reveal()
    if oauth.revoke_by == "app":
        shown = basic(app.client_id, secret_of(app))
        headers = {"authorization": shown, "accept": "application/json", "user-agent": AGENT}
        return httpx.Request("DELETE", url, headers=headers, json={"access_token": named})
    return form_request(url, provider, app, f"token={quote(named, safe='')}")


def is_of_app(provider: Provider, app: App, *, token: Secret) -> httpx.Request | None:
    """Is this token one of the app's? "Check a token" (docs.github.com/en/rest/apps/oauth-applications), at the address
    where the app also ends one; None where the provider tells nobody."""
    oauth = provider.oauth
    if oauth.revoke_by != "app":
        return None
    url = (oauth.revoke_one_url or oauth.revoke_url).replace("{client_id}", quote(app.client_id, safe=""))
    headers = {"authorization": basic(app.client_id, secret_of(app)), "accept": "application/json", "user-agent": AGENT}
    return httpx.Request("POST", url, headers=headers, json={"access_token": token.reveal()})


def revoke_leaked(provider: Provider, tokens: Iterable[Secret]) -> httpx.Request:
    """End tokens as anybody may who has found them; by ``revoke_leaked_url``. Names neither app nor user."""
    headers = {"accept": "application/json", "user-agent": AGENT}
    content = {"credentials": [token.reveal() for token in tokens]}
    return httpx.Request("POST", provider.oauth.revoke_leaked_url, headers=headers, json=content)


def identity(provider: Provider, *, access_token: Secret) -> httpx.Request:
    """Whose account is it? OpenID Connect Core 5.3, or the provider's own way."""
    shape, headers = provider.apis.identity, bearer(access_token)
    if shape.json is not None:
        return httpx.Request(shape.method, shape.url, headers=headers, json=shape.json)
    return httpx.Request(shape.method, shape.url, headers=headers)


def key_set(provider: Provider) -> httpx.Request:
    """What its id_tokens are signed with. OpenID Connect Discovery 3, RFC 7517 5."""
    return httpx.Request("GET", provider.oauth.jwks_url, headers={"accept": "application/json", "user-agent": AGENT})


def permissions(shown: Permissions, page: int, *, access_token: Secret) -> httpx.Request:
    """What may this token do, where no scope says it? ``page``: from 1 on."""
    url = httpx.URL(shown.url)
    more = {} if page == 1 else {"page": str(page)}
    return httpx.Request("GET", url.copy_merge_params(more) if more else url, headers=bearer(access_token))


def by_grant(provider: Provider, app: App, grant_type: str, scopes: frozenset[str], **params: str) -> httpx.Request:
    """Something else than a code or a refresh token for tokens with these scopes. RFC 6749 4.5."""
    return _token_request(provider, app, grant_type, **params, **_scopes_asked(provider.oauth, scopes))


def _token_request(provider: Provider, app: App, grant_type: str, **params: str) -> httpx.Request:
    from authlib.oauth2.rfc6749.parameters import prepare_token_request

    body = prepare_token_request(grant_type, **params, **_resource(provider.oauth))
    return form_request(provider.oauth.token_url, provider, app, body)


def _resource(oauth: OAuthEndpoints) -> dict[str, str]:
    """What the tokens are to be good for: RFC 8707 2, in every request for a code or a token."""
    return {"resource": oauth.resource} if oauth.resource else {}


def device_codes(provider: Provider, app: App, *, scopes: frozenset[str]) -> httpx.Request:
    """A code for a machine without a browser. RFC 8628 3.1."""
    asked = {**_scopes_asked(provider.oauth, scopes), **_resource(provider.oauth)}
    return form_request(provider.oauth.device_url, provider, app, urlencode(asked))


def device_token(provider: Provider, app: App, *, code: Secret) -> httpx.Request:
    """Has the user entered it? RFC 8628 3.4."""
    return _token_request(provider, app, "urn:ietf:params:oauth:grant-type:device_code", device_code=code.reveal())


@frozen
class DeviceCodes(Printed):
    """A reply to `device_codes`: the code to ask with, and what the user enters where. Times in seconds."""

    code: Secret
    user_code: str
    address: str
    lifetime: float
    interval: float


def parse_device_codes(provider: Provider, reply: Any) -> DeviceCodes:
    """RFC 8628 3.2. Raises `ProviderUnavailable` for anything that no terminal should show, or no browser open."""
    codes = _device_codes(provider, reply if isinstance(reply, Mapping) else {})
    del reply
    if codes is None:
        raise ProviderUnavailable(f"{provider.label} gave no usable code for another device.")
    return codes


def _device_codes(provider: Provider, reply: Mapping[str, Any]) -> DeviceCodes | None:
    """The codes of a reply, if they can be used. Raises nothing: its frame has the code."""
    code, shown = reply.get("device_code"), reply.get("user_code")
    address = _own_address(provider, reply.get("verification_uri") or reply.get("verification_url"))
    if not usable(code) or not isinstance(shown, str) or not re.fullmatch(r"[A-Za-z0-9-]{4,20}", shown) or not address:
        return None
    interval = min(max(seconds(reply.get("interval"), 5.0), 1.0), 60.0)
    return DeviceCodes(Secret(code), shown, address, seconds(reply.get("expires_in"), 600.0), interval)


def _own_address(provider: Provider, url: Any) -> str:
    """The address, if it is https and on the host where this provider asks its users, or one that this leads to."""
    if not isinstance(url, str) or not re.fullmatch(r"https?://[A-Za-z0-9.:-]+(?:/[A-Za-z0-9._~/-]*)?", url):
        return ""
    if provider.plain_http and url.startswith("https://"):  # a stand-in: see `Provider.moved_to`
        url = f"{provider.oauth.authorize_origin}/{url.removeprefix('https://')}"
    parts = urlsplit(url)
    return url if f"{parts.scheme}://{parts.netloc}" == provider.oauth.authorize_origin else ""


def parse_identity(provider: Provider, reply: Any) -> tuple[Account, dict[str, str]]:
    """The account behind a token, and what else the provider says of it. Raises `ProviderUnavailable` without one."""
    found = provider.apis.identity.read(reply)
    if found is None:
        raise ProviderUnavailable(f"{provider.label} did not say whose account this is.")
    return found


def parse_permissions(provider: Provider, reply: Any) -> tuple[frozenset[str], bool]:
    """The rights in a reply, as ``name:level``, and whether there may be more on the next page.

    Raises `ProviderUnavailable` for a reply without any list of them.
    """
    found = provider.apis.permissions.read(reply) if provider.apis.permissions else None
    if found is None:
        raise ProviderUnavailable(f"{provider.label} did not say what this token may do.")
    return found
