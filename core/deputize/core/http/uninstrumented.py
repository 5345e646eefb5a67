"""Requests leave as they were written, whatever watches the process.

Tracers (OpenTelemetry, Sentry, APM agents) patch HTTP libraries: they add headers to each request, with ids of the
host's traces and its baggage (https://www.w3.org/TR/baggage/), which often holds ``user.email``; and they note URLs.
Neither a provider nor a stranger's host is to know the one, nor a tracer the other. So our requests are not traced
where that can be said, and whatever header was added all the same is taken away by what writes the head of a request.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

FRAMING: Final = frozenset({"host", "content-length", "transfer-encoding", "connection"})
"""Headers that the HTTP library writes by itself."""


def untraced() -> AbstractContextManager[None]:
    """OpenTelemetry's instrumentation of HTTP clients is off inside of this, by its own switch. Nothing without it."""
    utils = sys.modules.get("opentelemetry.instrumentation.utils")
    off: Callable[[], AbstractContextManager[None]] | None = getattr(utils, "suppress_http_instrumentation", None)
    return off() if off else _NOTHING


_NOTHING: Final = nullcontext()


def remove_added(headers: MutableMapping[str, str], given: frozenset[str]) -> None:
    """Take away what nobody gave: of aiohttp's headers, right before they are sent. ``given``: names, lower case."""
    for name in [name for name in headers if (lower := name.lower()) not in given and lower not in FRAMING]:
        headers.pop(name, None)


class AsGiven:
    """The same for httpcore, as its extension ``trace`` (https://www.encode.io/httpcore/extensions/#trace).

    It is called right before the head of a request is written, with the request as it is by then. A head is written
    once, so what comes after that is not traced: httpcore would call this eight times more for each request.
    """

    def __init__(self, given: Iterable[tuple[str | bytes, str | bytes]]) -> None:
        self._given = given

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        if not event.endswith("send_request_headers.started"):
            return
        request = info["request"]
        if request.method != b"CONNECT":  # to a proxy, which gets none of ours
            kept = FRAMING.union(_text(name).lower() for name, _ in self._given)
            request.headers = [
                (name, value)
                for name, value in request.headers
                if (lower := _text(name).lower()) in kept or lower.startswith("proxy-")
            ]
            request.extensions = {name: value for name, value in request.extensions.items() if name != "trace"}


def _text(name: str | bytes) -> str:
    return name if isinstance(name, str) else name.decode("latin-1")
