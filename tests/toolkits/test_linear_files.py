"""Files of Linear: uploaded and linked, once; named where a text shows them; fetched from one host only."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from deputize.core import ApprovalRequired, Call, Deputy, InvalidInput, NotFound, allow_all, ask_before_sending
from deputize.core.errors import DeputizeError
from deputize.sandbox import Sandbox
from deputize.sandbox.http_types import Ask, Reply
from deputize.sandbox.linear import uploads
from deputize.sandbox.linear.uploads import HOST, STORE
from deputize.sandbox.pytest_plugin import Granting
from deputize.sandbox.world import World
from tests.toolkits.linear_calls import FILE

PNG = b"\x89PNG\r\n\x1a\nwords"


@pytest.fixture
def alice(deputy: Deputy, grant: Granting) -> Deputy:
    grant("alice", "read", "write", provider="linear")
    deputy.policy = allow_all
    return deputy


@pytest.fixture
def store(sandbox: Sandbox) -> dict[str, Any]:
    found: dict[str, Any] = sandbox._world.services["linear"]
    return found


async def act(deputy: Deputy, tool: str, call: Call | None = None, /, user: str = "alice", **arguments: Any) -> Any:
    return await deputy.act(f"linear_{tool}", arguments, user=user, call=call)


async def kept(deputy: Deputy, name: str = "shot [1].png", mime: str = "image/png", content: bytes = PNG) -> str:
    return str((await deputy.store_file("alice", name, mime, content))["file"])


async def test_picture_in_a_description_is_uploaded_and_listed(
    alice: Deputy, store: dict[str, Any], sandbox: Sandbox
) -> None:
    store["issues"][0]["description"] = "Old words"
    done = await act(alice, "upload_file", issue="ENG-1", attachments=[await kept(alice)], place="description")
    [told] = done["files"]
    assert store["issues"][0]["description"] == f"Old words\n\n![shot \\[1\\].png]({told['url']})"
    found = await act(alice, "get_issue", issue="ENG-1")
    assert found["files"] == [{"name": "shot [1].png", "url": told["url"]}]
    file = await act(alice, "get_file", url=told["url"])
    assert (file["name"], file["mime"], file["untrusted"]) == ("shot [1].png", "image/png", True)
    assert "text" not in file and (await alice.get_file("alice", file["handle"])).content == PNG
    [put] = [one for one in sandbox.requests if one.host == STORE]
    assert put.method == "PUT"


async def test_files_in_a_comment_and_on_an_issue_are_listed(alice: Deputy, store: dict[str, Any]) -> None:
    files = [await kept(alice), await kept(alice, "log.txt", "text/plain", b"line 1")]
    done = await act(alice, "upload_file", issue="ENG-1", attachments=files, place="comment", body="See **here**")
    first, other = (one["url"] for one in done["files"])
    body = store["comments"][-1]["body"]
    assert body == f"See **here**\n\n![shot \\[1\\].png]({first})\n\n[log.txt]({other})"
    told = await act(alice, "list_comments", comment_id=done["comment_id"])
    assert [one["url"] for one in told["files"]] == [first, other]
    done = await act(alice, "upload_file", issue="ENG-1", attachments=files)
    links = (await act(alice, "get_issue", issue="ENG-1", include=["attachments"]))["attachments"]
    assert [(one["title"], one["url"]) for one in links] == [(one["name"], one["url"]) for one in done["files"]]


async def test_html_file_is_read_as_a_browser_shows_it(alice: Deputy) -> None:
    page = await kept(alice, "page.html", "text/html", b"<p>seen</p><p style='display:none'>secret</p><!-- secret -->")
    done = await act(alice, "upload_file", issue="ENG-1", attachments=[page])
    told = await act(alice, "get_file", url=done["files"][0]["url"])
    assert told["text"] == "seen" and told["hidden_removed"] == 6


async def test_file_content_is_uploaded_without_the_token(
    alice: Deputy, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, str]] = []

    def recording(ask: Ask, world: World) -> Reply:
        seen.append(dict(ask.headers))
        return uploads.put(ask, world)

    monkeypatch.setitem(sandbox._hosts, STORE, recording)
    await act(alice, "upload_file", issue="ENG-1", attachments=[await kept(alice)])
    [headers] = seen
    assert "authorization" not in headers and headers["x-goog-content-length-range"] == f"{len(PNG)},{len(PNG)}"


@pytest.mark.parametrize("place", ["attachment", "description", "comment"])
async def test_file_is_linked_once_after_any_loss(
    alice: Deputy, sandbox: Sandbox, store: dict[str, Any], place: str
) -> None:
    call = Call("thread", "message", "call")
    arguments: dict[str, Any] = {"issue": "ENG-1", "attachments": [await kept(alice)], "place": place}
    sandbox.switches.drop_after_commit += ["/graphql"] * 12
    with pytest.raises(Exception):  # noqa: B017 - whatever a lost answer is
        await act(alice, "upload_file", call, **arguments)
    sandbox.switches.drop_after_commit.clear()
    done = await act(alice, "upload_file", call, **arguments)
    [url] = [one["url"] for one in done["files"]]
    everywhere = str([store["issues"], store["comments"], store["attachments"]])
    assert everywhere.count(url) == 1
    assert await act(alice, "upload_file", call, **arguments) == done and everywhere.count(url) == 1


async def test_refused_upload_leaves_no_link(
    alice: Deputy, sandbox: Sandbox, store: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = str([store["issues"], store["comments"], store["attachments"]])
    monkeypatch.setitem(sandbox._hosts, STORE, lambda ask, world: Reply(403, (), b"SignatureDoesNotMatch"))
    with pytest.raises(DeputizeError):
        await act(alice, "upload_file", issue="ENG-1", attachments=[await kept(alice)])
    assert str([store["issues"], store["comments"], store["attachments"]]) == before


async def test_shared_file_is_previewed_by_name_and_bytes(alice: Deputy) -> None:
    alice.policy = ask_before_sending
    with pytest.raises(ApprovalRequired) as asked:
        await act(alice, "upload_file", issue="ENG-1", attachments=[await kept(alice)], place="comment", body="Look")
    shown = str(asked.value.approval.preview)
    assert "shot [1].png" in shown and "Look" in shown and "ENG-1 Import drops the last row" in shown


async def test_invalid_upload_is_refused(alice: Deputy) -> None:
    empty = await kept(alice, content=b"")
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"attachments": [empty]}, "a file is empty"),
        ({"attachments": [await kept(alice)], "body": "x"}, "body: only for place=comment"),
    ]
    for arguments, says in wrong:
        with pytest.raises(InvalidInput, match=says):
            await act(alice, "upload_file", issue="ENG-1", **arguments)
    bobs = await alice.store_file("bob", "his.txt", "text/plain", b"his")
    with pytest.raises(NotFound):
        await act(alice, "upload_file", issue="ENG-1", attachments=[bobs["file"]])


async def test_text_file_is_read_in_parts(alice: Deputy, store: dict[str, Any]) -> None:
    text = "\n".join(f"line {n}" for n in range(3_000))
    store["uploads"][0]["bytes"] = base64.b64encode(text.encode()).decode()
    told = await act(alice, "get_file", url=FILE)
    whole = told["text"]
    assert told["handle"].startswith("file_") and "text_digest" not in told
    while "next_offset" in told:
        told = await act(alice, "get_file", url=FILE, offset=told["next_offset"])
        whole += told["text"]
    assert whole == text and "handle" not in told


@pytest.mark.parametrize(
    "url",
    [
        "https://uploads.linear.app.evil.test/a/b",
        "https://uploads.linear.app:8443/a/b",
        "https://x@uploads.linear.app/a/b",
        "http://uploads.linear.app/a/b",
        "https://uploads.linear.app/",
        "https://uploads.linear.app/%ff",
        "https://uploads.linear.app/../graphql",
        "https://api.linear.app/graphql",
        "file_abcdefghij",
        "",
    ],
)
async def test_token_goes_to_no_other_host(alice: Deputy, sandbox: Sandbox, url: str) -> None:
    with pytest.raises((InvalidInput, NotFound)):
        await act(alice, "get_file", url=url)
    assert {(one.host, one.method) for one in sandbox.requests} <= {("api.linear.app", "POST")}


async def test_foreign_link_gets_no_token(alice: Deputy, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Ask] = []

    def elsewhere(ask: Ask, world: World) -> Reply:
        seen.append(ask)
        return Reply(200, (("content-type", "image/png"),), PNG)

    moved = Reply(302, (("location", f"https://{STORE}/signed/shot.png?sig=1"),))
    monkeypatch.setitem(sandbox._hosts, HOST, lambda ask, world: moved)
    monkeypatch.setitem(sandbox._hosts, STORE, elsewhere)
    told = await act(alice, "get_file", url=FILE)
    assert told["size"] == len(PNG) and [one.bearer() for one in seen] == [""]


async def test_missing_file_is_not_found(alice: Deputy) -> None:
    with pytest.raises(NotFound):
        await act(alice, "get_file", url=f"{FILE}0")
