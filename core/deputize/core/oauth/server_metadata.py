"""Provider definitions from a server's metadata: RFC 8414 2, OpenID Connect Discovery 1.0 3.

Missing and unsupported features of the server are detected at the start, so that no consent fails later.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from deputize.core.errors import SettingsError
from deputize.core.oauth.app import ClientAuth
from deputize.core.oauth.dpop import ALG
from deputize.core.oauth.identity import NAMELESS
from deputize.core.oauth.jose import ALGS
from deputize.core.oauth.provider import ApiRules, Audience, Identity, OAuthEndpoints, Provider

_METHODS: Final[Mapping[str, ClientAuth]] = {
    "client_secret_post": "post",
    "client_secret_basic": "basic",
    "none": "none",
    "private_key_jwt": "private_key_jwt",
}

_WORD: Final = r"[!-~]{1,200}"
_SCOPE: Final = r"[!#-\[\]-~]{1,200}"  # RFC 6749 3.3
_MAX_SCOPES: Final = 500


def provider_from_metadata(
    issuer: str,
    metadata: Mapping[str, Any],
    *,
    name: str,
    label: str,
    api: Mapping[str, str],
    resource: str,
    par: bool,
    audience: Audience,
    dpop: bool,
    nameless: bool = False,
    plain_http: bool = False,
) -> Provider:
    """Return the provider definition. ``nameless``: it never identifies accounts. ``plain_http``: see `Provider`.

    Raises `SettingsError` for a server that cannot be used.
    """
    if "S256" not in _words(metadata, "code_challenge_methods_supported"):
        raise unusable_server(issuer, "does not say that it does PKCE with S256")
    _check(issuer, metadata)
    if dpop and ALG not in _words(metadata, "dpop_signing_alg_values_supported"):
        raise unusable_server(issuer, f"does not say that it takes proofs of possession signed by {ALG} (DPoP)")
    who, jwks = _url(metadata, "userinfo_endpoint"), _jwks(issuer, metadata, resource)
    scopes = scopes_of(metadata)
    offline = "offline_access" in scopes
    return Provider(
        name=name,
        label=label or name,
        oauth=OAuthEndpoints(
            authorize_url=_required_url(issuer, metadata, "authorization_endpoint"),
            csp_form_targets=("https:",),  # single sign-on of its customers may be anywhere
            token_url=_required_url(issuer, metadata, "token_endpoint"),
            par_url=_par(issuer, metadata, wanted=par),
            device_url="" if dpop else _url(metadata, "device_authorization_endpoint"),
            dpop=dpop,
            resource=resource,
            revoke_url=_url(metadata, "revocation_endpoint"),
            issuer=issuer,
            iss_required=metadata.get("authorization_response_iss_parameter_supported") is True,
            client_auth=_client_auth(issuer, metadata),
            client_auth_methods=frozenset(_words(metadata, "token_endpoint_auth_methods_supported")),
            client_auth_algs=frozenset(_words(metadata, "token_endpoint_auth_signing_alg_values_supported")),
            assertion_audience=audience,
            jwks_url=jwks,
            id_token_algs=frozenset(_words(metadata, "id_token_signing_alg_values_supported")),
            always_scopes=("openid", *(scope for scope in ("email", "profile", "offline_access") if scope in scopes)),
            params_consent={"prompt": "consent"} if offline else {},  # OpenID Connect Core 11 wants both
            login_hint="login_hint",
        ),
        apis=ApiRules(
            roots=api,
            hosts=frozenset(urlsplit(url).netloc for url in ("" if jwks and resource else who, *api.values()) if url),
            identity=NAMELESS
            if nameless
            else Identity(
                who if jwks else _required_url(issuer, metadata, "userinfo_endpoint"),
                "{sub}",
                "{email|preferred_username|name}",
            ),
        ),
        scope_descriptions={**{scope: scope for scope in scopes}, **_WORDS},
        more_scopes=True,
        plain_http=plain_http,
    )


def scopes_of(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the scopes in a server's metadata."""
    return usable_scopes(metadata.get("scopes_supported"))


def usable_scopes(listed: Any) -> tuple[str, ...]:
    """Return the valid scopes of a list (RFC 6749 3.3), each once, at most `_MAX_SCOPES`."""
    words = listed if isinstance(listed, list) else []
    return tuple(dict.fromkeys(w for w in words if isinstance(w, str) and re.fullmatch(_SCOPE, w)))[:_MAX_SCOPES]


_WORDS: Final = {
    "openid": "know who you are",
    "email": "see your email address",
    "profile": "see your name and profile",
    "offline_access": "stay connected while you are away",
}


def _check(issuer: str, metadata: Mapping[str, Any]) -> None:
    """Raise `SettingsError` if something that the server requires or lacks makes every consent fail."""
    if "code" not in _words(metadata, "response_types_supported", ["code"]):
        raise unusable_server(issuer, "gives no authorization codes")
    if "query" not in (modes := _words(metadata, "response_modes_supported", ["query"])):
        raise unusable_server(issuer, f"brings browsers back by {', '.join(modes) or 'nothing'} only, not by query")
    if "authorization_code" not in (grants := _words(metadata, "grant_types_supported", ["authorization_code"])):
        raise unusable_server(
            issuer, f"gives tokens for {', '.join(grants) or 'nothing'} only, not for authorization codes"
        )
    if metadata.get("require_signed_request_object") is True:
        raise unusable_server(issuer, "wants signed requests (RFC 9101), which are not supported")


def _jwks(issuer: str, metadata: Mapping[str, Any], resource: str) -> str:
    """Return the key set's URL, or "" if no supported algorithm signs the id_tokens, which are not used then."""
    algs = _words(metadata, "id_token_signing_alg_values_supported") or ["RS256"]
    if any(alg in ALGS for alg in algs):
        return _url(metadata, "jwks_uri")
    if resource and metadata.get("jwks_uri"):
        raise unusable_server(
            issuer, "signs id_tokens in no supported way, and a token for a resource shows nobody", algs
        )
    return ""


def check_origins(issuer: str, metadata: Mapping[str, Any], trusted_origins: Iterable[str]) -> None:
    """Raise `SettingsError` if an endpoint that receives codes or credentials has another origin than the issuer's.

    ``trusted_origins``: origins that the operator has named. OAuth 2.0 Security (RFC 9700) 4.4: a server that names
    somebody else's sign-in page gets the codes of users who sign in there.
    """
    home = urlsplit(issuer)
    good = {f"{home.scheme}://{home.netloc}", *(origin.rstrip("/") for origin in trusted_origins)}
    for name in _ENDPOINTS:
        if not (url := _url(metadata, name)):
            continue
        if (at := origin_at(url)) not in good:
            raise SettingsError(
                f"The server at {issuer} has its {name} elsewhere: {at or 'at no address'}"[:300],
                hint=f"People would sign in at one server and another would get the code. If both are {home.netloc}'s, "
                "name the other origin: trusted_origins = [...].",
            )


def origin_at(url: str) -> str:
    """Return scheme and host of a URL in metadata, or "" if it is not a URL."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc}"


_ENDPOINTS: Final = (
    "authorization_endpoint",
    "token_endpoint",
    "registration_endpoint",
    "revocation_endpoint",
    "pushed_authorization_request_endpoint",
    "device_authorization_endpoint",
)


def check_addresses(row: Provider, known: Iterable[Provider]) -> None:
    """Raise `SettingsError` for a server whose metadata contains a URL of another provider.

    Otherwise users would consent at the other provider, and this server would get the code. Such a URL is accepted if
    the issuer is at that provider too, because the server is then that provider.
    """
    oauth, home = row.oauth, urlsplit(row.oauth.issuer).netloc
    ends = (oauth.authorize_url, oauth.token_url, oauth.par_url, oauth.device_url)
    named = {urlsplit(url).netloc for url in ends if url}
    for other in known:
        theirs = {urlsplit(url).netloc for url in (other.oauth.authorize_url, other.oauth.token_url)}
        if other.name != row.name and home not in theirs and named & theirs:
            raise SettingsError(
                f"The server at {row.oauth.issuer} names an address of {other.label} as its own.",
                hint="Users would consent there, and this server would get the code. Do not use it.",
            )


def _par(issuer: str, metadata: Mapping[str, Any], *, wanted: bool) -> str:
    """Return the URL for pushed requests if the server requires them (RFC 9126 5) or the app wants them, or ""."""
    required = metadata.get("require_pushed_authorization_requests") is True
    return _required_url(issuer, metadata, "pushed_authorization_request_endpoint") if required or wanted else ""


def _client_auth(issuer: str, metadata: Mapping[str, Any]) -> ClientAuth:
    """Return the authentication method. Basic if the server lists none (RFC 8414 2)."""
    offered = _words(metadata, "token_endpoint_auth_methods_supported", ["client_secret_basic"])
    for method, client_auth in _METHODS.items():
        if method in offered:
            return client_auth
    if any("tls_client_auth" in method for method in offered):
        raise unusable_server(
            issuer, "wants a client certificate (mutual TLS, RFC 8705), which is not supported", offered
        )
    raise unusable_server(issuer, "authenticates clients in no way that is supported", offered)


def _url(metadata: Mapping[str, Any], name: str) -> str:
    value = metadata.get(name)
    if not isinstance(value, str):
        return ""
    try:
        urlsplit(value)
    except ValueError:
        raise unusable_server(str(metadata.get("issuer", "")), f"names a {name} that is no address") from None
    return value


def _required_url(issuer: str, metadata: Mapping[str, Any], name: str) -> str:
    value = _url(metadata, name)
    if not value:
        raise unusable_server(issuer, f"names no {name}")
    return value


def _words(metadata: Mapping[str, Any], name: str, absent: list[str] | None = None) -> list[str]:
    value = metadata.get(name, absent)
    words = value if isinstance(value, list) else []
    return [one for one in words if isinstance(one, str) and re.fullmatch(_WORD, one)]  # some are shown in a terminal


def unusable_server(issuer: str, why: str, offered: Iterable[str] = ()) -> SettingsError:
    """Return the error for a server that cannot be used. ``offered``: the alternatives that it supports."""
    instead = f"It offers: {', '.join(offered)}. " if offered else ""
    hint = "Change that at the server; or write the provider as [providers.NAME], if its metadata is not what it does."
    return SettingsError(f"The server at {issuer} {why}.", hint=instead + hint)
