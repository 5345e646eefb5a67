"""An OAuth client: the registration of this program at a provider (RFC 6749 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from deputize.core.errors import SettingsError
from deputize.core.oauth.grant_sources import ServiceAccount, Source
from deputize.core.value_object import ValueObject, frozen
from deputize.core.vault.grant import Secret

if TYPE_CHECKING:
    from deputize.core.oauth.client_key import ClientKey

ClientAuth = Literal["post", "basic", "none", "private_key_jwt"]
"""How an app authenticates: `OAuthEndpoints.client_auth`."""


@frozen
class App(ValueObject):
    """An OAuth client registration at a provider.

    ``client_secret``: None for a public client. ``key``: replaces the secret if the app authenticates by signed
    assertions (``private_key_jwt``, OpenID Connect Core 9). ``pkce``: the registration has PKCE enabled, if the
    provider leaves that to it (Slack). ``client_auth``: the registration's authentication method (RFC 7591 2), if not
    the provider's usual one. ``source``: where its grants come from, if not from each user's consent.
    """

    provider: str
    client_id: str
    client_secret: Secret | None = None
    name: str = ""
    pkce: bool = False
    key: ClientKey | None = None
    client_auth: ClientAuth | None = None
    source: Source | None = None

    def __post_init__(self) -> None:
        if not self.client_id.strip():
            raise SettingsError(f"The {self.provider} app has no client id.")
        if self.key and self.client_secret:
            raise SettingsError(
                f"The {self.provider} app has a client secret and a private key.",
                hint="A client authenticates in one way: remove the one that the server does not expect.",
            )
        if isinstance(self.source, ServiceAccount) and not (self.source.key or self.key or self.client_secret):
            raise SettingsError(
                f"The service account of {self.source.organisation} has neither a key nor a client secret.",
                hint="Set key_file in its source, or client_secret or private_key_file of the app.",
            )
        if not self.name:
            object.__setattr__(self, "name", self.provider)
        if not self.name.replace("-", "").replace("_", "").isalnum():
            raise SettingsError(f"App name {self.name!r}: letters, digits, - and _ only; it is part of a URL.")
