"""LangGraph: a drop-in for ``ToolNode`` that pauses the graph for consent and approval, and then acts as the user.

    builder.add_node("tools", act_node(deputy, "gmail", tools=[my_own_tool]))

Inside: gate -> wait -> gate -> tools. The gate looks at every call of the model's message and asks the vault; it has
effects but never pauses. A wait node pauses, once, and does nothing else, so that nothing is ever run twice; a run that
comes to it late, when all was decided, passes. A resume is a wake-up: the gate looks again. First one pause lists every
consent the message needs, then one every approval. What a resume value says of an approval is recorded as the resuming
user's decision; the recorded row counts. Where all calls only read and nothing is missing, the gate does it all, alone.

Writes keep the message's order. What needs no yes and stands before the first call that does is done before the user is
asked, who is so shown what the rest would do after it; writes at one provider are done one after another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict
from typing_extensions import TypedDict  # of the standard one pydantic makes no schema before Python 3.12

from deputize.adapters.host import REFUSED, Context, Who
from deputize.adapters.releases import LANGGRAPH, require
from deputize.core import (
    Approval,
    ApprovalRequired,
    Call,
    Conflict,
    Consent,
    ConsentRequired,
    Deputy,
    Effect,
    InvalidInput,
    NotFound,
    PolicyDenied,
    SettingsError,
    User,
)

try:
    from langchain_core.messages import AIMessage, AnyMessage, ToolCall, ToolMessage
    from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
    from langchain_core.tools import BaseTool
    from langgraph.errors import GraphInterrupt
    from langgraph.graph import END, START, StateGraph
    from langgraph.graph.message import add_messages
    from langgraph.graph.state import CompiledStateGraph
    from langgraph.prebuilt import ToolNode
    from langgraph.pregel import Pregel
    from langgraph.runtime import get_runtime
    from langgraph.types import Command, Interrupt, Send, interrupt

    from deputize.adapters.langchain import Host
    from deputize.adapters.langgraph_fast_path import First, Step, direct
except ImportError as missing:
    require(LANGGRAPH)  # an old release lacks what is imported here
    raise SettingsError.without(missing, "langgraph") from None

require(LANGGRAPH)
__all__ = ["WAKE", "Answers", "Context", "Edited", "act_node", "asked_of", "resume_when_done"]
Payload = dict[str, Any]


WAKE = {"description": "Anything: it wakes the graph and proves nothing."}
"""The schema of what a resume of a consent pause may hold."""


class Edited(BaseModel):
    """A yes with other arguments: all of them, as the tool's schema names them."""

    model_config = ConfigDict(extra="forbid")

    decision: Literal["edit"]
    arguments: dict[str, Any]


class Answers(BaseModel):
    """What a resume of an approval pause may hold: decisions by approval id. Without any it is only a wake-up."""

    model_config = ConfigDict(extra="allow")

    decisions: dict[str, Literal["approve", "reject"] | Edited] = {}
    reason: str = ""


class _Messages(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]


class _Task(TypedDict):
    """A call, and those that are done after it. ``back``: there is more to look at then."""

    call: ToolCall
    then: list[ToolCall]
    message: str
    user: str
    tenant: str
    back: bool


def act_node(
    deputy: Deputy,
    *toolkits: str,
    tools: Iterable[BaseTool | Callable[..., Any]] = (),
    user: Who = None,
    agent: str = "",
    user_from_configurable: bool = False,
    trust_client_context: bool = False,
    state_schema: type[Any] = _Messages,
) -> CompiledStateGraph[Any, Any, Any, Any]:
    """A node that answers every tool call of the last `AIMessage`: the toolkits' as the user, the host's ``tools`` too.

    ``state_schema``: the graph's own state, where the host's tools read more of it than ``messages``. The graph needs
    a checkpointer to be resumed. ``user``, ``user_from_configurable``, ``trust_client_context``: who acts, see
    `deputize.adapters.host`.
    """
    host = Host(deputy, user, agent, user_from_configurable, trust_client_context=trust_client_context)
    node = _ActNode(host, toolkits, ToolNode(list(tools)))
    return node.graph(state_schema)


class _ActNode:
    """The bodies of the nodes, each once, for sync and async graphs."""

    def __init__(self, host: Host, toolkits: tuple[str, ...], own: ToolNode) -> None:
        self.host, self.own = host, own
        found = host.deputy.tools(*toolkits)
        self.providers = {tool.name: tool.provider for tool in found}
        self.names = set(self.providers)
        self.reads = {tool.name for tool in found if tool.gravest is Effect.READS}

    def graph(self, schema: type[Any]) -> CompiledStateGraph[Any, Any, Any, Any]:
        """gate -> wait -> gate -> tools."""

        class State(schema):  # type: ignore[misc]
            deputize: Payload

        builder: StateGraph[Any, Any, Any, Any] = StateGraph(State, input_schema=schema, output_schema=_Messages)
        ways = ("wait_consent", "wait_approval", "act", "own_tools", END)
        builder.add_node("gate", self._both("gate", self.gate), destinations=ways)
        builder.add_node("wait_consent", self._both("wait_consent", self.wait_consent), destinations=("gate",))
        builder.add_node("wait_approval", self._both("wait_approval", self.wait_approval), destinations=("gate",))
        builder.add_node("act", self._both("act", self.act), destinations=("gate", END))
        builder.add_node("own_tools", self.own)
        builder.add_edge(START, "gate")
        return direct(builder.compile(name="act"), First(self.only_reads, self.at_once, self.at_once_now))

    def only_reads(self, given: Any) -> bool:
        """Whether the gate itself does all of it, if the user need not be asked: then nothing has to be kept before."""
        messages = given.get("messages") if isinstance(given, Mapping) else None
        last = messages[-1] if isinstance(messages, list) and messages else None
        calls = last.tool_calls if isinstance(last, AIMessage) and last.id else []
        return bool(calls) and all(call["name"] in self.reads for call in calls)

    async def at_once(self, given: Mapping[str, Any], config: RunnableConfig) -> Step:
        """The gate without a graph around it. A pause is left to the graph, whose gate looks again."""
        return await self._gate_alone(given, config, self._user(config))

    def at_once_now(self, given: Mapping[str, Any], config: RunnableConfig) -> Step:
        """See `at_once`; blocking."""
        return self.host.deputy.run(self._gate_alone(given, config, self._user(config)))

    async def _gate_alone(self, given: Mapping[str, Any], config: RunnableConfig, user: User | None) -> Step:
        seen = await self.gate({"messages": given["messages"]}, config, user)
        if not seen.update or seen.goto not in ("gate", END):
            return Step({}, whole=False)
        return Step({"messages": add_messages(given["messages"], seen.update["messages"])}, whole=seen.goto == END)

    def _both(self, name: str, body: Callable[..., Coroutine[Any, Any, Command[Any]]]) -> Runnable[Any, Any]:
        """A node's body for sync and async graphs alike."""

        async def awaited(given: Any, config: RunnableConfig) -> Command[Any]:
            return await body(given, config, self._user(config))

        def blocking(given: Any, config: RunnableConfig) -> Command[Any]:
            return self.host.deputy.run(body(given, config, self._user(config)))

        return RunnableLambda(blocking, afunc=awaited, name=name)

    def _user(self, config: RunnableConfig) -> User | None:
        return self.host.resuming_user(config, get_runtime())

    async def gate(self, state: Mapping[str, Any], config: RunnableConfig, user: User | None) -> Command[Any]:
        """Look what stands between each open call and its act: pause for it, refuse it, or let the calls run."""
        asked, calls = open_calls(state["messages"], config)
        wanted = [(c["name"], c["args"], where(config, asked, c)) for c in calls if c["name"] in self.names]
        if wanted and user is REFUSED:
            self.host.acting_user(config, get_runtime())  # raises, and says why
        approved = set[str]()
        blockers = iter(await self.host.deputy.prepare(wanted, user=user, agent=self.host.agent, approved=approved))
        asks: dict[str, dict[str, Payload]] = {"consent": {}, "approval": {}}
        faults = (state.get("deputize") or {}).get("faults", {})
        told: list[ToolMessage] = []
        ready: list[ToolCall] = []
        first: list[ToolCall] = []
        own: list[Send] = []
        for call in calls:
            if call["name"] not in self.names:
                own.append(Send("own_tools", [{**call, "type": "tool_call"}]))
            elif isinstance(blocker := next(blockers), ConsentRequired):
                asks["consent"][blocker.consent.id] = blocker.consent.payload()
            elif isinstance(blocker, ApprovalRequired):
                asks["approval"][blocker.approval.id] = asking_again(blocker.approval, faults)
            elif blocker is not None:
                told.append(self.host.failed(call["name"], str(call["id"]), blocker))
            else:
                ready.append(call)
                if not (asks["approval"] or call["name"] in self.reads or call["id"] in approved):
                    first.append(call)
        told_apart = len({call["id"] for call in calls}) == len(calls)  # else an answer now could be another call's
        if user and first and told_apart and asks["approval"] and not asks["consent"]:
            return Command(update={"messages": told, "deputize": {}}, goto=self._tasks(first, asked, user, back=True))
        for kind, waiting in asks.items():
            if waiting and user:
                pause = {"type": f"deputize.{kind}", "v": 1, f"{kind}s": list(waiting.values())}
                note = {"user": user.id, "tenant": user.tenant, "pause": pause}
                return Command(update={"deputize": note}, goto=f"wait_{kind}")
        if own or not user or not all(call["name"] in self.reads for call in ready):
            ours = self._tasks(ready, asked, user) if user else []
            return Command(update={"messages": told, "deputize": {}}, goto=[*ours, *own] or END)
        answers = (self._answered(call, config, asked, user) for call in ready)  # one step of a graph less
        done = await asyncio.gather(*answers)
        told += [message for message in done if message is not None]
        return Command(update={"messages": told, "deputize": {}}, goto="gate" if None in done else END)

    def _tasks(self, calls: Sequence[ToolCall], asked: str, user: User, *, back: bool = False) -> list[Send]:
        """What is done at the same time: each read, and the writes of each provider, in their order. In these the user
        is written down before anything is changed."""
        lanes: dict[str, list[ToolCall]] = {}
        for call in calls:
            lane = f"read {call['id']}" if call["name"] in self.reads else self.providers[call["name"]]
            lanes.setdefault(lane, []).append(call)
        whose = {"message": asked, "user": user.id, "tenant": user.tenant, "back": back}
        return [Send("act", {"call": one, "then": then, **whose}) for one, *then in lanes.values()]

    async def wait_consent(self, state: Mapping[str, Any], config: RunnableConfig, user: User | None) -> Command[Any]:
        """Pause until the user has been to the links. The answer proves nothing: the gate looks again."""
        note = state["deputize"]
        same_user(note, user)
        try:
            interrupt(note["pause"], response_schema=WAKE)
        except GraphInterrupt:
            if await self._pending(note["pause"]["consents"]):
                raise
        return Command(goto="gate")

    async def wait_approval(self, state: Mapping[str, Any], config: RunnableConfig, user: User | None) -> Command[Any]:
        """Pause until the user has decided. Decisions in the answer are recorded as the resuming user's.

        LangGraph keeps a stranger's answer and hands it to the next resume: after one, the approvals get new ids.
        """
        note = state["deputize"]
        try:
            who = same_user(note, user)
        except PolicyDenied:
            waiting = [ask["approval_id"] for ask in note["pause"]["approvals"]]
            await self.host.deputy.approvals.renew(waiting, User(note["user"], note["tenant"]))
            raise
        try:
            given = interrupt(note["pause"], response_schema=Answers)
        except GraphInterrupt:
            if await self._pending(note["pause"]["approvals"], who):
                raise
            return Command(goto="gate")
        faults = await record(self.host.deputy, given, who)
        return Command(update={"deputize": {**note, "faults": faults}}, goto="gate")

    async def _pending(self, asks: Sequence[Payload], who: User | None = None) -> bool:
        """Whether the user still has to answer one of these. Racing resumes leave pauses behind that are answered."""
        core = self.host.deputy
        for ask in asks:
            one: Consent | Approval | None
            if who is None:
                one = await core.consents.status(ask["consent_id"])
            else:
                one = await core.approvals.get(ask["approval_id"], by=who)
            if one is not None and one.status == "pending":
                return True
        return False

    async def act(self, task: _Task, config: RunnableConfig, user: User | None) -> Command[Any]:
        """Calls, one after another, as the user the gate saw. What was lost since then leads back to the gate."""
        who, told = same_user(task, user), list[ToolMessage]()
        for call in [task["call"], *task.get("then", ())]:
            message = await self._answered(call, config, task["message"], who)
            if message is None:
                return Command(update={"messages": told}, goto="gate")
            told.append(message)
        return Command(update={"messages": told}, goto="gate" if task.get("back") else END)

    async def _answered(self, call: ToolCall, config: RunnableConfig, asked: str, user: User) -> ToolMessage | None:
        """The call's answer; None where the user has to be asked after all."""
        message = await self.host.answer(call, where(config, asked, call), user)
        lost = message.status == "error" and isinstance(message.artifact, Mapping)
        return None if lost and message.artifact.keys() & {"consent", "approval"} else message


async def record(deputy: Deputy, given: Any, user: User | None) -> dict[str, str]:
    """Record the decisions that a resume value carries as this user's; what is wrong with edits, by approval id."""
    answers, faults = Answers.model_validate(given), dict[str, str]()
    for approval, said in answers.decisions.items():
        what, changed = (said.decision, said.arguments) if isinstance(said, Edited) else (said, None)
        with suppress(NotFound, Conflict):  # decided elsewhere, or too late: the row counts, the gate looks
            try:
                await deputy.decide(approval, what, by=user, reason=answers.reason, arguments=changed)
            except InvalidInput as wrong:  # an exception here would come again with every resume
                faults[approval] = str(wrong)
    return faults


def asking_again(approval: Approval, faults: Mapping[str, str]) -> Payload:
    """An approval for a pause, with what is wrong with the user's last edit of it."""
    fault = faults.get(approval.id)
    return approval.payload() | ({"fault": fault} if fault else {})


def same_user(note: Mapping[str, Any], user: User | None) -> User:
    """The user who began. Raises `PolicyDenied` for another one, and the pause stays open for the right one."""
    if user is None or (user.id, user.tenant) != (note.get("user"), note.get("tenant")):
        raise PolicyDenied("This pause belongs to another user.", hint="Resume as the user who started it.")
    return user


def open_calls(messages: Sequence[AnyMessage], config: RunnableConfig) -> tuple[str, list[ToolCall]]:
    """The id of the last message that asked for tools, and those of its calls that nobody has answered yet."""
    for index in range(len(messages) - 1, -1, -1):
        message = messages[index]
        if isinstance(message, AIMessage) and message.tool_calls:
            answered = {m.tool_call_id for m in messages[index:] if isinstance(m, ToolMessage)}
            return message.id or _task(config), [c for c in message.tool_calls if c["id"] not in answered]
    return "", []


def _task(config: RunnableConfig) -> str:
    """The task this node runs in: the same one in every re-run."""
    return str((config.get("configurable") or {}).get("checkpoint_ns", "")).split("|")[0]


def where(config: RunnableConfig, asked: str, call: ToolCall) -> Call:
    """Conversation, asking message and id of a call: with the tool and the user, what makes it the same act."""
    chosen = config.get("configurable") or {}
    run = str((config.get("metadata") or {}).get("run_id") or "")
    return Call(thread=str(chosen.get("thread_id") or ""), message=asked, id=str(call["id"] or ""), run=run)


def asked_of(interrupts: Iterable[Interrupt], kind: Literal["consent", "approval"]) -> list[Payload]:
    """The consents or approvals in these pauses, as their payloads."""
    pauses = [i.value for i in interrupts if isinstance(i.value, Mapping) and i.value.get("type") == f"deputize.{kind}"]
    return [dict(ask) for pause in pauses for ask in pause[f"{kind}s"]]


async def resume_when_done(
    deputy: Deputy,
    graph: Pregel[Any, Any, Any, Any],
    config: RunnableConfig,
    *,
    context: Any = None,
    seconds: float = 600.0,
    resume: Callable[[Command[Any]], Awaitable[Any]] | None = None,
) -> Any:
    """Wait until the consents a graph pauses for have ended, wherever that happens, and resume it.

    Returns what the graph returns; where nothing has ended after ``seconds``, it pauses again for the same consents.
    ``resume`` is called instead of the graph, for servers that queue their runs: with what to resume with.
    """
    pauses = (await graph.aget_state(config)).interrupts
    with suppress(NotFound):  # one was removed: the graph looks again
        await deputy.wait([ask["consent_id"] for ask in asked_of(pauses, "consent")], timeout=seconds)
    wake = {pause.id: {"wake": True} for pause in pauses if pause.value.get("type") == "deputize.consent"}
    if resume is not None:
        return await resume(Command(resume=wake))
    return await graph.ainvoke(Command(resume=wake), config, context=context)
