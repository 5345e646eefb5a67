"""Typed records of approvals, mandates, acts and consents: transitions, and records that are newer or damaged."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from deputize.core import ApprovalRequired, Audience, Call, Effect, NotFound, Preview, User, VaultError
from deputize.core.acts.reconcile import lost_records
from deputize.core.approvals.mandate_record import MandateRecord
from deputize.core.approvals.outcome import MOVES, LedgerRecord, State
from deputize.core.approvals.record import ApprovalRecord
from deputize.core.consent.record import ConsentRecord
from deputize.core.tools.act import Undoes
from deputize.core.tools.first_contact import FirstContact
from deputize.core.tools.steps import Undo
from deputize.core.tools.untrusted import Untrusted
from deputize.core.vault.encoding import encode
from deputize.core.vault.grant import Account
from deputize.core.vault.record import Record, StoredRecord
from deputize.core.vault.vault import Vault
from tests.core.approvals.test_approval_record import ACT, FIRST_VERSION
from tests.core.approvals.test_mandates import World, world

__all__ = ["world"]

ALICE = User("alice")
CLAIMED = {
    "state": "claimed",
    "at": 1.8e9,
    "expires": 1800086400.0,
    "account": "1000",
    "arguments": "d6d8",
    "until": 30,
}
SHOWN = CLAIMED | {"show": "4ff7", "began": 1.8e9, "noted": {"draft": "r1"}, "people": {"Bob": "bob@acme.example"}}
ENDED = {name: CLAIMED[name] for name in ("at", "expires", "account", "arguments")} | {"answered_by": "policy"}
DONE = ENDED | {
    "state": "done",
    "result": None,
    "tool": "gmail_tell",
    "service_account": "robot",
    "undoes": "0123456789ab",
}
LATE = DONE | {"result": {"told": []}, "late_no": 1800000300.0, "effect": "sends"}
UNDO: dict[str, Any] = {"tool": "gmail_star", "arguments": {"on": False}, "holds": {"starred": True}}
UNDOABLE = ENDED | {
    "state": "done",
    "result": [],
    "tool": "gmail_star",
    "what": "Star a mail",
    "where": "",
    "undo": UNDO,
}
UNDOABLE |= {"call": "", "app": "google", "name": "alice@example.test"}
ACTS = [CLAIMED, SHOWN, DONE, LATE, UNDOABLE, ENDED | {"state": "unknown"}]
MANDATE = {
    **{"agent": "agent", "tools": ["gmail_tell"], "targets": ["@acme.example"], "audience": 1, "account": ""},
    **{"subject": None, "destroys": False, "id": "a8c00a39f4c118d9", "most": 2, "until": 1800086400.0},
    **{"expires": 1800086400.0, "tenant": "", "user": "alice", "spent": ["4f5a"], "latest": {"4f5a": 1.8e9}},
    **{"ended": 0.0, "approval": ""},
}
CONSENT: dict[str, Any] = {
    **{"id": "c1", "user": "alice", "tenant": "acme", "provider": "google", "app": "google", "scopes": ["a", "b"]},
    **{"agent": "agent", "subject": "", "account": "", "other": "switch", "instead": "1000", "why": "scope_missing"},
    **{
        "asks": ["m1"],
        "threads": ["chat 1"],
        "status": "returned",
        "issue": 2,
        "ticket_expires": 1.8e9,
        "expires": 1800086400.0,
    },
    **{"enough": [["a"], ["b", "c"]], "claims": "{}", "visit_expires": 1.8e9, "redirect_uri": "https://x/callback"},
    **{"asked": ["a", "b"], "code": "the-code", "returned": 1.8e9, "reason": "r", "finished": 1.8e9},
    **{
        "missing": ["b"],
        "return_to": "https://x",
        "family": "f",
        "epoch": 3,
        "device": {"code": "d", "expires": 1.8e9},
    },
    "origin": '["client", ["", "https://a.example/token"], [""], ["a.example"], false]',
    "visits": [{"state": "s", "nonce": "n", "verifier": "v", "expires": 1.8e9}],
    "before": [
        {
            **{"id": "c0", "issue": 1, "status": "denied", "reason": "consent_denied", "returned": 0.0, "account": ""},
            **{"agent": "agent", "ticket_expires": 1.8e9, "visit_expires": 0.0, "threads": ["chat 0"]},
        }
    ],
}
ROWS: Mapping[type[StoredRecord], list[dict[str, Any]]] = {
    ConsentRecord: [CONSENT],
    LedgerRecord: ACTS,
    MandateRecord: [MANDATE, MANDATE | {"ended": 1.8e9, "subject": "1000"}],
    ApprovalRecord: [
        FIRST_VERSION | {"question": {"kept": {}, "seconds": 60, "said": {"reply": "accept", "content": {}}}}
    ],
}
EACH_ROW = [(kind, row) for kind, rows in ROWS.items() for row in rows]
EACH_FIELD = list({(kind, name): row for kind, row in EACH_ROW for name in row}.items())
ODD: list[Any] = [
    [],
    {},
    "",
    "x",
    0,
    1,
    1.5,
    True,
    [1],
    [None],
    {"a": 1},
    {"a": {"b": []}},
    ["a", ["b"]],
    10**400,
    None,
]


def row_of(kind: type[StoredRecord], content: Mapping[str, Any]) -> Record:
    return Record(kind.KIND, "place.0123", 1, encode(content), b"")


def as_json(record: StoredRecord) -> Any:
    return json.loads(encode(record.pack()).reveal())


async def rewrite(vault: Vault, kind: str, **changes: Any) -> None:
    [row] = await vault.scan(kind)
    assert await vault.swap(row, row.json | changes)


# ----------------------------------------------------------------- transitions


TRANSITIONS: Mapping[str, Callable[[LedgerRecord], LedgerRecord]] = {
    "claim": lambda one: one.claim(at=2.0),
    "finish": lambda one: one.finish({"id": 1}, undo=UNDO, tool="gmail_star"),
    "lose": lambda one: one.lose(),
    "reject": lambda one: one.reject(3.0, "sends"),
}


@pytest.mark.parametrize("name", MOVES)
@pytest.mark.parametrize("state", State)
def test_ledger_transition_raises_unless_its_state_allows_it(name: str, state: State) -> None:
    before = LedgerRecord.of(row_of(LedgerRecord, SHOWN | {"state": state.value, "later": 1}))
    if MOVES[name] is not state:
        with pytest.raises(RuntimeError, match=f"{name} does not lead from the state {state}"):
            TRANSITIONS[name](before)
        return
    after = TRANSITIONS[name](before)
    assert before == LedgerRecord.of(row_of(LedgerRecord, SHOWN | {"state": state.value, "later": 1}))
    assert (after.row is before.row, after.more, after.show, after.account) == (True, {"later": 1}, "4ff7", "1000")


def test_ended_act_drops_fields_that_only_its_claim_needs() -> None:
    claimed = LedgerRecord.of(row_of(LedgerRecord, SHOWN))
    for ended in (claimed.finish(None), claimed.lose()):
        assert as_json(ended).keys().isdisjoint({"noted", "until", "people"})
    assert claimed.finish(None, undo=UNDO).undo == Undo(**UNDO)


def test_mandate_transition_raises_when_ended_or_used_up() -> None:
    given = MandateRecord.of(row_of(MandateRecord, MANDATE))
    used, event = given.use(ACT, 5.0)
    assert (
        event is not None and event.event == "mandate.used" and (used.spent[-1], len(given.spent)) == (ACT.key.hex, 1)
    )
    ended, event = used.end(6.0)
    assert event is not None and event.event == "mandate.ended" and not ended.counts(7.0)
    for refuse, argument in ((used.use, ACT), (ended.use, ACT)):
        with pytest.raises(RuntimeError, match="ended or is used up"):
            refuse(argument, 7.0)
    with pytest.raises(RuntimeError, match="already ended"):
        ended.end(7.0)
    back, event = ended.release(ACT)
    assert (back.spent, back.latest, back.ended, event) == (given.spent, given.latest, 6.0, None)
    with pytest.raises(RuntimeError):
        given.release(ACT)


@pytest.mark.parametrize(("kind", "row"), EACH_ROW)
def test_record_cannot_be_changed_or_copied_with_an_unknown_field(kind: type[StoredRecord], row: Any) -> None:
    record = kind.of(row_of(kind, row))
    with pytest.raises(AttributeError):
        record.row = None
    with pytest.raises(TypeError, match="has no stats"):
        record.copy_with(stats="done")


# ----------------------------------------------------------------- rows of other versions


@pytest.mark.parametrize(("kind", "row"), EACH_ROW)
def test_stored_record_is_written_back_unchanged(kind: type[StoredRecord], row: Any) -> None:
    newer = row | {"later": {"a": [1]}}
    record = kind.of(row_of(kind, newer))
    assert as_json(record).items() >= newer.items() and record.more == {"later": {"a": [1]}}
    if kind is not ApprovalRecord:
        assert as_json(record) == newer


@pytest.mark.parametrize(("field", "row"), EACH_FIELD, ids=lambda one: one[1] if isinstance(one, tuple) else "")
def test_record_with_a_wrongly_typed_value_is_a_vault_error_or_readable(field: Any, row: Any) -> None:
    kind, name = field
    refused = 0
    for odd in ODD:
        try:
            record = kind.of(row_of(kind, row | {name: odd}))
        except VaultError as e:
            refused += 1
            field = "user" if name == "tenant" and kind is ConsentRecord else name
            assert f"'{field}'" in str(e) or f"has no {field}" in str(e)
            assert repr(kind.KIND) in str(e) and "newest version" in e.hint
        else:
            as_json(record), repr(record), hash(record.KIND)
    assert refused >= (0 if name == "result" else 5)


@pytest.mark.parametrize("field", [name for name in CONSENT if name in ("device", "visits", "before")])
def test_invalid_value_in_a_stored_consent_is_a_vault_error(field: str) -> None:
    stored = CONSENT[field]
    for part in stored[0] if isinstance(stored, list) else stored:
        odd: Any
        for odd in ([], {}, None, True):
            inner = (stored[0] if isinstance(stored, list) else stored) | {part: odd}
            if field == "before" and odd is None and part not in ("id", "issue", "status"):
                continue  # the same as none
            if (part, odd) == ("threads", []):
                continue
            with pytest.raises(VaultError, match=f"'{field}'"):
                row = CONSENT | {field: [inner] if isinstance(stored, list) else inner}
                ConsentRecord.of(row_of(ConsentRecord, row))


@pytest.mark.parametrize("kind", ROWS)
def test_record_without_a_required_field_is_a_vault_error(kind: type[StoredRecord]) -> None:
    with pytest.raises(VaultError, match=r"it has no .*expires"):
        kind.of(row_of(kind, {}))


async def test_act_with_an_unknown_state_is_not_repeated(world: World, tmp_path: Path) -> None:
    await world.give()
    await world.act("a")
    await rewrite(world.deputy.vault, "act", state="paused")
    with pytest.raises(VaultError, match="'state'"):
        await world.act("a")
    assert world.sent == 1 and await world.deputy.undoable("alice") == []
    with pytest.raises(NotFound):
        await world.deputy.undo("alice", "0123456789ab")
    with pytest.raises(VaultError):
        await lost_records(world.deputy.vault, tmp_path, world.clock.now)
    await world.deputy.erase("alice")
    assert await world.deputy.vault.scan("act") == []


@pytest.mark.parametrize(("field", "value"), [("audience", 9), ("most", "20"), ("spent", {}), ("ended", None)])
async def test_unreadable_mandate_is_an_error_and_covers_nothing(world: World, field: str, value: Any) -> None:
    mandate = await world.give()
    await rewrite(world.deputy.vault, "mandate", **{field: value, "later": True})
    if value is None:  # the same as none
        await world.act("a")
        return
    with pytest.raises(ApprovalRequired):
        await world.act("a")
    assert await world.deputy.mandates("alice") == [] and world.sent == 0
    with pytest.raises(VaultError, match=f"'{field}'"):
        await world.deputy.revoke_mandate("alice", mandate.id)
    await world.deputy.revoke_all()
    await world.deputy.erase("alice")
    assert await world.deputy.vault.scan("mandate") == []


async def test_approval_with_an_unknown_status_starts_no_act(world: World) -> None:
    asked = await world.asked(id="a")
    await world.deputy.decide(asked, "approve", by="alice")
    await rewrite(world.deputy.vault, "approval", status="approved_by_two")
    for _ in range(2):
        with pytest.raises(VaultError, match="'status'"):
            await world.act("a")
    with pytest.raises(VaultError):
        await world.deputy.decide(asked, "reject", by="alice")
    assert world.sent == 0


# ----------------------------------------------------------------- races


async def test_mandate_ended_by_another_process_starts_no_act(world: World) -> None:
    mandate, other = await world.give(), await world.process()
    [stale] = await other._mandates.rows.of_user(ALICE)
    await world.deputy.revoke_mandate("alice", mandate.id)
    left, done = await other._mandates.rows.swap(stale, lambda one: one.use(ACT, 1.0) if not one.ended else None)
    assert not done and left is not None and left.ended and left.spent == ()
    with pytest.raises(ApprovalRequired):
        await world.act("a")


async def test_concurrent_late_rejections_are_kept_and_the_result_stays(world: World) -> None:
    asked = await world.asked(id="a")
    await world.deputy.decide(asked, "approve", by="alice")
    await world.act("a")
    acts, others = world.deputy.approvals.acts, (await world.process()).approvals.acts
    [stale] = await others.of_user(ALICE)
    [mine] = await acts.of_user(ALICE)
    assert (await acts.swap(mine, lambda one: (one.reject(1.0, "sends"), None)))[1]
    late, done = await others.swap(stale, lambda one: (one.reject(2.0, "sends"), None))
    assert done and late is not None and (late.late_no, late.result) == (2.0, {"told": ["bob@acme.example"]})


# ----------------------------------------------------------------- what a mandate covers


def tells(person: str = "bob@acme.example", audience: Audience = Audience.PEOPLE, *, destroys: bool = False) -> Preview:
    return Preview("Tell", audience=audience, people=[person], destroys=destroys)


COVERED = ACT.having(show=tells(), first_contacts=())


@pytest.mark.parametrize(
    ("changes", "of_mandate"),
    [
        ({"show": None}, {}),
        ({"organisation": True}, {}),
        ({"show": tells(audience=Audience.PUBLIC)}, {}),
        ({"show": tells(destroys=True)}, {}),
        ({"show": tells("bob@other.example")}, {}),
        ({"effect": Effect.DESTRUCTIVE}, {}),
        ({"asked": {"text": "as the user edited it"}}, {}),
        ({"call": Call("t", "m", "1", undoes=Undoes("0123456789ab", {}))}, {}),
        ({"outside": (Untrusted("bob@acme.example", "a mail of eve@evil.test"),)}, {}),
        ({"first_contacts": (FirstContact("bob@acme.example", checked=True),)}, {}),
        ({}, {"agent": "another"}),
        ({}, {"tools": ("gmail_shout",)}),
        ({}, {"subject": "2000"}),
        ({}, {"until": 1.8e9}),
        ({}, {"ended": 1.8e9}),
    ],
    ids="+".join,
)
def test_mandate_covers_an_act_only_if_each_condition_holds(
    changes: dict[str, Any], of_mandate: dict[str, Any]
) -> None:
    account = Account("1000", "alice@acme.example")
    mandate = MandateRecord.of(row_of(MandateRecord, MANDATE | {"agent": ACT.agent, "tools": [ACT.tool.name]}))
    assert mandate.covers(COVERED, account, 1.8e9)
    assert not mandate.copy_with(**of_mandate).covers(COVERED.having(**changes), account, 1.8e9)
