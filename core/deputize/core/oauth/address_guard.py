"""SSRF guard: which addresses that a server names may be asked for what it says of itself (CWE-918)."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable
from typing import Final

from deputize.core.errors import ProviderUnavailable, SettingsError
from deputize.core.http.public_address import is_public

Resolve = Callable[[str], Awaitable[list[str]]]
"""The addresses of a host name."""

PLAIN_HTTPS: Final = r"https://([A-Za-z0-9.-]+)(?::[1-9][0-9]{0,4})?(?:/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)*/?"
"""An https address without query, login and fragment, as an issuer is (RFC 8414 2)."""
_ON_LOOPBACK: Final = r"http://(127\.0\.0\.1|\[::1\])(?::[1-9][0-9]{0,4})?(?:/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)*/?"


async def addresses_of(host: str) -> list[str]:
    """The addresses of a host, from the system."""
    found = await asyncio.get_running_loop().getaddrinfo(host, 443, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


class AddressGuard:
    """Only https to public addresses, so that metadata cannot name a machine of the intranet.

    ``allow_private_network``: addresses that are not the internet's are fine. ``loopback``: so is plain http to this
    very machine, for a stand-in. DNS rebinding (a name that resolves to another address a moment later) fails at TLS,
    which wants its certificate.
    """

    def __init__(self, resolve: Resolve, *, allow_private_network: bool = False, loopback: bool = False) -> None:
        self._resolve, self._private, self._loopback = resolve, allow_private_network, loopback
        self._known: set[str] = set()

    async def check(self, url: str) -> None:
        """Raises `SettingsError` for an address that must not be called, `ProviderUnavailable` for an unknown host."""
        place = url.partition("?")[0]
        if self._loopback and re.fullmatch(_ON_LOOPBACK, place):
            return
        if (found := re.fullmatch(PLAIN_HTTPS, place)) is None:
            raise SettingsError(
                "The server names an address that cannot be called.", hint="Only plain https addresses can."
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
                hint="allow_private_network=True allows it, where that is meant: an intranet.",
            )
