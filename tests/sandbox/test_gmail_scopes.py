"""Which scopes allow which method of Gmail, and the form of a refusal."""

from __future__ import annotations

import importlib.util
from typing import Any

import httpx
import pytest

from deputize.sandbox import Sandbox
from deputize.sandbox.google.gmail.methods import METHODS, ROOT, Method
from tests.sandbox.registered_app import ALICE, BOB, GMAIL, ME, Gmail, TestApp
from tests.support.counterparts import require
from tests.support.discovery import Discovery

MAIL = "https://mail.google.com/"
SHORT = ("readonly", "metadata", "modify", "compose", "send", "labels", "settings.basic", "settings.sharing")


async def statuses(app: TestApp, scope: str) -> dict[str, int]:
    """Return each method's response to a token with this one scope (and an empty or unknown object)."""
    token = (await app.connect(scope=f"openid {scope}"))["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    found = {}
    for method in METHODS:
        path = method.path.replace("{id}", "0f" * 8).replace("{messageId}", "0f" * 8)
        url = ME + path.replace("{sendAsEmail}", "nobody@example.test")
        body: Any = {} if method.verb in ("POST", "PUT", "PATCH") else None
        found[method.id] = (await app.http.request(method.verb, url, json=body, headers=headers)).status_code
    return found


@pytest.mark.parametrize("scope", [MAIL, *(GMAIL + short for short in SHORT)])
async def test_method_is_refused_exactly_when_its_scopes_lack_the_granted(app: TestApp, scope: str) -> None:
    answers = await statuses(app, scope)
    metadata_holds_back = {"messages.get"} if scope.endswith("metadata") else set()
    refused = {id for id, status in answers.items() if status == 403} - metadata_holds_back
    assert refused == {method.id for method in METHODS if scope not in method.scopes}
    assert len(refused) < len(METHODS)


async def test_gmail_scope_pitfalls_are_simulated(app: TestApp) -> None:
    send, compose = await statuses(app, GMAIL + "send"), await statuses(app, GMAIL + "compose")
    readonly, settings = await statuses(app, GMAIL + "readonly"), await statuses(app, GMAIL + "settings.basic")
    assert (send["messages.send"], send["drafts.send"], send["getProfile"]) == (400, 403, 403)
    assert (compose["drafts.list"], compose["drafts.send"], compose["messages.list"]) == (200, 400, 403)
    assert (readonly["settings.getVacation"], readonly["settings.updateVacation"]) == (200, 403)
    assert (settings["settings.updateVacation"], settings["messages.list"]) == (200, 403)


@pytest.mark.counterpart
def test_gmail_methods_match_googles_discovery_document() -> None:
    found = importlib.util.find_spec("googleapiclient") is not None
    require("google-api-python-client", found, "pip install google-api-python-client")
    document = Discovery.of("gmail.v1")
    for method in METHODS:
        path = ROOT + method.path
        for name in ("userId", "id", "messageId", "sendAsEmail"):
            path = path.replace("{" + name + "}", "me")
        request = httpx.Request(method.verb, f"https://gmail.googleapis.com{path}")
        call = document.call(request)
        scopes = {scope for scope in call.method["scopes"] if ".addons." not in scope}
        assert (call.id, scopes) == (f"gmail.users.{method.id}", set(method.scopes))
        assert bool(call.method.get("supportsMediaUpload")) == method.uploads


async def test_scope_refusal_names_the_method_and_sufficient_scopes(app: TestApp) -> None:
    gmail = await app.gmail("send")
    reply = await gmail.send("GET", "/messages")
    error = reply.json()["error"]
    assert (reply.status_code, error["status"]) == (403, "PERMISSION_DENIED")
    assert error["details"] == [
        {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
            "domain": "googleapis.com",
            "metadata": {
                "service": "gmail.googleapis.com",
                "method": "caribou.api.proto.MailboxService.ListMessages",
            },
        }
    ]
    assert GMAIL + "readonly" in reply.headers["www-authenticate"]


async def test_metadata_scope_forbids_queries_and_bodies_beside_any_other(app: TestApp) -> None:
    for scopes in (("metadata",), ("metadata", "readonly")):
        gmail = await app.gmail(*scopes)
        (id, *_) = await gmail.ids(labelIds="INBOX")
        refused = await gmail.send("GET", "/messages", q="invoice")
        assert refused.status_code == 403
        assert refused.json()["error"]["message"] == "Metadata scope does not support 'q' parameter"
        for form in ("full", "raw", ""):
            params: dict[str, Any] = {"format": form} if form else {}
            assert (await gmail.send("GET", f"/messages/{id}", **params)).status_code == 403
        shown = await gmail.get(f"/messages/{id}", format="metadata")
        assert shown["payload"]["headers"] and "body" not in shown["payload"]
        assert (await gmail.send("GET", "/threads", q="invoice")).status_code == 403


async def test_mailbox_of_another_person_is_unreachable(app: TestApp, alice: Gmail, sandbox: Sandbox) -> None:
    (secret,) = [mail for mail in sandbox.mailbox(BOB).mails() if mail.subject == "Your new safe"]
    for path in (f"/messages/{secret.id}", f"/threads/{secret.thread_id}"):
        assert (await alice.send("GET", path)).status_code == 404
    assert (await alice.send("POST", f"/messages/{secret.id}/trash")).status_code == 404
    token = (await app.connect("modify"))["access_token"]
    for user in (BOB, "decoy%40example.test", "100000000000000000003"):
        url = ME.replace("/me", f"/{user}") + "/messages"
        reply = await app.http.get(url, headers={"Authorization": f"Bearer {token}"})
        assert reply.status_code == 403 and "Delegation denied" in reply.json()["error"]["message"]
    own = ME.replace("/me", "/alice%40example.test") + "/profile"
    reply = await app.http.get(own, headers={"Authorization": f"Bearer {token}"})
    assert reply.json()["emailAddress"] == ALICE


async def test_batch_change_with_a_foreign_id_changes_nothing_there(alice: Gmail, sandbox: Sandbox) -> None:
    before = sandbox.mailbox(BOB).mails()
    body = {"ids": [mail.id for mail in before], "addLabelIds": ["TRASH"]}
    assert (await alice.send("POST", "/messages/batchModify", body)).status_code == 204
    assert sandbox.mailbox(BOB).mails() == before


def test_rpc_name_in_a_refusal_is_derived_from_the_method() -> None:
    method = Method("messages.batchModify", "POST", "/messages/batchModify", ())
    assert method.rpc.endswith("MailboxService.BatchModifyMessages")


async def test_unknown_method_is_404_before_anything_else(app: TestApp) -> None:
    for verb, path in (("GET", "/nothing"), ("DELETE", "/profile"), ("POST", "/messages")):
        assert (await app.http.request(verb, ME + path)).status_code == 404
