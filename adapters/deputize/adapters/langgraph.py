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
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Annotated, Any

from typing_extensions import TypedDict  # of the standard one pydantic makes no schema before Python 3.12

from deputize.adapters.host import REFUSED, Context, Who
from deputize.adapters.releases import LANGGRAPH, require
from deputize.core import (
    Acting,
    Approval,
    ApprovalRequired,
    Consent,
    ConsentRequired,
    Effect,
    PolicyDenied,
    SettingsError,
    User,
    system_prompt,
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
    from langgraph.runtime import get_runtime
    from langgraph.types import Command, Send

    from deputize.adapters.human_in_the_loop import decisions_by_id
    from deputize.adapters.langchain_host import Host
    from deputize.adapters.langgraph_calls import open_calls, where
    from deputize.adapters.langgraph_fast_path import First, Step, direct
    from deputize.adapters.langgraph_pauses import (
        WAKE,
        Answers,
        Edited,
        Payload,
        asked_of,
        asking_again,
        record,
        resume_when_done,
        same_user,
        wait_for,
    )
except ImportError as missing:
    require(LANGGRAPH)  # an old release lacks what is imported here
    raise SettingsError.without(missing, "langgraph") from None

require(LANGGRAPH)
__all__ = ["WAKE", "Answers", "Context", "Edited", "act_node", "asked_of", "decisions_by_id", "resume_when_done"]
__all__ += ["system_prompt"]


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
    deputy: Acting,
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
        replies: list[ToolMessage] = []
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
                replies.append(self.host.failed(call["name"], str(call["id"]), blocker))
            else:
                ready.append(call)
                if not (asks["approval"] or call["name"] in self.reads or call["id"] in approved):
                    first.append(call)
        ids_differ = len({call["id"] for call in calls}) == len(calls)  # else an answer now could be another call's
        if user and first and ids_differ and asks["approval"] and not asks["consent"]:
            return Command(
                update={"messages": replies, "deputize": {}}, goto=self._tasks(first, asked, user, back=True)
            )
        for kind, waiting in asks.items():
            if waiting and user:
                pause = {"type": f"deputize.{kind}", "v": 1, f"{kind}s": list(waiting.values())}
                note = {"user": user.id, "tenant": user.tenant, "pause": pause}
                return Command(update={"deputize": note}, goto=f"wait_{kind}")
        if own or not user or not all(call["name"] in self.reads for call in ready):
            ours = self._tasks(ready, asked, user) if user else []
            return Command(update={"messages": replies, "deputize": {}}, goto=[*ours, *own] or END)
        answers = (self._answered(call, config, asked, user) for call in ready)  # one step of a graph less
        done = await asyncio.gather(*answers)
        replies += [message for message in done if message is not None]
        return Command(update={"messages": replies, "deputize": {}}, goto="gate" if None in done else END)

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
            wait_for(note["pause"], WAKE)
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
            await self.host.deputy.renew(waiting, user=User(note["user"], note["tenant"]))
            raise
        try:
            given = wait_for(note["pause"], Answers)
        except GraphInterrupt:
            if await self._pending(note["pause"]["approvals"], who):
                raise
            return Command(goto="gate")
        faults = await record(self.host.deputy, given, who)
        return Command(update={"deputize": {**note, "faults": faults}}, goto="gate")

    async def _pending(self, asks: Sequence[Payload], who: User | None = None) -> bool:
        """Whether the user still has to answer one of these. Racing resumes leave pauses behind that are answered."""
        for ask in asks:
            one: Consent | Approval | None
            if who is None:
                one = await self.host.deputy.consent(ask["consent_id"])
            else:
                one = await self.host.deputy.approval(ask["approval_id"], by=who)
            if one is not None and one.status == "pending":
                return True
        return False

    async def act(self, task: _Task, config: RunnableConfig, user: User | None) -> Command[Any]:
        """Calls, one after another, as the user the gate saw. What was lost since then leads back to the gate."""
        who, replies = same_user(task, user), list[ToolMessage]()
        for call in [task["call"], *task.get("then", ())]:
            message = await self._answered(call, config, task["message"], who)
            if message is None:
                return Command(update={"messages": replies}, goto="gate")
            replies.append(message)
        return Command(update={"messages": replies}, goto="gate" if task.get("back") else END)

    async def _answered(self, call: ToolCall, config: RunnableConfig, asked: str, user: User) -> ToolMessage | None:
        """The call's answer; None where the user has to be asked after all."""
        message = await self.host.answer(call, where(config, asked, call), user)
        lost = message.status == "error" and isinstance(message.artifact, Mapping)
        return None if lost and message.artifact.keys() & {"consent", "approval"} else message
