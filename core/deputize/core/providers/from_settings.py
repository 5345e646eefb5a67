"""Providers described in settings, without code: ``[providers.acme]`` in ``deputize.toml``.

What a row says decides where codes, tokens and client secrets go, so it is checked as one that is written in code:
https everywhere (or loopback everywhere, for a stand-in), no name of a provider that is known already, no field that
does not exist. A grant is sealed with the origin it came from: a row that later leads elsewhere does not get its
tokens (`deputize.core.providers.origin`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from deputize.core.errors import SettingsError
from deputize.core.failures.standard import GENERIC
from deputize.core.oauth.provider import (
    Audience,
    ClientAuth,
    EndsReplaced,
    Identity,
    Pkce,
    Provider,
    RevokeBy,
)
from deputize.core.providers import bad_name, known
from deputize.core.providers.entra import ENTRA_RULES, is_entra

_URL: Final = re.compile(r'[^\x00-\x20"<>\\^`|\x7f-\U0010ffff]+')
"""Characters that no two programs read differently: RFC 3986, and braces."""
_HOST: Final = re.compile(r"[A-Za-z0-9.-]+(?::[0-9]{1,5})?")
_CSP_SOURCE: Final = re.compile(r"https:(?://(?:\*\.)?[A-Za-z0-9.-]+(?::[0-9]{1,5})?)?")  # CSP 3, 2.3.1
_LOOPBACK: Final = ("127.0.0.1", "::1")
_OURS: Final = {
    *("client_id", "response_type", "redirect_uri", "state", "scope", "resource"),
    *("code_challenge", "code_challenge_method", "nonce", "request", "request_uri"),
    *("code_verifier", "client_secret", "client_assertion", "client_assertion_type"),
}
"""Parameters of an authorization request that no row may set: they are what makes it safe, or no browser's to see."""

_OTHERWISE: Final = {
    *("label", "identity", "api", "hosts", "scopes"),
    *("always", "csp_form_targets", "id_token_algs"),
}
"""Fields that a row has in another form."""


def _address(url: str) -> str:
    if not _is_good(url):
        raise ValueError("an https address, without user and fragment; http on 127.0.0.1 only")
    return url


def _is_good(url: str) -> bool:
    try:
        parts = urlsplit(url)
        odd = not _URL.fullmatch(url) or "@" in parts.netloc or parts.fragment or parts.port == 0
    except ValueError:  # no port; what it says holds a part of the address, perhaps a password
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
    if taken := sorted(name for name in params if name.lower() in _OURS):  # some servers ignore the case
        raise ValueError(f"{', '.join(taken)}: set by each request itself")
    return params


def _extra_param(name: str) -> str:
    return next(iter(_extra_params({name: ""})))


def _template(subject: str) -> str:
    if why := Identity("", subject, "").bad_subject():
        raise ValueError(why)
    return subject


Address = Annotated[str, AfterValidator(_address)]
AddressOrNone = Annotated[str, AfterValidator(lambda url: _address(url) if url else "")]
Root = Annotated[str, AfterValidator(_root)]
Host = Annotated[str, _matching(_HOST, "a host, or host:port, without scheme and path")]
Params = Annotated[dict[str, str], AfterValidator(_extra_params)]
Param = Annotated[str, AfterValidator(_extra_param)]
CspSource = Annotated[str, _matching(_CSP_SOURCE, "https: or https://HOST, as in a content security policy")]


class IdentitySettings(BaseModel):
    """How to learn whose account a token is; see `deputize.core.oauth.identity.Identity`."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    url: AddressOrNone = ""
    subject: Annotated[str, AfterValidator(_template)] = "{sub}"
    name: str = Field("{email|preferred_username|name}", min_length=1)
    method: Literal["GET", "POST"] = "GET"
    json_body: dict[str, Any] | None = Field(None, alias="json")


class ProviderSettings(BaseModel):
    """One provider without code. Fields as in `deputize.core.Provider`; its answers are read as the RFCs say."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    label: str = Field("", description="Its name for people. Default: its name.")
    authorize: Address = Field(description="Authorization endpoint (RFC 6749 3.1), https.")
    token: Address = Field(description="Token endpoint (RFC 6749 3.2), https.")
    identity: IdentitySettings | None = Field(
        None,
        description="Whose account a token is: `url`, asked with it, and templates over the reply, `subject` (stable; "
        "default `{sub}`) and `name` (for people). `method` and `json` where it is not a plain GET. With `jwks` the "
        "templates are over the claims of the id_token, and `url`, the userinfo endpoint, is for a name they lack.",
    )
    jwks: AddressOrNone = Field("", description="Key set of its id_tokens (OpenID Connect); wants `issuer`.")
    id_token_algs: list[str] = Field(default_factory=list, description="What they are signed by. Default: RS256.")
    api: dict[str, Root] = Field(default_factory=dict, description="Roots of its APIs by name; toolkits name one.")
    hosts: list[Host] = Field(default_factory=list, description="Hosts tokens may go to beside those of `api`.")
    scopes: dict[str, str] = Field(default_factory=dict, description="Scopes, each in plain words for people.")
    always: list[str] = Field(default_factory=list, description="Scopes asked for in every consent.")
    scope_separator: str = Field(" ", description="Between scopes in a request.")
    absent_scope: Literal["requested", "empty"] = Field(
        "requested", description="What a token reply without `scope` grants: what was requested, or nothing."
    )
    issuer: str = Field("", description="What `iss` of a callback must be (RFC 9207), where the server sends it.")
    pkce: Pkce = Field("always", description="PKCE with S256: always, or where the app's `pkce` is set.")
    client_auth: ClientAuth = Field(
        "post",
        description="How an app shows its secret: in the form, Basic, or not; or that it has to sign with a key.",
    )
    assertion_audience: Audience = Field("issuer", description="What the server wants signed assertions to be for.")
    revoke: AddressOrNone = Field("", description="Where tokens end (RFC 7009). Empty: they cannot be ended.")
    revoke_by: RevokeBy = Field(
        "form", description="`form`: RFC 7009. `bearer`: the token ends itself. `app`: the app ends all of an account."
    )
    revokes_all: bool = Field(False, description="Ending one token ends all that the account has given the app.")
    dpop: bool = Field(False, description="Its tokens are bound to a key of each grant (RFC 9449).")
    par: AddressOrNone = Field("", description="Where authorization requests are pushed first (RFC 9126).")
    ends_replaced: EndsReplaced = Field(
        "with_grant",
        description="When tokens end that a newer consent replaces: `with_grant`, at its disconnect; `at_once` where "
        "the server ends them without the others of the account.",
    )
    device: AddressOrNone = Field("", description="Device authorization endpoint (RFC 8628).")
    resource: str = Field("", description="What tokens are to be good for (RFC 8707).")
    params: Params = Field(default_factory=dict, description="Parameters of each authorization request.")
    params_consent: Params = Field(
        default_factory=dict, description="Those that bring a consent page and a refresh token each time."
    )
    params_choose: Params = Field(default_factory=dict, description="Those that let people choose an account.")
    login_hint: Param = Field("", description="Parameter that names the account to choose.")
    default_lifetime: float = Field(0, ge=0, description="Seconds a token lives, where a reply has no `expires_in`.")
    localhost: bool = Field(False, description="Loopback must be called localhost in redirect URIs.")
    csp_form_targets: list[CspSource] = Field(
        default_factory=list, description="Where its consent page may lead at once, beside its own origin."
    )

    @model_validator(mode="after")
    def _someone(self) -> ProviderSettings:
        if self.jwks and not self.issuer:
            raise ValueError("jwks wants an issuer: an id_token of any other is not believed")
        if not self.jwks and not self._who.url:
            raise ValueError("identity.url is required, unless there is a jwks")
        return self

    @model_validator(mode="after")
    def _one_kind_of_place(self) -> ProviderSettings:
        """A row of https addresses with one http address among them would send a token in the clear."""
        if len({urlsplit(url).scheme for url in self._addresses()}) > 1:
            raise ValueError("all addresses are https, or all are http on loopback")
        return self

    @property
    def _who(self) -> IdentitySettings:
        return self.identity or IdentitySettings.model_validate({})

    def _addresses(self) -> list[str]:
        ends = (self._who.url, self.revoke, self.device, self.par, self.jwks)
        return [self.authorize, self.token, *self.api.values(), *(url for url in ends if url)]

    def _netlocs(self) -> list[str]:
        return [urlsplit(url).netloc for url in (self._who.url, *self.api.values()) if url]

    def row(self, name: str) -> Provider:
        """The provider. Raises `SettingsError` for one that cannot be."""
        who = self._who
        same = self.model_dump(exclude=_OTHERWISE)
        return Provider(
            **same,
            name=name,
            label=self.label or name,
            api={api: root.rstrip("/") for api, root in self.api.items()},
            hosts=frozenset(one.lower() for one in (*self._netlocs(), *self.hosts)),
            identity=Identity(who.url, who.subject, who.name, method=who.method, json=who.json_body),
            always=tuple(self.always),
            id_token_algs=frozenset(self.id_token_algs),
            scope_words=self.scopes,
            csp_form_targets=tuple(self.csp_form_targets),
            plain_http=self.token.startswith("http:"),
            rules=ENTRA_RULES if is_entra(self.token) else GENERIC,
        )


def with_settings(described: Mapping[str, ProviderSettings]) -> dict[str, Provider]:
    """All providers by name: built in, of installed packages, and these.

    Raises `SettingsError` for a name that is taken, or that is none.
    """
    rows = known()
    for name, one in described.items():
        if name in rows:
            raise SettingsError(
                f"[providers.{name}]: there is a provider of this name already.",
                hint="Call it otherwise; for the same software run by somebody else: host in [apps.NAME].",
            )
        if why := bad_name(name):
            raise SettingsError(f"A provider in the settings cannot be called {name[:60]!r}: {why}")
        rows[name] = one.row(name)
    return rows
