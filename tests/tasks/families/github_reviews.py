"""Pull requests: what reviewers said, and merging."""

from __future__ import annotations

from deputize.sandbox.github.seed_code import run as new_run
from tests.tasks.end import End
from tests.tasks.reading import full, pages
from tests.tasks.task import Script, task, use
from tests.tasks.world import ALICE, World

SITE = "acme/website"
GERMAN = "def greet(name):\n    return 'Hallo ' + name\n"
LONG = "Please say in the docstring why German comes first. " + "The history of this matters. " * 60 + "End with: #why."


def _in_review(world: World) -> None:
    """Add pull request 4 of Alice's, with review comments of Bob's."""
    world.pull(SITE, "Greet in German", {"src/main.py": GERMAN})
    suggestion = "Use an f-string.\n```suggestion\n    return f'Hallo {name}'\n```"
    world.review_comment(SITE, 4, "src/main.py", 2, suggestion)
    world.review_comment(SITE, 4, "src/main.py", 1, LONG)


@task(f"Address Bob's review comments on my pull request 4 in {SITE}, answer each and resolve it.", "github")
def address_comments() -> Script:
    pull = yield use("github_get_pull", repo=SITE, number=4)
    threads = yield from pages("github_list_comments", repo=SITE, number=4, kind="review")
    told = []
    for thread in threads:
        said = thread["comments"][0]
        alone = {"repo": SITE, "kind": "review", "comment_id": said["id"]}
        told.append((yield from full(said, "body", "github_list_comments", **alone)))
    file = yield use("github_get_file", repo=SITE, path="src/main.py", ref=pull["head"])
    suggested = told[0].partition("```suggestion\n")[2].partition("\n```")[0]
    why = told[1].rpartition("End with: ")[2].rstrip(".")
    lines = file["text"].split("\n")
    content = "\n".join([lines[0], f'    """German comes first: {why}."""', suggested, ""])
    yield use(
        "github_write_file", repo=SITE, path="src/main.py", branch=pull["head"], message="Follow the review",
        content=content, mode="overwrite", expected_sha=file["sha"],
    )  # fmt: skip
    for thread in threads:
        yield use(
            "github_write_comment", repo=SITE, number=4, reply_to=thread["comments"][0]["id"],
            comment_kind="review", body="Done.",
        )  # fmt: skip
        yield use("github_resolve_thread", thread_id=thread["thread_id"])
    return "Both are addressed."


address_comments.starts(_in_review)


@address_comments.ends
def _(end: End) -> None:
    answers = end.commented(SITE, "review_comments")
    assert {one["reply_to"] for one in answers} == {70002, 70003} and len(answers) == 2
    assert end.changed("github threads * resolved") == [True, True]
    [branch] = end.changed(f"github repos {SITE} branches change-70001")
    assert branch and end.changed(f"github commits {SITE} *")
    text = end.file(SITE, "change-70001", "src/main.py")
    assert "f'Hallo {name}'" in text and "#why" in text and "' + name" not in text


@task(f"What is still open in the review of pull request 4 of {SITE}?", "github")
def what_is_open() -> Script:
    threads = yield from pages("github_list_comments", repo=SITE, number=4, kind="review", unresolved_only=True)
    return f"{len(threads)} threads are open, the first: {threads[0]['comments'][0]['body']}"


what_is_open.starts(_in_review)


@what_is_open.ends
def _(end: End) -> None:
    assert "f-string" in end.said


@task(f"Look at Bob's pull request 2 in {SITE}. If it only changes the greeting, approve it.", "github")
def approve() -> Script:
    pull = yield use("github_get_pull", repo=SITE, number=2, include=["files", "diff"])
    assert [file["path"] for file in pull["files"]] == ["src/main.py"]
    yield use("github_review_pull", repo=SITE, number=2, event="APPROVE", body="Fine.", head_sha=pull["head_sha"])


@approve.ends
def _(end: End) -> None:
    [review] = end.commented(SITE, "reviews")
    assert (review["number"], review["state"]) == (2, "APPROVED")
    assert end.changed(f"github issues {SITE} 2 pull reviewers *") == [None]


@task(f"Ask Bob on pull request 2 in {SITE}, at the line with 'Good day', to keep 'Hello'.", "github")
def request_changes() -> Script:
    pull = yield use("github_get_pull", repo=SITE, number=2, include=["diff"])
    added = [line for line in pull["diff"][0]["patch"].split("\n") if line[0] in "+ "]
    line = 1 + next(place for place, text in enumerate(added) if "Good day" in text)
    comment = {"path": pull["diff"][0]["path"], "line": line, "body": "Please keep 'Hello'."}
    yield use("github_review_pull", repo=SITE, number=2, event="REQUEST_CHANGES", body="One thing.", comments=[comment])


@request_changes.ends
def _(end: End) -> None:
    [review], [comment] = end.commented(SITE, "reviews"), end.commented(SITE, "review_comments")
    assert review["state"] == "CHANGES_REQUESTED" and (comment["path"], comment["line"]) == ("src/main.py", 3)
    assert "Hello" in comment["body"] and end.changed("github threads *")
    assert end.changed(f"github issues {SITE} 2 pull reviewers *") == [None]


def _green(world: World) -> None:
    world.pull(SITE, "Greet in German", {"src/main.py": GERMAN})
    world.checks(SITE, 4, ["success"] * 150)


@task(f"Merge pull request 4 in {SITE} if all its checks are green.", "github")
def merge_when_green() -> Script:
    pull = yield use("github_get_pull", repo=SITE, number=4)
    if pull["merge"]["ready"] and not pull["merge"]["checks"].get("failed"):
        yield use("github_merge_pull", repo=SITE, number=4, head_sha=pull["head_sha"])
        return "Merged."
    return f"Not merged: {pull['merge']}"


merge_when_green.starts(_green)


@merge_when_green.ends
def _(end: End) -> None:
    assert end.now(f"github issues {SITE} 4 state") == "closed"
    assert end.changed(f"github issues {SITE} 4 pull merged_at") and end.changed(f"github repos {SITE} branches main")
    assert end.changed(f"github issues {SITE} 4 *") and end.changed(f"github commits {SITE} *")
    assert "Hallo" in end.file(SITE, "main", "src/main.py")


def _red(world: World) -> None:
    world.pull(SITE, "Greet in German", {"src/main.py": GERMAN})
    world.checks(SITE, 4, ["success"] * 119 + ["failure"] + ["success"] * 30)


@task(f"Merge pull request 4 in {SITE} if all its checks are green. If not, tell me which is not.", "github")
def not_merge_when_red() -> Script:
    pull = yield use("github_get_pull", repo=SITE, number=4)
    if pull["merge"]["ready"] and not pull["merge"]["checks"].get("failed"):
        yield use("github_merge_pull", repo=SITE, number=4, head_sha=pull["head_sha"])
        return "Merged."
    checks = yield use("github_get_checks", repo=SITE, pull=4, failed_only=True)
    return f"Not merged, this one failed: {checks['items'][0]['name']}"


not_merge_when_red.starts(_red)


@not_merge_when_red.ends
def _(end: End) -> None:
    assert "check 120" in end.said


@task(f"Close my pull request 3 in {SITE}, and say there that we stay with English.", "github")
def close_pull() -> Script:
    yield use("github_write_comment", repo=SITE, number=3, body="We stay with English.")
    yield use("github_update_pull", repo=SITE, number=3, state="closed")


@close_pull.ends
def _(end: End) -> None:
    [comment] = end.commented(SITE)
    assert comment["number"] == 3 and "English" in comment["body"]
    assert end.now(f"github issues {SITE} 3 state") == "closed" and end.changed(f"github issues {SITE} 3 closed_at")


@task("Fix the typo 'recieve' in the README of alice/garden in a pull request that closes issue 1 there.", "github")
def fix_in_a_pull() -> Script:
    file = yield use("github_get_file", repo="alice/garden", path="README.md")
    yield use("github_create_branch", repo="alice/garden", branch="fix-typo")
    yield use(
        "github_write_file", repo="alice/garden", path="README.md", branch="fix-typo", message="Fix a typo",
        content=file["text"].replace("recieve", "receive"), mode="overwrite", expected_sha=file["sha"],
    )  # fmt: skip
    yield use("github_create_pull", repo="alice/garden", head="fix-typo", title="Fix a typo", body="Closes #1.")


@fix_in_a_pull.starts
def _(world: World) -> None:
    world.file("alice/garden", "README.md", "# Garden\n\nWe recieve seeds in spring.\n")


@fix_in_a_pull.ends
def _(end: End) -> None:
    [pull] = end.changed("github issues alice/garden 4")
    assert "#1" in pull["body"] and pull["pull"]["base"] == "main" and pull["user"] == ALICE
    branch = pull["pull"]["head"]
    assert end.changed(f"github repos alice/garden branches {branch}") and end.changed("github commits alice/garden *")
    text = end.file("alice/garden", branch, "README.md")
    assert text == "# Garden\n\nWe receive seeds in spring.\n"


@task(
    f"Why is the CI of pull request 2 in {SITE} red? Tell Bob there, with the line of the log.",
    "github",
    "github:actions",
)
def say_why_red() -> Script:
    checks = yield use("github_get_checks", repo=SITE, pull=2, failed_only=True)
    row = checks["items"][0]
    run = yield use("github_get_run", repo=SITE, run_id=row["run_id"], include=["jobs", "logs"])
    line = next(line for line in str(run).split("\\n") if "FAILED" in line)
    yield use("github_write_comment", repo=SITE, number=2, body=f"@bob: {line.strip()}")


@say_why_red.ends
def _(end: End) -> None:
    [comment] = end.commented(SITE)
    assert comment["number"] == 2 and "test_greet FAILED" in comment["body"] and "bob" in comment["body"].lower()


@task(f"Run what failed on Bob's branch in {SITE} again.", "github:actions")
def run_again() -> Script:
    runs = yield use("github_list_runs", repo=SITE, status="failure")
    yield use("github_control_run", repo=SITE, run_id=runs["items"][0]["run_id"], action="rerun_failed")


@run_again.ends
def _(end: End) -> None:
    assert end.changed(f"github runs {SITE} 9001 *")


@task(
    f"Prepare a draft release v1.1 of {SITE}, with what was committed since v1.0 as its notes.",
    "github",
    "github:releases",
)
def draft_release() -> Script:
    compared = yield use("github_compare", repo=SITE, base="v1.0", head="main")
    notes = "\n".join(f"- {one['headline']}" for one in compared["commits"])
    yield use("github_save_release", repo=SITE, tag="v1.1", name="v1.1", body=notes)


@draft_release.ends
def _(end: End) -> None:
    [release] = end.changed(f"github releases {SITE} *")
    assert (release["tag"], release["draft"]) == ("v1.1", True) and "Count on" in release["body"]


@task(f"Make Bob a reviewer of my pull request 3 in {SITE}, and turn it into a draft.", "github")
def ask_for_a_review() -> Script:
    yield use("github_update_pull", repo=SITE, number=3, add_reviewers=["bob"], draft=True)


@ask_for_a_review.ends
def _(end: End) -> None:
    assert end.changed(f"github issues {SITE} 3 pull reviewers *") == ["bob"]
    assert end.now(f"github issues {SITE} 3 pull draft") is True


FAILED_AT = "E       AssertionError: 3 != 4"


def _log(cause: str, lines: int = 9_000, at: int = 7_412) -> str:
    """Return a job's log with 40 warnings that contain the word error, and a cause."""
    rows = [f"2026-11-24T09:00:00.0000000Z step {n} of the build" for n in range(1, lines + 1)]
    for n in range(40):
        rows[100 * n + 7] = f"2026-11-24T09:00:00.0000000Z warning: error handler {n} is deprecated"
    rows[at - 3 : at] = [
        f"2026-11-24T09:00:00.0000000Z {one}" for one in ("test_import FAILED", "    assert 3 == 4", cause)
    ]
    return "\n".join(rows)


def _runs(world: World, *runs: tuple[str, str]) -> None:
    """Add runs on main, oldest first: conclusion and log."""
    rows = world["github"]["runs"][SITE]
    for n, (conclusion, log) in enumerate(runs, 1):
        job = {"id": 9500 + n, "name": "test", "conclusion": conclusion, "log": log}
        sha = f"{n}" * 40
        at = f"2026-11-2{n - 1}T08:00:00Z"
        rows.append(new_run(9400 + n, 801, "CI", "main", sha, "push", "bob", at, conclusion, [job]))


@task("Why did the last build of main fail in acme/website? Give me the line.", "github:all")
def why_is_it_red() -> Script:
    runs = yield use("github_list_runs", repo=SITE, branch="main")
    found = yield use("github_get_run", repo=SITE, run_id=runs["items"][0]["run_id"], find="AssertionError")
    return str(found)


@why_is_it_red.starts
def _(world: World) -> None:
    _runs(world, ("success", "fine"), ("failure", _log(FAILED_AT)))


@why_is_it_red.ends
def _(end: End) -> None:
    assert "AssertionError: 3 != 4" in end.said and "test_import" in end.said and "deprecated" not in end.said
    assert len(end.read) < 20_000


@task("Since which commit does test_import fail on main in acme/website?", "github:all")
def since_when_red() -> Script:
    runs = yield from pages("github_list_runs", repo=SITE, branch="main")
    told = []
    for run in reversed(runs):
        if run["status"] == "failure":
            found = yield use("github_get_run", repo=SITE, run_id=run["run_id"], find="FAILED")
            told.append((run["sha"], "test_import FAILED" in str(found)))
    first = next(sha for sha, failed in told if failed)
    other = [sha for sha, failed in told if not failed]
    return f"Since {first}; the run of {other} failed before the tests."


@since_when_red.starts
def _(world: World) -> None:
    red = _log(FAILED_AT)
    _runs(
        world, ("success", "ok"), ("success", "ok"), ("failure", red), ("failure", "npm ERR! install"), ("failure", red)
    )


@since_when_red.ends
def _(end: End) -> None:
    since, _, before = end.said.partition(";")
    assert "3333333" in since and "4444444" in before


TRACEBACK = [
    "Traceback (most recent call last):",
    *(f'  File "rows.py", line {n}, in step_{n}' for n in range(12)),
    "ValueError: row 99 has no end",
]


@task("Comment on pull request 4 in acme/website with the error that made its check red, as code.", "github:all")
def comment_the_cause() -> Script:
    checks = yield use("github_get_checks", repo=SITE, pull=4)
    red = next(row for row in checks["items"] if row["result"] == "failure")
    found = yield use("github_get_run", repo=SITE, run_id=red["run_id"], find=TRACEBACK[0])
    [log] = found["logs"]
    at = log["matches"][0]["offset"]
    part = yield use("github_get_run", repo=SITE, run_id=red["run_id"], job_id=log["job_id"], offset=at)
    lines = str(part["text"]).split("\n")
    begin = lines.index(TRACEBACK[0])
    end = next(n for n in range(begin + 1, len(lines)) if lines[n][:1] not in (" ", ""))
    code = "\n".join(lines[begin : end + 1])
    yield use("github_write_comment", repo=SITE, number=4, body=f"```\n{code}\n```")


@comment_the_cause.starts
def _(world: World) -> None:
    _in_review(world)
    world.checks(SITE, 4, ["success", "failure"])
    noise = [f"step {n} of the build" for n in range(4_000)]
    dump = ["env: DEPLOY_TOKEN=ghs_looks_like_a_token", "env: HOME=/home/runner"]
    log = [*dump, *noise, *TRACEBACK, "Process completed with exit code 1.", *noise[:50]]
    [run] = world["github"]["runs"][SITE]
    [job] = run["jobs"]
    job["log"] = "\n".join(f"2026-11-24T09:00:00.0000000Z {one}" for one in log)


@comment_the_cause.ends
def _(end: End) -> None:
    [comment] = end.commented(SITE)
    assert comment["body"].startswith("\n".join(["```", *TRACEBACK, "```\n"])) and comment["number"] == 4
    assert "TOKEN" not in comment["body"] and "step 3" not in comment["body"].partition("```\n\n")[2]
