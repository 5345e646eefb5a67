"""Unanswered calls of a conversation, and the identity of each, so that a repeated run is the same act."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from langchain_core.messages import AIMessage, AnyMessage, ToolCall, ToolMessage
from langchain_core.runnables import RunnableConfig

from deputize.core import Call

__all__ = ["identify_call", "latest_messages", "open_calls"]


def latest_messages(messages: Sequence[AnyMessage]) -> Sequence[AnyMessage]:
    """Return the model's last message and the messages after it. Empty without a message of the model."""
    for index in range(len(messages) - 1, -1, -1):
        if isinstance(messages[index], AIMessage):
            return messages[index:]
    return ()


def open_calls(messages: Sequence[AnyMessage], config: RunnableConfig) -> tuple[str, list[ToolCall]]:
    """Return the id of the model's last message, and its unanswered calls.

    Calls of earlier messages are dropped, because the user continued without them.
    """
    if not (tail := latest_messages(messages)):
        return "", []
    asking = cast("AIMessage", tail[0])
    answered = {message.tool_call_id for message in tail if isinstance(message, ToolMessage)}
    return asking.id or _task(config), [call for call in asking.tool_calls if call["id"] not in answered]


def _task(config: RunnableConfig) -> str:
    """Return the task in which this node runs, the same in every repeated run."""
    return str((config.get("configurable") or {}).get("checkpoint_ns", "")).split("|")[0]


def identify_call(config: RunnableConfig, asked: str, call: ToolCall) -> Call:
    """Return the identity of a call: conversation, message and call id. With tool and user, it identifies the act."""
    chosen = config.get("configurable") or {}
    run = str((config.get("metadata") or {}).get("run_id") or "")
    return Call(thread=str(chosen.get("thread_id") or ""), message=asked, id=str(call["id"] or ""), run=run)
