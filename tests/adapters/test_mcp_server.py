"""The tools as an MCP server: what clients list, what calls return, and for which user."""

from __future__ import annotations

import httpx2
import pytest
from jsonschema_rs import is_valid
from mcp_types import TextContent

from deputize.adapters.mcp import DeputyServer
from deputize.core import Approval, Deputy, PolicyDenied, allow_all
from deputize.sandbox import Sandbox
from tests.support.graphs import SEARCH, SEND
from tests.support.mcp_clients import MODES, by_bearer, client, served
from tests.support.sandbox_deputy import build, connect


@pytest.mark.parametrize("mode", MODES)
async def test_client_lists_and_calls_tools_as_its_user(mode: str) -> None:
    sandbox = Sandbox()
    async with await build(sandbox, policy=allow_all) as deputy:
        for user in ("alice", "bob"):
            await connect(deputy, sandbox, "readonly", "send", user=user, as_=f"{user}@example.test")
        async with served(DeputyServer(deputy, tools=["gmail"]).app(by_bearer)) as base:
            async with client(f"{base}/mcp", "bob", mode) as bob:
                tools = (await bob.list_tools()).tools
                found = await bob.call_tool("gmail_search_emails", SEARCH["args"])
                sent = await bob.call_tool("gmail_send_email", SEND["args"])
            hints = {tool.name: tool.annotations for tool in tools}
            assert [tool.name for tool in tools] == sorted(hints)
            send = hints["gmail_send_email"]
            assert send and (send.read_only_hint, send.destructive_hint, send.open_world_hint) == (False, False, True)
            assert (search := hints["gmail_search_emails"]) and search.read_only_hint
            assert not found.is_error and not sent.is_error and sent.structured_content["summary"] == "Sent."
            assert isinstance(sent.content[0], TextContent) and '"summary":"Sent."' in sent.content[0].text
        assert (len(sandbox.sent("bob@example.test")), len(sandbox.sent("alice@example.test"))) == (1, 0)


@pytest.mark.parametrize("mode", MODES)
async def test_invalid_arguments_are_reported(mode: str) -> None:
    async with await build(policy=allow_all) as deputy:
        async with served(DeputyServer(deputy, tools=["gmail"]).app(by_bearer)) as base:
            async with client(f"{base}/mcp", mode=mode) as alice:
                said = await alice.call_tool("gmail_send_email", {"to": ["bob@example.test"]})
        assert said.is_error and isinstance(said.content[0], TextContent)
        assert "subject: Field required; body: Field required. Correct" in said.content[0].text


@pytest.mark.processes
async def test_missing_user_is_refused_before_anything_is_read(deputy: Deputy) -> None:
    server = DeputyServer(deputy, tools=["gmail"])

    def denied(scope: object) -> str:
        raise PolicyDenied("Not today.")

    for user_of in (lambda scope: None, lambda scope: "", denied):
        async with served(server.app(user_of)) as base, httpx2.AsyncClient() as http:
            said = await http.post(f"{base}/mcp", content=b"no json")
            assert (said.status_code, said.headers["www-authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Host": "evil.test"}, 421), ({"Origin": "https://evil.test"}, 403), ({"Host": "mcp.acme.test"}, 200)],
)
async def test_only_known_host_names_are_answered(headers: dict[str, str], status: int) -> None:
    meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
    ask = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": meta}}
    usual = {
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "tools/list",
    }
    async with await build() as deputy:
        app = DeputyServer(deputy, tools=["gmail"]).app(lambda scope: "alice", hosts=["mcp.acme.test"])
        async with served(app) as base, httpx2.AsyncClient() as http:
            said = await http.post(f"{base}/mcp", json=ask, headers=usual | headers)
            assert said.status_code == status, said.text


async def test_legacy_session_belongs_to_its_user() -> None:
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
    }
    listing = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
    accepts = {"Accept": "application/json, text/event-stream"}
    async with await build() as deputy:
        async with served(DeputyServer(deputy, tools=["gmail"]).app(by_bearer)) as base, httpx2.AsyncClient() as http:
            begun = await http.post(f"{base}/mcp", json=hello, headers=accepts | {"Authorization": "Bearer alice"})
            session = {"Mcp-Session-Id": begun.headers["mcp-session-id"]}
            for user, status in (("bob", 404), ("alice", 200)):
                headers = accepts | session | {"Authorization": f"Bearer {user}"}
                assert (await http.post(f"{base}/mcp", json=listing, headers=headers)).status_code == status


async def test_client_finds_and_calls_tools_through_search(sandbox: Sandbox, deputy: Deputy) -> None:
    await connect(deputy, sandbox, "readonly", "send")
    server = DeputyServer(deputy, tools=["gmail", "calendar", "slack:all", "github:all"], search=True)
    assert len(server.tools) > 100
    async with served(server.app(by_bearer)) as base, client(f"{base}/mcp") as alice:
        assert [tool.name for tool in (await alice.list_tools()).tools] == ["search_tools", "call_tool"]
        found = await alice.call_tool("search_tools", {"query": "send an email"})
        tools = {tool["name"]: tool for tool in found.structured_content["tools"]}
        assert "to" in tools[SEND["name"]]["input_schema"]["properties"] and "gmail_read_more" in tools
        said = await alice.call_tool("call_tool", {"name": SEND["name"], "arguments": SEND["args"]})
        [waiting] = await deputy.pending("alice")
        assert said.is_error and isinstance(waiting, Approval) and waiting.tool == SEND["name"]
        await deputy.decide(waiting, "approve", by="alice")
        said = await alice.call_tool("call_tool", {"name": SEND["name"], "arguments": SEND["args"]})
        assert said.structured_content["summary"] == "Sent." and len(sandbox.sent("alice@example.test")) == 1


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("search_tools", {}, "query"),
        ("search_tools", {"query": 7}, "query"),
        ("search_tools", {"query": "mail", "user": "bob"}, "takes only query"),
        ("call_tool", {"name": "gmail_send_email"}, "arguments"),
        ("call_tool", {"name": "gmail_send_email", "arguments": "{}"}, "object"),
        ("call_tool", {"name": "call_tool", "arguments": {"name": "call_tool", "arguments": {}}}, "No tool is called"),
        ("call_tool", {"name": "slack_send_message", "arguments": {}}, "No tool is called"),
        ("slack_send_message", {}, "No tool is called"),
        ("Gmail.SendEmail", {}, "No tool is called"),
        ("gmail_send_emial", {}, "Did you mean gmail_send_email"),
    ],
)
async def test_only_tools_of_this_server_can_be_called(
    name: str, arguments: dict[str, object], says: str, deputy: Deputy
) -> None:
    server = DeputyServer(deputy, tools=["gmail"], search=True)
    async with served(server.app(by_bearer)) as base, client(f"{base}/mcp") as alice:
        said = await alice.call_tool(name, arguments)
        assert said.is_error and isinstance(said.content[0], TextContent) and says in said.content[0].text


@pytest.mark.processes
async def test_only_the_search_tool_has_an_output_schema(deputy: Deputy) -> None:
    all_tools, search = DeputyServer(deputy), DeputyServer(deputy, tools=["gmail"], search=True)
    async with served(all_tools.app(by_bearer)) as base, client(f"{base}/mcp") as alice:
        assert not [tool.name for tool in (await alice.list_tools()).tools if tool.output_schema]
    async with served(search.app(by_bearer)) as base, client(f"{base}/mcp") as alice:
        schemas = {tool.name: tool.output_schema for tool in (await alice.list_tools()).tools}
        assert schemas["search_tools"] and not schemas["call_tool"]
        for query in ("send an email", "zzz", ""):
            found = await alice.call_tool("search_tools", {"query": query})  # the SDK's client checks it as well
            assert is_valid(schemas["search_tools"], found.structured_content)


async def test_server_instructions_are_short_and_mention_untrusted(deputy: Deputy) -> None:
    app = DeputyServer(deputy, tools=["gmail"]).app(by_bearer)
    async with served(app) as base, client(f"{base}/mcp", mode="auto") as one:
        assert one.instructions and len(one.instructions) <= 512 and "untrusted" in one.instructions
