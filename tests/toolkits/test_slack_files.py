"""Files: uploaded in three steps without sending a token elsewhere, downloaded from Slack's own host only."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import pytest

from deputize.core import Call
from deputize.core.errors import DeputizeError, InvalidInput, NotFound, OutcomeUnknown
from deputize.core.vault.grant import User
from deputize.sandbox.slack.seed import REPORT
from tests.toolkits.slack_world import ENG, EVERYTHING, World, world

CALL = Call("thread", "message", "call")


async def test_file_is_uploaded_without_a_token_and_downloaded_with_one(slack: World) -> None:
    handle = await slack.file("notes.txt", b"some notes")
    up = await slack.act("upload_file", conversation=ENG, attachments=[handle], body="**Here**", title="Notes")
    [identity] = up["file_ids"]
    message = slack.channels[ENG]["messages"][-1]
    assert message["text"] == "*Here*" and message["files"][0]["title"] == "Notes"
    [put] = [one for one in slack.wire.seen if one.url.path.startswith("/upload/")]
    assert "authorization" not in put.headers and put.content == b"some notes" and "cookie" not in put.headers
    down = await slack.act("get_file", file_id=identity)
    [got] = [one for one in slack.wire.seen if one.url.path.startswith("/files-pri/")]
    assert got.url.host == "files.slack.com" and got.headers["authorization"].startswith("Bearer xoxp-")
    assert down["text"] == "some notes"
    assert (await slack.deputy.files.take(User.of("alice"), down["handle"])).content == b"some notes"


async def test_several_files_are_sent_in_one_message_and_into_a_thread(slack: World) -> None:
    handles = [await slack.file(f"{n}.bin", bytes([n]) * 10, "application/octet-stream") for n in range(3)]
    parent = slack.channels[ENG]["messages"][0]["ts"]
    up = await slack.act("upload_file", conversation=ENG, attachments=handles, thread_ts=parent)
    message = slack.channels[ENG]["messages"][-1]
    assert len(up["file_ids"]) == 3 == len(message["files"]) and message["thread_ts"] == parent


@pytest.mark.parametrize("handle", ["file_aaaaaaaaaa", "/etc/passwd", "file:///etc/passwd", "", "../x", "F0REPORT001"])
async def test_unknown_handle_is_refused_before_any_request(handle: str, slack: World) -> None:
    with pytest.raises(NotFound):
        await slack.act("upload_file", conversation=ENG, attachments=[handle])
    assert slack.wire.seen == []


async def test_empty_file_is_refused_before_any_request(slack: World) -> None:
    with pytest.raises(InvalidInput):
        await slack.act("upload_file", conversation=ENG, attachments=[await slack.file("empty.txt", b"")])
    assert slack.wire.seen == []


async def test_handle_of_another_user_is_unknown(slack: World) -> None:
    slack.give(EVERYTHING, "bob")
    handle = await slack.file("notes.txt", b"mine")
    with pytest.raises(NotFound):
        await slack.act("upload_file", as_="bob", conversation=ENG, attachments=[handle])


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.test/upload",
        "https://files.slack.com.evil.test/upload",
        "http://169.254.169.254/latest",
        "https://evilslack.com/upload",
    ],
)
async def test_foreign_upload_url_is_not_used(url: str, slack: World) -> None:
    handle = await slack.file("notes.txt", b"mine")
    slack.wire.say["files.getUploadURLExternal"] = [{"ok": True, "upload_url": url, "file_id": "F1"}]
    with pytest.raises(DeputizeError):
        await slack.act("upload_file", conversation=ENG, attachments=[handle])
    assert all(one.url.host == "slack.com" for one in slack.wire.seen)


async def test_lost_upload_is_repeated_and_a_lost_completion_searched_for(slack: World) -> None:
    handle = await slack.file("notes.txt", b"some notes")
    slack.wire.say["files.getUploadURLExternal"] = [httpx.ReadError("lost")]
    slack.wire.say["files.completeUploadExternal"] = [httpx.ReadError("lost")]
    for _ in range(2):
        up = await slack.act("upload_file", CALL, conversation=ENG, attachments=[handle])
        assert up["file_ids"] and "files" in up["url"]
    assert [bool(one.get("files")) for one in slack.channels[ENG]["messages"]].count(True) == 1


async def test_unverifiable_completion_is_unknown_and_not_repeated() -> None:
    async with world(*(EVERYTHING - {"files:read"})) as alice:
        handle = await alice.file("notes.txt", b"some notes")
        alice.wire.say["files.completeUploadExternal"] = [httpx.ReadError("lost")]
        for _ in range(2):
            with pytest.raises(OutcomeUnknown):
                await alice.act("upload_file", CALL, conversation=ENG, attachments=[handle])
        assert alice.wire.methods().count("files.completeUploadExternal") == 1


# ------------------------------------------------------------------ down


def says(alice: World, **changed: Any) -> None:
    """Let Slack describe the report differently."""
    file = {
        "id": REPORT,
        "name": "deploys.csv",
        "mimetype": "text/csv",
        "size": 38,
        "url_private": f"https://files.slack.com/files-pri/T0ACME00001-{REPORT}/deploys.csv",
    }
    alice.wire.say["files.info"] = [{"ok": True, "file": file | changed}]


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.test/files-pri/T1-F1/a.csv",
        "https://files.slack.com.evil.test/files-pri/T1-F1/a.csv",
        "https://files.slack.com@evil.test/files-pri/T1-F1/a.csv",
        "https://files.slack.com:8443/files-pri/T1-F1/a.csv",
        "http://files.slack.com/files-pri/T1-F1/a.csv",
        "https://[files.slack.com/a",
        "https://files.slack.com/",
        "https://files.slack.com/%ff/%fe",
        "",
    ],
)
async def test_externally_stored_file_is_reported_and_never_fetched(url: str, slack: World) -> None:
    says(slack, url_private=url)
    result = await slack.act("get_file", file_id=REPORT)
    assert "handle" not in result and "elsewhere" in result["summary"]
    assert {one.url.host for one in slack.wire.seen} == {"slack.com"}


async def test_path_with_traversal_is_refused(slack: World) -> None:
    says(slack, url_private="https://files.slack.com/files-pri/%2e%2e/x")
    with pytest.raises(InvalidInput):
        await slack.act("get_file", file_id=REPORT)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(302, headers={"location": "https://acme.slack.com/?redir=x"}),
        httpx.Response(200, headers={"content-type": "text/html"}, text="<html>Sign in</html>"),
    ],
    ids=["redirect", "page"],
)
async def test_sign_in_page_is_not_taken_for_the_file(answer: httpx.Response, slack: World) -> None:
    slack.wire.say[f"/files-pri/T0ACME00001-{REPORT}/deploys.csv"] = [answer]
    with pytest.raises(NotFound) as refused:
        await slack.act("get_file", file_id=REPORT)
    assert "sign in" in refused.value.hint
    assert {one.url.host for one in slack.wire.seen} == {"slack.com", "files.slack.com"}


async def test_too_large_file_is_only_described(slack: World) -> None:
    says(slack, size=26 * 2**20)
    assert "Too large" in (await slack.act("get_file", file_id=REPORT))["summary"]


async def test_text_is_shown_in_pieces_and_other_types_as_handles(slack: World) -> None:
    store = slack.sandbox._world.services["slack"]
    store["files"][REPORT] |= {"content": base64.b64encode(b"a word " * 4000).decode()}
    first = await slack.act("get_file", file_id=REPORT)
    second = await slack.act("get_file", file_id=REPORT, offset=first["next_offset"])
    assert first["total_chars"] == 28_000 and first["truncated"] is True and len(second["text"]) > 3_000
    assert ("a word " * 4000).startswith(first["text"] + second["text"])
    store["files"][REPORT] |= {"mimetype": "image/png"}
    picture = await slack.act("get_file", file_id=REPORT)
    assert "text" not in picture and picture["handle"].startswith("file_")


async def test_canvas_is_written_changed_and_read_as_text(slack: World) -> None:
    made = await slack.act("write_canvas", title="Plan", body="# Plan\n- <b>one</b>")
    await slack.act("write_canvas", canvas_id=made["canvas_id"], body="two")
    read = await slack.act("get_file", file_id=made["canvas_id"])
    assert "one" in read["text"] and "two" in read["text"] and read["untrusted"] is True
    shared = await slack.act("write_canvas", title="Ours", body="x", conversation="#eng")
    assert slack.channels[ENG]["canvas"] == shared["canvas_id"]
    more = await slack.act("write_canvas", title="Also ours", body="x", conversation="#eng")
    assert more["canvas_id"] != shared["canvas_id"] and "failed" not in more
    rows = (await slack.act("list_files", types=["canvases"]))["items"]
    assert len(rows) == 3
    for wrong in ({"body": " "}, {"body": "x", "mode": "replace"}, {"body": "x", "canvas_id": "F1", "title": "t"}):
        with pytest.raises(InvalidInput):
            await slack.act("write_canvas", **wrong)
