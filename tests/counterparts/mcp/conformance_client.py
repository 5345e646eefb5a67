"""Our deputy as the client that MCP's conformance suite tests: it starts this with the address of a server of its own.

The suite's servers are at http://localhost, which no server may be for us but on loopback's own addresses; here they
are https://localhost, and `AsHttps` puts one in place of the other both ways. The suite's consent page answers at once.
Source: https://github.com/modelcontextprotocol/conformance
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import httpx

from deputize.core import (
    Call,
    ConsentRequired,
    DeputizeError,
    Deputy,
    ReconsentRequired,
    Request,
    Secret,
    SettingsError,
    Steps,
    Toolkit,
    User,
    allow_all,
)
from deputize.core.mcp_client.authorization import KnownServers
from deputize.core.mcp_client.lazy_provider import LateServer
from deputize.core.mcp_client.server_config import McpServer
from deputize.core.user_requests import Consent
from deputize.core.vault.vault import Vault
from tests.support.sandbox_deputy import PAGES, new_vault

SCENARIO: Final = os.environ.get("MCP_CONFORMANCE_SCENARIO", "")
CONTEXT: Final[dict[str, Any]] = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}")
MODERN: Final = "2026-07-28"
VERSION: Final = os.environ.get("MCP_CONFORMANCE_PROTOCOL_VERSION", MODERN)
DOCUMENT: Final = "https://conformance-test.local/client-metadata.json"
US: Final = {"name": "deputize", "version": "0"}
META: Final = "io.modelcontextprotocol/"
MAX_CONSENTS: Final = 8

HTTP, HTTPS = b"http://localhost", b"https://localhost"
HTTP_IN_FORMS, HTTPS_IN_FORMS = b"http%3A%2F%2Flocalhost", b"https%3A%2F%2Flocalhost"
FRAMING: Final = (b"content-length", b"transfer-encoding")

kit = Toolkit("conf", provider="conf")


class AsHttps(httpx.AsyncBaseTransport):
    """Makes the suite's servers look as if they used TLS."""

    def __init__(self) -> None:
        self.inner = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Translate addresses in the request and in the response."""
        content = (await request.aread()).replace(HTTPS_IN_FORMS, HTTP_IN_FORMS).replace(HTTPS, HTTP)
        headers = {k: v for k, v in request.headers.items() if k not in ("host", "content-length")}
        url = as_http(str(request.url))
        answer = await self.inner.handle_async_request(
            httpx.Request(request.method, url, headers=headers, content=content)
        )
        body = (await answer.aread()).replace(HTTP, HTTPS)
        back = [(k, v.replace(HTTP, HTTPS)) for k, v in answer.headers.raw if k.lower() not in FRAMING]
        return httpx.Response(answer.status_code, headers=back, content=body)


def as_http(url: str) -> str:
    """Return an address as the suite's servers know it, including all addresses in its query."""
    return url.replace(HTTPS.decode(), HTTP.decode()).replace(HTTPS_IN_FORMS.decode(), HTTP_IN_FORMS.decode())


def _posted(method: str, params: dict[str, Any], session: str = "", *, answered: bool = True) -> Request:
    """Send one message of the protocol, in the form of the version that the suite expects."""
    headers = {"accept": "application/json, text/event-stream"}
    if method != "initialize":
        headers["mcp-protocol-version"] = VERSION
    if VERSION == MODERN:
        about = {
            "protocolVersion": VERSION,
            "clientInfo": {"name": "deputize", "version": "0"},
            "clientCapabilities": {},
        }
        params = params | {"_meta": {META + name: value for name, value in about.items()}}
        headers |= {"mcp-method": method} | ({"mcp-name": params["name"]} if "name" in params else {})
    elif session:
        headers["mcp-session-id"] = session
    message = {"jsonrpc": "2.0", "method": method, "params": params} | ({"id": 1} if answered else {})
    path = urlsplit(sys.argv[-1]).path
    return Request("POST", path, json=message, headers=headers, repeat="read", whole=True)


def _result(answer: Any) -> dict[str, Any]:
    found: dict[str, Any] = answer.data["result"]
    return found


@kit.tool(needs=[])
def visit() -> Steps:
    """Open the server, list its tools, and call each of them once."""
    session = ""
    if VERSION != MODERN:
        hello = {"protocolVersion": VERSION, "capabilities": {}, "clientInfo": US}
        opened = yield _posted("initialize", hello)
        session = opened.headers.get("mcp-session-id", "")
        yield _posted("notifications/initialized", {}, session, answered=False)
    listed = _result((yield _posted("tools/list", {}, session)))
    for tool in listed.get("tools", []):
        yield _posted("tools/call", {"name": tool["name"], "arguments": {}}, session)
    return len(listed.get("tools", []))


def server() -> McpServer:
    """Return the suite's server, as an operator would describe it."""
    given: dict[str, Any] = {"client_document": DOCUMENT}
    if "client_id" in CONTEXT:
        secret = CONTEXT.get("client_secret")
        given = {"client_id": CONTEXT["client_id"], "client_secret": Secret(secret) if secret else None}
    legacy = SCENARIO.startswith("auth/2025-03-26")
    url = sys.argv[-1].replace("http://localhost", "https://localhost")
    return McpServer("conf", url, allow_private_network=True, legacy_auth=legacy, **given)


async def process(vault: Vault) -> Deputy:
    """Return a process of the deputy that knows this one server."""
    transport = AsHttps()
    deputy = Deputy(vault, [], pages=PAGES, toolkits=[kit], transport=transport, providers={}, policy=allow_all)
    deputy.registry.expect("conf", LateServer(server(), deputy.services, transport))
    return deputy


async def consent(deputy: Deputy, asked: Consent) -> None:
    """Complete a consent on the deputy's page and at the suite's server, which allows it at once."""
    alice = User("alice")
    started = await deputy.consents.start(asked.link.rpartition("/")[2], alice)
    answer = await AsHttps().handle_async_request(httpx.Request("GET", as_http(started.url)))
    back = answer.headers["location"].replace(HTTP_IN_FORMS.decode(), HTTPS_IN_FORMS.decode())
    await deputy.consents.finish("conf", dict(parse_qsl(urlsplit(back).query)), alice, started.nonce.reveal())


async def main() -> None:
    """Make one request of the user, repeated while there is something to consent to."""
    vault = await new_vault()
    deputy, message = await process(vault), "m"
    for number in range(MAX_CONSENTS):
        try:
            call = Call(thread="t", message=message, id=str(number))
            print("called", await deputy.act("conf_visit", {}, user="alice", call=call), "tools")
            return
        except (ConsentRequired, ReconsentRequired) as e:
            if isinstance(e, ReconsentRequired) and SCENARIO.endswith("migration"):
                await deputy.revoke("alice", "conf")  # of the server before
                deputy, message = await _pinned(vault), "after"
            elif e.consent:
                await consent(deputy, e.consent)


async def _pinned(vault: Vault) -> Deputy:
    """Pin the change as an operator does with deputize mcp pin."""
    await KnownServers(vault).forget(server())
    return await process(vault)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except (DeputizeError, SettingsError) as refused:
        sys.exit(f"{type(refused).__name__}: {refused}")
