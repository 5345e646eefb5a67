"""What changes in Salesforce between approval and act needs a new approval; an undo restores the old state."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import httpx
import pytest

from deputize.core import ApprovalRequired, Call, Conflict, Deputy, ask_before_sending
from deputize.sandbox import Sandbox
from deputize.sandbox.deputies import apps, give_grant
from deputize.sandbox.people import BOB
from deputize.sandbox.salesforce.seed import record_id, stamp, user_id
from tests.support.sandbox_deputy import Recorder, build
from tests.toolkits.test_salesforce_shows import SCOPES
from tests.toolkits.tool_driver import NOW

ACCOUNT, CONTACT = record_id("Account", 1), record_id("Contact", 1)


class Desk:
    """Alice's org, with the default policy: she is asked."""

    def __init__(self, sandbox: Sandbox, deputy: Deputy, wire: Recorder) -> None:
        self.sandbox, self.deputy, self.wire = sandbox, deputy, wire

    async def act(self, tool: str, **arguments: Any) -> Any:
        """Make the test's only call, as often as it is called."""
        return await self.deputy.act(f"salesforce_{tool}", arguments, user="alice", call=Call("t", "m", "one"))

    async def asked(self, tool: str, **arguments: Any) -> Any:
        """Return what the call waits for; check that nothing was written to find out."""
        before = len(self.writes)
        call = (f"salesforce_{tool}", arguments, Call("t", "m", "one"))
        [way] = await self.deputy.check_calls([call], user="alice")
        assert isinstance(way, ApprovalRequired) and len(self.writes) == before, way
        return way.approval

    async def agreed(self, tool: str, **arguments: Any) -> Any:
        """Return the same, approved by Alice."""
        approval = await self.asked(tool, **arguments)
        await self.deputy.decide(approval, "approve", by="alice")
        return approval

    async def asked_again(self, tool: str, **arguments: Any) -> Any:
        """Check that the act needs a new approval, and has written nothing."""
        before = len(self.writes)
        with pytest.raises(ApprovalRequired) as again:
            await self.act(tool, **arguments)
        assert len(self.writes) == before
        return again.value.approval

    @property
    def writes(self) -> list[str]:
        """Return the requests that were sent, except reads."""
        return [f"{r.method} {r.url.path}" for r in self.wire.seen if r.method != "GET" and "token" not in r.url.path]

    def row(self, id: str) -> Any:
        """Return a record, to be changed by somebody else."""
        records = self.sandbox._world.services["salesforce"]["records"]
        return next(row for rows in records.values() for row in rows if row["Id"] == id)

    def change(self, id: str, **values: Any) -> None:
        """Change a record as somebody else."""
        self.row(id).update(values | {"LastModifiedDate": stamp(NOW + 60)})

    def just_before(self, method: str, id: str, **values: Any) -> None:
        """Change a record as somebody else, while the next write is in progress."""
        wire, inner, desk = self.wire, self.wire.inner, self

        class Between(httpx.AsyncBaseTransport):
            async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
                if request.method == method:
                    wire.inner = inner
                    desk.change(id, **values)
                return await inner.handle_async_request(request)

        wire.inner = Between()


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    sandbox = Sandbox(clock=lambda: NOW)
    wire = Recorder(sandbox.transport())
    made = build(sandbox, apps=apps(), transport=wire, policy=ask_before_sending, clock=lambda: NOW)
    async with await made as deputy:
        give_grant(sandbox, deputy, "alice", SCOPES["salesforce"], provider="salesforce", email="alice@example.test")
        yield Desk(sandbox, deputy, wire)


PHONE: Final = {"object": "Account", "id": ACCOUNT, "fields": {"Phone": ""}}


async def test_value_changed_by_a_colleague_is_not_emptied_under_the_old_approval(desk: Desk) -> None:
    first = await desk.agreed("update_record", **PHONE)
    assert (first.preview["Phone now"], first.preview["Phone"]) == ("+1 555 0100", "(emptied)")
    desk.change(ACCOUNT, Phone="+1 555 9999")
    again = await desk.asked_again("update_record", **PHONE)
    assert set(again.changed_fields) == {"Phone"} and again.preview["Phone now"] == "+1 555 9999"
    await desk.deputy.decide(again, "approve", by="alice")
    await desk.act("update_record", **PHONE)
    await desk.act("update_record", **PHONE)
    assert desk.row(ACCOUNT)["Phone"] is None and len([one for one in desk.writes if "PATCH" in one]) == 1


async def test_unrelated_record_change_does_not_ask_again(desk: Desk) -> None:
    await desk.agreed("update_record", **PHONE)
    desk.change(ACCOUNT, Industry="Energy")
    assert (await desk.act("update_record", **PHONE))["changed"] == ["Phone"]


async def test_value_changed_after_the_last_check_is_not_overwritten(desk: Desk) -> None:
    await desk.agreed("update_record", **PHONE)
    desk.just_before("PATCH", ACCOUNT, Phone="+1 555 9999")
    with pytest.raises(Conflict):
        await desk.act("update_record", **PHONE)
    assert desk.row(ACCOUNT)["Phone"] == "+1 555 9999"
    assert (await desk.asked_again("update_record", **PHONE)).preview["Phone now"] == "+1 555 9999"


async def test_renamed_record_is_not_deleted_under_the_old_approval(desk: Desk) -> None:
    given = {"object": "Account", "id": ACCOUNT}
    await desk.agreed("delete_record", **given)
    desk.change(ACCOUNT, Name="Northwind, do not delete", Description="Kept for the auditors")
    again = await desk.asked_again("delete_record", **given)
    assert set(again.changed_fields) == {"where", "Description", "last change"}
    assert again.preview["Description"] == "Kept for the auditors" and again.preview["undo"]


async def test_number_of_dependent_records_is_previewed_and_not_compared(desk: Desk) -> None:
    given = {"object": "Account", "id": ACCOUNT}
    first = await desk.agreed("delete_record", **given)
    assert first.preview["deleted with it"] == "1 x Contact, 1 x Opportunity"
    desk.change(CONTACT, AccountId=record_id("Account", 2))
    assert (await desk.act("delete_record", **given))["deleted"]


async def test_external_id_used_meanwhile_is_asked_again(desk: Desk) -> None:
    given: dict[str, Any] = {"object": "Account", "fields": {"Phone": "+1 555 1"}, "external_id": "Key__c=k7"}
    first = await desk.agreed("create_record", **given)
    assert first.preview["key"] == "Key__c = k7"
    desk.change(ACCOUNT, Key__c="k7")
    again = await desk.asked_again("create_record", **given)
    assert again.preview["where"] == f"Northwind (Account {ACCOUNT})" and again.preview["Phone now"] == "+1 555 0100"


async def test_external_id_used_during_the_write_is_not_overwritten(desk: Desk) -> None:
    given: dict[str, Any] = {"object": "Account", "fields": {"Name": "New", "Phone": "+1 555 1"}}
    given["external_id"] = "Key__c=k9"
    await desk.agreed("create_record", **given)
    desk.just_before("POST", ACCOUNT, Key__c="k9")
    with pytest.raises(Conflict):
        await desk.act("create_record", **given)
    assert desk.row(ACCOUNT)["Phone"] == "+1 555 0100"


async def test_renamed_owner_is_asked_again(desk: Desk) -> None:
    given = {"object": "Contact", "id": CONTACT, "fields": {"OwnerId": user_id(BOB.sub)}}
    assert (await desk.agreed("update_record", **given)).preview["OwnerId"] == BOB.name
    desk.row(user_id(BOB.sub))["Name"] = "Eve"
    assert (await desk.asked_again("update_record", **given)).preview["OwnerId"] == "Eve"


@pytest.mark.parametrize(
    ("arguments", "asks"),
    [
        ({"kind": "task", "subject": "Own errand"}, False),
        ({"kind": "task", "subject": "Own errand", "due_date": "+2d"}, False),
        ({"kind": "call", "subject": "Rang", "contact_or_lead": CONTACT}, True),
        ({"kind": "note", "subject": "Said", "account_or_opportunity": ACCOUNT}, True),
        ({"kind": "task", "subject": "Ring", "owner": "Bob Brown"}, True),
        ({"kind": "event", "subject": "Meet", "start": "+1d", "duration_minutes": 5}, True),
    ],
)
async def test_act_visible_to_colleagues_needs_approval(desk: Desk, arguments: Any, asks: bool) -> None:
    if asks:
        assert (await desk.asked("log_activity", **arguments)).preview["seen by"] == "everybody in the organisation"
    else:
        assert (await desk.act("log_activity", **arguments))["id"]


# ----------------------------------------------------------------- undoing


@pytest.mark.parametrize("since", ["2999-01-01T00:00:00Z", stamp(NOW + 3600)])
async def test_future_unmodified_since_does_not_allow_overwriting(desk: Desk, since: str) -> None:
    given = PHONE | {"unmodified_since": since}
    await desk.agreed("update_record", **given)
    desk.just_before("PATCH", ACCOUNT, Phone="+1 555 9999")
    with pytest.raises(Conflict):
        await desk.act("update_record", **given)
    assert desk.row(ACCOUNT)["Phone"] == "+1 555 9999"
