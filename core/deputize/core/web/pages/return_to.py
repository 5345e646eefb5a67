"""The link back to your application after a consent, only to addresses that it named itself (no open redirect).

Source: RFC 9700 4.11 (open redirectors). A page links to the address; nobody is redirected without a click.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, Self
from urllib.parse import SplitResult, unquote, urlsplit

from deputize.core.errors import InvalidInput, SettingsError
from deputize.core.value_object import ValueObject, frozen
from deputize.core.web.cookies import LOOPBACK

_URL: Final = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]{1,2000}")
"""Characters of RFC 3986: browsers change others, such as a backslash, into another address than the checked one."""
_DECODED: Final = 4
"""How many times a path may be percent-encoded; no application encodes one more often."""


@frozen
class ReturnTo(ValueObject):
    """The allowed addresses: paths of this host, or URLs. An address that ends in ``/`` allows all below it.

    The first address is the default.
    """

    allowed: tuple[str, ...] = ()

    @classmethod
    def of(cls, addresses: Iterable[str]) -> Self:
        """Return these addresses, checked. Raises `SettingsError` unless each is a path, https, or http on loopback."""
        allowed = tuple(addresses)
        for address in allowed:
            parts = _split(address)
            if parts is None or "@" in parts.netloc or parts.fragment:
                raise SettingsError(
                    f"return_to has {address!r}, neither a path of your application, as /chat, nor an https address.",
                    hint="Name each address that users may be led back to; one that ends in / allows all below it.",
                )
        return cls(allowed)

    @property
    def default(self) -> str:
        """The address if the link names none, or "" if there is no link back."""
        return self.allowed[0] if self.allowed else ""

    def check(self, target: str) -> str:
        """Return the target if it is allowed, or "" for an empty one. Raises the refusal of all unusable links."""
        if not target or self.allows(target):
            return target
        raise InvalidInput("This link cannot be used.", fix_by="user", reason="foreign_return_to")

    def allows(self, target: str) -> bool:
        """Return True if the target is at one of the addresses."""
        parts = _split(target)
        return parts is not None and any(_allows(urlsplit(one), parts) for one in self.allowed)


def _split(address: str) -> SplitResult | None:
    """Return the parts of an address that browsers parse in the same way as this function, or None for any other."""
    if not _URL.fullmatch(address) or address.startswith("//"):
        return None
    try:
        parts = urlsplit(address)
        on_loopback = parts.scheme == "http" and parts.hostname in LOOPBACK
        on_a_host = bool(parts.hostname) and "%" not in parts.netloc and parts.port != 0  # reading a bad port raises
    except ValueError:
        return None
    by_host = on_a_host and (parts.scheme == "https" or on_loopback)
    by_path = not parts.netloc and not parts.scheme and address.startswith("/")
    return parts if (by_host or by_path) and not _climbs(parts.path) else None


def _climbs(path: str) -> bool:
    """Return True if a server might read this path as another one: it contains ``..`` or a control character, however
    encoded.

    Browsers resolve ``..`` and ``%2e%2e`` only. Servers behind proxies also decode ``%2f`` and ``%5c``, some twice, and
    drop the part after a ``;``.
    """
    for _ in range(_DECODED):
        if (plain := unquote(path)) == path:
            segments = re.split(r"[/\\]", path)
            return any(segment.partition(";")[0] in (".", "..") for segment in segments) or not path.isprintable()
        path = plain
    return True


def _allows(allowed: SplitResult, target: SplitResult) -> bool:
    if (allowed.scheme, allowed.netloc) != (target.scheme, target.netloc):
        return False
    below = allowed.path.endswith("/") and target.path.startswith(allowed.path)
    return below or allowed.path == target.path
