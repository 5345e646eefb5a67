"""Per-process cache for each server and grant: the era, a session of the older one, and the compared list.

It is lost with the process. The next act fills it again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from deputize.core.mcp_client.definitions import MAX_SERVER_NAME_CHARACTERS, digest_of
from deputize.core.mcp_client.pins import Pin
from deputize.core.mcp_client.protocol import Link, ToolList
from deputize.core.mcp_client.server_config import McpServer
from deputize.core.tools.steps import ForOperator, Steps

MIN_TOOL_LIST_TTL: Final = 60.0
"""Seconds for which a list is cached if its server gives no time, as older ones never do."""
MAX_CACHED_LINKS: Final = 1000


@dataclass(eq=False, repr=False)
class Known:
    """The cache of one server and grant. ``until``: when ``digests`` expire, by ``Links.clock``."""

    link: Link
    until: float = 0.0
    digests: Mapping[str, str] = field(default_factory=dict)
    grant: str = ""

    def copy(self) -> Known:
        """Return a copy for another act. It continues the request ids, which must be unique in a session."""
        return replace(self, link=replace(self.link))


@dataclass(eq=False, repr=False)
class Links:
    """The cache of one server, for all grants. ``clock``: monotonic seconds. ``pinned``: the pinned digests, by the
    server's own tool names. ``told``: the changed digests last reported to the operator.

    Concurrent acts of one grant use their own copies. Later acts start with the results of an earlier one.
    """

    server: McpServer
    clock: Callable[[], float] = time.monotonic
    pinned: Mapping[str, str] = field(default_factory=dict)
    told: Mapping[str, str] = field(default_factory=dict)
    _known: dict[str, Known] = field(default_factory=dict)

    def of(self, grant: str) -> Known:
        """Return the cache for this grant. It is empty at first, and for a grant without a name."""
        known = self._known.get(grant)
        return known.copy() if known else Known(Link(self.server), grant=grant)

    def current(self, known: Known, pinned: Pin) -> Steps:
        """Determine the protocol era and read the list of tools, unless both are cached.

        If the cached list lacks the pinned tool or has another definition of it, the list is read again: the operator
        may have pinned the tool since.
        """
        if not known.link.version:
            known.until = 0.0
            yield from known.link.open()
        if known.until <= self.clock() or known.digests.get(pinned.name) != pinned.digest:
            listed: ToolList = yield from known.link.tools()
            known.digests = {one["name"]: digest_of(one) for one in listed.tools if _may_be_pinned(one.get("name"))}
            known.until = self.clock() + max(listed.fresh, MIN_TOOL_LIST_TTL)
            self._keep(known)
            yield from self._tell(changed_of(self.pinned, known.digests))

    def _tell(self, changed: Mapping[str, str]) -> Steps:
        """Report changed definitions to the operator, unless this process has done so. A change that only one user sees
        stays reported until the operator has checked it."""
        if changed and changed != self.told:
            self.told = {**self.told, **changed}
            yield ForOperator(changed_place(self.server.name), {"changed": self.told})

    def _keep(self, known: Known) -> None:
        self._known.pop(known.grant, None)
        if known.grant:
            self._known[known.grant] = known.copy()
        while len(self._known) > MAX_CACHED_LINKS:
            self._known.pop(next(iter(self._known)))


def changed_of(pinned: Mapping[str, str], listed: Mapping[str, str]) -> dict[str, str]:
    """Return the current digests of pinned tools whose listed definition differs."""
    return {name: listed[name] for name, digest in pinned.items() if listed.get(name, digest) != digest}


def changed_place(server: str) -> str:
    """Return the key of the operator's note on a server's changed definitions: see `ForOperator`."""
    return f"mcp.{server}"


def _may_be_pinned(name: Any) -> bool:
    return isinstance(name, str) and len(name) <= MAX_SERVER_NAME_CHARACTERS
