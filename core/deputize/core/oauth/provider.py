"""A provider as data: everything that differs between OAuth servers is a field here, and nothing is code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal
from urllib.parse import urlsplit

from deputize.core.errors import SettingsError
from deputize.core.failures import Rules
from deputize.core.oauth.rules import GENERIC
from deputize.core.vault.grant import Secret

ClientAuth = Literal["post", "basic", "none"]


@dataclass(frozen=True, slots=True)
class Identity:
    """How to learn whose account a token is. Templates name fields of the reply: ``{sub}``, ``{data.viewer.id}``."""

    url: str
    subject: str
    name: str
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Provider:
    """One OAuth authorization server and the API hosts its tokens are good for.

    ``hosts``: where a token may go, as ``host`` or ``host:port``. ``api``: the API's roots by name. ``scope_words``:
    scopes in plain language. ``issuer``: what a callback's ``iss`` must be
    (RFC 9207); ``iss_required`` where the server says it always sends it. ``default_lifetime``: seconds, where a
    token reply has no ``expires_in``; 0 means that such a token does not expire. ``revokes_all``: ending one token ends
    all that the account has given this app.
    """

    name: str
    label: str
    authorize: str
    token: str
    api: Mapping[str, str]
    hosts: frozenset[str]
    identity: Identity
    revoke: str = ""
    rules: Rules = GENERIC
    issuer: str = ""
    iss_required: bool = False
    client_auth: ClientAuth = "post"
    scope_separator: str = " "
    always: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    scope_words: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    params_consent: Mapping[str, str] = field(default_factory=dict)
    login_hint: str = ""
    default_lifetime: float = 0.0
    loopback_any_port: bool = False
    revokes_all: bool = False
    plain_http: bool = False

    def __post_init__(self) -> None:
        for url in (self.authorize, self.token, self.revoke, self.identity.url, *self.api.values()):
            if url and not self._good(url):
                raise SettingsError(f"Provider {self.name}: {url!r} is not an https address.")

    def _good(self, url: str) -> bool:
        parts = urlsplit(url)
        local = self.plain_http and parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1")
        return bool(parts.hostname) and not parts.username and (parts.scheme == "https" or local)

    def words(self, scope: str) -> str:
        """A scope as a person reads it."""
        return self.scope_words.get(scope, scope)

    def normal(self, scopes: str | frozenset[str]) -> frozenset[str]:
        """Scopes as we spell them: split on spaces and commas, aliases resolved."""
        parts = scopes.replace(",", " ").split() if isinstance(scopes, str) else scopes
        return frozenset(self.aliases.get(scope, scope) for scope in parts)

    @property
    def authorize_origin(self) -> str:
        """Scheme and host of the consent page, for a page's ``form-action``."""
        parts = urlsplit(self.authorize)
        return f"{parts.scheme}://{parts.netloc}"

    def moved_to(self, base_url: str) -> Provider:
        """The same provider played by a stand-in: ``https://host/path`` becomes ``{base_url}/host/path``.

        For sandboxes on loopback; plain http is accepted there and nowhere else.
        """

        def moved(url: str) -> str:
            return f"{base_url}/{url.removeprefix('https://')}" if url else ""

        return replace(
            self,
            authorize=moved(self.authorize),
            token=moved(self.token),
            revoke=moved(self.revoke),
            identity=replace(self.identity, url=moved(self.identity.url)),
            api=MappingProxyType({name: moved(url) for name, url in self.api.items()}),
            hosts=frozenset({urlsplit(base_url).netloc}),
            plain_http=True,
        )


@dataclass(frozen=True, slots=True)
class App:
    """An OAuth client registration at a provider. ``client_secret`` is None for a public client."""

    provider: str
    client_id: str
    client_secret: Secret | None = None
    name: str = ""

    def __post_init__(self) -> None:
        if not self.client_id.strip():
            raise SettingsError(f"The {self.provider} app has no client id.")
        if not self.name:
            object.__setattr__(self, "name", self.provider)
        if not self.name.replace("-", "").replace("_", "").isalnum():
            raise SettingsError(f"App name {self.name!r}: letters, digits, - and _ only; it is part of an address.")
