"""Audit rows as events of the Open Cybersecurity Schema Framework, version 1.8: https://schema.ocsf.io/1.8.0/

`EVENT_CLASSES` maps every audit event: acts are API Activity (6003); approvals, mandates, consents, grants, keys and
everything else that is kept are Entity Management (3004). An event contains ids, pseudonyms, names of tools and keyed
digests. It never contains what the act was about: the encrypted summary and the operator's own words are left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from deputize.core.audit.cursor import GenuineRow
from deputize.core.audit.events import ChainAnchor
from deputize.core.audit.rows import Row
from deputize.core.errors import PolicyDenied

OCSF_VERSION: Final = "1.8.0"
PRODUCT: Final = {"name": "deputize", "vendor_name": "deputize"}
WITHHELD: Final = frozenset({"sealed", "cause", "justification", "why"})
"""Fields that no OCSF event contains."""

API_ACTIVITY: Final = 6003
ENTITY_MANAGEMENT: Final = 3004
CREATE, READ, UPDATE, DELETE, OTHER = 1, 2, 3, 4, 99
ENABLE, ACTIVATE, DEACTIVATE, SUSPEND, RESUME = 8, 10, 11, 12, 13
INFORMATIONAL, LOW, MEDIUM, HIGH = 1, 2, 3, 4
SUCCESS, FAILURE, OTHER_STATUS = 1, 2, 99
_STATUS: Final = {SUCCESS: "Success", FAILURE: "Failure", OTHER_STATUS: "Other"}
_EFFECTS: Final = {"reads": READ, "writes": UPDATE, "sends": CREATE, "destructive": DELETE}
_PENDING: Final = frozenset({"approval_required", "consent_required"})
_UNCLEAR: Final = frozenset({"outcome_unknown", "interrupted"})
_CHAIN: Final = frozenset({"ts", "writer", "seq", "event", "prev", "mac"})


class EventClass(NamedTuple):
    """The OCSF class of an audit event. ``entity``: what is managed; "" for an API activity. ``uid``: the row's field
    with the id of the entity; if a row lacks it, the entity has only a name."""

    entity: str
    uid: str = ""
    activity: int = OTHER
    status: int = SUCCESS
    severity: int = INFORMATIONAL


def _api(activity: int = OTHER, status: int = SUCCESS, severity: int = INFORMATIONAL) -> EventClass:
    return EventClass("", "", activity, status, severity)


def _misused(severity: int = MEDIUM) -> EventClass:
    return EventClass("consent", "consent_id", OTHER, FAILURE, severity)


EVENT_CLASSES: Final[Mapping[str, EventClass]] = {
    "act.intent": _api(),
    "act.result": _api(),
    "ledger.save_failed": _api(UPDATE, FAILURE, MEDIUM),
    "approval.requested": EventClass("approval", "approval_id", CREATE),
    "approval.approved": EventClass("approval", "approval_id", ENABLE),
    "approval.rejected": EventClass("approval", "approval_id", DEACTIVATE),
    "approval.edited": EventClass("approval", "approval_id", UPDATE),
    "approval.used": EventClass("approval", "approval_id", ACTIVATE),
    "approval.released": EventClass("approval", "approval_id", RESUME),
    "approval.too_late": EventClass("approval", "approval_id", DEACTIVATE, FAILURE, LOW),
    "mandate.given": EventClass("mandate", "mandate_id", CREATE),
    "mandate.used": EventClass("mandate", "mandate_id", ACTIVATE),
    "mandate.released": EventClass("mandate", "mandate_id", RESUME),
    "mandate.ended": EventClass("mandate", "mandate_id", DELETE),
    "consent.requested": EventClass("consent", "consent_id", CREATE),
    "consent.opened": EventClass("consent", "consent_id", READ),
    "consent.granted": EventClass("consent", "consent_id", ENABLE),
    "consent.partial": EventClass("consent", "consent_id", ENABLE),
    "consent.denied": EventClass("consent", "consent_id", DEACTIVATE),
    "consent.failed": EventClass("consent", "consent_id", DEACTIVATE, FAILURE, LOW),
    "consent.cancelled": EventClass("consent", "consent_id", DEACTIVATE),
    "connect.link_ended": _misused(LOW),
    "connect.unknown_state": _misused(),
    "connect.unknown_consent": _misused(),
    "connect.user_mismatch": _misused(HIGH),
    "connect.replayed": _misused(),
    "connect.app_mismatch": _misused(HIGH),
    "connect.expired_state": _misused(LOW),
    "connect.browser_mismatch": _misused(HIGH),
    "connect.issuer_mismatch": _misused(HIGH),
    "connect.device_code_late": _misused(LOW),
    "account.chosen": EventClass("grant", "account_hash", ACTIVATE),
    "account.deselected": EventClass("grant", "account_hash", DEACTIVATE),
    "grant.obtained": EventClass("grant", "account_hash", CREATE),
    "grant.not_obtained": EventClass("grant", "account_hash", CREATE, FAILURE, LOW),
    "token.refreshed": EventClass("grant", "account_hash", UPDATE),
    "token.refresh_failed": EventClass("grant", "account_hash", UPDATE, FAILURE, LOW),
    "token.save_failed": EventClass("grant", "account_hash", UPDATE, FAILURE, MEDIUM),
    "grant.lost": EventClass("grant", "account_hash", DEACTIVATE, severity=LOW),
    "grant.suspected": EventClass("grant", "account_hash", SUSPEND, severity=LOW),
    "grant.ends_soon": EventClass("grant", "account_hash", OTHER, severity=LOW),
    "grant.cleared": EventClass("grant", "account_hash", RESUME),
    "provider.refuses_tokens": EventClass("provider", "provider", SUSPEND, severity=MEDIUM),
    "grant.revoked": EventClass("grant", "account_hash", DELETE),
    "grants.ended": EventClass("grants", "epoch", DELETE, severity=MEDIUM),
    "grant.snapshot": EventClass("grant", "account_hash", READ),
    "grant.restored": EventClass("grant", "account_hash", OTHER, severity=LOW),
    "grant.dropped": EventClass("grants", "", DELETE, severity=MEDIUM),
    "policy.loaded": EventClass("policy", "file", UPDATE, severity=LOW),
    "policy.refused": EventClass("policy", "file", UPDATE, FAILURE, MEDIUM),
    "budget.spent": EventClass("budget", "budget", UPDATE),
    "budget.released": EventClass("budget", "budget", RESUME),
    "operator.disconnects": EventClass("user", "user", DEACTIVATE, severity=MEDIUM),
    "chat.linked": EventClass("user", "user", UPDATE, severity=LOW),
    "user.offboarded": EventClass("user", "user", DEACTIVATE, severity=MEDIUM),
    "user.sessions_ended": EventClass("user", "user", SUSPEND, severity=LOW),
    "user.erased": EventClass("user", "user", DELETE, severity=LOW),
    "tenant.erased": EventClass("tenant", "tenant", DELETE, severity=MEDIUM),
    "revoke.replaced": EventClass("token", "entry", OTHER),
    "revoke.done": EventClass("token", "entry", DELETE),
    "revoke.queued": EventClass("token", "entry", DELETE, OTHER_STATUS),
    "revoke.moved": EventClass("token", "entry", DELETE, FAILURE, LOW),
    "revoke.not_supported": EventClass("token", "entry", DELETE, FAILURE, LOW),
    "revoke.abandoned": EventClass("token", "entry", DELETE, FAILURE, MEDIUM),
    "key.added": EventClass("root key", "key", CREATE, severity=LOW),
    "key.removed": EventClass("root key", "key", DELETE, severity=LOW),
    "key.resealed": EventClass("root key", "key", UPDATE),
    "key.wrapped": EventClass("root key", "key", UPDATE, severity=LOW),
    "key.rotated": EventClass("audit key", "key", CREATE, severity=LOW),
    "vault.copied": EventClass("vault", "", OTHER, severity=LOW),
    "vault.restored": EventClass("vault", "", OTHER, severity=MEDIUM),
    "restore.accepted": EventClass("vault", "", UPDATE, severity=HIGH),
    "database.failed_over": EventClass("database", "timeline", OTHER, severity=MEDIUM),
    "vault.recreated": EventClass("vault", "", CREATE, severity=HIGH),
    "chain.anchor": EventClass("audit chain", "writer", OTHER),
    "chain.closed": EventClass("audit chain", "closed", DEACTIVATE),
    "audit.viewed": EventClass("audit", "", READ),
    "audit.dropped": EventClass("audit", "", DELETE, severity=LOW),
    "audit.lost": EventClass("audit", "", DELETE, FAILURE, HIGH),
}
"""The class of every event in `deputize.core.audit.events.EVENTS`. A test fails for an event that is missing here."""


def ocsf_event(made: GenuineRow) -> dict[str, Any]:
    """Return the OCSF event of a row. The event of an unknown kind, from a newer version, is a managed entity."""
    row = made.row
    kind = EVENT_CLASSES.get(row["event"]) or EventClass("audit")
    event = _managed(row, kind) if kind.entity else _activity(row, kind)
    event |= {
        "category_uid": event["class_uid"] // 1000,
        "type_uid": event["class_uid"] * 100 + event["activity_id"],
        "time": row["ts"] // 1_000_000,
        "status": _STATUS[event["status_id"]],
        "metadata": _metadata(made),
    }
    if event["activity_id"] == OTHER:
        event["activity_name"] = row["event"]
    if (actor := _actor(row)) or not kind.entity:
        event["actor"] = actor or {"app_name": PRODUCT["name"]}
    if row["event"] == ChainAnchor.event:
        event["raw_data"] = made.line.decode("ascii")
    without = _CHAIN | WITHHELD | (_MAPPED if kind.entity else _MAPPED_IN_ACTIVITY)
    event["unmapped"] = {"mac": row["mac"]} | {name: value for name, value in row.items() if name not in without}
    return event


def ocsf_line(made: GenuineRow) -> bytes:
    """Return the OCSF event as one line of ASCII JSON, without the line end."""
    return json.dumps(ocsf_event(made), separators=(",", ":")).encode("ascii")


def anchor_in(line: str) -> str | None:
    """Return the row in an OCSF event, or None if the line is not one. "" stands for an event without a row."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict) or "class_uid" not in event or "metadata" not in event:
        return None
    raw = event.get("raw_data", "")
    return raw if isinstance(raw, str) else ""


_MAPPED: Final = frozenset({"tenant", "user", "agent", "thread", "run", "rule"})
"""Fields that have an attribute in every class."""
_MAPPED_IN_ACTIVITY: Final = _MAPPED | {"tool", "provider", "call_id", "decision", "duration_ms"}


def _text(row: Row, name: str) -> str:
    value = row.get(name, "")
    return str(value) if isinstance(value, str | int) else ""


def _metadata(made: GenuineRow) -> dict[str, Any]:
    row = made.row
    found = {
        "version": OCSF_VERSION,
        "product": PRODUCT,
        "uid": made.uid,
        "event_code": row["event"],
        "log_name": "audit",
        "sequence": row["seq"],
    }
    if tenant := _text(row, "tenant"):
        found["tenant_uid"] = tenant
    if run := _text(row, "run"):
        found["correlation_uid"] = run
    return found


def _actor(row: Row) -> dict[str, Any]:
    actor: dict[str, Any] = {}
    if user := _text(row, "user"):
        actor["user"] = {"uid": user, "type_id": 1}
    if agent := _text(row, "agent"):
        actor["app_name"] = agent
    if thread := _text(row, "thread"):
        actor["session"] = {"uid": thread}
    decision, rule = _text(row, "decision"), _text(row, "rule")
    if actor and (decision or rule):
        denied = decision == PolicyDenied.code
        authorization: dict[str, Any] = {"decision": "denied" if denied else _text(row, "answered_by") or "allowed"}
        actor["authorizations"] = [authorization | ({"policy": {"uid": rule}} if rule else {})]
    return actor


def _activity(row: Row, kind: EventClass) -> dict[str, Any]:
    decision, provider = _text(row, "decision"), _text(row, "provider")
    status, severity = kind.status, kind.severity
    if decision in _UNCLEAR:
        status, severity = OTHER_STATUS, MEDIUM
    elif decision and decision != "done":
        status = OTHER_STATUS if decision in _PENDING else FAILURE
        severity = LOW if decision == PolicyDenied.code else severity
    elif row["event"] == "act.intent":
        status = OTHER_STATUS
    api: dict[str, Any] = {"operation": _text(row, "tool") or row["event"]}
    if provider:
        api["service"] = {"name": provider}
    if call := _text(row, "call_id"):
        api["request"] = {"uid": call}
    event: dict[str, Any] = {
        "class_uid": API_ACTIVITY,
        "activity_id": _EFFECTS.get(_text(row, "effect"), kind.activity),
        "severity_id": severity,
        "status_id": status,
        "api": api,
        "src_endpoint": {"name": PRODUCT["name"], "instance_uid": row["writer"]},
    }
    if decision:
        event["status_code"] = decision
    if type(duration := row.get("duration_ms")) is int:
        event["duration"] = duration
    if account := _text(row, "account_hash"):
        event["resources"] = [{"uid": account, "type": "oauth_account"}]
    return event


def _managed(row: Row, kind: EventClass) -> dict[str, Any]:
    uid = _text(row, kind.uid) if kind.uid else ""
    entity: dict[str, Any] = {"type_id": OTHER, "type": kind.entity, **({"uid": uid} if uid else {"name": kind.entity})}
    if kind.entity == "grant" and (generation := _text(row, "grant_gen")):
        entity["version"] = generation
    if kind.entity == "user" and uid:
        entity |= {"type_id": 2, "user": {"uid": uid, "type_id": 1}}
    event: dict[str, Any] = {
        "class_uid": ENTITY_MANAGEMENT,
        "activity_id": kind.activity,
        "severity_id": HIGH if row.get("leaked") is True else kind.severity,
        "status_id": kind.status,
        "entity": entity,
    }
    if reason := _text(row, "reason"):
        event["status_code"] = reason
    return event
