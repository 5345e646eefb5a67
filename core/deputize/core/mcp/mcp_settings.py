"""A foreign MCP server described in settings: ``[mcp.linear]`` in ``deputize.toml``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from deputize.core.mcp.server import AccountTool, ForeignEffect, ForeignRepeat, McpServer, ToolOverride
from deputize.core.secret_files import with_secret
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

    url: str = Field(description="Its address, https.")
    client_id: str = Field("", description="Of an app that you registered there.")
    client_secret: SecretStr | None = Field(None, description="Of that app.")
    client_secret_file: Path | None = Field(None, description="File that holds it.")
    client_document: str = Field("", description="Address of a client metadata document, instead of our own.")
    issuer: str = Field("", description="The authorization server that it has to name.")
    trusted_origins: tuple[str, ...] = Field((), description="Further origins that endpoints of its issuer may have.")
    scopes: tuple[str, ...] = Field((), description="Asked for in every consent.")
    trust_hints: bool = Field(False, description="Its `readOnlyHint` and `idempotentHint` are believed.")
    allow_private_network: bool = Field(False, description="Its hosts may have addresses that are not the internet's.")
    legacy_auth: bool = Field(False, description="It is of 2025-03-26 and has no metadata.")
    only: tuple[str, ...] = Field((), description="The tools that are offered; empty: all that are pinned.")
    tools: dict[str, ToolSettings] = Field(
        default_factory=dict, description="By a tool's own name: `effect`, `repeat`, `needs`."
    )
    identity: IdentitySettings | None = Field(
        None, description="The read that says whose account it is: `tool`; in its result, `subject` and `name`."
    )

    @model_validator(mode="before")
    @classmethod
    def _secret_in_a_file(cls, said: Any) -> Any:
        return with_secret(said, "client_secret")

    def server(self, name: str) -> McpServer:
        """The server of this name. Raises `SettingsError` for one that cannot be."""
        said = {key: getattr(self, key) for key in type(self).model_fields if key not in _MADE}
        return McpServer(
            name,
            client_secret=Secret(self.client_secret.get_secret_value()) if self.client_secret else None,
            tools={tool: ToolOverride(**one.model_dump()) for tool, one in self.tools.items()},
            identity=AccountTool(**self.identity.model_dump()) if self.identity else None,
            **said,
        )


_MADE = ("client_secret", "client_secret_file", "tools", "identity")
