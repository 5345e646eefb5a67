"""JSON-RPC 2.0 over HTTP: which message of an answer responds to ours, and what a refusal in it means.

A status says little there: a refusal may come in a 200, a stream may end before the response, and a 202 confirms
nothing. Sources: https://www.jsonrpc.org/specification section 5, WHATWG HTML 9.2.6 for the stream, and
https://modelcontextprotocol.io/specification/2026-07-28/basic/transports for both forms of an answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from deputize.core.failures.outcome import Call, Kind, Outcome, lost_outcome, outcome_of

RpcId = int | str
RpcErrors = Mapping[int, Outcome]
"""What codes mean. One that is not listed may have come after the work: of a write nobody knows whether it was done."""

EVENT_STREAM: Final = "text/event-stream"
MAX_EVENTS: Final = 20_000
"""Events of a stream that are looked at. A server that sends more of them keeps everybody else of a process waiting."""


def events(body: bytes) -> Iterator[str]:
    """The data of each message event of a whole stream; comments, ids and other types of events are passed over."""
    text = body.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    for block in text.split(b"\n\n", MAX_EVENTS)[:MAX_EVENTS]:
        lines = [line.partition(b":")[::2] for line in block.split(b"\n") if line.startswith((b"data", b"event"))]
        types = [value.strip() for name, value in lines if name == b"event"]
        data = b"\n".join(value.removeprefix(b" ") for name, value in lines if name == b"data")
        if data and types[-1:] in ([], [b"message"], [b""]):
            yield data.decode("utf-8", "replace")


def response_to(asked: RpcId, content_type: str, body: bytes) -> dict[str, Any] | None:
    """The message that responds to ours, or None where there is none. A refusal may have no id.

    Requests and notifications of the server are passed over: whatever it wants, it is not our answer.
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
            nameless = nameless or message  # of something else, perhaps: one that names ours counts before it
    return nameless


def is_stream(content_type: str) -> bool:
    """Whether an answer of this type is a stream of events."""
    return content_type.partition(";")[0].strip().lower() == EVENT_STREAM


def _responds(message: Mapping[str, Any], asked: RpcId) -> bool:
    if message.get("jsonrpc") != "2.0" or "method" in message:
        return False
    own = message.get("id")
    if code_of(message) is not None:
        return own is None or _same(own, asked)
    return _same(own, asked) and isinstance(message.get("result"), dict)


def _same(own: object, asked: RpcId) -> bool:
    return type(own) is type(asked) and own == asked


def code_of(message: Any) -> int | None:
    """The code of a refusal, None where it is none."""
    error = message.get("error") if isinstance(message, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, int) and not isinstance(code, bool) else None


def is_refusal(outcome: Outcome) -> bool:
    """Whether nothing was executed because a JSON-RPC error says so, which is in the outcome's ``data``."""
    return outcome.kind is Kind.INVALID_INPUT and code_of(outcome.data) is not None


def answered(codes: RpcErrors, call: Call, status: int, message: dict[str, Any] | None) -> Outcome | None:
    """What a response means, or that there is none in a good status; None where the status itself has to tell."""
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
