"""The LangGraph runs around a call, read from private names in each task's configuration.

If a release of LangGraph uses other names, no run is found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final
from uuid import uuid4
from weakref import WeakKeyDictionary

from deputize.adapters.operator_warnings import HIDDEN_RESUME, MAYBE_CACHED, MAYBE_CACHED_AROUND, warn_once
from deputize.core import SettingsError

__all__ = ["bare_resume_value", "inputs_beside", "refuse_cached", "run_of", "tasks_around"]

CALL: Final = "__pregel_call"  # in a task's configuration: a partial of the task and its loop's method
PAD: Final = "__pregel_scratchpad"  # in every task
NODE: Final = "langgraph_node"  # in metadata: the enclosing node, also of a graph with its own thread

_names: Final = WeakKeyDictionary[Any, str]()
"""A name for each run of an outermost graph in this process."""


def tasks_around(config: Mapping[str, Any]) -> Iterator[tuple[Any, Any]]:
    """Yield the task with this configuration, the task that runs its graph, and so on outwards, each with its loop."""
    while (call := (config.get("configurable") or {}).get(CALL)) is not None:
        try:
            call = _unwrap_call(call)
            task, loop = call.args[0](), call.keywords["schedule_task"].__self__
            config = loop.config
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            return
        yield task, loop


def inputs_beside(config: Mapping[str, Any]) -> list[Any]:
    """Return the inputs of the other tasks of this task's node in the same step that have not ended, as after a
    fan-out with ``Send``."""
    for task, loop in tasks_around(config):
        tasks = [*getattr(loop, "tasks", {}).values()]
        return [one.input for one in tasks if one is not task and one.name == task.name and not one.writes]
    return []


def _callers(task: Any, loop: Any) -> Iterator[Any]:
    """Yield the task, the task that called it as a function, and so on. A task's path contains its caller's path."""
    while task is not None:
        yield task
        path: Any = getattr(task, "path", ())
        if len(path) != 4 or path[3] is not True:
            return
        task = next((one for one in [*getattr(loop, "tasks", {}).values()] if one.path == path[1]), None)


def _unwrap_call(call: Any) -> Any:
    """Return the partial that LangGraph wraps in a function for a node with a timeout."""
    code = getattr(call, "__code__", None)
    return (
        call if code is None else dict(zip(code.co_freevars, call.__closure__ or (), strict=True))["call"].cell_contents
    )


def _outermost(config: Mapping[str, Any]) -> Any:
    loops = [loop for _, loop in tasks_around(config)]
    return loops[-1] if loops else None


def run_of(config: Mapping[str, Any]) -> str:
    """Return a name for the outermost graph's run, or "" if LangGraph does not reveal it."""
    loop = _outermost(config)
    return "" if loop is None else _names.setdefault(loop, uuid4().hex)


def bare_resume_value(config: Mapping[str, Any]) -> Any:
    """Return the value with which this run was resumed if it names no interrupt and no interrupt has received it, else
    None.

    LangGraph stores such a value with the checkpoint and passes it to later runs as well, whoever starts them. There it
    is nobody's answer: only a run's own input counts. None also if LangGraph does not reveal the input.
    """
    kept = getattr((config.get("configurable") or {}).get(PAD), "get_null_resume", None)
    value = kept(False) if kept else None
    inputs = [getattr(loop, "input", HIDDEN_RESUME) for _, loop in tasks_around(config)]
    if value is not None and (not inputs or HIDDEN_RESUME in inputs):
        warn_once(HIDDEN_RESUME)
    return value if any(getattr(one, "resume", None) is value for one in inputs) else None


def refuse_cached(config: Mapping[str, Any]) -> None:
    """Raise `SettingsError` if LangGraph caches this task or one around it.

    A cache would return one user's results to another user with the same input, without running deputize's code.
    LangGraph does not cache a task that raises.
    """
    outermost = None
    for inner, loop in tasks_around(config):
        outermost = loop
        for task in _callers(inner, loop) if getattr(loop, "cache", None) is not None else ():
            if getattr(task, "cache_key", None) is not None:
                raise SettingsError(
                    f"The node {task.name!r} has a cache_policy: it would return one user's results to another user.",
                    hint="Remove cache_policy from this node and from nodes around it.",
                )
    if outermost is not None and NODE in (outermost.config.get("metadata") or {}):
        warn_once(MAYBE_CACHED_AROUND)
    if outermost is None and PAD in (config.get("configurable") or {}):
        warn_once(MAYBE_CACHED)
