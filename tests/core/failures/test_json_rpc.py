"""A JSON-RPC response is judged by its message, in either form and with any HTTP status."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import pytest

from deputize.core.failures import Call, Kind, Outcome, classify, is_refusal
from deputize.core.failures.standard import GENERIC
from deputize.core.mcp_client.rules import MCP

RESULT = {"jsonrpc": "2.0", "id": 7, "result": {"content": []}}
CODES = {
    -32700: (Kind.INVALID_INPUT, Kind.INVALID_INPUT),
    -32600: (Kind.INVALID_INPUT, Kind.INVALID_INPUT),
    -32601: (Kind.INVALID_INPUT, Kind.INVALID_INPUT),
    -32602: (Kind.INVALID_INPUT, Kind.INVALID_INPUT),
    -32020: (Kind.INVALID_INPUT, Kind.INVALID_INPUT),
    -32022: (Kind.INVALID_INPUT, Kind.INVALID_INPUT),
    -32042: (Kind.INVALID_INPUT, Kind.INVALID_INPUT),
    -32603: (Kind.AMBIGUOUS_WRITE, Kind.TRANSIENT),
    -32000: (Kind.AMBIGUOUS_WRITE, Kind.INVALID_INPUT),  # a server's own: who knows what it had done by then
    1: (Kind.AMBIGUOUS_WRITE, Kind.INVALID_INPUT),
}


def refused(code: Any, id: Any = 7) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": "no"}}


def streamed(*messages: Any) -> bytes:
    return b"".join(b"event: message\r\ndata: " + json.dumps(one).encode() + b"\r\n\r\n" for one in messages)


def judged(
    body: bytes | dict[str, Any], call: Call = "write", status: int = 200, kind: str = "", **more: Any
) -> Outcome:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    kind = kind or ("application/json" if isinstance(body, dict) else "text/event-stream")
    return classify(MCP, call, status, httpx.Headers({"content-type": kind, **more}), raw, rpc_id=7)


@pytest.mark.parametrize("status", [200, 400, 404])
@pytest.mark.parametrize("code", CODES)
def test_json_rpc_error_code_decides_whether_anything_was_done(code: int, status: int) -> None:
    write, read = CODES[code]
    if status == 200:
        assert judged(refused(code), "write").kind is write
        assert judged(refused(code), "read").kind is read
        assert judged(streamed(refused(code)), "write").kind is write
    if write is Kind.INVALID_INPUT:
        outcome = judged(refused(code, id=None), "write", status)
        assert is_refusal(outcome) and outcome.data["error"]["code"] == code


def test_json_rpc_server_error_is_retried_only_if_idempotent() -> None:
    assert judged(refused(-32603), "idem").safe
    assert not judged(refused(-32603), "write").safe


@pytest.mark.parametrize(
    "body", [b"", b": ping\n\n: ping\n\n", streamed({"jsonrpc": "2.0", "method": "x"}), b"data: {\n\n"]
)
def test_ok_status_without_a_response_is_a_lost_answer(body: bytes) -> None:
    assert judged(body, "write").kind is Kind.AMBIGUOUS_WRITE
    again = judged(body, "read")
    assert again.kind is Kind.TRANSIENT and again.safe


@pytest.mark.parametrize("status", [200, 202, 204])
def test_accepted_status_confirms_nothing(status: int) -> None:
    assert judged(b"", "write", status, "text/plain").kind is Kind.AMBIGUOUS_WRITE


@pytest.mark.parametrize(
    "body",
    [
        {**RESULT, "id": 8},
        {**RESULT, "id": "7"},
        {**RESULT, "jsonrpc": "1.0"},
        {**RESULT, "result": None},
        {**RESULT, "method": "sampling/createMessage"},
        refused(-32602, id=8),
        refused("-32602"),
        refused(True),
    ],
)
def test_response_with_another_id_is_ignored(body: dict[str, Any]) -> None:
    assert judged(body).kind is Kind.AMBIGUOUS_WRITE
    assert judged(streamed(body)).kind is Kind.AMBIGUOUS_WRITE


def test_response_is_found_after_other_stream_events() -> None:
    before = b": ping\n\nid: 1\ndata:\n\nevent: other\ndata: " + json.dumps(refused(-32602)).encode() + b"\n\n"
    progress = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1}}
    request = {"jsonrpc": "2.0", "id": 7, "method": "sampling/createMessage", "params": {}}
    outcome = judged(b"\xef\xbb\xbf" + before + streamed(progress, request, RESULT))
    assert (outcome.kind, outcome.data) == (Kind.OK, RESULT)


def test_response_may_span_several_data_lines() -> None:
    lines = json.dumps(RESULT, indent=1).replace("\n", "\ndata: ")
    assert judged(f"data: {lines}\n\n".encode()).data == RESULT


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_stream_lines_may_end_in_cr_lf_or_both(end: bytes) -> None:
    first, rest = json.dumps(RESULT).encode().split(b", ", 1)
    other = json.dumps(refused(-32602)).encode()
    lines = [b"event: ping", b"data: " + other, b"", b"event: message", b"data: " + first + b",", b"data: " + rest]
    assert judged(end.join([*lines, b"", b""])).kind is Kind.OK


def test_refusal_without_an_id_does_not_hide_the_response() -> None:
    assert judged(streamed(refused(-32602, id=None), RESULT)).kind is Kind.OK
    assert judged(streamed(RESULT, refused(-32602, id=None))).kind is Kind.OK


@pytest.mark.parametrize("body", [b"data: 1\n\n" * 10**6, b"data:1\n" * 10**6, b"\n" * 10**7, b"\r\n\r\n" * 2_000_000])
def test_stream_of_a_million_events_is_read_quickly(body: bytes) -> None:
    began = time.process_time()
    assert judged(body).kind is Kind.AMBIGUOUS_WRITE
    assert time.process_time() - began < 1.5


@pytest.mark.parametrize(
    "status, kind", [(401, Kind.REFRESH_ONCE), (429, Kind.RATE_LIMITED), (404, Kind.HIDDEN_OR_NOT_FOUND)]
)
def test_status_decides_if_the_error_code_is_unknown(status: int, kind: Kind) -> None:
    assert judged(refused(-32001), "write", status).kind is kind


def test_scopes_and_tokens_are_judged_by_status_whatever_the_body() -> None:
    challenge = {"www-authenticate": 'Bearer error="insufficient_scope", scope="issues:write"'}
    outcome = judged(refused(-32602), "write", 403, **challenge)
    assert (outcome.kind, outcome.needed) == (Kind.MISSING_SCOPE, ("issues:write",))
    assert judged(refused(-32602), "write", 401).kind is Kind.REFRESH_ONCE


@pytest.mark.parametrize("status", [500, 502, 503])
def test_server_error_does_not_confirm_that_nothing_was_done(status: int) -> None:
    assert judged(refused(-32602), "write", status).kind is Kind.AMBIGUOUS_WRITE


def test_notification_needs_no_response() -> None:
    assert classify(MCP, "idem", 202, httpx.Headers(), b"").kind is Kind.OK


def test_json_rpc_body_of_another_api_is_plain_content() -> None:
    body = json.dumps(refused(-32602)).encode()
    assert classify(GENERIC, "write", 200, httpx.Headers(), body, rpc_id=7).kind is Kind.OK
