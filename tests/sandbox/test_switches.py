"""Injected responses and lost replies."""

from __future__ import annotations

import httpx
import pytest

from deputize.sandbox import Sandbox, Switches
from tests.sandbox.registered_app import ALICE, BOB, TOKEN, Clock, Gmail, TestApp, written

MESSAGES = "/gmail/v1/users/me/messages"
BUSY = {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}


async def test_everything_is_503_when_down(app: TestApp, alice: Gmail, sandbox: Sandbox) -> None:
    sandbox.switches.down = True
    assert (await alice.send("GET", "/profile")).status_code == 503
    assert (await app.refresh("1//0x")).status_code == 503
    assert (await app.http.get(app.flow("send").link)).status_code == 503
    sandbox.switches.down = False
    assert (await alice.send("GET", "/profile")).status_code == 200


async def test_fault_replaces_one_answer_each(alice: Gmail, sandbox: Sandbox) -> None:
    sandbox.switches.faults["POST", f"{MESSAGES}/send"] = [
        (429, {"Retry-After": "30"}, BUSY),
        (502, {"Content-Type": "text/html"}, b"<h1>Bad gateway</h1>"),
    ]
    first = await alice.send("POST", "/messages/send", written())
    second = await alice.send("POST", "/messages/send", written())
    assert (first.status_code, first.headers["retry-after"], first.json()) == (429, "30", BUSY)
    assert (second.status_code, second.text) == (502, "<h1>Bad gateway</h1>")
    assert sandbox.sent(ALICE) == []
    assert (await alice.send("POST", "/messages/send", written())).status_code == 200
    assert len(sandbox.sent(ALICE)) == 1


async def test_fault_affects_its_own_method_and_path_only(alice: Gmail, sandbox: Sandbox) -> None:
    sandbox.switches.faults["GET", f"gmail.googleapis.com{MESSAGES}"] = [(500, {}, {})]
    sandbox.switches.faults["GET", f"oauth2.googleapis.com{MESSAGES}"] = [(501, {}, {})]
    assert (await alice.send("POST", "/messages/send", written())).status_code == 200
    assert (await alice.send("GET", "/profile")).status_code == 200
    assert (await alice.send("GET", "/messages")).status_code == 500
    assert (await alice.send("GET", "/messages")).status_code == 200


async def test_reply_dropped_after_the_commit_leaves_one_effect(alice: Gmail, sandbox: Sandbox) -> None:
    sandbox.switches.drop_after_commit.append(MESSAGES)
    assert (await alice.send("GET", "/messages")).status_code == 200
    assert (await alice.send("POST", "/messages/send", {})).status_code == 400
    with pytest.raises(httpx.ReadError):
        await alice.send("POST", "/messages/send", written())
    assert len(sandbox.sent(ALICE)) == 1 and sandbox.switches.drop_after_commit == []
    assert (await alice.send("POST", "/messages/send", written())).status_code == 200


async def test_sent_draft_with_a_lost_reply_is_gone(alice: Gmail, sandbox: Sandbox) -> None:
    made = await alice.post("/drafts", {"message": written()})
    sandbox.switches.drop_after_commit.append("/gmail/v1/users/me/drafts/send")
    with pytest.raises(httpx.ReadError):
        await alice.send("POST", "/drafts/send", {"id": made["id"]})
    assert (await alice.send("GET", f"/drafts/{made['id']}")).status_code == 404
    assert await alice.ids("in:sent subject:hello") == [sandbox.sent(ALICE)[0].id]


async def test_fault_at_the_token_endpoint_keeps_the_grant(app: TestApp, sandbox: Sandbox) -> None:
    refresh = (await app.connect("send"))["refresh_token"]
    path = httpx.URL(TOKEN).path
    sandbox.switches.faults["POST", path] = [(400, {}, {"error": "invalid_grant", "error_subtype": "invalid_rapt"})]
    assert (await app.refresh(refresh)).json()["error_subtype"] == "invalid_rapt"
    assert (await app.refresh(refresh)).status_code == 200


async def test_switches_can_be_set_at_construction() -> None:
    switches = Switches(access_ttl=5, swap_account=BOB)
    sandbox = Sandbox(clock=Clock(), switches=switches)
    reply = await TestApp(sandbox).connect("send")
    assert sandbox.switches is switches and reply["expires_in"] == 5 and sandbox.live_tokens()[BOB] == 2
