"""Resumption of an event stream that ended before the response, if the server gives event ids.

    POST -> id: 7 ... cut -> GET, Last-Event-ID: 7 -> the events after it, including the response

For MCP up to 2025-11-25; later versions have no such streams. The GET requests only the rest of the response, and the
server does not run the request again. So the stream of a write can be resumed too. Otherwise the outcome of the write
would be unknown. https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#resumability-and-redelivery
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import httpx

from deputize.core.errors import ProviderUnavailable
from deputize.core.failures.json_rpc import EVENT_STREAM, RpcId, is_stream, response_to
from deputize.core.tools.steps import RESUME_TIMEOUT_SECONDS
from deputize.core.value_object import ValueObject, frozen

MAX_RESUMES: Final = 6
"""How often one response is resumed. Servers close streams every few seconds to save connections."""
MAX_PAUSE_SECONDS: Final = 5.0
DEFAULT_PAUSE_SECONDS: Final = 0.5
"""Seconds before the next try if the server names none."""
_GAPS: Final = (b"\n\n", b"\r\n\r\n", b"\r\r")
"""Ends of events."""
_ID: Final = rb"[!-~](?:[ -~]{0,1022}[!-~])?"
_MS: Final = rb"[0-9]{1,7}"

Fetch = Callable[[str, float], Awaitable[httpx.Response]]
"""Fetches the events after an event id, within a timeout in seconds. Raises `ProviderUnavailable`."""


@frozen
class Stopped(ValueObject):
    """The end of a stream. ``last``: the id of its last complete event, or "". ``pause``: seconds to wait, as requested
    by the server."""

    last: str
    pause: float


def find_stop(body: bytes) -> Stopped:
    """Return the end of a stream (WHATWG HTML 9.2.6). An incomplete event and its id are ignored."""
    text = body.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    last, pause = b"", DEFAULT_PAUSE_SECONDS
    for line in text[: text.rfind(b"\n\n") + 1].split(b"\n"):
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"id" and b"\0" not in value:
            last = value
        elif name == b"retry" and re.fullmatch(_MS, value):
            pause = int(value) / 1000
    return Stopped(last.decode() if re.fullmatch(_ID, last) else "", min(pause, MAX_PAUSE_SECONDS))


async def resume_stream(
    answer: httpx.Response, asked: RpcId, fetch: Fetch, sleep: Callable[[float], Awaitable[None]]
) -> httpx.Response:
    """Return the answer with the response to ``asked``, or the first answer if no response arrives."""
    until, now = time.monotonic() + RESUME_TIMEOUT_SECONDS, answer
    last = ""
    for _ in range(MAX_RESUMES):
        if _is_whole(now, asked):
            return now
        at = find_stop(now.content)
        last = at.last or last
        await sleep(at.pause)
        left = until - time.monotonic()
        if not last or left <= 0:
            break
        try:
            now = await fetch(last, left)
        except ProviderUnavailable:
            continue
        if now.status_code != 200 or not is_stream(now.headers.get("content-type", "")):
            return answer
    return now if _is_whole(now, asked) else answer


def can_resume(answer: httpx.Response, asked: RpcId) -> bool:
    """Return True if the answer is an event stream with event ids that ended before the response."""
    good = 200 <= answer.status_code < 300 and is_stream(answer.headers.get("content-type", ""))
    return good and not _is_whole(answer, asked) and bool(find_stop(answer.content).last)


class UntilResponse:
    """Detector of the response to ``asked`` in a stream. Servers, such as those of MCP's SDK, may leave a resumed
    stream open after the response."""

    def __init__(self, asked: RpcId) -> None:
        self.asked, self._open = asked, bytearray()

    def __call__(self, part: bytes) -> bool:
        """Return True if the response is complete with this part of the stream. Each event is parsed once."""
        since = max(0, len(self._open) - 3)
        self._open += part
        end = max(at + len(gap) if (at := self._open.rfind(gap, since)) >= 0 else 0 for gap in _GAPS)
        if not end:
            return False
        events, self._open = bytes(self._open[:end]), self._open[end:]
        return _has_response(events, self.asked)


def rest_headers(sent: Mapping[str, Any], last: str) -> dict[str, str]:
    """Return the headers of a request for the rest of a stream. ``sent``: the headers of the first request."""
    kept = {name: value for name, value in sent.items() if name in ("mcp-protocol-version", "mcp-session-id")}
    return {**kept, "accept": "text/event-stream", "last-event-id": last}


def _is_whole(answer: httpx.Response, asked: RpcId) -> bool:
    return is_stream(answer.headers.get("content-type", "")) and _has_response(answer.content, asked)


def _has_response(events: bytes, asked: RpcId) -> bool:
    """Return True if the events contain the response. An error without an id may belong to another request."""
    found = response_to(asked, EVENT_STREAM, events)
    return found is not None and found.get("id") is not None
