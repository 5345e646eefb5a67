"""What is longer than a result is read to its end, call by call, and every omission is stated: GitHub."""

from __future__ import annotations

import json
from typing import Any

import pytest

from deputize.core import InvalidInput
from deputize.sandbox.github.git import commit
from tests.toolkits.github_play import SITE, Play
from tests.toolkits.test_github_tools import put

KEY = "-----BEGIN RSA PRIVATE KEY-----\n" + "".join(f"line{n}of+the/key==\n" for n in range(30))
KEY += "-----END RSA PRIVATE KEY-----\n"


def head(play: Play) -> dict[str, Any]:
    """Return the last commit of the website."""
    row: dict[str, Any] = play.store["commits"][SITE][play.store["repos"][SITE]["branches"]["main"]]
    return row


async def walked(play: Play, tool: str, block: str, **arguments: Any) -> list[Any]:
    """Return all rows of a block, from result to result."""
    rows: list[Any] = []
    more: dict[str, Any] = {}
    for _ in range(60):
        found = await play.act(tool, **arguments, **more)
        rows += found[block]
        if found["next"] is None:
            return rows
        more = {"cursor": found["next"]}
    raise AssertionError("the block does not end")


async def read_on(play: Play, tool: str, text: str, **arguments: Any) -> str:
    """Return a whole text, by offsets."""
    found = await play.act(tool, **arguments)
    told = str(found[text])
    while "next_offset" in found:
        found = await play.act(tool, **arguments, offset=found["next_offset"])
        assert found["untrusted"] is True
        told += found[text]
    return told


# ----------------------------------------------------------------- commits and diffs


async def test_commit_message_is_read_to_its_end(play: Play) -> None:
    words = "Subject\n\n" + "\n".join(f"* point {n} of the body" for n in range(500))
    head(play)["message"] = words
    assert await read_on(play, "get_commit", "message", repo=SITE, ref="main") == words


async def test_overlong_diff_line_is_read_to_its_end(play: Play) -> None:
    line = "var a=" + ",".join(f"b{n}" for n in range(6_000))
    put(play, "dist/app.min.js", f"{line}\n// end\n", "feature/polite")
    files = await walked(play, "get_pull", "diff", repo=SITE, number=2, include=["diff"], path="dist/app.min.js")
    patch = "".join(one["patch"] for one in files)
    assert f"+{line}" in patch and patch.endswith("+// end") and len(files) > 3


async def test_every_changed_file_is_listed(play: Play) -> None:
    for n in range(130):
        put(play, f"src/{'deep/' * 6}part{n}.py", f"{n}\n", "feature/polite")
    listed = await walked(play, "get_pull", "files", repo=SITE, number=2, include=["files"])
    assert len({one["path"] for one in listed}) == 131
    listed = await walked(play, "compare", "files", repo=SITE, base="main", head="feature/polite")
    assert len({one["path"] for one in listed}) == 131


async def test_last_of_many_commits_are_shown_and_others_counted(play: Play) -> None:
    repo, history = play.store["repos"][SITE], play.store["commits"][SITE]
    for n in range(330):
        at = repo["branches"]["feature/polite"]
        tree = history[at]["tree"]
        repo["branches"]["feature/polite"] = commit(history, tree, [at], f"Step {n}", "bob", "2026-11-01T00:00:00Z")
    found = await play.act("compare", repo=SITE, base="main", head="feature/polite")
    assert [one["headline"] for one in found["commits"]] == [f"Step {n}" for n in range(310, 330)]
    assert found["cut"][0].startswith("commits: the last 20 of 331")


@pytest.mark.parametrize("removed", [False, True])
async def test_private_key_in_a_diff_is_masked_from_any_start(play: Play, removed: bool) -> None:
    put(play, "id_rsa", KEY, "main" if removed else "feature/polite")
    refs = {"base": "main", "head": "feature/polite"} | ({"base": "old", "head": "main"} if removed else {})
    if removed:
        refs = {"base": "main", "head": "without"}
        repo, history = play.store["repos"][SITE], play.store["commits"][SITE]
        at = repo["branches"]["main"]
        tree = {path: data for path, data in history[at]["tree"].items() if path != "id_rsa"}
        repo["branches"]["without"] = commit(history, tree, [at], "Drop it", "bob", "2026-11-01T00:00:00Z")
    shown = await walked(play, "compare", "diff", repo=SITE, **refs, include_diff=True, path="id_rsa")
    assert "[redacted]" in json.dumps(shown) and "of+the/key" not in json.dumps(shown)


async def test_private_key_in_a_file_is_masked_from_any_line(play: Play) -> None:
    put(play, "id_rsa", f"first\n{KEY}last\n")
    for start in (1, 5, 20):
        found = await play.act("get_file", repo=SITE, path="id_rsa", start_line=start)
        assert "of+the/key" not in found["text"] and found["text"].endswith("last\n")
        assert found["lines"] == f"{start}-34 of 34"


async def test_file_of_one_long_line_is_read_to_its_end(play: Play) -> None:
    data = "[" + ", ".join(f'"entry {n}"' for n in range(5_000)) + "]"
    put(play, "data.json", f"// made\n{data}\n")
    found = await play.act("get_file", repo=SITE, path="data.json")
    text = found["text"] + "\n"
    for _ in range(60):
        if "next" not in found:
            break
        found = await play.act("get_file", repo=SITE, path="data.json", **found["next"])
        text += found["text"]
    assert text == f"// made\n{data}\n"


async def test_get_pull_cursor_requires_exactly_one_included_block(play: Play) -> None:
    for n in range(60):
        put(play, f"src/part{n}.py", "x = 1\n" * 60, "feature/polite")
    found = await play.act("get_pull", repo=SITE, number=2, include=["files", "diff", "reviews"])
    assert set(found["next"]) == {"files", "diff"}
    with pytest.raises(InvalidInput, match="the one block"):
        await play.act("get_pull", repo=SITE, number=2, include=["files", "diff"], cursor=found["next"]["diff"])
    more = await play.act("get_pull", repo=SITE, number=2, include=["diff"], cursor=found["next"]["diff"])
    assert more["diff"] and "merge" not in more


# ----------------------------------------------------------------- threads and replies


async def test_all_comments_of_a_long_thread_are_read(play: Play) -> None:
    first = play.store["review_comments"][SITE][0]
    many = [{**first, "id": n, "reply_to": first["id"], "body": f"Point {n} " * 40} for n in range(7_000, 7_060)]
    play.store["review_comments"][SITE] += many
    [row] = (await play.act("list_comments", repo=SITE, number=2, kind="review"))["items"]
    assert row["more_comments"] == 41
    rows = await walked(play, "list_comments", "comments", repo=SITE, thread_id=row["thread_id"])
    assert [one["id"] for one in rows] == [first["id"], *range(7_000, 7_060)]
    for one in rows[:3]:
        assert "cut" not in one


async def test_thread_of_another_repository_is_not_read(play: Play) -> None:
    with pytest.raises(InvalidInput, match="not a review thread of this repository"):
        await play.act("list_comments", repo="alice/garden", thread_id="PRRT_thread0001")


async def test_all_replies_to_a_discussion_comment_are_read(play: Play) -> None:
    said = play.store["discussions"][SITE][0]["comments"][0]
    said["replies"] = [
        {"id": f"DC_reply{n:04}", "user": "bob", "body": f"No. {n}\n" * 20, "at": said["at"]} for n in range(70)
    ]
    [row] = (await play.act("list_discussions", repo=SITE, number=50))["comments"]
    assert row["more_replies"] == 60
    rows = await walked(play, "list_discussions", "replies", repo=SITE, comment_id=said["id"])
    assert [one["id"] for one in rows] == [f"DC_reply{n:04}" for n in range(70)]


# ----------------------------------------------------------------- logs


async def test_log_is_read_from_start_to_end_and_from_its_first_error(play: Play) -> None:
    lines = [f"line {n}" for n in range(4_000)]
    lines[300], lines[500] = "##[error]The first error", "x" * 20_000
    job = play.store["runs"][SITE][0]["jobs"][0]
    job["log"] = "\n".join(f"2026-11-24T12:00:00.0000000Z {line}" for line in lines)
    call = {"repo": SITE, "run_id": 9001, "job_id": job["id"]}
    found = await play.act("get_run", **call, offset=0)
    text = found["text"]
    while "next_offset" in found:
        found = await play.act("get_run", **call, offset=found["next_offset"])
        text += found["text"]
    assert text == "\n".join(lines) and found["untrusted"]
    [end] = (await play.act("get_run", **call, include=["logs"]))["logs"]
    assert text[end["offset"] :] == end["text"]
    [error] = end["errors"]
    around = await play.act("get_run", **call, offset=error["offset"])
    assert around["text"].startswith(error["text"][:200]) and "The first error" in around["text"]
    with pytest.raises(InvalidInput, match="job_id"):
        await play.act("get_run", repo=SITE, run_id=9001, offset=0)


async def test_every_error_of_a_log_is_shown_with_its_step(play: Play) -> None:
    lines = [f"line {n}" for n in range(18_400)]
    for n in (300, 303, 9_000, 18_390):
        lines[n] = f"##[error]Error in line {n}"
    job = play.store["runs"][SITE][0]["jobs"][0]
    job["log"] = "\n".join(lines)
    [log] = (await play.act("get_run", repo=SITE, run_id=9001, include=["logs"]))["logs"]
    assert log["failed_step"] == "Run pytest" and log["total_errors"] == 4
    assert [row["line"] for row in log["errors"]] == [301, 9_001]
    assert "Error in line 303" in log["errors"][0]["text"] and "Error in line 18390" in log["text"]


async def test_words_are_found_in_a_log_in_one_call(play: Play) -> None:
    lines = [f"2026-11-24T12:00:00.0000000Z line {n}" for n in range(18_400)]
    lines[9_321] += " ConnectionResetError:  peer went away"
    lines[9_322] += "x" * 9_000 + " connectionreseterror: peer " + "y" * 9_000
    job = play.store["runs"][SITE][0]["jobs"][0]
    job["log"] = "\n".join(lines)
    found = await play.act("get_run", repo=SITE, run_id=9001, find="connectionreseterror: peer")
    [log] = found["logs"]
    assert found["untrusted"] and log["total_matches"] == 2
    [match] = log["matches"]
    assert match["line"] == 9_322 and match["text"].startswith("line 9319\nline 9320\nline 9321 Conn")
    assert len(json.dumps(found)) < 1_500
    around = await play.act("get_run", repo=SITE, run_id=9001, job_id=log["job_id"], offset=match["offset"])
    assert around["text"].startswith("line 9319\n")


async def test_matches_that_do_not_fit_are_found_by_the_next_call(play: Play) -> None:
    job = play.store["runs"][SITE][0]["jobs"][0]
    job["log"] = "\n".join(f"line {n} WARN something" if n % 20 == 0 else f"line {n}" for n in range(18_400))
    seen: list[int] = []
    found = (await play.act("get_run", repo=SITE, run_id=9001, find="warn"))["logs"][0]
    while True:
        seen += [row["line"] for row in found["matches"]]
        if "more" not in found:
            break
        found = (await play.act("read_more", ref=found["more"]))["logs"][0]
    assert seen == list(range(1, 18_401, 20)) and found["total_matches"] == 920
    with pytest.raises(InvalidInput, match="find"):
        await play.act("get_run", repo=SITE, run_id=9001, find="  ")


async def test_failed_jobs_come_first_and_all_are_counted(play: Play) -> None:
    run = play.store["runs"][SITE][0]
    job = run["jobs"][0]
    good = [{**job, "id": n, "name": f"test ({n}) on a machine", "conclusion": "success"} for n in range(100, 300)]
    run["jobs"] = [*good, {**job, "id": 400, "conclusion": "failure"}]
    found = await play.act("get_run", repo=SITE, run_id=9001, include=["jobs", "logs"])
    assert found["jobs"][0]["job_id"] == 400 and found["logs"][0]["job_id"] == 400
    assert found["cut"] == [f"jobs: {len(found['jobs'])} of 201 are shown."]


# ----------------------------------------------------------------- drafts, and what is counted


async def test_draft_release_is_read_by_its_tag_and_changed(play: Play) -> None:
    await play.act("save_release", repo=SITE, tag="v9", name="Ninth", body="words " * 2_000)
    notes = await read_on(play, "list_releases", "body", repo=SITE, tag="v9", raw=True)
    assert notes.strip() == ("words " * 2_000).strip()
    end = await play.act("list_releases", repo=SITE, tag="v9", raw=True, offset=len(notes) - 1)
    await play.act("save_release", repo=SITE, tag="v9", body="Short", if_text=end["text_digest"])
    assert (await play.act("list_releases", repo=SITE, tag="v9"))["body"] == "Short"


async def test_omitted_gist_and_release_files_are_counted(play: Play) -> None:
    files = {f"file{n:02}.txt": f"text {n}" for n in range(30)}
    gist = await play.act("save_gist", files=files)
    shown = await play.act("list_gists", gist_id=gist["gist_id"])
    assert shown["cut"] == ["files: 20 of 30 are shown."]
    assert {one["name"] for one in shown["files"]} | set(shown["more_files"]) == set(files)
    release = play.store["releases"][SITE][0]
    release["assets"] = [{"id": n, "name": f"app{n}.zip", "size": n} for n in range(20)]
    shown = await play.act("list_releases", repo=SITE, tag=release["tag"])
    assert shown["cut"][0].startswith("assets: 15 of 20")


# ----------------------------------------------------------------- references

POINTS = "\n".join(f"- point {n} of the text, with some more words" for n in range(700))


async def told_by_more(play: Play, row: dict[str, Any], name: str) -> str:
    """Return what the references give, from result to result."""
    text = ""
    while "more" in row:
        row = await play.act("read_more", ref=row["more"])
        text += str(row[name])
    return text


async def cut_texts(play: Play) -> dict[str, tuple[dict[str, Any], str]]:
    """Return by kind: a result or row with a cut text, and the text's name there."""
    store = play.store
    for row in (*store["issues"][SITE], *store["comments"][SITE], *store["review_comments"][SITE]):
        row["body"] = POINTS
    for row in (store["reviews"][SITE][0], store["releases"][SITE][0], store["discussions"][SITE][0]):
        row["body"] = POINTS
    said = store["discussions"][SITE][0]["comments"][0]
    said |= {"body": POINTS, "replies": [{"id": "DC_reply0001", "user": "bob", "body": POINTS, "at": said["at"]}]}
    store["repos"][SITE]["milestones"][0]["description"] = POINTS
    head(play)["message"] = POINTS
    store["gists"]["a" * 20]["files"] = {"first.md": POINTS, "second.md": POINTS}
    put(play, "docs/long.md", POINTS)
    store["runs"][SITE][0]["jobs"][0]["log"] = POINTS
    put(play, "README.md", POINTS)
    issue = await play.act("get_issue", repo=SITE, number=1, include=["comments"])
    pull = await play.act("get_pull", repo=SITE, number=2, include=["reviews"])
    [thread] = (await play.act("list_comments", repo=SITE, number=2, kind="review"))["items"]
    discussion = await play.act("list_discussions", repo=SITE, number=50)
    alone = await play.act("list_comments", repo=SITE, comment_id=6001, raw=True)
    gist = await play.act("list_gists", gist_id="a" * 20)
    return {
        "issue": (issue, "body"),
        "comment": (issue["comments"][0], "body"),
        "raw": (alone, "body"),
        "of a repository": ((await play.act("list_comments", repo=SITE, kind="review"))["items"][0], "body"),
        "pull": (pull, "body"),
        "review": (pull["reviews"][0], "body"),
        "thread": (thread["comments"][0], "body"),
        "discussion": (discussion, "body"),
        "its comment": (discussion["comments"][0], "body"),
        "reply": (discussion["comments"][0]["replies"][0], "body"),
        "release": (await play.act("list_releases", repo=SITE, tag="v1.0"), "body"),
        "milestone": ((await play.act("list_labels", repo=SITE, kind="milestones"))["items"][0], "body"),
        "commit": (await play.act("get_commit", repo=SITE, ref="main"), "message"),
        "gist": (gist["files"][0], "text"),
        "second": (gist["files"][1], "text"),
        "file": (await play.act("get_file", repo=SITE, path="docs/long.md"), "text"),
        "lines": (await play.act("get_file", repo=SITE, path="docs/long.md", start_line=3), "text"),
        "readme": (await play.act("get_repo", repo=SITE, include=["readme"]), "readme"),
    }


@pytest.mark.processes
async def test_following_more_reads_each_text_to_its_end(play: Play) -> None:
    head_text = POINTS
    for what, (row, name) in (await cut_texts(play)).items():
        if what == "commit":
            continue  # the files were put on top of it
        shown = str(row.get(name, "")).removesuffix("\u2026").rstrip()
        rest = await told_by_more(play, row, "text" if what in ("gist", "second", "file", "lines", "readme") else name)
        assert rest and head_text.endswith(rest.strip()), what
        assert len(shown) + len(rest) >= len(head_text) - (200 if what == "lines" else 5), what
    head(play)["message"] = POINTS
    row = await play.act("get_commit", repo=SITE, ref="main")
    assert row["message"] + await told_by_more(play, row, "message") == POINTS


async def test_log_end_refers_to_the_whole_log(play: Play) -> None:
    play.store["runs"][SITE][0]["jobs"][0]["log"] = POINTS
    [log] = (await play.act("get_run", repo=SITE, run_id=9001, include=["logs"]))["logs"]
    assert await told_by_more(play, log, "text") == POINTS


@pytest.mark.processes
async def test_gist_file_above_a_megabyte_is_read_from_its_raw_url(play: Play) -> None:
    play.store["gists"]["a" * 20]["files"] = {"large log.txt": (large := "a line\n" * 160_000)}
    gist = await play.act("list_gists", gist_id="a" * 20)
    assert gist["files"][0]["more"] and "text_digest" not in gist["files"][0]
    end = len(large) - 20
    found = await play.act("list_gists", gist_id="a" * 20, file="large log.txt", offset=end)
    assert found["text"] == large[end:].rstrip() and found["total_chars"] == len(large) and "more" not in found
    away = [one for one in play.recorder.seen if one.url.host != "api.github.com"]
    assert len(away) == 1 and "authorization" not in away[0].headers


async def test_project_draft_and_its_fields_are_read_whole(play: Play) -> None:
    project = next(one for one in play.store["projects"] if one["owner"] == "acme")
    draft = {"title": "Some day", "body": POINTS}
    project["items"].append({"id": 777, "draft": draft, "repo": "", "number": 0, "values": {"104": "long words " * 60}})
    given: dict[str, Any] = {"owner": "acme", "project": str(project["number"]), "fields": ["Notes"]}
    row = (await play.act("list_project_items", **given))["items"][-1]
    assert row["kind"] == "DraftIssue" and row["cut"] and row["fields"]["Notes"]["text"].endswith("\u2026")
    [found] = (await play.act("list_project_items", **given, item_id=777))["items"]
    assert found["fields"]["Notes"]["text"] == ("long words " * 60).strip()
    text = found["body"]
    while "more" in found:
        [found] = (await play.act("read_more", ref=found["more"]))["items"]
        text += found["body"]
    assert text == POINTS


async def test_continuation_belongs_to_one_user_and_allowed_places(play: Play) -> None:
    row = (await play.act("list_gists", gist_id=await _secret(play)))["files"][0]
    with pytest.raises(InvalidInput, match="not a reference"):
        await play.act("read_more", by="bob", ref=row["more"])
    with pytest.raises(InvalidInput, match="not a reference"):
        await play.act("read_more", ref=row["more"].replace("github_list_gists", "github_delete"))
    assert await play.act("read_more", ref=row["more"], cursor=0)


async def _secret(play: Play) -> str:
    """Return a gist of Alice's own."""
    made = await play.act("save_gist", files={"diary.md": POINTS})
    return str(made["gist_id"])
