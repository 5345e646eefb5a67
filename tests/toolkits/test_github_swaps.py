"""Objects exchanged between read, approval and write: GitHub's tools send only what was previewed."""

from __future__ import annotations

import base64
import copy
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import httpx
import pytest

from deputize.core import ApprovalRequired, Call, Conflict, Deputy, NotFound
from deputize.core.user_requests import Approval
from deputize.sandbox import Sandbox
from deputize.sandbox.deputies import apps, give_grant
from deputize.sandbox.github.git import commit, packed
from tests.support.sandbox_deputy import Recorder, build
from tests.toolkits.github_play import ALL, GARDEN, GUIDE_SHA, SITE

PRIVATE: Final = "acme/platform"
GIST: Final = "a" * 20
Store = dict[str, Any]
Swap = Callable[[Store], None]


class Desk:
    """Alice and a deputy with the default policy, with its requests. ``store``: what GitHub keeps."""

    def __init__(self, sandbox: Sandbox, deputy: Deputy, wire: Recorder) -> None:
        self.deputy, self.wire, self.inner = deputy, wire, wire.inner
        self.store: Store = sandbox._world.services["github"]

    async def act(self, tool: str, arguments: dict[str, Any]) -> Any:
        """Make the same call, as often as it is called."""
        return await self.deputy.act(f"github_{tool}", arguments, user="alice", call=Call("t", "m", "one"))

    async def asked(self, tool: str, arguments: dict[str, Any]) -> Approval:
        """Return the approval that the call waits for; check that nothing was written to create it."""
        with pytest.raises(ApprovalRequired) as caught:
            await self.act(tool, arguments)
        return caught.value.approval

    async def yes(self, approval: Approval) -> None:
        await self.deputy.decide(approval, "approve", by="alice")

    def before(self, method: str, path: str, swap: Swap) -> None:
        """Exchange something while a request to a path is already in progress."""
        store, inner = self.store, self.inner

        class Between(httpx.AsyncBaseTransport):
            done = False

            async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
                if request.method == method and request.url.path.endswith(path) and not self.done and _writes(request):
                    self.done = True
                    swap(store)
                return await inner.handle_async_request(request)

        self.wire.inner = Between()

    def there(self) -> Store:
        """Return what GitHub keeps now."""
        return copy.deepcopy(self.store)


def _writes(request: httpx.Request) -> bool:
    return request.method != "POST" or not request.url.path.endswith("/graphql") or b"mutation" in request.content


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    sandbox = Sandbox()
    wire = Recorder(sandbox.transport())
    async with await build(sandbox, apps=apps(), transport=wire) as deputy:
        give_grant(sandbox, deputy, "alice", ALL, provider="github", email="alice@example.test")
        yield Desk(sandbox, deputy, wire)


# ----------------------------------------------------------------- what somebody else does


def pushed(path: str, text: str, branch: str = "main") -> Swap:
    """Push a commit as Bob."""

    def swap(store: Store) -> None:
        repo, history = store["repos"][SITE], store["commits"][SITE]
        head = repo["branches"][branch]
        tree = history[head]["tree"] | {path: packed(text)}
        repo["branches"][branch] = commit(history, tree, [head], f"Put {path}", "bob", "2026-11-01T00:00:00Z")

    return swap


def another_default(store: Store) -> None:
    store["repos"][SITE]["default_branch"] = "old"


def published(store: Store) -> None:
    store["repos"][PRIVATE]["private"] = False


def renamed(store: Store) -> None:
    """Rename the repository; requests for the old name are redirected."""
    for part in ("repos", "issues", "commits", "comments", "review_comments", "reviews", "releases", "runs"):
        if SITE in store[part]:
            store[part]["acme/site"] = store[part].pop(SITE)
    store["repos"]["acme/site"]["full_name"] = "acme/site"
    store["renamed"][SITE] = "acme/site"


def made_anew(store: Store) -> None:
    """Replace the repository by another one of the same name, as somebody who waited for the name."""
    store["repos"][SITE]["id"] = 6666


def issue(**changes: Any) -> Swap:
    return lambda store: store["issues"][SITE][0].update(copy.deepcopy(changes))


def pull(**changes: Any) -> Swap:
    return lambda store: store["issues"][SITE][1].update(copy.deepcopy(changes))


def of(kind: str, n: int, **changes: Any) -> Swap:
    return lambda store: store[kind][SITE][n].update(copy.deepcopy(changes))


def in_gist(store: Store) -> None:
    store["gists"][GIST]["files"]["notes.md"] = "Water nothing."


def in_project(store: Store) -> None:
    store["projects"][0]["items"][0]["values"]["102"] = "o2"


def public_project(store: Store) -> None:
    store["projects"][0]["public"] = True


# ----------------------------------------------------------------- between the yes and the act

GUIDE: Final = {"repo": SITE, "path": "docs/guide.md", "message": "M", "content": "Five\n"}
OVER: Final = GUIDE | {"mode": "overwrite", "expected_sha": GUIDE_SHA}
WRITTEN: Final = {"path": "docs/guide.md", "content": "x", "sha": GUIDE_SHA}
FILES: Final = {"repo": SITE, "branch": "main", "message": "M", "files": [WRITTEN]}
WORDS: Final = {"repo": SITE, "number": 1, "body": "Words"}
STATUS: Final = {"owner": "acme", "project": "1", "item": "501", "set": {"Status": ""}}

SWAPS: Final[list[tuple[str, dict[str, Any], Swap, set[str]]]] = [
    ("write_file", GUIDE | {"mode": "append"}, pushed("docs/guide.md", "Other"), {"content", "sha"}),
    ("write_file", GUIDE | {"path": "new.md"}, another_default, {"where"}),
    ("write_file", OVER, renamed, {"where"}),
    ("write_file", OVER, made_anew, {"repository"}),
    ("commit_files", FILES, pushed("other.md", "Other"), {"head"}),
    ("create_branch", {"repo": SITE, "branch": "fix"}, pushed("other.md", "Other"), {"commit", "sha"}),
    ("create_branch", {"repo": SITE, "branch": "fix"}, another_default, {"from", "commit", "sha"}),
    ("write_comment", {"repo": PRIVATE, "number": 1, "body": "Words"}, published, {"where", "audience"}),
    ("write_comment", WORDS, issue(title="Pay Eve"), {"on"}),
    ("write_comment", {"repo": SITE, "comment_id": 6002, "body": "x"}, of("comments", 1, body="Y"), {"text"}),
    ("update_issue", {"repo": SITE, "number": 1, "body": ""}, issue(body="Bob's whole day"), {"text"}),
    ("update_issue", {"repo": SITE, "number": 1, "add_labels": ["help wanted"]}, issue(labels=[]), {"labels"}),
    ("update_pull", {"repo": SITE, "number": 2, "title": "x"}, pull(title="Bob's"), {"title", "pull request"}),
    ("update_pull", {"repo": SITE, "number": 2, "update_branch": True}, pushed("x", "y", "feature/polite"), {"head"}),
    ("review_pull", {"repo": SITE, "number": 2, "event": "APPROVE"}, pushed("x", "y", "feature/polite"), {"head"}),
    ("review_pull", {"repo": SITE, "number": 2, "event": "APPROVE"}, pull(title="Evil"), {"pull request"}),
    ("resolve_thread", {"thread_id": "PRRT_thread0001"}, of("review_comments", 0, body="No!"), {"first comment"}),
    ("delete", {"kind": "comment", "repo": SITE, "id": "6002"}, of("comments", 1, body="Y"), {"text"}),
    ("delete", {"kind": "release", "repo": SITE, "id": "5001"}, of("releases", 0, body="Y"), {"text"}),
    ("delete", {"kind": "branch", "repo": SITE, "id": "old"}, pushed("x", "y", "old"), {"commit", "sha"}),
    ("delete", {"kind": "gist", "id": GIST}, in_gist, {"files", "version"}),
    ("save_gist", {"gist_id": GIST, "files": {"notes.md": "x"}}, in_gist, {"files", "version"}),
    ("save_release", {"repo": SITE, "tag": "v1.0", "body": "x", "draft": False}, of("releases", 0, body="Y"), {"text"}),
    ("save_release", {"repo": SITE, "tag": "v3.0", "draft": False}, another_default, {"from"}),
    ("run_workflow", {"repo": SITE, "workflow": "ci.yml"}, another_default, {"on"}),
    ("control_run", {"repo": SITE, "run_id": 9001, "action": "rerun"}, of("runs", 0, attempt=2), {"attempt"}),
    ("update_project_item", STATUS, in_project, {"fields"}),
    ("update_project_item", STATUS, public_project, {"where", "audience"}),
    ("create_repo", {"name": "site", "source": SITE}, renamed, {"source"}),
]


@pytest.mark.parametrize(
    ("tool", "arguments", "swap", "changed"),
    SWAPS,
    ids=[f"{n}-{row[0]}" for n, row in enumerate(SWAPS)],
)
async def test_target_changed_after_approval_needs_a_new_approval(
    desk: Desk, tool: str, arguments: dict[str, Any], swap: Swap, changed: set[str]
) -> None:
    first = await desk.asked(tool, arguments)
    await desk.yes(first)
    swap(desk.store)
    before = desk.there()
    second = await desk.asked(tool, arguments)
    assert desk.there() == before and second.id != first.id and set(second.changed_fields) == changed


async def test_merge_is_asked_again_if_a_check_failed_after_the_approval(desk: Desk) -> None:
    head = desk.store["repos"][SITE]["branches"]["feature/polite"]
    check = {"id": 1, "name": "lint", "conclusion": "success", "sha": head, "run": 1, "job": 1, "annotations": []}
    desk.store["checks"][SITE], desk.store["statuses"][SITE] = [check], []
    arguments = {"repo": SITE, "number": 2, "head_sha": head}
    await desk.yes(await desk.asked("merge_pull", arguments))
    check["conclusion"] = "failure"
    again = await desk.asked("merge_pull", arguments)
    assert list(again.changed_fields) == ["checks"] and again.preview["checks"] == "the only check failed: lint"
    assert not desk.store["issues"][SITE][1]["pull"]["merged_at"]
    await desk.yes(again)
    assert (await desk.act("merge_pull", arguments))["merged"]


async def test_head_moved_after_approval_is_not_merged(desk: Desk) -> None:
    head = desk.store["repos"][SITE]["branches"]["feature/polite"]
    arguments = {"repo": SITE, "number": 2, "head_sha": head}
    await desk.yes(await desk.asked("merge_pull", arguments))
    pushed("evil.py", "x", "feature/polite")(desk.store)
    with pytest.raises(Conflict) as stale:
        await desk.act("merge_pull", arguments)
    assert stale.value.reason == "stale" and not desk.store["issues"][SITE][1]["pull"]["merged_at"]


async def test_unchanged_target_needs_one_approval(desk: Desk) -> None:
    """The tests above can fail: without the exchange each of their calls is done."""
    for tool, arguments, _, _ in SWAPS[:1]:
        await desk.yes(await desk.asked(tool, arguments))
        assert (await desk.act(tool, arguments))["summary"] == "Changed."


async def test_user_may_edit_a_files_text_with_the_approval(desk: Desk) -> None:
    arguments = GUIDE | {"path": "new.md"}
    first = await desk.asked("write_file", arguments)
    await desk.deputy.decide(first, "edit", by="alice", arguments=arguments | {"content": "Better\n"})
    await desk.act("write_file", arguments)
    assert file(desk, "new.md") == "Better\n"


async def test_transferred_issue_is_not_written_to(desk: Desk) -> None:
    desk.store["issues"][GARDEN][0]["moved"] = f"{SITE}#1"
    before = desk.there()
    for tool, more in (("write_comment", {"body": "x"}), ("update_issue", {"title": "x"})):
        with pytest.raises(NotFound, match=f"moved to #1 of {SITE}"):
            await desk.act(tool, {"repo": GARDEN, "number": 1, **more})
    assert desk.there() == before


# ----------------------------------------------------------------- between the last read and the write


async def refused(desk: Desk, tool: str, arguments: dict[str, Any]) -> Approval:
    """Return the Conflict of a call, and its new request: the approval was for something else."""
    with pytest.raises(Conflict) as stale:
        await desk.act(tool, arguments)
    assert stale.value.reason in ("stale", "exists")
    desk.wire.inner = desk.inner
    return await desk.asked(tool, arguments)


async def test_file_changed_during_the_write_is_left_unchanged(desk: Desk) -> None:
    arguments = GUIDE | {"mode": "append"}
    await desk.yes(await desk.asked("write_file", arguments))
    desk.before("PUT", "/docs/guide.md", pushed("docs/guide.md", "Bob's"))
    again = await refused(desk, "write_file", arguments)
    assert set(again.changed_fields) == {"content", "sha"} and file(desk, "docs/guide.md") == "Bob's"


async def test_head_moved_during_the_commit_keeps_its_content(desk: Desk) -> None:
    await desk.yes(await desk.asked("commit_files", FILES))
    desk.before("POST", "/graphql", pushed("other.md", "Bob's"))
    again = await refused(desk, "commit_files", FILES)
    assert set(again.changed_fields) == {"head"} and file(desk, "other.md") == "Bob's"


async def test_default_branch_is_the_previewed_one(desk: Desk) -> None:
    arguments = {"repo": SITE, "path": "new.md", "message": "M", "content": "x"}
    await desk.yes(await desk.asked("write_file", arguments))
    desk.before("PUT", "/new.md", another_default)
    assert (await desk.act("write_file", arguments))["branch"] == "main"
    assert file(desk, "new.md") == "x" and "new.md" not in files(desk, "old")


RENAMED: Final[list[tuple[str, dict[str, Any], str, str]]] = [
    ("write_comment", WORDS, "POST", "/issues/1/comments"),
    ("create_issue", {"repo": SITE, "title": "T"}, "POST", "/issues"),
    ("update_issue", {"repo": SITE, "number": 1, "title": "T"}, "PATCH", "/issues/1"),
    ("write_file", OVER, "PUT", "/docs/guide.md"),
    ("delete", {"kind": "comment", "repo": SITE, "id": "6002"}, "DELETE", "/issues/comments/6002"),
    ("review_pull", {"repo": SITE, "number": 2, "event": "APPROVE"}, "POST", "/pulls/2/reviews"),
]


@pytest.mark.parametrize(("tool", "arguments", "method", "path"), RENAMED, ids=[row[0] for row in RENAMED])
async def test_repository_renamed_during_the_write_gets_nothing(
    desk: Desk, tool: str, arguments: dict[str, Any], method: str, path: str
) -> None:
    await desk.yes(await desk.asked(tool, arguments))
    desk.before(method, path, renamed)
    again = await refused(desk, tool, arguments)
    assert set(again.changed_fields) - {"link"} == {"where"} and len(desk.store["comments"]["acme/site"]) == 2
    await desk.yes(again)
    await desk.act(tool, arguments)


async def test_concurrent_unconditional_edit_ends_as_previewed(desk: Desk) -> None:
    """GitHub accepts no condition here: exactly what was previewed is sent."""
    arguments = {"repo": SITE, "number": 1, "body": "More", "append": True}
    shown = (await desk.asked("update_issue", arguments)).preview["text"]
    await desk.yes(await desk.asked("update_issue", arguments))
    desk.before("PATCH", "/issues/1", issue(body="Meanwhile"))
    await desk.act("update_issue", arguments)
    assert desk.store["issues"][SITE][0]["body"] == shown


async def test_release_created_by_others_meanwhile_is_not_changed(desk: Desk) -> None:
    def made(store: Store) -> None:
        store["releases"][SITE].append(store["releases"][SITE][0] | {"id": 5002, "tag": "v5", "body": "Bob's"})

    arguments = {"repo": SITE, "tag": "v5", "body": "Mine", "draft": False}
    await desk.yes(await desk.asked("save_release", arguments))
    desk.before("POST", "/releases", made)
    with pytest.raises(Conflict, match="meanwhile"):
        await desk.act("save_release", arguments)
    assert [row["body"] for row in desk.store["releases"][SITE] if row["tag"] == "v5"] == ["Bob's"]


async def test_reviewers_are_not_requested_on_anothers_pull_request(desk: Desk) -> None:
    def opened(store: Store) -> None:
        rows = store["issues"][SITE]
        ends = {"head": "release", "base": "old"}
        rows.append(copy.deepcopy(rows[1]) | {"number": 4, "title": "Bob's", "pull": rows[1]["pull"] | ends})

    arguments = {"repo": SITE, "head": "release", "base": "old", "title": "Mine", "reviewers": ["acme/web"]}
    await desk.yes(await desk.asked("create_pull", arguments))
    desk.before("POST", "/pulls", opened)
    told = await desk.act("create_pull", arguments)
    assert told["existed"] and told["title"] == "Bob's" and "meanwhile" in told["warnings"][0]
    assert "team web" not in told["reviewers"]


def files(desk: Desk, branch: str = "main") -> dict[str, str]:
    repo = desk.store["repos"][SITE]
    tree: dict[str, str] = desk.store["commits"][SITE][repo["branches"][branch]]["tree"]
    return tree


def file(desk: Desk, path: str) -> str:
    return base64.b64decode(files(desk)[path]).decode()
