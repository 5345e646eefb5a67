"""LangGraph adapter: a ``ToolNode`` that pauses the graph for consent and approval, then acts as the user.

    builder.add_node("tools", act_node(deputy, "gmail", tools=[my_own_tool]))

Every call runs as in ``ToolNode``: callbacks, traces, injected state, commands, error handling. Before that, a gate
reads the vault and asks the user (`deputize.adapters.langgraph.approval_graph`). If all calls only read and no request
is missing, they run at once. Writes at one provider run one after another, in the order of the message.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from copy import copy
from typing import Any, TypedDict, cast

from typing_extensions import Unpack

from deputize.adapters.acting_user import Context, MessageSource, UserSource, field
from deputize.adapters.argument_checks import select_tools
from deputize.adapters.releases import LANGGRAPH, require, require_names
from deputize.core import DeputyProtocol, SettingsError, User, system_prompt

try:
    from langchain_core.messages import AIMessage, ToolCall
    from langchain_core.runnables import RunnableConfig, RunnableLambda
    from langchain_core.tools import BaseTool
    from langgraph.graph import END
    from langgraph.prebuilt import ToolNode
    from langgraph.runtime import Runtime, get_runtime
    from langgraph.types import Command, Send, StreamWriter

    from deputize.adapters.langchain.calls import answering_message
    from deputize.adapters.langchain.run_context import inputs_beside
    from deputize.adapters.langchain.tool import act_tool
    from deputize.adapters.langchain.tool_host import Host
    from deputize.adapters.langgraph.approval_graph import NOBODY, RETURNS, Gate, Graph, InterruptMode, State
    from deputize.adapters.langgraph.calls import latest_messages, open_calls
    from deputize.adapters.langgraph.human_in_the_loop import decisions_by_id
    from deputize.adapters.langgraph.inline_execution import LastReads, TaskLocation, reserve_graph_number
    from deputize.adapters.langgraph.interrupts import (
        RESUME,
        Answers,
        ApprovalPause,
        ConsentPause,
        Missing,
        missing_requests,
    )
    from deputize.adapters.langgraph.precheck import GO, Ahead, Findings, Lost, Output
    from deputize.adapters.langgraph.resume import requests_in, resume_when_done
    from deputize.adapters.langgraph.single_write import SingleWrite
    from deputize.adapters.langgraph.tool_batch import Task, ToolBatch, answering, current, flat
except ImportError as missing:
    require(LANGGRAPH)  # an old release lacks these imports
    raise SettingsError.without(missing, "langgraph") from None

require(LANGGRAPH)
require_names(
    "langgraph-prebuilt",
    LANGGRAPH,
    *((ToolNode, name) for name in ("_parse_input", "_extract_state", "_combine_tool_outputs", "_func", "_afunc")),
)
__all__ = ["RESUME", "ActNode", "Answers", "ApprovalPause", "ConsentPause", "Context", "act_node", "decisions_by_id"]
__all__ += ["requests_in", "resume_when_done", "system_prompt"]


class OfToolNode(TypedDict, total=False):
    """Arguments of ``ToolNode`` other than its tools."""

    name: str
    tags: list[str] | None
    handle_tool_errors: Any
    messages_key: str
    wrap_tool_call: Any
    awrap_tool_call: Any


def act_node(
    deputy: DeputyProtocol,
    *toolkits: str,
    tools: Iterable[BaseTool | Callable[..., Any]] = (),
    user: UserSource = None,
    agent: str = "",
    app: str = "",
    read_only: bool = False,
    user_from_configurable: bool = False,
    trust_client_context: bool = False,
    interrupt_mode: InterruptMode = "by_id",
    user_message: MessageSource | None = None,
    **of_tool_node: Unpack[OfToolNode],
) -> ActNode:
    """Return a ``ToolNode`` with the tools of these toolkits, which act as the user, and your own ``tools``.

    The graph needs a checkpointer to be resumed. ``toolkits``: names of toolkits, toolsets or tools, as in
    `Deputy.tools`. ``user``, ``user_from_configurable``, ``trust_client_context``: the acting user, see
    `deputize.adapters.acting_user`. ``app``: the app through which the tools act, as in `Deputy.act`; all tools must be
    of its provider. ``read_only``: use only tools of the toolkits that never change anything.
    ``interrupt_mode="hitl"``: pause in the format of LangChain's inboxes. ``user_message``: a function of the run that
    returns what the user wrote for this turn; see `deputize.core.ask_unless_user_named`. Other arguments go to
    ``ToolNode``: ``name``, ``tags``, ``handle_tool_errors``, ``messages_key``, ``wrap_tool_call``, ``awrap_tool_call``.
    Raises `SettingsError` if one of your tools has the name of a deputize tool.
    """
    of_run: dict[str, Any] = {"trust_client_context": trust_client_context, "user_message": user_message}
    host = Host(deputy, user, agent, user_from_configurable, app=app, **of_run)
    return ActNode(host, toolkits, tools, interrupt_mode, read_only, **of_tool_node)


class ActNode(ToolNode):
    """A ``ToolNode`` that acts as the user; see `act_node`."""

    def __init__(
        self,
        host: Host,
        toolkits: Sequence[str],
        tools: Iterable[BaseTool | Callable[..., Any]],
        mode: InterruptMode,
        read_only: bool = False,
        **of_tool_node: Unpack[OfToolNode],
    ) -> None:
        found = select_tools(host.deputy, toolkits, read_only=read_only, app=host.app)
        ours, theirs = [act_tool(tool, host) for tool in found], ToolNode(list(tools)).tools_by_name
        if clash := sorted(theirs.keys() & {tool.name for tool in ours}):
            raise SettingsError(
                f"A tool of your application has the name of a deputize tool: {clash[0]!r}.", hint="Rename it."
            )
        super().__init__([*ours, *theirs.values()], **of_tool_node)
        self._handles_errors = "handle_tool_errors" in of_tool_node
        self.host, self.gate = host, Gate(host, found, mode, self._beside)
        self.alone = SingleWrite(host, self.gate)
        self.last_reads = LastReads(frozenset(tool.name for tool in found if not callable(tool.needs)))
        act = RunnableLambda(self._act, afunc=self._aact, name="act")
        graph = self.gate.graph("act", self._tasks, act=act)

        def run(input: Any, config: RunnableConfig, runtime: Runtime[Any]) -> Any:
            return self._run(graph, input, config, runtime)

        async def arun(input: Any, config: RunnableConfig, runtime: Runtime[Any]) -> Any:
            return await self._arun(graph, input, config, runtime)

        self.func, self.afunc = run, arun  # LangGraph finds the inner graph in their closures

    def __deepcopy__(self, memo: Any) -> ActNode:
        """Return a new node with the same deputy."""
        return copy(self)

    def _run(self, graph: Graph, input: Any, config: RunnableConfig, runtime: Runtime[Any]) -> Any:
        turn, ahead = self._given(input, config, runtime.stream_writer), Ahead()
        if not self._has_ours(turn):
            return self._func(input, config, runtime)
        place = self._place(turn, config)
        if place and (place.pausing or not place.has_begun_now()):
            user = self.host.resuming_user(place.config, get_runtime())
            unknown = self._unknown(turn, user)
            ahead = self.host.deputy.run(self._look(turn, unknown, place, user)) if unknown else GO
            if ahead.go:
                with answering_message(turn.asked, self.host):
                    answers = flat(self._func(turn.input_of_all, place.config, runtime))
                if self._went(turn, user, answers):
                    return self._combine_tool_outputs(answers, turn.form)
        with answering(turn), ahead.known():
            inside = turn.inside(place.config if place else reserve_graph_number(config))
            done = graph.invoke({"messages": [*turn.tail]}, inside)
        return self._combine_tool_outputs(turn.ordered(done), turn.form)

    async def _arun(self, graph: Graph, input: Any, config: RunnableConfig, runtime: Runtime[Any]) -> Any:
        turn, ahead = self._given(input, config, runtime.stream_writer), Ahead()
        if not self._has_ours(turn):
            return await self._afunc(input, config, runtime)
        place = self._place(turn, config)
        if place and (place.pausing or not await place.has_begun()):
            user = self.host.resuming_user(place.config, get_runtime())
            unknown = self._unknown(turn, user)
            ahead = await self._look(turn, unknown, place, user) if unknown else GO
            if ahead.go:
                answers = await self._at_once(turn, place.config, runtime)
                if self._went(turn, user, answers):
                    return self._combine_tool_outputs(answers, turn.form)
        with answering(turn), ahead.known():
            inside = turn.inside(place.config if place else reserve_graph_number(config))
            done = await graph.ainvoke({"messages": [*turn.tail]}, inside)
        return self._combine_tool_outputs(turn.ordered(done), turn.form)

    async def _at_once(self, turn: ToolBatch, config: RunnableConfig, runtime: Runtime[Any]) -> list[Any]:
        """Run all calls at once. A single call needs its tool only, unless your application handles tool errors."""
        with answering_message(turn.asked, self.host):
            if len(turn.calls) > 1 or self._handles_errors:
                return flat(await self._afunc(turn.input_of_all, config, runtime))
            return [await self.tools_by_name[call["name"]].ainvoke(call, config) for call in turn.called]

    def _given(self, input: Any, config: RunnableConfig, writer: StreamWriter) -> ToolBatch:
        """Return the input of this run, parsed from each form that ``ToolNode`` accepts."""
        calls, form = self._parse_input(input)
        state = self._extract_state(input, config)
        messages = state if isinstance(state, list) else field(state, self._messages_key) or []
        tail = latest_messages(messages)
        asked, waiting = open_calls(tail, config)
        if form == "tool_calls":  # sent one by one: some calls of the last message
            tail, waiting = [AIMessage("", id=asked or None, tool_calls=calls)], calls
        return ToolBatch(waiting, form, state, tail, asked, config, writer)

    def _beside(self) -> Iterator[ToolCall]:
        """Yield the calls of the same message that other tasks of this node answer, as after a fan-out with `Send`."""
        turn = current.get()
        for input in inputs_beside(turn.config) if turn.asked else ():
            others: list[ToolCall] = []
            with suppress(Exception):  # an input that cannot be parsed: its own task raises
                other = self._given(input, turn.config, turn.writer)
                others = other.calls if other.asked == turn.asked else []
            yield from others

    def _has_ours(self, turn: ToolBatch) -> bool:
        return any(call["name"] in self.gate.providers for call in turn.calls)

    def _only_reads(self, turn: ToolBatch) -> bool:
        return all(call["name"] in self.gate.reads for call in turn.calls)

    def _place(self, turn: ToolBatch, config: RunnableConfig) -> TaskLocation | None:
        """Return the location of the inner graph if the graph may not be needed, else None.

        Reads may skip it, because they store no state before they are done, and so may a single write. A wrapper of
        your application may pause: then the graph must record who started the run, or any user could resume it.
        """
        if not turn.tail[0].id or self._wrap_tool_call or self._awrap_tool_call:
            return None
        if self._only_reads(turn):
            return TaskLocation.of(config)
        return TaskLocation.of(config, pausing=True) if len(turn.calls) == 1 and self.gate.mode == "by_id" else None

    def _unknown(self, turn: ToolBatch, user: User | None) -> Sequence[ToolCall]:
        """Return the calls to check before any call runs."""
        return self.last_reads.to_look_at(user, turn.calls) if self._only_reads(turn) else turn.calls

    async def _look(
        self, turn: ToolBatch, unknown: Sequence[ToolCall], place: TaskLocation, user: User | None
    ) -> Ahead:
        """Return whether all calls may run at once. Reads that are not in ``unknown`` count as checked."""
        names = {call["id"] for call in unknown}
        others = [Output(id=str(call["id"]), given=[]) for call in turn.calls if call["id"] not in names]
        with answering(turn):
            if not self._only_reads(turn):
                return await self.alone.settled(turn.tail, place, user)
            seen = await self.gate.look({"messages": [*turn.tail], "outputs": others}, place.config, user)
        return GO if len(seen.ready) == len(unknown) else Ahead()

    def _went(self, turn: ToolBatch, user: User | None, answers: Iterable[Any]) -> bool:
        """Return whether the calls that ran at once needed nothing from the user."""
        missing = bool(self._missing(answers))
        if self._only_reads(turn):
            self.last_reads.note(user, turn.calls, asked=missing)
        return not missing

    def _tasks(self, seen: Findings, calls: Sequence[ToolCall], state: State, *, back: bool) -> list[Send]:
        """Return the tasks that run at the same time: each read, each call of your own tools, and each provider's
        writes in order.

        Each task records its user before anything is changed.
        """
        lanes: dict[str, list[ToolCall]] = {}
        for call in calls:
            alone = call["name"] in self.gate.reads or call["name"] not in self.gate.providers
            lanes.setdefault(f"alone {call['id']}" if alone else self.gate.providers[call["name"]], []).append(call)
        user = seen.user or NOBODY
        whose = {"message": seen.asked, "user": user.id, "tenant": user.tenant, "lost": state.get("lost", [])}
        return [Send("act", {"call": one, "then": then, **whose, "back": back}) for one, *then in lanes.values()]

    def _act(self, task: Task, config: RunnableConfig) -> Command[Any]:
        self.host.deputy.run(self._goes_on(task, config))
        steps, given = self._steps(task), None
        config, runtime = current.get().heard(config)
        with answering_message(self._asking(task), self.host):
            while True:
                try:
                    one = steps.send(given)
                except StopIteration as ended:
                    return cast("Command[Any]", ended.value)
                given = self._func(one, config, runtime)

    async def _aact(self, task: Task, config: RunnableConfig) -> Command[Any]:
        await self._goes_on(task, config)
        steps, given = self._steps(task), None
        config, runtime = current.get().heard(config)
        with answering_message(self._asking(task), self.host):
            while True:
                try:
                    one = steps.send(given)
                except StopIteration as ended:
                    return cast("Command[Any]", ended.value)
                given = await self._afunc(one, config, runtime)

    def _asking(self, task: Task) -> str:
        """Return the message whose deputize calls this task runs, or "" for a call of your own tools."""
        return task["message"] if task["call"]["name"] in self.gate.providers else ""

    async def _goes_on(self, task: Task, config: RunnableConfig) -> None:
        if task["call"]["name"] in self.gate.providers:
            await self.gate.continue_run(self.host.resuming_user(config, get_runtime()), task, config)

    def _steps(self, task: Task) -> Generator[Any, Any, Command[Any]]:
        """Run calls one after another as the user whom the gate saw. A call that has lost its consent or approval
        returns to the gate."""
        outputs, turn = list[Output](), current.get()
        for call in [task["call"], *task["then"]]:
            answers, call_id = flat((yield turn.input_of_call(call))), str(call["id"])
            before = sum(lost["id"] == call_id for lost in task.get("lost", ()))
            if (missing := self._missing(answers)) and before < RETURNS:
                lost: Lost = {"id": call_id, "asks": missing}
                return Command(update={"outputs": outputs, "lost": [lost]}, goto="gate")
            outputs.append({"id": call_id, "given": answers})
        return Command(update={"outputs": outputs}, goto="gate" if task["back"] else END)

    def _missing(self, answers: Iterable[Any]) -> Missing:
        """Return the missing request that a deputize call reports, or an empty payload."""
        found = (missing_requests(one) for one in answers if getattr(one, "name", None) in self.gate.providers)
        return next((one for one in found if one), Missing())
