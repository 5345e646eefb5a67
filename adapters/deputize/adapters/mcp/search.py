"""Tool search for hundreds of tools: a client lists two, one that finds the others and one that calls them.

The called tool is unwrapped before any check, so policy, approval, ledger and audit see ``linear_create_issue`` and
never ``call_tool``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import mcp_types as types

from deputize.adapters.mcp.results import tool_result
from deputize.core import InvalidInput, Tool, ToolIndex

__all__ = ["CALL_TOOL", "SEARCH_TOOLS", "Search"]

SEARCH_TOOLS: Final = "search_tools"
CALL_TOOL: Final = "call_tool"

_FOUND: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "tools": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "description": {"type": "string"},
                    "input_schema": {"type": "object"},
                },
                "required": ["name", "description", "input_schema"],
            },
        }
    },
    "required": ["tools"],
}


class Search:
    """An index of these tools, with the two tools that find and call them."""

    def __init__(self, tools: Iterable[Tool]) -> None:
        tools = list(tools)
        self._index = ToolIndex(tools)
        self._follows = {tool.toolkit: tool for tool in tools if tool.follows}
        self.listed = [_search_tool(tools), _call_tool()]

    def found(self, arguments: Mapping[str, Any]) -> types.CallToolResult:
        """Return the best matching tools, and the tools that continue their cut results. Raises `InvalidInput` without
        a query."""
        _only(SEARCH_TOOLS, arguments, "query")
        found = self._index.search(arguments["query"])
        follows = {tool.name: tool for one in found if (tool := self._follows.get(one.toolkit))}
        rows = [_listed(tool) for tool in [*found, *follows.values()]]
        return tool_result({"tools": rows})

    def meant(self, arguments: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        """Return the tool and arguments in a call of ``call_tool``. Raises `InvalidInput` for malformed arguments."""
        _only(CALL_TOOL, arguments, "name", "arguments")
        name, inner = arguments["name"], arguments["arguments"]
        if not isinstance(name, str) or not isinstance(inner, dict):
            raise InvalidInput("name must be a string, and arguments an object.", hint="Correct them and call again.")
        return name, inner


def _only(tool: str, arguments: Mapping[str, Any], *names: str) -> None:
    wrong = [*(name for name in names if name not in arguments), *(name for name in arguments if name not in names)]
    if wrong:
        raise InvalidInput(f"{tool} takes only {' and '.join(names)}.", hint="Correct the arguments and call again.")


def _listed(tool: Tool) -> dict[str, Any]:
    return {"name": tool.name, "description": tool.description, "input_schema": tool.schema}


def _search_tool(tools: Iterable[Tool]) -> types.Tool:
    products = ", ".join(sorted({tool.toolkit for tool in tools}))
    return types.Tool(
        name=SEARCH_TOOLS,
        description=f"Find tools by what they do, in a few words. There are tools for: {products}.",
        input_schema={
            "type": "object",
            "properties": {"query": {"type": "string", "description": 'As in "send an email" or "close an issue".'}},
            "required": ["query"],
            "additionalProperties": False,
        },
        output_schema=_FOUND,
        annotations=types.ToolAnnotations(read_only_hint=True, open_world_hint=False),
    )


def _call_tool() -> types.Tool:
    return types.Tool(
        name=CALL_TOOL,
        description=f"Call a tool that {SEARCH_TOOLS} has found, with arguments as its input_schema says.",
        input_schema={
            "type": "object",
            "properties": {"name": {"type": "string"}, "arguments": {"type": "object"}},
            "required": ["name", "arguments"],
            "additionalProperties": False,
        },
        annotations=types.ToolAnnotations(
            read_only_hint=False, destructive_hint=True, idempotent_hint=False, open_world_hint=True
        ),
    )
