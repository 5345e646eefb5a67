"""Runs of the frameworks whose runs end at a request: pydantic-ai, the OpenAI Agents SDK and Google ADK."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from deputize.core import Deputy
from deputize.sandbox import Sandbox
from tests.support.deferred_conversations import Framework, framework
from tests.support.google_adk_runs import SHAPES as ADK
from tests.support.google_adk_runs import Chat, agent_of, in_own_session
from tests.support.graphs import SEND
from tests.support.identity.table import OWN, OWNER, in_turn

NO_KEYS: Final = {"API key": "the application names the user of each run"}

NOW: Final[ContextVar[str]] = ContextVar("now", default="")
"""The user of the runs that begin now, as an application's session names it."""
ADK_SHAPES: Final = {"flat": lambda deputy, **more: agent_of(deputy, SEND, **more), **ADK, "own": in_own_session}


@dataclass
class TextRun:
    """A run that is a text between its steps, as an application stores it."""

    deputy: Deputy
    sandbox: Sandbox
    folder: Path | None
    runs: Framework
    saved: str = ""

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
        turn = await self.runs.start(self.deputy, SEND, user=who)
        if who == OWNER:
            self._keep(turn.saved)

    async def answer(self, who: str, approvals: Sequence[str]) -> None:
        """See `Run`: with these decisions; a stranger also without, and with the framework's own approval alone."""
        saved, yes = self._kept(), dict.fromkeys(approvals, "approve")
        if who == OWNER:
            turn = await self.runs.resume(self.deputy, saved, yes, who)
            return self._keep(turn.saved)
        await in_turn(
            self.runs.resume(self.deputy, saved, yes, who),
            self.runs.resume(self.deputy, saved, None, who),
            self.runs.bare_yes(self.deputy, saved, who),
        )

    def _keep(self, saved: str) -> None:
        self.saved = saved
        if self.folder:
            (self.folder / "saved").write_text(saved)

    def _kept(self) -> str:
        return (self.folder / "saved").read_text() if self.folder else self.saved


@dataclass
class SessionRun:
    """A run in an ADK session that everybody can use: the application names the user of each run."""

    deputy: Deputy
    sandbox: Sandbox
    folder: Path | None
    shape: str
    chats: list[Chat] = field(default_factory=list)

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
        chat = Chat(ADK_SHAPES[self.shape](self.deputy, named=lambda ctx: NOW.get()), user="everybody")
        self.chats.append(chat)
        NOW.set(who)
        await chat.say("go on")

    async def answer(self, who: str, approvals: Sequence[str]) -> None:
        """See `Run`: with a decision, without, and with what was shown, as ADK's own pages answer."""
        NOW.set(who)
        chat = self.chats[0]
        if who == OWNER:
            await chat.answer("approve")
            return
        for ask in await chat.asks():
            await in_turn(chat.answer("approve"), chat.answer(), chat.confirm(payload=ask), chat.confirm(False))


def run_of(name: str, deputy: Deputy, sandbox: Sandbox, folder: Path | None) -> TextRun:
    """Build a flat run of this framework."""
    return TextRun(deputy, sandbox, folder, framework(name))
