"""What became of an act whose approval was used: for an answer that comes too late, and for the page of the approval.

A no counts until the act has begun to write. After that the truth is told instead: to whoever said it, and, where the
act is done, to every later run of it, whose result then says so in a ``note``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any, Final

from deputize.core.approvals.record import ApprovalRecord, Status
from deputize.core.errors import Conflict
from deputize.core.user_requests import Approval, Outcome
from deputize.core.vault.grant import User
from deputize.core.vault.vault import Record, Vault

OUTCOMES: Final[Mapping[str, Outcome]] = {"done": "done", "claimed": "under_way", "unknown": "unknown"}
"""An act's outcome by the state of its row in the ledger."""


async def row_of(vault: Vault, user: User, approval: ApprovalRecord) -> Record | None:
    """The row in the ledger of the act that used this approval."""
    used = approval.act and approval.status is Status.USED
    return await vault.get("act", vault.place(user) + approval.act) if used else None


def outcome_of(record: Record | None) -> tuple[Outcome, float]:
    """How an act stands, by its row, and when it came to that, in Unix seconds."""
    content = record.json if record else {}
    return OUTCOMES.get(content.get("state", ""), ""), float(content.get("at", 0.0))


async def too_late(
    vault: Vault, user: User, approval: ApprovalRecord, shown: Approval, said: str, now: float, zone: tzinfo | None
) -> Conflict:
    """The error that answers whoever has ``said`` approve, reject or edit to an approval that was decided before.

    A no to what is done is noted there: see `with_note`.
    """
    if shown.status != "used":
        return Conflict(f"This approval was already {shown.status}.", reason="already_done")
    record = await row_of(vault, user, approval)
    if said == "reject" and record is not None and record.json["state"] == "done":
        await vault.swap(record, record.json | {"late_no": now, "effect": shown.effect})
    hint = "Look at the provider what became of it." if shown.outcome != "done" else ""
    return Conflict(f"Too late: {what_is_so(shown, zone)}.", reason="already_done", hint=hint)


def with_note(content: Mapping[str, Any]) -> Any:
    """The recorded result of a done act; with a ``note`` where the user has said no to it since."""
    result = content["result"]
    if not content.get("late_no") or not isinstance(result, dict):
        return result
    when = f"{_verb(content['effect'])}{_at(content.get('at', 0.0), UTC)}"
    return {"note": f"The user said no to this, but too late: it was already {when}.", **result}


def what_is_so(approval: Approval, zone: tzinfo | None) -> str:
    """How the act stands that used this approval: ``it was already sent at 22:36 UTC``. ``zone``: None for here."""
    if approval.outcome == "done":
        return f"it was already {_verb(approval.effect)}{_at(approval.ended_at, zone)}"
    if approval.outcome == "unknown":
        return f"it was begun{_at(approval.ended_at, zone)}, and nobody knows whether it was {_verb(approval.effect)}"
    return "it has begun"


def _verb(effect: str) -> str:
    return "sent" if effect == "sends" else "done"


def _at(when: float, zone: tzinfo | None) -> str:
    return f" at {datetime.fromtimestamp(when, UTC).astimezone(zone):%H:%M %Z}" if when else ""
