"""Questions to the user as ADK tool confirmations: asking, asking again, listing and answering.

ADK turns a tool's request into a question if a model called the tool, but not if the tool was run again for an answer:
the run would continue, and no user could answer. So such a request registers a plugin that puts the question in place
of the model's next response. The plugin compares the number of requested confirmations in the session with the number
of questions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple, TypeGuard, get_args, overload

from google.adk.agents.callback_context import CallbackContext
from google.adk.events.event import Event
from google.adk.models.llm_request import LlmRequest
from google.adk.models.llm_response import LlmResponse
from google.adk.plugins.base_plugin import BasePlugin
from google.adk.tools.base_tool import BaseTool
from google.adk.tools.tool_confirmation import ToolConfirmation
from google.adk.tools.tool_context import ToolContext
from google.genai import types

from deputize.adapters.google_adk.calls import CONFIRMATION, calls_of, response_of
from deputize.adapters.kit import Kind, parse_decisions, select_requests
from deputize.core import ApprovalPayload, ConsentPayload, Decisions, RequestPayload

__all__ = ["OWNER", "answers", "ask", "ends_at_errors", "ensure_asked", "last_request", "requests_in"]

PLUGIN: Final = "deputize_questions"
INPUT: Final = "adk_request_input"
"""ADK's name of that call if the tool is a graph node."""
OWNER: Final = "owner"
"""Key beside the payload of a request in a session: the tag of its user."""


def ask(ctx: ToolContext, hint: str, payload: Mapping[str, Any]) -> None:
    """Ask the user about the call, and end the run. ``hint``: the text for the user if the payload has no summary."""
    ctx.request_confirmation(hint=payload.get("summary") or hint, payload=payload)
    again = ctx.tool_confirmation is not None
    ctx.actions.skip_summarization = not again  # the model is not called to summarize it
    if again:
        _register(ctx)


def ends_at_errors(ctx: ToolContext) -> bool:
    """Return whether a ``single_turn`` agent that was called like a tool runs the call, itself or by its sub-agents.

    ADK makes every error in it the result of that tool, so no later answer could reach the call.
    """
    called = {part.partition("@")[0] for part in (ctx.branch or "").split(".") if "@" in part}
    agent: Any = ctx.get_invocation_context().agent
    while agent is not None:
        if getattr(agent, "mode", None) == "single_turn" and agent.name in called:
            return True
        agent = agent.parent_agent
    return False


def _register(ctx: CallbackContext) -> None:
    """Register the plugin before the application's plugins, because one of them, such as a cache, may answer in place
    of the model."""
    manager = ctx.get_invocation_context().plugin_manager
    if manager.get_plugin(PLUGIN) is None:
        manager.plugins = [_Questions(PLUGIN), *manager.plugins]  # another run may be iterating over the old list


def ensure_asked(ctx: ToolContext) -> None:
    """Register the plugin if a question must be asked in place of the next model call."""
    if _unasked_calls(ctx):
        _register(ctx)


class _Questions(BasePlugin):
    """Plugin that replaces the model's response by the questions that were requested and not asked yet."""

    async def before_model_callback(
        self, *, callback_context: CallbackContext, llm_request: LlmRequest
    ) -> LlmResponse | None:
        """Return the open questions in place of the model's response, if there are any."""
        parts = [types.Part(function_call=_question(*one)) for one in _unasked_calls(callback_context)]
        if not parts:
            return None
        llm_request.tools_dict[CONFIRMATION] = _Waiting(name=CONFIRMATION, description="", is_long_running=True)
        return LlmResponse(content=types.Content(role="model", parts=parts))


class _Waiting(BaseTool):
    """A long-running tool whose result comes from the application, so that ADK ends the run at the call."""

    async def run_async(self, *, args: dict[str, Any], tool_context: ToolContext) -> None:
        """Return nothing, so that ADK waits."""


def _question(call: types.FunctionCall, confirmation: ToolConfirmation) -> types.FunctionCall:
    """Return the question as a function call in ADK's form, without an id, which ADK assigns."""
    args = {
        "originalFunctionCall": call.model_dump(exclude_none=True, by_alias=True),
        "toolConfirmation": confirmation.model_dump(exclude_none=True, by_alias=True),
    }
    return types.FunctionCall(name=CONFIRMATION, args=args)


def _unasked_calls(ctx: CallbackContext) -> list[tuple[types.FunctionCall, ToolConfirmation]]:
    """Return the calls of this run whose last request did not become a question."""
    calls: dict[str, types.FunctionCall] = {}
    requests: dict[str, list[ToolConfirmation]] = {}
    asked: Counter[str] = Counter()
    for event in ctx.session.events:
        if (event.invocation_id, event.author, event.branch) != (ctx.invocation_id, ctx.agent_name, ctx.branch):
            continue
        for call_id, call in calls_of(event).items():
            calls[call_id], requests[call_id], asked[call_id] = call, [], 0
        for call_id, request in event.actions.requested_tool_confirmations.items():
            if call_id in calls and _is_ours(request.payload):
                requests[call_id].append(request)
        asked.update(one.call for one in _questions(event))
    return [(calls[one], made[-1]) for one, made in requests.items() if len(made) > asked[one]]


def last_request(ctx: ToolContext) -> dict[str, Any] | None:
    """Return the payload last displayed for this call. A later turn may reuse the call's id."""
    response, last = response_of(ctx), None
    call = ctx.node_path if response is None and ctx.node is not None else ctx.function_call_id
    for event in ctx.session.events:
        if event.invocation_id != ctx.invocation_id:
            continue
        if event is response:
            last = None
        for one in _questions(event):
            last = one.payload if one.call == call and (response is None or event.author == response.author) else last
    return last


class _Question(NamedTuple):
    """A question for which ADK waits. ``call``: id of the call it is about, or the path of a graph node."""

    id: str
    name: str
    call: str
    payload: dict[str, Any]


def _questions(event: Event) -> Iterator[_Question]:
    """Yield the deputize questions in an event. ADK does not wait for a question that a model wrote itself.

    A question that shares its id with another call is skipped, because ADK may wait for that call.
    """
    calls = event.get_function_calls()
    often = Counter(call.id for call in calls)
    for call in calls:
        if call.id not in (event.long_running_tool_ids or ()) or often[call.id] > 1:
            continue
        about, payload = _parse_question(call)
        if call.name == INPUT:
            about = event.node_info.path
        if _is_ours(payload):
            yield _Question(str(call.id), str(call.name), str(about), dict(payload))


def _parse_question(call: types.FunctionCall) -> tuple[Any, Any]:
    """Return the id of the call that a question is about, and its payload."""
    if call.name == CONFIRMATION:
        return _dig(call.args, "originalFunctionCall", "id"), _dig(call.args, "toolConfirmation", "payload")
    return None, _dig(call.args, "payload", "confirmation_payload") if call.name == INPUT else None


def _dig(args: Any, *keys: str) -> Any:
    for key in keys:
        args = args.get(key) if isinstance(args, Mapping) else None
    return args


def _is_ours(payload: Any) -> TypeGuard[Mapping[str, Any]]:
    """Return whether this is a complete payload of `request_payload`. A remote agent may send an incomplete one."""
    return any(_dig(payload, "type") == f"deputize.{kind}" and _dig(payload, f"{kind}_id") for kind in get_args(Kind))


def _live_events(events: Iterable[Event]) -> list[Event]:
    """Return the events that no rewind removed."""
    live: list[Event] = []
    for event in events:
        if before := event.actions.rewind_before_invocation_id:
            del live[next((at for at, one in enumerate(live) if one.invocation_id == before), len(live)) :]
        else:
            live.append(event)
    return live


def _open_questions(events: Iterable[Event]) -> list[_Question]:
    """Return the questions without a result, in the last invocation that waits.

    An answer alone closes no question, because the run that received it may have been refused or lost.
    """
    asks: dict[str, tuple[Event, _Question]] = {}
    answered: set[str | None] = set()
    for event in _live_events(events):
        results = {one.id for one in event.get_function_responses()}
        if event.author == "user":
            answered |= results
        else:
            results |= {event.node_info.path} if event.output is not None else set()
            asks = {one: ask for one, ask in asks.items() if one not in answered or not _ends(event, results, *ask)}
        asks |= {one.id: (event, one) for one in _questions(event)}
    last = next((event.invocation_id for event, _ in reversed(asks.values())), "")
    return [one for event, one in asks.values() if event.invocation_id == last]


def _ends(event: Event, results: set[str | None], asking: Event, question: _Question) -> bool:
    """Return whether these results of an event include the question's call. Parallel agents may use the same ids."""
    return question.call in results and (event.author, event.branch) == (asking.author, asking.branch)


@overload
def requests_in(events: Iterable[Event], kind: Literal["consent"]) -> list[ConsentPayload]: ...
@overload
def requests_in(events: Iterable[Event], kind: Literal["approval"]) -> list[ApprovalPayload]: ...
@overload
def requests_in(events: Iterable[Event], kind: None = None) -> list[RequestPayload]: ...
def requests_in(events: Iterable[Event], kind: Kind | None = None) -> Any:
    """Return the requests that wait for the user, each once, in full: consents, then approvals.

    ``events``: events of a run or a session; answered requests are left out. ``kind``: only consents, or only
    approvals. Raises `InvalidInput` for another kind.
    """
    shown = [one.payload for one in _open_questions(events)]
    return select_requests([{key: ask[key] for key in ask if key != OWNER} for ask in shown], kind)


def answers(events: Iterable[Event], decisions: Decisions | None = None, *, reason: str = "") -> types.Content:
    """Return the message that resumes the run: a signal to read the vault again, and the user's decisions.

    ``decisions``, by approval id: ``"approve"``, ``"reject"``, or an `Edit`. Pass only decisions of the session's own
    user. Answer questions of other tools yourself, in the same message (``parts``). Raises `InvalidInput` for a
    malformed decision, or for an approval that was not displayed.
    """
    waiting, given, parts = _open_questions(events), decisions or {}, list[types.Part]()
    parse_decisions(given, [str(one.payload.get("approval_id")) for one in waiting], reason)
    for question in waiting:
        approval = str(question.payload.get("approval_id"))
        said = {approval: given[approval], "reason": reason} if approval in given else None
        response = {"confirmed": said is None or said[approval] != "reject", "payload": said}
        answer = types.FunctionResponse(id=question.id, name=question.name, response=response)
        parts.append(types.Part(function_response=answer))
    return types.Content(role="user", parts=parts)
