"""The account of a new token, from a tool of the server that the operator has named.

MCP has no userinfo. The tool is a read without arguments, called once per consent with the new token. Its result is
trusted to identify the account, because it comes from the server that the token is for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import httpx

from deputize.core.acts.build_request import address_of, headers_and_body
from deputize.core.acts.provider_errors import error_of
from deputize.core.acts.provider_requests import rpc_id
from deputize.core.acts.scrub_response import scrub_token, whole
from deputize.core.errors import DeputizeError
from deputize.core.failures import Kind, Outcome, classify, is_refusal, outcome_of
from deputize.core.http import Http
from deputize.core.mcp_client.authorization import API
from deputize.core.mcp_client.protocol import Link, McpSteps, Refused
from deputize.core.mcp_client.server_config import AccountTool, McpServer
from deputize.core.oauth.credential import Credential, headers_of, url_of
from deputize.core.oauth.endpoint import NAMELESS_ACCOUNT, Refusal
from deputize.core.oauth.provider import Provider
from deputize.core.tools.steps import Request
from deputize.core.vault.grant import Account, Secret

MAX_ACCOUNT_BYTES: Final = 2**20


async def account_of(
    server: McpServer, row: Provider, said: AccountTool, access: Secret, http: Http, clock: Callable[[], float]
) -> Account:
    """Return the account in the tool's result. Raises `Refusal` if it has none, or the server does not answer."""
    nobody = outcome_of(Kind.INVALID_INPUT, NAMELESS_ACCOUNT, fix_by="nobody")
    steps, last = _call_tool(server, said.tool), outcome_of(Kind.TRANSIENT)
    failure: Exception | None = None
    answer: Any = None
    try:
        while True:
            request = steps.throw(failure) if failure else steps.send(answer)
            last = await _send_request(request, row, access, http, clock)
            failure = None if last.kind is Kind.OK else error_of(last, row.label)
            answer = last.data
    except StopIteration as end:
        found = row.apis.identity.read(_structured_content(end.value))
    except DeputizeError:
        raise Refusal(nobody if last.kind is Kind.OK else replace(last, data=None)) from None
    if found is None:
        raise Refusal(nobody)
    return found[0]


def _call_tool(server: McpServer, tool: str) -> McpSteps:
    """Return the result of the tool, or None if the server refused to run it."""
    link = Link(server)
    yield from link.open()
    try:
        return (yield from link.call(tool, {}, repeat="read", extra={}))
    except Refused:
        return None


async def _send_request(
    request: Request, row: Provider, access: Secret, http: Http, clock: Callable[[], float]
) -> Outcome:
    """Send one request. The outcome's data is the response, with the token masked in case the server echoes it."""
    own, content = headers_and_body(request, row.apis.request_headers)
    url = address_of(row.apis.roots[API], request)
    shown = headers_of(row.apis.credential or Credential("bearer"), access)
    url = url_of(row.apis.credential, url, access) if row.apis.credential else url
    made = httpx.Request(request.method, url, headers=[*shown, *own], content=content)
    if made.url.netloc.decode() not in row.apis.hosts:
        raise Refusal(outcome_of(Kind.INVALID_INPUT, NAMELESS_ACCOUNT, fix_by="nobody"))
    answer = await http.send(made, max_bytes=MAX_ACCOUNT_BYTES)
    body = scrub_token(answer.content, access)
    outcome = classify(row.rules, "read", answer.status_code, answer.headers, body, now=clock(), rpc_id=rpc_id(request))
    good = outcome.kind is Kind.OK or is_refusal(outcome)
    data = whole(answer.status_code, answer.headers, outcome.data)
    return Outcome(Kind.OK, data=data) if good else outcome


def _structured_content(result: Any) -> Mapping[str, Any]:
    """Return the tool's result as data: its structured content, or JSON in its first text."""
    content = result if isinstance(result, Mapping) and not result.get("isError") else {}
    if isinstance(found := content.get("structuredContent"), Mapping):
        return found
    parts = content.get("content")
    first = parts[0] if isinstance(parts, list) and parts else None
    try:
        found = json.loads(first["text"]) if isinstance(first, Mapping) else None
    except (KeyError, TypeError, ValueError, RecursionError):
        found = None
    return found if isinstance(found, Mapping) else {}
