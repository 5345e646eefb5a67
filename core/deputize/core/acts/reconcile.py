"""Comparison of the vault with the audit, to find records that are missing or have been restored to an older state.

Anybody who can write the vault's disk can delete the record of an act, or restore an older record of an approval or a
mandate. Without its record, the same call is done again if it needs no approval. With an unused approval restored, it
is done again with that approval. With a mandate restored, more acts begin than the user allowed. The audit records
every write that was done, so the difference can be found (`deputize doctor`).

Not found: acts from before a backup was restored, calls without an id, acts whose audit rows are lost, and records that
have expired.
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
"""The fields that identify a call in audit rows."""

_SAME: Final = ("tenant", "user", "thread", "call_id", "tool")


@frozen
class LostRecord(ValueObject):
    """A record that is missing or older than the audit says. ``user``: as the audit names them. ``at``: time of the act
    in Unix seconds."""

    kind: Kind
    tool: str
    user: str
    at: float


async def lost_records(vault: Vault, trail: Trail, now: float) -> list[LostRecord]:
    """Return the records that the audit proves and the vault lacks. ``now``: Unix seconds. Raises
    `StoreUnavailable`."""
    ring = [Key(key) for key in vault.keys.audits]
    rows = await asyncio.to_thread(lambda: [row for row in read(trail, ring=ring) if "unproven" not in row])
    intents, used = _find_done(rows)
    ended = {row.key: LedgerRecord.of(row).state for row in await vault.scan("act")}
    acts = {key for key, state in ended.items() if state is not State.UNKNOWN}  # what was done is known as done
    known = {key.value([record_key]) for key in ring for record_key in acts}
    approvals = [ApprovalRecord.of(row) for row in await vault.scan("approval")]
    unused = {one.id for one in approvals if one.status in (Status.PENDING, Status.APPROVED)}
    gone = [row for row in intents if _counts(row, now) and row["record"] not in known]
    back = [row for row in used if row["approval_id"] in unused]
    anew = await _find_reverted(vault, rows, intents, ring)
    lost: list[tuple[Kind, list[Row]]] = [("act", gone), ("approval", back), ("mandate", anew)]
    return [_lost_record(kind, row) for kind, found in lost for row in found]


async def _find_reverted(vault: Vault, rows: Iterable[Row], intents: Iterable[Row], ring: Iterable[Key]) -> list[Row]:
    """Return the rows of acts whose mandate does not record their use, and of ended mandates that are valid again."""
    held = {one.id: one for one in map(MandateRecord.of, await vault.scan("mandate"))}
    places = [(id, one.place.key.rpartition(".")[0] + f".{act}") for id, one in held.items() for act in one.spent]
    spent = {(id, key.value([record_key])) for id, record_key in places for key in ring}
    by = ((row, row.get("answered_by")) for row in intents)
    unconsumed = [row for row, mandate in by if mandate in held and (mandate, row.get("record")) not in spent]
    counts = {id for id, one in held.items() if not one.ended}
    return unconsumed + [row for row in rows if row["event"] == MandateEnded.event and row["mandate_id"] in counts]


def _counts(intent: Row, now: float) -> bool:
    """Return True if the outcome must still be recorded. Rows of earlier versions do not name the record."""
    return "record" in intent and now < intent["ts"] / 1e9 + intent["kept"]


def _lost_record(kind: Kind, row: Row) -> LostRecord:
    return LostRecord(kind, row.get("tool", "a mandate"), row.get("user", ""), row["ts"] / 1e9)


def _find_done(rows: list[Row]) -> tuple[list[Row], list[Row]]:
    """Return the intents and the used approvals of acts done since the last restored backup, by users who still exist.

    Calls without an id are ignored, because their rows cannot be told apart.
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
