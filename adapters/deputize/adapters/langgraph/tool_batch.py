"""What one run of the act node was given, in each form that ``ToolNode`` takes, and what it is answered with."""

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
"""Of the graph inside, in one run: far more than it ever takes."""


class Task(TypedDict):
    """A call, and those that are done after it. ``back``: there is more to look at then."""

    call: ToolCall
    then: list[ToolCall]
    message: str
    user: str
    tenant: str
    lost: list[Lost]
    back: bool


@dataclass(frozen=True, eq=False)
class ToolBatch:
    """What one run of the node was given: the calls to answer, in which form, and the state that tools may read."""

    calls: list[ToolCall]
    form: Literal["list", "dict", "tool_calls"]
    state: Any
    tail: Sequence[AnyMessage]
    asked: str
    config: RunnableConfig
    writer: StreamWriter

    def inside(self, config: RunnableConfig) -> RunnableConfig:
        """For the graph inside: however few steps the run may take, it comes to its end, and what was done is told."""
        return {**config, "recursion_limit": STEPS}

    def heard(self, config: RunnableConfig) -> tuple[RunnableConfig, Runtime[Any]]:
        """For a task of the graph inside: what its tools write to the stream is heard by whoever streams the run, as
        from the node, which is where they run for all who look.

        LangGraph gives a graph inside of a node no writer, unless somebody listens to all graphs; and its streams go by
        the metadata. Where pauses are kept, and answered, is the task's own.
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
        var_child_runnable_config.set(heard)  # for wrappers of the host's, around its tools
        return heard, runtime

    @property
    def called(self) -> list[Any]:
        """An input of ``ToolNode`` that has these calls."""
        return [{**call, "type": "tool_call"} for call in self.calls]

    @property
    def of_all(self) -> Any:
        """The same; where these are all calls of the message, the state itself, which ``ToolNode`` need not look up."""
        whole = self.form != "tool_calls" and len(self.calls) == len(cast("AIMessage", self.tail[0]).tool_calls)
        return self.state if whole else self.called

    def of_one(self, call: ToolCall) -> Any:
        """An input of ``ToolNode`` that has this call alone, and the whole state."""
        if self.form == "list":  # where commands of tools update a list
            asking = cast("AIMessage", self.tail[0]).model_copy(update={"tool_calls": [call]})
            return [*self.state[: -len(self.tail)], asking]
        return {"__type": "tool_call_with_context", "tool_call": {**call, "type": "tool_call"}, "state": self.state}

    def ordered(self, done: Mapping[str, Any]) -> list[Any]:
        """Return what calls were answered with, in the order of the calls."""
        outputs: list[Output] = done["outputs"]
        places = {str(call["id"]): place for place, call in reversed(list(enumerate(self.calls)))}
        ranked = sorted(outputs, key=lambda output: places.get(output["id"], len(places)))
        return [one for output in ranked for one in output["given"]]


current: ContextVar[ToolBatch] = ContextVar("deputize_turn")
"""Of the node that runs the graph inside of which this is: the host's state is in no checkpoint of ours."""


@contextmanager
def answering(turn: ToolBatch) -> Iterator[None]:
    """While this lasts, the graph inside answers this."""
    token = current.set(turn)
    try:
        yield
    finally:
        current.reset(token)


def flat(given: Any) -> list[Any]:
    """The messages and commands in what ``ToolNode`` returned."""
    if isinstance(given, list):
        return [one for part in given for one in flat(part)]
    if isinstance(given, Mapping):
        return [one for part in given.values() for one in part]
    return [given]
