"""What a process knows of a server for each grant: its era, a session of the older one, the list as it was compared.

It is lost with the process, and found out again by the next act.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from deputize.core.mcp.definitions import LONGEST_OWN_NAME, digest_of
from deputize.core.mcp.pins import Pin
from deputize.core.mcp.protocol import Link, ToolList
from deputize.core.mcp.server import McpServer
from deputize.core.tools.steps import ForOperator, Steps

LEAST_FRESH: Final = 60.0
"""Seconds for which a list counts that its server gives no time for, as no older one does."""
MAX_LINKS: Final = 1000


@dataclass(eq=False, repr=False)
class Known:
    """What an act knows of a server for its grant. ``until``: how long ``digests`` count, by ``Links.clock``."""

    link: Link
    until: float = 0.0
    digests: Mapping[str, str] = field(default_factory=dict)
    grant: str = ""

    def copy(self) -> Known:
        """The same, which another act may change. Ids of requests go on: no two of a session may be the same."""
        return replace(self, link=replace(self.link))


@dataclass(eq=False, repr=False)
class Links:
    """One server for all grants. ``clock``: seconds that only grow. ``pinned``: the digests that were looked at, by the
    tools' own names; ``told``: those that were last seen to differ, as the operator was told.

    Acts of one grant run at the same time, and each has its own copy: what one finds out, later ones begin with.
    """

    server: McpServer
    clock: Callable[[], float] = time.monotonic
    pinned: Mapping[str, str] = field(default_factory=dict)
    told: Mapping[str, str] = field(default_factory=dict)
    _known: dict[str, Known] = field(default_factory=dict)

    def of(self, grant: str) -> Known:
        """What is known for this grant; nothing at first, and for a grant without a name."""
        known = self._known.get(grant)
        return known.copy() if known else Known(Link(self.server), grant=grant)

    def current(self, known: Known, pinned: Pin) -> Steps:
        """Make sure that the era is known, and that the list was compared as lately as it has to be.

        A list that would refuse this tool is read again, however fresh: somebody may have looked since it was read.
        """
        if not known.link.version:
            known.until = 0.0
            yield from known.link.open()
        if known.until <= self.clock() or known.digests.get(pinned.name) != pinned.digest:
            listed: ToolList = yield from known.link.tools()
            known.digests = {one["name"]: digest_of(one) for one in listed.tools if _may_be_pinned(one.get("name"))}
            known.until = self.clock() + max(listed.fresh, LEAST_FRESH)
            self._keep(known)
            yield from self._tell(changed_of(self.pinned, known.digests))

    def _tell(self, changed: Mapping[str, str]) -> Steps:
        """Let the operator know what waits for a look, where that is news to this process. What one user is shown and
        another is not stays told until somebody has looked."""
        if changed and changed != self.told:
            self.told = {**self.told, **changed}
            yield ForOperator(changed_place(self.server.name), {"changed": self.told})

    def _keep(self, known: Known) -> None:
        self._known.pop(known.grant, None)
        if known.grant:
            self._known[known.grant] = known.copy()
        while len(self._known) > MAX_LINKS:
            self._known.pop(next(iter(self._known)))


def changed_of(pinned: Mapping[str, str], listed: Mapping[str, str]) -> dict[str, str]:
    """Of what is pinned and listed in another form: the digest that it has now."""
    return {name: listed[name] for name, digest in pinned.items() if listed.get(name, digest) != digest}


def changed_place(server: str) -> str:
    """Where the operator is told of a server's changed definitions: see `ForOperator`."""
    return f"mcp.{server}"


def _may_be_pinned(name: Any) -> bool:
    return isinstance(name, str) and len(name) <= LONGEST_OWN_NAME
