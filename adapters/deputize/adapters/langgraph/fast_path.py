"""When a graph inside of a task need not run, since its first step can do all of it; and when not even that need run.

What tells lies in the configuration that LangGraph gives to a task, under names of its own. Where one of them is
missing, the graph runs as always. It also runs where a checkpoint of it exists: a pause ends where it began.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from langchain_core.messages import ToolCall
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver

from deputize.core import User

__all__ = ["PAD", "RUNTIME", "SAVER", "LastReads", "Place"]

SAVER: Final = "__pregel_checkpointer"  # in every task, None where nothing is kept
PAD: Final = "__pregel_scratchpad"  # counts the graphs that a task has run: each has a namespace of its own
RUNTIME: Final = "__pregel_runtime"  # what `get_runtime` and `get_stream_writer` look up
STREAM: Final = "__pregel_stream"  # only where somebody listens to the graphs inside


@dataclass(frozen=True, eq=False)
class Place:
    """Where a graph of this task keeps its checkpoints when it runs: its number is taken, and in ``config``."""

    config: RunnableConfig
    saver: BaseCheckpointSaver[Any] | None
    rows: RunnableConfig

    @classmethod
    def of(cls, config: RunnableConfig) -> Place | None:
        """None outside of a task, and where somebody listens."""
        inside: Mapping[str, Any] = config.get("configurable") or {}
        if SAVER not in inside or STREAM in inside:
            return None
        saver = inside[SAVER]
        pad: Any = inside.get(PAD)
        if not hasattr(pad, "subgraph_counter") or not (saver is None or isinstance(saver, BaseCheckpointSaver)):
            return None
        number = pad.subgraph_counter()
        numbered = replace(pad, subgraph_counter=lambda: number)
        name = inside.get("checkpoint_ns", "") + (f"|{number}" if number else "")
        rows = {"thread_id": str(inside.get("thread_id", "")), "checkpoint_ns": name}
        return cls({**config, "configurable": {**inside, PAD: numbered}}, saver, {"configurable": rows})

    async def begun(self) -> bool:
        """Whether the graph has run here before."""
        return self.saver is not None and await self.saver.aget_tuple(self.rows) is not None

    def begun_now(self) -> bool:
        """See `begun`; blocking."""
        return self.saver is not None and self.saver.get_tuple(self.rows) is not None


MOST: Final = 4096
"""Users and tools that are remembered together."""


class LastReads:
    """Which tools have last read for which users with nothing to ask them.

    A call of one needs no look before: the act looks at everything itself, and where something is missing by now, as
    after a revocation, it comes back, and the gate asks. Nor do several that need the same, which would all ask for one
    consent. Where they need different things, each act would ask for its own, beside the one for all of them; so one
    call of each tool is looked at. ``alike``: the tools of which every call needs the same, whatever its arguments.
    """

    def __init__(self, alike: Container[str]) -> None:
        self._alike, self._known = alike, set[tuple[User, str]]()

    def to_look_at(self, user: User | None, calls: Sequence[ToolCall]) -> Sequence[ToolCall]:
        """Those of these calls that have to be looked at before any is done."""
        ids = {call["id"] for call in calls}
        if user is None or None in ids or len(ids) < len(calls):
            return calls
        names = {call["name"] for call in calls}
        known = {name for name in names if (user, name) in self._known and (name in self._alike or len(calls) == 1)}
        if len(names) == 1 and known:
            return ()
        first = {call["name"]: call for call in reversed(calls)}
        return [call for call in calls if call["name"] not in known or call is first[call["name"]]]

    def note(self, user: User | None, calls: Iterable[ToolCall], *, asked: bool) -> None:
        """How reading these went. ``asked``: the user is to be asked something after all."""
        if user is None:
            return
        if len(self._known) >= MOST:
            self._known.clear()
        change = self._known.discard if asked else self._known.add
        for call in calls:
            change((user, call["name"]))
