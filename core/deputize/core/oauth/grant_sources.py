"""Where an app's grants come from when nobody walks a consent: what the settings say, as data.

`deputize.core.grants.sources` does it. An app without a source gets its grants by consent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from deputize.core.errors import SettingsError
from deputize.core.value_object import ValueObject, frozen

if TYPE_CHECKING:
    from deputize.core.oauth.client_key import ClientKey

SessionToken = Literal["access_token", "id_token", "jwt"]
"""Kinds of session tokens, as RFC 8693 3 calls them after ``urn:ietf:params:oauth:token-type:``."""

IMPORT: Final = "import"
"""The source of a grant whose tokens somebody had already."""
FOREIGN_IMPORT: Final = "import_foreign"
"""The same, where they may be of another client than the app: it cannot refresh them, nor end them everywhere."""
RENEWED_BY_SOURCE: Final = frozenset({"exchange", "identity_assertion", "service_account"})
"""Sources whose grants nothing else renews: a refresh token that came all the same would outlive the session or key."""


@frozen
class TokenExchange(ValueObject):
    """The host's session token of the user, for a token of the API: RFC 8693, or Microsoft's form of it.

    ``session``: which kind of token that is. ``on_behalf_of``: RFC 7523's grant with ``requested_token_use``, which
    Entra wants. ``token_audience``: what the token is for, where the server wants a name for it (RFC 8693 2.1).
    ``user_claim``: the claim of the session token that has to be the user's id; "": the application is believed that
    the token which it hands over is the user's.
    """

    session: SessionToken = "access_token"
    token_audience: str = ""
    on_behalf_of: bool = False
    user_claim: str = "sub"

    @property
    def kind(self) -> str:
        """Its name in the audit."""
        return "on_behalf_of" if self.on_behalf_of else "exchange"


@frozen
class IdentityAssertion(ValueObject):
    """The company's provider says who the user is, and the API's server takes its word (ID-JAG).

    ``identity_app``: the app that is our client at the company's provider. ``token_audience``: the issuer of the API's
    server, to the letter. ``resource``: the API. ``session``, ``user_claim``: as in `TokenExchange`.
    """

    identity_app: str
    token_audience: str
    resource: str = ""
    session: SessionToken = "id_token"
    user_claim: str = "sub"
    kind: str = "identity_assertion"


@frozen
class ServiceAccount(ValueObject):
    """An account of an organisation's own, that no user has: it acts where the host names its app, and nowhere else.

    ``organisation``: whose it is, in words for people. ``scopes``: all it may ever have. ``tenant``: whose users may
    act as it. ``key``: what it signs with (RFC 7523 2.1); None: the app's own credentials (RFC 6749 4.4).
    """

    organisation: str
    scopes: frozenset[str]
    tenant: str = ""
    key: ClientKey | None = None
    kind: str = "service_account"

    def __post_init__(self) -> None:
        if not self.organisation.strip() or not self.scopes:
            raise SettingsError("A service account has an organisation and scopes: whose it is, and all it may do.")


Source: TypeAlias = TokenExchange | IdentityAssertion | ServiceAccount
