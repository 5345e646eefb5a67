"""OAuth clients as data: the registration of this program at a provider (RFC 6749 2), and the source of its grants.

An app without a source gets its grants by consent. `deputize.core.grants.sources` implements the other ways.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from deputize.core.errors import SettingsError
from deputize.core.value_object import ValueObject, frozen
from deputize.core.vault.grant import Secret

if TYPE_CHECKING:
    from deputize.core.oauth.client_key import ClientKey

SessionToken = Literal["access_token", "id_token", "jwt"]
"""Kinds of session tokens, as RFC 8693 3 calls them after ``urn:ietf:params:oauth:token-type:``."""

IMPORT: Final = "import"
"""The source of a grant whose tokens were imported."""
FOREIGN_IMPORT: Final = "import_foreign"
"""The same for tokens that may belong to another client: the app cannot refresh them, nor revoke them everywhere."""
RENEWED_BY_SOURCE: Final = frozenset({"exchange", "identity_assertion", "service_account"})
"""Sources whose grants are renewed only by the source: a refresh token would outlive the session or key."""


@frozen
class TokenExchange(ValueObject):
    """Exchange of your application's session token of the user for a token of the API: RFC 8693, or Microsoft's form.

    ``session``: kind of the session token. ``on_behalf_of``: True to use RFC 7523's grant with ``requested_token_use``,
    which Entra requires. ``token_audience``: name of the API at the server, if the server requires one (RFC 8693 2.1).
    ``user_claim``: the claim of the session token that must equal the user's id; "" if your application checks that.
    """

    session: SessionToken = "access_token"
    token_audience: str = ""
    on_behalf_of: bool = False
    user_claim: str = "sub"

    @property
    def kind(self) -> str:
        """The name of this source in the audit."""
        return "on_behalf_of" if self.on_behalf_of else "exchange"


@frozen
class IdentityAssertion(ValueObject):
    """Assertion of the user's identity by the company's provider, which the API's server accepts (ID-JAG).

    ``identity_app``: the app registered at the company's provider. ``token_audience``: the exact issuer of the API's
    server. ``resource``: the API. ``session``, ``user_claim``: as in `TokenExchange`.
    """

    identity_app: str
    token_audience: str
    resource: str = ""
    session: SessionToken = "id_token"
    user_claim: str = "sub"
    kind: str = "identity_assertion"


@frozen
class ServiceAccount(ValueObject):
    """An organisation's own account that belongs to no user. It acts only if your application names its app.

    ``organisation``: name of its owner, as displayed. ``scopes``: the upper limit of its scopes. ``tenant``: the tenant
    whose users may act with this account. ``key``: its signing key (RFC 7523 2.1); None to use the app's own
    credentials (RFC 6749 4.4). ``valid_until``: the end of the key or secret in Unix seconds, 0 if it has none.
    """

    organisation: str
    scopes: frozenset[str]
    tenant: str = ""
    key: ClientKey | None = None
    valid_until: float = 0.0
    kind: str = "service_account"

    def __post_init__(self) -> None:
        if not self.organisation.strip() or not self.scopes:
            raise SettingsError("A service account has an organisation and scopes: whose it is, and all it may do.")


Source: TypeAlias = TokenExchange | IdentityAssertion | ServiceAccount


ClientAuth = Literal["post", "basic", "none", "private_key_jwt"]
"""How an app authenticates: `OAuthEndpoints.client_auth`."""


@frozen
class App(ValueObject):
    """An OAuth client registration at a provider.

    ``client_secret``: None for a public client. ``key``: replaces the secret if the app authenticates by signed
    assertions (``private_key_jwt``, OpenID Connect Core 9). ``pkce``: True if the registration has PKCE enabled, at a
    provider where that is optional (Slack). ``client_auth``: the registration's authentication method (RFC 7591 2), if
    it differs from the provider's. ``source``: the source of its grants, if not each user's consent.
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
