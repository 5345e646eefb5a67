"""Protection of requests from tracers in the process: requests are sent unchanged.

Tracers (OpenTelemetry, Sentry, APM agents) patch HTTP libraries. They add headers with ids of your application's traces
and its baggage (https://www.w3.org/TR/baggage/), which often contains ``user.email``, and they log URLs. Providers must
not receive these headers, and tracers must not see these URLs. So requests are not traced if the tracer has a switch
for that, and headers that were added anyway are removed when the head of a request is written.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

FRAMING: Final = frozenset({"host", "content-length", "transfer-encoding", "connection"})
"""Headers that the HTTP library itself adds."""


def untraced() -> AbstractContextManager[None]:
    """Return a context that turns off OpenTelemetry's instrumentation of HTTP clients, by its own switch."""
    utils = sys.modules.get("opentelemetry.instrumentation.utils")
    off: Callable[[], AbstractContextManager[None]] | None = getattr(utils, "suppress_http_instrumentation", None)
    return off() if off else _NOTHING


_NOTHING: Final = nullcontext()


def remove_added(headers: MutableMapping[str, str], given: frozenset[str]) -> None:
    """Remove headers that are not in ``given`` from aiohttp's, right before sending. ``given``: lower-case names."""
    for name in [name for name in headers if (lower := name.lower()) not in given and lower not in FRAMING]:
        headers.pop(name, None)


class AsGiven:
    """The same protection for httpcore, as its extension ``trace`` (https://www.encode.io/httpcore/extensions/#trace).

    httpcore calls it with the request right before it writes the head. The head is written once, so later events are
    not traced: httpcore would call this eight more times for each request.
    """

    def __init__(self, given: Iterable[tuple[str | bytes, str | bytes]]) -> None:
        self._given = given

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        if not event.endswith("send_request_headers.started"):
            return
        request = info["request"]
        if request.method != b"CONNECT":  # to a proxy, which gets none of our headers
            kept = FRAMING.union(_text(name).lower() for name, _ in self._given)
            request.headers = [
                (name, value)
                for name, value in request.headers
                if (lower := _text(name).lower()) in kept or lower.startswith("proxy-")
            ]
            request.extensions = {name: value for name, value in request.extensions.items() if name != "trace"}


def _text(name: str | bytes) -> str:
    return name if isinstance(name, str) else name.decode("latin-1")
