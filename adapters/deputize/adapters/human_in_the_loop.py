"""LangChain's and Agent Inbox's form of a human's answer, by the ids of the approvals that were shown.

    {"decisions": [{"type": "approve"}]}        LangChain's HumanInTheLoopMiddleware (HITLResponse)
    [{"type": "accept", "args": None}]          Agent Inbox (HumanResponse)

Both count positions. A resume value has to name ids instead: LangGraph keeps the value of a refused resume and hands it
to the next one, so that a stranger's "approve", without an id, would answer whatever waits by then. Only who has seen
the pause can say what a position means, so the host translates before it resumes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from langgraph.types import Interrupt

from deputize.adapters.langgraph_pauses import Payload, asked_of
from deputize.core import InvalidInput

__all__ = ["decisions_by_id"]

_SAME = {"approve": "approve", "accept": "approve", "reject": "reject", "ignore": "reject"}


def decisions_by_id(pauses: Iterable[Interrupt], answer: Any) -> Payload:
    """What to resume with, for an answer whose decisions stand in the order of ``asked_of(pauses, "approval")``.

    ``pauses``: those the answer was given to, as the person saw them. Raises `InvalidInput` where the answer has not
    one decision for each approval, changes the tool, or answers in the tool's place (``respond``).
    """
    asks, said = asked_of(pauses, "approval"), _decisions(answer)
    if len(said) != len(asks):
        raise _unusable(f"{len(said)} decisions for {len(asks)} approvals.")
    found = {ask["approval_id"]: _decision(ask, one) for ask, one in zip(asks, said, strict=True)}
    reasons = [str(one["message"]) for one in said if one.get("message")]
    return {"decisions": found, "reason": " ".join(reasons)}


def _decisions(answer: Any) -> list[Mapping[str, Any]]:
    given = answer.get("decisions", [answer]) if isinstance(answer, Mapping) else answer
    if not isinstance(given, list) or not all(isinstance(one, Mapping) for one in given):
        raise _unusable("The answer has no list of decisions.")
    return given


def _decision(ask: Payload, one: Mapping[str, Any]) -> str | Payload:
    kind = str(one.get("type"))
    if kind in _SAME:
        return _SAME[kind]
    action = one.get("edited_action") or one.get("args")
    if kind != "edit" or not isinstance(action, Mapping) or not isinstance(action.get("args"), Mapping):
        raise _unusable(f"A decision of the type {kind!r} does not answer an approval.")
    if action.get("name", action.get("action")) not in (None, ask["tool"]):
        raise _unusable(f"An edit changes the arguments of {ask['tool']}, not the tool.")
    return {"decision": "edit", "arguments": dict(action["args"])}


def _unusable(why: str) -> InvalidInput:
    hint = 'For each approval {"type": "approve"}, {"type": "reject"} or {"type": "edit", "edited_action": {...}}.'
    return InvalidInput(why, hint=hint, fix_by="operator")
