"""A provider as data: everything that differs between OAuth servers is a field here, and nothing is code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field, replace
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Final, Literal
from urllib.parse import urlsplit

from deputize.core.errors import SettingsError
from deputize.core.failures import Rules, TokenShape
from deputize.core.failures.redaction import add_shapes
from deputize.core.failures.standard import GENERIC
from deputize.core.oauth import provider_hosts as elsewhere
from deputize.core.oauth.app import App, ClientAuth
from deputize.core.oauth.identity import NO_IMPORTS, Identity, Imports, Permissions
from deputize.core.oauth.provider_hosts import Site
from deputize.core.oauth.scope_words import in_words
from deputize.core.value_object import ValueObject, frozen

__all__ = [
    "NEVER_SET",
    "App",
    "ClientAuth",
    "EndsReplaced",
    "Identity",
    "Imports",
    "Permissions",
    "Pkce",
    "Provider",
    "RevokeBy",
    "Site",
]

Audience = Literal["issuer", "token"]
Pkce = Literal["always", "if_app_enabled"]
RevokeBy = Literal["form", "bearer", "app"]
EndsReplaced = Literal["at_once", "with_grant"]

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
"""Headers of a request that say who sends it, where it goes and where it ends."""
_ADDRESSES: Final = ("authorize", "token", "par", "jwks", "device", "revoke", "revoke_one", "revoke_leaked")
_NETLOC: Final = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
"""A host, maybe with a port: what stands in a header of ours (CSP) and is compared with where a token may go."""
_USER: Final = r"(?<=//)[^/?#]*@"
_LOCAL: Final = r"http://(?:127\.0\.0\.1|\[::1\]|localhost)(:[0-9]+)?(?=/|$)"


@frozen
class Provider(ValueObject):
    """One OAuth authorization server and the API hosts its tokens are good for.

    ``name``, ``label``: in settings, and for people.
    ``authorize``, ``token``: its endpoints (RFC 6749 3.1, 3.2), https.
    ``csp_form_targets``: where ``authorize`` may send a browser on at once, beside its own origin, as sources of a
    content security policy (CSP 3, 2.3.1): a workspace's own host, or ``https:`` where single sign-on may be anywhere.
    ``api``: the API's roots by name; one may begin with a field of ``kept_fields``, as ``{instance_url}/services``.
    ``hosts``: where a token may go, as ``host`` or ``host:port``; `for_grant` adds those that API roots begin with.
    ``request_headers``: headers of its own that tools may set, in lower case, beside those of `act.request.HEADERS`;
    ``mcp-param-*`` for all that begin so.
    ``identity``: how to learn whose account a token is; of an id_token's claims where ``jwks`` is set.
    ``jwks``: the key set of the issuer's id_tokens (OpenID Connect Discovery 3), "" where none are used.
    ``id_token_algs``: what it signs them by; RS256 where it does not say.
    ``par``: where an authorization request is pushed before the browser leaves (RFC 9126), "" where it is not.
    ``device``: where a machine without a browser asks for a code that its user enters elsewhere (RFC 8628), or "".
    ``resource``: what tokens are to be good for, where the server wants to be told (RFC 8707).
    ``revoke``: where tokens are ended, "" where they cannot be; ``{client_id}`` in it is the app's.
    ``revoke_by``: ``form`` (RFC 7009, either token), ``bearer`` (the access token ends itself) or ``app`` (the app
    ends all that the account has given it, naming the access token).
    ``revoke_one``: where one token is ended alone, the same way, if ``revoke`` ends all; "" where nowhere.
    ``revoke_leaked``: where a list of tokens is ended for whoever has them, without the app's secret; "" where nowhere.
    ``base``: the row of the table it was made from, where somebody else runs it under another name; else its name.
    ``stands_in_for``: the provider whose toolkits work with it, too.
    ``rules``: how its answers are read.
    ``token_shapes``: what its tokens look like, to be masked in any text.
    ``issuer``: what a callback's ``iss`` must be (RFC 9207); ``iss_required`` where the server always sends it.
    ``dpop``: its tokens are bound to a key of each grant (RFC 9449), and are worth nothing without it.
    ``pkce``: ``always``, or ``if_app_enabled`` where the app's registration decides; a public client always uses it.
    ``client_auth``: how an app with a secret shows it at the token endpoint; with a key it signs: ``private_key_jwt``.
    ``client_auth_methods``, ``client_auth_algs``: what the server says it takes, in its words (RFC 8414 2); empty where
    it does not say. ``assertion_audience``: what it wants signed assertions to name as ``aud``, its issuer (so that no
    other server can use them) or its token endpoint (OpenID Connect Core 9).
    ``scope_param``: the parameter that asks for scopes, "" where the app's registration alone says what is asked.
    ``scope_separator``: between the scopes asked for; replies are split on commas and spaces everywhere.
    ``always``: scopes asked for in every consent. ``least``: where one would ask for none and the server refuses that.
    ``aliases``: other names of scopes, as ``{theirs: ours}``.
    ``absent_scope``: what a reply to a code without ``scope`` grants: what was ``requested``, or nothing (``empty``).
    ``permissions``: where rights are read if not from scopes. ``imports``: how tokens from elsewhere are read.
    ``scope_words``: scopes in plain language. ``more_scopes``: there may be others (RFC 8414 2).
    ``incompatible_scopes``: scopes never to be asked for, and the API that a token with them, whatever else it has, is
    no good for.
    ``params``: of every authorization request; ``params_consent``: those that make it show its page, and give a
    refresh token, even to somebody who has consented before.
    ``params_choose``: those that let the user choose another account than the one that is signed in.
    ``login_hint``: the parameter that names the account to choose.
    ``kept_fields``: fields of a token reply that are kept with the grant, each with the pattern it must have.
    ``default_lifetime``: seconds, where a token reply has no ``expires_in``; 0: such a token does not expire.
    ``localhost``: loopback must be called by that name; ``loopback_needs_pkce``: it is for apps with PKCE only.
    ``revokes_all``: ending one token ends all that the account has given this app.
    ``ends_replaced``: when tokens end that a newer consent replaces: ``at_once``, where that leaves the newer ones
    alive; else ``with_grant``, at its disconnect, since RFC 7009 2.1 lets a server take both for one grant.
    ``revoke_note``: what a disconnect ends there beyond what people expect, as a sentence of the page.
    ``sites``: who else may run it; see `at_host`.
    ``shared_hosts``: its hosts where everybody has pages: who names one means the whole address, not the host.
    ``service_accounts``: it may have them. ``plain_http``: http on loopback is accepted: a stand-in.
    """

    name: str
    label: str
    authorize: str
    token: str
    api: Mapping[str, str]
    hosts: frozenset[str]
    identity: Identity
    jwks: str = ""
    id_token_algs: frozenset[str] = frozenset()
    csp_form_targets: tuple[str, ...] = ()
    request_headers: frozenset[str] = frozenset()
    par: str = ""
    device: str = ""
    resource: str = ""
    revoke: str = ""
    revoke_by: RevokeBy = "form"
    revoke_one: str = ""
    revoke_leaked: str = ""
    base: str = ""
    stands_in_for: str = ""
    rules: Rules = GENERIC
    token_shapes: tuple[TokenShape, ...] = ()
    issuer: str = ""
    iss_required: bool = False
    dpop: bool = False
    pkce: Pkce = "always"
    client_auth: ClientAuth = "post"
    client_auth_methods: frozenset[str] = frozenset()
    client_auth_algs: frozenset[str] = frozenset()
    assertion_audience: Audience = "issuer"
    scope_param: str = "scope"
    scope_separator: str = " "
    always: tuple[str, ...] = ()
    least: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    absent_scope: Literal["requested", "empty"] = "requested"
    permissions: Permissions | None = None
    imports: Imports = NO_IMPORTS
    scope_words: Mapping[str, str] = field(default_factory=dict)
    more_scopes: bool = False
    incompatible_scopes: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    params_consent: Mapping[str, str] = field(default_factory=dict)
    params_choose: Mapping[str, str] = field(default_factory=dict)
    login_hint: str = ""
    kept_fields: Mapping[str, str] = field(default_factory=dict)
    default_lifetime: float = 0.0
    localhost: bool = False
    loopback_needs_pkce: bool = False
    revokes_all: bool = False
    ends_replaced: EndsReplaced = "with_grant"
    revoke_note: str = ""
    sites: tuple[Site, ...] = ()
    shared_hosts: frozenset[str] = frozenset()
    service_accounts: bool = True
    plain_http: bool = False
    _known: dict[frozenset[str], frozenset[str]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "base", self.base or self.name)
        if self.dpop and (self.device or self.revoke_by != "form" or self.revoke_leaked):
            raise SettingsError(f"Provider {self.name}: with dpop there is no device, and revoke_by is form.")
        add_shapes(self.token_shapes)
        if never := sorted(one for one in self.request_headers if any(fnmatchcase(name, one) for name in NEVER_SET)):
            raise SettingsError(f"Provider {self.name}: no tool may set {', '.join(never)}.")
        for place, url in self._addresses().items():
            if url and not self._good(url):
                shown = re.sub(_USER, "...@", url)  # a password, perhaps
                raise SettingsError(f"Provider {self.name}: {place} {shown!r} is not an https address.")
        if self.par and urlsplit(self.par).netloc not in {urlsplit(url).netloc for url in (self.authorize, self.token)}:
            raise SettingsError(  # it gets the client's credentials, and is no part of a grant's origin
                f"Provider {self.name}: par is on another host than its authorization and its token endpoint."
            )

    def _addresses(self) -> dict[str, str]:
        """All addresses by the fields they stand in, but for API roots that a grant brings."""
        named = {name: getattr(self, name) for name in _ADDRESSES} | {"identity.url": self.identity.url}
        rights = {"permissions.url": self.permissions.url} if self.permissions else {}
        roots = {f"api.{api}": url for api, url in self.api.items() if _kept_part(url) not in self.kept_fields}
        return named | rights | roots

    def foreign_api(self) -> str:
        """The first API whose host no token may go to, so that each of its requests would be refused; or ""."""
        own = {api: url for api, url in self.api.items() if _kept_part(url) not in self.kept_fields}
        return next((api for api, url in own.items() if urlsplit(url).netloc not in self.hosts), "")

    def _good(self, url: str) -> bool:
        try:
            parts = urlsplit(url)
        except ValueError:  # brackets that hold no address: metadata may have any text
            return False
        local = self.plain_http and parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1")
        return bool(_NETLOC.fullmatch(parts.netloc)) and (parts.scheme == "https" or local)

    def words(self, scope: str) -> str:
        """A scope as a person reads it."""
        return in_words(scope, self.scope_words)

    def normal(self, scopes: str | frozenset[str]) -> frozenset[str]:
        """Scopes as we spell them: split on spaces and commas, aliases resolved."""
        parts = scopes.replace(",", " ").split() if isinstance(scopes, str) else scopes
        return frozenset(self.aliases.get(scope, scope) for scope in parts)

    def covered(self, scopes: frozenset[str]) -> frozenset[str]:
        """All that these scopes allow: themselves, and those that a broader one among them includes."""
        known = self._known.get(scopes)  # on the path of every act, and few sets differ
        if known is None:
            if len(self._known) >= 1024:
                self._known.clear()
            known = self._known[scopes] = self.normal(self.rules.covered(scopes)) | scopes
        return known

    @property
    def audience(self) -> str:
        """What a signed assertion for this server names as its ``aud``."""
        return (self.assertion_audience == "issuer" and self.issuer) or self.token

    @property
    def authorize_origin(self) -> str:
        """Scheme and host of the consent page, for a page's ``form-action``."""
        parts = urlsplit(self.authorize)
        return f"{parts.scheme}://{parts.netloc}"

    def forms_to(self, base_url: str) -> tuple[str, ...]:
        """Where a form of pages at ``base_url`` may lead on the way to the provider and back, for ``form-action``.

        Browsers hold every redirect after a form to it, and a provider that remembers a yes sends people back at once.
        """
        back = () if (named := self._called(base_url)) == base_url else (named,)
        return tuple(dict.fromkeys((self.authorize_origin, *self.csp_form_targets, *back)))

    def _called(self, base_url: str) -> str:
        """Our own address as this provider wants loopback to be called."""
        return re.sub(_LOCAL, r"http://localhost\1", base_url) if self.localhost else base_url

    def cookie_fault(self, base_url: str) -> SettingsError | None:
        """Return the fault of pages at ``base_url`` that have no cookies where this provider brings browsers back."""
        if (named := self._called(base_url)) == base_url:
            return None
        return SettingsError(
            f"{self.label} brings browsers back to {named}, and cookies of {base_url} are not sent there.",
            hint=f"Set DEPUTIZE_BASE_URL={named}, and open your application at that host.",
        )

    def uses_pkce(self, app: App) -> bool:
        """Whether this app's requests carry a challenge and a verifier."""
        return self.pkce == "always" or app.pkce or app.client_secret is None

    def redirect_uri(self, base_url: str, app: App) -> str:
        """Where the browser comes back, of pages at ``base_url``. Raises `SettingsError` where that cannot work."""
        path = f"/callback/{app.name}"
        if not re.match(_LOCAL, base_url):
            return base_url + path
        if self.loopback_needs_pkce and not self.uses_pkce(app):
            raise SettingsError(
                f"{self.label} sends no browser back to loopback for this app.",
                hint=f"Serve the pages under https, or switch PKCE on in the app's registration at {self.label} and "
                "leave its client secret out.",
            )
        return self._called(base_url) + path

    def for_grant(self, extra: Mapping[str, str]) -> Provider:
        """The provider as a grant with this ``extra`` sees it: with its own API roots, and their hosts."""
        if not self.kept_fields:
            return self
        own = {api: name for api, root in self.api.items() if (name := _kept_part(root)) in self.kept_fields}
        if not own:
            return self
        good = {api: extra[n] for api, n in own.items() if re.fullmatch(self.kept_fields[n], extra.get(n, ""))}
        roots = {api: start + self.api[api][len(own[api]) + 2 :] for api, start in good.items()}
        rest = {api: root for api, root in self.api.items() if api not in own}
        hosts = self.hosts | {urlsplit(root).netloc for root in roots.values()}
        return replace(self, api=MappingProxyType({**rest, **roots}), hosts=hosts)

    def moved_to(self, base_url: str) -> Provider:
        """The same provider played by a stand-in on loopback; see `deputize.core.oauth.provider_hosts.moved_to`."""
        return elsewhere.moved_to(self, base_url)

    def at_host(self, host: str, name: str = "") -> Provider:
        """The same software, run by somebody else at ``host``; see `deputize.core.oauth.provider_hosts.at_host`."""
        return elsewhere.at_host(self, host, name)


def _kept_part(root: str) -> str:
    """The field that an API's root begins with: ``instance_url`` of ``{instance_url}/services``."""
    found = re.match(r"\{(\w+)\}/", root) if root.startswith("{") else None
    return found[1] if found else ""
