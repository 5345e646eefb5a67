"""The consent as a state machine: its transitions, what its end removes, and its stable JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any, get_args

import pytest

from deputize.core.consent.record import (
    MOVES,
    PENDING,
    AnyLocalUser,
    ConsentRecord,
    DeviceWait,
    EndStatus,
    Former,
    Status,
    Visit,
)
from deputize.core.vault.encoding import encode
from deputize.core.vault.grant import Origin, Secret, User
from deputize.core.vault.vault import Record

NOW = 1_800_000_000.0
ORIGIN = Origin("client", ("", "https://a.example/auth", "https://a.example/token"), ("", ""), frozenset({"a.example"}))


def record(**more: Any) -> ConsentRecord:
    facts: dict[str, Any] = {"id": "one", "user": User("alice", "acme"), "provider": "google", "app": "google"}
    return ConsentRecord(**facts, scopes=("a", "b"), ticket_expires=NOW + 600, expires=NOW + 86400, **more)


def visit(name: str = "v") -> Visit:
    return Visit(f"state-{name}", f"nonce-{name}", Secret(f"verifier-{name}"), NOW + 600)


def returned() -> ConsentRecord:
    opened = record().open(visit(), redirect_uri="https://x/callback", asked=frozenset("ab"), origin=ORIGIN)
    return opened.receive_code(visit(), Secret("the-code"), NOW)


def row_of(content: dict[str, Any]) -> Record:
    return Record("consent", "key", 1, encode(content), b"")


def test_pending_states_lead_somewhere_and_final_states_nowhere() -> None:
    assert set(MOVES) == PENDING and set(get_args(Status)) - PENDING == set(get_args(EndStatus))


@pytest.mark.parametrize("status", get_args(EndStatus))
def test_ended_consent_cannot_change_state(status: EndStatus) -> None:
    over = record().copy_with(status=status)
    moves: list[Callable[[], object]] = [
        lambda: over.open(visit(), redirect_uri="", asked=frozenset(), origin=ORIGIN),
        lambda: over.receive_code(visit(), Secret("code"), NOW),
        lambda: over.confirm(0.0),
        lambda: over.renew_ticket(NOW),
        lambda: over.end("granted", "", NOW),
    ]
    for move in moves:
        with pytest.raises(RuntimeError, match="does not move"):
            move()


def test_consent_is_not_granted_before_confirmation() -> None:
    with pytest.raises(RuntimeError, match="from returned to granted"):
        returned().end("granted", "", NOW)
    assert returned().confirm(0.0).end("granted", "", NOW).status == "granted"


def test_confirmed_consent_drops_code_and_verifier_and_ended_consent_drops_visits() -> None:
    confirmed = returned().confirm(0.0)
    assert not confirmed.code and [bool(one.verifier) for one in confirmed.visits] == [False]
    ended = returned().end("failed", "raced", NOW).pack()
    assert not {"visits", "code", "device"} & ended.keys() and ended["finished"] == NOW


def test_only_the_last_three_visits_are_kept() -> None:
    now = record()
    for name in "abcd":
        now = now.open(visit(name), redirect_uri="", asked=frozenset(), origin=ORIGIN)
    assert [one.state for one in now.visits] == ["state-b", "state-c", "state-d"]
    assert now.visit_of("state-a") is None and now.visit_of("state-d") == visit("d")


def test_new_ticket_drops_open_visits() -> None:
    opened = record().open(visit(), redirect_uri="", asked=frozenset(), origin=ORIGIN)
    renewed = opened.renew_ticket(NOW + 700)
    assert (renewed.status, renewed.issue, renewed.visits) == ("created", 2, ())


def test_consent_record_round_trips_json_with_hidden_secrets() -> None:
    for one in (
        record(),
        returned(),
        returned().confirm(0.0).end("partial", "scope_missing", NOW, missing=("b",), account="alice@example.test"),
        record().open_by_device(DeviceWait(Secret("device"), NOW), asked=frozenset("a"), origin=ORIGIN),
        record(before=(Former("zero", 1, "denied", reason="consent_denied"),), other="switch", instead="bob"),
    ):
        row = row_of(one.pack())
        again = ConsentRecord.of(row)
        assert again == one and again.row is row
        assert all(type(v["verifier"]) is Secret for v in row.json.get("visits", ()))


def test_record_of_an_earlier_version_is_read() -> None:
    content = {
        **{"id": "one", "user": "alice", "tenant": "", "provider": "google", "app": "google", "scopes": ["a"]},
        **{"agent": "agent", "subject": "", "account": "", "other": "", "instead": "", "why": "", "asks": ["m1"]},
        **{"status": "confirmed", "issue": 1, "ticket_expires": NOW, "expires": NOW, "visit_expires": NOW, "code": ""},
        **{"visits": [{"state": "s", "nonce": "n", "verifier": "", "expires": NOW}], "returned": NOW, "device": {}},
        **{"redirect_uri": "https://x", "asked": ["a"], "before": [{"id": "zero", "issue": 1, "status": "granted"}]},
    }
    one = ConsentRecord.of(row_of(content))
    assert one.device is None and not one.code and one.asked == {"a"} and one.origin is None
    was = one.version_with_id("zero")
    assert was is not None and was.status == "granted" and one.version_with_id("other") is None


def test_consent_record_repr_contains_no_secret() -> None:
    shown = repr(returned())
    assert "the-code" not in shown and "verifier-v" not in shown
    assert {f.name for f in fields(ConsentRecord) if not f.repr} == {"code", "more", "row"}


def test_consent_belongs_to_its_user_and_tenant_or_any_local_user() -> None:
    one = record()
    assert one.is_for(User("alice", "acme")) and one.is_for(AnyLocalUser())
    assert not one.is_for(User("alice")) and not one.is_for(User("bob", "acme")) and not one.is_for(None)
