"""How LlamaIndex delivers a tool call that waits: again from its top, with every event that it waits for.

Deliveries of one call may run at the same time. Only one may answer, since a second answer would displace another
call's; only the first may wait, since the wait of another would replace it, and lose its request or its answer. All
others are parked: suspended for good, by a wait for what never comes. Which call is delivered is said by no public API
of LlamaIndex: the names it takes are looked up once, on import; `tests/adapters/test_llamaindex_traps.py` guards them.
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

__all__ = ["OWNER", "USED", "Delivery"]

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
"""The names of llama-index-workflows that its documentation does not promise."""

require_names("llama-index-workflows", LLAMAINDEX, *USED)
E = TypeVar("E", bound=Event)
OWNER: Final = "deputize_user"
CONVERSATION: Final = "deputize_thread"


@dataclass
class _Run:
    """What this process knows of a run: its name, which waits it asked for, which calls a delivery has taken on.

    ``owner``: whose it is, kept here before it is kept in the run, so that of two calls at once only one may say so.
    ``gathering``: calls of one message that are delivered just now; see `llamaindex_together`.
    """

    owner: User | None = None
    name: str = field(default_factory=lambda: secrets.token_hex(16))
    asked: set[str] = field(default_factory=set)
    taken: set[str] = field(default_factory=set)
    gathering: dict[Any, Any] = field(default_factory=dict)


_runs: WeakKeyDictionary[Any, _Run] = WeakKeyDictionary()
"""By the store of each run."""


@dataclass(frozen=True)
class Delivery:
    """One delivery of one call. ``call`` is the same in each, here and in another process. ``first``: of its own."""

    ctx: Context
    step: StepWorkerContext
    run: _Run
    user: User
    call: Call
    first: bool

    @classmethod
    async def of(cls, ctx: Context, user: User) -> Delivery | None:
        """What is delivered; None outside of an agent. Raises `PolicyDenied` where the run is another user's."""
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
        place = step.state.work_item_id or step.event.tool_id  # of models, some give the same id to every call
        slot = f"deputize_call_{place}".replace(".", "_")
        before = await ctx.store.get(slot, default="")
        name = before or run.name  # of the run that delivered it first
        await ctx.store.set(slot, name)
        thread = await ctx.store.get(CONVERSATION, default=name)  # of the first run with this context
        await ctx.store.set(CONVERSATION, thread)
        return cls(ctx, step, run, user, Call(thread=thread, message=name, id=place), not before)

    async def wait(self, kind: type[E], request: Event, *, tells: bool = True, **wanted: str) -> E:
        """Ask, and wait once for an event that holds what is wanted. No timeout: what is asked expires by itself.

        ``tells``: the request is streamed; not where another call that waits for the same has done so.

        A wait that was restored, from text or by a server, hears any event of its class until it is made once more.
        """
        waiter = f"deputize_{self.call.id}_{type(request).__name__}_{next(iter(wanted.values()))}"
        answered = any(w.waiter_id == waiter and w.resolved_event for w in self.step.state.collected_waiters)
        if waiter in self.run.asked and not answered:
            await self.park()
        self.run.asked.add(waiter)
        heard = await self.ctx.wait_for_event(kind, request if tells else None, waiter, wanted, timeout=None)
        if any(getattr(heard, name, None) != value for name, value in wanted.items()):
            raise WaitingForEvent(AddWaiter(waiter_id=waiter, requirements=wanted, timeout=None, event_type=kind))
        return heard

    @property
    def decisions_count(self) -> bool:
        """Whether an event's decision is its user's: clients of a server write events, and no other user may."""
        return not on_server(self.ctx) or SERVED.get() == self.user

    async def take(self) -> None:
        """From here on this delivery is the one that answers. Parks where another one does, or has."""
        if self.call.id in self.run.taken or await self.get("answered"):
            await self.park()
        self.run.taken.add(self.call.id)

    def let_go(self) -> None:
        """Its act asks the user in the middle of it: the delivery that the answer brings is the one that goes on."""
        self.run.taken.discard(self.call.id)

    async def done(self) -> None:
        """Note that the call is answered, for waits that outlive it. A call that was cut off is answered again."""
        await self.set("answered", True)

    async def get(self, name: str) -> Any:
        """What this call keeps in the run under this name; None where there is nothing."""
        return await self.ctx.store.get(self._slot(name), default=None)

    async def set(self, name: str, value: Any) -> None:
        """Keep it, for other deliveries of this call."""
        await self.ctx.store.set(self._slot(name), value)

    def _slot(self, name: str) -> str:
        return f"deputize_{name}_{self.call.id}".replace(".", "_")

    async def park(self) -> NoReturn:
        """Suspend this delivery for good."""
        await self.ctx.wait_for_event(Never, waiter_id=f"deputize_{self.call.id}_parked", timeout=None)
        raise Conflict("Another delivery of this call answers it.")
