"""The conversation of a demo with its graph: the user's messages and decisions, and its state."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command

from deputize.adapters.langgraph import RESUME, requests_in, resume_when_done
from deputize.core import Approval, ApprovalPayload, Conflict, Consent, ConsentPayload, Deputy, NotFound
from deputize.core.approvals.service import Decision

THREAD: Final = "demo"


@dataclass(frozen=True)
class Turn:
    """The result of one step: messages not displayed yet, and the requests to the user.

    ``late``: approvals that were answered too late, in their current state.
    """

    said: Sequence[AnyMessage]
    consents: Sequence[ConsentPayload] = ()
    approvals: Sequence[ApprovalPayload] = ()
    late: Sequence[Approval] = ()

    @property
    def text(self) -> str:
        """The model's text for the user."""
        return "\n".join(str(message.text) for message in self.said if isinstance(message, AIMessage) and message.text)


@dataclass
class Chat:
    """One conversation of a user with the graph, in any state."""

    deputy: Deputy
    graph: CompiledStateGraph[Any, Any, Any, Any]
    user: str
    seen: int = 0
    config: RunnableConfig = field(default_factory=lambda: RunnableConfig(configurable={"thread_id": THREAD}))

    async def ask(self, text: str) -> Turn:
        """Send a message of the user."""
        await self.graph.ainvoke({"messages": [HumanMessage(text)]}, self.config)
        return await self.turn()

    async def look_again(self) -> Turn:
        """Continue from the graph's state: resume its pauses with a bare signal, or finish an interrupted run."""
        state = await self.graph.aget_state(self.config)
        if state.tasks:
            wake = {pause.id: RESUME for pause in state.interrupts}
            await self.graph.ainvoke(Command(resume=wake) if wake else None, self.config)
        return await self.turn()

    async def wait(self, seconds: float = 600.0, tell: Callable[[Consent], None] = lambda consent: None) -> Turn:
        """Wait until the user has opened the links, then continue. ``tell``: receives each consent that ends."""
        pauses = (await self.graph.aget_state(self.config)).interrupts
        async with ticking(self.deputy, [ask["consent_id"] for ask in requests_in(pauses, "consent")], seconds, tell):
            await resume_when_done(self.deputy, self.graph, self.config, timeout=seconds)
        return await self.turn()

    async def decide(self, decisions: Mapping[str, Decision]) -> Turn:
        """Record the user's decisions, by approval id, and continue. An expired approval is requested again."""
        late: list[Approval | None] = []
        for approval, decision in decisions.items():
            try:
                await self.deputy.decide(approval, decision, by=self.user)
            except NotFound:
                pass  # it has expired
            except Conflict:  # decided elsewhere, or done: the graph reads the record
                late.append(await self.deputy.get_approval(approval, by=self.user))
        return replace(await self.look_again(), late=[one for one in late if one is not None])

    async def found(self, asked: Mapping[str, Any]) -> Approval | None:
        """Return an approval's current state, or None if it is gone."""
        return await self.deputy.get_approval(asked["approval_id"], by=self.user)

    async def is_decided(self, asked: Mapping[str, Any]) -> bool:
        """Return whether the approval needs no answer any more."""
        now = await self.found(asked)
        return now is None or now.status != "pending"

    async def turn(self) -> Turn:
        """Return the state of the conversation. Each message is returned once."""
        state = await self.graph.aget_state(self.config)
        messages: list[AnyMessage] = state.values.get("messages", [])
        said, self.seen = messages[self.seen :], len(messages)
        return Turn(said, requests_in(state.interrupts, "consent"), requests_in(state.interrupts, "approval"))

    async def unfinished_message(self) -> str:
        """Return the user's last message if the graph has not finished with it, else "". Skips earlier messages."""
        state = await self.graph.aget_state(self.config)
        messages: list[AnyMessage] = state.values.get("messages", [])
        asked = [i for i, message in enumerate(messages) if isinstance(message, HumanMessage)]
        if not asked or not state.tasks:
            self.seen = len(messages)
            return ""
        self.seen = asked[-1] + 1
        return str(messages[asked[-1]].text)

    async def whole(self, asked: ApprovalPayload) -> Approval:
        """Return the whole approval, because a pause contains only the beginning of long texts. Raises `NotFound`."""
        found = await self.found(asked)
        if found is None:
            raise NotFound("This approval no longer waits.", hint="Ask again.")
        return found


@asynccontextmanager
async def ticking(
    deputy: Deputy, consents: Iterable[str], seconds: float, tell: Callable[[Consent], None]
) -> AsyncIterator[None]:
    """Call ``tell`` with each of these consents as soon as it ends, for at most ``seconds``."""
    tasks = [asyncio.create_task(_tell_of(deputy, one, seconds, tell)) for one in consents]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _tell_of(deputy: Deputy, consent: str, seconds: float, tell: Callable[[Consent], None]) -> None:
    with suppress(NotFound):  # it was removed
        for ended in await deputy.wait_for_consents([consent], timeout=seconds):
            if ended.status not in ("pending", "expired"):
                tell(ended)
