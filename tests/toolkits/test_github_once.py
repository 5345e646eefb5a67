"""GitHub's tools write at most once, whatever happens to the response; and reads can be repeated."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import httpx
import pytest

from deputize.core import Conflict, NotFound, OutcomeUnknown, ProviderUnavailable
from deputize.sandbox.faults import bad_gateway
from tests.support.sandbox_deputy import set_sleep
from tests.toolkits.github_play import SITE, Play

Count = Callable[[Play], int]


class Write(NamedTuple):
    """A write without a GitHub idempotency key: its target, and how many objects of its kind there are."""

    tool: str
    arguments: dict[str, Any]
    path: str
    there: Count
    looks: str


def kept(kind: str) -> Count:
    return lambda play: len(play.store[kind].get(SITE, ()))


def said(play: Play) -> int:
    return sum(1 + len(one["replies"]) for row in play.store["discussions"][SITE] for one in row["comments"])


R: Final = f"/repos/{SITE}"
WRITES: Final = [
    Write("create_issue", {"repo": SITE, "title": "T", "body": "B"}, f"{R}/issues", kept("issues"), f"{R}/issues"),
    Write(
        "write_comment", {"repo": SITE, "number": 1, "body": "B"}, f"{R}/issues/1", kept("comments"), f"{R}/issues/1"
    ),
    Write(
        "write_comment",
        {"repo": SITE, "number": 2, "reply_to": 6101, "body": "B"},
        f"{R}/pulls/2",
        kept("review_comments"),
        f"{R}/pulls/2",
    ),
    Write(
        "review_pull",
        {"repo": SITE, "number": 2, "body": "B"},
        f"{R}/pulls/2/reviews",
        kept("reviews"),
        f"{R}/pulls/2/reviews",
    ),
    Write(
        "review_pull",
        {"repo": SITE, "number": 2, "event": "APPROVE"},
        f"{R}/pulls/2/reviews",
        kept("reviews"),
        f"{R}/pulls/2/reviews",
    ),
    Write("run_workflow", {"repo": SITE, "workflow": "ci.yml"}, f"{R}/actions", kept("runs"), f"{R}/actions/workflows"),
    Write(
        "save_gist",
        {"files": {"a.txt": "A"}, "description": "D"},
        "/gists",
        lambda play: len(play.store["gists"]),
        "/gists",
    ),
]
IDS: Final = [f"{n}-{one.tool}" for n, one in enumerate(WRITES)]
every = pytest.mark.parametrize("write", WRITES, ids=IDS)


@every
async def test_object_with_a_lost_answer_is_found(write: Write, play: Play) -> None:
    before = write.there(play)
    play.sandbox.switches.drop_after_commit.append(write.path)
    results = [await play.act(write.tool, call="same", **write.arguments) for _ in range(3)]
    assert results[0] == results[1] == results[2]
    assert write.there(play) == before + 1 and play.waited == [2.0]


@every
async def test_object_not_created_is_unknown_and_not_created_later(write: Write, play: Play) -> None:
    before = write.there(play)
    play.sandbox.switches.faults["POST", write.path] = [bad_gateway()]
    for _ in range(3):
        with pytest.raises(OutcomeUnknown) as unknown:
            await play.act(write.tool, call="same", **write.arguments)
        assert "cannot be found yet" in unknown.value.message and "Look for" in unknown.value.hint
    assert write.there(play) == before and len([one for one in play.asked if one.startswith("POST")]) == 1
    assert play.waited[:2] == [2.0, 8.0]


@every
async def test_object_not_searchable_now_is_found_by_a_later_run(write: Write, play: Play) -> None:
    before = write.there(play)
    play.sandbox.switches.drop_after_commit.append(write.path)
    faults = play.sandbox.switches.faults

    async def meanwhile(seconds: float) -> None:
        faults["GET", write.looks] = [(404, {}, {"message": "Not Found"})]

    set_sleep(play.deputy, meanwhile)
    with pytest.raises(OutcomeUnknown):
        await play.act(write.tool, call="same", **write.arguments)
    faults.clear()

    async def no_time(seconds: float) -> None:
        """Nothing happens."""

    set_sleep(play.deputy, no_time)
    found = await play.act(write.tool, call="same", **write.arguments)
    assert found["url"] and write.there(play) == before + 1


@every
@pytest.mark.parametrize("lost", [2, 3])
async def test_repeated_lost_answers_create_nothing_twice(write: Write, lost: int, play: Play) -> None:
    before = write.there(play)
    play.sandbox.switches.drop_after_commit.extend([write.path] * lost)
    play.sandbox.switches.faults["GET", write.looks] = [bad_gateway()] * 3 * (lost - 1)
    ends = set()
    for _ in range(lost + 1):
        try:
            ends.add(str((await play.act(write.tool, call="same", **write.arguments))["url"]))
        except OutcomeUnknown:
            continue
        except ProviderUnavailable:  # before the write
            assert write.there(play) == before
    assert len(ends) == 1 and write.there(play) == before + 1


@every
async def test_run_interrupted_after_its_write_does_not_repeat_it(write: Write, play: Play) -> None:
    before, inner = write.there(play), play.recorder.inner

    class Cut(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            answer = await inner.handle_async_request(request)
            if request.method == "POST":
                raise asyncio.CancelledError
            return answer

    play.recorder.inner = Cut()
    with pytest.raises(asyncio.CancelledError):
        await play.act(write.tool, call="same", **write.arguments)
    play.recorder.inner = inner
    for _ in range(2):
        with pytest.raises(OutcomeUnknown):
            await play.act(write.tool, call="same", **write.arguments)
    assert write.there(play) == before + 1


async def test_idempotency_mark_is_unique_and_invisible(play: Play) -> None:
    for _ in range(2):
        await play.act("write_comment", repo=SITE, number=1, body="Same words")
    bodies = [row["body"] for row in play.store["comments"][SITE][-2:]]
    assert bodies[0] != bodies[1] and all("<!-- deputize:" in body for body in bodies)
    shown = (await play.act("list_comments", repo=SITE, number=1))["items"]
    assert [row["body"] for row in shown[-2:]] == ["Same words"] * 2 and "hidden_removed" not in shown[-1]


@pytest.mark.parametrize("lost", [1, 2])
async def test_discussion_is_created_and_answered_once(lost: int, play: Play) -> None:
    play.sandbox.switches.drop_after_commit.append("/graphql")
    new: dict[str, Any] = {"repo": SITE, "category": "General", "title": "T", "body": "B"}
    made = [await play.act("write_discussion", call="new", **new) for _ in range(2)]
    assert made[0] == made[1] and made[0]["number"] == 51 and len(play.store["discussions"][SITE]) == 2
    before = said(play)
    play.sandbox.switches.drop_after_commit.append("/graphql")
    reply: dict[str, Any] = {"repo": SITE, "number": 50, "body": "B"} | (
        {"reply_to": "DC_comment01"} if lost == 2 else {}
    )
    told = [await play.act("write_discussion", call="reply", **reply) for _ in range(2)]
    assert told[0]["id"] == told[1]["id"] and said(play) == before + 1


async def blind(play: Play, path: str, faults: dict[Any, Any], tool: str, **arguments: Any) -> None:
    """Return an act whose response is lost, and whose object cannot be searched for now."""
    play.sandbox.switches.drop_after_commit.append(path)

    async def meanwhile(seconds: float) -> None:
        play.sandbox.switches.faults |= faults

    set_sleep(play.deputy, meanwhile)
    with pytest.raises(OutcomeUnknown):
        await play.act(tool, call="same", **arguments)
    play.sandbox.switches.faults.clear()

    async def no_time(seconds: float) -> None:
        """Nothing happens."""

    set_sleep(play.deputy, no_time)


GONE: Final[tuple[int, dict[str, str], Any]] = (404, {}, {"message": "Not Found"})


async def test_discussion_not_searchable_now_is_found_by_a_later_run(play: Play) -> None:
    new: dict[str, Any] = {"repo": "acme/homepage", "category": "General", "title": "T", "body": "B"}
    await blind(play, "/graphql", {("POST", "/graphql"): [GONE] * 2}, "write_discussion", **new)
    assert (await play.act("write_discussion", call="same", **new))["number"] == 51
    assert len(play.store["discussions"][SITE]) == 2


async def test_later_run_continues_with_the_previewed_repository_and_project(play: Play) -> None:
    new: dict[str, Any] = {"repo": "acme/homepage", "title": "T", "parent": 1, "project": "acme/1"}
    await blind(play, f"{R}/issues", {("GET", f"{R}/issues"): [GONE] * 2}, "create_issue", **new)
    play.store["renamed"] = {"acme/homepage": "alice/garden"}
    there = len(play.store["projects"][0]["items"])
    made = await play.act("create_issue", call="same", **new)
    assert made["url"].startswith(f"https://github.com/{SITE}/") and "warnings" not in made
    assert len(play.store["projects"][0]["items"]) == there + 1
    assert play.store["issues"][SITE][made["number"] - 1]["parent"] == 1


# ----------------------------------------------------------------- guarded and keyed


@pytest.mark.parametrize("acted", [True, False])
async def test_file_is_written_once_and_retried_if_unwritten(acted: bool, play: Play) -> None:
    path = f"{R}/contents/docs/guide.md"
    if acted:
        play.sandbox.switches.drop_after_commit.append(path)
    else:
        play.sandbox.switches.faults["PUT", path] = [bad_gateway()]
    commits = len(play.store["commits"][SITE])
    await play.act("write_file", repo=SITE, path="docs/guide.md", message="M", content="Five", mode="append")
    text = (await play.act("get_file", repo=SITE, path="docs/guide.md"))["text"]
    assert text == "One\nTwo\nThree\nFour\nFive\n" and len(play.store["commits"][SITE]) == commits + 1


@pytest.mark.parametrize("acted", [True, False])
async def test_commit_of_files_is_created_once(acted: bool, play: Play) -> None:
    if acted:
        play.sandbox.switches.drop_after_commit.append("/graphql")
    else:
        play.sandbox.switches.faults["POST", "/graphql"] = [bad_gateway()]
    commits = len(play.store["commits"][SITE])
    files = [{"path": "a.txt", "content": "A"}, {"path": "b/c.txt", "content": "C"}]
    made = await play.act("commit_files", repo=SITE, branch="main", message="Two", files=files)
    assert made["commit"]["sha"] == play.store["repos"][SITE]["branches"]["main"]
    assert len(play.store["commits"][SITE]) == commits + 1


@pytest.mark.parametrize("acted", [True, False])
async def test_pull_request_is_merged_once(acted: bool, play: Play) -> None:
    if acted:
        play.sandbox.switches.drop_after_commit.append(f"{R}/pulls/2/merge")
    else:
        play.sandbox.switches.faults["PUT", f"{R}/pulls/2/merge"] = [bad_gateway()]
    merged = await play.act("merge_pull", repo=SITE, number=2, head_sha="$head:feature/polite")
    assert merged["merged"] and merged["sha"] == play.store["repos"][SITE]["branches"]["main"]
    again = await play.act("merge_pull", repo=SITE, number=2, head_sha="$head:feature/polite")
    assert again["existed"] and again["sha"] == merged["sha"]


async def test_pull_request_with_new_commits_is_not_merged(play: Play) -> None:
    old = play.filled("$head:feature/polite")
    await play.act("write_file", repo=SITE, path="x.txt", message="M", content="x", branch="feature/polite")
    with pytest.raises(Conflict) as stale:
        await play.act("merge_pull", repo=SITE, number=2, head_sha=old)
    assert stale.value.reason == "stale" and not play.store["issues"][SITE][1]["pull"]["merged_at"]


async def test_merge_is_conditional_on_the_read_head(play: Play) -> None:
    moved: tuple[int, dict[str, str], Any] = (
        409,
        {},
        {"message": "Head branch was modified. Review and try the merge again."},
    )
    play.sandbox.switches.faults["PUT", f"{R}/pulls/2/merge"] = [moved]
    with pytest.raises(Conflict) as stale:
        await play.act("merge_pull", repo=SITE, number=2, head_sha="$head:feature/polite")
    assert stale.value.reason == "stale"


async def test_merge_blocker_is_reported(play: Play) -> None:
    with pytest.raises(Conflict) as refused:
        await play.act("merge_pull", repo=SITE, number=3, head_sha="$head:deutsch")
    assert refused.value.reason == "not_mergeable" and "conflicts with the base branch" in refused.value.hint


@pytest.mark.parametrize("acted", [True, False])
async def test_releases_repositories_and_pull_requests_have_natural_keys(acted: bool, play: Play) -> None:
    writes: list[tuple[str, dict[str, Any], str, Count]] = [
        ("save_release", {"repo": SITE, "tag": "v9"}, f"{R}/releases", kept("releases")),
        ("create_repo", {"name": "fresh"}, "/user/repos", lambda play: len(play.store["repos"])),
        ("create_pull", {"repo": SITE, "head": "deutsch", "base": "old", "title": "T"}, f"{R}/pulls", kept("issues")),
    ]
    for tool, arguments, path, count in writes:
        before = count(play)
        if acted:
            play.sandbox.switches.drop_after_commit.append(path)
            assert (await play.act(tool, call=tool, **arguments))["url"]
        else:
            play.sandbox.switches.faults["POST", path] = [bad_gateway()]
            with pytest.raises(OutcomeUnknown):
                await play.act(tool, call=tool, **arguments)
        assert count(play) == before + acted
    assert len(play.writes()) == 3


async def test_branch_is_created_once_and_another_commit_is_a_conflict(play: Play) -> None:
    play.sandbox.switches.drop_after_commit.append(f"{R}/git/refs")
    assert (await play.act("create_branch", repo=SITE, branch="fix"))["sha"] == play.filled("$head:main")
    with pytest.raises(Conflict) as taken:
        await play.act("create_branch", repo=SITE, branch="fix", from_ref="old")
    assert taken.value.reason == "exists"


@pytest.mark.parametrize("acted", [True, False])
async def test_workflow_run_is_repeated_once(acted: bool, play: Play) -> None:
    if acted:
        play.sandbox.switches.drop_after_commit.append(f"{R}/actions/runs")
        told = await play.act("control_run", repo=SITE, run_id=9001, action="rerun")
        assert told["attempt"] == 2
    else:
        play.sandbox.switches.faults["POST", f"{R}/actions/runs"] = [bad_gateway()]
        with pytest.raises(OutcomeUnknown):
            await play.act("control_run", repo=SITE, run_id=9001, action="rerun")
        assert play.store["runs"][SITE][0]["attempt"] == 1
    assert len(play.writes()) == 1


async def test_issue_whose_parent_or_project_fails_is_created_once_with_a_warning(play: Play) -> None:
    before = len(play.store["issues"][SITE])
    for path in (f"{R}/issues/1/sub_issues", "/orgs/acme/projectsV2/1/items"):
        play.sandbox.switches.faults["POST", path] = [(422, {}, {"message": "Validation Failed"})]
    told = await play.act("create_issue", repo=SITE, title="T", parent=1, project="acme/1")
    assert len(told["warnings"]) == 2 and told["number"] == before + 1
    assert len(play.store["issues"][SITE]) == before + 1


async def test_issue_with_an_unknown_parent_or_project_is_not_created(play: Play) -> None:
    both: list[dict[str, Any]] = [{"parent": 77}, {"project": "acme/9"}]
    for missing in both:
        with pytest.raises(NotFound):
            await play.act("create_issue", repo=SITE, title="T", **missing)
    assert play.writes() == []


async def test_partial_update_reports_done_and_failed_changes(play: Play) -> None:
    play.sandbox.switches.faults["PUT", f"{R}/issues/1/lock"] = [(422, {}, {"message": "Validation Failed"})]
    told = await play.act("update_issue", repo=SITE, number=1, title="New", add_labels=["help wanted"], locked=True)
    assert told["changed"] == ["title", "labels"] and told["warnings"][0].startswith("locked:")


async def test_text_is_appended_once(play: Play) -> None:
    arguments: dict[str, Any] = {"repo": SITE, "number": 2, "body": "One more thing", "append_body": True}
    for _ in range(2):
        await play.act("update_pull", call="same", **arguments)
    assert play.store["issues"][SITE][1]["body"].count("One more thing") == 1
