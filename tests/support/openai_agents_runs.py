"""Runs of an OpenAI Agents SDK agent over the Gmail tools, with a model that answers from the history alone."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from agents import Agent, Model, ModelResponse, RunConfig, RunContextWrapper, Runner, RunState, Usage
from openai.types.responses import (
    Response,
    ResponseCompletedEvent,
    ResponseFunctionToolCall,
    ResponseOutputMessage,
    ResponseOutputText,
)

from deputize.adapters.openai_agents import requests_in, settle, tools
from deputize.core import Deputy
from tests.support.deferred_conversations import Turn

QUIET: Final = RunConfig(tracing_disabled=True)
HANDOFF: Final = "transfer"
_threads: Final = itertools.count()


@dataclass
class Asking(Model):
    """Requests these calls once after each user message, then repeats the answers."""

    calls: Sequence[Mapping[str, Any]]
    told: list[str] = field(default_factory=list)

    def _items(self, given: Any, instructions: str | None) -> list[Any]:
        self.told.append(f"{instructions} {given}")
        items = [item if isinstance(item, dict) else {"role": "user"} for item in given] if given != str(given) else []
        last = max((i for i, item in enumerate(items) if item.get("role") == "user"), default=0)
        answered = [str(i["output"]) for i in items[last:] if i.get("type") == "function_call_output"]
        if answered:
            text = ResponseOutputText(text=" | ".join(answered), type="output_text", annotations=[])
            return [ResponseOutputMessage(id="m", content=[text], role="assistant", status="completed", type="message")]
        return [
            ResponseFunctionToolCall(
                call_id=c["id"],
                name=c["name"],
                arguments=c["args"] if isinstance(c["args"], str) else json.dumps(c["args"]),
                type="function_call",
                namespace=c.get("namespace"),
            )
            for c in self.calls
        ]

    async def get_response(self, system_instructions: str | None, input: Any, *more: Any, **named: Any) -> Any:
        """See `Model`."""
        return ModelResponse(output=self._items(input, system_instructions), usage=Usage(), response_id=None)

    async def stream_response(
        self, system_instructions: str | None, input: Any, *more: Any, **named: Any
    ) -> AsyncIterator[Any]:
        """See `Model`."""
        whole = Response(
            id="r", created_at=0.0, model="m", object="response", output=self._items(input, system_instructions),
            tool_choice="auto", tools=[], parallel_tool_calls=True,
        )  # fmt: skip
        yield ResponseCompletedEvent(response=whole, sequence_number=0, type="response.completed")


def agent_of(
    deputy: Deputy, *calls: Mapping[str, Any], told: list[str] | None = None, kit: str = "gmail", **more: Any
) -> Agent[Any]:
    """Build an agent over the tools of one toolkit that will make these calls."""
    who: dict[str, Any] = {"user": lambda ctx: ctx.context["user"], "thread": lambda ctx: ctx.context["chat"]}
    model = Asking(calls, told if told is not None else [])
    return Agent(name="mail", model=model, tools=tools(deputy, kit, **{**who, **more}))


def flat(mail: Agent[Any]) -> Agent[Any]:
    """Return this agent itself."""
    return mail


def nested(mail: Agent[Any]) -> Agent[Any]:
    """Return an agent that calls this one as a tool."""
    call = {"name": f"call_{mail.name}", "args": {"input": "send it"}, "id": f"call {mail.name}"}
    tool = mail.as_tool(tool_name=f"call_{mail.name}", tool_description="Sends mail.")
    return Agent(name=f"outer_{mail.name}", model=Asking([call]), tools=[tool])


def nested_twice(mail: Agent[Any]) -> Agent[Any]:
    """Return an agent that calls an agent that calls this one."""
    return nested(nested(mail))


def handed_off(mail: Agent[Any]) -> Agent[Any]:
    """Return an agent that hands off to this one at once."""
    assert isinstance(mail.model, Asking)
    mail.model = AfterHandoff(mail.model.calls, mail.model.told)
    call = {"name": f"transfer_to_{mail.name}", "args": {}, "id": HANDOFF}
    return Agent(name="desk", model=Asking([call]), handoffs=[mail])


class AfterHandoff(Asking):
    """A model that makes its calls although the handoff before them also has an output."""

    def _items(self, given: Any, instructions: str | None) -> list[Any]:
        own = [one for one in given if not (isinstance(one, dict) and one.get("call_id") == HANDOFF)]
        return super()._items(own, instructions)


SHAPES: Final[dict[str, Callable[[Agent[Any]], Agent[Any]]]] = {
    "flat": flat,
    "as a tool": nested,
    "as a tool of a tool": nested_twice,
    "handoff": handed_off,
}
"""How the agent with our tools is in a run."""


async def turn_of(result: Any) -> Turn:
    """Return how a run ended."""
    state = result.to_state()
    asks = await requests_in(state) if result.interruptions else []
    return Turn("" if asks else str(result.final_output), asks, state.to_string())


async def loaded(agent: Agent[Any], saved: str, user: str) -> RunState[Any, Any]:
    """Return the state as an application loads it, for the requesting user."""
    context = {**json.loads(saved)["context"]["context"], "user": user}
    return await RunState.from_string(agent, saved, context_override=RunContextWrapper(context))


class Runs:
    """See `tests.support.deferred_conversations.Framework`. ``shape``: one of `SHAPES`."""

    notes_owner = False

    def __init__(self, shape: str = "flat") -> None:
        self.shape = SHAPES[shape]

    def agent_of(self, deputy: Deputy, *calls: Mapping[str, Any], **more: Any) -> Agent[Any]:
        """Build the outermost agent."""
        return self.shape(agent_of(deputy, *calls, **more))

    async def start(
        self, deputy: Deputy, *calls: Mapping[str, Any], user: str = "alice", chat: str = "", **more: Any
    ) -> Turn:
        context = {"user": user, "chat": chat or f"chat {next(_threads)}"}
        return await turn_of(
            await Runner.run(self.agent_of(deputy, *calls, **more), "go on", context=context, run_config=QUIET)
        )

    async def resume(
        self, deputy: Deputy, saved: str, decisions: Mapping[str, Any] | None = None, user: str = "alice", **more: Any
    ) -> Turn:
        agent = self.agent_of(deputy, **more)
        state = await loaded(agent, saved, user)
        asks = await settle(state, decisions)
        if asks and len(asks) == len(state.get_interruptions()):
            return Turn("", asks, state.to_string())
        return await turn_of(await Runner.run(agent, state, run_config=QUIET))

    async def bare_yes(self, deputy: Deputy, saved: str, user: str = "alice") -> Turn:
        agent = self.agent_of(deputy)
        state = await loaded(agent, saved, user)
        for item in state.get_interruptions():
            state.approve(item)
        return await turn_of(await Runner.run(agent, state, run_config=QUIET))


FRAMEWORK: Final = Runs()
