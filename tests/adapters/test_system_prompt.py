"""A model is told what ``untrusted`` means: by the middleware, and by one function for all adapters."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, SystemMessage

from deputize.adapters.middleware import DeputyMiddleware
from deputize.core import Deputy, system_prompt
from deputize.sandbox import Sandbox
from tests.support.graphs import Context
from tests.support.sandbox_deputy import build
from tests.support.scripted_agents import Scripted

ASKED = {"messages": [("user", "What is new?")]}


@pytest.mark.parametrize("adapter", ["langchain", "langgraph", "llamaindex"])
def test_every_adapter_exports_system_prompt(adapter: str) -> None:
    module = importlib.import_module(f"deputize.adapters.{adapter}")
    assert module.system_prompt is system_prompt and "system_prompt" in module.__all__


def test_system_prompt_is_appended_once_to_the_applications_prompt() -> None:
    prompt = system_prompt("You are Alice's assistant.")
    assert prompt.startswith("You are Alice's assistant.\n\n") and "untrusted" in prompt and "never" in prompt
    assert system_prompt(prompt) == prompt and prompt.endswith(system_prompt())


async def heard(deputy: Deputy, words: Any, *, wait: bool) -> Any:
    """Return the system message that a model receives from an agent with both gates."""
    found: list[BaseMessage] = []

    def respond(messages: list[BaseMessage]) -> AIMessage:
        found.extend(messages)
        return AIMessage("Nothing.")

    gates = [DeputyMiddleware(deputy, "gmail")]
    agent: Any = create_agent(
        Scripted(respond=respond),
        system_prompt=words,
        middleware=gates,
        context_schema=Context,
    )
    await agent.ainvoke(ASKED, context=Context("alice")) if wait else agent.invoke(ASKED, context=Context("alice"))
    [message] = [one for one in found if isinstance(one, SystemMessage)]
    return message.content


@pytest.mark.parametrize("wait", [True, False])
async def test_middleware_adds_the_system_prompt_once(wait: bool) -> None:
    cached = {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}
    async with await build(Sandbox()) as deputy:
        assert await heard(deputy, None, wait=wait) == system_prompt()
        assert await heard(deputy, "Be brief.", wait=wait) == system_prompt("Be brief.")
        assert await heard(deputy, system_prompt("Be brief."), wait=wait) == system_prompt("Be brief.")
        told = await heard(deputy, SystemMessage([cached]), wait=wait)
        assert told == [cached, {"type": "text", "text": system_prompt()}], "what a provider caches stays as it is"
