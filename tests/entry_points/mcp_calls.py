"""The MCP server with hostile requests: the client gets a result or an error of the protocol, never an internal one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from random import Random
from typing import Any, Final

from deputize.adapters.mcp import DeputyServer
from deputize.core import ask_before_sending
from deputize.sandbox import Sandbox
from tests.entry_points.deputy_methods import logged
from tests.entry_points.hostile_values import NUMBERS, TEXTS, Report, nested, some
from tests.support.mcp_clients import Raw, by_bearer, raw, served
from tests.support.sandbox_deputy import build, connect

VALUES: Final = (
    *TEXTS,
    *(number for number in NUMBERS if abs(number) < 10**300),
    *(None, [], {}, [None], [[]], nested(200), {"a": nested(200)}, ["a"] * 2000),
    *([text] for text in TEXTS),
    *({text: text} for text in TEXTS),
)
TOOL: Final = "gmail_send_email"
GOOD: Final[Mapping[str, Any]] = {"to": ["bob@example.test"], "subject": "Lunch", "body": "Yes."}
BODIES: Final = ("", "[]", "null", "{", "[" * 5000, '"\\ud800"', "9" * 5000, '{"jsonrpc": "2.0", "id": 1e999}')
INTERNAL: Final = -32603
"""The code of an internal error (JSON-RPC 2.0, 5.1)."""
FAILED: Final = "The tool failed."


async def play(random: Random, share: float) -> Report:
    """Return what came of this share of all cases."""
    report, sandbox = Report(), Sandbox()
    with logged() as lines:
        async with await build(sandbox, policy=ask_before_sending) as deputy:
            await connect(deputy, sandbox, "readonly", "send")
            for search in (False, True):
                server = DeputyServer(deputy, tools=["gmail"], search=search)
                server.performing.longest_wait = 0.0
                async with served(server.app(by_bearer)) as base, raw(f"{base}/mcp") as alice:
                    for where, value, body in some(random, _requests(server, alice), share):
                        report.calls += 1
                        headers = alice.asking(TOOL, {})["headers"] | {"Content-Type": "application/json"}
                        said = await alice.http.post(alice.url, content=body, headers=headers)
                        if said.status_code >= 500 or f'"code":{INTERNAL}' in said.text or FAILED in said.text:
                            report.fault(where, f"{said.status_code} {said.text[-150:]} {lines[-1:]}", value)
                        report.faults |= {f"{where}: {line}": "" for line in lines if "Traceback" in line}
                        lines.clear()
    return report


def _requests(server: DeputyServer, alice: Raw) -> Iterator[tuple[str, Any, bytes]]:
    """Return each hostile request: where it is hostile, the value, and its body."""
    yield from (("the body", body, body.encode()) for body in BODIES)
    for value in VALUES:
        yield "tools/call name", value, _body(alice, TOOL, GOOD, {"name": value})
        yield "tools/call arguments", value, _body(alice, TOOL, GOOD, {"arguments": value})
        yield "tools/call _meta", value, _body(alice, TOOL, GOOD, meta={"progressToken": value})
        yield "requestState", value, _body(alice, TOOL, GOOD, requestState=value)
        yield "inputResponses", value, _body(alice, TOOL, GOOD, inputResponses={"deputize": value})
        for name in GOOD:
            yield f"{TOOL} {name}", value, _body(alice, TOOL, {**GOOD, name: value})
        for name in ("query", "limit", "page_token", "an unknown one"):
            yield f"gmail_search_emails {name}", value, _body(alice, "gmail_search_emails", {name: value})
        yield "search_tools query", value, _body(alice, "search_tools", {"query": value})
        yield "call_tool name", value, _body(alice, "call_tool", {"name": value, "arguments": {}})
        yield "call_tool arguments", value, _body(alice, "call_tool", {"name": TOOL, "arguments": value})


def _body(alice: Raw, tool: str, arguments: Any, instead: Mapping[str, Any] | None = None, **more: Any) -> bytes:
    """Return the body of a call. ``instead``: parameters that replace the usual ones."""
    asked = alice.asking(tool, arguments, **more)["json"]
    asked["params"] |= instead or {}
    return json.dumps(asked).encode()
