"""Changes to the model request of a LangChain agent: the explanation of ``untrusted``, and strict tool schemas."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.messages import SystemMessage

from deputize.adapters.langchain.tool import ActTool
from deputize.core import system_prompt

if TYPE_CHECKING:
    from langchain.agents.middleware import ModelRequest

__all__ = ["add_untrusted_notice", "use_strict_tools"]


def add_untrusted_notice(request: ModelRequest[Any]) -> ModelRequest[Any]:
    """Return the request with the explanation of ``untrusted`` after the system prompt, which stays unchanged."""
    message = request.system_message or SystemMessage("")
    if system_prompt(message.text) == message.text:
        return request
    words = message.content
    told = system_prompt(words) if isinstance(words, str) else [*words, {"type": "text", "text": system_prompt()}]
    return request.override(system_message=SystemMessage(told))


def use_strict_tools(request: ModelRequest[Any]) -> ModelRequest[Any]:
    """Return the request with strict deputize tools if the model must give every argument.

    Optional arguments may then be null. Otherwise the model would invent values.
    """
    if not _is_strict(request):
        return request
    return request.override(tools=[one.strictly() if isinstance(one, ActTool) else one for one in request.tools])


def _is_strict(request: ModelRequest[Any]) -> bool:
    """Return whether tools are bound strictly.

    That is so if a setting requires it, if LangChain binds tools strictly for a response format enforced by the
    provider, and with OpenAI's Responses API, unless a setting forbids it.
    """
    form, model, said = request.response_format, request.model, request.model_settings.get("strict")
    openai = sys.modules.get("langchain_openai.chat_models.base")
    of_openai = openai is not None and isinstance(model, openai.BaseChatOpenAI)
    if isinstance(form, ProviderStrategy) or (of_openai and form is not None and not isinstance(form, ToolStrategy)):
        return True
    return bool(said) or (said is None and of_openai and _uses_responses_api(model, request))


def _uses_responses_api(model: Any, request: ModelRequest[Any]) -> bool:
    """Return whether the request goes to OpenAI's Responses API: by the model's own check, if it has one."""
    asked = getattr(model, "_use_responses_api", None)
    if asked is None:
        return bool(getattr(model, "use_responses_api", False))
    tools = [one if isinstance(one, dict) else {"type": "function"} for one in request.tools]
    return bool(asked({**request.model_settings, "tools": tools}))
