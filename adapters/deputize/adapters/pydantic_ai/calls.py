"""Identity of a pydantic-ai tool call, and its owner.

A deferred call runs again in another run, maybe in another process. Run ids then differ, but the model's response in
the history is the same. So its conversation, run, time and the call's id identify the act. The response's ``metadata``,
which no model sees, records the first user of its calls: no other user may resume them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic_ai import RunContext
from pydantic_ai.messages import ModelRequest, ModelResponse, ToolCallPart, ToolReturnPart

from deputize.core import Call, PolicyDenied, RequestPayload, User

__all__ = ["calls_of", "claim", "denied_approvals", "identify_call", "note_asked", "response_of", "shown_arguments"]

NOTE: Final = "deputize"


def response_of(ctx: RunContext[Any]) -> ModelResponse | None:
    """Return the model response with the call, or None if a program made the call."""
    for message in reversed(ctx.messages):
        if isinstance(message, ModelResponse) and ctx.tool_call_id in calls_of(message):
            return message
    return None


def calls_of(response: ModelResponse) -> dict[str, ToolCallPart]:
    """Return the tool calls of a response, by id."""
    return {part.tool_call_id: part for part in response.parts if isinstance(part, ToolCallPart)}


def identify_call(ctx: RunContext[Any], response: ModelResponse | None, call_id: str) -> Call:
    """Return the identity of a call: conversation, response and call id. With tool and user, it identifies the act."""
    run = ctx.run_id or ""
    if response is None:
        return Call(thread=ctx.conversation_id or "", message=run, id=call_id, run=run)
    asked = f"{response.run_id} {response.timestamp.timestamp()}" if response.run_id else ""
    return Call(response.conversation_id or ctx.conversation_id or "", asked, call_id, run)


def claim(response: ModelResponse | None, user: User) -> None:
    """Record the user of the response's calls. Raises `PolicyDenied` if another user is recorded."""
    if response is None:
        return
    note = _note(response)
    if note and (note.get("user"), note.get("tenant")) != (user.id, user.tenant):
        raise PolicyDenied("This call belongs to another user.", hint="Resume as the user who was asked.")
    _write(response, {**note, "user": user.id, "tenant": user.tenant})


def note_asked(response: ModelResponse | None, call_id: str, ask: RequestPayload, given: Mapping[str, Any]) -> None:
    """Record the approval that was displayed for a call, and its arguments if they differ from the model's."""
    if response is not None and ask["type"] == "deputize.approval":
        note = {**_note(response), "approvals": {**_note_field(response, "approvals"), call_id: ask["approval_id"]}}
        if dict(given) != calls_of(response)[call_id].args_as_dict():
            note["arguments"] = {**_note_field(response, "arguments"), call_id: dict(given)}
        _write(response, note)


def shown_arguments(response: ModelResponse | None, call_id: str) -> dict[str, Any]:
    """Return the arguments that were displayed to the user for a call. Your application may have changed them since."""
    if response is None:
        return {}
    noted = _note_field(response, "arguments").get(call_id)
    return dict(noted) if isinstance(noted, Mapping) else calls_of(response)[call_id].args_as_dict()


def denied_approvals(ctx: RunContext[Any]) -> tuple[ModelResponse | None, list[str]]:
    """Return the approvals of calls that the application has just denied itself, and their response."""
    last = ctx.messages[-1] if ctx.messages else None
    if not isinstance(last, ModelRequest):
        return None, []
    refused = {p.tool_call_id for p in last.parts if isinstance(p, ToolReturnPart) and p.outcome == "denied"}
    for message in reversed(ctx.messages if refused else ()):
        if isinstance(message, ModelResponse) and refused & calls_of(message).keys():
            shown = _note_field(message, "approvals")
            return message, [str(shown[call_id]) for call_id in shown if call_id in refused]
    return None, []


def _note(response: ModelResponse) -> Mapping[str, Any]:
    note = (response.metadata or {}).get(NOTE)
    return note if isinstance(note, Mapping) else {}


def _note_field(response: ModelResponse, what: str) -> Mapping[str, Any]:
    """Return one recorded field of a response's calls, by call id."""
    found = _note(response).get(what)
    return found if isinstance(found, Mapping) else {}


def _write(response: ModelResponse, note: Mapping[str, Any]) -> None:
    response.metadata = {**(response.metadata or {}), NOTE: dict(note)}
