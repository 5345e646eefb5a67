"""Labels, out of office, filters, forwarding and aliases."""

from __future__ import annotations

import pytest

from tests.sandbox.registered_app import ALICE, Gmail, TestApp


@pytest.fixture
async def settings(app: TestApp) -> Gmail:
    """Alice's Gmail for an app that may change settings."""
    return await app.gmail("settings.basic")


async def test_labels_are_listed_with_their_type(alice: Gmail) -> None:
    rows = {row["id"]: row for row in (await alice.get("/labels"))["labels"]}
    assert rows["INBOX"] == {"id": "INBOX", "name": "INBOX", "type": "system"}
    assert (rows["Label_2"]["name"], rows["Label_2"]["type"]) == ("Receipts/2026", "user")


async def test_label_counts_its_mails_and_threads(alice: Gmail) -> None:
    inbox = await alice.get("/labels/INBOX")
    assert (inbox["messagesTotal"], inbox["messagesUnread"], inbox["threadsUnread"]) == (13, 3, 3)
    assert (await alice.get("/labels/Label_1"))["messagesTotal"] == 1


async def test_label_is_created_renamed_and_deleted_while_its_mails_stay(alice: Gmail) -> None:
    made = await alice.post("/labels", {"name": "Friends", "labelListVisibility": "labelHide"})
    assert (made["id"], made["labelListVisibility"], made["type"]) == ("Label_3", "labelHide", "user")
    (id,) = await alice.ids("subject:dinner")
    await alice.post(f"/messages/{id}/modify", {"addLabelIds": [made["id"]]})
    renamed = await alice.send("PATCH", f"/labels/{made['id']}", {"name": "Close friends"})
    assert renamed.json()["name"] == "Close friends" and await alice.ids("label:close-friends") == [id]
    assert (await alice.send("DELETE", f"/labels/{made['id']}")).status_code == 204
    assert made["id"] not in (await alice.get(f"/messages/{id}", format="minimal"))["labelIds"]
    assert (await alice.send("DELETE", f"/labels/{made['id']}")).status_code == 404


async def test_label_names_are_unique_case_insensitively(alice: Gmail) -> None:
    reply = await alice.send("POST", "/labels", {"name": "tRaVeL"})
    assert (reply.status_code, reply.json()["error"]["message"]) == (409, "Label name exists or conflicts")
    assert (await alice.send("PATCH", "/labels/Label_2", {"name": "travel"})).status_code == 409
    assert (await alice.send("PATCH", "/labels/Label_1", {"name": "TRAVEL"})).json()["name"] == "TRAVEL"


@pytest.mark.parametrize("name", ["", "  ", "Inbox", None, 7])
async def test_invalid_label_name_is_refused(alice: Gmail, name: object) -> None:
    assert (await alice.send("POST", "/labels", {"name": name})).status_code == 400


async def test_system_labels_cannot_be_changed(alice: Gmail) -> None:
    assert (await alice.send("DELETE", "/labels/INBOX")).status_code == 400
    assert (await alice.send("PATCH", "/labels/SENT", {"name": "x"})).status_code == 400
    assert (await alice.send("GET", "/labels/Label_77")).status_code == 404


async def test_out_of_office_settings_are_replaced_as_a_whole(settings: Gmail) -> None:
    assert await settings.get("/settings/vacation") == {"enableAutoReply": False}
    wanted = {"enableAutoReply": True, "responseSubject": "Away", "startTime": "1795528800000"}
    assert (await settings.send("PUT", "/settings/vacation", wanted)).json() == wanted
    assert (await settings.send("PUT", "/settings/vacation", {})).json() == {"enableAutoReply": False}
    assert (await settings.send("PUT", "/settings/vacation", {"away": True})).status_code == 400


async def test_filter_is_created_once_and_deleted(settings: Gmail) -> None:
    assert await settings.get("/settings/filters") == {}
    wanted = {"criteria": {"from": "news@shop.example.test"}, "action": {"removeLabelIds": ["INBOX"]}}
    made = await settings.post("/settings/filters", wanted)
    assert (await settings.get("/settings/filters"))["filter"] == [made]
    assert (await settings.send("POST", "/settings/filters", wanted)).status_code == 400
    assert (await settings.send("DELETE", f"/settings/filters/{made['id']}")).status_code == 204
    assert (await settings.send("DELETE", f"/settings/filters/{made['id']}")).status_code == 404


async def test_filter_without_purpose_or_with_unknown_fields_is_refused(settings: Gmail) -> None:
    criteria = {"from": "x@example.test"}
    for wanted in ({}, {"criteria": criteria}, {"criteria": criteria, "action": {"addLabelIds": ["Label_77"]}}):
        assert (await settings.send("POST", "/settings/filters", wanted)).status_code == 400


async def test_forwarding_is_off_without_addresses(settings: Gmail) -> None:
    assert await settings.get("/settings/autoForwarding") == {"enabled": False}
    assert await settings.get("/settings/forwardingAddresses") == {}


async def test_alias_accepts_a_signature(settings: Gmail) -> None:
    rows = (await settings.get("/settings/sendAs"))["sendAs"]
    assert [(row["sendAsEmail"], row.get("isPrimary", False)) for row in rows] == [
        (ALICE, True),
        ("support@example.test", False),
    ]
    for path in ("/settings/sendAs/support@example.test", "/settings/sendAs/support%40example.test"):
        reply = await settings.send("PATCH", path, {"signature": f"<b>{path}</b>"})
        assert reply.json()["signature"] == f"<b>{path}</b>"
    assert (await settings.send("PATCH", "/settings/sendAs/eve@example.test", {})).status_code == 404
