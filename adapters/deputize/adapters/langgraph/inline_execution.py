"""When a graph inside of a task need not run, since its first step can do all of it; and when not even that need run.

What tells lies in the configuration that LangGraph gives to a task, under names of its own. Where one of them is
missing, the graph runs as always. It also runs where a checkpoint of it exists: a pause ends where it began.
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

from deputize.core import User

try:
    from langgraph._internal._constants import RESERVED as NAMES
except ImportError:  # a release that keeps its names elsewhere
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
    "asked_of_saver",
    "came_with",
    "numbered",
]

SAVER: Final = "__pregel_checkpointer"  # in every task, None where nothing is kept
PAD: Final = "__pregel_scratchpad"  # counts the graphs that a task has run: each has a namespace of its own
ANSWERS: Final = "resume"  # of that: what the task's pauses were answered with
RUNTIME: Final = "__pregel_runtime"  # what `get_runtime` and `get_stream_writer` look up
SEND: Final = "__pregel_send"  # where a task leaves what it writes
RESUMING: Final = "__pregel_resuming"  # in the first step of a run: whether that goes on with another
RESUME: Final = "__resume__"  # what it was answered with, among what it writes
RESUMED_BY_ID: Final = "__pregel_resume_map"  # what a run came with, if it named the pauses that it answers
MAP: Final = "checkpoint_map"  # where the graphs around this task keep what they do
STREAM: Final = "__pregel_stream"  # only where somebody listens to the graphs inside


_firsts: Final = WeakKeyDictionary[Any, dict[int, int]]()
"""Of each task that runs, by what is its own in all attempts: the number of our first graph in each of them."""


def numbered(config: RunnableConfig) -> RunnableConfig:
    """With the number of this task's next graph taken: it keeps its checkpoints under it.

    LangGraph counts on when it tries a task again, and from zero in the next run. So what paused in another attempt
    would be found in no run, and its owner with it: our first graph of an attempt has the number of the first one that
    there was, and those after it follow.
    """
    inside: Mapping[str, Any] = config.get("configurable") or {}
    pad: Any = inside.get(PAD)
    if not hasattr(pad, "subgraph_counter"):
        return config
    info = getattr(inside.get(RUNTIME), "execution_info", None)
    number, firsts = pad.subgraph_counter(), dict[int, int]()
    with suppress(AttributeError, TypeError):  # in a release that has nothing of the kind
        firsts = _firsts.setdefault(pad.get_null_resume, firsts)
    number -= firsts.setdefault(getattr(info, "node_attempt", 1), number) - next(iter(firsts.values()))
    return {**config, "configurable": {**inside, PAD: replace(pad, subgraph_counter=lambda: number)}}


@dataclass(frozen=True, eq=False)
class TaskLocation:
    """Where a graph of this task keeps its checkpoints when it runs: its number is taken, and in ``config``."""

    config: RunnableConfig
    saver: BaseCheckpointSaver[Any] | None
    rows: RunnableConfig
    inner: bool
    """Whether a pause has to be made in that graph: somebody listens to it, or this task has run another before."""
    pausing: bool
    """Whether what is to be done may have to pause first; see `deputize.adapters.langgraph.single_write`."""

    @classmethod
    def of(cls, config: RunnableConfig, *, pausing: bool = False) -> TaskLocation | None:
        """None outside of a task, and where the graph has to run: for reads, where somebody listens; for a pause, where
        nothing is kept."""
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
        inner = numbered(config)
        number = inner.get("configurable", {})[PAD].subgraph_counter()
        rows = {"thread_id": str(inside.get("thread_id", "")), "checkpoint_ns": name + (f"|{number}" if number else "")}
        return cls(inner, saver, {"configurable": rows}, heard or bool(number), pausing)

    @property
    def may_have_run(self) -> bool:
        """Whether this task may have run before: only then it has left something.

        A run of an outermost graph says in its first step whether it goes on with another. The tasks of all later ones
        are new. A graph inside of a task is called by functions, which may go on with anything.
        """
        inside: Mapping[str, Any] = self.config.get("configurable") or {}
        if RESUMING in inside or RESUMING not in NAMES or "|" in self.task:
            return bool(inside.get(RESUMING, True))
        return False

    async def begun(self) -> bool:
        """Whether the graph has run here before."""
        return await self.inside() is not None

    async def inside(self) -> Mapping[str, Any] | None:
        """The state of the graph, where it has run here before."""
        if self.saver is None or not self.may_have_run:
            return None
        kept = await asked_of_saver(self.saver.aget_tuple, self.saver.get_tuple, self.rows)
        return None if kept is None else kept.checkpoint["channel_values"]

    def begun_now(self) -> bool:
        """See `begun`; blocking."""
        return self.may_have_run and self.saver is not None and self.saver.get_tuple(self.rows) is not None

    async def paused(self) -> list[Any]:
        """The values with which tasks of this step have paused before, this one or those beside it.

        A task that another task calls, as in the functional API, names that one as what is around it. What both leave
        is kept where the graph keeps its own: that is the outermost of what stands at one checkpoint.
        """
        inside: Mapping[str, Any] = self.config.get("configurable") or {}
        if not self.may_have_run or self.saver is None:
            return []
        now = inside[MAP][self.task.rpartition("|")[0]]
        above = min((name for name, checkpoint in inside[MAP].items() if checkpoint == now), key=len)
        rows: RunnableConfig = {"configurable": {"checkpoint_ns": above, "checkpoint_id": now}}
        rows["configurable"]["thread_id"] = str(inside.get("thread_id", ""))
        kept = await asked_of_saver(self.saver.aget_tuple, self.saver.get_tuple, rows)
        left = [value for _, _, value in (kept.pending_writes or ()) if isinstance(value, tuple | list)] if kept else []
        return [one.value for value in left for one in value if isinstance(one, Interrupt)]

    @property
    def answers(self) -> list[Any]:
        """What the pauses of this task were answered with, in their order, as far as they were: LangGraph's own list,
        which it counts in every later run, so what stands for an answer of ours has to stay in it."""
        return answers_in(self.config)

    def keep_answers(self) -> None:
        """Let LangGraph keep these, but what this run came with, however this task ends: of one that fails it keeps
        only those that were asked for again."""
        inside: Mapping[str, Any] = self.config.get("configurable") or {}
        inside.get(SEND, list)([(RESUME, came_with(self.config)[1])])

    @property
    def name(self) -> str:
        """The name of this place: the same one in every run of this task, and no other's."""
        return str(self.rows.get("configurable", {})["checkpoint_ns"])

    @property
    def thread(self) -> str:
        """The thread of the graph around it. A copy of one has the same tasks."""
        return str(self.rows.get("configurable", {})["thread_id"])

    @property
    def task(self) -> str:
        """The name of the task, which is that of the first place in it."""
        return str((self.config.get("configurable") or {})["checkpoint_ns"])


def answers_in(config: RunnableConfig) -> list[Any]:
    """See `TaskLocation.answers`. Empty where LangGraph keeps none, or elsewhere."""
    answers: list[Any] = getattr((config.get("configurable") or {}).get(PAD), ANSWERS, [])
    return answers


def came_with(config: RunnableConfig) -> tuple[Any, list[Any]]:
    """What this run was resumed with that no pause of this task has heard, by an interrupt's id or bare, if with
    anything; and what its pauses were answered with before."""
    inside: Mapping[str, Any] = config.get("configurable") or {}
    *before, last = (answers := answers_in(config)) or [None]
    if last is not None and any(last is said for said in (inside.get(RESUMED_BY_ID) or {}).values()):
        return last, before
    bare = getattr(inside.get(PAD), "get_null_resume", None)
    return bare(False) if bare else None, [*answers]


Given = ParamSpec("Given")
Kept = TypeVar("Kept")


async def asked_of_saver(
    awaited: Callable[Given, Awaitable[Kept]], blocking: Callable[Given, Kept], *given: Given.args, **more: Given.kwargs
) -> Kept:
    """What one of these two methods of a checkpointer returns: those for blocking graphs have the second alone."""
    try:
        return await awaited(*given, **more)
    except NotImplementedError:
        return await asyncio.to_thread(blocking, *given, **more)


MAX_CACHED: Final = 4096
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
        if len(self._known) >= MAX_CACHED:
            self._known.clear()
        change = self._known.discard if asked else self._known.add
        for call in calls:
            change((user, call["name"]))
