"""Conditions under which the inner graph of a task need not run, because its work can be done directly.

They are read from private names in the configuration that LangGraph passes to a task. If one is missing, the graph runs
as usual. It also runs if it has a checkpoint, because a pause ends where it began.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Container, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from langchain_core.messages import ToolCall
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import Interrupt

from deputize.adapters.langchain.run_context import bare_resume_value
from deputize.core import User

try:
    from langgraph._internal._constants import RESERVED as NAMES
except ImportError:  # a release that keeps these names elsewhere
    NAMES = set()

__all__ = [
    "ANSWERS",
    "PAD",
    "RESUMED_BY_ID",
    "RUNTIME",
    "SAVER",
    "LastReads",
    "TaskLocation",
    "answers_in",
    "call_saver",
    "read_resume_value",
    "reserve_graph_number",
]

SAVER: Final = "__pregel_checkpointer"  # in every task, None without a checkpointer
PAD: Final = "__pregel_scratchpad"  # counts the graphs of a task: each has its own namespace
ANSWERS: Final = "resume"  # of PAD: the answers to the task's pauses
RUNTIME: Final = "__pregel_runtime"  # what `get_runtime` and `get_stream_writer` look up
SEND: Final = "__pregel_send"  # collects a task's writes
RESUMING: Final = "__pregel_resuming"  # in the first step of a run: whether it continues another run
RESUME: Final = "__resume__"  # the answers, among a task's writes
RESUMED_BY_ID: Final = "__pregel_resume_map"  # the resume value of a run, if it names pauses
MAP: Final = "checkpoint_map"  # the checkpoints of the graphs around this task
STREAM: Final = "__pregel_stream"  # only if a caller streams the inner graphs


_firsts: Final = WeakKeyDictionary[Any, dict[int, int]]()
"""For each running task, by an object shared by its attempts: the number of deputize's first graph in each attempt."""


def reserve_graph_number(config: RunnableConfig) -> RunnableConfig:
    """Return the configuration with the number of this task's next graph reserved, for its checkpoints.

    LangGraph continues its count when it retries a task, but starts from zero in the next run, which would not find a
    pause of a retry, nor its owner. So the first graph of each attempt gets the number of the first attempt's graph,
    and later ones follow.
    """
    inside: Mapping[str, Any] = config.get("configurable") or {}
    pad: Any = inside.get(PAD)
    if not hasattr(pad, "subgraph_counter"):
        return config
    info = getattr(inside.get(RUNTIME), "execution_info", None)
    number, firsts = pad.subgraph_counter(), dict[int, int]()
    with suppress(AttributeError, TypeError):  # a release without these
        firsts = _firsts.setdefault(pad.get_null_resume, firsts)
    number -= firsts.setdefault(getattr(info, "node_attempt", 1), number) - next(iter(firsts.values()))
    return {**config, "configurable": {**inside, PAD: replace(pad, subgraph_counter=lambda: number)}}


@dataclass(frozen=True, eq=False)
class TaskLocation:
    """The location where a graph of this task stores its checkpoints. Its number is reserved, and in ``config``."""

    config: RunnableConfig
    saver: BaseCheckpointSaver[Any] | None
    rows: RunnableConfig
    inner: bool
    """Whether a pause must be made in that graph: a caller streams it, or this task has run another before."""
    pausing: bool
    """Whether the calls may have to pause first; see `deputize.adapters.langgraph.single_write`."""

    @classmethod
    def of(cls, config: RunnableConfig, *, pausing: bool = False) -> TaskLocation | None:
        """Return the location, or None outside a task and if the graph must run.

        The graph must run for reads that a caller streams, and for a pause without a checkpointer.
        """
        inside: Mapping[str, Any] = config.get("configurable") or {}
        saver, heard = inside.get(SAVER), STREAM in inside
        pad: Any = inside.get(PAD)
        if SAVER not in inside or not hasattr(pad, "subgraph_counter"):
            return None
        if not (saver is None or isinstance(saver, BaseCheckpointSaver)):
            return None
        name = str(inside.get("checkpoint_ns", ""))
        if pausing:
            if saver is None or name.rpartition("|")[0] not in inside.get(MAP, ()) or not hasattr(pad, ANSWERS):
                return None
        elif heard:
            return None
        inner = reserve_graph_number(config)
        number = inner.get("configurable", {})[PAD].subgraph_counter()
        rows = {"thread_id": str(inside.get("thread_id", "")), "checkpoint_ns": name + (f"|{number}" if number else "")}
        return cls(inner, saver, {"configurable": rows}, heard or bool(number), pausing)

    @property
    def may_have_run(self) -> bool:
        """True if this task may have run before, and so may have stored something.

        A run of an outermost graph reveals in its first step whether it continues another run; tasks of later steps are
        new. A graph inside a task is called by functions, which may continue anything.
        """
        inside: Mapping[str, Any] = self.config.get("configurable") or {}
        if RESUMING in inside or RESUMING not in NAMES or "|" in self.task:
            return bool(inside.get(RESUMING, True))
        return False

    async def has_begun(self) -> bool:
        """Return whether the graph has run at this location before."""
        return await self.inside() is not None

    async def inside(self) -> Mapping[str, Any] | None:
        """Return the state of the graph, or None if it has not run at this location before."""
        if self.saver is None or not self.may_have_run:
            return None
        kept = await call_saver(self.saver.aget_tuple, self.saver.get_tuple, self.rows)
        return None if kept is None else kept.checkpoint["channel_values"]

    def has_begun_now(self) -> bool:
        """Return the result of `has_begun`, blocking."""
        return self.may_have_run and self.saver is not None and self.saver.get_tuple(self.rows) is not None

    async def paused(self) -> list[Any]:
        """Return the values of earlier pauses of this step's tasks: of this task and of those beside it.

        A task called by another task, as in the functional API, names that task as its parent. Both store their pauses
        with the graph, which is the outermost of the names at one checkpoint.
        """
        inside: Mapping[str, Any] = self.config.get("configurable") or {}
        if not self.may_have_run or self.saver is None:
            return []
        now = inside[MAP][self.task.rpartition("|")[0]]
        above = min((name for name, checkpoint in inside[MAP].items() if checkpoint == now), key=len)
        rows: RunnableConfig = {"configurable": {"checkpoint_ns": above, "checkpoint_id": now}}
        rows["configurable"]["thread_id"] = str(inside.get("thread_id", ""))
        kept = await call_saver(self.saver.aget_tuple, self.saver.get_tuple, rows)
        left = [value for _, _, value in (kept.pending_writes or ()) if isinstance(value, tuple | list)] if kept else []
        return [one.value for value in left for one in value if isinstance(one, Interrupt)]

    @property
    def answers(self) -> list[Any]:
        """The answers to this task's pauses so far, in order: LangGraph's own list.

        LangGraph counts its entries in every later run, so a placeholder for a deputize answer must stay in it.
        """
        return answers_in(self.config)

    def keep_answers(self) -> None:
        """Make LangGraph store these answers, except this run's resume value, however the task ends.

        For a failed task, it otherwise stores only the answers that were requested again.
        """
        inside: Mapping[str, Any] = self.config.get("configurable") or {}
        inside.get(SEND, list)([(RESUME, read_resume_value(self.config)[1])])

    @property
    def name(self) -> str:
        """The name of this location, unique and the same in every run of this task."""
        return str(self.rows.get("configurable", {})["checkpoint_ns"])

    @property
    def thread(self) -> str:
        """The thread of the outer graph. A copied thread has the same tasks."""
        return str(self.rows.get("configurable", {})["thread_id"])

    @property
    def task(self) -> str:
        """The name of the task: the name of its first location."""
        return str((self.config.get("configurable") or {})["checkpoint_ns"])


def answers_in(config: RunnableConfig) -> list[Any]:
    """Return the answers to this task's pauses; empty if LangGraph stores none here. See `TaskLocation.answers`."""
    answers: list[Any] = getattr((config.get("configurable") or {}).get(PAD), ANSWERS, [])
    return answers


def read_resume_value(config: RunnableConfig) -> tuple[Any, list[Any]]:
    """Return this run's resume value that no pause of this task has received, or None, and the earlier answers."""
    inside: Mapping[str, Any] = config.get("configurable") or {}
    *before, last = (answers := answers_in(config)) or [None]
    if last is not None and any(last is said for said in (inside.get(RESUMED_BY_ID) or {}).values()):
        return last, before
    return bare_resume_value(config), [*answers]


Given = ParamSpec("Given")
Kept = TypeVar("Kept")


async def call_saver(
    awaited: Callable[Given, Awaitable[Kept]], blocking: Callable[Given, Kept], *given: Given.args, **more: Given.kwargs
) -> Kept:
    """Return the result of a checkpointer's method. Blocking checkpointers only have the second form."""
    try:
        return await awaited(*given, **more)
    except NotImplementedError:
        return await asyncio.to_thread(blocking, *given, **more)


MAX_CACHED: Final = 4096
"""Pairs of user and tool that are remembered."""


class LastReads:
    """Cache of the tools that recently read for a user without asking anything.

    Such a call is not checked before it runs. The act itself checks, and a call that lacks something by now, as after a
    revocation, returns to the gate. The same holds for several calls with equal needs, which would share one consent.
    Calls with different needs would each request their own, so one call of each tool is checked. ``alike``: tools whose
    calls all have the same needs, whatever their arguments.
    """

    def __init__(self, alike: Container[str]) -> None:
        self._alike, self._known = alike, set[tuple[User, str]]()

    def to_look_at(self, user: User | None, calls: Sequence[ToolCall]) -> Sequence[ToolCall]:
        """Return the calls that must be checked before any call runs."""
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
        """Record the outcome of these reads. ``asked``: True if the user must be asked after all."""
        if user is None:
            return
        if len(self._known) >= MAX_CACHED:
            self._known.clear()
        change = self._known.discard if asked else self._known.add
        for call in calls:
            change((user, call["name"]))
