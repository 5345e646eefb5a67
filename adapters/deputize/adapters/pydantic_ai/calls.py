"""Which call of which response a tool of pydantic-ai answers, and whose it is.

A call that was deferred is run again by another run, maybe in another process: run ids differ, the model's response is
the same one in the history. So its conversation, its run, its time and the call's id name the act. The response's
``metadata``, which no model sees, notes for whom it was asked first: no other user goes on with its calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic_ai import RunContext
from pydantic_ai.messages import ModelRequest, ModelResponse, ToolCallPart, ToolReturnPart

from deputize.adapters.deferred_approvals import Payload
from deputize.core import Call, PolicyDenied, User

__all__ = ["asked_with", "calls_of", "claim", "denied", "note_asked", "response_of", "where"]

NOTE: Final = "deputize"


def response_of(ctx: RunContext[Any]) -> ModelResponse | None:
    """The response that asked for the call; None where a program makes it, and no model."""
    for message in reversed(ctx.messages):
        if isinstance(message, ModelResponse) and ctx.tool_call_id in calls_of(message):
            return message
    return None


def calls_of(response: ModelResponse) -> dict[str, ToolCallPart]:
    """The calls of a response, by their ids."""
    return {part.tool_call_id: part for part in response.parts if isinstance(part, ToolCallPart)}


def where(ctx: RunContext[Any], response: ModelResponse | None, call_id: str) -> Call:
    """Conversation, asking response and id of a call: with the tool and the user, what makes it the same act."""
    run = ctx.run_id or ""
    if response is None:
        return Call(thread=ctx.conversation_id or "", message=run, id=call_id, run=run)
    asked = f"{response.run_id} {response.timestamp.timestamp()}" if response.run_id else ""
    return Call(response.conversation_id or ctx.conversation_id or "", asked, call_id, run)


def claim(response: ModelResponse | None, user: User) -> None:
    """Note for whom the response's calls are made. Raises `PolicyDenied` where that is somebody else."""
    if response is None:
        return
    note = _note(response)
    if note and (note.get("user"), note.get("tenant")) != (user.id, user.tenant):
        raise PolicyDenied("These calls belong to another user.", hint="Resume as the user who started the run.")
    _write(response, {**note, "user": user.id, "tenant": user.tenant})


def note_asked(response: ModelResponse | None, call_id: str, ask: Payload, given: Mapping[str, Any]) -> None:
    """Note which approval was shown for a call; and with which arguments, where they are not the model's own."""
    if response is not None and "approval_id" in ask:
        note = {**_note(response), "approvals": {**_kept(response, "approvals"), call_id: ask["approval_id"]}}
        if dict(given) != calls_of(response)[call_id].args_as_dict():
            note["arguments"] = {**_kept(response, "arguments"), call_id: dict(given)}
        _write(response, note)


def asked_with(response: ModelResponse | None, call_id: str) -> dict[str, Any]:
    """The arguments with which the user was asked about a call, whatever the host has made of them since."""
    if response is None:
        return {}
    noted = _kept(response, "arguments").get(call_id)
    return dict(noted) if isinstance(noted, Mapping) else calls_of(response)[call_id].args_as_dict()


def denied(ctx: RunContext[Any]) -> tuple[ModelResponse | None, list[str]]:
    """The approvals of calls that the host has just denied by itself, whose tools were not run; and their response."""
    last = ctx.messages[-1] if ctx.messages else None
    if not isinstance(last, ModelRequest):
        return None, []
    refused = {p.tool_call_id for p in last.parts if isinstance(p, ToolReturnPart) and p.outcome == "denied"}
    for message in reversed(ctx.messages if refused else ()):
        if isinstance(message, ModelResponse) and refused & calls_of(message).keys():
            shown = _kept(message, "approvals")
            return message, [str(shown[call_id]) for call_id in shown if call_id in refused]
    return None, []


def _note(response: ModelResponse) -> Mapping[str, Any]:
    note = (response.metadata or {}).get(NOTE)
    return note if isinstance(note, Mapping) else {}


def _kept(response: ModelResponse, what: str) -> Mapping[str, Any]:
    """What is noted of a response's calls, by their ids."""
    found = _note(response).get(what)
    return found if isinstance(found, Mapping) else {}


def _write(response: ModelResponse, note: Mapping[str, Any]) -> None:
    response.metadata = {**(response.metadata or {}), NOTE: dict(note)}
