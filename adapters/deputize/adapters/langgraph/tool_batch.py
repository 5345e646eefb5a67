"""The input of one run of the act node, in each form that ``ToolNode`` accepts, and its outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from langchain_core.callbacks import BaseCallbackManager
from langchain_core.messages import AIMessage, AnyMessage, ToolCall
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import var_child_runnable_config
from langgraph.runtime import Runtime, get_runtime
from langgraph.types import StreamWriter
from typing_extensions import TypedDict

from deputize.adapters.langgraph.inline_execution import RUNTIME
from deputize.adapters.langgraph.precheck import Lost, Output

__all__ = ["Task", "ToolBatch", "answering", "current", "flat"]

STEPS: Final = 10_000
"""Recursion limit of the inner graph: far more than it ever needs."""


class Task(TypedDict):
    """A call, and the calls that run after it. ``back``: the gate checks again afterwards."""

    call: ToolCall
    then: list[ToolCall]
    message: str
    user: str
    tenant: str
    lost: list[Lost]
    back: bool


@dataclass(frozen=True, eq=False)
class ToolBatch:
    """The input of one run of the node: the calls to answer, their form, and the state that tools may read."""

    calls: list[ToolCall]
    form: Literal["list", "dict", "tool_calls"]
    state: Any
    tail: Sequence[AnyMessage]
    asked: str
    config: RunnableConfig
    writer: StreamWriter

    def inside(self, config: RunnableConfig) -> RunnableConfig:
        """Return the inner graph's configuration, without the run's step limit, which could lose a result."""
        return {**config, "recursion_limit": STEPS}

    def heard(self, config: RunnableConfig) -> tuple[RunnableConfig, Runtime[Any]]:
        """Return configuration and runtime of an inner task whose tools write to the outer run's stream, like the node.

        LangGraph gives an inner graph no writer unless all graphs are streamed, and selects streams by the metadata.
        Pauses are still stored and answered at the task's own location.
        """
        runtime, callbacks = get_runtime().override(stream_writer=self.writer), config.get("callbacks")
        around = self.config.get("callbacks")
        if isinstance(callbacks, BaseCallbackManager) and isinstance(around, BaseCallbackManager):
            callbacks = callbacks.copy()
            callbacks.add_tags([tag for tag in around.tags if tag not in callbacks.tags], inherit=False)
        heard: RunnableConfig = {
            **config,
            "callbacks": callbacks,
            "tags": self.config.get("tags") or [],
            "metadata": {**config.get("metadata", {}), **self.config.get("metadata", {})},
            "configurable": {**config.get("configurable", {}), RUNTIME: runtime},
        }
        del heard["recursion_limit"]
        if "recursion_limit" in self.config:
            heard["recursion_limit"] = self.config["recursion_limit"]
        var_child_runnable_config.set(heard)  # for your application's wrappers around its tools
        return heard, runtime

    @property
    def called(self) -> list[Any]:
        """An input of ``ToolNode`` with these calls."""
        return [{**call, "type": "tool_call"} for call in self.calls]

    @property
    def input_of_all(self) -> Any:
        """An input of ``ToolNode``: the state itself for all calls of the message, which saves a lookup; else these
        calls."""
        whole = self.form != "tool_calls" and len(self.calls) == len(cast("AIMessage", self.tail[0]).tool_calls)
        return self.state if whole else self.called

    def input_of_call(self, call: ToolCall) -> Any:
        """Return an input of ``ToolNode`` with only this call, and the whole state."""
        if self.form == "list":  # tool commands then update a list
            asking = cast("AIMessage", self.tail[0]).model_copy(update={"tool_calls": [call]})
            return [*self.state[: -len(self.tail)], asking]
        return {"__type": "tool_call_with_context", "tool_call": {**call, "type": "tool_call"}, "state": self.state}

    def ordered(self, done: Mapping[str, Any]) -> list[Any]:
        """Return the outputs in the order of the calls."""
        outputs: list[Output] = done["outputs"]
        places = {str(call["id"]): place for place, call in reversed(list(enumerate(self.calls)))}
        ranked = sorted(outputs, key=lambda output: places.get(output["id"], len(places)))
        return [one for output in ranked for one in output["given"]]


current: ContextVar[ToolBatch] = ContextVar("deputize_turn")
"""The batch of the node around the inner graph: your application's state is in no checkpoint of that graph."""


@contextmanager
def answering(turn: ToolBatch) -> Iterator[None]:
    """Make this the current batch inside the block."""
    token = current.set(turn)
    try:
        yield
    finally:
        current.reset(token)


def flat(given: Any) -> list[Any]:
    """Return the messages and commands in the result of ``ToolNode``."""
    if isinstance(given, list):
        return [one for part in given for one in flat(part)]
    if isinstance(given, Mapping):
        return [one for part in given.values() for one in part]
    return [given]
