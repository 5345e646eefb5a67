"""The gate before acts, in a graph of its own: gate -> wait -> gate -> what was asked for, or the end.

The gate looks at every open call of a model's message and asks the vault; it has effects but never pauses. A wait node
pauses, once, and does nothing else, so that nothing is ever run twice; a run that comes to it late, when all was
decided, passes. A resume is a wake-up: the gate looks again. First one pause lists every consent the message needs,
then one every approval. What a resume value says of an approval is recorded as the resuming user's decision; the
recorded row counts.

What needs no yes and stands before the first call that does is done before the user is asked, who is so shown what the
rest would do after it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    NotRequired,  # of the standard one pydantic has no schema before Python 3.12
    Protocol,
    TypeAlias,
    get_args,
)

from langchain_core.messages import AnyMessage, ToolCall
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
from langgraph.errors import GraphInterrupt
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import get_runtime
from langgraph.types import Command, Send
from typing_extensions import TypedDict

from deputize.adapters.host import REFUSED
from deputize.adapters.langchain.run_context import refuse_cached
from deputize.adapters.langchain.tool_host import Host
from deputize.adapters.langgraph.calls import open_calls, where
from deputize.adapters.langgraph.human_in_the_loop import answers_to, as_hitl
from deputize.adapters.langgraph.interrupts import (
    ANYTHING,
    Answers,
    Payload,
    approval_ids_in,
    asking_again,
    record,
    rejections_in,
    same_user,
    stale_resume_marker,
    wait_for,
)
from deputize.adapters.langgraph.precheck import Ahead, Findings, Lost, Output
from deputize.adapters.langgraph.resume_scope import drop_kept_answer, forget_bare_resume
from deputize.core import (
    Approval,
    ApprovalRequired,
    Consent,
    ConsentRequired,
    Declined,
    Effect,
    InvalidInput,
    PolicyDenied,
    SettingsError,
    Tool,
    User,
)

__all__ = ["NOBODY", "RETURNS", "Acts", "Gate", "Graph", "InterruptMode", "State", "both"]

Graph = CompiledStateGraph[Any, Any, Any, Any]
NOBODY: Final = User("")
UNWANTED: Final = Declined("The user does not want to connect this now.")
InterruptMode: TypeAlias = Literal["by_id", "hitl"]
"""How a pause is shown and answered: by approval ids, or in the form of LangChain's inboxes, by position."""
RETURNS: Final = 6
"""How often a call may come back from its act, before its model is told what is missing: a foreign server may ask its
user five times."""


class _Given(TypedDict):
    messages: Annotated[list[AnyMessage], operator.add]
    """The model's message, and what has followed it."""
    lost: NotRequired[Annotated[list[Lost], operator.add]]


class _Done(TypedDict):
    outputs: Annotated[list[Output], operator.add]


class State(_Given, _Done, total=False):
    """The graph's own state. ``deputize``: whose pause it is, and for what."""

    deputize: Payload


class Acts(Protocol):
    """What goes on when the gate is open: where to, for calls that may run. ``back``: the gate looks again after."""

    def __call__(self, seen: Findings, calls: Sequence[ToolCall], state: State, *, back: bool) -> list[Send]:
        """The tasks."""
        ...


class Gate:
    """The gate of one list of tools: what it sees, how it waits, and the graph of both."""

    def __init__(self, host: Host, found: Sequence[Tool], mode: InterruptMode = "by_id") -> None:
        if mode not in get_args(InterruptMode):
            raise SettingsError(f"There is no interrupt_mode {mode!r}.", hint='It is "by_id" or "hitl".')
        self.host, self.mode = host, mode
        self.providers = {tool.name: tool.provider for tool in found}
        self.reads = frozenset(tool.name for tool in found if tool.gravest is Effect.READS)

    def graph(self, name: str, acts: Acts, **nodes: Runnable[Any, Any]) -> Graph:
        """gate -> wait -> gate -> ``nodes``, where ``acts`` sends what may run, or the end."""

        async def gate(state: State, config: RunnableConfig, user: User | None) -> Command[Any]:
            ahead = Ahead.taken()
            if ahead.faults:
                state = {**state, "deputize": {"faults": ahead.faults}}
            elif "user" in (note := state.get("deputize") or {}):
                await self.continue_run(user, note, config, approval_ids_in(note))
            seen = ahead.seen or await self.look(state, config, user)
            if seen.pause and self.mode == "hitl":
                await forget_bare_resume(config, heard=False)  # by position, and of a pause that was shown before
            return self._led(seen, state, acts, config)

        builder: StateGraph[Any, Any, Any, Any] = StateGraph(State, input_schema=_Given, output_schema=_Done)
        ways = ("wait_consent", "wait_approval", *nodes, END)
        builder.add_node("gate", both("gate", self.host, gate), destinations=ways)
        for wait in (self.wait_consent, self.wait_approval):
            builder.add_node(wait.__name__, both(wait.__name__, self.host, wait), destinations=("gate",))
        for one, node in nodes.items():
            builder.add_node(one, node, destinations=("gate", END))
        builder.add_edge(START, "gate")
        return builder.compile(name=name)

    def _led(self, seen: Findings, state: State, acts: Acts, config: RunnableConfig) -> Command[Any]:
        """Do what comes first, pause, or let the calls run."""
        if seen.first and seen.asks["approval"] and not seen.asks["consent"]:
            goto = acts(seen, seen.first, state, back=True)
            return Command(update={"outputs": seen.outputs, "deputize": {}}, goto=goto)
        if (pause := seen.pause) and seen.user:
            note = {"user": seen.user.id, "tenant": seen.user.tenant, "pause": pause} | stale_resume_marker(config)
            note |= {"refused": (state.get("deputize") or {}).get("refused", [])}
            return Command(update={"deputize": note}, goto=f"wait_{pause['type'].rpartition('.')[2]}")
        tasks = acts(seen, [*seen.ready, *seen.others], state, back=False)
        return Command(update={"outputs": seen.outputs, "deputize": {}}, goto=tasks or END)

    async def look(self, state: Mapping[str, Any], config: RunnableConfig, user: User | None) -> Findings:
        """Look what stands between each open call and its act. Raises `PolicyDenied` for a refused identity."""
        refuse_cached(config)
        asked, every = open_calls(state["messages"], config)
        done = {output["id"] for output in state.get("outputs", ())}
        calls = [call for call in every if call["id"] not in done]
        wanted = [(c["name"], c["args"], where(config, asked, c)) for c in calls if c["name"] in self.providers]
        if any(call["id"] is None and call["name"] in self.providers for call in calls):
            raise InvalidInput("A tool call has no id, so no message could answer it.", fix_by="operator")
        if wanted and user is REFUSED:
            self.host.acting_user(config, get_runtime())  # raises, and says why
        approved, note, seen = set[str](), state.get("deputize") or {}, Findings(asked, user)
        blockers = iter(await self.host.prepare(wanted, user, approved))
        for call in calls:
            if call["name"] not in self.providers:
                seen.others.append(call)
            elif isinstance(blocker := next(blockers), ConsentRequired):
                if blocker.consent.id in note.get("refused", ()):
                    seen.refuse(call, self.host.failed(call["name"], str(call["id"]), UNWANTED))
                    continue
                seen.asks["consent"][blocker.consent.id] = blocker.consent.payload()
            elif isinstance(blocker, ApprovalRequired):
                seen.asks["approval"][blocker.approval.id] = asking_again(blocker.approval, note.get("faults", {}))
            elif blocker is not None and not (user and isinstance(blocker, InvalidInput)):
                seen.refuse(call, self.host.failed(call["name"], str(call["id"]), blocker))
            else:  # wrong arguments, too: the tool itself says so, where callbacks and traces hear it
                seen.ready.append(call)
                if not (blocker or seen.asks["approval"] or call["name"] in self.reads or call["id"] in approved):
                    seen.first.append(call)
        if not user or len({call["id"] for call in calls}) < len(calls):
            seen.first = []  # of calls with one id, an answer now could be another call's
        elif lost := state.get("lost"):
            await self._add_lost(seen, lost, user)
        return seen

    async def _add_lost(self, seen: Findings, lost: Sequence[Lost], user: User) -> None:
        """What acts themselves asked for, if it is not yet answered."""
        for one in lost:
            for kind, ask in one["asks"].items():
                if await self._pending([ask], user if kind == "approval" else None):
                    seen.asks[kind].setdefault(ask[f"{kind}_id"], ask)

    async def wait_consent(self, state: Mapping[str, Any], config: RunnableConfig, user: User | None) -> Command[Any]:
        """Pause until the user has been to the links. The answer proves nothing: the gate looks again.

        Only by an inbox, which has no other way, can it say that the user does not want to connect.
        """
        note = state["deputize"]
        await self.heard_by(user, note, config)
        try:
            given = self._asked(note, ANYTHING)
        except GraphInterrupt:
            if await self._pending(note["pause"]["consents"]):
                raise
            return Command(goto="gate")
        if self.mode == "by_id" or not given["refused"]:
            return Command(goto="gate")
        refused = [*note.get("refused", ()), *given["refused"]]
        return Command(update={"deputize": {**note, "refused": refused}}, goto="gate")

    async def wait_approval(
        self, state: Mapping[str, Any], config: RunnableConfig, user: User | None, *, new: bool = False
    ) -> Command[Any]:
        """Pause until the user has decided. Decisions in the answer are recorded as the resuming user's. ``new``: it
        was asked a moment ago."""
        note = state["deputize"]
        asked = approval_ids_in(note)
        who = await self.heard_by(user, note, config, asked)
        await drop_kept_answer(config, None if self.mode == "hitl" else asked)  # an inbox's answers name no approval
        try:
            given = self._asked(note, Answers)
        except GraphInterrupt:
            if new or await self._pending(note["pause"]["approvals"], who):
                raise
            return Command(goto="gate")
        agreed, faults = await record(self.host.deputy, given, who)
        yes = agreed.issuperset(asked)
        return Command(update={"deputize": {**note, "faults": faults, "yes": yes}}, goto="gate")

    async def heard_by(
        self, user: User | None, note: Mapping[str, Any], config: RunnableConfig, asked: Sequence[str] = ()
    ) -> User:
        """The user who began, whose answer this is. Raises `PolicyDenied` for another one's.

        LangGraph keeps a stranger's answer and hands it to the next resume, so it is forgotten; where that fails, the
        approvals that were ``asked`` for get new ids. One by position is for the pause that was shown, and not kept for
        the next one.
        """
        who = await self.continue_run(user, note, config, asked)
        if self.mode == "hitl":
            await forget_bare_resume(config, heard=True)
        return who

    async def continue_run(
        self, user: User | None, note: Mapping[str, Any], config: RunnableConfig, asked: Sequence[str] = ()
    ) -> User:
        """The same where nothing else is heard: past a wait, where an earlier run may have failed. A no that this run
        came with is recorded wherever it goes on: it holds until the act has begun."""
        try:
            who = same_user(note, user)
        except PolicyDenied:
            forgotten = False
            try:
                forgotten = await forget_bare_resume(config, heard=False)
            finally:
                if asked and not forgotten:
                    await self.host.deputy.refresh_approval_ids(asked, user=User(note["user"], note["tenant"]))
            raise
        for no in rejections_in(config):
            await record(self.host.deputy, no, who)
        return who

    def _asked(self, note: Mapping[str, Any], schema: Any) -> Any:
        """Pause, in the form that this gate's clients know."""
        pause = note["pause"]
        return wait_for(as_hitl(pause), answers_to(pause)) if self.mode == "hitl" else wait_for(pause, schema, note)

    async def _pending(self, asks: Sequence[Payload], who: User | None = None) -> bool:
        """Whether the user still has to answer one of these. Racing resumes leave pauses behind that are answered."""
        for ask in asks:
            one: Consent | Approval | None
            if who is None:
                one = await self.host.deputy.get_consent(ask["consent_id"])
            else:
                one = await self.host.deputy.get_approval(ask["approval_id"], by=who)
            if one is not None and one.status == "pending":
                return True
        return False


def both(
    name: str, host: Host, body: Callable[[Any, RunnableConfig, User | None], Coroutine[Any, Any, Command[Any]]]
) -> Runnable[Any, Any]:
    """A node's body for sync and async graphs alike."""

    async def awaited(given: Any, config: RunnableConfig) -> Command[Any]:
        return await body(given, config, host.resuming_user(config, get_runtime()))

    def blocking(given: Any, config: RunnableConfig) -> Command[Any]:
        return host.deputy.run(body(given, config, host.resuming_user(config, get_runtime())))

    return RunnableLambda(blocking, afunc=awaited, name=name)
