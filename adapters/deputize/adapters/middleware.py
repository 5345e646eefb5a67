"""Middleware for LangChain's ``create_agent``: it pauses for consent and for approval, each in a node of its own.

    from deputize.adapters.langchain import tools
    from deputize.adapters.middleware import ApprovalMiddleware, ConsentMiddleware

    create_agent(model, tools(deputy, "gmail"), middleware=[ApprovalMiddleware(deputy), ConsentMiddleware(deputy)])

Consent stands last in the list, since the hooks after a model run from last to first: nobody is asked to approve what
cannot happen. Each gate pauses once for all calls of the model's message, and asks the vault again when it wakes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, NotRequired

from deputize.adapters.host import Who
from deputize.adapters.releases import LANGGRAPH, require
from deputize.core import (
    Acting,
    ApprovalRequired,
    Call,
    ConsentRequired,
    DeputizeError,
    PolicyDenied,
    SettingsError,
    User,
    system_prompt,
)

try:
    from langchain.agents.middleware import AgentMiddleware, AgentState, ModelRequest
    from langchain.agents.middleware.types import PrivateStateAttr, ToolCallRequest
    from langchain_core.messages import SystemMessage, ToolMessage
    from langgraph.config import get_config
    from langgraph.runtime import get_runtime

    from deputize.adapters.langchain_calls import asked_by
    from deputize.adapters.langchain_host import Host
    from deputize.adapters.langgraph_calls import open_calls, where
    from deputize.adapters.langgraph_pauses import WAKE, Answers, Payload, asking_again, record, same_user, wait_for
except ImportError as missing:
    require(LANGGRAPH)  # an old release lacks what is imported here
    raise SettingsError.without(missing, "langchain") from None

require(LANGGRAPH)
__all__ = ["ApprovalMiddleware", "ConsentMiddleware"]


class _Owned(AgentState[Any]):
    deputize: NotRequired[Annotated[Payload, PrivateStateAttr]]


class _Gate(AgentMiddleware[Any, Any, Any]):
    """What both gates share: whose run it is, and what stands in the way of the calls a model asked for."""

    state_schema = _Owned
    kind: ClassVar[Literal["consent", "approval"]]
    answers: ClassVar[Any]

    def __init__(
        self,
        deputy: Acting,
        *,
        user: Who = None,
        agent: str = "",
        user_from_configurable: bool = False,
        trust_client_context: bool = False,
    ) -> None:
        super().__init__()
        self.host = Host(deputy, user, agent, user_from_configurable, trust_client_context=trust_client_context)
        _ = self._names  # looks for installed toolkits: here, and not on the event loop of a run

    @cached_property
    def _names(self) -> frozenset[str]:
        """The names of the deputy's tools; the agent's other tools are none of our business."""
        return frozenset(tool.name for tool in self.host.deputy.tools())

    def _user(self, runtime: Any) -> User | None:
        return self.host.resuming_user(get_config(), runtime)

    def before_agent(self, state: Any, runtime: Any) -> Payload | None:
        """Note who begins: nobody else may resume."""
        user = self._user(runtime)
        return {"deputize": {"user": user.id, "tenant": user.tenant} if user and user.id else {}}

    async def abefore_agent(self, state: Any, runtime: Any) -> Payload | None:
        """See `before_agent`."""
        return self.before_agent(state, runtime)

    def after_model(self, state: Any, runtime: Any) -> Payload | None:
        """Pause until nothing is left to ask of the user; then tell the model what is refused."""
        user, run = self._user(runtime), self.host.deputy.run
        blockers = run(self._blockers(state, user))
        faults: dict[str, str] = {}
        while asks := self._asks(blockers, faults):
            faults = run(self._record(self._pause(asks), user))
            blockers = run(self._blockers(state, user))
        return self._refused(blockers)

    async def aafter_model(self, state: Any, runtime: Any) -> Payload | None:
        """See `after_model`."""
        user = self._user(runtime)
        blockers = await self._blockers(state, user)
        faults: dict[str, str] = {}
        while asks := self._asks(blockers, faults):
            faults = await self._record(self._pause(asks), user)
            blockers = await self._blockers(state, user)
        return self._refused(blockers)

    async def _blockers(self, state: Any, user: User | None) -> list[tuple[Any, DeputizeError | None]]:
        """Our open calls, and what stands in the way of each. Raises `PolicyDenied` for another user's."""
        config = get_config()
        asked, calls = open_calls(state["messages"], config)
        ours = [call for call in calls if call["name"] in self._names]
        wanted = [(call["name"], call["args"], where(config, asked, call)) for call in ours]
        note = state.get("deputize") or {}
        try:
            who = same_user(note, user) if ours and (user or note) else user
        except PolicyDenied:
            await self._denied(wanted, User(note.get("user", ""), note.get("tenant", "")))
            self.host.acting_user(config, get_runtime())  # where the identity itself is refused, this says why
            raise
        blockers = await self.host.deputy.prepare(wanted, user=who, agent=self.host.agent)
        return list(zip(ours, blockers, strict=True))

    async def _denied(self, wanted: list[tuple[str, Any, Call]], owner: User) -> None:
        """LangGraph keeps a stranger's answer and hands it to the next resume: the approvals get new ids."""
        if owner.id:
            blockers = await self.host.deputy.prepare(wanted, user=owner, agent=self.host.agent)
            ids = [blocker.approval.id for blocker in blockers if isinstance(blocker, ApprovalRequired)]
            await self.host.deputy.renew(ids, user=owner)

    def _asks(self, blockers: list[tuple[Any, DeputizeError | None]], faults: Mapping[str, str]) -> dict[str, Payload]:
        """What to ask the user now, by id."""
        asks: dict[str, Payload] = {}
        for _, blocker in blockers:
            if self.kind == "consent" and isinstance(blocker, ConsentRequired):
                asks[blocker.consent.id] = blocker.consent.payload()
            if self.kind == "approval" and isinstance(blocker, ApprovalRequired):
                asks[blocker.approval.id] = asking_again(blocker.approval, faults)
        return asks

    def _pause(self, asks: Mapping[str, Payload]) -> Any:
        """One pause for all of it; what it was answered."""
        pause = {"type": f"deputize.{self.kind}", "v": 1, f"{self.kind}s": list(asks.values())}
        return wait_for(pause, self.answers)

    async def _record(self, answer: Any, user: User | None) -> dict[str, str]:
        """Of a consent's answer nothing is worth recording."""
        return {}

    def _refused(self, blockers: list[tuple[Any, DeputizeError | None]]) -> Payload | None:
        """The refusals that the model can read before tools run.

        LangChain takes a message for the answer to every call of its id: where several have one, each is refused by
        its own tool.
        """
        ids = Counter(call["id"] for call, _ in blockers)
        refusals: list[ToolMessage] = [
            self.host.failed(call["name"], str(call["id"]), blocker)
            for call, blocker in blockers
            if blocker is not None
            and not isinstance(blocker, ConsentRequired | ApprovalRequired)
            and ids[call["id"]] == 1
        ]
        return {"messages": refusals} if refusals else None

    def wrap_model_call(self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Any]) -> Any:
        """Tell the model what ``from_outside`` means, once, whatever the agent's system prompt is."""
        return handler(_told_of_outside(request))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[Any]]
    ) -> Any:
        """See `wrap_model_call`."""
        return await handler(_told_of_outside(request))

    def wrap_tool_call(self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Any]) -> Any:
        """The second look is the tool's own: it acts, or says what was lost since. Here it learns who asked."""
        if refused := self._not_theirs(request):
            return refused
        with asked_by(open_calls(request.state["messages"], get_config())[0]):
            return handler(request)

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[Any]]
    ) -> Any:
        """See `wrap_tool_call`."""
        if refused := self._not_theirs(request):
            return refused
        with asked_by(open_calls(request.state["messages"], get_config())[0]):
            return await handler(request)

    def _not_theirs(self, request: ToolCallRequest) -> ToolMessage | None:
        """The refusal of a call that another user let go on, at a pause of somebody else's."""
        call = request.tool_call
        user = self._user(request.runtime)
        if user and call["name"] in self._names:
            try:
                same_user(request.state.get("deputize") or {}, user)
            except DeputizeError as error:
                return self.host.failed(call["name"], str(call["id"]), error)
        return None


def _told_of_outside(request: ModelRequest[Any]) -> ModelRequest[Any]:
    """The request with the paragraph behind the system prompt, whose own parts stay as they are."""
    message = request.system_message or SystemMessage("")
    if system_prompt(message.text) == message.text:
        return request
    words = message.content
    told = system_prompt(words) if isinstance(words, str) else [*words, {"type": "text", "text": system_prompt()}]
    return request.override(system_message=SystemMessage(told))


class ConsentMiddleware(_Gate):
    """Pauses until the user has been to the links. The answer proves nothing: the vault is asked again."""

    kind = "consent"
    answers = WAKE


class ApprovalMiddleware(_Gate):
    """Pauses until the user has decided about every act that the policy wants approved."""

    kind = "approval"
    answers = Answers

    async def _record(self, answer: Any, user: User | None) -> dict[str, str]:
        return await record(self.host.deputy, answer, user)
