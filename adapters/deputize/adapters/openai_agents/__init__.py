"""OpenAI Agents SDK adapter: toolkits as `FunctionTool`s. A call that needs the user interrupts the run.

    from deputize.adapters.openai_agents import requests_in, settle, tools

    gmail = tools[Chat](deputy, "gmail", user=lambda ctx: ctx.context.user_id, thread=lambda ctx: ctx.context.chat_id)
    result = await Runner.run(Agent(name="mail", tools=gmail), "Tell Bob yes.", context=context)

    state = result.to_state()                          # or RunState.from_string(...), in another process
    asks = await requests_in(state)                       # to show the user: consents, then approvals
    await settle(state, {approval_id: "approve"})      # record decisions, and approve calls that nothing blocks
    result = await Runner.run(agent, state)

Neither a state nor ``state.approve`` proves anything: deputize reads the vault again, and a call resumed too early
reports to the model what is missing. `settle` leaves such a call waiting, so consent and approval are two rounds. A
decision counts for the run's user; another user's approval raises `PolicyDenied`. Use `settle` for rejections too:
``state.reject`` prevents the call, but leaves the user's request open.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, overload

from deputize.adapters.argument_checks import check_thread
from deputize.adapters.kit import (
    Kind,
    MessageOf,
    ToolRunner,
    UserOf,
    error_text,
    parse_decisions,
    question_id,
    request_payload,
    select_requests,
)
from deputize.adapters.media import Media
from deputize.adapters.releases import OPENAI_AGENTS, require
from deputize.core import (
    ApprovalPayload,
    Call,
    ConsentPayload,
    Decisions,
    DeputizeError,
    DeputyProtocol,
    InvalidInput,
    PolicyDenied,
    RequestPayload,
    SettingsError,
    Tool,
    User,
    system_prompt,
)

try:
    from agents import (
        FunctionTool,
        RunContextWrapper,
        RunState,
        ToolOutputFileContent,
        ToolOutputImage,
        ToolOutputText,
    )
    from agents import Tool as AgentTool
    from agents.tool_context import ToolContext

    from deputize.adapters.openai_agents.runs import TContext, ThreadOf, Waiting, identify_call, waiting_calls
except ImportError as missing:
    require(OPENAI_AGENTS)  # an old release lacks these imports
    raise SettingsError.without(missing, "openai-agents") from None

require(OPENAI_AGENTS)
__all__ = ["ActTool", "requests_in", "settle", "system_prompt", "tools"]
log = logging.getLogger(__name__)


class tools(list[AgentTool], Generic[TContext]):
    """The tools of these toolkits, a list of `FunctionTool`s. ``tools[Chat](...)``: for contexts of this class.

    ``toolkits``: names of toolkits, toolsets or tools, as in `Deputy.tools`. ``user``: the acting user, or a function
    of the run's `RunContextWrapper`. ``thread``: the conversation's id, such as its session's, or a function like
    ``user``. ``app``: the app through which the tools act, as in `Deputy.act`; all tools must be of its provider.
    ``read_only``: only tools that never change anything. ``defer_loading``: show a definition once the model has
    searched for it with the SDK's ``ToolSearchTool``; needs a Responses model that supports it. ``user_message``: a
    function of the run's context that returns what the user wrote for this turn; see
    `deputize.core.ask_unless_user_named`.
    """

    def __init__(
        self,
        deputy: DeputyProtocol,
        *toolkits: str,
        user: UserOf[RunContextWrapper[TContext]],
        thread: ThreadOf[TContext],
        agent: str = "",
        app: str = "",
        read_only: bool = False,
        defer_loading: bool = False,
        user_message: MessageOf[RunContextWrapper[TContext]] | None = None,
    ) -> None:
        runner = ToolRunner(deputy, user, agent, app, user_message)
        check_thread(thread)
        found = [_function_tool(tool, runner, thread) for tool in runner.tools(toolkits, read_only=read_only)]
        for tool in found:
            tool.defer_loading = defer_loading
        super().__init__(found)


@dataclass
class ActTool(FunctionTool):
    """One deputize tool as a `FunctionTool`."""

    runner: ToolRunner[Any] = field(kw_only=True, repr=False)
    thread: ThreadOf[Any] = field(kw_only=True, repr=False)


def _function_tool(tool: Tool, runner: ToolRunner[Any], thread: ThreadOf[Any]) -> ActTool:
    async def needs(ctx: RunContextWrapper[Any], arguments: dict[str, Any], call_id: str) -> bool:
        """Return whether the user must be asked first. The act itself reports any other error."""
        try:
            call = runner.add_message(identify_call(thread, ctx, ctx.turn_input, call_id), ctx)
            blocker = await runner.check_call((tool.name, arguments, call), runner.acting_user(ctx))
        except DeputizeError:
            return False
        return request_payload(blocker) is not None

    async def invoke(ctx: ToolContext[Any], arguments: str) -> Any:
        """Act as the user and return the result with its files, or a failure as text: the SDK would show exceptions to
        the model."""
        try:
            call = runner.add_message(identify_call(thread, ctx, ctx.turn_input, ctx.tool_call_id), ctx)
            user, kinds = runner.acting_user(ctx), ("image", "pdf")
            text, media = await runner.act_with_media(tool, _object(arguments), user, call, kinds)
            return [ToolOutputText(text=text), *map(_output, media)] if media else text
        except DeputizeError as error:
            return error_text(error)
        except Exception as error:
            log.warning("%s failed: %s", tool.name, type(error).__name__)
            return error_text(DeputizeError("The tool failed."))

    return ActTool(
        tool.name,
        tool.description,
        tool.schema,
        invoke,
        strict_json_schema=False,
        needs_approval=needs,
        runner=runner,
        thread=thread,
    )


def _output(one: Media) -> ToolOutputImage | ToolOutputFileContent:
    if one.kind == "image":
        return ToolOutputImage(image_url=one.url)
    return ToolOutputFileContent(file_data=one.url, filename=str(one.part.get("name")))


def _object(arguments: str) -> dict[str, Any]:
    """Return a call's arguments. Raises `InvalidInput` unless they are a JSON object."""
    try:
        given = json.loads(arguments or "{}")
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise InvalidInput("The arguments are not a JSON object.", hint="Correct them and call again.")
    return given


@dataclass(frozen=True)
class _Blocked:
    """A waiting deputize call, its user, and the error that blocks it."""

    waiting: Waiting
    runner: ToolRunner[Any]
    user: User
    blocker: DeputizeError | None


@overload
async def requests_in(state: RunState[Any, Any], kind: Literal["consent"]) -> list[ConsentPayload]: ...
@overload
async def requests_in(state: RunState[Any, Any], kind: Literal["approval"]) -> list[ApprovalPayload]: ...
@overload
async def requests_in(state: RunState[Any, Any], kind: None = None) -> list[RequestPayload]: ...
async def requests_in(state: RunState[Any, Any], kind: Kind | None = None) -> Any:
    """Return the requests that wait for the user, each once, in full: consents, then approvals.

    ``kind``: only consents, or only approvals. Raises `UserRequired` if the state's context names no user, and
    `InvalidInput` for another kind.
    """
    return select_requests(_asks(await _look(state), {}), kind)


async def settle(
    state: RunState[Any, Any], decisions: Decisions | None = None, *, reason: str = ""
) -> list[RequestPayload]:
    """Record the user's decisions, approve the calls that nothing blocks any more, and return the requests that still
    wait.

    ``decisions``, by approval id: ``"approve"``, ``"reject"``, or an `Edit`. Pass only decisions of the run's own user;
    without any, it only reads the vault again. Raises `InvalidInput` for a malformed decision, and `PolicyDenied` for
    another user's approval.
    """
    said = parse_decisions(decisions or {}, decisions or {}, reason)
    faults: dict[str, str] = {}
    before = await _look(state)
    whose = {one: await _find_asked_user(one, before) for one in said}  # check all before any is recorded
    for approval, (runner, user) in whose.items():
        faults[question_id(approval)] = await runner.record(said[approval], user)
    after = await _look(state) if said else before
    for each in after:
        if each.blocker is None or request_payload(each.blocker) is None:
            state.approve(each.waiting.item)  # the act itself reports anything else
    return select_requests(_asks(after, faults))


async def _find_asked_user(approval: str, waiting: list[_Blocked]) -> tuple[ToolRunner[Any], User]:
    """Return the user of this approval among those of waiting calls: agents of one run may act for different users."""
    for runner, user in dict.fromkeys((each.runner, each.user) for each in waiting):
        if await runner.deputy.get_approval(approval, by=user) is not None:
            return runner, user
    raise PolicyDenied("This approval belongs to another user.", hint="Resume as the user who was asked.")


def _asks(found: list[_Blocked], faults: Mapping[str, str]) -> list[RequestPayload]:
    asks = [ask for each in found if (ask := request_payload(each.blocker))]
    for ask in asks:
        if ask["type"] == "deputize.approval" and (fault := faults.get(question_id(ask["approval_id"]))):
            ask["fault"] = fault
    return asks


async def _look(state: RunState[Any, Any]) -> list[_Blocked]:
    """Return the waiting deputize calls and their blockers. Missing scopes at one provider share one consent."""
    found: list[_Blocked] = []
    together: dict[tuple[ToolRunner[Any], User], list[tuple[Waiting, ActTool]]] = {}
    for waiting in waiting_calls(state):
        for tool in waiting.item.agent.tools if waiting.item.agent else ():
            if isinstance(tool, ActTool) and tool.name == waiting.item.name:
                together.setdefault((tool.runner, tool.runner.acting_user(waiting.ctx)), []).append((waiting, tool))
    for (runner, user), calls in together.items():
        wanted = [(tool.name, _given(waiting), _call(tool, waiting)) for waiting, tool in calls]
        blockers = await runner.check_calls(wanted, user)
        found += [_Blocked(waiting, runner, user, b) for (waiting, _), b in zip(calls, blockers, strict=True)]
    return found


def _call(tool: ActTool, waiting: Waiting) -> Call:
    call = identify_call(tool.thread, waiting.ctx, waiting.given, waiting.call_id)
    return tool.runner.add_message(call, waiting.ctx)


def _given(waiting: Waiting) -> dict[str, Any]:
    """Return the call's arguments, or an empty dict if they are not JSON. The call itself reports that error."""
    try:
        return _object(waiting.item.arguments or "")
    except InvalidInput:
        return {}
