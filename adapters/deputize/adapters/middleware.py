"""LangChain adapter for ``create_agent``: a middleware that adds the tools and asks for their consents and approvals.

    from deputize.adapters.middleware import DeputyMiddleware

    create_agent(model, middleware=[DeputyMiddleware(deputy, "gmail")])

After the model has called tools, one pause lists every missing consent, then one lists every approval. The pauses are
in a graph of their own (`deputize.adapters.langgraph.approval_graph`). So the order of middlewares does not matter, and
an answer to another middleware's question is never mistaken for an answer to deputize's. If another middleware edits a
call afterwards, the tool asks again when it runs. The agent's other tools are unchanged.
"""

from __future__ import annotations

import operator
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any, NotRequired

from deputize.adapters.acting_user import ContextT, MessageSource, UserSource
from deputize.adapters.argument_checks import select_tools
from deputize.adapters.releases import LANGGRAPH, require
from deputize.core import DeputizeError, DeputyProtocol, PolicyDenied, SettingsError, User

try:
    from langchain.agents.middleware import AgentMiddleware, AgentState, ModelRequest
    from langchain.agents.middleware.types import PrivateStateAttr, ToolCallRequest
    from langchain_core.messages import AIMessage, AnyMessage, ToolMessage
    from langchain_core.tools import BaseTool
    from langgraph.config import get_config
    from langgraph.runtime import get_runtime

    from deputize.adapters.langchain.calls import answering_message
    from deputize.adapters.langchain.model_request import add_untrusted_notice, use_strict_tools
    from deputize.adapters.langchain.tool import ActTool, act_tool
    from deputize.adapters.langchain.tool_host import Host
    from deputize.adapters.langchain.tool_search import SEARCH_TOOLS, ToolSearch
    from deputize.adapters.langgraph.approval_graph import RETURNS, Gate, InterruptMode, State
    from deputize.adapters.langgraph.calls import latest_messages, open_calls
    from deputize.adapters.langgraph.inline_execution import TaskLocation
    from deputize.adapters.langgraph.interrupts import Missing, Payload, missing_requests, same_user
    from deputize.adapters.langgraph.precheck import Findings, Output
except ImportError as missing:
    require(LANGGRAPH)  # an old release lacks these imports
    raise SettingsError.without(missing, "langchain") from None

require(LANGGRAPH)
__all__ = ["DeputyMiddleware"]


def __getattr__(name: str) -> Any:
    if name in ("ApprovalMiddleware", "ConsentMiddleware"):
        hint = "create_agent(model, middleware=[DeputyMiddleware(deputy, ...)]): it adds the tools, too."
        raise SettingsError(f"{name} was merged into DeputyMiddleware.", hint=hint)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class _Owned(AgentState[Any]):
    deputize: NotRequired[Annotated[Payload, PrivateStateAttr, operator.or_]]


class DeputyMiddleware(AgentMiddleware[Any, ContextT, Any]):
    """Middleware that adds tools which act as the user, and pauses for their consents and approvals.

    ``toolkits``: names of toolkits, toolsets or tools, as in `Deputy.tools`. ``user``, ``user_from_configurable``,
    ``trust_client_context``: the acting user, see `deputize.adapters.acting_user`. ``app``: the app through which the
    tools act, as in `Deputy.act`; all tools must be of its provider. ``read_only``: only tools that never change
    anything. ``interrupt_mode``: as in `act_node`. ``name``: the name of its nodes, if an agent has two of these
    middlewares. ``search``: show the model a search tool, the tools of ``always``, and those it has found; see
    `deputize.adapters.langchain.tool_search`. ``user_message``: a function of the run that returns what the user wrote
    for this turn; see `deputize.core.ask_unless_user_named`.
    """

    state_schema = _Owned

    def __init__(
        self,
        deputy: DeputyProtocol,
        *toolkits: str,
        user: UserSource[ContextT] = None,
        agent: str = "",
        app: str = "",
        read_only: bool = False,
        user_from_configurable: bool = False,
        trust_client_context: bool = False,
        interrupt_mode: InterruptMode = "by_id",
        name: str = "deputize",
        search: bool = False,
        always: Sequence[str] = (),
        user_message: MessageSource[ContextT] | None = None,
    ) -> None:
        super().__init__()
        of_run = trust_client_context, app, user_message
        self.host = Host(deputy, user, agent, user_from_configurable, None, None, *of_run)
        found = select_tools(deputy, toolkits, read_only=read_only, app=app)
        if always and not search:
            raise SettingsError("always= needs search=True: without it, all tools are bound.", hint="Pass both.")
        mine: list[BaseTool] = [act_tool(tool, self.host) for tool in found]
        self._mine = {tool.name: tool for tool in mine}
        self._name, self.gate = name, Gate(self.host, found, interrupt_mode)
        self.search = self._make_search(mine, always) if search else None
        self.tools = self.search.tools if self.search else mine
        self.asking = self.gate.graph(name, _no_tasks)

    @property
    def name(self) -> str:
        """The name of the middleware's nodes in the agent's graph."""
        return self._name

    def _make_search(self, mine: Sequence[BaseTool], always: Sequence[str]) -> ToolSearch:
        called = SEARCH_TOOLS if self._name == "deputize" else f"search_{self._name}_tools"
        return ToolSearch(self.host.deputy, mine, always=always, name=called)

    def before_agent(self, state: Any, runtime: Any) -> Payload | None:
        """Record the user who starts the run, because no other user may resume it."""
        return self._owner_state(self._user(runtime))

    async def abefore_agent(self, state: Any, runtime: Any) -> Payload | None:
        """Record the user, like `before_agent`."""
        return self.before_agent(state, runtime)

    def wrap_model_call(self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Any]) -> Any:
        """Add the explanation of ``untrusted`` to any system prompt, once."""
        return handler(self._prepare_request(request))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[Any]]
    ) -> Any:
        """Add the explanation, like `wrap_model_call`."""
        return await handler(self._prepare_request(request))

    def after_model(self, state: Any, runtime: Any) -> Payload | None:
        """Pause until no request is pending. Then tell the model which calls are refused."""
        if not (tail := self._latest_if_ours(state["messages"])):
            return None
        config, user, run = get_config(), self._user(runtime), self.host.deputy.run
        place = TaskLocation.of(config)
        begun = self._check_owner(state, user)
        if place and not place.has_begun_now():
            seen = run(self.gate.look({"messages": tail, "outputs": []}, config, user))
            if seen.pause is None:
                return begun | _refusals(tail, seen.outputs)
        asked = self.asking.invoke({"messages": tail}, place.config if place else config)
        return begun | _refusals(tail, asked["outputs"])

    async def aafter_model(self, state: Any, runtime: Any) -> Payload | None:
        """Pause, like `after_model`."""
        if not (tail := self._latest_if_ours(state["messages"])):
            return None
        config, user = get_config(), self._user(runtime)
        place = TaskLocation.of(config)
        begun = self._check_owner(state, user)
        if place and not await place.has_begun():
            seen = await self.gate.look({"messages": tail, "outputs": []}, config, user)
            if seen.pause is None:
                return begun | _refusals(tail, seen.outputs)
        asked = await self.asking.ainvoke({"messages": tail}, place.config if place else config)
        return begun | _refusals(tail, asked["outputs"])

    def wrap_tool_call(self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Any]) -> Any:
        """Run the tool. If a consent or approval was lost since, ask the user again."""
        if not self._is_mine(request.tool):
            return handler(request)
        if refused := self._refusal(request):
            for _ in range(RETURNS):
                self.asking.invoke(_lost_input(request, {}), get_config())  # raises at a pause, which its owner keeps
            return refused
        answer: Any = None
        with answering_message(open_calls(request.state["messages"], get_config())[0], self.host):
            for _ in range(RETURNS):
                answer = handler(request)
                if not (missing := missing_requests(answer)):
                    break
                self.asking.invoke(_lost_input(request, missing), get_config())
        return answer

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[Any]]
    ) -> Any:
        """Run the tool, like `wrap_tool_call`."""
        if not self._is_mine(request.tool):
            return await handler(request)
        if refused := self._refusal(request):
            for _ in range(RETURNS):
                await self.asking.ainvoke(_lost_input(request, {}), get_config())
            return refused
        answer: Any = None
        with answering_message(open_calls(request.state["messages"], get_config())[0], self.host):
            for _ in range(RETURNS):
                answer = await handler(request)
                if not (missing := missing_requests(answer)):
                    break
                await self.asking.ainvoke(_lost_input(request, missing), get_config())
        return answer

    def _user(self, runtime: Any) -> User | None:
        return self.host.resuming_user(get_config(), runtime)

    def _prepare_request(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        """Return the request as the model should see it.

        Raises `SettingsError` if a tool of your application has the name of one of deputize's tools.
        """
        for tool in request.tools:
            if not self._is_known(tool) and (name := getattr(tool, "name", "")) in {one.name for one in self.tools}:
                hint = "Rename it. Do not pass the deputy's tools to the agent: the middleware adds them."
                raise SettingsError(f"A tool of your application has the name of a deputize tool: {name!r}.", hint=hint)
        return use_strict_tools(add_untrusted_notice(self._limit_tools(request)))

    def _limit_tools(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        """Return the request with only the deputize tools that are always bound or that a search has found. Without
        tool search, all tools stay."""
        if self.search is None:
            return request
        names = self.search.names(request.state["messages"])
        shown = [tool for tool in request.tools if self._name_of_mine(tool) in (None, *names)]
        return request.override(tools=shown)

    def _name_of_mine(self, tool: Any) -> str | None:
        name = getattr(tool, "name", None)
        return name if name in self._mine else None

    def _is_known(self, tool: Any) -> bool:
        """Return whether a tool is a deputize tool, or a copy that another middleware has marked."""
        return any(tool is one for one in self.tools) or (isinstance(tool, ActTool) and tool.host is self.host)

    def _is_mine(self, tool: Any) -> bool:
        return tool is not None and self._mine.get(getattr(tool, "name", "")) is tool

    def _latest_if_ours(self, messages: Sequence[AnyMessage]) -> list[AnyMessage]:
        """Return the model's last message and the messages after it if it calls a deputize tool, else an empty list."""
        tail = list(latest_messages(messages))
        calls = tail[0].tool_calls if tail and isinstance(tail[0], AIMessage) else ()
        return tail if any(call["name"] in self.gate.providers for call in calls) else []

    def _owner_state(self, user: User | None) -> Payload:
        """Return the state that records who starts the run, under this name, because an agent may have two of these
        middlewares."""
        return {"deputize": {self._name: {"user": user.id, "tenant": user.tenant} if user and user.id else {}}}

    def _note(self, state: Mapping[str, Any]) -> Payload | None:
        """Return the recorded user who started the run: empty for no user, None if `before_agent` has not run."""
        found = (state.get("deputize") or {}).get(self._name)
        return dict(found) if isinstance(found, Mapping) else None

    def _check_owner(self, state: Any, user: User | None) -> Payload:
        """Return the user who starts the run if another middleware skipped `before_agent`, else an empty update.

        Raises `PolicyDenied` for another user than the one who started.
        """
        if (note := self._note(state)) is None:
            return self._owner_state(user)  # a deputize pause has its own record of the owner
        if not note and not user:
            return {}
        try:
            same_user(note, user)
        except PolicyDenied:
            self.host.acting_user(get_config(), get_runtime())  # raises the reason if the identity itself is refused
            raise
        return {}

    def _refusal(self, request: ToolCallRequest) -> ToolMessage | None:
        """Return the refusal if another user, or no user, resumed this call past its owner's pause, else None."""
        call, note, user = request.tool_call, self._note(request.state) or {}, self._user(request.runtime)
        if note or user:
            try:
                same_user(note, user)
            except DeputizeError as error:
                return self.host.error_message(call["name"], str(call["id"]), error)
        return None


def _no_tasks(seen: Findings, calls: Any, state: State, *, back: bool) -> list[Any]:
    """Return no tasks, because the agent itself runs the tools."""
    return []


def _lost_input(request: ToolCallRequest, missing: Missing) -> Payload:
    """Return the gate's input for a tool that ran and reported a missing request."""
    return {"messages": [], "lost": [{"id": str(request.tool_call["id"]), "asks": missing}]}


def _refusals(tail: Sequence[AnyMessage], outputs: Sequence[Output]) -> Payload:
    """Return the refusals that the model can read before tools run.

    LangChain treats a message as the answer to every call with its id. If several calls share an id, each tool refuses
    its own call.
    """
    ids = [call["id"] for call in tail[0].tool_calls] if isinstance(tail[0], AIMessage) else []
    messages = [one for output in outputs if ids.count(output["id"]) == 1 for one in output["given"]]
    return {"messages": messages} if messages else {}
