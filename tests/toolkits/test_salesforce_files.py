"""Files of Salesforce: listed with a record's notes, fetched as handles, attached to a record once."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest

from deputize.core import ApprovalRequired, Call, Deputy, InvalidInput, NotFound, ask_before_sending
from deputize.core.errors import OutcomeUnknown
from deputize.sandbox import Sandbox
from deputize.sandbox.http_types import Ask, Reply
from deputize.sandbox.salesforce.hosts import org
from deputize.sandbox.salesforce.seed import record_id
from deputize.sandbox.salesforce.tokens import INSTANCE
from deputize.sandbox.world import World
from deputize.toolkits._shared.page import tokens

ACCOUNT, TERMS = record_id("Account", 1), record_id("ContentDocument", 1)
PDF = b"%PDF-1.7 words"
HERE = "/services/data/v64.0/sobjects/ContentVersion"


async def act(deputy: Deputy, tool: str, call: Call | None = None, /, **arguments: Any) -> Any:
    return await deputy.act(f"salesforce_{tool}", arguments, user="alice", call=call)


async def kept(deputy: Deputy, name: str = "Offer 7.pdf", content: bytes = PDF) -> str:
    return str((await deputy.store_file("alice", name, "application/pdf", content))["file"])


def versions(sandbox: Sandbox) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = sandbox._world.services["salesforce"]["records"]["ContentVersion"]
    return found


async def test_file_is_attached_to_a_record_and_read_back(alice: Deputy, sandbox: Sandbox) -> None:
    done = await act(alice, "upload_file", record=ACCOUNT, attachment=await kept(alice))
    await act(alice, "log_activity", kind="note", subject="Said", description="x", account_or_opportunity=ACCOUNT)
    file, note = (await act(alice, "list_files", record=ACCOUNT))["items"]
    assert (file["title"], file["type"], file["size"]) == ("Offer 7", "PDF", len(PDF)) and file["untrusted"]
    assert note["object"] == "ContentNote" and note["title"] == "Said"
    assert (await act(alice, "get_record", object=note["object"], record=note["record"]))["fields"]["Content"] == "x"
    assert file["file"] == done["file"], "by the id that lists show"
    for id in (file["file"], versions(sandbox)[-1]["Id"]):
        told = await act(alice, "get_file", file=id)
        assert (told["name"], told["mime"]) == ("Offer 7.pdf", "application/pdf") and "text" not in told
        assert (await alice.get_file("alice", told["handle"])).content == PDF


async def test_many_long_file_names_are_listed_in_fitting_pages(alice: Deputy, sandbox: Sandbox) -> None:
    records = sandbox._world.services["salesforce"]["records"]
    document, link = records["ContentDocument"][0], records["ContentDocumentLink"][0]
    for n in range(2, 92):
        at = {"ContentDocumentId": record_id("ContentDocument", n), "LinkedEntityId": ACCOUNT}
        records["ContentDocument"].append(document | {"Id": at["ContentDocumentId"], "Title": f"{n} {'季度数据' * 60}"})
        records["ContentDocumentLink"].append(link | at | {"Id": record_id("ContentDocumentLink", n)})
    seen, cursor = [], None
    for _ in range(20):
        page = await act(alice, "list_files", record=ACCOUNT, limit=100, cursor=cursor)
        assert tokens(page) <= 4_000
        seen += [row["file"] for row in page["items"]]
        if (cursor := page["next"]) is None:
            break
        assert page["truncated"]
    assert seen == [record_id("ContentDocument", n) for n in range(2, 92)]


async def test_text_file_is_read_to_its_end_by_continuations(alice: Deputy, sandbox: Sandbox) -> None:
    text = "\n".join(f"line {n}" for n in range(3_000))
    versions(sandbox)[0] |= {"VersionData": base64.b64encode(text.encode()).decode(), "ContentSize": len(text)}
    told = await act(alice, "get_file", file=TERMS)
    whole = told["text"]
    while "more" in told:
        told = await act(alice, "read_more", ref=told["more"])
        whole += told["text"]
    assert whole == text and "handle" not in told


async def test_html_file_is_read_as_a_browser_shows_it(alice: Deputy) -> None:
    content = b"<p>seen</p><p style='display:none'>secret</p><!-- secret -->"
    done = await act(alice, "upload_file", record=ACCOUNT, attachment=await kept(alice, "page.html", content))
    told = await act(alice, "get_file", file=done["file"])
    assert told["text"] == "seen" and told["hidden_removed"] == 6
    assert (await alice.get_file("alice", told["handle"])).content == content


async def test_too_large_file_is_not_fetched(alice: Deputy, sandbox: Sandbox) -> None:
    versions(sandbox)[0]["ContentSize"] = 26 * 2**20
    before = len(sandbox.requests)
    told = await act(alice, "get_file", file=TERMS)
    assert "Too large" in told["summary"] and "handle" not in told and len(sandbox.requests) == before + 1


@pytest.mark.parametrize("lost", [1, 2])
async def test_file_exists_once_whatever_answer_is_lost(alice: Deputy, sandbox: Sandbox, lost: int) -> None:
    sandbox.switches.drop_after_commit += [HERE] * lost
    arguments = {"record": ACCOUNT, "attachment": await kept(alice)}
    call = Call("thread", "message", "call")
    done = await act(alice, "upload_file", call, **arguments)
    assert done["existed"] and [row["Title"] for row in versions(sandbox)] == ["Terms", "Offer 7"]
    assert await act(alice, "upload_file", call, **arguments) == done and len(versions(sandbox)) == 2


@pytest.mark.parametrize("elsewhere", [(ACCOUNT, record_id("Account", 2)), (PDF, b"%PDF-1.7 other")])
async def test_file_uploaded_by_another_act_is_not_taken_for_ours(
    alice: Deputy, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, elsewhere: tuple[Any, Any]
) -> None:
    """The request is lost before it arrives, while one for another record, or with other words, does arrive."""
    mine, theirs = (base64.b64encode(one) if isinstance(one, bytes) else one.encode() for one in elsewhere)

    def losing(ask: Ask, world: World) -> Reply:
        if ask.method == "POST" and ask.path == HERE:
            org(replace(ask, body=ask.body.replace(mine, theirs)), world)
            return Reply(502)
        return org(ask, world)

    monkeypatch.setitem(sandbox._hosts, INSTANCE, losing)
    with pytest.raises(OutcomeUnknown):
        await act(alice, "upload_file", record=ACCOUNT, attachment=await kept(alice))
    assert len(versions(sandbox)) == 2


async def test_shared_file_is_previewed_by_name_and_place(alice: Deputy) -> None:
    alice.policy = ask_before_sending
    with pytest.raises(ApprovalRequired) as asked:
        await act(alice, "upload_file", record=ACCOUNT, attachment=await kept(alice), title="The offer")
    shown = str(asked.value.approval.preview)
    assert "Offer 7.pdf" in shown and "The offer" in shown and "Northwind" in shown


async def test_invalid_file_is_refused(alice: Deputy) -> None:
    with pytest.raises(InvalidInput, match="the file is empty"):
        await act(alice, "upload_file", record=ACCOUNT, attachment=await kept(alice, content=b""))
    bobs = await alice.store_file("bob", "his.txt", "text/plain", b"his")
    with pytest.raises(NotFound):
        await act(alice, "upload_file", record=ACCOUNT, attachment=bobs["file"])
    with pytest.raises(NotFound) as missing:
        await act(alice, "get_file", file=record_id("ContentDocument", 99))
    assert "salesforce_list_files" in missing.value.hint
    with pytest.raises(InvalidInput):
        await act(alice, "get_file", file="069' OR Id != '")
