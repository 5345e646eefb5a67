"""An authorization server as data: its endpoints, and how their requests differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field, replace
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from deputize.core.oauth.app import App, ClientAuth
from deputize.core.value_object import ValueObject, frozen

Audience = Literal["issuer", "token"]
Pkce = Literal["always", "if_app_enabled"]
RevokeBy = Literal["form", "bearer", "app"]
EndsReplaced = Literal["at_once", "with_grant"]

ADDRESSES: Final = (
    *("authorize_url", "token_url", "par_url", "jwks_url"),
    *("device_url", "revoke_url", "revoke_one_url", "revoke_leaked_url"),
)
"""Fields that hold a URL."""


@frozen
class OAuthEndpoints(ValueObject):
    """An OAuth authorization server. A URL that is "" does not exist there.

    ``authorize_url``, ``token_url``: its endpoints (RFC 6749 3.1, 3.2), https.
    ``issuer``: what a callback's ``iss`` must be (RFC 9207); ``iss_required``: the server always sends it.

    Requests for a code
    ``csp_form_targets``: where ``authorize_url`` may redirect a browser at once besides its own origin, as sources of a
    content security policy (CSP 3, 2.3.1): a workspace's own host, or ``https:`` if single sign-on may be anywhere.
    ``pkce``: ``always``, or ``if_app_enabled`` if the app's registration decides; a public client always uses it.
    ``scope_param``: the parameter that requests scopes, "" if the app's registration alone decides.
    ``scope_separator``: between the scopes of a request; replies are split on commas and spaces everywhere.
    ``always_scopes``: in every consent. ``fallback_scopes``: if there were none and the server refuses that.
    ``scope_aliases``: other names of scopes, as ``{theirs: ours}``.
    ``params``: of every authorization request; ``params_consent``: those that make it show its page and issue a
    refresh token even to a user who has consented before.
    ``params_choose``: those that let the user choose an account other than the one that is signed in.
    ``login_hint``: the parameter that names the account to choose.
    ``resource``: the API that tokens are for, if the server must be told (RFC 8707).
    ``par_url``: where an authorization request is pushed before the browser leaves (RFC 9126).
    ``device_url``: where a machine without a browser gets a code that its user enters elsewhere (RFC 8628).
    ``localhost``: loopback must be called by that name; ``loopback_needs_pkce``: it is for apps with PKCE only.

    How the client authenticates
    ``client_auth``: how an app with a secret sends it to the token endpoint; with a key it signs: ``private_key_jwt``.
    ``client_auth_methods``, ``client_auth_algs``: what the server's metadata says it accepts (RFC 8414 2); empty if it
    does not say. ``assertion_audience``: the required ``aud`` of signed assertions, its issuer (so that no other server
    can use them) or its token endpoint (OpenID Connect Core 9).
    ``service_accounts``: the server may have them.

    Tokens
    ``absent_scope``: what a reply to a code without ``scope`` grants: what was ``requested``, or nothing (``empty``).
    ``default_lifetime``: seconds, if a token reply has no ``expires_in``; 0: such a token does not expire.
    ``dpop``: tokens are bound to a key of each grant (RFC 9449), and are useless without it.
    ``jwks_url``: the key set of the issuer's id_tokens (OpenID Connect Discovery 3), "" if none are used.
    ``id_token_algs``: the algorithms it signs them by; RS256 if it does not say.

    Revocation
    ``revoke_url``: where tokens are revoked; ``{client_id}`` in it is the app's.
    ``revoke_by``: ``form`` (RFC 7009, either token), ``bearer`` (the access token revokes itself) or ``app`` (the
    app revokes all that the account has granted it, naming the access token).
    ``revoke_one_url``: where one token is revoked alone, the same way, if ``revoke_url`` revokes all.
    ``revoke_leaked_url``: where anyone who has tokens can revoke them, without the app's secret.
    ``revokes_all``: revoking one token revokes all that the account has granted this app.
    ``ends_replaced``: when tokens that a newer consent replaces are revoked: ``at_once``, if the newer ones stay valid;
    else ``with_grant``, at its disconnect, because RFC 7009 2.1 lets a server treat both as one grant.
    """

    authorize_url: str
    token_url: str
    issuer: str = ""
    iss_required: bool = False
    csp_form_targets: tuple[str, ...] = ()
    pkce: Pkce = "always"
    scope_param: str = "scope"
    scope_separator: str = " "
    always_scopes: tuple[str, ...] = ()
    fallback_scopes: tuple[str, ...] = ()
    scope_aliases: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    params_consent: Mapping[str, str] = field(default_factory=dict)
    params_choose: Mapping[str, str] = field(default_factory=dict)
    login_hint: str = ""
    resource: str = ""
    par_url: str = ""
    device_url: str = ""
    localhost: bool = False
    loopback_needs_pkce: bool = False
    client_auth: ClientAuth = "post"
    client_auth_methods: frozenset[str] = frozenset()
    client_auth_algs: frozenset[str] = frozenset()
    assertion_audience: Audience = "issuer"
    service_accounts: bool = True
    absent_scope: Literal["requested", "empty"] = "requested"
    default_lifetime: float = 0.0
    dpop: bool = False
    jwks_url: str = ""
    id_token_algs: frozenset[str] = frozenset()
    revoke_url: str = ""
    revoke_by: RevokeBy = "form"
    revoke_one_url: str = ""
    revoke_leaked_url: str = ""
    revokes_all: bool = False
    ends_replaced: EndsReplaced = "with_grant"

    def normal(self, scopes: str | frozenset[str]) -> frozenset[str]:
        """Return scopes as we spell them: split on spaces and commas, aliases resolved."""
        parts = scopes.replace(",", " ").split() if isinstance(scopes, str) else scopes
        return frozenset(self.scope_aliases.get(scope, scope) for scope in parts)

    @property
    def audience(self) -> str:
        """The ``aud`` of a signed assertion for this server."""
        return (self.assertion_audience == "issuer" and self.issuer) or self.token_url

    @property
    def authorize_origin(self) -> str:
        """Scheme and host of the consent page, for a page's ``form-action``."""
        parts = urlsplit(self.authorize_url)
        return f"{parts.scheme}://{parts.netloc}"

    def uses_pkce(self, app: App) -> bool:
        """Return True if this app's requests carry a challenge and a verifier."""
        return self.pkce == "always" or app.pkce or app.client_secret is None

    def moved(self, move: Callable[[str], str]) -> OAuthEndpoints:
        """Return the same server with its URLs and its issuer changed by ``move``."""
        moved: dict[str, Any] = {name: move(getattr(self, name)) for name in ("issuer", *ADDRESSES)}
        return replace(self, **moved)
