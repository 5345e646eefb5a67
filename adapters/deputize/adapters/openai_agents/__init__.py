"""OpenAI Agents SDK: toolkits as `FunctionTool`s; a call that needs the user interrupts the run.

    from deputize.adapters.openai_agents import requests_in, settle, tools

    gmail = tools(deputy, "gmail", user=lambda ctx: ctx.context.user_id, thread=lambda ctx: ctx.context.chat_id)
    result = await Runner.run(Agent(name="mail", tools=gmail), "Tell Bob yes.", context=context)

    state = result.to_state()                          # or RunState.from_string(...), in another process
    asks = await requests_in(state)                       # what to show: consents, then approvals
    await settle(state, {approval_id: "approve"})      # record, and approve what nothing stands in the way of any more
    result = await Runner.run(agent, state)

What a state says proves nothing, nor does ``state.approve``: the act asks the vault, and a call that went on too early
tells the model what it lacks. `settle` leaves such a call waiting, so that consent and approval are two rounds. A
decision counts for the user for whom the run acts, and `PolicyDenied` is raised where the approval is not theirs. Say
no by `settle`, too: ``state.reject`` keeps the call from happening, but the user's request stays open.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from deputize.adapters.argument_checks import check_thread, chosen
from deputize.adapters.deferred_approvals import (
    Deferring,
    Payload,
    Together,
    UserOf,
    decisions_of,
    failed,
    named,
    payload_of,
)
from deputize.adapters.releases import OPENAI_AGENTS, require
from deputize.core import (
    DeputizeError,
    DeputyProtocol,
    InvalidInput,
    PolicyDenied,
    SettingsError,
    Tool,
    User,
    system_prompt,
)

try:
    from agents import FunctionTool, RunContextWrapper, RunState
    from agents import Tool as AgentTool
    from agents.tool_context import ToolContext

    from deputize.adapters.openai_agents.runs import ThreadOf, Waiting, call_of, waiting_in
except ImportError as missing:
    require(OPENAI_AGENTS)  # an old release lacks what is imported here
    raise SettingsError.without(missing, "openai-agents") from None

require(OPENAI_AGENTS)
__all__ = ["ActTool", "requests_in", "settle", "system_prompt", "tools"]
log = logging.getLogger(__name__)


def tools(
    deputy: DeputyProtocol,
    *toolkits: str,
    user: UserOf,
    thread: ThreadOf,
    agent: str = "",
    app: str = "",
    read_only: bool = False,
    defer_loading: bool = False,
) -> list[AgentTool]:
    """The tools of these toolkits, for whoever ``user`` says: a user, or a function of the run's `RunContextWrapper`.

    ``thread``: the id of the conversation, as of its session, or a function like ``user``. Names are those of
    `Deputy.tools`. ``app``: through which app they act, as of `Deputy.act`; all are of its provider then.
    ``read_only``: only tools that never change anything. ``defer_loading``: a model sees what they are
    called and take once it has searched for them, by the SDK's ``ToolSearchTool``; a Responses model that has it.
    """
    host = Deferring(deputy, user, agent, app)
    together = Together(host.blockers)
    check_thread(thread)
    shown = chosen(deputy, toolkits, read_only=read_only, app=app)
    found = [_function_tool(tool, host, thread, together) for tool in shown]
    for tool in found:
        tool.defer_loading = defer_loading
    return [*found]


@dataclass
class ActTool(FunctionTool):
    """One tool, as the run's user."""

    host: Deferring = field(kw_only=True, repr=False)
    thread: ThreadOf = field(kw_only=True, repr=False)


def _function_tool(tool: Tool, host: Deferring, thread: ThreadOf, together: Together) -> ActTool:
    async def needs(ctx: RunContextWrapper[Any], arguments: dict[str, Any], call_id: str) -> bool:
        """Whether the user has to be asked first. Everything else that is in the way, the act itself will say."""
        try:
            call = call_of(thread, ctx, ctx.turn_input, call_id)
            blocker = await together.blocker((tool.name, arguments, call), host.acting(ctx))
        except DeputizeError:
            return False
        return payload_of(blocker) is not None

    async def invoke(ctx: ToolContext[Any], arguments: str) -> str:
        """The act's outcome as text, whatever it is: the SDK would write an exception's text for the model."""
        try:
            call = call_of(thread, ctx, ctx.turn_input, ctx.tool_call_id)
            return await host.act(tool.name, _object(arguments), host.acting(ctx), call)
        except DeputizeError as error:
            return failed(error)
        except Exception as error:
            log.warning("%s failed: %s", tool.name, type(error).__name__)
            return failed(DeputizeError("The tool failed."))

    return ActTool(
        tool.name,
        tool.description,
        tool.schema,
        invoke,
        strict_json_schema=False,
        needs_approval=needs,
        host=host,
        thread=thread,
    )


def _object(arguments: str) -> dict[str, Any]:
    """A call's arguments. Raises `InvalidInput` for what is no JSON object."""
    try:
        given = json.loads(arguments or "{}")
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise InvalidInput("The arguments are no JSON object.", hint="Correct them and call again.")
    return given


@dataclass(frozen=True)
class _Blocked:
    """A waiting call of ours, for whom it is made, and what stands in its way."""

    waiting: Waiting
    host: Deferring
    user: User
    blocker: DeputizeError | None


async def requests_in(state: RunState[Any, Any]) -> list[Payload]:
    """What the run waits for, each once: consents, then approvals, in full; each says its ``type``.

    See `Consent.payload` and `Approval.payload`. Raises `UserRequired` where the state's context names nobody.
    """
    return _asks(await _look(state), {})


async def settle(
    state: RunState[Any, Any], decisions: Mapping[str, Any] | None = None, *, reason: str = ""
) -> list[Payload]:
    """Record what the run's user decided, and let those calls go on that wait for nothing more; what is still asked.

    ``decisions``, by approval id: ``"approve"``, ``"reject"``, or ``{"decision": "edit", "arguments": {...}}``. Without
    any it only looks again. Raises `InvalidInput` for another form, `PolicyDenied` for the approval of somebody else.
    """
    said = decisions_of(decisions or {}, [{"approval_id": one} for one in decisions or {}], reason)
    faults: dict[str, str] = {}
    before = await _look(state)
    whose = {one: await _whose(one, before) for one in said}  # all of them, before any is recorded
    for approval, (host, user) in whose.items():
        faults[approval] = await host.record(said[approval], user)
    after = await _look(state) if said else before
    for each in after:
        if each.blocker is None or payload_of(each.blocker) is None:
            state.approve(each.waiting.item)  # the act itself says what else is in its way
    return _asks(after, faults)


async def _whose(approval: str, waiting: list[_Blocked]) -> tuple[Deferring, User]:
    """Who was asked, of those for whom calls wait: agents of one run may act for different users."""
    for host, user in dict.fromkeys((each.host, each.user) for each in waiting):
        if await host.deputy.get_approval(approval, by=user) is not None:
            return host, user
    raise PolicyDenied("This approval is not of the run's user.", hint="Resume as the user who was asked.")


def _asks(found: list[_Blocked], faults: Mapping[str, str]) -> list[Payload]:
    asks = [ask for each in found if (ask := payload_of(each.blocker))]
    for ask in asks:
        if fault := faults.get(str(ask.get("approval_id"))):
            ask["fault"] = fault
    return [*named(asks, "consent"), *named(asks, "approval")]


async def _look(state: RunState[Any, Any]) -> list[_Blocked]:
    """Our calls that the run waits with, and what stands in their way. What they lack at a provider is one consent."""
    found: list[_Blocked] = []
    together: dict[tuple[Deferring, User], list[tuple[Waiting, ActTool]]] = {}
    for waiting in waiting_in(state):
        for tool in waiting.item.agent.tools if waiting.item.agent else ():
            if isinstance(tool, ActTool) and tool.name == waiting.item.name:
                together.setdefault((tool.host, tool.host.acting(waiting.ctx)), []).append((waiting, tool))
    for (host, user), calls in together.items():
        wanted = [
            (tool.name, _given(waiting), call_of(tool.thread, waiting.ctx, waiting.given, waiting.call_id))
            for waiting, tool in calls
        ]
        blockers = await host.blockers(wanted, user)
        found += [_Blocked(waiting, host, user, b) for (waiting, _), b in zip(calls, blockers, strict=True)]
    return found


def _given(waiting: Waiting) -> dict[str, Any]:
    """The call's arguments; none for what is no JSON, which the call itself will say."""
    try:
        return _object(waiting.item.arguments or "")
    except InvalidInput:
        return {}
