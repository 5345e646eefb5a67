"""Runs of LlamaIndex agents in the application's own process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent
from llama_index.core.base.llms.types import ChatMessage, ToolCallBlock
from llama_index.core.tools import FunctionTool
from llama_index.core.workflow import Context

from deputize.adapters.llamaindex import (
    ApprovalRequest,
    ApprovalResponse,
    GmailToolSpec,
    UserSource,
    resume_paused,
    save_paused,
)
from deputize.core import Deputy
from deputize.sandbox import Sandbox
from tests.support.graphs import SEND
from tests.support.identity.table import OWN, OWNER, Refused
from tests.support.identity.text import NO_KEYS
from tests.support.llamaindex_agents import Calling, Model, agent, asked, ended

NOW: Final[ContextVar[str]] = ContextVar("now", default="")
"""The user of the runs that begin now, as an application's session names it."""
HELP: Final = {"name": "helper", "args": {"what": "send it"}, "id": "help"}
HAND_OFF: Final = {"name": "handoff", "args": {"to_agent": "mailer", "reason": "mail"}, "id": "hand off"}


def named(ctx: Context) -> str:
    """Return the user of this run."""
    return NOW.get()


def handing_off(deputy: Deputy, user: UserSource = named) -> AgentWorkflow:
    """Build a workflow whose first agent hands off to the one with our tools."""

    def sends(messages: Sequence[ChatMessage]) -> ChatMessage:
        said = [str(m.content) for m in messages if m.additional_kwargs.get("tool_call_id") == SEND["id"]]
        block = ToolCallBlock(tool_call_id=SEND["id"], tool_name=SEND["name"], tool_kwargs=SEND["args"])
        return ChatMessage(role="assistant", **({"content": said[0]} if said else {"blocks": [block]}))

    desk = FunctionAgent(
        name="desk",
        description="Hands off.",
        llm=Calling(respond=Model([HAND_OFF])),
        can_handoff_to=["mailer"],
        streaming=False,
    )
    mailer = FunctionAgent(
        name="mailer",
        description="Sends mail.",
        llm=Calling(respond=sends),
        tools=[*GmailToolSpec(deputy, user=user).to_tool_list()],
        streaming=False,
    )
    return AgentWorkflow(agents=[desk, mailer], root_agent="desk", timeout=30)


@dataclass
class LiveRun:
    """A run that waits in memory, or is stored between its steps.

    ``waiting``: Alice's run, and the run in its tool. ``inner``: runs in tools since the last begin.
    """

    deputy: Deputy
    sandbox: Sandbox
    folder: Path | None
    shape: str = "flat"
    waiting: list[Any] = field(default_factory=list)
    inner: list[Any] = field(default_factory=list)

    @property
    def lacks(self) -> Mapping[str, str]:
        """See `Run`."""
        return NO_KEYS

    @property
    def own(self) -> frozenset[str]:
        """See `Run`."""
        return OWN

    async def begin(self, who: str) -> None:
        """See `Run`."""
        NOW.set(who)
        self.inner.clear()
        handler = self._agent().run("go on")
        if not await asked(handler):
            raise Refused((await ended(handler)).partition(":")[0])
        if self.folder:
            (self.folder / "saved").write_text(await save_paused(handler))
        else:
            self.waiting = [handler, *self.inner]

    async def answer(self, who: str, approvals: Sequence[str]) -> None:
        """See `Run`: with an event of this identity."""
        NOW.set(who)
        handlers = [await self._resumed(who)] if self.folder else self.waiting
        for approval in approvals:
            handlers[-1].ctx.send_event(ApprovalResponse(approval_id=approval, by=who, decision="approve"))
        if who == OWNER:
            assert "Sent." in await ended(handlers[0])
        else:
            await quiet(handlers[-1])

    async def _resumed(self, who: str) -> Any:
        assert self.folder
        return await resume_paused(self._agent(), (self.folder / "saved").read_text(), user=who)

    def _agent(self) -> Any:
        return SHAPES[self.shape](self)


def with_helper(run: LiveRun) -> Any:
    """Build an agent whose tool runs the agent with our tools, and passes on what that one asks."""
    inner = agent("FunctionAgent", run.deputy, SEND, user=named)

    async def helper(ctx: Context, what: str) -> str:
        """Let a helper do this."""
        handler = inner.run(what)
        run.inner.append(handler)
        async for event in handler.stream_events():
            if isinstance(event, ApprovalRequest):
                ctx.write_event_to_stream(event)
        return await ended(handler)

    helper.__annotations__["ctx"] = Context  # LlamaIndex looks for the class
    tools: list[Any] = [FunctionTool.from_defaults(async_fn=helper)]
    return FunctionAgent(name="outer", tools=tools, llm=Calling(respond=Model([HELP])), timeout=30, streaming=False)


SHAPES: Final[dict[str, Callable[[LiveRun], Any]]] = {
    "flat": lambda run: agent("FunctionAgent", run.deputy, SEND, user=named),
    "nested": lambda run: agent("AgentWorkflow", run.deputy, SEND, user=named),
    "agent as tool": with_helper,
    "handoff": lambda run: handing_off(run.deputy),
}


async def quiet(handler: Any) -> None:
    """Wait until a run has dealt with the events it was sent."""
    for _ in range(20):
        await asyncio.sleep(0)
    async with asyncio.timeout(10):
        while await handler.ctx.running_steps():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def run_of(deputy: Deputy, sandbox: Sandbox, folder: Path | None) -> LiveRun:
    """Build a flat run."""
    return LiveRun(deputy, sandbox, folder)
