"""Security headers of every response: they isolate the pages from other sites and forbid content sniffing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

ALWAYS: Final[Mapping[str, str]] = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",  # for browsers without frame-ancestors
    "cross-origin-opener-policy": "same-origin",  # a page that opened ours cannot control it, nor ours that page
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
}
"""Of pages, see `deputize.core.web.pages.rendering` for the rest."""


def plain_headers(*more: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    """Return the ASGI headers of a response that is not a page and must not be cached."""
    always = [(name.encode(), value.encode()) for name, value in ALWAYS.items()]
    return [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store"), *always, *more]
