"""Comparison of the vault with the audit, to find records that are missing or have been restored to an older state.

Anybody who can write the vault's disk can delete the record of an act, or restore an older record of an approval or a
mandate. If the record of an act is deleted, an act that needs no approval is done again when its call is repeated. If
an approval is restored to its unused state, the act is done again with that approval. If a mandate is restored, more
acts begin than the user allowed. Damage can also hide an open consent, a pending approval, a mandate, or a queued
revocation, whose tokens then stay valid. The audit records all of these, so the difference can be found
(`deputize doctor`). `deputize.core.vault.rollback` does the same for grants.

The audit is a good reference, because it is keyed, chained, and outside of the vault. So it is not restored with the
vault, and no write has to update a counter.

Not found: records from before a backup was restored, calls without an id, records whose audit rows are lost, and
records that have expired. A queued revocation is in the audit only from its first attempt on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final, Literal, TypeAlias

from deputize.core.approvals.mandate_record import MandateRecord
from deputize.core.approvals.outcome import LedgerRecord, State
from deputize.core.approvals.record import ApprovalRecord, Status
from deputize.core.audit.events import (
    ENDS,
    EVENTS,
    REVOKES,
    ActIntent,
    ActResult,
    ApprovalRequested,
    ApprovalUsed,
    ConsentRequested,
    MandateEnded,
    MandateGiven,
    RevokeReplaced,
    TenantErased,
    UserErased,
    VaultRestored,
)
from deputize.core.audit.reader import read
from deputize.core.audit.rows import Key, Row
from deputize.core.audit.trail import Trail
from deputize.core.consent.record import CONSENT_TTL as CONSENT_KEPT
from deputize.core.consent.record import ConsentRecord
from deputize.core.value_object import ValueObject, frozen
from deputize.core.vault.vault import Vault

Kind: TypeAlias = Literal["act", "approval", "mandate", "consent", "outbox"]
Call: TypeAlias = tuple[str, ...]
"""The fields that identify a call in audit rows."""

_SAME: Final = ("tenant", "user", "thread", "call_id", "tool")
_APPROVAL_EVENTS: Final = frozenset(name for name in EVENTS if name.startswith("approval."))
_CONSENT_ENDS: Final = frozenset(kind.event for kind in ENDS.values())
_WAITING: Final = frozenset(REVOKES[state].event for state in ("queued", "moved", "abandoned"))
_QUEUE_EVENTS: Final = frozenset({*(kind.event for kind in REVOKES.values()), RevokeReplaced.event})
"""Events of an entry of the revocation queue; it is in the queue after one of ``_WAITING``."""


@frozen
class LostRecord(ValueObject):
    """A record that is missing or older than the audit proves. ``tool``: the tool, or the provider. ``user``: the
    user's name in the audit. ``at``: time of the audit row in Unix seconds. ``gone``: True if the record is missing."""

    kind: Kind
    tool: str
    user: str
    at: float
    gone: bool


async def lost_records(vault: Vault, trail: Trail, now: float) -> list[LostRecord]:
    """Return the records that the audit proves and that the vault lacks or has in an older state. ``now``: Unix
    seconds. Raises `StoreUnavailable`."""
    ring = [Key(key) for key in vault.keys.audits]
    rows = await asyncio.to_thread(lambda: [row for row in read(trail, ring=ring) if "unproven" not in row])
    intents, used = _find_done(rows)
    ended = {row.key: LedgerRecord.of(row).state for row in (await vault.scan_openable("act"))[0]}
    acts = {key for key, state in ended.items() if state is not State.UNKNOWN}  # what was done is known as done
    known = {key.value([record_key]) for key in ring for record_key in acts}
    approvals = [ApprovalRecord.of(row) for row in (await vault.scan_openable("approval"))[0]]
    unused = {one.id for one in approvals if one.status in (Status.PENDING, Status.APPROVED)}
    gone = [row for row in intents if _counts(row, now) and row["record"] not in known]
    back = [row for row in used if row["approval_id"] in unused]
    anew = await _find_reverted(vault, rows, intents, ring)
    lost: list[tuple[Kind, bool, list[Row]]] = [
        ("act", True, gone),
        ("approval", False, back),
        ("mandate", False, anew),
    ]
    lost += await _find_missing(vault, rows, ring, {one.id for one in approvals}, now)
    return [_lost_record(kind, missing, row) for kind, missing, found in lost for row in found]


async def _find_missing(
    vault: Vault, rows: Sequence[Row], ring: Sequence[Key], approvals: Collection[str], now: float
) -> list[tuple[Kind, bool, list[Row]]]:
    """Return the rows of pending approvals, valid mandates, open consents and queued revocations without records."""
    mandates = {one.id for one in map(MandateRecord.of, (await vault.scan_openable("mandate"))[0])}
    consents = [ConsentRecord.of(row) for row in (await vault.scan_openable("consent"))[0]]
    known = {one.id for one in consents} | {earlier.id for one in consents for earlier in one.before}
    entries = [row.key for row in (await vault.scan_openable("outbox"))[0]]
    queued = {key.value([entry]) for key in ring for entry in entries}
    recent = _since_restore(rows)
    by_call = _newest(recent, _APPROVAL_EVENTS, lambda row: tuple(str(row.get(name, "")) for name in _SAME))
    by_mandate = _newest(recent, (MandateGiven.event, MandateEnded.event), lambda row: (row["mandate_id"],))
    by_need = _newest(
        recent, (ConsentRequested.event,), lambda row: (*_user(row), row["app"], *row.get("scopes_required", ()))
    )
    ended = {row["consent_id"] for row in recent if row["event"] in _CONSENT_ENDS}
    by_entry = _newest((row for row in rows if "entry" in row), _QUEUE_EVENTS, lambda row: (row["entry"],))
    return [
        ("approval", True, [row for row in by_call if _is_kept(row, now) and row["approval_id"] not in approvals]),
        ("mandate", True, [row for row in by_mandate if _is_valid(row, now) and row["mandate_id"] not in mandates]),
        ("consent", True, [row for row in by_need if _is_open(row, now) and row["consent_id"] not in known | ended]),
        ("outbox", True, [row for row in by_entry if row["event"] in _WAITING and row["entry"] not in queued]),
    ]


def _since_restore(rows: Sequence[Row]) -> list[Row]:
    """Return the audit rows since the last restored backup, without those of erased users and tenants."""
    since = max((row["ts"] for row in rows if row["event"] == VaultRestored.event), default=0)
    erased = {_user(row): row["ts"] for row in rows if row["event"] == UserErased.event}
    tenants = {row["tenant"]: row["ts"] for row in rows if row["event"] == TenantErased.event}
    return [
        row for row in rows if row["ts"] >= max(since, erased.get(_user(row), 0), tenants.get(row.get("tenant", ""), 0))
    ]


def _newest(rows: Iterable[Row], events: Collection[str], group: Callable[[Row], Call]) -> list[Row]:
    """Return the newest of these events in each group."""
    found: dict[Call, Row] = {}
    for row in rows:
        if row["event"] in events:
            found[group(row)] = row
    return list(found.values())


def _is_kept(row: Row, now: float) -> bool:
    return row["event"] == ApprovalRequested.event and bool(row.get("call_id")) and _lasts(row, row.get("kept", 0), now)


def _is_valid(row: Row, now: float) -> bool:
    return bool(row["event"] == MandateGiven.event and now < row["valid_until"])


def _is_open(row: Row, now: float) -> bool:
    return _lasts(row, CONSENT_KEPT, now)


def _lasts(row: Row, seconds: float, now: float) -> bool:
    return bool(now < row["ts"] / 1e9 + seconds)


async def _find_reverted(vault: Vault, rows: Iterable[Row], intents: Iterable[Row], ring: Iterable[Key]) -> list[Row]:
    """Return the rows of acts that are not counted in their mandate, and of ended mandates that are valid again."""
    held = {one.id: one for one in map(MandateRecord.of, (await vault.scan_openable("mandate"))[0])}
    places = [(id, one.place.key.rpartition(".")[0] + f".{act}") for id, one in held.items() for act in one.spent]
    spent = {(id, key.value([record_key])) for id, record_key in places for key in ring}
    by = ((row, row.get("answered_by")) for row in intents)
    unconsumed = [row for row, mandate in by if mandate in held and (mandate, row.get("record")) not in spent]
    counts = {id for id, one in held.items() if not one.ended}
    return unconsumed + [row for row in rows if row["event"] == MandateEnded.event and row["mandate_id"] in counts]


def _counts(intent: Row, now: float) -> bool:
    """Return True if the act's outcome must still be in the ledger. False for rows of earlier versions, which do not
    name the record."""
    return "record" in intent and now < intent["ts"] / 1e9 + intent["kept"]


def _lost_record(kind: Kind, gone: bool, row: Row) -> LostRecord:
    what = row.get("tool") or row.get("provider") or "a mandate"
    return LostRecord(kind, what, row.get("user", ""), row["ts"] / 1e9, gone)


def _find_done(rows: list[Row]) -> tuple[list[Row], list[Row]]:
    """Return the intents and the used approvals of acts done since the last restored backup, without erased users.

    Calls without an id are ignored, because their audit rows cannot be told apart.
    """
    begun: dict[Call, dict[str, Row]] = {}
    done: dict[str, list[Row]] = {ActIntent.event: [], ApprovalUsed.event: []}
    for row in _since_restore(rows):
        if not row.get("call_id"):
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
