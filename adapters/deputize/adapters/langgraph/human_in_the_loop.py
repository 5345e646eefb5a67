"""LangChain's and Agent Inbox's form of a human's answer, as decisions by the ids of the approvals that were shown.

    {"decisions": [{"type": "approve"}]}        LangChain's HumanInTheLoopMiddleware (HITLResponse)
    [{"type": "accept", "args": None}]          Agent Inbox (HumanResponse)

Both count positions. A resume value has to name ids instead: LangGraph keeps the value of a refused resume and hands it
to the next one, so that a stranger's "approve", without an id, would answer whatever waits by then.

`decisions_by_id` is for the host, who has shown pauses and translates before it resumes. A position says nothing that
counts where several approvals get different answers: a list that was shown in another order, or has lost one since,
would give the yes to the wrong act. There each decision names its ``approval_id``.

`read_hitl` is for a pause that an inbox was shown as `as_hitl` makes it, in exactly this order, by a gate that has kept
what it has shown. There each decision is about the request at its place. LangGraph hands a value that names no
interrupt to later runs, too: a gate calls `forget_bare_resume` before it interrupts, for its user and for strangers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import PlainValidator, ValidationError, WithJsonSchema

from deputize.adapters.langgraph.inbox_format import as_hitl, asks_of
from deputize.adapters.langgraph.interrupts import Answers, Payload
from deputize.adapters.langgraph.resume import Pauses, requests_in
from deputize.core import InvalidInput

__all__ = ["answers_to", "as_hitl", "decisions_by_id", "read_hitl"]

_SAME: Final = {"approve": "approve", "accept": "approve", "reject": "reject", "ignore": "reject"}
_WORDS: Final = ("respond", "response")
_OF_AGENT_INBOX: Final = ("accept", "ignore", "response")
"""Types that are words of Agent Inbox alone. Of several requests it shows the first, and answers this one."""

BY_ID: Final = (
    'Each {"approval_id": ..., "type": "approve"}, or "reject", or "edit" with "edited_action": {"args": {...}}.'
)
IN_ORDER: Final = (
    'One for each request, in order: {"decisions": [{"type": "approve"}]}, or "reject" with a "message". '
    'By id, with edits: {"decisions": {approval_id: {"decision": "edit", "arguments": {...}}}}.'
)

ANSWERS: Final = {"description": "LangChain's HITLResponse, or Agent Inbox's list: by position. Anything else wakes."}


def decisions_by_id(pauses: Pauses, answer: Any) -> Payload:
    """What to resume with, for an answer to the approvals of these pauses, as the person saw them.

    The answer has one decision for each: by its ``approval_id``; or by its place, where there is one approval, or all
    are answered alike. Words in the place of an answer (``respond``, ``response``) are a no, and its reason. Raises
    `InvalidInput` for any other answer, and for an edit that changes the tool.
    """
    asks, said = requests_in(pauses, "approval"), _decisions(answer)
    if len(said) != len(asks):
        raise _unusable(f"{len(said)} decisions for {len(asks)} approvals.")
    pairs = [(ask, _decision(ask, one)) for ask, one in _paired(asks, said)]
    return {"decisions": {ask["approval_id"]: found for ask, found in pairs}, "reason": _reason(said)}


def answers_to(pause: Mapping[str, Any]) -> Any:
    """The schema of a pause that is shown as `as_hitl` makes it, for `wait_for`: it reads an answer by `read_hitl`.

    What fits nothing is pydantic's `ValidationError` about the `InvalidInput` of `read_hitl`.
    """

    def read(answer: Any) -> Payload:
        try:
            return read_hitl(answer, pause)
        except InvalidInput as unusable:
            raise ValueError(unusable) from unusable

    return Annotated[Any, PlainValidator(read), WithJsonSchema(ANSWERS)]


def read_hitl(answer: Any, pause: Mapping[str, Any]) -> Payload:
    """What an inbox has answered to exactly this pause, which it was shown as `as_hitl` makes it.

    Of approvals ``{"decisions": {approval_id: "approve"}, "reason": "..."}``, as `Answers` takes it; of consents
    ``{"refused": [consent_id], "reason": "..."}``: all others are to be looked at again. Each decision is about the
    request at its place, or the one whose ``approval_id`` it names. An answer of Agent Inbox is about the first, the
    only one it shows. Decisions by id stay as they are, and what has none decides nothing: a wake-up.

    Raises `InvalidInput` for more or fewer decisions than were asked for, and for any that was not offered.
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
    """Whether this is no inbox's answer: a wake-up, or decisions by id. To a consent, any word wakes."""
    if isinstance(answer, Mapping):
        return not isinstance(answer.get("decisions", [] if "type" in answer else {}), list)
    return kind == "consent" and not isinstance(answer, list)


def _by_id(answer: Mapping[str, Any]) -> Payload:
    try:
        return Answers.model_validate(answer).model_dump()
    except ValidationError:
        raise _unusable("The decisions by id have another form.", IN_ORDER) from None


def _decisions(answer: Any, hint: str = BY_ID) -> list[Mapping[str, Any]]:
    if isinstance(answer, Mapping) and answer.keys().isdisjoint(("decisions", "type")):
        raise _unusable("The answer has no decisions.", hint)
    given = answer.get("decisions", [answer]) if isinstance(answer, Mapping) else answer
    if not isinstance(given, list) or not all(isinstance(one, Mapping) for one in given):
        raise _unusable("The answer has no list of decisions.", hint)
    return given


def _paired(asks: list[Payload], said: list[Mapping[str, Any]]) -> list[tuple[Payload, Mapping[str, Any]]]:
    """Each approval with its decision: by ids where these are named, else where no order could be mistaken."""
    if _names_ids(said):
        return _named(asks, said)
    for one in said:
        if (kind := str(one.get("type"))) not in (*_SAME, *_WORDS, "edit"):
            raise _no_answer(kind, BY_ID)
    kinds = {_SAME.get(str(one.get("type")), "") for one in said}
    if len(asks) > 1 and (len(kinds) > 1 or "" in kinds):
        raise _unusable(
            f"{len(asks)} approvals have different answers, which are told apart by nothing but their order."
        )
    return list(zip(asks, said, strict=True))


def _names_ids(said: list[Mapping[str, Any]]) -> bool:
    return any("approval_id" in one for one in said)


def _named(asks: list[Payload], said: list[Mapping[str, Any]]) -> list[tuple[Payload, Mapping[str, Any]]]:
    named = {str(one.get("approval_id")): one for one in said}
    if named.keys() != {ask.get("approval_id") for ask in asks}:
        raise _unusable("The decisions name other approvals than were shown.")
    return [(ask, named[ask["approval_id"]]) for ask in asks]


def _offered(ask: Payload, one: Mapping[str, Any]) -> str:
    """A decision that `as_hitl` offers. An edit would be one of what is shown, and not of the tool's arguments."""
    if one.get("type") == "edit":
        raise _unusable("An edit was not offered: args hold what is shown, not the tool's arguments.", IN_ORDER)
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
    return _unusable(f"A decision of the type {kind!r} answers nothing that was asked.", hint)


def _unusable(why: str, hint: str = BY_ID) -> InvalidInput:
    return InvalidInput(why, hint=hint, fix_by="operator")
