"""Which call of which message a tool of LangChain answers: what makes a re-run of it the same act."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from langchain_core.runnables import RunnableConfig

from deputize.core import Call

__all__ = ["asked_by", "current_call", "current_id", "message_asking", "tool_call_id_of"]

current_id: ContextVar[str] = ContextVar("deputize_call_id", default="")
"""The id of the call that is answered now."""
_asked: ContextVar[tuple[str, object]] = ContextVar("deputize_asked", default=("", None))


@contextmanager
def asked_by(message: str, host: object) -> Iterator[None]:
    """While this lasts, calls of this host's tools were asked for by the message of this id.

    What runs inside of them, as an agent in a tool or a wrapper does, answers messages of its own with tools of its
    own. ``host``: the `Host` of the tools; empty ``message``: nobody asked for what runs now.
    """
    token = _asked.set((message, host))
    try:
        yield
    finally:
        _asked.reset(token)


def message_asking(host: object) -> str:
    """The id of the message whose calls of this host's tools are answered now; empty where no gate has seen any."""
    message, whose = _asked.get()
    return message if whose is host else ""


def tool_call_id_of(call: Any) -> str:
    """The id of a model's tool call; empty for plain arguments."""
    return str(call.get("id") or "") if isinstance(call, dict) and call.get("type") == "tool_call" else ""


def current_call(config: RunnableConfig, host: object) -> Call:
    """Conversation, task and call id: what makes a re-run of a graph's node the same act."""
    known, chosen = config.get("metadata") or {}, config.get("configurable") or {}
    thread, graphs = str(chosen.get("thread_id") or ""), str(known.get("langgraph_checkpoint_ns") or "")
    task = message_asking(host) or (graphs and str(chosen.get("checkpoint_ns") or graphs))
    if not task or not current_id.get():
        return Call(thread=thread)
    return Call(thread=thread, message=task, id=current_id.get(), run=str(known.get("run_id") or ""))
