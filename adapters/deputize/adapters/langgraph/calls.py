"""Which calls of a conversation nobody has answered yet, and what makes a re-run of one the same act."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from langchain_core.messages import AIMessage, AnyMessage, ToolCall, ToolMessage
from langchain_core.runnables import RunnableConfig

from deputize.core import Call

__all__ = ["latest", "open_calls", "where"]


def latest(messages: Sequence[AnyMessage]) -> Sequence[AnyMessage]:
    """The model's last message, and what has followed it; empty where it has said nothing."""
    for index in range(len(messages) - 1, -1, -1):
        if isinstance(messages[index], AIMessage):
            return messages[index:]
    return ()


def open_calls(messages: Sequence[AnyMessage], config: RunnableConfig) -> tuple[str, list[ToolCall]]:
    """The id of the model's last message, and those of its calls that nobody has answered yet.

    Calls of a message before it are none: whoever went on with other words has dropped them.
    """
    if not (tail := latest(messages)):
        return "", []
    asking = cast("AIMessage", tail[0])
    answered = {message.tool_call_id for message in tail if isinstance(message, ToolMessage)}
    return asking.id or _task(config), [call for call in asking.tool_calls if call["id"] not in answered]


def _task(config: RunnableConfig) -> str:
    """The task this node runs in: the same one in every re-run."""
    return str((config.get("configurable") or {}).get("checkpoint_ns", "")).split("|")[0]


def where(config: RunnableConfig, asked: str, call: ToolCall) -> Call:
    """Conversation, asking message and id of a call: with the tool and the user, what makes it the same act."""
    chosen = config.get("configurable") or {}
    run = str((config.get("metadata") or {}).get("run_id") or "")
    return Call(thread=str(chosen.get("thread_id") or ""), message=asked, id=str(call["id"] or ""), run=run)
