"""pydantic-ai adapter: toolkits as a toolset. A call that needs the user ends the run with a deferred request.

    from deputize.adapters.pydantic_ai import DeputyToolset

    gmail = DeputyToolset[Deps](deputy, "gmail", user=lambda ctx: ctx.deps.user_id)
    agent = Agent(model, toolsets=[gmail], output_type=[str, DeferredToolRequests])

A missing consent and a waiting approval are both entries of ``DeferredToolRequests.approvals``. pydantic-ai runs their
calls again when the run is resumed. `requests_in` returns the requests to display, `answers` returns the value to
resume with. An approved call only resumes: deputize reads the vault again and defers the call if a request is still
missing. A decision counts for the run's user if it names the approval that was displayed. A denied call is recorded as
a rejection. Resuming another user's calls raises `PolicyDenied`, and they stay open.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, Literal, NamedTuple, overload

from deputize.adapters.kit import (
    Decided,
    Decision,
    Kind,
    MessageOf,
    ToolRunner,
    UserOf,
    error_text,
    parse_decisions,
    request_payload,
    select_requests,
    tool_facts,
)
from deputize.adapters.releases import PYDANTIC_AI, require
from deputize.core import (
    ApprovalPayload,
    Call,
    ConsentPayload,
    Decisions,
    DeputizeError,
    DeputyProtocol,
    Effect,
    RequestPayload,
    SettingsError,
    Tool,
    User,
    system_prompt,
)

try:
    from pydantic_ai import ApprovalRequired, DeferredToolRequests, DeferredToolResults, RunContext, ToolApproved
    from pydantic_ai.exceptions import ToolFailed
    from pydantic_ai.messages import BinaryContent, InstructionPart, ModelResponse
    from pydantic_ai.tools import ToolDefinition
    from pydantic_ai.toolsets import AbstractToolset, ToolsetTool
    from pydantic_core import SchemaValidator, core_schema
    from typing_extensions import TypeVar

    from deputize.adapters.pydantic_ai.calls import (
        calls_of,
        claim,
        denied_approvals,
        identify_call,
        note_asked,
        response_of,
        shown_arguments,
    )
except ImportError as missing:
    require(PYDANTIC_AI)  # an old release lacks these imports
    raise SettingsError.without(missing, "pydantic-ai") from None

require(PYDANTIC_AI)
__all__ = ["DeputyToolset", "answers", "requests_in", "system_prompt"]

AgentDepsT = TypeVar("AgentDepsT", bound=Any, default=Any, contravariant=True)
"""The type of the agent's dependencies. It is ``Any`` unless your program names it: ``DeputyToolset[Deps](...)``."""

ARGUMENTS: Final = SchemaValidator(core_schema.dict_schema(core_schema.str_schema(), core_schema.any_schema()))
"""Any JSON object: the deputy validates it by the tool's own schema."""
KINDS: Final = ("image", "audio", "pdf")
"""The kinds of files that a tool of pydantic-ai may return. Its models adapt them to their API."""
ORIGIN: Final = "deputize"
"""The key in a tool's metadata for the id of its toolset and its own name, which an outer toolset may change."""


class DeputyToolset(AbstractToolset[AgentDepsT]):
    """The tools of these toolkits as a pydantic-ai toolset. Writes run one after another, in the order of the message.

    ``DeputyToolset[Deps](...)``: for agents with these dependencies.

    ``toolkits``: names of toolkits, toolsets or tools, as in `Deputy.tools`. ``user``: the acting user, or a function
    of the run's `RunContext`. ``app``: the app through which the tools act, as in `Deputy.act`; all tools must be of
    its provider. ``read_only``: only tools that never change anything. ``id``: the toolset's id, if an agent has two of
    the same toolkits. ``user_message``: a function of the run that returns what the user wrote for this turn; see
    `deputize.core.ask_unless_user_named`.
    """

    def __init__(
        self,
        deputy: DeputyProtocol,
        *toolkits: str,
        user: UserOf[RunContext[AgentDepsT]],
        agent: str = "",
        app: str = "",
        read_only: bool = False,
        id: str = "",
        user_message: MessageOf[RunContext[AgentDepsT]] | None = None,
    ) -> None:
        self.runner = ToolRunner(deputy, user, agent, app, user_message)
        self.tools = {tool.name: tool for tool in self.runner.tools(toolkits, read_only=read_only)}
        self._id = id or "-".join(("deputize", *toolkits, *filter(None, [app])))
        self._definitions = {name: _definition(tool, self._id) for name, tool in self.tools.items()}

    @property
    def id(self) -> str:
        """The id of the toolset; see `AbstractToolset`."""
        return self._id

    async def get_instructions(self, ctx: RunContext[AgentDepsT]) -> InstructionPart:
        """Return the explanation of ``untrusted`` for the model."""
        return InstructionPart(content=system_prompt())

    async def get_tools(self, ctx: RunContext[AgentDepsT]) -> dict[str, ToolsetTool[AgentDepsT]]:
        """Return the tools, after recording calls that the application has denied itself as the user's rejections."""
        response, approvals = denied_approvals(ctx)
        if approvals:
            user = self.runner.acting_user(ctx)
            claim(response, user)
            for approval in approvals:
                await self.runner.record(Decision(approval, "reject"), user)
        return {
            name: ToolsetTool(toolset=self, tool_def=defined, max_retries=ctx.max_retries, args_validator=ARGUMENTS)
            for name, defined in self._definitions.items()
        }

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[AgentDepsT], tool: ToolsetTool[AgentDepsT]
    ) -> Any:
        """Act as the user and return the result as text, followed by its files.

        Raises `ApprovalRequired` if the user must be asked, and `ToolFailed` for a failure. Raises `PolicyDenied` out
        of the run if its calls belong to another user.
        """
        try:
            user = self.runner.acting_user(ctx)
        except DeputizeError as error:
            raise ToolFailed(error_text(error)) from None
        response = response_of(ctx)
        claim(response, user)
        call = self.runner.add_message(identify_call(ctx, response, ctx.tool_call_id or ""), ctx)
        said = _read_decision(ctx, tool_args, response)
        given = shown_arguments(response, call.id) if said and said.decision == "edit" else tool_args
        fault = await self.runner.record(said, user) if said else ""
        try:
            blocker = await self._blocker(_Own(name, given, call), ctx, response, user, look=bool(fault))
            if blocker is None and not fault:
                text, media = await self.runner.act_with_media(self.tools[name], given, user, call, KINDS)
                files = [BinaryContent(one.content, media_type=one.mime) for one in media]
                return [text, *files] if files else text
        except DeputizeError as error:
            blocker = error
        if ask := request_payload(blocker, fault):
            note_asked(response, call.id, ask, given)
            raise ApprovalRequired({**ask})
        raise ToolFailed(error_text(blocker) if blocker else fault)

    async def _blocker(
        self, own: _Own, ctx: RunContext[Any], response: ModelResponse | None, user: User, *, look: bool
    ) -> DeputizeError | None:
        """Return the error that blocks the call, or None. The response's calls at one provider share their consent.

        Without ``look``, a single call is not checked, because the act itself reports missing requests.
        """
        beside = self._neighbours(own, ctx, response)
        if not beside and not look:
            return None
        return (await self.runner.check_calls([own], user, beside))[0]

    def _neighbours(self, own: _Own, ctx: RunContext[Any], response: ModelResponse | None) -> list[_Own]:
        """Return the response's other calls at the same provider.

        An outer toolset may have renamed the tools, but their definitions still contain this toolset's metadata. They
        may be copies: a toolset adds metadata of your application, or a durable workflow reads what it has stored.
        """
        calls, found = calls_of(response) if response else {}, list[_Own]()
        origins = {shown: (one.metadata or {}).get(ORIGIN) for shown, one in ctx.tools.items()}
        for call_id, part in calls.items():
            name = next((one for one in self.tools if origins.get(part.tool_name) == [self._id, one]), None)
            if name is None or call_id == own.call.id:
                continue
            if self.tools[name].provider == self.tools[own.tool].provider:
                with suppress(ValueError):  # not JSON: that call fails on its own
                    call = self.runner.add_message(identify_call(ctx, response, call_id), ctx)
                    found.append(_Own(name, part.args_as_dict(), call))
        return found


class _Own(NamedTuple):
    """A deputize call, as `DeputyProtocol.check_calls` takes it."""

    tool: str
    arguments: Mapping[str, Any]
    call: Call


def _read_decision(ctx: RunContext[Any], given: Mapping[str, Any], response: ModelResponse | None) -> Decision | None:
    """Return the decision in this call's metadata, or None if it only resumes.

    Changed arguments count only if the decision is an edit. An outer toolset may change the arguments of any call, and
    an approval of the displayed arguments does not cover them.
    """
    said = ctx.tool_call_metadata if ctx.tool_call_approved and response else None
    if not isinstance(said, Mapping) or not said.get("approval_id"):
        return None
    decision: Decided | None = said.get("decision")
    if decision not in ("approve", "reject", "edit"):
        return None
    arguments = dict(given) if decision == "edit" else None
    return Decision(str(said["approval_id"]), decision, arguments, str(said.get("reason") or ""))


@overload
def requests_in(requests: DeferredToolRequests, kind: Literal["consent"]) -> list[ConsentPayload]: ...
@overload
def requests_in(requests: DeferredToolRequests, kind: Literal["approval"]) -> list[ApprovalPayload]: ...
@overload
def requests_in(requests: DeferredToolRequests, kind: None = None) -> list[RequestPayload]: ...
def requests_in(requests: DeferredToolRequests, kind: Kind | None = None) -> Any:
    """Return the requests that wait for the user, each once, in full: consents, then approvals.

    ``kind``: only consents, or only approvals. Raises `InvalidInput` for another kind.
    """
    return select_requests((requests.metadata.get(call.tool_call_id) for call in requests.approvals), kind)


def answers(
    requests: DeferredToolRequests, decisions: Decisions | None = None, *, reason: str = ""
) -> DeferredToolResults:
    """Return the results that resume the run: a signal to read the vault again, and the user's decisions.

    ``decisions``, by approval id: ``"approve"``, ``"reject"``, or an `Edit`. Pass only decisions of the run's own user.
    A rejection is passed on like an approval, so that it is recorded; the model is told. Answer calls of other toolsets
    yourself: ``answers(...).update(others)``. Raises `InvalidInput` for a malformed decision, or for an approval that
    was not displayed.
    """
    said = parse_decisions(decisions or {}, [ask["approval_id"] for ask in requests_in(requests, "approval")], reason)
    results = DeferredToolResults()
    for part in requests.approvals:
        ask = requests.metadata.get(part.tool_call_id) or {}
        if not str(ask.get("type")).startswith("deputize."):
            continue
        one = said.get(str(ask.get("approval_id")))
        results.approvals[part.tool_call_id] = ToolApproved(
            override_args=dict(one.arguments) if one and one.arguments is not None else None
        )
        if one:
            told = {"approval_id": one.approval, "decision": one.decision, "reason": one.reason}
            results.metadata[part.tool_call_id] = told
    return results


def _definition(tool: Tool, toolset: str) -> ToolDefinition:
    """Return the tool's definition with deputize's own schema, unchanged."""
    return ToolDefinition(
        name=tool.name,
        description=tool.description,
        parameters_json_schema=tool.schema,
        sequential=tool.gravest is not Effect.READS,
        metadata=tool_facts(tool) | {ORIGIN: [toolset, tool.name]},
    )
