"""What a model of LangChain's agent is told beside what the host tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.messages import SystemMessage

from deputize.core import system_prompt

if TYPE_CHECKING:
    from langchain.agents.middleware import ModelRequest

__all__ = ["told_of_outside"]


def told_of_outside(request: ModelRequest[Any]) -> ModelRequest[Any]:
    """The request with the paragraph behind the system prompt, whose own parts stay as they are."""
    message = request.system_message or SystemMessage("")
    if system_prompt(message.text) == message.text:
        return request
    words = message.content
    told = system_prompt(words) if isinstance(words, str) else [*words, {"type": "text", "text": system_prompt()}]
    return request.override(system_message=SystemMessage(told))
