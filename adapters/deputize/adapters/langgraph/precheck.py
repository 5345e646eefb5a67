"""What the gate finds between the open calls of a message and their acts, and what of it is known before it looks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final

from langchain_core.messages import ToolCall, ToolMessage
from typing_extensions import TypedDict

from deputize.adapters.langgraph.interrupts import Payload
from deputize.core import User

__all__ = ["GO", "Ahead", "Findings", "Lost", "Output"]


class Output(TypedDict):
    """What a call was answered with: messages, and commands where a tool of the host returned some."""

    id: str
    given: list[Any]


class Lost(TypedDict):
    """A call that came back, since what it had is gone, or since another call was made of it: what has to be asked."""

    id: str
    asks: Payload


@dataclass(eq=False)
class Findings:
    """What stands between the open calls of a message and their acts now.

    ``asks``: what the user has to be asked, by kind and id. ``outputs``: what is refused. ``ready``: what may run.
    ``first``: those of them that are done before an approval is asked. ``others``: calls of tools that are not ours.
    """

    asked: str
    user: User | None
    asks: dict[str, dict[str, Payload]] = field(default_factory=lambda: {"consent": {}, "approval": {}})
    outputs: list[Output] = field(default_factory=list)
    ready: list[ToolCall] = field(default_factory=list)
    first: list[ToolCall] = field(default_factory=list)
    others: list[ToolCall] = field(default_factory=list)

    def refuse(self, call: ToolCall, answer: ToolMessage) -> None:
        """This call is answered, and not run."""
        self.outputs.append({"id": str(call["id"]), "given": [answer]})

    @property
    def pause(self) -> Payload | None:
        """What to pause for now: consents, or else approvals."""
        for kind, waiting in self.asks.items():
            if waiting and self.user:
                return {"type": f"deputize.{kind}", "v": 1, f"{kind}s": list(waiting.values())}
        return None


@dataclass(frozen=True, eq=False)
class Ahead:
    """What is known before the graph inside begins. ``go``: it is not needed, all may be done at once.

    ``seen``: what stands there, so that its first step need not look again. ``faults``: of edits, by approval id.
    """

    go: bool = False
    seen: Findings | None = None
    faults: Mapping[str, str] = field(default_factory=dict)

    @contextmanager
    def known(self) -> Iterator[None]:
        """While this lasts, a graph inside that begins knows it."""
        token = _told.set([self])
        try:
            yield
        finally:
            _told.reset(token)

    @classmethod
    def taken(cls) -> Ahead:
        """What is known before this step. It is told once: every later step looks itself."""
        told = _told.get()
        return told.pop() if told else cls()


GO: Final = Ahead(go=True)
_told: ContextVar[list[Ahead] | None] = ContextVar("deputize_ahead", default=None)
