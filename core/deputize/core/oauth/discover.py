"""Any server from its own metadata: RFC 8414, and OpenID Connect Discovery 1.0 where it serves only that.

Metadata is used only as far as it cannot hurt: the issuer in it must be the one that was named, every address in it
must be https on a public host (SSRF guard, CWE-918), and the server must support PKCE with S256.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext, suppress
from functools import partial
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import httpx

from deputize.core.errors import ProviderUnavailable, SettingsError
from deputize.core.http import Http, Transport
from deputize.core.http.public_address import is_public
from deputize.core.oauth.provider import Audience, Provider
from deputize.core.oauth.server_metadata import row_of, unfit

Resolve = Callable[[str], Awaitable[list[str]]]
"""The addresses of a host name."""

_MOST_BYTES: Final = 2**18
_SECONDS: Final = 10.0
_ISSUER: Final = re.compile(r"https://([A-Za-z0-9.-]+)(?::[1-9][0-9]{0,4})?(?:/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)*/?")
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,60}")


async def addresses_of(host: str) -> list[str]:
    """The addresses of a host, from the system."""
    found = await asyncio.get_running_loop().getaddrinfo(host, 443, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


async def discover(
    issuer: str,
    *,
    name: str,
    label: str = "",
    api: Mapping[str, str] | None = None,
    resource: str = "",
    private: bool = False,
    par: bool = False,
    dpop: bool = False,
    assertion_audience: Audience = "issuer",
    transport: Transport | None = None,
    resolve: Resolve = addresses_of,
    known: Known | None = None,
) -> Provider:
    """The provider behind an issuer, from its metadata.

    ``issuer``: its address exactly as it spells it, https. ``name``, ``label``, ``api``, ``resource``,
    ``assertion_audience``: of the row, as in `Provider`; the API's hosts and the issuer's identity endpoint are where
    tokens may go. ``private``: private addresses are fine (an intranet). ``par``: requests are pushed (RFC 9126) though
    the server does not require it of all its clients. ``dpop``: its tokens are bound to a key (RFC 9449). ``transport``
    replaces the network, ``resolve`` the look-up of names. ``known`` keeps the metadata, for a time when the server is
    down.

    Raises `SettingsError` for a server that cannot be used, and `ProviderUnavailable` for one that cannot be reached.
    """
    if not _ISSUER.fullmatch(issuer):
        raise SettingsError("An issuer is an https address without query, login and fragment.")
    if not _NAME.fullmatch(name):
        raise SettingsError(f"A provider cannot be called {name!r}.", hint="Letters, digits, - and _ only.")
    guard = _Guard(resolve, private)
    row_from = partial(
        row_of,
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
        metadata = await _fetched(issuer, guard, transport)
    except ProviderUnavailable:
        before = await known.read(issuer) if known else None
        if before is None:
            raise
        row = row_from(before)
        await guard.check_all(row, down=True)
        return row
    row = row_from(metadata)
    await guard.check_all(row)
    if known is not None:
        await known.write(issuer, metadata)
    return row


class Known(Protocol):
    """The metadata of issuers, as of when they could last be reached."""

    async def read(self, issuer: str) -> Mapping[str, Any] | None:
        """Its metadata; None if it was never asked."""
        ...

    async def write(self, issuer: str, metadata: Mapping[str, Any]) -> None:
        """Keep its metadata."""
        ...


async def _fetched(issuer: str, guard: _Guard, transport: Transport | None) -> Mapping[str, Any]:
    http = Http(transport)
    try:
        metadata = await _metadata(http, issuer, guard)
    finally:
        if transport is None:
            await http.close()
    if metadata.get("issuer") != issuer:
        raise SettingsError(
            f"The server at {issuer} calls itself by another name.",
            hint="The issuer must be spelt exactly as the server spells it, slashes and case included.",
        )
    return metadata


async def _metadata(http: Http, issuer: str, guard: _Guard) -> Mapping[str, Any]:
    """The first metadata there is: RFC 8414 3.1, then OpenID Connect Discovery 4.1."""
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    await guard.check(issuer)
    for url in (
        f"https://{parts.netloc}/.well-known/oauth-authorization-server{path}",
        f"https://{parts.netloc}{path}/.well-known/openid-configuration",
    ):
        request = httpx.Request("GET", url, headers={"accept": "application/json"})
        answer = await http.send(request, timeout=_SECONDS, max_bytes=_MOST_BYTES)
        metadata = _object(answer.content) if answer.status_code == 200 else None
        if metadata is not None:
            return metadata
        if answer.status_code >= 500 or answer.status_code == 429:
            raise ProviderUnavailable(f"{parts.netloc} could not show its metadata now.")
    raise unfit(issuer, "shows no metadata")


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        metadata = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return metadata if isinstance(metadata, dict) else None


class _Guard:
    """SSRF guard: only https to public addresses, so that metadata cannot name a machine of the intranet (CWE-918).

    DNS rebinding (a name that resolves to another address a moment later) fails at TLS, which wants its certificate.
    """

    def __init__(self, resolve: Resolve, private: bool) -> None:
        self._resolve, self._private = resolve, private
        self._known: set[str] = set()

    async def check(self, url: str) -> None:
        """Raises `SettingsError` for an address that must not be called."""
        host = _host(url)
        if self._private or host in self._known:
            return
        try:
            found = await self._resolve(host)
        except OSError:
            raise ProviderUnavailable(f"{host} could not be found.") from None
        if not found or not all(is_public(address) for address in found):
            raise SettingsError(
                f"{host} is not a public host.", hint="private=True allows it, where that is meant: an intranet."
            )
        self._known.add(host)

    async def check_all(self, row: Provider, *, down: bool = False) -> None:
        """The same for each address of a row. ``down``: names may be unknown now; then nothing can be sent there."""
        ends = (row.authorize, row.token, row.par, row.jwks, row.revoke, row.device, row.identity.url)
        for url in (*ends, *row.api.values()):
            with suppress(ProviderUnavailable) if down else nullcontext():
                if url:
                    await self.check(url)


def _host(url: str) -> str:
    found = _ISSUER.fullmatch(url.partition("?")[0])
    if found is None:
        raise SettingsError(
            "The server names an address that cannot be called.", hint="Only plain https addresses can."
        )
    return found[1]
