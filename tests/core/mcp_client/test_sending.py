"""What an MCP provider changes at the one place where requests get a token."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest

from deputize.core import Call, InvalidInput, NotFound, OutcomeUnknown, ProviderUnavailable, Request
from deputize.core.acts.build_request import LONGEST_HEADER
from deputize.core.mcp_client.rules import MCP, MCP_HEADERS
from deputize.core.oauth.provider import Provider
from deputize.core.providers import PROVIDERS
from tests.support.faults import GMAIL_API
from tests.support.probe_toolkit import Probe, probing


def speaking_mcp(root: str) -> dict[str, Provider]:
    """Return the provider of the probe's tools, as if it spoke MCP at one address."""
    row = PROVIDERS["google"]
    return PROVIDERS | {
        "google": replace(
            row, rules=MCP, apis=replace(row.apis, request_headers=MCP_HEADERS, roots={**row.apis.roots, "gmail": root})
        )
    }


@asynccontextmanager
async def mcp_probe(root: str = "https://gmail.googleapis.com/gmail") -> AsyncIterator[Probe]:
    async with probing(providers=speaking_mcp(root)) as probe:
        yield probe


@pytest.fixture
async def probe() -> AsyncIterator[Probe]:
    async with mcp_probe() as made:
        yield made


def call(**more: Any) -> Request:
    message = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "send"}}
    said: dict[str, Any] = {"json": message, "whole": True} | more
    return Request("POST", "", **said)


def says(
    body: Any = b"", status: int = 200, kind: str = "application/json"
) -> Callable[[httpx.Request], httpx.Response]:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda request: httpx.Response(status, content=content, headers={"content-type": kind})


def refusal(code: int) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 7, "error": {"code": code, "message": "no", "data": {"x": 1}}}


@pytest.mark.parametrize("root", ["https://gmail.googleapis.com", "https://gmail.googleapis.com/gmail/mcp/"])
async def test_api_root_may_have_a_path_or_not(root: str) -> None:
    async with mcp_probe(root) as probe:
        probe.line.answers["gmail.googleapis.com", ""] = [says({"jsonrpc": "2.0", "id": 7, "result": {"a": 1}})]
        assert (await probe.run(call(repeat="read"))).data["result"] == {"a": 1}
        assert str(probe.line.sent[0].url) in (root, f"{root}/")


@pytest.mark.parametrize(
    "answer", [says(b": ping\n\n", kind="text/event-stream"), says(status=202), says(refusal(-32603))]
)
async def test_call_without_response_is_unknown_and_sent_once(probe: Probe, answer: Any) -> None:
    probe.line.answers[GMAIL_API] = [answer] * 5
    with pytest.raises(OutcomeUnknown):
        await probe.run(call(), tool="write")
    assert probe.line.count(GMAIL_API) == 1


async def test_read_without_response_is_retried_then_fails(probe: Probe) -> None:
    probe.line.answers[GMAIL_API] = [says(status=202)] * 5
    with pytest.raises(ProviderUnavailable):
        await probe.run(call(repeat="read"))
    assert probe.line.count(GMAIL_API) == 3


@pytest.mark.parametrize("status", [200, 400])
async def test_refusal_in_any_status_counts_as_no_write(probe: Probe, status: int) -> None:
    """A tool that fails afterwards gets a plain failure, so nothing counts as written."""
    probe.line.answers[GMAIL_API] = [says(refusal(-32042), status)]

    def body() -> Any:
        got = yield call()
        raise NotFound(str(got.data["error"]["code"]))

    with pytest.raises(NotFound, match="-32042"):
        await probe.script(body, tool="write")


async def test_json_rpc_error_is_typed_unless_the_answer_is_requested(probe: Probe) -> None:
    probe.line.answers[GMAIL_API] = [says(refusal(-32601))]
    with pytest.raises(InvalidInput, match="unknown_method"):
        await probe.run(call(whole=False), tool="write")


async def test_mcp_notification_needs_no_response(probe: Probe) -> None:
    probe.line.answers[GMAIL_API] = [says(status=202)]
    message = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    assert (await probe.run(call(json=message, repeat="idem"), tool="write")).status == 202


async def test_mcp_headers_can_be_set(probe: Probe) -> None:
    probe.line.answers[GMAIL_API] = [says({"jsonrpc": "2.0", "id": 7, "result": {}})]
    await probe.run(call(repeat="read", headers={"Mcp-Method": "a/b", "mcp-param-Region": "eu", "mcp-session-id": "1"}))
    sent = probe.line.sent[0].headers
    assert (sent["mcp-method"], sent["mcp-param-region"], sent["mcp-session-id"]) == ("a/b", "eu", "1")


@pytest.mark.parametrize("name", ["authorization", "mcp-other", "mcp-param-a b", "mcp-param-a\r\nx", "x-mcp-param-a"])
async def test_other_headers_cannot_be_set(probe: Probe, name: str) -> None:
    with pytest.raises(InvalidInput):
        await probe.run(call(headers={name: "x"}))
    assert probe.line.sent == []


async def test_mcp_headers_cannot_be_set_for_other_providers() -> None:
    async with probing() as probe:
        for name in ("mcp-method", "mcp-param-region", "mcp-session-id"):
            with pytest.raises(InvalidInput, match="may not set the header"):
                await probe.run(Request("GET", "/users/me/messages", headers={name: "x"}))
        assert probe.line.sent == []


async def test_too_long_header_is_refused_before_the_claim(probe: Probe) -> None:
    """The same call with a shorter value is done: the refused one left no claim."""
    this = Call("thread", "message", "1")
    with pytest.raises(InvalidInput, match=f"mcp-param-note: the header has 1001 .* at most {LONGEST_HEADER}"):
        await probe.run(call(headers={"mcp-param-note": "x" * 1001}), tool="write", call=this)
    assert probe.line.sent == []
    probe.line.answers[GMAIL_API] = [says({"jsonrpc": "2.0", "id": 7, "result": {}})]
    assert (await probe.run(call(headers={"mcp-param-note": "x"}), tool="write", call=this)).status == 200
