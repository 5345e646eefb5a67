"""What every answer of ours tells the browser, whatever it is: keep others at a distance, and guess nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

ALWAYS: Final[Mapping[str, str]] = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",  # what browsers without frame-ancestors know
    "cross-origin-opener-policy": "same-origin",  # a page that opened ours has no hand on it, nor ours on it
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
}
"""Of pages, see `deputize.core.web.pages.rendering` for the rest."""


def plain_headers(*more: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    """The headers of an answer that is no page, as ASGI wants them: nobody keeps it."""
    always = [(name.encode(), value.encode()) for name, value in ALWAYS.items()]
    return [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store"), *always, *more]
