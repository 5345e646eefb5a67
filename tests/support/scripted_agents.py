"""``create_agent`` agents with our middleware, and a model that answers from the history alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any, Final

from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.checkpoint.memory import InMemorySaver

from deputize.adapters.middleware import DeputyMiddleware
from deputize.core import Deputy
from tests.support.graphs import Context, Graph, asking, plain


class Scripted(BaseChatModel):
    """A model whose reply is a function of the history alone."""

    respond: Callable[[list[BaseMessage]], AIMessage]

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **_: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self.respond(messages))])

    def bind_tools(self, tools: Sequence[Any], *, tool_choice: Any = None, **_: Any) -> Any:
        return self


MODES: Final[dict[str, dict[str, Any]]] = (
    {mode: {"interrupt_mode": mode} for mode in ("batched", "per_call")}
    if "interrupt_mode" in signature(HumanInTheLoopMiddleware).parameters
    else {"batched": {}}
)
"""The ways in which LangChain's own approval asks, with their options; before 1.5 it had one way."""


def calling(*calls: dict[str, Any]) -> Scripted:
    """Return a model that makes these calls once, then says how many answers it got."""

    def respond(messages: list[BaseMessage]) -> AIMessage:
        answers = [m for m in messages if m.type == "tool"]
        return AIMessage(f"{len(answers)} answers") if answers else AIMessage("", tool_calls=[dict(c) for c in calls])

    return Scripted(respond=respond)


def agent(deputy: Deputy, *calls: dict[str, Any], middleware: Sequence[Any] = (), saver: Any = None) -> Graph:
    """Build an agent with our middleware, and these others before it."""
    made: Graph = create_agent(
        calling(*calls),
        middleware=[*middleware, DeputyMiddleware(deputy, "gmail")],
        context_schema=Context,
        checkpointer=saver or InMemorySaver(),
    )
    return made


def begun(way: str, deputy: Deputy, *calls: dict[str, Any]) -> tuple[Graph, Any]:
    """Return a graph of this kind, and its input."""
    if way == "act_node":
        return plain(deputy), asking(*calls)
    middleware = [DeputyMiddleware(deputy, "gmail")]
    saver = InMemorySaver()
    made: Graph = create_agent(calling(*calls), middleware=middleware, context_schema=Context, checkpointer=saver)
    return made, {"messages": [("user", "go on")]}
