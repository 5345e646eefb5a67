"""Deliveries of a waiting LlamaIndex tool call: the call runs again from its start for every event that it waits for.

Deliveries of one call may run at the same time. Only one may answer, because a second answer would displace another
call's. Only the first may wait, because another wait would replace it and lose its request or answer. All others are
parked: suspended for good by a wait that never ends. No public API identifies the delivered call, so private names are
read, which are checked once, on import; `tests/adapters/test_llamaindex_traps.py` guards them.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn, TypeVar
from weakref import WeakKeyDictionary

from llama_index.core.agent.workflow.workflow_events import ToolCall
from llama_index.core.workflow import Context, Event
from workflows.handler import WorkflowHandler
from workflows.runtime.types.results import (
    AddWaiter,
    StepWorkerContext,
    StepWorkerState,
    StepWorkerStateContextVar,
    StepWorkerWaiter,
    WaitingForEvent,
)

from deputize.adapters.llamaindex.events import Never
from deputize.adapters.llamaindex.host import SERVED, on_server
from deputize.adapters.releases import LLAMAINDEX, require_names
from deputize.core import Call, Conflict, PolicyDenied, User

__all__ = ["CONVERSATION", "OWNER", "USED", "Delivery"]

USED: Final[list[tuple[type[Any], str]]] = [
    (StepWorkerContext, "event"),
    (StepWorkerContext, "state"),
    (StepWorkerState, "work_item_id"),
    (StepWorkerState, "collected_waiters"),
    (StepWorkerWaiter, "waiter_id"),
    (StepWorkerWaiter, "resolved_event"),
    (WorkflowHandler, "cancel_run"),
    (Context, "running_steps"),
]
"""The private names of llama-index-workflows that are used here."""

require_names("llama-index-workflows", LLAMAINDEX, *USED)
E = TypeVar("E", bound=Event)
OWNER: Final = "deputize_user"
CONVERSATION: Final = "deputize_thread"
"""The key in the store of a `Context` of its conversation's id. Your application may set it before the first run."""


@dataclass
class _Run:
    """State of a run in this process: its name, its waits, and the calls that a delivery has taken.

    ``owner``: the run's user, set here before it is stored in the run, so that only one of two concurrent calls sets
    it. ``gathering``: calls of one message that are being delivered; see `consent_batching`.
    """

    owner: User | None = None
    name: str = field(default_factory=lambda: secrets.token_hex(16))
    asked: set[str] = field(default_factory=set)
    taken: set[str] = field(default_factory=set)
    gathering: dict[Any, Any] = field(default_factory=dict)


_runs: WeakKeyDictionary[Any, _Run] = WeakKeyDictionary()
"""Runs by their store."""


@dataclass(frozen=True)
class Delivery:
    """One delivery of one call. ``call``: the call's id, the same in each delivery and process. ``first``: True for the
    call's first delivery."""

    ctx: Context
    step: StepWorkerContext
    run: _Run
    user: User
    call: Call
    first: bool

    @classmethod
    async def of(cls, ctx: Context, user: User) -> Delivery | None:
        """Return the current delivery, or None outside an agent. Raises `PolicyDenied` if the run belongs to another
        user."""
        step = StepWorkerStateContextVar.get(None)
        if step is None or not isinstance(step.event, ToolCall):
            return None
        run = _runs.setdefault(ctx.store, _Run())
        owner = await ctx.store.get(OWNER, default=None)
        if owner is None:
            run.owner = run.owner or user
            owner = [run.owner.id, run.owner.tenant]
            await ctx.store.set(OWNER, owner)
        if list(owner) != [user.id, user.tenant]:
            raise PolicyDenied("This run belongs to another user.")
        place = step.state.work_item_id or step.event.tool_id  # some models give every call the same id
        slot = f"deputize_call_{place}".replace(".", "_")
        before = await ctx.store.get(slot, default="")
        name = before or run.name  # the name of the run that delivered it first
        await ctx.store.set(slot, name)
        thread = await ctx.store.get(CONVERSATION, default=name)  # the name of the first run with this context
        await ctx.store.set(CONVERSATION, thread)
        return cls(ctx, step, run, user, Call(thread=thread, message=name, id=place), not before)

    async def wait(self, kind: type[E], request: Event, *, tells: bool = True, **wanted: str) -> E:
        """Send the request, and wait once for a matching event. There is no timeout: the request itself expires.

        ``tells``: True to stream the request; False if another call with the same request has done so. A restored wait
        receives any event of its class until it is made again.
        """
        waiter = f"deputize_{self.call.id}_{type(request).__name__}_{next(iter(wanted.values()))}"
        before = [w for w in self.step.state.collected_waiters if w.waiter_id == waiter]
        answered = any(w.resolved_event for w in before)
        if waiter in self.run.asked and not answered:
            await self.park()
        if tells and before and waiter not in self.run.asked and not answered:
            self.ctx.write_event_to_stream(request)  # of a restored run: the wait itself streams its request only once
        self.run.asked.add(waiter)
        heard = await self.ctx.wait_for_event(kind, request if tells else None, waiter, wanted, timeout=None)
        if any(getattr(heard, name, None) != value for name, value in wanted.items()):
            raise WaitingForEvent(AddWaiter(waiter_id=waiter, requirements=wanted, timeout=None, event_type=kind))
        return heard

    @property
    def decisions_count(self) -> bool:
        """True if an event's decision is its user's: clients of a workflow server can write events for others."""
        return not on_server(self.ctx) or SERVED.get() == self.user

    async def take(self) -> None:
        """Make this the delivery that answers. Parks if another delivery answers or has answered."""
        if self.call.id in self.run.taken or await self.get("answered"):
            await self.park()
        self.run.taken.add(self.call.id)

    def let_go(self) -> None:
        """Release the call while it asks its user something. The delivery of the answer continues it."""
        self.run.taken.discard(self.call.id)

    async def done(self) -> None:
        """Record that the call was answered, because its waits may outlive it. Interrupted calls are answered again."""
        await self.set("answered", True)

    async def get(self, name: str) -> Any:
        """Return a value that this call stored in the run, or None."""
        return await self.ctx.store.get(self._slot(name), default=None)

    async def set(self, name: str, value: Any) -> None:
        """Store a value in the run, for other deliveries of this call."""
        await self.ctx.store.set(self._slot(name), value)

    def _slot(self, name: str) -> str:
        return f"deputize_{name}_{self.call.id}".replace(".", "_")

    async def park(self) -> NoReturn:
        """Suspend this delivery for good."""
        await self.ctx.wait_for_event(Never, waiter_id=f"deputize_{self.call.id}_parked", timeout=None)
        raise Conflict("Another delivery of this call answers it.")
