"""The tools a deputy has: by name, by alias, by toolkit and toolset.

github            the toolkit; of one with more than two toolsets its core, since nobody wants eighty tools unasked
github:all        all of it
github:actions    one toolset
gmail_send_email  one tool
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from deputize.core.act.tool import Effect, Tool
from deputize.core.act.toolkit import Toolkit, find_toolkits
from deputize.core.errors import InvalidInput, instead

LONGEST_NAME = 100
ALL, CORE = "all", "core"
FEW_TOOLSETS = 2

log = logging.getLogger(__name__)


class Catalog:
    """These toolkits; or, where none are given, all that are installed, loaded when they are first asked for."""

    def __init__(self, toolkits: Iterable[Toolkit] | None = None) -> None:
        self._all = None if toolkits is None else {toolkit.name: toolkit for toolkit in toolkits}
        self._tools: dict[str, Tool] = {}
        self._told = set[str]()

    def tools(self, *names: str, read_only: bool = False) -> list[Tool]:
        """The tools of these names, each once, in the order of the names; without names, all there are.

        ``read_only``: only those that never change anything. Raises `InvalidInput` for a name nobody has.
        """
        found = {tool.name: tool for name in names for tool in self._named(name)} if names else self._every()
        return [tool for tool in found.values() if not read_only or tool.gravest is Effect.READS]

    @property
    def loaded(self) -> bool:
        """Whether every tool is here, so that looking one up touches no file."""
        return self._all is not None

    def _named(self, name: str) -> list[Tool]:
        if not isinstance(name, str) or len(name) > LONGEST_NAME:
            raise InvalidInput("That is no name of a toolkit.", fix_by="operator")
        kit, colon, toolset = name.partition(":")
        toolkit = self._toolkit(kit)
        if toolkit is None:
            tool = None if colon else self._every().get(name)
            if tool is None:
                hint = instead(name, self._every(), every=False) or instead(kit, self._found())
                raise InvalidInput(f"No toolkit or tool is called {kit!r}.", hint=hint)
            return [tool]
        tools = list(toolkit.tools.values())
        sets = list(dict.fromkeys(tool.toolset for tool in tools))
        wanted = toolset if colon else CORE if len(sets) > FEW_TOOLSETS else ALL
        if wanted != ALL and wanted not in sets:
            raise InvalidInput(f"{kit} has no toolset {toolset!r}.", hint=instead(toolset, [ALL, *sets]))
        return [tool for tool in tools if wanted in (ALL, tool.toolset)]

    def _every(self) -> dict[str, Tool]:
        return {tool.name: tool for toolkit in self._found().values() for tool in toolkit.tools.values()}

    def tool(self, name: str) -> Tool:
        """The tool of this name or alias. Raises `InvalidInput` for an unknown one, naming some that are near."""
        if not isinstance(name, str) or len(name) > LONGEST_NAME:
            raise InvalidInput("That is no name of a tool.")
        if name not in self._tools:
            self._tools = self._every()
            for tool in list(self._tools.values()):  # a tool's own name is nobody's alias; an alias is the first one's
                for alias in tool.aliases:
                    for other in (alias.name, alias.name.replace(".", "_")):
                        self._tools.setdefault(other, tool.under(alias))
        if name not in self._tools:
            hint = instead(name, self._tools, every=False) or "deputize tools lists them, as does Deputy.tools()."
            raise InvalidInput(f"No tool is called {name!r}.", hint=hint)
        tool = self._tools[name]
        if tool.called and tool.name not in self._told:
            self._told.add(tool.name)
            log.warning("%s is called %s here.", tool.called.name, tool.name)
        return tool

    def _found(self) -> Mapping[str, Toolkit]:
        if self._all is None:
            self._all = find_toolkits()
        return self._all

    def _toolkit(self, name: str) -> Toolkit | None:
        if self._all is not None:
            return self._all.get(name)
        try:
            return find_toolkits(name)[name]
        except InvalidInput:
            return None
