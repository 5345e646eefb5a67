"""Everything that Salesforce's tools send was previewed, and a preview is stable while nothing changes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from deputize.core.tools.preview import show_rows
from deputize.sandbox.people import ALICE, BOB
from deputize.sandbox.salesforce.seed import record_id, user_id
from tests.support.preview_coverage import ShownWorld, shown_world
from tests.toolkits.tool_driver import NOW

OURS: Final = frozenset(
    "services data v64 0 sobjects casecomment contact account lead opportunity case task event note contentnote v call "
    "contentdocumentlink contentversion br amp lt gt".split()
)
"""Words of paths and formats, which need no preview."""

ACCOUNT, CONTACT, LEAD = (record_id(kind, 1) for kind in ("Account", "Contact", "Lead"))
SCOPES: Final = {"salesforce": ["api", "refresh_token"]}


async def a_described_account(world: ShownWorld) -> dict[str, Any]:
    """Return an account with a long text."""
    fields = {"Name": "Initrode", "Description": "Former lines, in full"}
    made = await world.act("salesforce_create_record", object="Account", fields=fields)
    return {"object": "Account", "id": made["id"]}


async def an_emptied_text(world: ShownWorld) -> dict[str, Any]:
    return await a_described_account(world) | {"fields": {"Description": "", "Phone": "+49 30 1234567"}}


async def an_added_text(world: ShownWorld) -> dict[str, Any]:
    made = await a_described_account(world)
    return made | {"fields": {"Description": "Further lines"}, "append": ["Description"]}


async def a_known_key(world: ShownWorld) -> dict[str, Any]:
    fields = {"Name": "Hooli", "Phone": "+1 555 7777"}
    await world.act("salesforce_create_record", object="Account", fields=fields, external_id="Key__c=h1")
    return {"object": "Account", "fields": {"Phone": "+1 555 8888"}, "external_id": "Key__c=h1"}


async def a_kept_file(world: ShownWorld) -> dict[str, Any]:
    kept = await world.deputy.store_file("alice", "offer seven.pdf", "application/pdf", b"\xff words inside")
    return {"record": ACCOUNT, "attachment": kept["file"], "title": "The seventh"}


ROWS: Final[list[tuple[str, Any]]] = [
    (
        "create_record",
        {"object": "contact", "fields": {"LastName": "Fox", "Email": "reynard@example.test", "AccountId": ACCOUNT}},
    ),
    (
        "create_record",
        {"object": "Account", "fields": {"Name": "Northwind", "Website": "https://n.test"}, "allow_duplicates": True},
    ),
    ("create_record", {"object": "Account", "fields": {"Name": "Pied Piper"}, "external_id": "Key__c=p1"}),
    ("create_record", a_known_key),
    ("upload_file", a_kept_file),
    ("create_record", {"object": "Task", "fields": {"Subject": "Water plants", "Status": "Not Started"}}),
    (
        "update_record",
        {"object": "Lead", "id": LEAD, "fields": {"Status": "Working", "Company": "Globex", "Phone": ""}},
    ),
    ("update_record", {"object": "Contact", "id": CONTACT, "fields": {"OwnerId": "Bob Brown", "AccountId": ""}}),
    ("update_record", an_emptied_text),
    ("update_record", an_added_text),
    ("delete_record", {"object": "Account", "id": ACCOUNT}),
    ("delete_record", a_described_account),
    (
        "log_activity",
        {
            "kind": "call",
            "subject": "Rang",
            "description": "They will & must <sign>",
            "contact_or_lead": CONTACT,
            "account_or_opportunity": ACCOUNT,
            "duration_minutes": 25,
            "call_result": "Reached",
        },
    ),
    ("log_activity", {"kind": "task", "subject": "Ring", "due_date": "+2d", "owner": "Bob Brown", "priority": "High"}),
    ("log_activity", {"kind": "task", "subject": "Own errand"}),
    ("log_activity", {"kind": "event", "subject": "Meet", "start": "+2h", "duration_minutes": 30}),
    (
        "log_activity",
        {"kind": "note", "subject": "Said", "description": "Loud\n<b>words</b>", "account_or_opportunity": ACCOUNT},
    ),
]

AUDIENCES: Final[dict[str, str]] = {
    "create_record": "organisation; self for a task or note of one's own on no record; unknown where customers may see",
    "update_record": "organisation; unknown where customers may see",
    "delete_record": "organisation",
    "upload_file": "unknown: the organisation, and customers where files on records are shared with them",
    "log_activity": "organisation; self for a task or call of one's own on no record",
}
"""The readers of each tool's effect."""


@pytest.fixture
async def world() -> AsyncIterator[ShownWorld]:
    async with shown_world(SCOPES, clock=lambda: NOW) as world:
        yield world


async def test_ids_are_previewed_by_the_names_of_their_records(world: ShownWorld) -> None:
    fields = {"OwnerId": user_id(BOB.sub), "AccountId": record_id("Account", 2)}
    await world.act("salesforce_update_record", object="Contact", id=CONTACT, fields=fields)
    rows = dict(show_rows(world.shown[-1]))
    assert (rows["OwnerId now"], rows["OwnerId"]) == (ALICE.name, BOB.name)
    assert (rows["AccountId now"], rows["AccountId"]) == ("Northwind", "Globex")
    assert rows["where"] == f"Carol Clark (Contact {CONTACT})"


async def test_id_inside_a_text_field_is_previewed_as_written(world: ShownWorld) -> None:
    other = record_id("Account", 2)
    fields = {"AccountId": other, "Description": other}
    await world.act("salesforce_update_record", object="Contact", id=CONTACT, fields=fields)
    rows = dict(show_rows(world.shown[-1]))
    assert (rows["AccountId"], rows["Description"]) == ("Globex", other)


async def test_new_email_of_a_contact_says_that_mail_goes_there(world: ShownWorld) -> None:
    sends = "Mail will go to this address from now on."
    for fields, warning, note in (
        ({"Email": "c@evil.test"}, sends, None),
        ({"Phone": "+1 555 6666"}, None, "Calls will go to this number from now on."),
        ({"Title": "CEO"}, None, None),
        ({"Email": "c@evil.test", "Title": "CEO"}, None, None),
        ({"Email": "d@evil.test", "Phone": "+1 555 7777"}, sends, "Calls will go to this number from now on."),
        ({"Email": ""}, "What is there now will be lost.", None),
    ):
        await world.act("salesforce_update_record", object="Contact", id=CONTACT, fields=fields)
        rows = dict(show_rows(world.shown[-1]))
        assert (rows.get("warning"), rows.get("note")) == (warning, note), fields


async def test_text_of_an_uploaded_file_is_shown(world: ShownWorld) -> None:
    kept = await world.deputy.store_file("alice", "prices.csv", "text/csv", b"Item,Price\nRent,1200\n")
    await world.act("salesforce_upload_file", record=ACCOUNT, attachment=kept["file"])
    assert "Its text:\nItem,Price\nRent,1200" in dict(show_rows(world.shown[-1]))["file"]


async def test_deleted_record_is_not_reported_lost_while_it_can_be_restored(world: ShownWorld) -> None:
    await world.act("salesforce_delete_record", object="Contact", id=CONTACT)
    show = world.shown[-1]
    assert not show.destroys and show.fields["undo"] == "it can be restored from the recycle bin for 15 days"
