"""The gate before acts, as a graph of its own: gate -> wait -> gate -> calls, or the end.

The gate checks every open call of a model's message against the vault; it has effects but never pauses. A wait node
only pauses, once, so nothing runs twice; a run that arrives after the decision passes. A resume is a signal: the gate
checks again. The first pause lists every consent that the message needs, the next one every approval. Decisions in a
resume value are stored as the resuming user's, and only the stored decision counts.

Calls that precede the first one that needs an approval run before the user is asked. The user then sees the effect of
the remaining calls after those.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    NotRequired,  # pydantic has no schema for the standard TypedDict before Python 3.12
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

from deputize.adapters.acting_user import REFUSED
from deputize.adapters.langchain.run_context import refuse_cached, run_of
from deputize.adapters.langchain.tool_host import Host, ToolCallOf
from deputize.adapters.langgraph.calls import identify_call, open_calls
from deputize.adapters.langgraph.human_in_the_loop import answers_to, as_hitl
from deputize.adapters.langgraph.interrupts import (
    ANYTHING,
    MADE_IN,
    Answers,
    Payload,
    approval_ids_in,
    approval_payload,
    drop_kept_answer,
    record,
    rejections_in,
    same_user,
    wait_for,
)
from deputize.adapters.langgraph.precheck import Ahead, Findings, Lost, Output
from deputize.core import (
    Approval,
    ApprovalRequired,
    Consent,
    ConsentRequired,
    Declined,
    Effect,
    InvalidInput,
    SettingsError,
    Tool,
    User,
)

__all__ = ["NOBODY", "RETURNS", "Acts", "Gate", "Graph", "InterruptMode", "State", "both"]

Graph = CompiledStateGraph[Any, Any, Any, Any]
NOBODY: Final = User("")
UNWANTED: Final = Declined("The user does not want to connect this now.")
InterruptMode: TypeAlias = Literal["by_id", "hitl"]
"""How a pause is shown and answered: by approval id, or by position in the format of LangChain's inboxes."""
RETURNS: Final = 6
"""How often a call may return from its act before the model is told what is missing: a foreign server may ask its user
five times."""


class _Given(TypedDict):
    messages: Annotated[list[AnyMessage], operator.add]
    """The model's message, and the messages after it."""
    lost: NotRequired[Annotated[list[Lost], operator.add]]


class _Done(TypedDict):
    outputs: Annotated[list[Output], operator.add]


class State(_Given, _Done, total=False):
    """The graph's own state. ``deputize``: the pause and its owner."""

    deputize: Payload


class Acts(Protocol):
    """A function that returns the next tasks for calls that may run. ``back``: the gate checks again afterwards."""

    def __call__(self, seen: Findings, calls: Sequence[ToolCall], state: State, *, back: bool) -> list[Send]:
        """Return the tasks."""
        ...


class Gate:
    """The approval graph of one list of tools, with the functions that check calls and pause for the user."""

    def __init__(
        self,
        host: Host,
        found: Sequence[Tool],
        mode: InterruptMode = "by_id",
        beside: Callable[[], Iterable[ToolCall]] = tuple,
    ) -> None:
        """``beside``: returns the other calls of the message that another run of this gate checks."""
        if mode not in get_args(InterruptMode):
            raise SettingsError(f"interrupt_mode={mode!r} does not exist.", hint='Pass "by_id" or "hitl".')
        self.host, self.mode, self.beside = host, mode, beside
        self.providers = {tool.name: tool.provider for tool in found}
        self.reads = frozenset(tool.name for tool in found if tool.gravest is Effect.READS)

    def graph(self, name: str, acts: Acts, **nodes: Runnable[Any, Any]) -> Graph:
        """Return the graph gate -> wait -> gate -> ``nodes`` or end. ``acts`` sends the calls that may run."""

        async def gate(state: State, config: RunnableConfig, user: User | None) -> Command[Any]:
            ahead = Ahead.taken()
            if ahead.faults:
                state = {**state, "deputize": {"faults": ahead.faults}}
            elif "user" in (note := state.get("deputize") or {}):
                await self.continue_run(user, note, config)
            seen = ahead.seen or await self.look(state, config, user)
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
        """Return the next step: run the first calls, pause, or run all calls."""
        if seen.first and seen.approvals and not seen.consents:
            goto = acts(seen, seen.first, state, back=True)
            return Command(update={"outputs": seen.outputs, "deputize": {}}, goto=goto)
        if (pause := seen.pause) and seen.user:
            note = {"user": seen.user.id, "tenant": seen.user.tenant, "pause": pause, MADE_IN: run_of(config)}
            note |= {"refused": (state.get("deputize") or {}).get("refused", [])}
            return Command(update={"deputize": note}, goto=f"wait_{pause['type'].rpartition('.')[2]}")
        tasks = acts(seen, [*seen.ready, *seen.others], state, back=False)
        return Command(update={"outputs": seen.outputs, "deputize": {}}, goto=tasks or END)

    async def look(self, state: Mapping[str, Any], config: RunnableConfig, user: User | None) -> Findings:
        """Check each open call of the message. Raises `PolicyDenied` for a refused identity."""
        refuse_cached(config)
        asked, every = open_calls(state["messages"], config)
        done = {output["id"] for output in state.get("outputs", ())}
        calls = [call for call in every if call["id"] not in done]
        wanted = [*self._to_check(asked, calls, config)]
        if any(call["id"] is None and call["name"] in self.providers for call in calls):
            raise InvalidInput("A tool call has no id, so no message could answer it.", fix_by="operator")
        if wanted and user is REFUSED:
            self.host.acting_user(config, get_runtime())  # raises with the reason
        approved, note, seen = set[str](), state.get("deputize") or {}, Findings(asked, user)
        beside = self._to_check(asked, self.beside(), config)
        blockers = iter(await self.host.check_calls(wanted, user, approved, beside))
        for call in calls:
            if call["name"] not in self.providers:
                seen.others.append(call)
                continue
            blocker = next(blockers)
            if isinstance(blocker, ConsentRequired | ApprovalRequired) and blocker.unattended:
                seen.refuse(call, self.host.error_message(call["name"], str(call["id"]), blocker))
            elif isinstance(blocker, ConsentRequired):
                if blocker.consent.id in note.get("refused", ()):
                    seen.refuse(call, self.host.error_message(call["name"], str(call["id"]), UNWANTED))
                    continue
                seen.consents[blocker.consent.id] = blocker.consent.payload()
            elif isinstance(blocker, ApprovalRequired):
                seen.approvals[blocker.approval.id] = approval_payload(blocker.approval, note.get("faults", {}))
            elif blocker is not None and not (user and isinstance(blocker, InvalidInput)):
                seen.refuse(call, self.host.error_message(call["name"], str(call["id"]), blocker))
            else:  # the tool itself reports wrong arguments, so callbacks and traces see them
                seen.ready.append(call)
                if not (blocker or seen.approvals or call["name"] in self.reads or call["id"] in approved):
                    seen.first.append(call)
        if not user or len({call["id"] for call in calls}) < len(calls):
            seen.first = []  # with equal ids, an answer could belong to another call
        elif lost := state.get("lost"):
            await self._add_lost(seen, lost, user)
        return seen

    def _to_check(self, asked: str, calls: Iterable[ToolCall], config: RunnableConfig) -> Iterator[ToolCallOf]:
        """Yield the calls of deputize's tools, as `Host.check_calls` takes them."""
        for one in calls:
            if one["name"] in self.providers:
                call = self.host.add_message(identify_call(config, asked, one), config, get_runtime)
                yield one["name"], one["args"], call

    async def _add_lost(self, seen: Findings, lost: Sequence[Lost], user: User) -> None:
        """Add the requests that acts themselves raised and that are still pending."""
        for one in lost:
            asks = one["asks"]
            if "consent" in asks and await self._pending([asks["consent"]]):
                seen.consents.setdefault(asks["consent"]["consent_id"], asks["consent"])
            if "approval" in asks and await self._pending([asks["approval"]], user):
                seen.approvals.setdefault(asks["approval"]["approval_id"], asks["approval"])

    async def wait_consent(self, state: Mapping[str, Any], config: RunnableConfig, user: User | None) -> Command[Any]:
        """Pause until the user has opened the links. The resume value proves nothing: the gate checks again.

        Only an inbox's answer can refuse a consent, because an inbox has no other way.
        """
        note = state["deputize"]
        await self.continue_run(user, note, config)
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
        """Pause until the user has decided. Record decisions as the resuming user's. ``new``: requested just now."""
        note = state["deputize"]
        asked = approval_ids_in(note)
        who = await self.continue_run(user, note, config)
        drop_kept_answer(config, None if self.mode == "hitl" else asked)  # inbox answers name no approval
        try:
            given = self._asked(note, Answers)
        except GraphInterrupt:
            if new or await self._pending(note["pause"]["approvals"], who):
                raise
            return Command(goto="gate")
        agreed, faults = await record(self.host.deputy, given, who)
        yes = agreed.issuperset(asked)
        return Command(update={"deputize": {**note, "faults": faults, "yes": yes}}, goto="gate")

    async def continue_run(self, user: User | None, note: Mapping[str, Any], config: RunnableConfig) -> User:
        """Return the user who started the run. Raises `PolicyDenied` for another user.

        A rejection in this run's resume value is always recorded, because it counts until the act has started, and an
        earlier run may have failed before it read the answer.
        """
        who = same_user(note, user)
        for no in rejections_in(config):
            await record(self.host.deputy, no, who)
        return who

    def _asked(self, note: Mapping[str, Any], schema: Any) -> Any:
        """Pause in the format of this gate's clients, and return the answer."""
        pause = note["pause"]
        shown, schema = (as_hitl(pause), answers_to(pause)) if self.mode == "hitl" else (pause, schema)
        return wait_for(shown, schema, note)

    async def _pending(self, asks: Sequence[Any], who: User | None = None) -> bool:
        """Return whether one of these requests is still pending as it was shown. Concurrent resumes leave answered
        pauses behind."""
        for ask in asks:
            one: Consent | Approval | None
            if who is None:
                one = await self.host.deputy.get_consent(ask["consent_id"])
            else:
                one = await self.host.deputy.get_approval(ask["approval_id"], by=who)
            asked = ask["consent_id"] if who is None else ask["approval_id"]
            if one is not None and (one.status, one.id) == ("pending", asked):
                return True
        return False


def both(
    name: str, host: Host, body: Callable[[Any, RunnableConfig, User | None], Coroutine[Any, Any, Command[Any]]]
) -> Runnable[Any, Any]:
    """Return a node with this body, for sync and async graphs."""

    async def awaited(given: Any, config: RunnableConfig) -> Command[Any]:
        return await body(given, config, host.resuming_user(config, get_runtime()))

    def blocking(given: Any, config: RunnableConfig) -> Command[Any]:
        return host.deputy.run(body(given, config, host.resuming_user(config, get_runtime())))

    return RunnableLambda(blocking, afunc=awaited, name=name)
