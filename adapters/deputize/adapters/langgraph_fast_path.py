"""A node's graph that need not run: where its first step can do all of it, LangGraph's run of a graph is spared.

What tells whether that is so lies in the configuration LangGraph gives to a task, under names of its own. Where one of
them is missing, the graph runs as always. It also runs where a checkpoint of it exists: a pause ends where it began.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph.state import CompiledStateGraph

__all__ = ["SAVER", "First", "Step", "direct"]

Graph = CompiledStateGraph[Any, Any, Any, Any]
SAVER: Final = "__pregel_checkpointer"  # in every task, None where nothing is kept
PAD: Final = "__pregel_scratchpad"  # counts the graphs that a task has run: each has a namespace of its own
STREAM: Final = "__pregel_stream"  # only where somebody listens to the graphs inside


@dataclass(frozen=True)
class Step:
    """What the first step of a graph led to: its new state, and whether nothing is left to do."""

    state: dict[str, Any]
    whole: bool


@dataclass(frozen=True)
class First:
    """A graph's first step. ``suits`` says whether it can be tried outside of the graph, with this input."""

    suits: Callable[[Any], bool]
    awaited: Callable[[Any, RunnableConfig], Awaitable[Step]]
    blocking: Callable[[Any, RunnableConfig], Step]


@dataclass(frozen=True)
class _Place:
    """Where the graph keeps its checkpoints when it runs: its number in the task is taken, and in ``config``."""

    config: RunnableConfig
    saver: BaseCheckpointSaver[Any] | None
    rows: RunnableConfig

    @classmethod
    def of(cls, config: RunnableConfig | None) -> _Place | None:
        """None outside of a task, and where somebody listens."""
        inside: Mapping[str, Any] = (config or {}).get("configurable") or {}
        if config is None or SAVER not in inside or STREAM in inside:
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


def direct(graph: Graph, first: First) -> Graph:
    """The same graph, which a task of another graph gets done by its first step alone where that is enough."""

    class Direct(CompiledStateGraph[Any, Any, Any, Any]):
        """In this, only ``invoke`` and ``ainvoke`` as a node of another graph know of it."""

        async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
            """See `Pregel.ainvoke`."""
            place = None if kwargs or not first.suits(input) else _Place.of(config)
            if place is None:
                return await super().ainvoke(input, config, **kwargs)
            if place.saver is None or await place.saver.aget_tuple(place.rows) is None:
                step = await first.awaited(input, place.config)
                if step.whole:
                    return step.state
                input = {**input, **step.state}
            return await super().ainvoke(input, place.config)

        def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
            """See `Pregel.invoke`."""
            place = None if kwargs or not first.suits(input) else _Place.of(config)
            if place is None:
                return super().invoke(input, config, **kwargs)
            if place.saver is None or place.saver.get_tuple(place.rows) is None:
                step = first.blocking(input, place.config)
                if step.whole:
                    return step.state
                input = {**input, **step.state}
            return super().invoke(input, place.config)

    made = Direct.__new__(Direct)  # not made anew: what compiling added is no argument of a graph
    vars(made).update(vars(graph))
    return made
