"""Which call of which message a tool of LangChain answers: what makes a re-run of it the same act."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from langchain_core.runnables import RunnableConfig

from deputize.core import Call

__all__ = ["asked_by", "current_call", "current_id", "is_asked", "tool_call_id_of"]

current_id: ContextVar[str] = ContextVar("deputize_call_id", default="")
"""The id of the call that is answered now."""
_asked: ContextVar[str] = ContextVar("deputize_asked", default="")


@contextmanager
def asked_by(message: str) -> Iterator[None]:
    """While this lasts, calls were asked for by the message of this id."""
    token = _asked.set(message)
    try:
        yield
    finally:
        _asked.reset(token)


def is_asked() -> bool:
    """Whether a gate has seen the call that is answered now, and its arguments."""
    return bool(_asked.get())


def tool_call_id_of(call: Any) -> str:
    """The id of a model's tool call; empty for plain arguments."""
    return str(call.get("id") or "") if isinstance(call, dict) and call.get("type") == "tool_call" else ""


def current_call(config: RunnableConfig) -> Call:
    """Conversation, task and call id: what makes a re-run of a graph's node the same act."""
    known = config.get("metadata") or {}
    thread = str((config.get("configurable") or {}).get("thread_id") or "")
    task = _asked.get() or str(known.get("langgraph_checkpoint_ns") or "")
    if not task or not current_id.get():
        return Call(thread=thread)
    return Call(thread=thread, message=task, id=current_id.get(), run=str(known.get("run_id") or ""))
