"""LlamaIndex: toolkits as tool specs, for `FunctionAgent`, `ReActAgent` and `AgentWorkflow`.

    from deputize.adapters.llamaindex import GmailToolSpec

    FunctionAgent(tools=GmailToolSpec(deputy, user="alice").to_tool_list(), llm=llm)

Who the user is comes from the host and is bound here, never chosen by the model. What is missing is asked by events in
the stream: a `ConsentRequest` is woken by a `ConsentDone`, an `ApprovalRequest` by an `ApprovalDone`. An event is a
wake-up: the vault is asked again. A call waits once for its consent; woken too early it fails, and may be called again.
`save_paused` and `resume_paused` carry a waiting run to another process.
"""

# No "from __future__ import annotations" here: LlamaIndex finds `ctx: Context` by its type, not by its name.
import asyncio
import json
import secrets
import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Final, Literal, TypeVar
from weakref import WeakKeyDictionary

from llama_index.core.agent.react.types import ActionReasoningStep, ObservationReasoningStep, ResponseReasoningStep
from llama_index.core.agent.workflow import workflow_events
from llama_index.core.llms import ChatMessage
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.tools import FunctionTool, ToolMetadata, ToolOutput
from llama_index.core.tools.tool_spec.base import BaseToolSpec
from llama_index.core.workflow import Context, Event, HumanResponseEvent, InputRequiredEvent, JsonSerializer
from workflows.runtime.types.results import StepWorkerStateContextVar

from deputize.adapters.words import as_text, told
from deputize.core import (
    ApprovalRequired,
    Call,
    Conflict,
    ConsentRequired,
    DeputizeError,
    Deputy,
    Effect,
    InvalidInput,
    NotFound,
    PolicyDenied,
    Tool,
    User,
    UserRequired,
)

E = TypeVar("E", bound=Event)
OWNER: Final = "deputize_user"
CALL: Final = "deputize_call_"
TICK: Final = 0.01
REGISTERED: Final = 0.05
PATIENCE: Final = 10.0
"""Seconds: between looks, for a wait to be noted once asked for, and for a restored call to ask again at all."""


class ConsentRequest(InputRequiredEvent):
    """The user must visit ``link`` before a call goes on. For the user's eyes; see `deputize.core.Consent`."""

    consent_id: str
    provider: str
    app: str
    account: str
    scopes: list[str]
    words: list[str]
    link: str
    expires_at: float
    why: str


class ConsentDone(HumanResponseEvent):
    """Look again. It proves nothing."""

    consent_id: str


class ApprovalRequest(InputRequiredEvent):
    """The user must approve one act before it happens; see `deputize.core.Approval`."""

    approval_id: str
    tool: str
    effect: str
    account: str
    preview: dict[str, Any]
    expires_at: float
    reason: str


class ApprovalDone(HumanResponseEvent):
    """The user has decided. ``decision`` is recorded as the bound user's; empty, where it was made on the page."""

    approval_id: str
    decision: Literal["approve", "reject", ""] = ""
    reason: str = ""


class Never(HumanResponseEvent):
    """What the second delivery of a call waits for: its first one answers."""


class _Shown(ToolMetadata):
    """What a model sees: our own schema."""

    def __init__(self, tool: Tool) -> None:
        super().__init__(name=tool.name, description=tool.description, fn_schema=tool.model)
        self.parameters = tool.schema

    def get_parameters_dict(self) -> dict[str, Any]:
        """See `ToolMetadata`."""
        return dict(self.parameters)


async def _in_a_workflow(ctx: Context, **arguments: Any) -> None:
    """The signature that makes agents hand over their context. `ActTool` does the work."""


_answered: WeakKeyDictionary[Any, set[str]] = WeakKeyDictionary()
"""Calls that a delivery has taken on, by the store of their run."""
_waiting: set[str] = set()
"""Calls that wait for the user in this process."""


class ActTool(FunctionTool):
    """One tool, as a user. In an agent it can wait for the user; called by itself it acts at once, or says why not."""

    def __init__(self, deputy: Deputy, tool: Tool, user: User | str | None, agent: str) -> None:
        super().__init__(async_fn=_in_a_workflow, metadata=_Shown(tool))
        self.deputy, self.user, self.agent = deputy, user, agent

    def call(self, *args: Any, **kwargs: Any) -> ToolOutput:
        """Act now, without waiting for anybody; a failure is an output too."""
        return self.deputy.run(self._output(None, kwargs))

    async def acall(self, *args: Any, **kwargs: Any) -> ToolOutput:
        """Act; inside an agent, wait for the user where that is needed. A failure is an output too."""
        ctx = kwargs.get("ctx")
        if not isinstance(ctx, Context):
            return await self._output(None, kwargs)
        return await self._output(ctx, {name: value for name, value in kwargs.items() if name != "ctx"})

    async def _output(self, ctx: Context | None, arguments: dict[str, Any]) -> ToolOutput:
        try:
            user = User.of(self.user)
            result = await (self._in_run(ctx, arguments, user) if ctx else self._act(arguments, user, Call()))
        except DeputizeError as error:
            return self._said(told(error), arguments, {"error": error.code}, failed=True)
        return self._said(as_text(result), arguments, result)

    def _said(self, text: str, arguments: Mapping[str, Any], raw: Any, *, failed: bool = False) -> ToolOutput:
        return ToolOutput(
            content=text,
            tool_name=self.metadata.get_name(),
            raw_input={"kwargs": dict(arguments)},
            raw_output=raw,
            is_error=failed,
        )

    async def _act(self, arguments: Mapping[str, Any], user: User, call: Call) -> Any:
        name = self.metadata.get_name()
        return await self.deputy.act(name, arguments, user=user, call=call, agent=self.agent)

    async def _in_run(self, ctx: Context, arguments: dict[str, Any], user: User) -> Any:
        """Consent first, approval second, each waited for once; then the act. Every delivery begins at the top."""
        await _same_owner(ctx, user)
        slot, note = await _noted(ctx)
        call = Call(message=note["turn"], id=note["id"])
        way = None if note.get("consent") else await self._way(arguments, user, call)
        if note.get("consent") or isinstance(way, ConsentRequired):
            await self._wait_consent(ctx, slot, note, way)
            way = await self._way(arguments, user, call)
        if note.get("approval") or isinstance(way, ApprovalRequired):
            await self._wait_approval(ctx, slot, note, way, user)
        return await self._once(ctx, slot, note, self._act(arguments, user, call))

    async def _way(self, arguments: Mapping[str, Any], user: User, call: Call) -> DeputizeError | None:
        """What stands in the call's way, if anything."""
        [way] = await self.deputy.prepare([(self.metadata.get_name(), arguments, call)], user=user, agent=self.agent)
        return way

    async def _wait_consent(self, ctx: Context, slot: str, note: dict[str, str], way: DeputizeError | None) -> None:
        """Wait for the consent; a call that has waited before takes its answer from where it waited."""
        asked = ConsentRequest(**way.consent.payload()) if isinstance(way, ConsentRequired) else None
        if asked:
            await _keep(ctx, slot, note, consent=asked.consent_id)
        await _wait(ctx, ConsentDone, "consent", note, asked)

    async def _wait_approval(
        self, ctx: Context, slot: str, note: dict[str, str], way: DeputizeError | None, user: User
    ) -> None:
        """Wait for the decision. The recorded one counts: what the event says is recorded, unless one was before."""
        asked = None
        if not note.get("approval") and isinstance(way, ApprovalRequired):
            asked = ApprovalRequest(**way.approval.payload())
            await _keep(ctx, slot, note, approval=asked.approval_id)
        done = await _wait(ctx, ApprovalDone, "approval", note, asked)
        if done.decision and done.approval_id == note["approval"]:
            with suppress(Conflict, NotFound):  # decided elsewhere, or expired: the act will say so
                await self.deputy.decide(done.approval_id, done.decision, by=user, reason=done.reason)

    async def _once(self, ctx: Context, slot: str, note: dict[str, str], act: Any) -> Any:
        """The answer of the first delivery. Another one parks: a second answer would displace another call's."""
        taken = _answered.setdefault(ctx.store, set())
        if note["id"] in taken or note.get("answered"):
            act.close()
            await ctx.wait_for_event(Never, waiter_id=f"deputize_parked_{note['id']}", timeout=None)
        taken.add(note["id"])
        _waiting.discard(note["id"])
        outcome: Any = (await asyncio.gather(act, return_exceptions=True))[0]  # a cut-off one is not answered
        await _keep(ctx, slot, note, answered="yes")
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


async def _same_owner(ctx: Context, user: User) -> None:
    """Note whose run this is. Raises `PolicyDenied` where it is another user's."""
    owner = await ctx.store.get(OWNER, default=None)
    if owner is None:
        await ctx.store.set(OWNER, [user.id, user.tenant])
    elif list(owner) != [user.id, user.tenant]:
        raise PolicyDenied("This run belongs to another user.")


async def _noted(ctx: Context) -> tuple[str, dict[str, str]]:
    """What is kept of this call: the same note for every delivery of it, here and in another process."""
    memory = await ctx.store.get("memory", default=None)
    turn = str(sum(m.role == "user" for m in await memory.aget_all())) if memory else ""
    slot = f"{CALL}{turn}_{await ctx.store.get('num_iterations', default=0)}_{_place()}"
    note = await ctx.store.get(slot, default=None)
    if note is None:
        note = {"id": secrets.token_hex(16), "turn": f"{await _thread(ctx)}/{turn}"}
        await ctx.store.set(slot, note)
    return slot, dict(note)


async def _thread(ctx: Context) -> str:
    """The name of this conversation, made once."""
    if not await ctx.store.get("deputize_thread", default=None):
        await ctx.store.set("deputize_thread", secrets.token_hex(16))
    return str(await ctx.store.get("deputize_thread"))


def _place() -> str:
    """Which call of the run is delivered, the same in each delivery. No public API says it; a test guards it."""
    step = StepWorkerStateContextVar.get()
    return str(getattr(step.state, "work_item_id", None) or getattr(step.event, "tool_id", "")).replace(".", "_")


async def _keep(ctx: Context, slot: str, note: dict[str, str], **more: str) -> None:
    note |= more
    await ctx.store.set(slot, dict(note))


async def _wait(ctx: Context, kind: type[E], what: str, note: Mapping[str, str], asked: Event | None) -> E:
    """Once: a wait that was answered answers again for ever, so nothing here may loop."""
    waiter = f"deputize_{what}_{note['id']}"
    wanted = {f"{what}_id": note[what]}
    _waiting.add(note["id"])
    return await ctx.wait_for_event(kind, waiter_id=waiter, requirements=wanted, waiter_event=asked, timeout=None)


class DeputyToolSpec(BaseToolSpec):
    """The toolkits' tools for one user. A toolkit's own spec is one line: ``toolkits = ("gmail",)``."""

    toolkits: tuple[str, ...] = ()

    def __init__(
        self, deputy: Deputy, *toolkits: str, user: User | str | None, agent: str = "", read_only: bool = False
    ) -> None:
        self.deputy, self.user, self.agent, self.read_only = deputy, user, agent, read_only
        self.toolkits = toolkits or type(self).toolkits
        self.spec_functions = [tool.name for tool in deputy.tools(*self.toolkits)]

    def to_tool_list(self, spec_functions: Any = None, func_to_metadata_mapping: Any = None) -> list[FunctionTool]:
        """The tools; ``spec_functions``: only those of these names."""
        found = self.deputy.tools(*self.toolkits)
        wanted = set(spec_functions or ())
        if unknown := wanted - {tool.name for tool in found}:
            raise InvalidInput(f"No tool is called {min(unknown)!r}.", fix_by="operator")
        return [
            ActTool(self.deputy, tool, self.user, self.agent)
            for tool in found
            if (not self.read_only or tool.gravest is Effect.READS) and (not wanted or tool.name in wanted)
        ]


class GmailToolSpec(DeputyToolSpec):
    """Gmail."""

    toolkits = ("gmail",)


async def wake_when_done(deputy: Deputy, handler: Any, asked: ConsentRequest, *, seconds: float = 600.0) -> None:
    """Wait until this consent has ended, wherever that happens, and wake the call that asked for it."""
    await deputy.wait([asked.consent_id], timeout=seconds)
    handler.ctx.send_event(ConsentDone(consent_id=asked.consent_id))


async def save_paused(handler: Any) -> str:
    """Stop a waiting run and return all of it as JSON, for `resume_paused`. Keep it where its user cannot write.

    Save when the calls that do not wait are done: one that is cut off is called again after the resume.
    """
    memory = await handler.ctx.store.get("memory")
    state = await handler.ctx.store.get_state()
    notes = {name: value for name, value in state.items() if name.startswith(CALL)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it leaves out the memory: we do not
        context = handler.ctx.to_dict(serializer=JsonSerializer())
    blob = {
        "v": 1,
        "user": await handler.ctx.store.get(OWNER, default=None),
        "waits": [note for note in notes.values() if not note.get("answered")],
        "memory": [message.model_dump(mode="json") for message in await memory.aget_all()],
        "context": context,
    }
    await handler.cancel_run()
    return json.dumps(blob)


async def resume_paused(agent: Any, blob: str, *, events: Iterable[type[Event]] = ()) -> Any:
    """Go on with a saved run; its handler. What was consented to or decided meanwhile wakes its call at once.

    ``events``: the host's own event classes, where its workflow has some. Raises `PolicyDenied` where the agent's tools
    are bound to another user than the run, `UserRequired` where they are bound to none.
    """
    saved = json.loads(blob)
    tool = _tool_of(agent)
    user = User.of(tool.user)
    if saved["user"] != [user.id, user.tenant]:
        raise PolicyDenied("This pause belongs to another user.", hint="Resume as the user who started it.")
    serializer = JsonSerializer(allowed_types=[*_known(), *events])
    waits = [note for note in saved["waits"] if note.keys() & {"consent", "approval"}]
    _waiting.difference_update(note["id"] for note in waits)
    handler = agent.run(ctx=Context.from_dict(agent, saved["context"], serializer=serializer))
    history = [ChatMessage.model_validate(message) for message in saved["memory"]]
    await handler.ctx.store.set("memory", ChatMemoryBuffer.from_defaults(chat_history=history))  # before run: lost
    await _registered({note["id"] for note in waits})
    for event in await _ended(tool.deputy, user, waits):
        handler.ctx.send_event(event)
    return handler


async def _registered(calls: set[str]) -> None:
    """Until restored calls wait again: before that, any event would do, and be lost."""
    for _ in range(round(PATIENCE / TICK)):
        if calls <= _waiting:
            break
        await asyncio.sleep(TICK)
    await asyncio.sleep(REGISTERED)


def _tool_of(agent: Any) -> ActTool:
    """One of our tools of this agent, or of its agents."""
    agents = agent.agents.values() if hasattr(agent, "agents") else [agent]
    for tool in [tool for one in agents for tool in one.tools or ()]:
        if isinstance(tool, ActTool):
            return tool
    raise UserRequired("This agent has no tool that acts as a user.")


def _known() -> list[type[Any]]:
    """The classes a saved run of LlamaIndex's agents may hold: no other one is imported."""
    theirs = [c for c in vars(workflow_events).values() if isinstance(c, type) and issubclass(c, Event)]
    thoughts: list[type[Any]] = [ActionReasoningStep, ObservationReasoningStep, ResponseReasoningStep]
    ours: list[type[Any]] = [ConsentRequest, ConsentDone, ApprovalRequest, ApprovalDone, Never]
    return list(dict.fromkeys([*theirs, *thoughts, *ours, ChatMessage, ToolOutput]))


async def _ended(deputy: Deputy, user: User, waits: Iterable[Mapping[str, str]]) -> list[Event]:
    """What these calls need not wait for any more: it was settled while nobody listened."""
    open_approvals = {approval.id for approval in await deputy.approvals.waiting(user)}
    events: dict[str, Event] = {}
    for note in waits:
        if approval := note.get("approval"):
            if approval not in open_approvals:
                events[approval] = ApprovalDone(approval_id=approval)
        elif consent := note.get("consent"):
            status = await deputy.consents.status(consent)
            if status is None or status.status != "pending":
                events[consent] = ConsentDone(consent_id=consent)
    return list(events.values())
