"""Salesforce writes at most once, whatever happens to a response, and reports honestly how it ended."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from deputize.core import (
    Call,
    Conflict,
    Deputy,
    InvalidInput,
    NotFound,
    OutcomeUnknown,
)
from deputize.sandbox import Sandbox, faults
from deputize.sandbox.http_types import Ask, Reply
from deputize.sandbox.salesforce import api
from deputize.sandbox.salesforce.seed import record_id
from deputize.sandbox.switches import Fault
from deputize.sandbox.world import World

ACCOUNT, CONTACT, LEAD = (record_id(kind, 1) for kind in ("Account", "Contact", "Lead"))
CALL = Call("thread", "message", "1")
HERE = "acme.my.salesforce.com/services/data/v64.0"
FOX = {"LastName": "Fox", "Email": "fox@example.test"}
MAKES: list[tuple[str, dict[str, Any], str]] = [
    ("create_record", {"object": "Contact", "fields": FOX}, "Contact"),
    ("log_activity", {"kind": "call", "subject": "Rang", "contact_or_lead": CONTACT}, "Task"),
    ("log_activity", {"kind": "task", "subject": "Ring", "owner": "me"}, "Task"),
    ("log_activity", {"kind": "event", "subject": "Meet", "start": "2026-12-01", "duration_minutes": 5}, "Event"),
    ("log_activity", {"kind": "note", "subject": "Said", "account_or_opportunity": ACCOUNT}, "ContentNote"),
]
by_kind = pytest.mark.parametrize(
    ("tool", "arguments", "kind"), MAKES, ids=[f"{m[0]} {m[2]} {n}" for n, m in enumerate(MAKES)]
)


async def act(deputy: Deputy, tool: str, call: Call | None = None, **arguments: Any) -> Any:
    return await deputy.act(f"salesforce_{tool}", arguments, user="alice", call=call)


def rows(sandbox: Sandbox, kind: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = sandbox.service("salesforce")["records"][kind]
    return found


def answers_502_after(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """Perform the next write below this path, and answer as a proxy instead of the provider."""
    whole, left = api.handle, [path]

    def answer(ask: Ask, world: World) -> Reply:
        reply = whole(ask, world)
        if left and ask.method != "GET" and ask.path.endswith(left[0]):
            left.clear()
            return Reply(502, (), b"<html>bad gateway</html>", changes=True)
        return reply

    monkeypatch.setattr(api, "handle", answer)


@by_kind
async def test_object_is_created_once_when_its_answer_is_lost(
    alice: Deputy, sandbox: Sandbox, tool: str, arguments: dict[str, Any], kind: str
) -> None:
    before = len(rows(sandbox, kind))
    sandbox.switches.drop_after_commit.append(f"{HERE}/sobjects/{kind}")
    made = await act(alice, tool, CALL, **arguments)
    assert made == await act(alice, tool, CALL, **arguments) and len(rows(sandbox, kind)) == before + 1
    assert made["id"] == rows(sandbox, kind)[-1]["Id"]


@by_kind
async def test_object_is_created_once_when_a_proxy_answers(
    alice: Deputy, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tool: str, arguments: dict[str, Any], kind: str
) -> None:
    before = len(rows(sandbox, kind))
    answers_502_after(monkeypatch, f"/sobjects/{kind}")
    made = await act(alice, tool, CALL, **arguments)
    assert len(rows(sandbox, kind)) == before + 1 and made["id"] == rows(sandbox, kind)[-1]["Id"]


@by_kind
async def test_object_not_created_is_not_confused_with_an_equal_one(
    alice: Deputy, sandbox: Sandbox, tool: str, arguments: dict[str, Any], kind: str
) -> None:
    await act(alice, tool, Call("t", "m", "0"), **arguments)
    before = len(rows(sandbox, kind))
    sandbox.switches.faults["POST", f"{HERE}/sobjects/{kind}"] = [faults.bad_gateway()]
    for _ in range(2):
        with pytest.raises(OutcomeUnknown):
            await act(alice, tool, CALL, **arguments)
    assert len(rows(sandbox, kind)) == before


@by_kind
async def test_second_equal_object_is_found_after_a_lost_answer(
    alice: Deputy, sandbox: Sandbox, tool: str, arguments: dict[str, Any], kind: str
) -> None:
    first = await act(alice, tool, Call("t", "m", "0"), **arguments)
    sandbox.switches.drop_after_commit.append(f"{HERE}/sobjects/{kind}")
    second = await act(alice, tool, CALL, **arguments)
    assert second["id"] == rows(sandbox, kind)[-1]["Id"] != first["id"]


async def test_task_for_an_invisible_owner_stays_unknown(alice: Deputy, sandbox: Sandbox) -> None:
    before = len(rows(sandbox, "Task"))
    sandbox.switches.drop_after_commit.append(f"{HERE}/sobjects/Task")
    for _ in range(2):
        with pytest.raises(OutcomeUnknown):
            await act(alice, "log_activity", CALL, kind="task", subject="Ring", owner="Bob Brown")
    assert len(rows(sandbox, "Task")) == before + 1


@by_kind
async def test_cancelled_run_is_resumed(
    alice: Deputy, sandbox: Sandbox, tool: str, arguments: dict[str, Any], kind: str
) -> None:
    before, whole = len(rows(sandbox, kind)), api.handle

    def answer(ask: Ask, world: World) -> Reply:
        reply = whole(ask, world)
        if ask.method == "POST" and ask.path.endswith(f"/sobjects/{kind}"):
            raise asyncio.CancelledError
        return reply

    with pytest.MonkeyPatch.context() as broken:
        broken.setattr(api, "handle", answer)
        with pytest.raises(asyncio.CancelledError):
            await act(alice, tool, CALL, **arguments)
    made = await act(alice, tool, CALL, **arguments)
    assert len(rows(sandbox, kind)) == before + 1 and made["id"] == rows(sandbox, kind)[-1]["Id"]


async def test_uncomparable_values_do_not_prevent_the_lookup(alice: Deputy, sandbox: Sandbox) -> None:
    long = {"Title": "Long", "Content": "eA==" * 3_000}
    sandbox.switches.drop_after_commit.append(f"{HERE}/sobjects/ContentNote")
    made = await act(alice, "create_record", object="ContentNote", fields=long)
    told = {**FOX, "Description": "x\x0by" * 2_000, "Title": "a\nb"}
    await act(alice, "create_record", object="Contact", fields=told)
    assert made["existed"] and [row["Id"] for row in rows(sandbox, "ContentNote")] == [made["id"]]


NOTE = MAKES[-1][1]


@pytest.mark.parametrize("lost", [1, 2])
async def test_note_is_linked_to_its_record_once_if_the_link_is_lost(
    alice: Deputy, sandbox: Sandbox, lost: int
) -> None:
    sandbox.switches.drop_after_commit.extend([f"{HERE}/sobjects/ContentDocumentLink"] * lost)
    made = await act(alice, "log_activity", CALL, **NOTE)
    (link,) = rows(sandbox, "ContentDocumentLink")[1:]
    assert (link["ContentDocumentId"], link["LinkedEntityId"]) == (made["id"], ACCOUNT)
    assert len(rows(sandbox, "ContentNote")) == 1


async def test_run_ended_between_note_and_link_is_resumed(alice: Deputy, sandbox: Sandbox) -> None:
    sandbox.switches.faults["POST", f"{HERE}/sobjects/ContentDocumentLink"] = [faults.bad_gateway()] * 3
    with pytest.raises(OutcomeUnknown):
        await act(alice, "log_activity", CALL, **NOTE)
    made = await act(alice, "log_activity", CALL, **NOTE)
    (link,) = rows(sandbox, "ContentDocumentLink")[1:]
    assert link["ContentDocumentId"] == made["id"] and len(rows(sandbox, "ContentNote")) == 1


async def test_note_stays_and_the_outcome_is_unknown_when_its_link_is(alice: Deputy, sandbox: Sandbox) -> None:
    sandbox.switches.faults["POST", f"{HERE}/sobjects/ContentDocumentLink"] = [failed(400, "FIELD_INTEGRITY_EXCEPTION")]
    looks = [failed(404, "NOT_FOUND"), failed(404, "NOT_FOUND")]  # before the note is made, and after the link
    sandbox.switches.faults["GET", f"{HERE}/query"] = looks
    with pytest.raises(OutcomeUnknown):
        await act(alice, "log_activity", CALL, **NOTE)
    made = await act(alice, "log_activity", CALL, **NOTE)
    assert [row["Id"] for row in rows(sandbox, "ContentNote")] == [made["id"]]


async def test_note_that_cannot_be_linked_leaves_nothing(alice: Deputy, sandbox: Sandbox) -> None:
    elsewhere = record_id("Account", 99)
    for _ in range(2):
        with pytest.raises(InvalidInput):
            await act(alice, "log_activity", CALL, **NOTE | {"account_or_opportunity": elsewhere})
    assert rows(sandbox, "ContentNote") == rows(sandbox, "ContentDocumentLink")[1:] == []


async def test_legacy_note_is_created_once_when_content_notes_are_missing(alice: Deputy, sandbox: Sandbox) -> None:
    refused: Fault = (
        400,
        {},
        [{"errorCode": "INVALID_TYPE", "message": "sObject type is not supported."}],
    )
    sandbox.switches.faults["POST", f"{HERE}/sobjects/ContentNote"] = [refused]
    sandbox.switches.drop_after_commit.append(f"{HERE}/sobjects/Note")
    made = await act(alice, "log_activity", CALL, **NOTE)
    assert [row["Id"] for row in rows(sandbox, "Note")] == [made["id"]]
    assert (await alice.act(made["undo"]["tool"], made["undo"]["args"], user="alice"))["deleted"]
    assert rows(sandbox, "Note") == []


# ----------------------------------------------------------------- changes and removals


async def test_conditional_change_with_a_lost_answer_is_no_conflict(alice: Deputy, sandbox: Sandbox) -> None:
    now = (await act(alice, "get_record", object="Lead", record=LEAD))["fields"]["LastModifiedDate"]
    sandbox.switches.drop_after_commit.append(f"{HERE}/sobjects/Lead")
    change = {"object": "Lead", "id": LEAD, "unmodified_since": now}
    assert (await act(alice, "update_record", fields={"Status": "Working"}, **change))["fields"] == {
        "Status": "Working"
    }
    with pytest.raises(Conflict):
        await act(alice, "update_record", fields={"Status": "Closed"}, **change)


async def test_change_that_cannot_be_read_back_is_reported_as_done(
    alice: Deputy, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = api.handle

    def answer(ask: Ask, world: World) -> Reply:
        if ask.method == "PATCH":
            sandbox.switches.faults["GET", f"{HERE}/sobjects/Lead/0"] = [faults.salesforce_rate_limited()]
        return whole(ask, world)

    monkeypatch.setattr(api, "handle", answer)
    done = await act(alice, "update_record", object="Lead", id=LEAD, fields={"Status": "Working"})
    assert done["changed"] == ["Status"] and done["warnings"]


async def test_record_the_user_may_not_delete_is_not_reported_as_deleted(alice: Deputy, sandbox: Sandbox) -> None:
    for kind, id in (
        ("Account", record_id("Account", 2)),
        ("Task", record_id("Task", 1)),
        ("Task", record_id("Task", 9)),
    ):
        before = len(rows(sandbox, kind))
        with pytest.raises(NotFound):
            await act(alice, "delete_record", object=kind, id=id)
        assert len(rows(sandbox, kind)) == before


async def test_deletion_lists_dependent_records_and_survives_a_lost_answer(alice: Deputy, sandbox: Sandbox) -> None:
    sandbox.switches.drop_after_commit.append(f"{HERE}/sobjects/Account")
    done = await act(alice, "delete_record", object="Account", id=ACCOUNT)
    assert done["deleted"] and done["name"] == "Northwind" and done["also_deleted"] == {"Contact": 1, "Opportunity": 1}


def failed(status: int, code: str, message: str = "x") -> Fault:
    return status, {}, [{"errorCode": code, "message": message, "fields": []}]
