"""SSRF guard (CWE-918): checks addresses chosen by others. None may lead to an internal host, in whatever form.

Source: the IANA special-purpose address registries (RFC 6890, RFC 8190) and RFC 4291 2.4. Every address in the
registries is refused, reachable or not, because no public host has one. Python's `is_global` depends on the Python
version. Metadata services of clouds with a public address are also refused.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable
from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

from deputize.core.errors import ProviderUnavailable, SettingsError

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
    """Guard that allows only https to public addresses, so that metadata cannot name a machine in an intranet.

    ``allow_private_network``: allow private addresses. ``loopback``: allow plain http to this machine, for a sandbox.
    DNS rebinding (a name that resolves to another address a moment later) fails at TLS, which requires a matching
    certificate.
    """

    def __init__(self, resolve: Resolve, *, allow_private_network: bool = False, loopback: bool = False) -> None:
        self._resolve, self._private, self._loopback = resolve, allow_private_network, loopback
        self._known: set[str] = set()

    async def check(self, url: str) -> None:
        """Raise `SettingsError` for a URL that must not be called, and `ProviderUnavailable` for an unknown host."""
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


_V4: Final = (
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"),
    *("192.0.0.0/24", "192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
    *("192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.175.48.0/24"),  # AS112, AMT, the relays of 6to4
    "224.0.0.0/3",  # multicast, reserved, broadcast
    "168.63.129.16/32",  # Azure's WireServer
    *("161.26.0.0/16", "166.8.0.0/14"),  # IBM Cloud's services for its own machines: cloud.ibm.com/docs/vpc
)
_V6: Final = (  # within 2000::/3, outside of which nothing is assigned
    "2001::/23",  # IETF protocols: Teredo, benchmarking, AMT, AS112, ORCHID, drones
    "2001:db8::/32",
    "2002::/16",  # 6to4
    "2620:4f:8000::/48",  # AS112
    "3fff::/20",
)
_UNICAST: Final = "2000::/3"  # RFC 4291 2.4: all that is assigned to the internet
_INNER: Final = ("::ffff:0:0/96", "64:ff9b::/96")
"""IPv4 addresses in IPv6 form, checked as IPv4: mapped (RFC 4291 2.5.5.2), through a NAT64 (RFC 6052)."""


def is_public(address: str) -> bool:
    """Return True if the string is a public IP address, and not an internal one in another form."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, IPv6Address) and any(found in network for network in _networks_v6(*_INNER)):
        found = IPv4Address(int(found) & 0xFFFFFFFF)
    if isinstance(found, IPv4Address):
        return not any(found in network for network in _networks_v4(*_V4))
    (unicast,) = _networks_v6(_UNICAST)
    return found in unicast and not any(found in network for network in _networks_v6(*_V6))


@cache
def _networks_v4(*networks: str) -> tuple[IPv4Network, ...]:
    return tuple(map(IPv4Network, networks))


@cache
def _networks_v6(*networks: str) -> tuple[IPv6Network, ...]:
    return tuple(map(IPv6Network, networks))
