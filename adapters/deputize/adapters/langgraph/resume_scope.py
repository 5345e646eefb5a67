"""A resume that names no interrupt counts for the run it came with, and for no later one.

LangGraph writes the value of ``Command(resume=value)`` down beside the graph's checkpoint, which stays the same while a
graph inside of one of its tasks goes on. So a later run, by a map of interrupts or by nothing at all, hands it to the
next interrupt that has no value of its own: to a pause that nobody had seen when it was said, or from a stranger to the
owner. By the ids in it that is harmless. A "yes" by position would be a yes to whatever is asked next.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any, Final

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver

from deputize.adapters.langgraph.inline_execution import PAD, SAVER, answers_in, asked_of_saver, came_with
from deputize.adapters.langgraph.interrupts import RESUME, decisions_in

__all__ = ["drop_kept_answer", "forget_bare_resume"]

NO_TASK: Final = "00000000-0000-0000-0000-000000000000"  # LangGraph's own names, of what belongs to no task
RESUMED_WITH: Final = "__resume__"


async def forget_bare_resume(config: RunnableConfig, *, heard: bool) -> bool:
    """Leave `RESUME` in the place of the value this run was resumed with, for every run after it.

    To be called by a task before it interrupts, with its own ``config``. ``heard``: this run still hears the value;
    else, as for a stranger's, it is dropped here as well. Of a run that ends in between, the answer is lost, and the
    user is asked again. Returns whether no later run can receive the value; of a stranger's, this is read back.
    """
    inside: Mapping[str, Any] = config.get("configurable") or {}
    pad, saver, root = inside.get(PAD), inside.get(SAVER), (inside.get("checkpoint_map") or {}).get("")
    if pad is None:
        return False
    if pad.get_null_resume(False) is None:  # it also tells of one that another interrupt has heard
        return True
    if not heard:
        pad.get_null_resume(True)
    if not isinstance(saver, BaseCheckpointSaver) or not root:
        return False
    kept: RunnableConfig = {"configurable": {"checkpoint_ns": "", "checkpoint_id": root}}
    kept["configurable"]["thread_id"] = inside["thread_id"]
    await asked_of_saver(saver.aput_writes, saver.put_writes, kept, [(RESUMED_WITH, RESUME)], NO_TASK)
    if heard:
        return True
    found = await asked_of_saver(saver.aget_tuple, saver.get_tuple, kept)
    return found is not None and (NO_TASK, RESUMED_WITH, RESUME) in (found.pending_writes or ())


async def drop_kept_answer(config: RunnableConfig, asked: Container[str] | None) -> None:
    """Let a pause hear what this run was resumed with, and not the answer that an earlier run could not record.

    LangGraph keeps the answer of a run that failed, and would give it to the pause instead of the new value. If the run
    brings no value, the pause hears the kept answer again. ``asked``: the approvals of the pause. By these ids its
    answer is told from those of the application's pauses in the same task. None: the task has no other pause.
    """
    came, before = came_with(config)
    if came is None or not before:
        return
    if asked is None or any(one in asked for one in decisions_in(before[-1])):
        bare = len(before) == len(answers_in(config))
        answers_in(config).remove(before[-1])
        await forget_bare_resume(config, heard=bare)
