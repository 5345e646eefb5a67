"""Public IP addresses (SSRF guard, CWE-918): no address that leads inside, in whatever form.

Source: the IANA special-purpose address registries (RFC 6890, RFC 8190) and RFC 4291 2.4. Everything in the registries
is refused, reachable or not, because no public host has such an address. Python's `is_global` is as old as the Python.
Metadata services of clouds with a public address are also refused.
"""

from __future__ import annotations

from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

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
    """Return True if this text is a public IP address, and not an internal one in another form."""
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
