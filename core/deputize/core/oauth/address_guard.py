"""SSRF guard (CWE-918): which addresses in a server's metadata may be called."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable
from typing import Final

from deputize.core.errors import ProviderUnavailable, SettingsError
from deputize.core.http.public_address import is_public

Resolve = Callable[[str], Awaitable[list[str]]]
"""Resolves a host name to its IP addresses."""

PLAIN_HTTPS: Final = r"https://([A-Za-z0-9.-]+)(?::[1-9][0-9]{0,4})?(?:/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)*/?"
"""An https URL without query, login and fragment, as an issuer has (RFC 8414 2)."""
_ON_LOOPBACK: Final = r"http://(127\.0\.0\.1|\[::1\])(?::[1-9][0-9]{0,4})?(?:/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)*/?"


async def addresses_of(host: str) -> list[str]:
    """Return the IP addresses of a host from the system's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, 443, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


class AddressGuard:
    """Allows only https to public addresses, so that metadata cannot name a machine in an intranet.

    ``allow_private_network``: allow private addresses. ``loopback``: allow plain http to this machine, for a sandbox.
    DNS rebinding (a name that resolves to another address a moment later) fails at TLS, which requires a matching
    certificate.
    """

    def __init__(self, resolve: Resolve, *, allow_private_network: bool = False, loopback: bool = False) -> None:
        self._resolve, self._private, self._loopback = resolve, allow_private_network, loopback
        self._known: set[str] = set()

    async def check(self, url: str) -> None:
        """Raise `SettingsError` for a URL that must not be called, `ProviderUnavailable` for an unknown host."""
        place = url.partition("?")[0]
        if self._loopback and re.fullmatch(_ON_LOOPBACK, place):
            return
        if (found := re.fullmatch(PLAIN_HTTPS, place)) is None:
            raise SettingsError(
                "The server names an address that cannot be called.", hint="Only plain https addresses can be called."
            )
        if not self._private and found[1] not in self._known:
            await self._check_host(found[1])
            self._known.add(found[1])

    async def _check_host(self, host: str) -> None:
        try:
            found = await self._resolve(host)
        except OSError:
            raise ProviderUnavailable(f"{host} could not be found.") from None
        if not found or not all(is_public(address) for address in found):
            raise SettingsError(
                f"{host} is not a public host.",
                hint="If it is in your intranet, set allow_private_network=True.",
            )
