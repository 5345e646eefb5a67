"""A stream of events that ended before the response to ours, taken up where it stopped, where its server gives ids.

    POST -> id: 7 ... cut -> GET, Last-Event-ID: 7 -> what came after it, the response among it

MCP up to 2025-11-25; later versions have no such streams. It is no second sending: the server goes on with what it has
begun, and a GET asks for the rest of that answer only. So it helps a write as well, whose outcome is unknown otherwise.
https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#resumability-and-redelivery
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import httpx

from deputize.core.errors import ProviderUnavailable
from deputize.core.failures.json_rpc import EVENT_STREAM, RpcId, is_stream, response_to
from deputize.core.tools.steps import SECONDS_TO_RESUME as SECONDS
from deputize.core.value_object import ValueObject, frozen

MAX_RESUMES: Final = 6
"""How often one answer is taken up; servers let go of a stream every few seconds to save connections."""
LONGEST_PAUSE: Final = 5.0
PAUSE: Final = 0.5
"""Seconds before the next try where the server names none."""
_GAPS: Final = (b"\n\n", b"\r\n\r\n", b"\r\r")
"""What ends an event."""
_ID: Final = rb"[!-~](?:[ -~]{0,1022}[!-~])?"
_MS: Final = rb"[0-9]{1,7}"

Fetch = Callable[[str, float], Awaitable[httpx.Response]]
"""What comes after an event id, within so many seconds. Raises `ProviderUnavailable`."""


@frozen
class Stopped(ValueObject):
    """Where a stream stopped: the id of its last whole event, "" for none; the pause that it asks for, in seconds."""

    last: str
    pause: float


def stopped_at(body: bytes) -> Stopped:
    """WHATWG HTML 9.2.6. An event that is not whole has not come, and its id is not the last."""
    text = body.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    last, pause = b"", PAUSE
    for line in text[: text.rfind(b"\n\n") + 1].split(b"\n"):
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"id" and b"\0" not in value:
            last = value
        elif name == b"retry" and re.fullmatch(_MS, value):
            pause = int(value) / 1000
    return Stopped(last.decode() if re.fullmatch(_ID, last) else "", min(pause, LONGEST_PAUSE))


async def resumed(
    answer: httpx.Response, asked: RpcId, fetch: Fetch, sleep: Callable[[float], Awaitable[None]]
) -> httpx.Response:
    """The answer that has the response to ``asked``; the first one where none comes, which is then lost as it was."""
    until, now = time.monotonic() + SECONDS, answer
    last = ""
    for _ in range(MAX_RESUMES):
        if _is_whole(now, asked):
            return now
        at = stopped_at(now.content)
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
    """Whether it is a stream with ids in which the response is missing."""
    good = 200 <= answer.status_code < 300 and is_stream(answer.headers.get("content-type", ""))
    return good and not _is_whole(answer, asked) and bool(stopped_at(answer.content).last)


class UntilResponse:
    """Hears a stream, part by part, until the response to ``asked`` has come: what is asked for the rest of a stream
    need not end it then, and those made with MCP's SDK do not."""

    def __init__(self, asked: RpcId) -> None:
        self.asked, self._open = asked, bytearray()

    def __call__(self, part: bytes) -> bool:
        """Whether it has come with this part. Each event is looked at once."""
        since = max(0, len(self._open) - 3)
        self._open += part
        end = max(at + len(gap) if (at := self._open.rfind(gap, since)) >= 0 else 0 for gap in _GAPS)
        if not end:
            return False
        events, self._open = bytes(self._open[:end]), self._open[end:]
        return _has_ours(events, self.asked)


def rest_headers(sent: Mapping[str, Any], last: str) -> dict[str, str]:
    """The headers of a request for the rest of the answer to one that was sent with these."""
    kept = {name: value for name, value in sent.items() if name in ("mcp-protocol-version", "mcp-session-id")}
    return {**kept, "accept": "text/event-stream", "last-event-id": last}


def _is_whole(answer: httpx.Response, asked: RpcId) -> bool:
    return is_stream(answer.headers.get("content-type", "")) and _has_ours(answer.content, asked)


def _has_ours(events: bytes, asked: RpcId) -> bool:
    """Whether the response to ours is among them. A refusal without an id is not: it may be of anybody's request."""
    found = response_to(asked, EVENT_STREAM, events)
    return found is not None and found.get("id") is not None
