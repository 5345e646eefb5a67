"""A foreign MCP server described in settings: ``[mcp.linear]`` in ``deputize.toml``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from deputize.core.mcp_client.server_config import (
    AccountTool,
    ForeignEffect,
    ForeignRepeat,
    InlineKind,
    McpServer,
    ToolOverride,
)
from deputize.core.secret_files import with_secret
from deputize.core.vault.grant import Secret


class ToolSettings(BaseModel):
    """``[mcp.linear.tools.search_issues]``: the operator's settings of one tool, by its name at the server."""

    model_config = ConfigDict(extra="forbid")

    effect: ForeignEffect | Literal[""] = ""
    repeat: ForeignRepeat | Literal[""] = ""
    needs: tuple[str, ...] = ()


class IdentitySettings(BaseModel):
    """``[mcp.linear.identity]``: the tool that returns the account."""

    model_config = ConfigDict(extra="forbid")

    tool: str
    subject: str
    name: str = ""


class McpSettings(BaseModel):
    """One server. `deputize.core.mcp_client.server_config.McpServer` explains the fields. Unknown names are rejected,
    so that a misspelt ``trust_hint`` is noticed."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(description="Its URL, https.")
    client_id: str = Field("", description="Client id of an app that you registered there.")
    client_secret: SecretStr | None = Field(None, description="Client secret of that app.")
    client_secret_file: Path | None = Field(None, description="File that holds the secret.")
    client_document: str = Field("", description="URL of a client metadata document, instead of our own.")
    issuer: str = Field("", description="The authorization server that it must name.")
    trusted_origins: tuple[str, ...] = Field((), description="Further origins that endpoints of its issuer may have.")
    scopes: tuple[str, ...] = Field((), description="Scopes requested in every consent.")
    trust_hints: bool = Field(False, description="Trust its `readOnlyHint` and `idempotentHint`.")
    allow_private_network: bool = Field(False, description="Its hosts may have private addresses.")
    legacy_auth: bool = Field(False, description="It implements 2025-03-26 and has no metadata.")
    only: tuple[str, ...] = Field((), description="The tools that are offered. Empty: all that are pinned.")
    sign_in: str = Field(
        "oauth",
        description="Or a key that each user enters: `bearer`, `basic`, `header:X-Api-Key`, `query:api_key`; `none` "
        "if nobody signs in. `client_secret` is then the key of all users.",
    )
    inline: tuple[InlineKind, ...] = Field(
        ("image",), description="Kinds of files in results that models receive: `image`, `audio`, `pdf`."
    )
    idle_timeout_seconds: float = Field(
        60.0, description="Seconds that a call may be silent. Each progress notification renews them."
    )
    tools: dict[str, ToolSettings] = Field(
        default_factory=dict, description="By a tool's name at the server: `effect`, `repeat`, `needs`."
    )
    identity: IdentitySettings | None = Field(
        None, description="The read that returns the account: `tool`; in its result, `subject` and `name`."
    )

    @model_validator(mode="before")
    @classmethod
    def _read_secret_file(cls, values: Any) -> Any:
        return with_secret(values, "client_secret")

    def server(self, name: str) -> McpServer:
        """Return the server of this name. Raises `SettingsError` for an invalid one."""
        values = {key: getattr(self, key) for key in type(self).model_fields if key not in _MADE}
        return McpServer(
            name,
            client_secret=Secret(self.client_secret.get_secret_value()) if self.client_secret else None,
            tools={tool: ToolOverride(**settings.model_dump()) for tool, settings in self.tools.items()},
            identity=AccountTool(**self.identity.model_dump()) if self.identity else None,
            **values,
        )


_MADE = ("client_secret", "client_secret_file", "tools", "identity")
