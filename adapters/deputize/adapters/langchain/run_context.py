"""The runs of LangGraph around a call: each task is handed what runs further tasks for it, and that knows who runs it.

LangGraph tells none of this in public. Where it keeps it elsewhere, nothing is found here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final
from uuid import uuid4
from weakref import WeakKeyDictionary

from deputize.adapters.operator_warnings import MAYBE_CACHED, MAYBE_CACHED_AROUND, warn_once
from deputize.core import SettingsError

__all__ = ["came_with_bare", "refuse_cached", "run_of", "tasks_around"]

CALL: Final = "__pregel_call"  # of a task's configuration: a partial, of the task and of its loop's method
PAD: Final = "__pregel_scratchpad"  # in every task
NODE: Final = "langgraph_node"  # of metadata: a node around, also of a graph that was given a thread of its own
MAP: Final = "__pregel_resume_map"  # what the outermost graph was resumed with, if that names interrupts

_names: Final = WeakKeyDictionary[Any, str]()
"""Of each run of an outermost graph in this process."""


def tasks_around(config: Mapping[str, Any]) -> Iterator[tuple[Any, Any]]:
    """The task that has this configuration, the one that runs its graph, and so on outwards; each with its loop."""
    while (call := (config.get("configurable") or {}).get(CALL)) is not None:
        try:
            call = _unguarded(call)
            task, loop = call.args[0](), call.keywords["schedule_task"].__self__
            config = loop.config
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            return
        yield task, loop


def _callers(task: Any, loop: Any) -> Iterator[Any]:
    """The task, the one of its graph that called it as a function, and so on: the path of a called one holds that of
    its caller."""
    while task is not None:
        yield task
        path: Any = getattr(task, "path", ())
        if len(path) != 4 or path[3] is not True:
            return
        task = next((one for one in [*getattr(loop, "tasks", {}).values()] if one.path == path[1]), None)


def _unguarded(call: Any) -> Any:
    """The partial, which a node with a timeout has in a function."""
    code = getattr(call, "__code__", None)
    return (
        call if code is None else dict(zip(code.co_freevars, call.__closure__ or (), strict=True))["call"].cell_contents
    )


def _outermost(config: Mapping[str, Any]) -> Any:
    loops = [loop for _, loop in tasks_around(config)]
    return loops[-1] if loops else None


def run_of(config: Mapping[str, Any]) -> str:
    """A name of the run of the outermost graph, of which this is a task; empty where LangGraph does not tell."""
    loop = _outermost(config)
    return "" if loop is None else _names.setdefault(loop, uuid4().hex)


def came_with_bare(config: Mapping[str, Any]) -> bool:
    """Whether this very run was resumed with a value that names no interrupt, and not one before it, whose value
    LangGraph hands on. Also where that cannot be told."""
    loop = _outermost(config)
    brought = loop is None or getattr(getattr(loop, "input", None), "resume", None) is not None
    return brought and (config.get("configurable") or {}).get(MAP) is None


def refuse_cached(config: Mapping[str, Any]) -> None:
    """Raises `SettingsError` where LangGraph keeps what this task, or one around it, comes to: whoever says the same
    would be handed another user's answer, and nothing of ours would run. Of what raises nothing is kept."""
    outermost = None
    for inner, loop in tasks_around(config):
        outermost = loop
        for task in _callers(inner, loop) if getattr(loop, "cache", None) is not None else ():
            if getattr(task, "cache_key", None) is not None:
                raise SettingsError(
                    f"The node {task.name!r} has a cache_policy: it would hand one user's answers to another.",
                    hint="Take cache_policy away from the node that acts, and from nodes around it.",
                )
    if outermost is not None and NODE in (outermost.config.get("metadata") or {}):
        warn_once(MAYBE_CACHED_AROUND)
    if outermost is None and PAD in (config.get("configurable") or {}):
        warn_once(MAYBE_CACHED)
