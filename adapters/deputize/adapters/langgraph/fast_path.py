"""Whether a graph inside of a task has begun, so that it need not run where its first step can do all of it.

What tells lies in the configuration that LangGraph gives to a task, under names of its own. Where one of them is
missing, the graph runs as always. It also runs where a checkpoint of it exists: a pause ends where it began.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver

__all__ = ["PAD", "RUNTIME", "SAVER", "Place"]

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
