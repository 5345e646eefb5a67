"""The tools a deputy has: by name, by alias, by toolkit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from deputize.core.act.toolkit import Tool, Toolkit, find_toolkits
from deputize.core.errors import InvalidInput

LONGEST_NAME = 100


class Catalog:
    """These toolkits; or, where none are given, all that are installed, loaded when they are first asked for."""

    def __init__(self, toolkits: Iterable[Toolkit] | None = None) -> None:
        self._given = None if toolkits is None else {toolkit.name: toolkit for toolkit in toolkits}
        self._tools: dict[str, Tool] = {}

    def tools(self, *toolkits: str) -> list[Tool]:
        """The tools of these toolkits, or of all there are. Raises `InvalidInput` for a name nobody has."""
        return [tool for toolkit in self._found(*toolkits).values() for tool in toolkit.tools.values()]

    def tool(self, name: str) -> Tool:
        """The tool of this name or alias. Raises `InvalidInput` for an unknown one, naming some that are near."""
        if not isinstance(name, str) or len(name) > LONGEST_NAME:
            raise InvalidInput("That is no name of a tool.")
        if name not in self._tools:
            every = self.tools()
            self._tools = {tool.name: tool for tool in every} | {
                alias.name: tool.under(alias) for tool in every for alias in tool.aliases
            }
        if name not in self._tools:
            near = ", ".join(get_close_matches(name, list(self._tools), n=3, cutoff=0.3))
            raise InvalidInput(f"No tool is called {name!r}.", hint=f"Near: {near}." if near else "")
        return self._tools[name]

    def _found(self, *names: str) -> Mapping[str, Toolkit]:
        if self._given is None:
            return find_toolkits(*names)
        if unknown := [name for name in names if name not in self._given]:
            raise InvalidInput(f"No toolkit is called {unknown[0]!r}.", hint=f"There are: {', '.join(self._given)}.")
        return {name: self._given[name] for name in names or self._given}
