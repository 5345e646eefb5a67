"""The tools of a deputy, by name, alias, toolkit and toolset.

    github            the toolkit; only its core toolset if it has more than two toolsets
    github:all        all toolsets
    github:actions    one toolset
    gmail_send_email  one tool
    find_people       the one tool without a toolkit, which searches all of them

If a toolkit or toolset cuts long texts, it includes a tool that reads their rest: see
`deputize.core.tools.continuation`.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress

from deputize.core.errors import InvalidInput, SettingsError, instead
from deputize.core.tools.find_people import FIND_PEOPLE, find_people
from deputize.core.tools.plugins import built_in_names, find_toolkits, toolkit_names
from deputize.core.tools.tool import Effect, Tool
from deputize.core.tools.toolkit import Toolkit

MAX_NAME_CHARACTERS = 100
ALL, CORE = "all", "core"
FEW_TOOLSETS = 2

log = logging.getLogger("deputize.core.acts")


class Catalog:
    """The tools of the given toolkits. Without toolkits: of all installed ones, each loaded on first use.

    A tool is looked up in the toolkits whose name is a prefix of the tool's name. All toolkits are loaded for any other
    name, because it may be an alias, and for the list of all tools.
    """

    def __init__(self, toolkits: Iterable[Toolkit] | None = None) -> None:
        self._toolkits: dict[str, Toolkit] = {toolkit.name: toolkit for toolkit in toolkits or ()}
        self._complete = toolkits is not None
        self._added: dict[str, Toolkit] = {}
        self._tools: dict[str, Tool] = {}
        self._warned = set[str]()
        if not self._complete:
            built_in_names()

    def tools(self, *names: str, read_only: bool = False) -> list[Tool]:
        """Return the tools of these names, each once, in the order of the names; without names, all tools.

        ``read_only``: only tools that never change anything. Raises `InvalidInput` for an unknown name.
        """
        found = {tool.name: tool for name in names for tool in self._tools_named(name)} if names else self._every()
        return [tool for tool in found.values() if not read_only or tool.gravest is Effect.READS]

    def add(self, toolkit: Toolkit) -> None:
        """Add a toolkit, or replace the added toolkit of the same name.

        Raises `SettingsError` if its name is the name of another toolkit or begins with it, because calls of that
        toolkit's tools or of their old names could reach this toolkit. If two toolkits are added, neither name may be a
        prefix of the other.
        """
        added = self._added.keys() - {toolkit.name}
        others = {*self._toolkits, *(() if self._complete else toolkit_names())} - self._added.keys()
        taken = [one for one in {*others, *added} if f"{toolkit.name}_".startswith(f"{one}_")]
        if taken := sorted([*taken, *(one for one in added if one.startswith(f"{toolkit.name}_"))]):
            raise SettingsError(
                f"A toolkit cannot be called {toolkit.name!r} beside the toolkit {taken[0]}.",
                hint="Choose a name that is not the beginning of another toolkit's name, nor begins with one.",
            )
        self._added[toolkit.name] = toolkit
        self._toolkits, self._tools = {**self._toolkits, toolkit.name: toolkit}, {}  # others may be reading the old one

    def remove(self, name: str) -> None:
        """Remove a toolkit that was added."""
        if self._added.pop(name, None) is not None:
            self._toolkits, self._tools = {n: kit for n, kit in self._toolkits.items() if n != name}, {}

    def is_loaded(self, name: str) -> bool:
        """Return True if looking up this tool reads no file and imports nothing."""
        return self._complete or (isinstance(name, str) and name in self._tools)

    def _tools_named(self, name: str) -> list[Tool]:
        if isinstance(name, Collection) and not isinstance(name, str | bytes):
            hint = "Pass each name as its own argument: tools(*names)."
            raise InvalidInput("A toolkit's name must be a text, not a list.", hint=hint, fix_by="operator")
        if not isinstance(name, str) or len(name) > MAX_NAME_CHARACTERS:
            raise InvalidInput(f"A toolkit's name has at most {MAX_NAME_CHARACTERS} characters.", fix_by="operator")
        kit, colon, toolset = name.partition(":")
        toolkit = self.toolkit(kit)
        if toolkit is None:
            tool = None if colon else self._find_exact(name) or self._every().get(name)
            if tool is None:
                hint = instead(name, self._every(), every=False) or instead(kit, self._load_all())
                raise InvalidInput(f"No toolkit or tool is called {kit!r}.", hint=hint)
            return [tool]
        tools = list(toolkit.tools.values())
        sets = list(dict.fromkeys(tool.toolset for tool in tools))
        wanted = toolset if colon else CORE if len(sets) > FEW_TOOLSETS else ALL
        if wanted != ALL and wanted not in sets:
            raise InvalidInput(f"{kit} has no toolset {toolset!r}.", hint=instead(toolset, [ALL, *sets]))
        chosen = [tool for tool in tools if wanted in (ALL, tool.toolset)]
        reads = any(tool.gravest is Effect.READS for tool in chosen)
        return chosen + [tool for tool in toolkit.offered.values() if tool.follows and reads]

    def _every(self) -> dict[str, Tool]:
        found = {tool.name: tool for toolkit in self._load_all().values() for tool in toolkit.offered.values()}
        return found | ({FIND_PEOPLE: find_people()} if self.readers_of_people() else {})

    def readers_of_people(self) -> list[Tool]:
        """Return the people reader of each toolkit that has one."""
        return [kit.reads_people for kit in self._load_all().values() if kit.reads_people is not None]

    def readers_of_sent_mail(self) -> list[Tool]:
        """Return the reader of sent mail of each toolkit that has one."""
        return [kit.reads_sent_mail for kit in self._load_all().values() if kit.reads_sent_mail is not None]

    def tool(self, name: str) -> Tool:
        """Return the tool of this name or alias. Raises `InvalidInput` with similar names if there is none."""
        if not isinstance(name, str) or len(name) > MAX_NAME_CHARACTERS:
            raise InvalidInput(f"A tool's name must be a text of at most {MAX_NAME_CHARACTERS} characters.")
        if name not in self._tools:
            if found := self._find_exact(name):
                self._tools[name] = found
            else:
                self._tools = self._with_aliases()
        if name not in self._tools:
            hint = instead(name, self._tools, every=False) or "deputize tools lists them, as does Deputy.tools()."
            raise InvalidInput(f"No tool is called {name!r}.", hint=hint)
        tool = self._tools[name]
        if tool.called and tool.name not in self._warned:
            self._warned.add(tool.name)
            log.warning("%s is an alias of %s.", tool.called.name, tool.name)
        return tool

    def _find_exact(self, name: str) -> Tool | None:
        """Return the tool of exactly this name, or None. Loads only toolkits whose name is a prefix, longest first."""
        if name == FIND_PEOPLE:
            return find_people()
        names = self._toolkits if self._complete else {*toolkit_names(), *self._added}
        for kit in sorted((one for one in names if name.startswith(f"{one}_")), key=len, reverse=True):
            with suppress(SettingsError):  # broken: logged where all are loaded
                if (found := self.toolkit(kit)) and name in found.offered:
                    return found.offered[name]
        return None

    def _with_aliases(self) -> dict[str, Tool]:
        """Return all tools by name and alias. A name takes precedence over an alias, and the first of equal aliases
        wins."""
        tools = self._every()
        for tool in list(tools.values()):
            for alias in tool.aliases:
                for other in (alias.name, alias.name.replace(".", "_")):
                    tools.setdefault(other, tool.under(alias))
        return tools

    def _load_all(self) -> Mapping[str, Toolkit]:
        if not self._complete:
            self._toolkits, self._complete = find_toolkits() | self._added, True
        return self._toolkits

    def toolkit(self, name: str) -> Toolkit | None:
        """Return the toolkit of this name, loaded if necessary, or None."""
        if name not in self._toolkits and not self._complete:
            with suppress(InvalidInput):
                self._toolkits[name] = find_toolkits(name)[name]
        return self._toolkits.get(name)
