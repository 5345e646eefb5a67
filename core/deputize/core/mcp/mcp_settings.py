"""A foreign MCP server described in settings: ``[mcp.linear]`` in ``deputize.toml``."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from deputize.core.mcp.server import ForeignEffect, ForeignIdentity, ForeignRepeat, McpServer, ToolOverride
from deputize.core.vault.grant import Secret


class ToolSettings(BaseModel):
    """``[mcp.linear.tools.search_issues]``: what the operator says of one tool, by its own name there."""

    model_config = ConfigDict(extra="forbid")

    effect: ForeignEffect | Literal[""] = ""
    repeat: ForeignRepeat | Literal[""] = ""
    needs: tuple[str, ...] = ()


class IdentitySettings(BaseModel):
    """``[mcp.linear.identity]``: the tool that says whose account it is."""

    model_config = ConfigDict(extra="forbid")

    tool: str
    subject: str
    name: str = ""


class McpSettings(BaseModel):
    """One server; what each means stands at `deputize.core.mcp.server.McpServer`. A name that is none is refused:
    whoever writes ``trust_hint`` is not left in the belief that it counts."""

    model_config = ConfigDict(extra="forbid")

    url: str
    client_id: str = ""
    client_secret: SecretStr | None = None
    client_document: str = ""
    issuer: str = ""
    also: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    trust_hints: bool = False
    instructions: bool = False
    private: bool = False
    legacy_auth: bool = False
    only: tuple[str, ...] = ()
    tools: dict[str, ToolSettings] = Field(default_factory=dict)
    identity: IdentitySettings | None = None

    def server(self, name: str) -> McpServer:
        """The server of this name. Raises `SettingsError` for one that cannot be."""
        said = {key: getattr(self, key) for key in type(self).model_fields if key not in _MADE}
        return McpServer(
            name,
            client_secret=Secret(self.client_secret.get_secret_value()) if self.client_secret else None,
            tools={tool: ToolOverride(**one.model_dump()) for tool, one in self.tools.items()},
            identity=ForeignIdentity(**self.identity.model_dump()) if self.identity else None,
            **said,
        )


_MADE = ("client_secret", "tools", "identity")
