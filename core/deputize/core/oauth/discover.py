"""Providers from a server's own metadata: RFC 8414, or OpenID Connect Discovery 1.0 if the server has only that.

Metadata is checked before use: its issuer must be the requested one, every URL in it must be https on a public host
(SSRF guard, CWE-918), and the server must support PKCE with S256. The vault stores the metadata, so that a program can
start while a server is down.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import httpx

from deputize.core.errors import ProviderUnavailable, SettingsError
from deputize.core.http import Http, Transport
from deputize.core.http.address_guard import PLAIN_HTTPS, AddressGuard
from deputize.core.http.address_guard import Resolve as Resolve
from deputize.core.http.address_guard import addresses_of as addresses_of
from deputize.core.oauth.pkce import fingerprint
from deputize.core.oauth.provider import Audience, Provider
from deputize.core.oauth.server_metadata import check_origins, provider_from_metadata, unusable_server
from deputize.core.value_object import ValueObject
from deputize.core.vault.vault import Vault

MAX_METADATA_BYTES: Final = 2**18
"""Maximum size of a metadata document."""
METADATA_TIMEOUT_SECONDS: Final = 10.0
"""Timeout of a metadata request."""
_NAME: Final = r"[A-Za-z0-9_-]{1,60}"


async def discover(
    issuer: str,
    *,
    name: str,
    label: str = "",
    api: Mapping[str, str] | None = None,
    resource: str = "",
    allow_private_network: bool = False,
    trusted_origins: Iterable[str] = (),
    par: bool = False,
    dpop: bool = False,
    assertion_audience: Audience = "issuer",
    transport: Transport | None = None,
    resolve: Resolve = addresses_of,
    known: Known | None = None,
) -> Provider:
    """Return the provider of an issuer, from its metadata.

    ``issuer``: its https URL exactly as the issuer spells it. ``name``, ``label``, ``api``, ``resource``,
    ``assertion_audience``: as in `Provider`; tokens may go to the API's hosts and the issuer's identity endpoint.
    ``allow_private_network``: allow private addresses (an intranet). ``trusted_origins``: further origins that its
    endpoints may have (``https://oauth2.example.com``). Any other origin is refused. Otherwise a server could name
    somebody else's sign-in page and its own token endpoint, and get the codes of users who sign in there. ``par``: push
    requests (RFC 9126) even if the server does not require it. ``dpop``: bind its tokens to a key (RFC 9449).
    ``transport`` replaces the network, ``resolve`` the look-up of host names. ``known`` stores the metadata for times
    when the server is down.

    Raises `SettingsError` for a server that cannot be used, and `ProviderUnavailable` if it cannot be reached.
    """
    if not re.fullmatch(PLAIN_HTTPS, issuer):
        raise SettingsError("An issuer is an https address without query, login and fragment.")
    if not re.fullmatch(_NAME, name):
        raise SettingsError(f"A provider cannot be called {name!r}.", hint="Letters, digits, - and _ only.")
    guard, own = AddressGuard(resolve, allow_private_network=allow_private_network), (*trusted_origins,)
    row_from = partial(
        provider_from_metadata,
        issuer,
        name=name,
        label=label,
        api=api or {},
        resource=resource,
        par=par,
        audience=assertion_audience,
        dpop=dpop,
    )
    try:
        metadata = await _fetch_metadata(issuer, guard, transport)
    except ProviderUnavailable:
        before = await known.read(issuer) if known else None
        if before is None:
            raise
        check_origins(issuer, before, own)
        row = row_from(before)
        await check_all(guard, row, down=True)
        return row
    check_origins(issuer, metadata, own)
    row = row_from(metadata)
    await check_all(guard, row)
    if known is not None:
        await known.write(issuer, metadata)
    return row


class Known(Protocol):
    """A store of issuers' metadata, from the last time each issuer was reached."""

    async def read(self, issuer: str) -> Mapping[str, Any] | None:
        """Return an issuer's metadata, or None if it is unknown."""
        ...

    async def write(self, issuer: str, metadata: Mapping[str, Any]) -> None:
        """Store an issuer's metadata."""
        ...


async def _fetch_metadata(issuer: str, guard: AddressGuard, transport: Transport | None) -> Mapping[str, Any]:
    http = Http(transport)
    try:
        return await metadata_of(http, issuer, guard)
    finally:
        if transport is None:
            await http.close()


async def metadata_of(http: Http, issuer: str, guard: AddressGuard) -> Mapping[str, Any]:
    """Return an issuer's metadata, which must name the same issuer.

    Raises `SettingsError` if there is none or it names another issuer, `ProviderUnavailable` if it cannot be read now.
    """
    metadata = await _metadata(http, issuer, guard)
    if metadata.get("issuer") != issuer:
        raise SettingsError(
            f"The server at {issuer} calls itself by another name.",
            hint="The issuer must be spelt exactly as the server spells it, slashes and case included.",
        )
    return metadata


async def _metadata(http: Http, issuer: str, guard: AddressGuard) -> Mapping[str, Any]:
    """Return the first metadata found at the well-known URLs of RFC 8414 3.1, RFC 8414 5 and OpenID Connect Discovery
    4.1."""
    parts = urlsplit(issuer)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    await guard.check(issuer)
    places = (
        f"{origin}/.well-known/oauth-authorization-server{path}",
        f"{origin}/.well-known/openid-configuration{path}",
        f"{origin}{path}/.well-known/openid-configuration",
    )
    for url in dict.fromkeys(places):
        if (metadata := await document(http, url)) is not None:
            return metadata
    raise unusable_server(issuer, "shows no metadata")


async def document(http: Http, url: str) -> dict[str, Any] | None:
    """Return the JSON object at a well-known URL that the guard has allowed, or None if there is none.

    Raises `ProviderUnavailable` for a failure that may be temporary.
    """
    request = httpx.Request("GET", url, headers={"accept": "application/json"})
    answer = await http.send(request, timeout=METADATA_TIMEOUT_SECONDS, max_bytes=MAX_METADATA_BYTES)
    if answer.status_code >= 500 or answer.status_code == 429:
        raise ProviderUnavailable(f"{urlsplit(url).netloc} could not show its metadata now.")
    return _object(answer.content) if answer.status_code == 200 else None


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        metadata = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return metadata if isinstance(metadata, dict) else None


async def check_all(guard: AddressGuard, row: Provider, *, down: bool = False) -> None:
    """Check every URL of a provider. ``down``: ignore hosts that cannot be resolved, which can receive nothing
    anyway."""
    for url in row.addresses().values():
        with suppress(ProviderUnavailable) if down else nullcontext():
            if url:
                await guard.check(url)


log = logging.getLogger("deputize")


@dataclass(frozen=True, eq=False, repr=False)
class KnownIssuers(ValueObject):
    """Metadata by issuer, encrypted like all records; for `discover`."""

    vault: Vault

    async def read(self, issuer: str) -> Mapping[str, Any] | None:
        """Return an issuer's metadata from the last time it was reached, or None if it never was."""
        if (kept := await self.vault.get("meta", _record_key(issuer))) is None:
            return None
        log.warning("%s cannot be reached: using its stored metadata.", issuer)
        return kept.json

    async def write(self, issuer: str, metadata: Mapping[str, Any]) -> None:
        """Store an issuer's metadata."""
        content = dict(metadata)
        while not await self.vault.insert("meta", _record_key(issuer), content):
            old = await self.vault.get("meta", _record_key(issuer))
            if old and (old.json == content or await self.vault.swap(old, content)):
                return


def _record_key(issuer: str) -> str:
    return f"issuer.{fingerprint(issuer)}"
