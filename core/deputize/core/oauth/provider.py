"""Providers as data: all differences between OAuth servers are fields of these classes, without code for one provider.

OAuthEndpoints   the authorization server: its endpoints, and how their requests differ
ApiRules         the API of the provider: the hosts that may receive tokens, and how replies identify an account
Provider         both, with failure rules and texts
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import field, replace
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any, Final, Literal
from urllib.parse import urljoin, urlsplit

from deputize.core.errors import SettingsError
from deputize.core.failures import Rules, TokenShape
from deputize.core.failures.redaction import add_shapes
from deputize.core.failures.standard import GENERIC
from deputize.core.oauth.app import App, ClientAuth
from deputize.core.oauth.credential import Credential
from deputize.core.oauth.identity import NO_IMPORTS, Identity, Imports, Permissions
from deputize.core.value_object import Frozen, ValueObject, frozen

__all__ = ["ApiRules", "App", "Identity", "Imports", "OAuthEndpoints", "Permissions", "Provider", "Site"]

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
    """An OAuth authorization server. A URL that is "" does not exist at this server.

    ``authorize_url``, ``token_url``: its endpoints (RFC 6749 3.1, 3.2), https.
    ``issuer``: the required ``iss`` of a callback (RFC 9207); ``iss_required``: the server always sends it.

    Requests for a code
    ``csp_form_targets``: where ``authorize_url`` may redirect a browser at once besides its own origin, as sources of a
    content security policy (CSP 3, 2.3.1): a workspace's own host, or ``https:`` if single sign-on may be anywhere.
    ``pkce``: ``always``, or ``if_app_enabled`` if the app's registration decides; a public client always uses it.
    ``scope_param``: the parameter that requests scopes, "" if the app's registration alone decides.
    ``scope_separator``: between the scopes of a request; replies are split on commas and spaces everywhere.
    ``always_scopes``: in every consent. ``fallback_scopes``: for a consent without scopes, if the server refuses that.
    ``scope_aliases``: other names of scopes, as ``{provider's: deputize's}``.
    ``params``: of every authorization request; ``params_consent``: those that make the server show its page and issue a
    refresh token even to a user who has consented before.
    ``params_choose``: those that let the user choose an account other than the one that is signed in.
    ``login_hint``: the parameter that names the account to choose.
    ``resource``: the API that tokens are for, if the server requires this parameter (RFC 8707).
    ``par_url``: where an authorization request is pushed before the browser is redirected (RFC 9126).
    ``device_url``: where a machine without a browser gets a code that its user enters elsewhere (RFC 8628).
    ``localhost``: True if redirect URIs on loopback must use the name ``localhost``. ``loopback_needs_pkce``: True if
    only apps with PKCE may use loopback.

    How the client authenticates
    ``client_auth``: how an app with a secret sends it to the token endpoint; with a key, it is ``private_key_jwt``.
    ``client_auth_methods``, ``client_auth_algs``: those that the server's metadata lists (RFC 8414 2); empty if it
    lists none. ``assertion_audience``: the required ``aud`` of signed assertions: the server's issuer, so that no other
    server can use them, or its token endpoint (OpenID Connect Core 9).
    ``service_accounts``: True if the server supports service accounts.

    Tokens
    ``absent_scope``: the scopes that a code's reply without ``scope`` grants: ``requested``, or none (``empty``).
    ``default_lifetime``: seconds, if a token reply has no ``expires_in``; 0: such a token does not expire.
    ``refresh_extends``: True if each refresh starts the refresh token's lifetime again, so that a grant in use does not
    end.
    ``dpop``: tokens are bound to a key of each grant (RFC 9449), and are useless without it.
    ``jwks_url``: the key set of the issuer's id_tokens (OpenID Connect Discovery 3), "" if none are used.
    ``id_token_algs``: the algorithms that sign them; RS256 if the server lists none.

    Revocation
    ``revoke_url``: where tokens are revoked; ``{client_id}`` in it is the app's.
    ``revoke_by``: ``form`` (RFC 7009, either token), ``bearer`` (the access token revokes itself) or ``app`` (the
    app revokes all that the account has granted it, and sends the access token to identify the account).
    ``revoke_one_url``: where a single token is revoked, with the same request, if ``revoke_url`` revokes all tokens.
    ``revoke_leaked_url``: where anyone who has tokens can revoke them, without the app's secret.
    ``revokes_all``: revoking one token revokes all that the account has granted this app.
    ``ends_replaced``: when the tokens that a newer consent replaced are revoked. ``at_once``: immediately, because the
    newer tokens stay valid. ``with_grant``: when the grant is disconnected, because RFC 7009 2.1 lets a server treat
    both sets of tokens as one grant.
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
    refresh_extends: bool = False
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
        """Return scopes in deputize's spelling: split on spaces and commas, aliases resolved."""
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


NEVER_SET: Final = frozenset(
    (
        "authorization",
        "proxy-authorization",
        "cookie",
        "host",
        "content-length",
        "connection",
        "transfer-encoding",
        "upgrade",
    )
)
"""Request headers that determine the sender, the destination or the length."""


@frozen
class ApiRules(ValueObject):
    """An API that accepts the provider's tokens.

    ``roots``: base URLs of its APIs by name. A root may begin with a field of ``kept_fields``:
    ``{instance_url}/services``. ``hosts``: where a token may be sent, as ``host`` or ``host:port``; `for_grant` adds
    the hosts of a grant's roots. ``identity``: how to identify the account of a token, from an id_token's claims if
    ``oauth.jwks_url`` is set. ``permissions``: where permissions are read if they are not scopes. ``imports``: how
    imported tokens are recognized. ``kept_fields``: fields of a token reply that are stored with the grant, each with
    its required pattern. ``request_headers``: further headers that tools may set, in lower case, besides those of
    `deputize.core.tools.steps.HEADERS`; ``mcp-param-*`` stands for all with this prefix. ``shared_hosts``: hosts
    where anybody can have pages. The whole URL identifies such a page, not the host. ``incompatible_scopes``: scopes
    that are never requested, each with the API that rejects a token with that scope, whatever other scopes it has.
    ``credential``: where requests carry a key that users enter at deputize's page, instead of an OAuth token.
    """

    roots: Mapping[str, str]
    hosts: frozenset[str]
    identity: Identity
    permissions: Permissions | None = None
    imports: Imports = NO_IMPORTS
    kept_fields: Mapping[str, str] = field(default_factory=dict)
    request_headers: frozenset[str] = frozenset()
    shared_hosts: frozenset[str] = frozenset()
    incompatible_scopes: Mapping[str, str] = field(default_factory=dict)
    credential: Credential | None = None

    def own_roots(self) -> dict[str, str]:
        """Return the roots by API, without those that depend on a grant."""
        return {api: root for api, root in self.roots.items() if _kept_part(root) not in self.kept_fields}

    def foreign_api(self) -> str:
        """Return the name of the first API whose host may not receive tokens, or "". Its requests would be refused."""
        return next((api for api, url in self.own_roots().items() if urlsplit(url).netloc not in self.hosts), "")

    def for_grant(self, extra: Mapping[str, str]) -> ApiRules:
        """Return the rules for a grant with this ``extra``, including the grant's own roots and their hosts."""
        if not self.kept_fields:
            return self
        own = {api: name for api, root in self.roots.items() if (name := _kept_part(root)) in self.kept_fields}
        if not own:
            return self
        good = {api: extra[n] for api, n in own.items() if re.fullmatch(self.kept_fields[n], extra.get(n, ""))}
        roots = {api: start + self.roots[api][len(own[api]) + 2 :] for api, start in good.items()}
        hosts = self.hosts | {urlsplit(root).netloc for root in roots.values()}
        return replace(self, roots=MappingProxyType({**self.own_roots(), **roots}), hosts=hosts)

    def moved(self, move: Callable[[str], str]) -> ApiRules:
        """Return the same API with its URLs changed by ``move``."""
        rights = self.permissions
        return replace(
            self,
            roots=MappingProxyType({api: move(root) for api, root in self.roots.items()}),
            hosts=frozenset(urlsplit(move(f"https://{host}")).netloc for host in self.hosts),
            identity=replace(self.identity, url=move(self.identity.url)),
            permissions=rights._replace(url=move(rights.url)) if rights else None,
        )


def _kept_part(root: str) -> str:
    """Return the field with which a root begins: ``instance_url`` for ``{instance_url}/services``."""
    found = re.match(r"\{(\w+)\}/", root) if root.startswith("{") else None
    return found[1] if found else ""


_NETLOC: Final = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
"""A host, perhaps with a port: it is put into a header (CSP) and compared with the hosts that may get tokens."""
_USER: Final = r"(?<=//)[^/?#]*@"
_LOCAL: Final = r"http://(?:127\.0\.0\.1|\[::1\]|localhost)(:[0-9]+)?(?=/|$)"
_HOST: Final = r"(?=.{4,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])"
_STAND_IN: Final = r"http://(?:127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~/-]*)?"


@frozen
class Site(Frozen):
    """The URLs of a provider's software at another host. ``hosts``: pattern of allowed host names.

    ``places``: prefixes of the provider's URLs with their replacements, which contain ``{host}``. ``roots``: roots of
    APIs for which these prefixes give the wrong URL. ``csp_form_targets``: as in `OAuthEndpoints`, in addition to the
    provider's own.
    """

    hosts: str
    places: Mapping[str, str]
    roots: Mapping[str, str] = field(default_factory=dict)
    csp_form_targets: tuple[str, ...] = ()


@frozen
class Provider(ValueObject):
    """One OAuth authorization server, and the API hosts that accept its tokens.

    ``name``: the name in settings. ``label``: the name for people. ``oauth``: the authorization server. ``apis``: where
    its tokens may be sent, and how accounts are identified. ``rules``: how replies of both are classified.
    ``token_shapes``: patterns of its tokens, which are masked in any text. ``scope_descriptions``: scopes in plain
    language. ``more_scopes``: True if there may be other scopes (RFC 8414 2). ``revoke_note``: a sentence for a page
    about unexpected effects of a disconnect. ``base``: name of the provider definition from which this one was derived
    for another host; else its own name. ``stands_in_for``: the provider whose toolkits also work with this one.
    ``sites``: other hosts of its software; see `at_host`. ``plain_http``: True if http on loopback is accepted, for a
    sandbox.
    """

    name: str
    label: str
    oauth: OAuthEndpoints
    apis: ApiRules
    rules: Rules = GENERIC
    token_shapes: tuple[TokenShape, ...] = ()
    scope_descriptions: Mapping[str, str] = field(default_factory=dict)
    more_scopes: bool = False
    revoke_note: str = ""
    base: str = ""
    stands_in_for: str = ""
    sites: tuple[Site, ...] = ()
    plain_http: bool = False
    _known: dict[frozenset[str], frozenset[str]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "base", self.base or self.name)
        oauth = self.oauth
        if oauth.dpop and (oauth.device_url or oauth.revoke_by != "form" or oauth.revoke_leaked_url):
            raise self._fault(
                "oauth.dpop is set, and a token that is bound to a key cannot be used in another way.",
                "Remove oauth.device_url, oauth.revoke_by and oauth.revoke_leaked_url.",
            )
        add_shapes(self.token_shapes)
        headers = self.apis.request_headers
        if never := sorted(one for one in headers if any(fnmatchcase(name, one) for name in NEVER_SET)):
            raise self._fault(f"apis.request_headers names {', '.join(never)}, which no tool may set.", "Leave it out.")
        for place, url in self.addresses().items():
            if url and not self._good(url):
                shown = re.sub(_USER, "...@", url)  # a password, perhaps
                raise self._fault(f"{place} {shown!r} is not an https address.", "Write https://HOST/PATH.")
        ends = {urlsplit(url).netloc for url in (oauth.authorize_url, oauth.token_url)}
        if oauth.par_url and urlsplit(oauth.par_url).netloc not in ends:
            raise self._fault(  # it gets the client's credentials, and is not part of a grant's origin
                "oauth.par_url is on another host than oauth.authorize_url and oauth.token_url.",
                "It receives the client's credentials, so it has to be on one of their hosts.",
            )

    def _fault(self, why: str, hint: str) -> SettingsError:
        return SettingsError(f"Provider {self.name}: {why}", hint=hint)

    def addresses(self) -> dict[str, str]:
        """Return all URLs by field name, except API roots that depend on a grant."""
        apis = self.apis
        ends = {f"oauth.{name}": getattr(self.oauth, name) for name in ADDRESSES}
        rights = {"apis.permissions.url": apis.permissions.url} if apis.permissions else {}
        roots = {f"apis.roots.{api}": url for api, url in apis.own_roots().items()}
        return ends | {"apis.identity.url": apis.identity.url} | rights | roots

    def _good(self, url: str) -> bool:
        try:
            parts = urlsplit(url)
        except ValueError:  # brackets without an IPv6 address: metadata may contain any text
            return False
        local = self.plain_http and parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1")
        return bool(_NETLOC.fullmatch(parts.netloc)) and (parts.scheme == "https" or local)

    # ------------------------------------------------------------- scopes

    def describe(self, scope: str) -> str:
        """Return a scope's description for people."""
        return describe_scope(scope, self.scope_descriptions)

    def implied_scopes(self, scopes: frozenset[str]) -> frozenset[str]:
        """Return these scopes and all scopes that they include."""
        known = self._known.get(scopes)  # on the path of every act, and few sets differ
        if known is None:
            if len(self._known) >= 1024:
                self._known.clear()
            known = self._known[scopes] = self.oauth.normal(self.rules.covered(scopes)) | scopes
        return known

    # ------------------------------------------------------------- redirects

    def forms_to(self, base_url: str) -> tuple[str, ...]:
        """Return the hosts for ``form-action`` of pages at ``base_url``: those of the provider and of the pages.

        Browsers also check ``form-action`` for each redirect after a form. A provider that remembers a consent
        redirects back to the pages at once.
        """
        back = () if (own_url := self._as_loopback_name(base_url)) == base_url else (own_url,)
        return tuple(dict.fromkeys((self.oauth.authorize_origin, *self.oauth.csp_form_targets, *back)))

    def _as_loopback_name(self, base_url: str) -> str:
        """Return ``base_url`` with the loopback name that this provider requires."""
        return re.sub(_LOCAL, r"http://localhost\1", base_url) if self.oauth.localhost else base_url

    def cookie_fault(self, base_url: str) -> SettingsError | None:
        """Return the error if pages at ``base_url`` would receive no cookies after the provider's redirect, or None."""
        if (own_url := self._as_loopback_name(base_url)) == base_url:
            return None
        return SettingsError(
            f"{self.label} brings browsers back to {own_url}, and cookies of {base_url} are not sent there.",
            hint=f"Set DEPUTIZE_BASE_URL={own_url}, and open your application at that host.",
        )

    def redirect_uri(self, base_url: str, app: App) -> str:
        """Return the redirect URI of pages at ``base_url``. Raises `SettingsError` if it cannot work."""
        path = f"/callback/{app.name}"
        if not re.match(_LOCAL, base_url):
            return base_url + path
        if self.oauth.loopback_needs_pkce and not self.oauth.uses_pkce(app):
            raise SettingsError(
                f"{self.label} sends no browser back to loopback for this app.",
                hint=f"Serve the pages under https, or switch PKCE on in the app's registration at {self.label} and "
                "leave its client secret out.",
            )
        return self._as_loopback_name(base_url) + path

    # ------------------------------------------------------------- the same provider at other URLs

    def for_grant(self, extra: Mapping[str, str]) -> Provider:
        """Return the provider for a grant with this ``extra``, including the grant's own API roots and their hosts."""
        apis = self.apis.for_grant(extra)
        return self if apis is self.apis else replace(self, apis=apis)

    def played(self) -> Provider:
        """Return the provider as a sandbox simulates it: no request is pushed or signed, and the userinfo endpoint
        identifies accounts."""
        oauth, shape = self.oauth, self.apis.identity
        shape = shape if shape.url else replace(shape, url=urljoin(oauth.token_url, "userinfo"))
        auth = "post" if oauth.client_auth == "private_key_jwt" else oauth.client_auth
        plain = replace(oauth, par_url="", jwks_url="", client_auth=auth, client_auth_methods=frozenset())
        return replace(self, oauth=plain, apis=replace(self.apis, identity=shape))

    def moved_to(self, base_url: str) -> Provider:
        """Return the same provider at a sandbox: ``https://host/path`` becomes ``{base_url}/host/path``.

        No URL leads to another machine, whatever the sandbox replies. Plain http is accepted on loopback only. Raises
        `SettingsError` if ``base_url`` is not on loopback.
        """
        if not re.fullmatch(_STAND_IN, base_url):
            raise SettingsError(
                f"{self.label} cannot be moved to {base_url[:80]!r}: it is not an http address on loopback.",
                hint="Give the address of a sandbox on this machine, as http://127.0.0.1:8737.",
            )
        host = re.escape(f"{base_url}/") + "[a-z0-9.-]+"
        row = self.played()._with_prefixes({"https://": f"{base_url}/"})
        kept = {
            name: host if any(root.startswith(f"{{{name}}}/") for root in row.apis.roots.values()) else pattern
            for name, pattern in row.apis.kept_fields.items()
        }
        return replace(
            row,  # without dpop: the sandbox accepts a token from anyone
            oauth=replace(row.oauth, csp_form_targets=(), issuer=self.oauth.issuer, dpop=False),
            apis=replace(row.apis, hosts=frozenset({urlsplit(base_url).netloc}), kept_fields=kept),
        )

    def at_host(self, host: str, name: str = "") -> Provider:
        """Return a provider of this name for the same software at another ``host`` (``github.example.com``).

        ``host`` comes from the operator, never from a tool. Raises `SettingsError` if `sites` does not allow it.
        """
        site = next((s for s in self.sites if re.fullmatch(_HOST, host) and re.fullmatch(s.hosts, host)), None)
        if site is None:
            hint = "Give a full host name in lower case, without scheme, port and path."
            raise SettingsError(f"{self.label} cannot be at {host!r}.", hint=hint)
        row = self._with_prefixes({old: new.replace("{host}", host) for old, new in site.places.items()})
        roots = {api: root.replace("{host}", host) for api, root in site.roots.items()}
        forms = (*row.oauth.csp_form_targets, *site.csp_form_targets)
        oauth = replace(row.oauth, csp_form_targets=forms, revoke_leaked_url="")
        apis = replace(row.apis, roots=MappingProxyType({**row.apis.roots, **roots}), shared_hosts=frozenset({host}))
        made = replace(row, oauth=oauth, apis=apis)
        if name in ("", self.name):
            return made
        stands_in_for = self.stands_in_for or self.name
        return replace(made, name=name, label=f"{self.label} ({host})", stands_in_for=stands_in_for)

    def _with_prefixes(self, places: Mapping[str, str]) -> Provider:
        """Return the provider with the prefixes of its URLs replaced."""

        def move(url: str) -> str:
            start = next((old for old in places if url.startswith(old)), "")
            return places[start] + url[len(start) :] if start else url

        plain_http = self.plain_http or any(new.startswith("http:") for new in places.values())
        return replace(self, oauth=self.oauth.moved(move), apis=self.apis.moved(move), plain_http=plain_http)


def describe_scope(scope: str, descriptions: Mapping[str, str]) -> str:
    """Return the description of a scope, as a verb: ``read your email``. Without a description: the scope's name.

    A discovered server has no descriptions, and a description may only repeat the name.
    """
    text = descriptions.get(scope, "").strip()
    return text if text and text.casefold() != scope.casefold() else f'use the permission "{scope}"'
