"""Identity of a LangChain tool call, so that a repeated run of the call is the same act."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from langchain_core.runnables import RunnableConfig

from deputize.core import Call

__all__ = ["answering_message", "current_id", "identify_call", "message_asking", "tool_call_id_of"]

current_id: ContextVar[str] = ContextVar("deputize_call_id", default="")
"""The id of the current call."""
_asked: ContextVar[tuple[str, object]] = ContextVar("deputize_asked", default=("", None))


@contextmanager
def answering_message(message: str, host: object) -> Iterator[None]:
    """Mark calls of this host's tools inside the block as made by the message with this id.

    Nested agents and wrappers run calls of other messages with tools of their own. ``host``: the `Host` of the tools.
    An empty ``message`` means that no message made the call.
    """
    token = _asked.set((message, host))
    try:
        yield
    finally:
        _asked.reset(token)


def message_asking(host: object) -> str:
    """Return the id of the message whose calls of this host's tools are running, or "" without a gate."""
    message, whose = _asked.get()
    return message if whose is host else ""


def tool_call_id_of(call: Any) -> str:
    """Return the id of a model's tool call, or "" for plain arguments."""
    return str(call.get("id") or "") if isinstance(call, dict) and call.get("type") == "tool_call" else ""


def identify_call(config: RunnableConfig, host: object) -> Call:
    """Return the identity of the current call: conversation, task and call id. With tool and user, it names the act."""
    known, chosen = config.get("metadata") or {}, config.get("configurable") or {}
    thread, graphs = str(chosen.get("thread_id") or ""), str(known.get("langgraph_checkpoint_ns") or "")
    task = message_asking(host) or (graphs and str(chosen.get("checkpoint_ns") or graphs))
    if not task or not current_id.get():
        return Call(thread=thread)
    return Call(thread=thread, message=task, id=current_id.get(), run=str(known.get("run_id") or ""))
