"""Results of checking the open calls of a message, and results known before the inner graph starts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final

from langchain_core.messages import ToolCall, ToolMessage
from typing_extensions import TypedDict

from deputize.adapters.langgraph.interrupts import ApprovalPause, ConsentPause, Missing
from deputize.core import ApprovalPayload, ConsentPayload, User

__all__ = ["GO", "Ahead", "Findings", "Lost", "Output"]


class Output(TypedDict):
    """The answer to a call: messages, and commands that your own tools returned."""

    id: str
    given: list[Any]


class Lost(TypedDict):
    """A call that returned to the gate, because it lost its consent or approval or raised a new request, and that
    request."""

    id: str
    asks: Missing


@dataclass(eq=False)
class Findings:
    """The result of checking the open calls of a message.

    ``consents``, ``approvals``: requests for the user, by id. ``outputs``: refusals. ``ready``: calls that may run.
    ``first``: calls of ``ready`` that run before an approval is requested. ``others``: calls of your own tools.
    """

    asked: str
    user: User | None
    consents: dict[str, ConsentPayload] = field(default_factory=dict)
    approvals: dict[str, ApprovalPayload] = field(default_factory=dict)
    outputs: list[Output] = field(default_factory=list)
    ready: list[ToolCall] = field(default_factory=list)
    first: list[ToolCall] = field(default_factory=list)
    others: list[ToolCall] = field(default_factory=list)

    def refuse(self, call: ToolCall, answer: ToolMessage) -> None:
        """Answer this call without running it."""
        self.outputs.append({"id": str(call["id"]), "given": [answer]})

    @property
    def pause(self) -> ConsentPause | ApprovalPause | None:
        """The payload of the next pause: consents, else approvals."""
        if self.consents and self.user:
            return {"type": "deputize.consent", "v": 1, "consents": [*self.consents.values()]}
        if self.approvals and self.user:
            return {"type": "deputize.approval", "v": 1, "approvals": [*self.approvals.values()]}
        return None


@dataclass(frozen=True, eq=False)
class Ahead:
    """Results known before the inner graph starts. ``go``: True if all calls may run at once, without that graph.

    ``seen``: the check, so that the graph's first step need not repeat it. ``faults``: errors of edits, by approval id.
    """

    go: bool = False
    seen: Findings | None = None
    faults: Mapping[str, str] = field(default_factory=dict)

    @contextmanager
    def known(self) -> Iterator[None]:
        """Pass these results to an inner graph that starts inside the block."""
        token = _told.set([self])
        try:
            yield
        finally:
            _told.reset(token)

    @classmethod
    def taken(cls) -> Ahead:
        """Return the results known before this step. They are returned once: every later step checks itself."""
        told = _told.get()
        return told.pop() if told else cls()


GO: Final = Ahead(go=True)
_told: ContextVar[list[Ahead] | None] = ContextVar("deputize_ahead", default=None)
