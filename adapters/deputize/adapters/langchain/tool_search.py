"""Tool search: of many tools, a model sees the ones that are always bound and the ones that it has searched for.

    search = ToolSearch(deputy, tools(deputy, "github:all", "linear:all", user="alice"))
    model.bind_tools(search.bound(messages)).invoke(messages)       # before each model call
    ToolNode(search.tools)                                           # all tools that it may call

A search result is only stored in the conversation's messages, which a run in another process has too. Messages are not
trusted: only the tools that were passed in can be bound.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any, Final

from langchain_core.messages import AIMessage, AnyMessage, ToolMessage
from langchain_core.tools import BaseTool, StructuredTool, ToolException
from pydantic import Field

from deputize.adapters.argument_checks import check_list
from deputize.adapters.model_messages import as_text, failure_text
from deputize.core import DeputyProtocol, Effect, InvalidInput, SettingsError, Tool, ToolIndex

__all__ = ["SEARCH_TOOLS", "ToolSearch"]

SEARCH_TOOLS: Final = "search_tools"
MAX_RESULTS: Final = 20
_MAX_DESCRIPTION_CHARACTERS: Final = 300
_CALLED: Final = {"find": "people"}


class ToolSearch:
    """Tools of a deputy, and a tool that searches them.

    ``always``: names that are bound from the start, as in `Deputy.tools`. ``most``: the maximum number of other tools
    bound at once; the last found or called stay. ``name``: the search tool's name. Raises `SettingsError` if ``always``
    is a single string, or names a tool that is not among the tools.
    """

    def __init__(
        self,
        deputy: DeputyProtocol,
        tools: Sequence[BaseTool],
        *,
        always: Iterable[str] = (),
        most: int = MAX_RESULTS,
        name: str = SEARCH_TOOLS,
    ) -> None:
        check_list("always", always)
        self._given = {tool.name: tool for tool in tools}
        known = {tool.name: tool for tool in deputy.tools(*self._given)} if tools else {}
        self._index = ToolIndex(known.values())
        self._follows = {tool.toolkit: tool.name for tool in known.values() if tool.follows}
        self._reads = {tool.name: tool.toolkit for tool in known.values() if tool.gravest is Effect.READS}
        self._always = frozenset(tool.name for one in always for tool in deputy.tools(one))
        if strange := sorted(self._always - self._given.keys()):
            hint = "Add it to the toolkits, too."
            raise SettingsError(f"always= names {strange[0]}, which is not among the tools.", hint=hint)
        self._most = most
        self.tool = self._search_tool(name)

    @property
    def tools(self) -> list[BaseTool]:
        """All tools that a model may call, including the search tool."""
        return [*self._given.values(), self.tool]

    def bound(self, messages: Sequence[AnyMessage]) -> list[BaseTool]:
        """Return the tools to bind for the model call after these messages, in a stable order."""
        names = self.names(messages)
        return [*(tool for name, tool in self._given.items() if name in names), self.tool]

    def names(self, messages: Sequence[AnyMessage]) -> set[str]:
        """Return the names of the tools to bind, without the search tool."""
        found = dict.fromkeys(name for name in self._newest_first(messages) if name in self._given)
        names = {*self._always, *[name for name in found if name not in self._always][: self._most]}
        return names | {self._follows[kit] for name in names if (kit := self._reads.get(name)) in self._follows}

    def _newest_first(self, messages: Sequence[AnyMessage]) -> Iterator[str]:
        """Yield the tools that were called or found, newest first."""
        for message in reversed(messages):
            if isinstance(message, AIMessage):
                yield from (call["name"] for call in message.tool_calls)
            elif isinstance(message, ToolMessage) and message.name == self.tool.name:
                yield from _read_names(message.content)

    def _search_tool(self, name: str) -> BaseTool:
        def search(
            query: Annotated[str, Field(description="what is to be done, in a few words: 'reply to an email'")],
        ) -> str:
            try:
                found = self._index.search(query)
            except InvalidInput as error:
                raise ToolException(failure_text(error)) from None
            return as_text(
                {"tools": [_summary(tool) for tool in found]} if found else {"tools": [], "hint": self._hint()}
            )

        async def searched(query: str) -> str:
            return search(query)

        return StructuredTool.from_function(
            search,
            searched,
            name,
            f"Find tools by what they do; those found can be called next. There are tools for {self._kits()}.",
            handle_tool_error=True,
            handle_validation_error="query: say in a few words what is to be done.",
        )

    def _kits(self) -> str:
        return ", ".join(sorted({_CALLED.get(tool.toolkit, tool.toolkit) for tool in self._index.tools})) or "nothing"

    def _hint(self) -> str:
        return f"No tool matches these words. Use others; there are tools for {self._kits()}."


def _summary(tool: Tool) -> dict[str, Any]:
    return {"name": tool.name, "description": tool.description[:_MAX_DESCRIPTION_CHARACTERS]}


def _read_names(content: Any) -> Iterator[str]:
    """Yield the tool names in a search result; none if the text is cut, summarized or not a search result."""
    try:
        rows = json.loads(content)["tools"]
        yield from [name for row in rows if isinstance(name := row["name"], str)]
    except (ValueError, TypeError, KeyError, RecursionError):
        return
