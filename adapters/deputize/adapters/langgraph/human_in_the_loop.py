"""Answers of LangChain's inboxes and Agent Inbox, translated into decisions by approval id.

    {"decisions": [{"type": "approve"}]}        LangChain's HumanInTheLoopMiddleware (HITLResponse)
    [{"type": "accept", "args": None}]          Agent Inbox (HumanResponse)

Both identify approvals by position. A resume value must contain ids: LangGraph stores the value of a refused resume and
passes it to the next one, so another user's "approve" without an id would approve whatever is pending then.

`decisions_by_id` is for applications that display pauses and translate before they resume. If several approvals get
different answers, each must name its ``approval_id``: in a list that was reordered or shortened, a position would
approve the wrong act.

`read_hitl` is for a pause that `as_hitl` displayed in an inbox, in exactly this order, by a gate that stored the
displayed pause. Each decision is about the request at its position. LangGraph passes a value that names no interrupt to
later runs; `wait_for` ignores it there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import PlainValidator, ValidationError, WithJsonSchema

from deputize.adapters.langgraph.inbox_format import as_hitl, asks_of
from deputize.adapters.langgraph.interrupts import ANSWERS_FORM, Answers, Payload
from deputize.adapters.langgraph.resume import Pauses, requests_in
from deputize.core import InvalidInput

__all__ = ["answers_to", "as_hitl", "decisions_by_id", "read_hitl"]

_SAME: Final = {"approve": "approve", "accept": "approve", "reject": "reject", "ignore": "reject"}
_WORDS: Final = ("respond", "response")
_OF_AGENT_INBOX: Final = ("accept", "ignore", "response")
"""Types that only Agent Inbox uses. It shows and answers only the first of several requests."""

BY_ID: Final = (
    'Each {"approval_id": ..., "type": "approve"}, or "reject", or "edit" with "edited_action": {"args": {...}}.'
)
IN_ORDER: Final = (
    'One for each request, in order: {"decisions": [{"type": "approve"}]}, or "reject" with a "message". '
    'By id, with edits: {"decisions": {approval_id: {"decision": "edit", "arguments": {...}}}}.'
)

ANSWERS: Final = {"description": "LangChain's HITLResponse, or Agent Inbox's list: by position. Anything else resumes."}


def decisions_by_id(pauses: Pauses, answer: Any) -> Answers:
    """Return the resume value for an answer to the approvals of these pauses, as the user saw them.

    The answer has one decision for each approval: by its ``approval_id``, or by position if there is one approval or
    all have the same answer. A text answer (``respond``, ``response``) is a rejection with its reason. Raises
    `InvalidInput` for any other answer, and for an edit that changes the tool.
    """
    asks: list[Any] = requests_in(pauses, "approval")
    said = _decisions(answer)
    if len(said) != len(asks):
        raise _unusable(f"{len(said)} decisions for {len(asks)} approvals.")
    pairs = [(ask, _decision(ask, one)) for ask, one in _paired(asks, said)]
    decisions: Any = {ask["approval_id"]: found for ask, found in pairs}
    return {"decisions": decisions, "reason": _reason(said)}


def answers_to(pause: Mapping[str, Any]) -> Any:
    """Return the schema of a pause displayed by `as_hitl`, for `wait_for`. It reads an answer by `read_hitl`.

    An unusable answer raises pydantic's `ValidationError` caused by the `InvalidInput` of `read_hitl`.
    """

    def read(answer: Any) -> Payload:
        try:
            return read_hitl(answer, pause)
        except InvalidInput as unusable:
            raise ValueError(unusable) from unusable

    return Annotated[Any, PlainValidator(read), WithJsonSchema(ANSWERS)]


def read_hitl(answer: Any, pause: Mapping[str, Any]) -> Payload:
    """Return an inbox's answer to exactly this pause, which `as_hitl` displayed.

    For approvals: ``{"decisions": {approval_id: "approve"}, "reason": "..."}``, as `Answers` takes it. For consents:
    ``{"refused": [consent_id], "reason": "..."}``; the others are checked again. Each decision is about the request at
    its position, or the one whose ``approval_id`` it names. An answer of Agent Inbox is about the first request, the
    only one it displays. Decisions by id stay unchanged; an answer without decisions only resumes.

    Raises `InvalidInput` for a wrong number of decisions, and for a decision that was not offered.
    """
    kind, asks = asks_of(pause)
    if _is_ours(answer, kind):
        return {"refused": [], "reason": ""} if kind == "consent" else _by_id(answer)
    said = _decisions(answer, IN_ORDER)
    if isinstance(answer, list) and len(said) == 1 and said[0].get("type") in _OF_AGENT_INBOX:
        asks = asks[:1]
    if len(said) != len(asks):
        raise _unusable(f"{len(said)} decisions for {len(asks)} requests.", IN_ORDER)
    pairs = _named(asks, said) if _names_ids(said) else list(zip(asks, said, strict=True))
    found = {str(ask[f"{kind}_id"]): _offered(ask, one) for ask, one in pairs}
    if kind == "consent":
        return {"refused": [one for one, what in found.items() if what == "reject"], "reason": _reason(said)}
    return {"decisions": found, "reason": _reason(said)}


def _is_ours(answer: Any, kind: str) -> bool:
    """Return whether the answer is a signal to resume or has decisions by id, and so is not an inbox's. Any string
    resumes a consent."""
    if isinstance(answer, Mapping):
        return not isinstance(answer.get("decisions", [] if "type" in answer else {}), list)
    return kind == "consent" and not isinstance(answer, list)


def _by_id(answer: Mapping[str, Any]) -> Payload:
    try:
        return {"decisions": {}, "reason": "", **ANSWERS_FORM.validate_python(answer)}
    except ValidationError:
        raise _unusable("The decisions by id are malformed.", IN_ORDER) from None


def _decisions(answer: Any, hint: str = BY_ID) -> list[Mapping[str, Any]]:
    if isinstance(answer, Mapping) and answer.keys().isdisjoint(("decisions", "type")):
        raise _unusable("The answer has no decisions.", hint)
    given = answer.get("decisions", [answer]) if isinstance(answer, Mapping) else answer
    if not isinstance(given, list) or not all(isinstance(one, Mapping) for one in given):
        raise _unusable("The answer has no list of decisions.", hint)
    return given


def _paired(asks: list[Payload], said: list[Mapping[str, Any]]) -> list[tuple[Payload, Mapping[str, Any]]]:
    """Return each approval with its decision: by id if ids are named, else by position if that is unambiguous."""
    if _names_ids(said):
        return _named(asks, said)
    for one in said:
        if (kind := str(one.get("type"))) not in (*_SAME, *_WORDS, "edit"):
            raise _no_answer(kind, BY_ID)
    kinds = {_SAME.get(str(one.get("type")), "") for one in said}
    if len(asks) > 1 and (len(kinds) > 1 or "" in kinds):
        raise _unusable(f"{len(asks)} approvals have different answers, which only their order tells apart.")
    return list(zip(asks, said, strict=True))


def _names_ids(said: list[Mapping[str, Any]]) -> bool:
    return any("approval_id" in one for one in said)


def _named(asks: list[Payload], said: list[Mapping[str, Any]]) -> list[tuple[Payload, Mapping[str, Any]]]:
    named = {str(one.get("approval_id")): one for one in said}
    if named.keys() != {ask.get("approval_id") for ask in asks}:
        raise _unusable("The decisions name approvals that were not shown.")
    return [(ask, named[ask["approval_id"]]) for ask in asks]


def _offered(ask: Payload, one: Mapping[str, Any]) -> str:
    """Return the user's decision if `as_hitl` offers it. It offers no edit, because an edit would change the displayed
    values and not the tool's arguments."""
    if one.get("type") == "edit":
        raise _unusable("An edit was not offered: args hold displayed values, not the tool's arguments.", IN_ORDER)
    return str(_decision(ask, one, IN_ORDER))


def _reason(said: list[Mapping[str, Any]]) -> str:
    return " ".join(words for one in said if isinstance(words := one.get("message") or one.get("args"), str))


def _decision(ask: Payload, one: Mapping[str, Any], hint: str = BY_ID) -> str | Payload:
    kind = str(one.get("type"))
    if kind in _SAME:
        return _SAME[kind]
    if kind in _WORDS and isinstance(one.get("message") or one.get("args"), str):
        return "reject"
    action = one.get("edited_action") or one.get("args")
    if kind != "edit" or not isinstance(action, Mapping) or not isinstance(action.get("args"), Mapping):
        raise _no_answer(kind, hint)
    if action.get("name", action.get("action")) not in (None, ask["tool"]):
        raise _unusable(f"An edit changes the arguments of {ask['tool']}, not the tool.", hint)
    return {"decision": "edit", "arguments": dict(action["args"])}


def _no_answer(kind: str, hint: str) -> InvalidInput:
    return _unusable(f"A decision of type {kind!r} answers none of the requests.", hint)


def _unusable(why: str, hint: str = BY_ID) -> InvalidInput:
    return InvalidInput(why, hint=hint, fix_by="operator")
