"""Scope of a resume value without an interrupt id: it counts for its run, and for no later one.

LangGraph stores the value of ``Command(resume=value)`` with the graph's checkpoint, which does not change while a graph
inside one of its tasks runs. A later run that is resumed with a map of interrupts, or without a value, passes this
value to the next interrupt without its own: to a pause that the user had not seen, or from another user to the owner.
With approval ids that is harmless. A decision by position would approve whatever is pending next.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any, Final

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver

from deputize.adapters.langgraph.inline_execution import PAD, SAVER, answers_in, call_saver, read_resume_value
from deputize.adapters.langgraph.interrupts import RESUME, decisions_in

__all__ = ["drop_kept_answer", "forget_bare_resume"]

NO_TASK: Final = "00000000-0000-0000-0000-000000000000"  # LangGraph's id for writes of no task
RESUMED_WITH: Final = "__resume__"


async def forget_bare_resume(config: RunnableConfig, *, heard: bool) -> bool:
    """Replace this run's resume value by `RESUME` for every later run. Return whether no later run can receive it.

    Call it in a task before it interrupts, with the task's ``config``. ``heard``: True if this run still receives the
    value; if False, as for another user's, it is dropped here as well, and the write is read back. If a run ends in
    between, the answer is lost, and the user is asked again.
    """
    inside: Mapping[str, Any] = config.get("configurable") or {}
    pad, saver, root = inside.get(PAD), inside.get(SAVER), (inside.get("checkpoint_map") or {}).get("")
    if pad is None:
        return False
    if pad.get_null_resume(False) is None:  # it also returns one that another interrupt has received
        return True
    if not heard:
        pad.get_null_resume(True)
    if not isinstance(saver, BaseCheckpointSaver) or not root:
        return False
    kept: RunnableConfig = {"configurable": {"checkpoint_ns": "", "checkpoint_id": root}}
    kept["configurable"]["thread_id"] = inside["thread_id"]
    await call_saver(saver.aput_writes, saver.put_writes, kept, [(RESUMED_WITH, RESUME)], NO_TASK)
    if heard:
        return True
    found = await call_saver(saver.aget_tuple, saver.get_tuple, kept)
    return found is not None and (NO_TASK, RESUMED_WITH, RESUME) in (found.pending_writes or ())


async def drop_kept_answer(config: RunnableConfig, asked: Container[str] | None) -> None:
    """Make a pause receive this run's resume value instead of the answer that an earlier run could not record.

    LangGraph stores the answer of a failed run, and would pass it to the pause instead of the new value. If the run has
    no value, the pause receives the stored answer again. ``asked``: the pause's approvals, by which its answer differs
    from those of your own pauses in the same task. None: the task has no other pause.
    """
    came, before = read_resume_value(config)
    if came is None or not before:
        return
    if asked is None or any(one in asked for one in decisions_in(before[-1])):
        bare = len(before) == len(answers_in(config))
        answers_in(config).remove(before[-1])
        await forget_bare_resume(config, heard=bare)
