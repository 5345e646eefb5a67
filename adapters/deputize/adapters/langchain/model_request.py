"""What a model of LangChain's agent is told beside what the host tells it, and how our tools are shown to it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.messages import SystemMessage

from deputize.adapters.langchain.tool import ActTool
from deputize.core import system_prompt

if TYPE_CHECKING:
    from langchain.agents.middleware import ModelRequest

__all__ = ["shown_strictly", "told_of_outside"]


def told_of_outside(request: ModelRequest[Any]) -> ModelRequest[Any]:
    """The request with the paragraph behind the system prompt, whose own parts stay as they are."""
    message = request.system_message or SystemMessage("")
    if system_prompt(message.text) == message.text:
        return request
    words = message.content
    told = system_prompt(words) if isinstance(words, str) else [*words, {"type": "text", "text": system_prompt()}]
    return request.override(system_message=SystemMessage(told))


def shown_strictly(request: ModelRequest[Any]) -> ModelRequest[Any]:
    """The request with our tools as strict ones, where a model has to give each of their arguments.

    It would invent values for the optional ones, if they could not be null.
    """
    if not _is_strict(request):
        return request
    return request.override(tools=[one.strictly() if isinstance(one, ActTool) else one for one in request.tools])


def _is_strict(request: ModelRequest[Any]) -> bool:
    """Where a setting says so; where the answer has a form that the provider sees to, for which LangChain binds tools
    strictly; and at OpenAI's Responses API, which is strict unless it is told not to be."""
    form, model, said = request.response_format, request.model, request.model_settings.get("strict")
    openai = sys.modules.get("langchain_openai.chat_models.base")
    of_openai = openai is not None and isinstance(model, openai.BaseChatOpenAI)
    if isinstance(form, ProviderStrategy) or (of_openai and form is not None and not isinstance(form, ToolStrategy)):
        return True
    return bool(said) or (said is None and of_openai and _at_responses(model, request))


def _at_responses(model: Any, request: ModelRequest[Any]) -> bool:
    """Whether this goes to OpenAI's Responses API: as the model itself finds out, where it can be asked."""
    asked = getattr(model, "_use_responses_api", None)
    if asked is None:
        return bool(getattr(model, "use_responses_api", False))
    tools = [one if isinstance(one, dict) else {"type": "function"} for one in request.tools]
    return bool(asked({**request.model_settings, "tools": tools}))
