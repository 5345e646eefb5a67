"""The ledger and the approvals against the audit: what was done, and is not known any more where it must be.

Whoever can write the vault's disk can delete the record of an act, or put the record of an approval back that had not
been used then, or of a mandate that was used less or had not ended. After the first the same call, run again, is done
again, unless it needed a yes; after both it is done again with the old yes; after the last more acts begin than the
user allowed. The audit tells of every write that was done, so the difference shows (`deputize doctor`).

Not found: what was done before a backup was put back or by a call without an id, an act whose rows the audit has lost,
and records that have expired.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final, Literal, TypeAlias

from deputize.core.approvals.mandate_record import MandateRecord
from deputize.core.approvals.outcome import LedgerRecord, State
from deputize.core.approvals.record import ApprovalRecord, Status
from deputize.core.audit.events import ActIntent, ActResult, ApprovalUsed, MandateEnded, UserErased, VaultRestored
from deputize.core.audit.reader import read
from deputize.core.audit.rows import Key, Row
from deputize.core.audit.trail import Trail
from deputize.core.value_object import ValueObject, frozen
from deputize.core.vault.vault import Vault

Kind: TypeAlias = Literal["act", "approval", "mandate"]
Call: TypeAlias = tuple[str, ...]
"""What rows of one call have in common."""

_SAME: Final = ("tenant", "user", "thread", "call_id", "tool")


@frozen
class LostRecord(ValueObject):
    """A record that must be there and is not, or is an older one. ``user`` as the audit names them, ``at``: Unix
    seconds of the act."""

    kind: Kind
    tool: str
    user: str
    at: float


async def lost_records(vault: Vault, trail: Trail, now: float) -> list[LostRecord]:
    """What the audit says was done and the vault does not know. ``now``: Unix seconds. Raises `StoreUnavailable`."""
    ring = [Key(key) for key in vault.keys.audits]
    rows = await asyncio.to_thread(lambda: [row for row in read(trail, ring=ring) if "unproven" not in row])
    intents, used = _done(rows)
    ended = {row.key: LedgerRecord.of(row).state for row in await vault.scan("act")}
    acts = {key for key, state in ended.items() if state is not State.UNKNOWN}  # what was done is known as done
    known = {key.value([record_key]) for key in ring for record_key in acts}
    approvals = [ApprovalRecord.of(row) for row in await vault.scan("approval")]
    unused = {one.id for one in approvals if one.status in (Status.PENDING, Status.APPROVED)}
    gone = [row for row in intents if _counts(row, now) and row["record"] not in known]
    back = [row for row in used if row["approval_id"] in unused]
    anew = await _spent_anew(vault, rows, intents, ring)
    lost: list[tuple[Kind, list[Row]]] = [("act", gone), ("approval", back), ("mandate", anew)]
    return [_lost(kind, row) for kind, found in lost for row in found]


async def _spent_anew(vault: Vault, rows: Iterable[Row], intents: Iterable[Row], ring: Iterable[Key]) -> list[Row]:
    """The rows of acts whose use their mandate does not know any more, and of mandates that count though they ended."""
    held = {one.id: one for one in map(MandateRecord.of, await vault.scan("mandate"))}
    places = [(id, one.place.key.rpartition(".")[0] + f".{act}") for id, one in held.items() for act in one.spent]
    spent = {(id, key.value([record_key])) for id, record_key in places for key in ring}
    by = ((row, row.get("answered_by")) for row in intents)
    unconsumed = [row for row, mandate in by if mandate in held and (mandate, row.get("record")) not in spent]
    counts = {id for id, one in held.items() if not one.ended}
    return unconsumed + [row for row in rows if row["event"] == MandateEnded.event and row["mandate_id"] in counts]


def _counts(intent: Row, now: float) -> bool:
    """Whether its outcome must be known still; rows of earlier versions do not say where."""
    return "record" in intent and now < intent["ts"] / 1e9 + intent["kept"]


def _lost(kind: Kind, row: Row) -> LostRecord:
    return LostRecord(kind, row.get("tool", "a mandate"), row.get("user", ""), row["ts"] / 1e9)


def _done(rows: list[Row]) -> tuple[list[Row], list[Row]]:
    """The intents, and the used approvals, of what was done since a backup was put back, by users who are still there.

    Of calls with an id only: rows of two others cannot be told apart.
    """
    since = max((row["ts"] for row in rows if row["event"] == VaultRestored.event), default=0)
    erased = {_user(row): row["ts"] for row in rows if row["event"] == UserErased.event}
    begun: dict[Call, dict[str, Row]] = {}
    done: dict[str, list[Row]] = {ActIntent.event: [], ApprovalUsed.event: []}
    for row in rows:
        if not row.get("call_id") or row["ts"] < max(since, erased.get(_user(row), 0)):
            continue
        call = tuple(str(row.get(name, "")) for name in _SAME)
        if row["event"] in done:
            begun.setdefault(call, {})[row["event"]] = row
        elif row["event"] == ActResult.event:
            ended = begun.pop(call, {})
            for event in ended if row.get("decision") == "done" else ():
                done[event].append(ended[event])
    return done[ActIntent.event], done[ApprovalUsed.event]


def _user(row: Row) -> tuple[str, str]:
    return row.get("tenant", ""), row.get("user", "")
