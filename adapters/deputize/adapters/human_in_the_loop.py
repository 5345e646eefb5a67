"""LangChain's and Agent Inbox's form of a human's answer, by the ids of the approvals that were shown.

    {"decisions": [{"type": "approve"}]}        LangChain's HumanInTheLoopMiddleware (HITLResponse)
    [{"type": "accept", "args": None}]          Agent Inbox (HumanResponse)

Both count positions. A resume value has to name ids instead: LangGraph keeps the value of a refused resume and hands it
to the next one, so that a stranger's "approve", without an id, would answer whatever waits by then. Only who has seen
the pause can say what is meant, so the host translates before it resumes. A position says nothing that counts where
several approvals get different answers: a list that was shown in another order, or has lost one since, would give the
yes to the wrong act. There each decision names its ``approval_id``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from langgraph.types import Interrupt

from deputize.adapters.langgraph_pauses import Payload, asked_of
from deputize.core import InvalidInput

__all__ = ["decisions_by_id"]

_SAME = {"approve": "approve", "accept": "approve", "reject": "reject", "ignore": "reject"}
_WORDS = ("respond", "response")


def decisions_by_id(pauses: Iterable[Interrupt], answer: Any) -> Payload:
    """What to resume with, for an answer to the approvals of these pauses, as the person saw them.

    The answer has one decision for each: by its ``approval_id``; or by its place, where there is one approval, or all
    are answered alike. Words in the place of an answer (``respond``, ``response``) are a no, and its reason. Raises
    `InvalidInput` for any other answer, and for an edit that changes the tool.
    """
    asks, said = asked_of(pauses, "approval"), _decisions(answer)
    if len(said) != len(asks):
        raise _unusable(f"{len(said)} decisions for {len(asks)} approvals.")
    pairs = [(ask, _decision(ask, one)) for ask, one in _paired(asks, said)]
    reasons = [words for one in said if isinstance(words := one.get("message") or one.get("args"), str)]
    return {"decisions": {ask["approval_id"]: found for ask, found in pairs}, "reason": " ".join(reasons)}


def _decisions(answer: Any) -> list[Mapping[str, Any]]:
    given = answer.get("decisions", [answer]) if isinstance(answer, Mapping) else answer
    if not isinstance(given, list) or not all(isinstance(one, Mapping) for one in given):
        raise _unusable("The answer has no list of decisions.")
    return given


def _paired(asks: list[Payload], said: list[Mapping[str, Any]]) -> list[tuple[Payload, Mapping[str, Any]]]:
    """Each approval with its decision: by ids where these are named, else where no order could be mistaken."""
    if any("approval_id" in one for one in said):
        named = {str(one.get("approval_id")): one for one in said}
        if named.keys() != {ask["approval_id"] for ask in asks}:
            raise _unusable("The decisions name other approvals than were shown.")
        return [(ask, named[ask["approval_id"]]) for ask in asks]
    kinds = {_SAME.get(str(one.get("type")), "") for one in said}
    if len(asks) > 1 and (len(kinds) > 1 or "" in kinds):
        raise _unusable(
            f"{len(asks)} approvals have different answers, which are told apart by nothing but their order."
        )
    return list(zip(asks, said, strict=True))


def _decision(ask: Payload, one: Mapping[str, Any]) -> str | Payload:
    kind = str(one.get("type"))
    if kind in _SAME:
        return _SAME[kind]
    if kind in _WORDS and isinstance(one.get("message") or one.get("args"), str):
        return "reject"
    action = one.get("edited_action") or one.get("args")
    if kind != "edit" or not isinstance(action, Mapping) or not isinstance(action.get("args"), Mapping):
        raise _unusable(f"A decision of the type {kind!r} does not answer an approval.")
    if action.get("name", action.get("action")) not in (None, ask["tool"]):
        raise _unusable(f"An edit changes the arguments of {ask['tool']}, not the tool.")
    return {"decision": "edit", "arguments": dict(action["args"])}


def _unusable(why: str) -> InvalidInput:
    hint = 'Each {"approval_id": ..., "type": "approve"}, or "reject", or "edit" with "edited_action": {"args": {...}}.'
    return InvalidInput(why, hint=hint, fix_by="operator")
