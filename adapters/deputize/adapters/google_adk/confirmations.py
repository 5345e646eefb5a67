"""Questions to the user as ADK's tool confirmations: asking, asking again, and what a host shows and answers.

ADK makes a question of what a tool requests when a model has called it, and of nothing that the tool requests when it
is run again for an answer: the run would go on, and nobody could answer. So a plugin, registered where there is such a
request, puts the question in the place of the model's next response. It goes by the session alone: how often was
requested, and how often asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeGuard

from google.adk.agents.callback_context import CallbackContext
from google.adk.events.event import Event
from google.adk.models.llm_request import LlmRequest
from google.adk.models.llm_response import LlmResponse
from google.adk.plugins.base_plugin import BasePlugin
from google.adk.tools.base_tool import BaseTool
from google.adk.tools.tool_confirmation import ToolConfirmation
from google.adk.tools.tool_context import ToolContext
from google.genai import types

from deputize.adapters.deferred_approvals import Kind, Payload, decisions_of, named
from deputize.adapters.google_adk.calls import CONFIRMATION, asked_by, calls_of

__all__ = ["answers", "ask", "keep_asking", "requests_in", "shown_for"]

PLUGIN: Final = "deputize_questions"
INPUT: Final = "adk_request_input"
"""What ADK calls it where the tool is itself a node of a graph."""
KINDS: Final[tuple[Kind, ...]] = ("consent", "approval")


def ask(ctx: ToolContext, hint: str, payload: Payload) -> None:
    """Ask the user about the call, and end the run."""
    ctx.request_confirmation(hint=hint, payload=payload)
    again = ctx.tool_confirmation is not None
    ctx.actions.skip_summarization = not again  # the model is not asked to make something of it
    if again:
        _register(ctx)


def _register(ctx: CallbackContext) -> None:
    """Before the host's own plugins: one of them may answer in the model's place, from a cache, say."""
    manager = ctx.get_invocation_context().plugin_manager
    if manager.get_plugin(PLUGIN) is None:
        manager.plugins = [_Questions(PLUGIN), *manager.plugins]  # another run may be going through the old list


def keep_asking(ctx: ToolContext) -> None:
    """Before the model is called: see that it is not where a question has to be asked in its place."""
    if _unasked(ctx):
        _register(ctx)


class _Questions(BasePlugin):
    """Asks what was requested and never asked, in the place of the model's response."""

    async def before_model_callback(
        self, *, callback_context: CallbackContext, llm_request: LlmRequest
    ) -> LlmResponse | None:
        """See `BasePlugin`."""
        parts = [types.Part(function_call=_question(*one)) for one in _unasked(callback_context)]
        if not parts:
            return None
        llm_request.tools_dict[CONFIRMATION] = _Waiting(name=CONFIRMATION, description="", is_long_running=True)
        return LlmResponse(content=types.Content(role="model", parts=parts))


class _Waiting(BaseTool):
    """A call that its host answers: what makes ADK end the run there."""

    async def run_async(self, *, args: dict[str, Any], tool_context: ToolContext) -> None:
        """Nothing, so that ADK waits."""


def _question(call: types.FunctionCall, confirmation: ToolConfirmation) -> types.FunctionCall:
    """As ADK words it; it gives it an id."""
    args = {
        "originalFunctionCall": call.model_dump(exclude_none=True, by_alias=True),
        "toolConfirmation": confirmation.model_dump(exclude_none=True, by_alias=True),
    }
    return types.FunctionCall(name=CONFIRMATION, args=args)


def _unasked(ctx: CallbackContext) -> list[tuple[types.FunctionCall, ToolConfirmation]]:
    """The calls of this run whose last request was made into no question."""
    calls: dict[str, types.FunctionCall] = {}
    requests: dict[str, list[ToolConfirmation]] = {}
    asked: Counter[str] = Counter()
    for event in ctx.session.events:
        if (event.invocation_id, event.author, event.branch) != (ctx.invocation_id, ctx.agent_name, ctx.branch):
            continue
        for call_id, call in calls_of(event).items():
            calls[call_id], requests[call_id], asked[call_id] = call, [], 0
        for call_id, request in event.actions.requested_tool_confirmations.items():
            if call_id in calls and _ours(request.payload):
                requests[call_id].append(request)
        asked.update(one.call for one in _questions(event))
    return [(calls[one], made[-1]) for one, made in requests.items() if len(made) > asked[one]]


def shown_for(ctx: ToolContext) -> Payload | None:
    """What the user was shown about this call last. A later turn may have a call of the same id."""
    response, last = asked_by(ctx), None
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
    """What ADK waits with. ``call``: the id of the call that it is about, or the path of the node of a graph."""

    id: str
    name: str
    call: str
    payload: Payload


def _questions(event: Event) -> Iterator[_Question]:
    """Our questions in an event. A model can call what it likes, and so write one, too: ADK does not wait with that.

    Nor is one a question that shares its id with another call, with which ADK may wait.
    """
    calls = event.get_function_calls()
    often = Counter(call.id for call in calls)
    for call in calls:
        if call.id not in (event.long_running_tool_ids or ()) or often[call.id] > 1:
            continue
        about, payload = _asked(call)
        if call.name == INPUT:
            about = event.node_info.path
        if _ours(payload):
            yield _Question(str(call.id), str(call.name), str(about), dict(payload))


def _asked(call: types.FunctionCall) -> tuple[Any, Any]:
    """The id of the call that a question is about, and what it shows."""
    if call.name == CONFIRMATION:
        return _at(call.args, "originalFunctionCall", "id"), _at(call.args, "toolConfirmation", "payload")
    return None, _at(call.args, "payload", "confirmation_payload") if call.name == INPUT else None


def _at(args: Any, *keys: str) -> Any:
    for key in keys:
        args = args.get(key) if isinstance(args, Mapping) else None
    return args


def _ours(payload: Any) -> TypeGuard[Mapping[str, Any]]:
    """Whether this is a question as `payload_of` makes it: a remote agent can send half of one."""
    return any(_at(payload, "type") == f"deputize.{kind}" and _at(payload, f"{kind}_id") for kind in KINDS)


def _live(events: Iterable[Event]) -> list[Event]:
    """The events that no rewind took back."""
    live: list[Event] = []
    for event in events:
        if before := event.actions.rewind_before_invocation_id:
            del live[next((at for at, one in enumerate(live) if one.invocation_id == before), len(live)) :]
        else:
            live.append(event)
    return live


def _waiting(events: Iterable[Event]) -> list[_Question]:
    """What was asked and has come to no result, in the last invocation that waits.

    An answer alone ends no question: the run that had it may have been refused, or lost.
    """
    asks: dict[str, tuple[Event, _Question]] = {}
    answered: set[str | None] = set()
    for event in _live(events):
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
    """Whether an event with these results holds that of a question's call: agents at once may use the same ids."""
    return question.call in results and (event.author, event.branch) == (asking.author, asking.branch)


def requests_in(events: Iterable[Event], kind: Kind | None = None) -> list[Payload]:
    """What the user is asked, each once: consents, then approvals, in full; see `Consent.payload`, `Approval.payload`.

    ``events``: those of a run, or of a session; questions that came to a result are left out.
    """
    shown = [one.payload for one in _waiting(events)]
    return [ask for one in KINDS if kind in (None, one) for ask in named(shown, one)]


def answers(events: Iterable[Event], decisions: Mapping[str, Any] | None = None, *, reason: str = "") -> types.Content:
    """The message to go on with: look again, and what the user decided, by approval id.

    ``decisions``: ``"approve"``, ``"reject"``, or ``{"decision": "edit", "arguments": {...}}``. The host passes what
    the session's own user said. Questions of other tools are the host's to answer, in the same message: its ``parts``.
    Raises `InvalidInput` for a decision of another form, or about what was not shown.
    """
    waiting, given, parts = _waiting(events), decisions or {}, list[types.Part]()
    decisions_of(given, [one.payload for one in waiting], reason)
    for question in waiting:
        approval = str(question.payload.get("approval_id"))
        said = {approval: given[approval], "reason": reason} if approval in given else None
        response = {"confirmed": said is None or said[approval] != "reject", "payload": said}
        answer = types.FunctionResponse(id=question.id, name=question.name, response=response)
        parts.append(types.Part(function_response=answer))
    return types.Content(role="user", parts=parts)
