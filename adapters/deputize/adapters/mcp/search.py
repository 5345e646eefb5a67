"""Hundreds of tools: a client lists two, one that finds the others and one that calls them.

What is called is the tool itself: its name and arguments are taken out before anything is looked at, so policy,
approval, ledger and audit see ``linear_create_issue`` and never ``call_tool``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import mcp_types as types

from deputize.adapters.mcp.results import given
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
    """These tools, to be found and called by name."""

    def __init__(self, tools: Iterable[Tool]) -> None:
        tools = list(tools)
        self._index = ToolIndex(tools)
        self._follows = {tool.toolkit: tool for tool in tools if tool.follows}
        self.listed = [_search_tool(tools), _call_tool()]

    def found(self, arguments: Mapping[str, Any]) -> types.CallToolResult:
        """The tools that fit best, with what reads on what they have cut. Raises `InvalidInput` for no question."""
        _only(SEARCH_TOOLS, arguments, "query")
        found = self._index.search(arguments["query"])
        follows = {tool.name: tool for one in found if (tool := self._follows.get(one.toolkit))}
        rows = [_listed(tool) for tool in [*found, *follows.values()]]
        return given({"tools": rows})

    def meant(self, arguments: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        """The tool that a call of ``call_tool`` is for, and its arguments. Raises `InvalidInput` for another form."""
        _only(CALL_TOOL, arguments, "name", "arguments")
        name, inner = arguments["name"], arguments["arguments"]
        if not isinstance(name, str) or not isinstance(inner, dict):
            raise InvalidInput("name is a tool's name, arguments an object with its arguments.", hint="Call it again.")
        return name, inner


def _only(tool: str, arguments: Mapping[str, Any], *names: str) -> None:
    wrong = [*(name for name in names if name not in arguments), *(name for name in arguments if name not in names)]
    if wrong:
        raise InvalidInput(f"{tool} takes {' and '.join(names)}, and nothing else.", hint="Call it again with these.")


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
