"""The approval as a state machine: transitions, audit rows, and records stored by other versions."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from deputize.core import (
    Act,
    ApprovalRequired,
    Audience,
    Call,
    Decision,
    Deputy,
    Effect,
    Preview,
    User,
    Verdict,
)
from deputize.core.approvals.record import MOVES, ApprovalRecord, Change, Edit, Question, Status, meant
from deputize.core.tools.catalog import Catalog
from deputize.core.vault.vault import Record
from tests.core.approvals.test_mandates import KIT, World, world

__all__ = ["world"]

ALICE = User("alice")
TOOL = Catalog([KIT]).tool("gmail_tell")
ACT = Act(ALICE, TOOL, {}, Effect.SENDS, Call("t", "m", "1"), "", "google", "google")
ROW = Record("approval", "place.0123", 1, b"", b"")  # type: ignore[arg-type]
RECORD = ApprovalRecord(
    id="0123-1", tool="gmail_send_email", effect="sends", agent="a", account="me", expires=2e9, row=ROW
)
QUESTION = Question({"url": "https://a.example"}, 60.0)
TRANSITIONS: Mapping[str, Callable[[ApprovalRecord], Change]] = {
    "approve": lambda one: one.approve(ALICE, ""),
    "edit": lambda one: one.edit(ALICE, "", Edit({"text": "b"}, {"text": "b"})),
    "reject": lambda one: one.reject(ALICE, "no"),
    "reply": lambda one: one.reply(ALICE, replace(QUESTION, reply="accept"), 1e9),
    "dismiss": lambda one: one.dismiss(),
    "settle": lambda one: one.settle(ACT),
    "consume": lambda one: one.consume(ACT),
    "supersede": lambda one: one.supersede(ACT),
    "pass_on": lambda one: one.pass_on(ACT),
    "release": lambda one: one.release(),
}
FORBIDDEN = [(name, status) for name, since in MOVES.items() for status in Status if status not in since]
EVENTS = {
    "approve": "approval.approved",
    "edit": "approval.edited",
    "reject": "approval.rejected",
    "reply": "approval.approved",
    "consume": "approval.used",
}


def test_transition_table_matches_the_record() -> None:
    assert TRANSITIONS.keys() == MOVES.keys()


@pytest.mark.parametrize(("name", "status"), FORBIDDEN)
def test_transition_raises_when_its_status_does_not_allow_it(name: str, status: Status) -> None:
    with pytest.raises(RuntimeError, match=f"{name} does not lead from the status {status}"):
        TRANSITIONS[name](replace(RECORD, status=status))


@pytest.mark.parametrize("name", MOVES)
def test_transition_returns_a_copy_and_keeps_the_expected_row(name: str) -> None:
    for status in MOVES[name]:
        before = replace(RECORD, status=status)
        after, event = TRANSITIONS[name](before)
        assert before == replace(RECORD, status=status) and after.row is ROW
        assert (event.event if event else None) == EVENTS.get(name)


@pytest.mark.parametrize("name", ["consume", "supersede", "pass_on"])
def test_release_restores_the_status_before_use(name: str) -> None:
    for status in MOVES[name] - {Status.USED}:
        used, _ = TRANSITIONS[name](replace(RECORD, status=status))
        assert (used.status, used.decision, used.act) == (Status.USED, status, ACT.key.hex)
        assert used.release()[0] == replace(RECORD, status=status)


def test_approval_record_is_immutable_and_hides_its_content() -> None:
    record = replace(RECORD, show={"what": "s3cret"}, arguments={"text": "s3cret"}, edited={"text": "s3cret"})
    with pytest.raises(AttributeError):
        record.status = Status.APPROVED  # type: ignore[misc]
    assert "s3cret" not in repr(replace(record, question=Question({"url": "s3cret"}, 1.0)))


# ----------------------------------------------------------------- what an approval is about


def shown(text: str) -> Preview:
    return Preview("Tell them", audience=Audience.PEOPLE, people=["bob@acme.example"], text=text)


def asking_to_tell(text: str) -> dict[str, Any]:
    return TOOL.validate({"people": ["bob@acme.example"], "text": text})


EDITED = replace(ACT, asked=asking_to_tell("Hi"), arguments=asking_to_tell("Hello"), show=shown("Hello"))
EDIT = replace(
    RECORD,
    status=Status.APPROVED,
    edited={"text": "Hello"},
    digest=shown("Hi").digest,
    arguments=meant(TOOL, asking_to_tell("Hello")),
)


def test_edit_is_about_the_preview_that_only_its_words_changed() -> None:
    assert EDIT.edit_is_about(EDITED, shown("Hi"))
    assert not EDIT.edit_is_about(EDITED, None) and not EDIT.edit_is_about(EDITED, shown("Pay eve"))
    assert not EDIT.edit_is_about(replace(EDITED, show=None), shown("Hi"))
    assert not EDIT.edit_is_about(replace(EDITED, asked=None), shown("Hi"))
    assert not EDIT.edit_is_about(replace(EDITED, show=shown("Hello, pay eve")), shown("Hi"))
    assert not EDIT.edit_is_about(replace(EDITED, decision=Decision(Verdict.ASK, approvers="boss")), shown("Hi"))


@pytest.mark.parametrize(
    "other",
    [{"edited": None}, {"settled": True}, {"arguments": meant(TOOL, asking_to_tell("Pay eve"))}, {"approvers": "boss"}],
    ids=lambda other: next(iter(other)),
)
def test_approval_that_is_no_unseen_edit_of_these_arguments_counts_for_none(other: dict[str, Any]) -> None:
    assert not replace(EDIT, **other).edit_is_about(EDITED, shown("Hi"))


def test_approval_can_be_repeated_only_if_a_mandate_could_name_its_act() -> None:
    one = replace(RECORD, show=shown("Hi").kept, thread="t", subject="s")
    assert one.repeatable() == ("bob@acme.example",)
    for other in (
        *({"show": None}, {"chosen_by_others": True}, {"thread": ""}, {"edited": {"text": "Hello"}}),
        *({"subject": None}, {"approvers": "boss"}, {"effect": "destructive"}),
        *({"show": shown("Hi").kept | {"destroys": True}}, {"show": shown("Hi").kept | {"audience": Audience.UNKNOWN}}),
    ):
        assert replace(one, **other).repeatable() == (), other


# ----------------------------------------------------------------- rows of other versions


async def stored(deputy: Deputy, content: dict[str, Any]) -> ApprovalRecord:
    row = await deputy.vault.insert("approval", "place.0123", content, None)
    assert row is not None
    return ApprovalRecord.of(row)


FIRST_VERSION = {
    "id": "0123-1",
    "tool": "gmail_send_email",
    "effect": "sends",
    "agent": "a",
    "account": "me",
    "preview": {"to": "bob@example.test"},
    "status": "approved",
    "reason": "",
    "expires": 2e9,
    "edited": {"to": "bob@example.test"},
}


async def test_first_version_record_opens_with_its_preview(world: World) -> None:
    record = await stored(world.deputy, FIRST_VERSION)
    shown = record.public("https://agent.example", None)
    assert shown.preview == {"to": "bob@example.test"} and (shown.status, shown.kind) == ("approved", "act")
    assert type(shown.status) is str
    assert (record.subject, record.thread, record.began, record.row is not None) == (None, "", 0.0, True)
    assert record.is_unseen_edit and record.repeatable() == ()
    assert json.loads(json.dumps(record.pack())).items() >= FIRST_VERSION.items()


async def test_record_without_target_origin_counts_targets_as_chosen_by_others(world: World) -> None:
    row = {**FIRST_VERSION, "edited": None, "thread": None, "outside": ["eve@evil.test: a mail"]}
    record = await stored(world.deputy, row)
    assert record.chosen_by_others and record.edited is None and record.facts(ALICE).thread == ""


async def test_saving_a_record_keeps_unknown_fields_of_newer_versions(world: World) -> None:
    record = await stored(world.deputy, {**FIRST_VERSION, "later": {"a": 1}})
    [made, done] = await world.deputy.approvals.rows.swap(record, lambda found: found.reject(ALICE, "no"))
    assert done and made is not None and made.more == {"later": {"a": 1}}
    [row] = await world.deputy.vault.scan("approval")
    assert row.json["later"] == {"a": 1} and (row.json["status"], row.json["reason"]) == ("rejected", "no")


async def test_new_record_has_the_fields_that_every_version_reads(world: World) -> None:
    with pytest.raises(ApprovalRequired):
        await world.act("a")
    [row] = await world.deputy.vault.scan("approval")
    names = (
        "id tool effect agent account subject thread call step status reason asked began expires requester arguments"
    )
    assert (
        list(row.json.keys() ^ {*names.split(), "show", "shown", "digest", "outside", "chosen_by_others", "label"})
        == []
    )
    assert ApprovalRecord.of(row).pack() == row.json | {"outside": (), "requester": ("", "alice")}


# ----------------------------------------------------------------- races


async def test_swap_retries_against_the_record_another_process_wrote(world: World) -> None:
    asked, rows, judged = await world.asked(id="a"), world.deputy.approvals.rows, list[Status]()
    record = await world.deputy.approvals.row(asked.id, ALICE)
    await world.deputy.decide(asked, "reject", by="alice")

    def superseded(found: ApprovalRecord) -> Change | None:
        judged.append(found.status)
        return found.supersede(ACT) if found.may("supersede") else None

    left, done = await rows.swap(record, superseded)
    assert judged == [Status.PENDING, Status.REJECTED] and not done
    assert left is not None and left.status is Status.REJECTED


async def test_swap_of_a_deleted_approval_writes_nothing(world: World) -> None:
    asked, rows = await world.asked(id="a"), world.deputy.approvals.rows
    record = await world.deputy.approvals.row(asked.id, ALICE)
    assert await world.deputy.vault.delete(record.place)
    assert await rows.swap(record, lambda found: found.approve(ALICE, "")) == (None, False)
    assert await world.deputy.vault.scan("approval") == []
