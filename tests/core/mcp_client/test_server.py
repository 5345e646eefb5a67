"""Valid and invalid settings of a foreign MCP server."""

from __future__ import annotations

from typing import Any

import pytest

from deputize.core.errors import SettingsError
from deputize.core.mcp_client.server_config import McpServer, ToolOverride
from deputize.core.vault.grant import Secret


@pytest.mark.parametrize(
    "url, path, resource",
    [
        ("https://mcp.stripe.com", "", "https://mcp.stripe.com"),
        ("https://mcp.stripe.com/", "", "https://mcp.stripe.com"),
        ("https://api.githubcopilot.com/mcp/", "/mcp/", "https://api.githubcopilot.com/mcp/"),
        ("https://mcp.supabase.com/mcp?project_ref=abc", "/mcp", "https://mcp.supabase.com/mcp"),
    ],
)
def test_server_url_is_parsed_as_written(url: str, path: str, resource: str) -> None:
    server = McpServer("other", url)
    assert (server.path, server.resource) == (path, resource)
    assert server.host == url.split("/")[2]


def test_url_query_is_not_part_of_the_resource() -> None:
    server = McpServer("db", "https://mcp.supabase.com/mcp?project_ref=abc&features=a&features=b")
    assert server.query == {"project_ref": ["abc"], "features": ["a", "b"]}


def test_server_host_is_normalized() -> None:
    server = McpServer("other", "https://MCP.Linear.app/MCP")
    assert (server.origin, server.host, server.path) == ("https://mcp.linear.app", "mcp.linear.app", "/MCP")


def test_loopback_server_may_use_http() -> None:
    assert McpServer("other", "http://127.0.0.1:8901/mcp").local


@pytest.mark.parametrize(
    "url",
    [
        "http://mcp.linear.app/mcp",
        "ftp://mcp.linear.app",
        "https://user:pass@mcp.linear.app/mcp",
        "https://mcp.linear.app/mcp#part",
        "javascript:alert(1)",
        "https:///mcp",
        "https://[::1/mcp",
        "mcp.linear.app",
        "https://mcp.linear.app/m cp",
        "https://mcp.linear.app/mcp\n",
        "https://mcp.linear.app/mcp/\xe9",
    ],
)
def test_server_url_without_https_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(SettingsError) as refused:
        McpServer("linear-mcp", url)
    assert "user:pass" not in str(refused.value)


@pytest.mark.parametrize(
    "said",
    [
        {"name": "Linear"},
        {"name": "a/b"},
        {"name": ""},
        {"client_secret": Secret("s3cret")},
        {"client_id": "one", "client_document": "https://us.example/client.json"},
        {"trusted_origins": ("http://evil.example",)},
        {"issuer": "not an address"},
    ],
)
def test_invalid_server_setting_is_refused(said: dict[str, Any]) -> None:
    given: dict[str, Any] = {"name": "other", "url": "https://mcp.example/mcp"} | said
    with pytest.raises(SettingsError):
        McpServer(**given)


def test_tool_effect_setting_must_be_a_known_effect() -> None:
    with pytest.raises(SettingsError, match="reads, writes, sends, destructive"):
        ToolOverride(effect="harmless")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="read, idem, write"):
        ToolOverride(repeat="often")  # type: ignore[arg-type]
