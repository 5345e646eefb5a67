"""A provider as data: all differences between OAuth servers are fields here, and none is code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field, replace
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Final
from urllib.parse import urljoin, urlsplit

from deputize.core.errors import SettingsError
from deputize.core.failures import Rules, TokenShape
from deputize.core.failures.redaction import add_shapes
from deputize.core.failures.standard import GENERIC
from deputize.core.oauth.api_rules import NEVER_SET, ApiRules
from deputize.core.oauth.app import App
from deputize.core.oauth.identity import Identity, Imports, Permissions
from deputize.core.oauth.oauth_endpoints import ADDRESSES, OAuthEndpoints
from deputize.core.value_object import Frozen, ValueObject, frozen

__all__ = ["ApiRules", "App", "Identity", "Imports", "OAuthEndpoints", "Permissions", "Provider", "Site"]

_NETLOC: Final = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
"""A host, perhaps with a port: it is put into a header (CSP) and compared with the hosts that may get tokens."""
_USER: Final = r"(?<=//)[^/?#]*@"
_LOCAL: Final = r"http://(?:127\.0\.0\.1|\[::1\]|localhost)(:[0-9]+)?(?=/|$)"
_HOST: Final = r"(?=.{4,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])"
_STAND_IN: Final = r"http://(?:127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~/-]*)?"


@frozen
class Site(Frozen):
    """The URLs of a provider that somebody else hosts. ``hosts``: pattern of its host names.

    ``places``: prefixes of the provider's URLs with their replacements, which contain ``{host}``. ``roots``: of APIs
    whose root does not follow from these. ``csp_form_targets``: as in `OAuthEndpoints`, besides the provider's own.
    """

    hosts: str
    places: Mapping[str, str]
    roots: Mapping[str, str] = field(default_factory=dict)
    csp_form_targets: tuple[str, ...] = ()


@frozen
class Provider(ValueObject):
    """One OAuth authorization server, and the API hosts that accept its tokens.

    ``name``, ``label``: in settings, and for people. ``oauth``: the authorization server. ``apis``: where its tokens
    may go, and how accounts are identified. ``rules``: how replies of both are classified. ``token_shapes``: patterns
    of its tokens, which are masked in any text. ``scope_descriptions``: scopes in plain language. ``more_scopes``:
    there may be others (RFC 8414 2). ``revoke_note``: what a disconnect ends beyond what people expect, as a sentence
    for a page. ``base``: the provider definition it was made from, if it is hosted elsewhere under another name; else
    its name. ``stands_in_for``: the provider whose toolkits also work with it. ``sites``: other hosts of its software;
    see `at_host`. ``plain_http``: http on loopback is accepted, for a sandbox.
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
        """Return all scopes that these allow: themselves, and those that a broader one includes."""
        known = self._known.get(scopes)  # on the path of every act, and few sets differ
        if known is None:
            if len(self._known) >= 1024:
                self._known.clear()
            known = self._known[scopes] = self.oauth.normal(self.rules.covered(scopes)) | scopes
        return known

    # ------------------------------------------------------------- redirects

    def forms_to(self, base_url: str) -> tuple[str, ...]:
        """Return where a form of pages at ``base_url`` may lead, for ``form-action``: to the provider and back.

        Browsers apply it to each redirect after a form. A provider that remembers a consent redirects at once.
        """
        back = () if (own_url := self._as_loopback_name(base_url)) == base_url else (own_url,)
        return tuple(dict.fromkeys((self.oauth.authorize_origin, *self.oauth.csp_form_targets, *back)))

    def _as_loopback_name(self, base_url: str) -> str:
        """Return our own URL with the loopback name that this provider requires."""
        return re.sub(_LOCAL, r"http://localhost\1", base_url) if self.oauth.localhost else base_url

    def cookie_fault(self, base_url: str) -> SettingsError | None:
        """Return the error of pages at ``base_url`` that have no cookies after the redirect, or None."""
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
        """Return the provider for a grant with this ``extra``: with its own API roots and their hosts."""
        apis = self.apis.for_grant(extra)
        return self if apis is self.apis else replace(self, apis=apis)

    def played(self) -> Provider:
        """Return the provider as a sandbox simulates it: nothing is pushed or signed, userinfo names the account."""
        oauth, shape = self.oauth, self.apis.identity
        shape = shape if shape.url else replace(shape, url=urljoin(oauth.token_url, "userinfo"))
        auth = "post" if oauth.client_auth == "private_key_jwt" else oauth.client_auth
        plain = replace(oauth, par_url="", jwks_url="", client_auth=auth, client_auth_methods=frozenset())
        return replace(self, oauth=plain, apis=replace(self.apis, identity=shape))

    def moved_to(self, base_url: str) -> Provider:
        """Return the same provider at a sandbox: ``https://host/path`` becomes ``{base_url}/host/path``.

        No URL leads off this machine, whatever the sandbox replies. Plain http is accepted on loopback only. Raises
        `SettingsError` if ``base_url`` is not such a URL.
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
        """Return the same software under this name, hosted by somebody else at ``host`` (``github.example.com``).

        ``host`` comes from the operator, never from a tool. Raises `SettingsError` if it cannot be such a host.
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
    """Return what this scope allows, as a verb: ``read your email``. Without a description, its name.

    A server that was discovered has none, and a description may only repeat the name.
    """
    text = descriptions.get(scope, "").strip()
    return text if text and text.casefold() != scope.casefold() else f'use the permission "{scope}"'
