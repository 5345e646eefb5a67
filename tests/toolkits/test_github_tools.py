"""Previews and effects of GitHub's tools in the sandbox, beyond what the descriptions show."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from deputize.core import Conflict, InvalidInput, NotFound
from deputize.sandbox.github.git import commit, packed
from deputize.sandbox.github.seed import login
from deputize.toolkits.github import name_lookup as names
from tests.toolkits.github_play import GARDEN, SITE, Play

HEAD = "$head:feature/polite"


def put(play: Play, path: str, text: str | bytes, branch: str = "main") -> None:
    """Put a file into the website, with its own commit."""
    repo, history = play.store["repos"][SITE], play.store["commits"][SITE]
    head = repo["branches"][branch]
    tree = history[head]["tree"] | {path: packed(text)}
    repo["branches"][branch] = commit(history, tree, [head], f"Put {path}", "alice", "2026-11-01T00:00:00Z")


async def walked(play: Play, tool: str, **arguments: Any) -> list[Any]:
    """Return all rows of a list, page by page."""
    rows: list[Any] = []
    cursor = None
    for _ in range(60):
        found = await play.act(tool, **arguments, **({"cursor": cursor} if cursor else {}))
        rows += found["items"]
        cursor = found["next"]
        if cursor is None:
            return rows
    raise AssertionError("the list does not end")


# ----------------------------------------------------------------- lists


@pytest.mark.parametrize("limit", [1, 3, 7, 100])
async def test_paging_a_list_yields_each_row_once_for_any_limit(play: Play, limit: int) -> None:
    for n in range(25):
        await play.act("create_issue", repo=SITE, title=f"Issue {n}")
    rows = await walked(play, "list_issues", repo=SITE, state="all", sort="created", limit=limit)
    assert [row["number"] for row in rows] == [*range(28, 3, -1), 1]  # 2 and 3 are pull requests
    found = await walked(play, "list_issues", repo=SITE, query="Issue", limit=limit)
    assert sorted(row["number"] for row in found) == [*range(4, 29)]


async def test_list_has_one_url_template_for_its_rows(play: Play) -> None:
    found = await play.act("list_issues", repo=SITE)
    assert found["url_template"] == f"https://github.com/{SITE}/issues/{{number}}" and "url" not in found["items"][0]
    assert (await play.act("list_pulls", repo=SITE))["url_template"] == f"https://github.com/{SITE}/pull/{{number}}"
    everywhere = await play.act("list_issues", query="greeting")
    assert everywhere["url_template"] == "https://github.com/{repo}/issues/{number}"


async def test_list_of_mostly_filtered_rows_is_filled_up(play: Play) -> None:
    for row in play.store["issues"][SITE]:
        row["pull"] = row["pull"] or {
            "head": "old",
            "base": "main",
            "merged_at": None,
            "draft": False,
            "reviewers": [],
            "teams": [],
        }
    await play.act("create_issue", repo=SITE, title="The only one")
    found = await play.act("list_issues", repo=SITE, state="all", limit=1)
    assert [row["title"] for row in found["items"]] == ["The only one"]


async def test_activity_has_its_own_cursor(play: Play) -> None:
    rows = await walked(play, "list_activity", repo=SITE, limit=1)
    assert [row["kind"] for row in rows] == ["branch_creation", "push"]


# ----------------------------------------------------------------- files and diffs


async def test_cut_file_is_read_from_where_it_was_cut(play: Play) -> None:
    put(play, "long.txt", "".join(f"line {n} of a rather long file\n" for n in range(1, 1201)))
    text, start = "", 1
    for _ in range(20):
        found = await play.act("get_file", repo=SITE, path="long.txt", start_line=start)
        text += found["text"]
        if "next" not in found:
            break
        text, start = text + "\n", found["next"]["start_line"]
    assert text.splitlines()[-1] == "line 1200 of a rather long file" and len(text.splitlines()) == 1200


async def test_binary_file_becomes_a_handle_of_its_user(play: Play) -> None:
    found = await play.act("get_file", repo=SITE, path="logo.png")
    assert found["binary"] and found["file"].startswith("file_") and "text" not in found


async def test_file_above_a_megabyte_is_requested_raw(play: Play) -> None:
    put(play, "large.txt", "line\n" * 300_000)
    found = await play.act("get_file", repo=SITE, path="large.txt", start_line=299_999)
    assert found["text"] == "line\nline\n" and found["lines"] == "299999-300000 of 300000"


async def test_write_keeps_every_other_byte_of_a_file(play: Play) -> None:
    data = b"\xef\xbb\xbfone\r\ntwo" + "\u202e".encode() + b"\r\nthree\xff\r\nfour"
    put(play, "odd.txt", data)
    await play.act(
        "write_file", repo=SITE, path="odd.txt", message="M", content="zwei", mode="replace_lines", start_line=2
    )
    tree = play.store["commits"][SITE][play.filled("$head:main")]["tree"]
    lines = base64.b64decode(tree["odd.txt"]).split(b"\r\n")
    assert lines == [b"\xef\xbb\xbfone", b"zwei", b"three\xff", b"four"]


async def test_file_changed_since_reading_is_not_overwritten(play: Play) -> None:
    sha = (await play.act("get_file", repo=SITE, path="docs/guide.md"))["sha"]
    put(play, "docs/guide.md", "Somebody else's\n")
    arguments = {"repo": SITE, "path": "docs/guide.md", "message": "M", "content": "mine", "mode": "overwrite"}
    with pytest.raises(Conflict) as stale:
        await play.act("write_file", **arguments, expected_sha=sha)
    assert stale.value.reason == "stale" and play.writes() == []
    with pytest.raises(Conflict) as exists:
        await play.act("write_file", **{**arguments, "mode": "create"})
    assert exists.value.reason == "exists" and "sha" in exists.value.hint


async def test_conflicting_commit_is_refused_and_a_deletion_works(play: Play) -> None:
    old = play.filled("$head:main")
    put(play, "x.txt", "x")
    with pytest.raises(Conflict):
        await play.act(
            "commit_files",
            repo=SITE,
            branch="main",
            message="M",
            files=[{"path": "a", "content": "a"}],
            expected_head=old,
        )
    made = await play.act("commit_files", repo=SITE, branch="main", message="M", delete_paths=["x.txt", "x.txt"])
    assert made["deleted"] == ["x.txt"] and "x.txt" not in json.dumps(await play.act("get_file", repo=SITE))


async def test_diff_is_paged_to_its_end_without_repeated_lines(play: Play) -> None:
    for n in range(12):
        put(
            play, f"src/part{n:02}.py", "".join(f"value_{n}_{line} = {line}\n" for line in range(200)), "feature/polite"
        )
    put(play, "package-lock.json", "{}\n" * 50, "feature/polite")
    lines: list[str] = []
    cursor, pages, paths = None, 0, []
    while True:
        more: dict[str, Any] = {"cursor": cursor} if cursor else {}
        found = await play.act("get_pull", repo=SITE, number=2, include=["diff"], **more)
        lines += [
            line for file in found["diff"] for line in file.get("patch", "").split("\n") if line.startswith("+value_")
        ]
        paths += [file["path"] for file in found["diff"]]
        cursor, pages = found["next"], pages + 1
        if cursor is None:
            break
    assert len(lines) == len(set(lines)) == 2400 and pages > 5
    assert paths[-1] == "package-lock.json"


async def test_diff_of_one_folder_shows_only_that_folder(play: Play) -> None:
    found = await play.act("compare", repo=SITE, base="old", head="main", include_diff=True, path="docs")
    assert [file["path"] for file in found["diff"]] == ["docs/guide.md"]
    commit_ = await play.act("get_commit", repo=SITE, ref="feature/polite", include_diff=True)
    assert '+    return f"Good day, {name}"' in commit_["diff"][0]["patch"]


# ----------------------------------------------------------------- names


async def test_unknown_name_is_refused_with_similar_ones(play: Play) -> None:
    with pytest.raises(InvalidInput) as refused:
        await play.act("create_issue", repo=SITE, title="T", labels=["bugs"])
    assert refused.value.hint == "Did you mean bug?" and play.writes() == []
    assert refused.value.message.startswith("labels: nothing has the name '")
    with pytest.raises(InvalidInput, match="milestone"):
        await play.act("create_issue", repo=SITE, title="T", milestone="Winter")
    with pytest.raises(InvalidInput) as refused:
        await play.act("create_issue", repo=SITE, title="T", assignees=["bobb"])
    assert "bob" in refused.value.hint and play.writes() == []


async def test_name_in_another_case_is_found_and_written_as_spelt(play: Play) -> None:
    made = await play.act("create_issue", repo=SITE, title="T", labels=["BUG"], milestone="spring")
    assert made["labels"] == ["bug"] and play.store["issues"][SITE][-1]["milestone"] == 1


def test_at_most_five_names_are_suggested() -> None:
    assert len(names.near_names("label", [f"label {n}" for n in range(20)])) == 5


async def test_workflow_is_found_by_name_and_an_unknown_one_refused(play: Play) -> None:
    assert (await play.act("run_workflow", repo=SITE, workflow="deploy"))["run_id"]
    with pytest.raises(InvalidInput, match="workflow"):
        await play.act("run_workflow", repo=SITE, workflow="Deplo")


async def test_values_dropped_by_github_are_reported(play: Play) -> None:
    play.store["repos"][SITE]["members"] = ["bob"]
    made = await play.act("create_issue", repo=SITE, title="T", labels=["bug"])
    assert made["labels"] == [] and "label bug" in made["warnings"][0]


# ----------------------------------------------------------------- issues and pull requests


async def test_labels_are_added_and_removed_individually(play: Play) -> None:
    play.store["issues"][SITE][0]["labels"] = ["bug", "area/ui"]
    told = await play.act(
        "update_issue", repo=SITE, number=1, add_labels=["help wanted"], remove_labels=["area/ui", "bug"]
    )
    assert told["labels"] == ["help wanted"] and told["changed"] == ["labels"]
    again = await play.act("update_issue", repo=SITE, number=1, remove_labels=["bug"])
    assert again["labels"] == ["help wanted"]
    assert not any("area" in one for one in play.asked)  # a slash has no place in a path


async def test_pull_request_lists_its_merge_blockers(play: Play) -> None:
    found = await play.act("get_pull", repo=SITE, number=3)
    assert found["merge"] == {
        "ready": False,
        "state": "dirty",
        "checks": {"ok": 0, "failed": 0, "pending": 0},
        "blockers": ["conflicts with the base branch"],
    }
    found = await play.act("get_pull", repo=SITE, number=2)
    assert found["merge"]["checks"] == {"ok": 1, "failed": 1, "pending": 1}
    assert found["merge"]["blockers"] == ["checks failed", "checks pending"] and found["head_sha"] == play.filled(HEAD)


async def test_merge_state_being_computed_is_waited_for_then_unknown(play: Play) -> None:
    play.store["issues"][SITE][2]["pull"]["computing"] = 99
    found = await play.act("get_pull", repo=SITE, number=3)
    assert play.waited == [1.0, 1.0, 1.0] and "unknown: GitHub is still computing" in found["merge"]["blockers"]


async def test_existing_pull_request_is_returned(play: Play) -> None:
    found = await play.act("create_pull", repo=SITE, head="feature/polite", title="Again")
    assert found["existed"] and found["number"] == 2 and play.writes() == []


async def test_own_pull_request_cannot_be_approved(play: Play) -> None:
    with pytest.raises(InvalidInput):
        await play.act("review_pull", repo=SITE, number=3, event="APPROVE")


async def test_comment_outside_the_diff_is_refused_with_its_lines(play: Play) -> None:
    comments = [{"path": "src/main.py", "body": "x", "line": 99}]
    with pytest.raises(InvalidInput) as refused:
        await play.act("review_pull", repo=SITE, number=2, body="B", comments=comments)
    assert "src/main.py 1-3" in refused.value.hint and play.store["reviews"][SITE][-1]["id"] == 6201


async def test_threads_are_resolved_and_reopened(play: Play) -> None:
    for resolved in (True, False):
        told = await play.act("resolve_thread", thread_id="PRRT_thread0001", resolved=resolved)
        assert told == {"thread_id": "PRRT_thread0001", "resolved": resolved}
        open_ = await play.act("list_comments", repo=SITE, number=2, kind="review", unresolved_only=True)
        assert len(open_["items"]) == (0 if resolved else 1)
    [thread] = open_["items"]
    assert thread["comments"][0]["id"] == 6101 and thread["thread_id"] == "PRRT_thread0001"


async def test_default_and_protected_branches_are_not_deleted(
    play: Play,
) -> None:
    for branch in ("main", "release"):
        with pytest.raises(InvalidInput):
            await play.act("delete", kind="branch", repo=SITE, id=branch)
    sha = play.filled("$head:old")
    gone = await play.act("delete", kind="branch", repo=SITE, id="old")
    undo = gone["undo"]
    assert undo["tool"] == "github_create_branch" and undo["args"]["from_ref"] == sha
    await play.act("create_branch", **undo["args"])
    assert play.store["repos"][SITE]["branches"]["old"] == sha


async def test_moved_issue_is_found_at_its_new_place(play: Play) -> None:
    play.store["issues"][GARDEN][0]["moved"] = f"{SITE}#1"
    found = await play.act("get_issue", repo=GARDEN, number=1)
    assert found["moved_to"] == SITE and found["title"] == "The greeting is rude"


# ----------------------------------------------------------------- actions, alerts, projects, gists


async def test_log_end_is_fetched_without_the_users_token(play: Play) -> None:
    found = await play.act("get_run", repo=SITE, run_id=9001, include=["jobs", "logs"])
    assert found["jobs"][0]["failed_steps"] == ["Run pytest"]
    assert found["logs"][0]["text"].endswith("##[error]Process completed with exit code 1.")
    assert "\x1b" not in found["logs"][0]["text"] and "2026-11-24T" not in found["logs"][0]["text"]
    signed = [one for one in play.recorder.seen if one.url.host != "api.github.com"]
    assert len(signed) == 1 and "authorization" not in signed[0].headers


async def test_log_of_fifty_thousand_lines_shows_its_end_and_first_error(play: Play) -> None:
    lines = [f"2026-11-24T12:00:00.0000000Z line {n}" for n in range(50_000)]
    lines[300] = "2026-11-24T12:00:00.0000000Z ##[error]The first error"
    play.store["runs"][SITE][0]["jobs"][0]["log"] = "\n".join(lines)
    [log] = (await play.act("get_run", repo=SITE, run_id=9001, include=["logs"], tail_lines=50))["logs"]
    assert log["total_lines"] == 50_000 and log["truncated"] and "The first error" in log["errors"][0]["text"]
    assert log["text"].splitlines()[-1] == "line 49999" and len(log["text"].splitlines()) == 50


async def test_older_host_is_queried_for_the_started_run(play: Play) -> None:
    play.store["old_host"] = True
    told = await play.act("run_workflow", repo=SITE, workflow="ci.yml")
    assert told["run_id"] == play.store["runs"][SITE][-1]["id"]


async def test_leaked_secret_is_never_shown(play: Play) -> None:
    answer = [{"number": 3, "state": "open", "secret_type": "x", "secret": "sandbox-leaked-value"}]
    play.sandbox.switches.faults["GET", f"/repos/{SITE}/secret-scanning"] = [(200, {}, answer)]
    for _ in range(2):
        found = await play.act("list_alerts", repo=SITE, kind="secret_scanning")
        assert "sandbox-leaked-value" not in json.dumps(found) and found["items"][0]["number"] == 3
    assert all("hide_secret=true" in str(one.url) for one in play.recorder.seen)


async def test_item_added_twice_is_one_item_and_options_are_named(play: Play) -> None:
    arguments: dict[str, Any] = {
        "owner": "acme",
        "project": "roadmap",
        "item": f"{SITE}#2",
        "set": {"Status": "Done", "Points": "8"},
    }
    first, second = [await play.act("update_project_item", **arguments) for _ in range(2)]
    assert first["item_id"] == second["item_id"]
    items = await play.act("list_project_items", owner="acme", project="Roadmap", fields=["Status", "Points"])
    assert items["items"][-1]["fields"] == {"Status": "Done", "Points": "8.0"}
    with pytest.raises(InvalidInput) as refused:
        await play.act("update_project_item", owner="acme", project="1", item="501", set={"Status": "Dome"})
    assert refused.value.hint.startswith("Did you mean Done")


async def test_project_text_is_marked_as_cut_and_read_whole(play: Play) -> None:
    text = "The gate has to be open before the lorry comes. " * 20
    values = play.store["projects"][0]["items"][0]["values"]
    values["104"] = text
    board: dict[str, Any] = {"owner": "acme", "project": "Roadmap"}
    [row] = (await play.act("list_project_items", **board, fields=["Notes", "Status"]))["items"]
    assert row["fields"]["Notes"]["cut"] and row["fields"]["Status"] == "Todo"
    [told] = (await play.act("read_more", ref=row["fields"]["Notes"]["more"]))["items"]
    assert told["fields"]["Notes"]["text"] == text.strip()


async def test_existing_project_item_keeps_values_nobody_was_shown(play: Play) -> None:
    values = play.store["projects"][0]["items"][0]["values"]
    values["104"], board = "Bob's", {"owner": "acme", "project": "Roadmap"}
    given = {"Notes": "Mine", "Points": "3"}
    told = await play.act("update_project_item", **board, item=f"{SITE}#1", set=given)
    assert told["kept"] == ["Notes"] and "item=501" in told["summary"]
    assert values == {"102": "o1", "103": 3, "104": "Bob's"}
    await play.act("update_project_item", **board, item="501", set={"Notes": "Mine", "Status": "Done"})
    assert values == {"102": "o2", "103": 3, "104": "Mine"}


async def test_foreign_notifications_fail_and_the_others_are_done(play: Play) -> None:
    told = await play.act("update_notifications", action="done", thread_ids=["3001", "3003", "3002"])
    assert told["done"] == ["3001", "3002"] and [one["thread_id"] for one in told["failed"]] == ["3003"]
    assert [row["id"] for row in play.store["notifications"]] == ["3003"]


async def test_notification_shows_no_api_url(play: Play) -> None:
    found = await play.act("list_notifications", all=True)
    assert [row["number"] for row in found["items"]] == [2, 2] and "api.github.com" not in json.dumps(found)


async def test_bobs_secret_gist_and_diary_are_hidden_from_alice(play: Play) -> None:
    assert "fern" not in json.dumps(await play.act("list_gists", owner="bob"))
    with pytest.raises(NotFound):
        await play.act("list_gists", gist_id="c" * 20)
    assert "fern" not in json.dumps(await play.act("list_issues", query="diary"))
    assert login("bob@example.test") == "bob"
