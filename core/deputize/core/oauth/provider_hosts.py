"""The same provider at other addresses: run by somebody else, or played by a stand-in on loopback."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin, urlsplit

from deputize.core.errors import SettingsError
from deputize.core.value_object import Frozen, frozen

if TYPE_CHECKING:
    from deputize.core.oauth.provider import Provider

_HOST: Final = r"(?=.{4,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])"
_STAND_IN: Final = r"http://(?:127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~/-]*)?"


@frozen
class Site(Frozen):
    """How the addresses of a provider begin where somebody else runs it. ``hosts``: pattern of the names it may have.

    ``places``: beginnings of its addresses, and what stands there instead, with ``{host}``. ``api``: roots that do not
    follow from that. ``csp_form_targets``: as in `Provider`, beside the provider's own.
    """

    hosts: str
    places: Mapping[str, str]
    api: Mapping[str, str] = field(default_factory=dict)
    csp_form_targets: tuple[str, ...] = ()


def played(row: Provider) -> Provider:
    """What a stand-in plays of a provider: nothing is pushed or signed there, and userinfo says whose a token is."""
    shape, auth = row.identity, row.client_auth
    return replace(
        row,
        identity=shape if shape.url else replace(shape, url=urljoin(row.token, "userinfo")),
        par="",
        jwks="",
        client_auth="post" if auth == "private_key_jwt" else auth,
        client_auth_methods=frozenset(),
    )


def moved_to(row: Provider, base_url: str) -> Provider:
    """Return the same provider, played by a stand-in: ``https://host/path`` becomes ``{base_url}/host/path``.

    Nothing of the row leads off this machine, whatever the stand-in answers. Plain http is accepted on loopback and
    nowhere else. Raises `SettingsError` if ``base_url`` is not such an address.
    """
    if not re.fullmatch(_STAND_IN, base_url):
        raise SettingsError(
            f"{row.label} cannot be moved to {base_url[:80]!r}: it is not an http address on loopback.",
            hint="Give the address of a sandbox on this machine, as http://127.0.0.1:8737.",
        )
    host = re.escape(f"{base_url}/") + "[a-z0-9.-]+"
    moved = _at(played(row), {"https://": f"{base_url}/"})
    return replace(
        moved,
        hosts=frozenset({urlsplit(base_url).netloc}),
        csp_form_targets=(),
        issuer=row.issuer,
        kept_fields={
            name: host if any(root.startswith(f"{{{name}}}/") for root in row.api.values()) else pattern
            for name, pattern in row.kept_fields.items()
        },
        dpop=False,  # it takes a token from whoever has it
        plain_http=True,
    )


def at_host(row: Provider, host: str, name: str = "") -> Provider:
    """The same software, run by somebody else at ``host`` (``github.example.com``), under this name.

    ``host`` is the operator's word, never a tool's. Raises `SettingsError` for what is no such host's name.
    """
    site = next((s for s in row.sites if re.fullmatch(_HOST, host) and re.fullmatch(s.hosts, host)), None)
    if site is None:
        hint = "A full host name in lower case, without scheme, port and path."
        raise SettingsError(f"{row.label} cannot be at {host!r}.", hint=hint)
    moved = _at(row, {old: new.replace("{host}", host) for old, new in site.places.items()})
    own = {api: root.replace("{host}", host) for api, root in site.api.items()}
    csp_form_targets = (*row.csp_form_targets, *site.csp_form_targets)
    made = replace(
        moved,
        csp_form_targets=csp_form_targets,
        revoke_leaked="",
        api=MappingProxyType({**moved.api, **own}),
        shared_hosts=frozenset({host}),
    )
    return _named(made, name, host) if name not in ("", row.name) else made


def _named(row: Provider, name: str, host: str) -> Provider:
    """The same under a name of its own; the toolkits of the provider it is made from work with it."""
    return replace(row, name=name, label=f"{row.label} ({host})", stands_in_for=row.stands_in_for or row.name)


def _at(row: Provider, places: Mapping[str, str]) -> Provider:
    """The provider with the beginnings of its addresses replaced."""

    def moved(url: str) -> str:
        start = next((old for old in places if url.startswith(old)), "")
        return places[start] + url[len(start) :] if start else url

    api = MappingProxyType({name: moved(url) for name, url in row.api.items()})
    shown = row.permissions
    return replace(
        row,
        authorize=moved(row.authorize),
        token=moved(row.token),
        par=moved(row.par),
        jwks=moved(row.jwks),
        device=moved(row.device),
        revoke=moved(row.revoke),
        revoke_one=moved(row.revoke_one),
        revoke_leaked=moved(row.revoke_leaked),
        identity=replace(row.identity, url=moved(row.identity.url)),
        permissions=shown._replace(url=moved(shown.url)) if shown else None,
        issuer=moved(row.issuer),
        api=api,
        hosts=frozenset(urlsplit(moved(f"https://{host}")).netloc for host in row.hosts),
        plain_http=row.plain_http or any(new.startswith("http:") for new in places.values()),
    )
