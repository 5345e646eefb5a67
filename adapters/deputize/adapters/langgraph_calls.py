"""Which calls of a conversation nobody has answered yet, and what makes a re-run of one the same act."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.messages import AIMessage, AnyMessage, ToolCall, ToolMessage
from langchain_core.runnables import RunnableConfig

from deputize.core import Call

__all__ = ["open_calls", "where"]


def open_calls(messages: Sequence[AnyMessage], config: RunnableConfig) -> tuple[str, list[ToolCall]]:
    """The id of the last message that asked for tools, and those of its calls that nobody has answered yet."""
    for index in range(len(messages) - 1, -1, -1):
        message = messages[index]
        if isinstance(message, AIMessage) and message.tool_calls:
            answered = {m.tool_call_id for m in messages[index:] if isinstance(m, ToolMessage)}
            return message.id or _task(config), [c for c in message.tool_calls if c["id"] not in answered]
    return "", []


def _task(config: RunnableConfig) -> str:
    """The task this node runs in: the same one in every re-run."""
    return str((config.get("configurable") or {}).get("checkpoint_ns", "")).split("|")[0]


def where(config: RunnableConfig, asked: str, call: ToolCall) -> Call:
    """Conversation, asking message and id of a call: with the tool and the user, what makes it the same act."""
    chosen = config.get("configurable") or {}
    run = str((config.get("metadata") or {}).get("run_id") or "")
    return Call(thread=str(chosen.get("thread_id") or ""), message=asked, id=str(call["id"] or ""), run=run)
