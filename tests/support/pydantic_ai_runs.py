"""Runs of a pydantic-ai agent over the Gmail tools, with a model that answers from the history alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import TypeAdapter
from pydantic_ai import (
    Agent,
    ApprovalRequired,
    DeferredToolRequests,
    DeferredToolResults,
    ModelMessagesTypeAdapter,
    RunContext,
)
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from deputize.adapters.pydantic_ai import DeputyToolset, answers, requests_in
from deputize.core import Deputy
from tests.support.deferred_conversations import Turn


@dataclass
class Deps:
    """The dependencies of a run."""

    user_id: str


def model_of(calls: Sequence[Mapping[str, Any]], told: list[str] | None = None) -> FunctionModel:
    """Return a model that requests these calls once after each user message, then repeats the answers."""

    def respond(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        if told is not None:
            told.append(f"{info.instructions} {messages}")
        parts: list[Any] = [part for message in messages if isinstance(message, ModelRequest) for part in message.parts]
        last = max(i for i, part in enumerate(parts) if part.part_kind == "user-prompt")
        kinds = ("tool-return", "retry-prompt")  # the second where arguments were no object
        answered = [str(part.content) for part in parts[last:] if part.part_kind in kinds]
        if answered:
            return ModelResponse(parts=[TextPart(" | ".join(answered))])
        if not calls:
            return ModelResponse(parts=[TextPart("done")])
        return ModelResponse(parts=[ToolCallPart(c["name"], c["args"], c["id"]) for c in calls])

    return FunctionModel(respond)


def agent_of(
    deputy: Deputy, *calls: Mapping[str, Any], told: list[str] | None = None, kit: str = "gmail", **more: Any
) -> Any:
    """Build an agent over the tools of one toolkit that will make these calls."""
    toolset = DeputyToolset(deputy, kit, user=lambda ctx: ctx.deps.user_id, **more)
    return Agent(
        model_of(calls, told), deps_type=Deps, toolsets=[toolset], output_type=[str, DeferredToolRequests], retries=1
    )


REQUESTS: Final = TypeAdapter(DeferredToolRequests)


def turn_of(result: Any) -> Turn:
    """Return how a run ended."""
    waits = result.output if isinstance(result.output, DeferredToolRequests) else DeferredToolRequests()
    kept = {
        "history": ModelMessagesTypeAdapter.dump_json(result.all_messages()).decode(),
        "requests": REQUESTS.dump_json(waits).decode(),
    }
    asks = [dict(waits.metadata[call.tool_call_id]) for call in waits.approvals]
    return Turn("" if asks else str(result.output), asks, json.dumps(kept))


def kept_of(saved: str) -> tuple[list[ModelMessage], DeferredToolRequests]:
    """Return history and requests, as an application has stored them."""
    kept = json.loads(saved)
    return ModelMessagesTypeAdapter.validate_json(kept["history"]), REQUESTS.validate_json(kept["requests"])


def delegated(deputy: Deputy, *calls: Mapping[str, Any], **more: Any) -> Any:
    """Build an agent whose tool runs the agent with our tools, and passes on what that one asks."""
    inner = agent_of(deputy, *calls, **more)

    async def helper(ctx: RunContext[Deps], request: str) -> str:
        """Let a helper do this."""
        kept = ctx.tool_call_metadata if ctx.tool_call_approved else None
        given: dict[str, Any] = {}
        if kept:
            history, requests = kept_of(kept["inner"])
            said = {one: kept["decision"] for one in ids_in(requests)} if kept.get("decision") else None
            given = {"message_history": history, "deferred_tool_results": answers(requests, said)}
        done = await inner.run(None if given else request, deps=ctx.deps, usage=ctx.usage, **given)
        if isinstance(done.output, DeferredToolRequests):
            turn = turn_of(done)
            raise ApprovalRequired({**turn.asks[0], "inner": turn.saved})
        return str(done.output)

    call = {"name": "helper", "args": {"request": "send it"}, "id": "help"}
    return Agent(model_of([call]), deps_type=Deps, tools=[helper], output_type=[str, DeferredToolRequests], retries=1)


def ids_in(requests: DeferredToolRequests) -> list[str]:
    """Return the ids of the approvals that are requested."""
    return [ask["approval_id"] for ask in requests_in(requests, "approval")]


class Runs:
    """See `tests.support.deferred_conversations.Framework`. ``build``: builds the outermost agent."""

    notes_owner = True

    def __init__(self, build: Callable[..., Any] = agent_of) -> None:
        self.build = build

    async def start(self, deputy: Deputy, *calls: Mapping[str, Any], user: str = "alice", **more: Any) -> Turn:
        return turn_of(await self.build(deputy, *calls, **more).run("go on", deps=Deps(user)))

    async def resume(
        self, deputy: Deputy, saved: str, decisions: Mapping[str, Any] | None = None, user: str = "alice", **more: Any
    ) -> Turn:
        _, requests = kept_of(saved)
        return await self.with_results(deputy, saved, answers(requests, decisions), user, **more)

    async def bare_yes(self, deputy: Deputy, saved: str, user: str = "alice") -> Turn:
        _, requests = kept_of(saved)
        return await self.with_results(deputy, saved, requests.build_results(approve_all=True), user)

    async def with_results(
        self, deputy: Deputy, saved: str, results: DeferredToolResults, user: str = "alice", **more: Any
    ) -> Turn:
        """Continue with these results."""
        history, _ = kept_of(saved)
        given: dict[str, Any] = {"message_history": history, "deferred_tool_results": results}
        return turn_of(await self.build(deputy, **more).run(deps=Deps(user), **given))


class Delegated(Runs):
    """Runs of `delegated`: the outer call carries what the inner agent has left."""

    def __init__(self) -> None:
        super().__init__(delegated)

    async def resume(
        self, deputy: Deputy, saved: str, decisions: Mapping[str, Any] | None = None, user: str = "alice", **more: Any
    ) -> Turn:
        _, requests = kept_of(saved)
        results = requests.build_results(approve_all=True)
        said = next(iter((decisions or {}).values()), "")
        results.metadata = {call: {**ask, "decision": said} for call, ask in requests.metadata.items()}
        return await self.with_results(deputy, saved, results, user, **more)

    async def bare_yes(self, deputy: Deputy, saved: str, user: str = "alice") -> Turn:
        return await self.resume(deputy, saved, None, user)


class HandedOn(Runs):
    """Runs of an agent that continues the conversation of another one."""

    async def start(self, deputy: Deputy, *calls: Mapping[str, Any], user: str = "alice", **more: Any) -> Turn:
        desk = Agent(model_of([]), deps_type=Deps)
        first = await desk.run("go on", deps=Deps(user))
        given = {"message_history": first.all_messages()}
        return turn_of(await self.build(deputy, *calls, **more).run("send it", deps=Deps(user), **given))


SHAPES: Final = {"flat": Runs(), "delegated": Delegated(), "handed on": HandedOn()}
"""How the agent with our tools is among others."""
FRAMEWORK: Final = Runs()
