"""JSON-RPC 2.0 over HTTP: which message of an answer responds to ours, and what a refusal in it means.

A status says little there: a refusal may come in a 200, a stream may end before the response, and a 202 confirms
nothing. Sources: https://www.jsonrpc.org/specification section 5, WHATWG HTML 9.2.6 for the stream, and
https://modelcontextprotocol.io/specification/2026-07-28/basic/transports for both forms of an answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from deputize.core.failures.outcome import Call, Kind, Outcome, lost_outcome, outcome_of

RpcId = int | str
RpcErrors = Mapping[int, Outcome]
"""What codes mean. One that is not listed may have come after the work: of a write nobody knows whether it was done."""

_BREAK: Final = re.compile(r"\r\n|\r|\n")
_BLANK: Final = re.compile(r"(?:\r\n|\r|\n){2,}")


def events(body: bytes) -> Iterator[str]:
    """The data of each message event of a whole stream; comments, ids and other types of events are passed over."""
    for block in _BLANK.split(body.decode("utf-8", "replace").removeprefix("\ufeff")):
        fields = [line.partition(":")[::2] for line in _BREAK.split(block) if line and line[0] != ":"]
        if dict(fields).get("event", " message").strip() == "message":
            data = "\n".join(value.removeprefix(" ") for name, value in fields if name == "data")
            if data:
                yield data


def response_to(asked: RpcId, content_type: str, body: bytes) -> dict[str, Any] | None:
    """The message that responds to ours, or None where there is none. A refusal may have no id.

    Requests and notifications of the server are passed over: whatever it wants, it is not our answer.
    """
    streamed = content_type.partition(";")[0].strip().lower() == "text/event-stream"
    for text in events(body) if streamed else (body,):
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(message, dict) and _responds(message, asked):
            return message
    return None


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
