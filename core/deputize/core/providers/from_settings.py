"""Providers described in settings, without code: ``[providers.acme]`` in ``deputize.toml``.

A definition decides where codes, tokens and client secrets are sent, so it gets the checks of one in code: https
everywhere (or loopback everywhere, for a sandbox), no name of a known provider, no unknown field. A grant is encrypted
with its origin: if the definition later names another server, that server does not get the grant's tokens
(`deputize.core.providers.origin`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from deputize.core.errors import SettingsError
from deputize.core.failures.standard import GENERIC
from deputize.core.oauth.app import ClientAuth
from deputize.core.oauth.provider import (
    ADDRESSES,
    ApiRules,
    Audience,
    EndsReplaced,
    Identity,
    OAuthEndpoints,
    Pkce,
    Provider,
    RevokeBy,
)
from deputize.core.providers import bad_name, known_providers
from deputize.core.providers.entra import ENTRA_RULES, is_entra

_URL: Final = re.compile(r'[^\x00-\x20"<>\\^`|\x7f-\U0010ffff]+')
"""Characters that all programs read alike: RFC 3986, and braces."""
_HOST: Final = re.compile(r"[A-Za-z0-9.-]+(?::[0-9]{1,5})?")
_CSP_SOURCE: Final = re.compile(r"https:(?://(?:\*\.)?[A-Za-z0-9.-]+(?::[0-9]{1,5})?)?")  # CSP 3, 2.3.1
_LOOPBACK: Final = ("127.0.0.1", "::1")
_OURS: Final = {
    *("client_id", "response_type", "redirect_uri", "state", "scope", "resource"),
    *("code_challenge", "code_challenge_method", "nonce", "request", "request_uri"),
    *("code_verifier", "client_secret", "client_assertion", "client_assertion_type"),
}
"""Parameters of an authorization request that no definition may set: they protect it, or no browser may see them."""


def _address(url: str) -> str:
    if not _is_good(url):
        raise ValueError("an https address, without user and fragment; http on 127.0.0.1 only")
    return url


def _is_good(url: str) -> bool:
    try:
        parts = urlsplit(url)
        odd = not _URL.fullmatch(url) or "@" in parts.netloc or parts.fragment or parts.port == 0
    except ValueError:  # no port; the message may contain a password from the URL
        return False
    local = parts.scheme == "http" and parts.hostname in _LOOPBACK
    return not odd and bool(parts.hostname) and (parts.scheme == "https" or local)


def _root(url: str) -> str:
    if "?" in _address(url):
        raise ValueError("the root of an API, without parameters")
    return url


def _matching(pattern: re.Pattern[str], what: str) -> AfterValidator:
    def check(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(what)
        return text

    return AfterValidator(check)


def _extra_params(params: dict[str, str]) -> dict[str, str]:
    if taken := sorted(name for name in params if name.lower() in _OURS):  # some servers ignore case
        raise ValueError(f"{', '.join(taken)}: set by each request itself")
    return params


def _extra_param(name: str) -> str:
    return next(iter(_extra_params({name: ""})))


def _template(subject: str) -> str:
    if fault := Identity("", subject, "").bad_subject():
        raise ValueError(fault)
    return subject


Address = Annotated[str, AfterValidator(_address)]
AddressOrNone = Annotated[str, AfterValidator(lambda url: _address(url) if url else "")]
Root = Annotated[str, AfterValidator(_root)]
Host = Annotated[str, _matching(_HOST, "a host, or host:port, without scheme and path")]
Params = Annotated[dict[str, str], AfterValidator(_extra_params)]
Param = Annotated[str, AfterValidator(_extra_param)]
CspSource = Annotated[str, _matching(_CSP_SOURCE, "https: or https://HOST, as in a content security policy")]


class IdentitySettings(BaseModel):
    """How to identify the account of a token; see `deputize.core.oauth.identity.Identity`."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    url: AddressOrNone = ""
    subject: Annotated[str, AfterValidator(_template)] = "{sub}"
    name: str = Field("{email|preferred_username|name}", min_length=1)
    method: Literal["GET", "POST"] = "GET"
    json_body: dict[str, Any] | None = Field(None, alias="json")


class OAuthSettings(BaseModel):
    """The authorization server. Fields as in `deputize.core.OAuthEndpoints`."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    authorize_url: Address = Field(description="Authorization endpoint (RFC 6749 3.1), https.")
    token_url: Address = Field(description="Token endpoint (RFC 6749 3.2), https.")
    issuer: str = Field("", description="Required `iss` of a callback (RFC 9207), if the server sends it.")
    csp_form_targets: tuple[CspSource, ...] = Field(
        (), description="Where its consent page may redirect at once, besides its own origin."
    )
    pkce: Pkce = Field("always", description="PKCE with S256: always, or if the app's `pkce` is set.")
    scope_separator: str = Field(" ", description="Separator of scopes in a request.")
    always_scopes: tuple[str, ...] = Field((), description="Scopes requested in every consent.")
    params: Params = Field(default_factory=dict, description="Parameters of each authorization request.")
    params_consent: Params = Field(
        default_factory=dict, description="Those that force a consent page and a refresh token each time."
    )
    params_choose: Params = Field(default_factory=dict, description="Those that let users choose an account.")
    login_hint: Param = Field("", description="Parameter that names the account to choose.")
    resource: str = Field("", description="The API that tokens are for (RFC 8707).")
    par_url: AddressOrNone = Field("", description="Where authorization requests are pushed first (RFC 9126).")
    device_url: AddressOrNone = Field("", description="Device authorization endpoint (RFC 8628).")
    localhost: bool = Field(False, description="Loopback must be called localhost in redirect URIs.")
    client_auth: ClientAuth = Field(
        "post",
        description="How an app authenticates: its secret in the form or by Basic, none, or a signature with its key.",
    )
    assertion_audience: Audience = Field("issuer", description="Required audience of signed assertions.")
    absent_scope: Literal["requested", "empty"] = Field(
        "requested", description="What a token reply without `scope` grants: what was requested, or nothing."
    )
    default_lifetime: float = Field(
        0, ge=0, description="Lifetime of a token in seconds, if a reply has no `expires_in`."
    )
    refresh_extends: bool = Field(False, description="Each refresh starts the refresh token's lifetime again.")
    dpop: bool = Field(False, description="Its tokens are bound to a key of each grant (RFC 9449).")
    jwks_url: AddressOrNone = Field("", description="Key set of its id_tokens (OpenID Connect); requires `issuer`.")
    id_token_algs: frozenset[str] = Field(frozenset(), description="Algorithms they are signed by. Default: RS256.")
    revoke_url: AddressOrNone = Field("", description="Where tokens are revoked (RFC 7009). Empty: they cannot be.")
    revoke_by: RevokeBy = Field(
        "form", description="`form`: RFC 7009. `bearer`: by the token itself. `app`: by the app, for a whole account."
    )
    revokes_all: bool = Field(False, description="Revoking one token revokes all of the account's for the app.")
    ends_replaced: EndsReplaced = Field(
        "with_grant",
        description="When replaced tokens are revoked: `with_grant`, at the disconnect; `at_once`, if the server "
        "revokes them without the account's others.",
    )


class ApiSettings(BaseModel):
    """The API hosts that may receive tokens, and how accounts are identified. Fields as in `deputize.core.ApiRules`."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    roots: dict[str, Root] = Field(default_factory=dict, description="Roots of its APIs by name; toolkits name one.")
    hosts: list[Host] = Field(default_factory=list, description="Hosts that may get tokens, besides those of `roots`.")
    identity: IdentitySettings = Field(
        default_factory=lambda: IdentitySettings.model_validate({}),
        description="The account of a token: `url`, called with it, and templates over the reply, `subject` (stable; "
        "default `{sub}`) and `name` (for people). `method` and `json` if it is not a plain GET. With `oauth.jwks_url` "
        "the templates are over the id_token's claims, and `url`, the userinfo endpoint, supplies a name they lack.",
    )

    def rules(self) -> ApiRules:
        """Return these settings as `ApiRules`."""
        account = self.identity
        own = [urlsplit(url).netloc for url in (account.url, *self.roots.values()) if url]
        return ApiRules(
            roots={api: root.rstrip("/") for api, root in self.roots.items()},
            hosts=frozenset(host.lower() for host in (*own, *self.hosts)),
            identity=Identity(
                account.url, account.subject, account.name, method=account.method, json=account.json_body
            ),
        )


class ProviderSettings(BaseModel):
    """One provider without code. Fields as in `deputize.core.Provider`. Its replies are classified by the RFCs."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    label: str = Field("", description="Its name for people. Default: its name.")
    oauth: OAuthSettings
    apis: ApiSettings = Field(default_factory=ApiSettings)
    scope_descriptions: dict[str, str] = Field(default_factory=dict, description="Scopes in plain language.")

    @model_validator(mode="after")
    def _check_identity(self) -> ProviderSettings:
        if self.oauth.jwks_url and not self.oauth.issuer:
            raise ValueError("oauth.jwks_url requires oauth.issuer: an id_token of any other is rejected")
        if not self.oauth.jwks_url and not self.apis.identity.url:
            raise ValueError("apis.identity.url is required, unless there is oauth.jwks_url")
        return self

    @model_validator(mode="after")
    def _check_schemes(self) -> ProviderSettings:
        """Raise `ValueError` if https and http are mixed, because one http URL would send a token unencrypted."""
        if len({urlsplit(url).scheme for url in self._addresses() if url}) > 1:
            raise ValueError("all addresses are https, or all are http on loopback")
        return self

    def _addresses(self) -> list[str]:
        ends = [getattr(self.oauth, name) for name in ADDRESSES if name in OAuthSettings.model_fields]
        return [*ends, self.apis.identity.url, *self.apis.roots.values()]

    def row(self, name: str) -> Provider:
        """Return the provider. Raises `SettingsError` if it is invalid."""
        at = self.oauth.token_url
        return Provider(
            name=name,
            label=self.label or name,
            oauth=OAuthEndpoints(**self.oauth.model_dump()),
            apis=self.apis.rules(),
            scope_descriptions=self.scope_descriptions,
            plain_http=at.startswith("http:"),
            rules=ENTRA_RULES if is_entra(at) else GENERIC,
        )


def with_settings(described: Mapping[str, ProviderSettings]) -> dict[str, Provider]:
    """Return all providers by name: built-in ones, those of installed packages, and ``described`` ones.

    Raises `SettingsError` for a taken or invalid name.
    """
    rows = known_providers()
    for name, settings in described.items():
        if name in rows:
            raise SettingsError(
                f"[providers.{name}]: there is a provider of this name already.",
                hint="Use another name. For the same software on another host, set host in [apps.NAME].",
            )
        if fault := bad_name(name):
            raise SettingsError(f"A provider in the settings cannot be called {name[:60]!r}: {fault}")
        rows[name] = settings.row(name)
    return rows
