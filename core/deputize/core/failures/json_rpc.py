"""JSON-RPC 2.0 over HTTP: finding the response to a request, and the meaning of an error in it.

The HTTP status means little: an error may come in a 200, a stream may end before the response, and a 202 confirms
nothing. Sources: https://www.jsonrpc.org/specification section 5, WHATWG HTML 9.2.6 for the stream, and
https://modelcontextprotocol.io/specification/2026-07-28/basic/transports for both forms of a response.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from deputize.core.failures.outcome import Call, Kind, Outcome, lost_outcome, outcome_of

RpcId = int | str
RpcErrors = Mapping[int, Outcome]
"""Meaning of error codes. After an unlisted code, the outcome of a write is unknown: it may come after the work."""

EVENT_STREAM: Final = "text/event-stream"
MAX_EVENTS: Final = 20_000
"""Events of a stream that are read. A server that sends more would block the rest of the process."""


def events(body: bytes) -> Iterator[str]:
    """Yield the data of each message event of a whole stream. Comments, ids and other event types are ignored."""
    text = body.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    for block in text.split(b"\n\n", MAX_EVENTS)[:MAX_EVENTS]:
        lines = [line.partition(b":")[::2] for line in block.split(b"\n") if line.startswith((b"data", b"event"))]
        types = [value.strip() for name, value in lines if name == b"event"]
        data = b"\n".join(value.removeprefix(b" ") for name, value in lines if name == b"data")
        if data and types[-1:] in ([], [b"message"], [b""]):
            yield data.decode("utf-8", "replace")


def response_to(asked: RpcId, content_type: str, body: bytes) -> dict[str, Any] | None:
    """Return the message that responds to the request, or None. An error may have no id.

    Requests and notifications from the server are ignored, because they are not responses.
    """
    nameless: dict[str, Any] | None = None
    for text in events(body) if is_stream(content_type) else (body,):
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(message, dict) and _responds(message, asked):
            if message.get("id") is not None:
                return message
            nameless = nameless or message  # perhaps of another request: a message with our id takes priority
    return nameless


def is_stream(content_type: str) -> bool:
    """Return True if this content type is a stream of events."""
    return content_type.partition(";")[0].strip().lower() == EVENT_STREAM


def _responds(message: Mapping[str, Any], asked: RpcId) -> bool:
    if message.get("jsonrpc") != "2.0" or "method" in message:
        return False
    own = message.get("id")
    if code_of(message) is not None:
        return own is None or _is_same_id(own, asked)
    return _is_same_id(own, asked) and isinstance(message.get("result"), dict)


def _is_same_id(own: object, asked: RpcId) -> bool:
    return type(own) is type(asked) and own == asked


def code_of(message: Any) -> int | None:
    """Return the code of a JSON-RPC error, or None if the message is not an error."""
    error = message.get("error") if isinstance(message, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, int) and not isinstance(code, bool) else None


def is_refusal(outcome: Outcome) -> bool:
    """Return True if the outcome's ``data`` is a JSON-RPC error that proves that nothing was executed."""
    return outcome.kind is Kind.INVALID_INPUT and code_of(outcome.data) is not None


def json_rpc_outcome(codes: RpcErrors, call: Call, status: int, message: dict[str, Any] | None) -> Outcome | None:
    """Return the outcome of a response, or of a missing response with a good status; None if the status decides."""
    code = code_of(message)
    if 200 <= status < 300:
        if message is None:
            return lost_outcome(call)
        if code is None:
            return Outcome(Kind.OK, data=message)
    elif code not in codes or status in (401, 403, 408, 425, 429) or not 400 <= status < 500:
        return None
    known = codes.get(code) if code is not None else None
    if known is None and call == "write":
        return outcome_of(Kind.AMBIGUOUS_WRITE, f"json_rpc_{code}")
    return known or outcome_of(Kind.INVALID_INPUT, f"json_rpc_{code}")
