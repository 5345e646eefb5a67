"""Previews of GitHub commits with files that are large, many, hidden by size, or folders; and what needs no
approval."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import httpx
import pytest

from deputize.core import ApprovalRequired, Audience, Call, InvalidInput, ask_before_sending
from deputize.sandbox.github.git import blob_sha, commit, packed
from tests.support.preview_coverage import ShownWorld, shown_world
from tests.toolkits.github_play import ALL, GARDEN, SITE

COMMIT: Final[dict[str, Any]] = {"repo": SITE, "branch": "main", "message": "M"}
SECRET: Final = "gh" + "p_" + "a1B2" * 9


@pytest.fixture
async def world() -> AsyncIterator[ShownWorld]:
    async with shown_world({"github": ALL}) as world:
        yield world


def put(world: ShownWorld, files: dict[str, str | bytes]) -> None:
    """Put files into the website, in one commit."""
    store = world.sandbox._world.services["github"]
    repo, history = store["repos"][SITE], store["commits"][SITE]
    head = repo["branches"]["main"]
    tree = history[head]["tree"] | {path: packed(text) for path, text in files.items()}
    repo["branches"]["main"] = commit(history, tree, [head], "Put", "bob", "2026-11-01T00:00:00Z")


def writes(world: ShownWorld) -> list[httpx.Request]:
    return [request for request, _ in world.wire.writes]


async def test_too_large_file_is_pinned_and_not_restored(world: ShownWorld) -> None:
    put(world, {"large.txt": "line\n" * 300_000, "logo.bin": b"\x00\x01"})
    files = [
        {"path": "large.txt", "content": "small\n", "sha": blob_sha(packed("line\n" * 300_000))},
        {"path": "logo.bin", "content": "text\n", "sha": blob_sha(packed(b"\x00\x01"))},
    ]
    await world.act("github_commit_files", **COMMIT, files=files)
    [show] = world.shown
    before, after = show.fields["files"]["before"], show.fields["files"]["after"]
    assert before[0] == {
        "file": "large.txt",
        "mime": "application/octet-stream",
        "size": 1_500_000,
        "pin": show.pins["files"]["large.txt"],
    }
    assert before[1]["file"] == "logo.bin" and len(before[1]["sha256"]) == 64
    assert after == ["large.txt:\nsmall\n", "logo.bin:\ntext\n"] and await world.deputy.undoable("alice") == []


async def test_first_of_many_files_are_read_and_all_are_named(world: ShownWorld) -> None:
    names = [f"many/{n:02}.txt" for n in range(30)]
    put(world, dict.fromkeys(names, "old\n"))
    await world.act("github_commit_files", **COMMIT, delete_paths=names)
    before = world.shown[0].fields["files"]["before"]
    assert [one["file"] for one in before[20:]] == names[20:] and before[19] == "many/19.txt:\nold\n"
    assert world.shown[0].fields["deleted_files"] == names and "history" in world.shown[0].fields["undo"]


@pytest.mark.parametrize("path", ["docs", "README.md/inner.txt"])
async def test_file_cannot_replace_a_folder_or_vice_versa(world: ShownWorld, path: str) -> None:
    with pytest.raises(InvalidInput, match="folder"):
        await world.act("github_commit_files", **COMMIT, files=[{"path": path, "content": "x"}])
    assert writes(world) == [] and world.shown == []


async def test_file_with_a_secret_is_previewed_and_not_restored(world: ShownWorld) -> None:
    """No tool writes what looks like a secret, so no undo could restore it."""
    text = f"TOKEN = '{SECRET}'\n"
    put(world, {"config.py": text})
    arguments = {"repo": SITE, "path": "config.py", "message": "M", "content": "x", "mode": "overwrite"}
    await world.act("github_write_file", **arguments, expected_sha=blob_sha(packed(text)))
    assert SECRET in world.shown[0].fields["content"]["before"] and await world.deputy.undoable("alice") == []


async def test_large_file_preview_shows_the_new_text(world: ShownWorld) -> None:
    put(world, {"large.txt": "line\n" * 300_000})
    arguments = {"repo": SITE, "path": "large.txt", "message": "M", "content": "last", "mode": "append"}
    await world.act("github_write_file", **arguments)
    assert world.shown[0].fields["new_text"] == "last"
    assert world.shown[0].fields["content"]["after"]["size"] == 1_500_005


# ----------------------------------------------------------------- what is asked about, and what it costs


async def test_own_repository_is_created_without_approval_or_lookup(world: ShownWorld) -> None:
    world.deputy.policy = ask_before_sending
    seen: list[str] = []
    inner = world.wire.inner

    class Counted(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            seen.append(f"{request.method} {request.url.path}")
            return await inner.handle_async_request(request)

    world.wire.inner = Counted()
    await world.act("github_create_repo", name="hutch")
    assert seen == ["POST /user/repos", "GET /repos/alice/hutch"]


QUIET: Final[list[tuple[str, dict[str, Any]]]] = [
    ("update_notifications", {"thread_ids": ["3001"], "action": "read"}),
    ("update_notifications", {"action": "read", "before": "now"}),
    ("create_repo", {"name": "hutch"}),
]
ASKED: Final[list[tuple[str, dict[str, Any]]]] = [
    ("set_star", {"repo": GARDEN}),
    ("create_repo", {"name": "hutch", "private": False}),
    ("create_repo", {"name": "hutch", "org": "acme"}),
    ("create_repo", {"name": "garden", "source": GARDEN}),
    ("save_gist", {"files": {"a.txt": "x"}}),
    ("update_project_item", {"owner": "alice", "project": "1", "item": f"{GARDEN}#1"}),
    ("write_comment", {"repo": "alice/private-notes", "number": 1, "body": "x"}),
]


@pytest.mark.parametrize(("tool", "arguments"), QUIET, ids=[row[0] for row in QUIET])
async def test_private_act_needs_no_approval(world: ShownWorld, tool: str, arguments: dict[str, Any]) -> None:
    assert await way(world, tool, arguments) is None


@pytest.mark.parametrize(("tool", "arguments"), ASKED, ids=[row[0] for row in ASKED])
async def test_visible_act_needs_approval(world: ShownWorld, tool: str, arguments: dict[str, Any]) -> None:
    asked = await way(world, tool, arguments)
    assert isinstance(asked, ApprovalRequired) and asked.approval.preview and writes(world) == []


async def way(world: ShownWorld, tool: str, arguments: dict[str, Any]) -> Any:
    """Return the request that blocks a call under the default policy."""
    world.deputy.policy = ask_before_sending
    [found] = await world.deputy.check_calls([(f"github_{tool}", arguments, Call("t", "m", "c"))], user="alice")
    return found


async def test_gist_audience_is_unknown(world: ShownWorld) -> None:
    await world.act("github_save_gist", files={"a.txt": "x"})
    assert world.shown[0].audience is Audience.UNKNOWN and "secret gist" in world.shown[0].where


@pytest.mark.parametrize(
    ("mode", "type", "says"), [("120000", "blob", "symbolic link"), ("160000", "commit", "submodule")]
)
@pytest.mark.parametrize(
    "given",
    [{"files": [{"path": "lib", "content": "x"}]}, {"delete_paths": ["lib"]}, {"delete_paths": ["README.md", "lib"]}],
    ids=["written", "deleted", "among others"],
)
async def test_symlink_or_submodule_is_neither_replaced_nor_deleted(
    world: ShownWorld, monkeypatch: pytest.MonkeyPatch, mode: str, type: str, says: str, given: dict[str, Any]
) -> None:
    """GitHub answers for a symbolic link with its target, and a submodule is in no list of files."""
    lists_as(world, monkeypatch, {"path": "lib", "type": type, "mode": mode, "sha": "a" * 40})
    with pytest.raises(InvalidInput, match=says):
        await world.act("github_commit_files", **COMMIT, **given)
    assert writes(world) == [] and world.shown == []


@pytest.mark.parametrize(("mode", "type"), [("120000", "blob"), ("160000", "commit")])
async def test_file_cannot_be_created_below_a_file(
    world: ShownWorld, monkeypatch: pytest.MonkeyPatch, mode: str, type: str
) -> None:
    lists_as(world, monkeypatch, {"path": "lib", "type": type, "mode": mode, "sha": "a" * 40})
    with pytest.raises(InvalidInput, match="lib is"):
        await world.act("github_commit_files", **COMMIT, files=[{"path": "lib/inner.txt", "content": "x"}])
    assert writes(world) == [] and world.shown == []


def lists_as(world: ShownWorld, monkeypatch: pytest.MonkeyPatch, row: dict[str, Any]) -> None:
    """Let GitHub list one more file in every commit."""
    inner = world.wire.inner

    class Listed(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            answer = await inner.handle_async_request(request)
            if "/git/trees/" not in request.url.path:
                return answer
            await answer.aread()
            told = answer.json()
            return httpx.Response(200, json=told | {"tree": [*told["tree"], row]}, request=request)

    monkeypatch.setattr(world.wire, "inner", Listed())
