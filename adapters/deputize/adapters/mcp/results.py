"""Tool definitions, results and failures in MCP's format."""

from __future__ import annotations

from typing import Any, Final

import mcp_types as types

from deputize.adapters.model_messages import as_text, failure_text
from deputize.adapters.operator_warnings import NO_USER_IN_REQUEST, warn_operator
from deputize.core import DeputizeError, Effect, Tool

__all__ = ["INSTRUCTIONS", "error_result", "tool_definition", "tool_result"]

INSTRUCTIONS: Final = "A call may need the user: it then says where they decide. Afterwards make the same call again."
"""Placed before the text about ``untrusted``: some clients read only 512 characters (Codex)."""


def tool_definition(tool: Tool) -> types.Tool:
    """Return a tool's definition as clients list it. Its annotations are hints for its strongest effect.

    It has no output schema, because clients abort a call whose result does not match one, after the act has happened.
    See https://modelcontextprotocol.io/specification/2026-07-28/server/tools.
    """
    return types.Tool(
        name=tool.name,
        description=tool.description,
        input_schema={"type": "object", **tool.schema},
        annotations=_hints(tool.gravest),
    )


def _hints(effect: Effect) -> types.ToolAnnotations:
    """Return the annotations. A read meets untrusted content and a message reaches others, so both are "open world"."""
    if effect is Effect.READS:
        return types.ToolAnnotations(read_only_hint=True, open_world_hint=True)
    return types.ToolAnnotations(
        read_only_hint=False,
        destructive_hint=Effect.DESTRUCTIVE in effect,
        idempotent_hint=False,
        open_world_hint=Effect.SENDS in effect,
    )


def tool_result(result: Any) -> types.CallToolResult:
    """Return a tool's result as text for the model, and objects also as structured content."""
    structured = result if isinstance(result, dict) else None
    return types.CallToolResult(content=[_text(as_text(result))], structured_content=structured)


def error_result(error: DeputizeError, more: str = "") -> types.CallToolResult:
    """Return a failure as text for the model, followed by ``more``. Logs the failure if the operator must fix it."""
    warn_operator(error, NO_USER_IN_REQUEST)
    return types.CallToolResult(content=[_text(f"{failure_text(error)} {more}".strip())], is_error=True)


def _text(text: str) -> types.TextContent:
    return types.TextContent(type="text", text=text)
