"""Everything that GitHub's tools send was previewed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from deputize.core import Audience, Danger, Preview
from deputize.core.errors import Conflict
from deputize.core.tools.preview import show_rows
from deputize.sandbox.github.git import commit, packed
from tests.support.preview_coverage import ShownWorld, shown_world
from tests.toolkits.github_play import ALL, GARDEN, GUIDE_SHA, SITE

OURS: Final = frozenset(
    "repos contents git refs heads tags issues pulls comments deputize graphql labels milestones releases gists merge "
    "reviews file right approve squash issue items orgs users projectsv2 sub lock replies "
    "actions rerun runs failed jobs cancel force requested reviewers user generate forks dispatches true starred "
    "notifications threads subscription update branch reactions true".split()
)
"""Words of formats and paths, which need no preview."""

NEW: Final = {"repo": SITE, "path": "notes/fresh.md", "message": "Jot it down", "content": "Käthe\n  tabs\tand\r\n"}
LINES: Final = {"mode": "replace_lines", "start_line": 2, "end_line": 3}
COMMIT: Final = {
    "repo": SITE,
    "branch": "main",
    "message": "Tidy all",
    "files": [
        {"path": "docs/guide.md", "content": "Shorter\n", "sha": GUIDE_SHA},
        {"path": "zebra.txt", "content": "Stripes\n"},
    ],
    "delete_paths": ["README.md"],
}


async def a_head(world: ShownWorld) -> str:
    return str((await world.act("github_get_pull", repo=SITE, number=2))["head_sha"])


async def a_merge(world: ShownWorld) -> dict[str, Any]:
    words = {"title": "Kinder words", "message": "Nobody shouts", "delete_branch": True}
    return {"repo": SITE, "number": 2, "head_sha": await a_head(world)} | words


async def a_later_merge(world: ShownWorld) -> dict[str, Any]:
    return await a_merge(world) | {"when_ready": True, "method": "rebase", "delete_branch": False}


async def a_resolved_thread(world: ShownWorld) -> dict[str, Any]:
    await world.act("github_resolve_thread", thread_id=THREAD)
    return {"thread_id": THREAD, "resolved": False}


async def a_public_gist(world: ShownWorld) -> dict[str, Any]:
    made = await world.act("github_save_gist", files={"mole.txt": "Digging"}, public=True, description="Tunnels")
    return {"kind": "gist", "id": made["gist_id"]}


THREAD: Final = "PRRT_thread0001"
GIST: Final = {"files": {"mole.txt": "Digging", "vole.txt": "Nibbling, too"}, "description": "Two rodents"}
OLD_GIST: Final = {"gist_id": "a" * 20, "files": {"notes.md": "", "vole.txt": "Nibbling, too"}, "description": "Fewer"}
REVIEW: Final = {
    "repo": SITE,
    "number": 2,
    "event": "REQUEST_CHANGES",
    "body": "Sleep over it",
    "comments": [
        {"path": "src/main.py", "body": "Oneliner", "line": 2},
        {"path": "src/main.py", "body": "Several", "line": 3, "start_line": 2},
        {"path": "src/main.py", "body": "Elsewhere"},
    ],
}


ISSUE: Final = {"repo": SITE, "title": "Doors creak", "body": "Every *morning*"}
CHANGED: Final = {
    "repo": SITE,
    "number": 1,
    "title": "Windows rattle",
    "body": "At noon",
    "state": "closed",
    "reason": "not_planned",
    "add_labels": ["help wanted"],
    "remove_labels": ["bug"],
    "add_assignees": ["bob"],
    "remove_assignees": ["@me"],
    "milestone": "Spring",
    "locked": True,
}
AROUND: Final = {"labels": ["bug"], "assignees": ["bob"], "milestone": "Spring", "type": "Bug", "parent": 1}
REPLY: Final = {"repo": SITE, "number": 2, "reply_to": 6101, "body": "Because"}


async def a_labelled_issue(world: ShownWorld) -> dict[str, Any]:
    await world.act("github_update_issue", repo=SITE, number=1, add_labels=["area/ui"])
    return {"repo": SITE, "number": 1, "remove_labels": ["area/ui"]}


PULL: Final = {"repo": SITE, "head": "release", "base": "old", "title": "Hinges", "body": "Oil *them*"}
NEW_PULL: Final = PULL | {"draft": True, "reviewers": ["bob", "acme/web"], "maintainer_can_modify": False}
CHANGED_PULL: Final = {
    "repo": SITE,
    "number": 3,
    "title": "Curtains",
    "body": "Washed",
    "state": "closed",
    "base": "old",
    "draft": True,
    "add_reviewers": ["bob", "acme/web"],
}
DISCUSSION: Final = {"repo": SITE, "category": "general", "title": "Lunch", "body": "Where *else*?"}
RELEASE: Final = {"repo": SITE, "tag": "v7.5", "name": "Seventh", "body": "Heaven", "prerelease": True}


async def a_draft_release(world: ShownWorld) -> dict[str, Any]:
    await world.act("github_save_release", **RELEASE)
    return {"repo": SITE, "tag": "v7.5"}


async def a_changed_draft(world: ShownWorld) -> dict[str, Any]:
    changes = {"name": "Eighth", "body": "Earth", "prerelease": False}
    return await a_draft_release(world) | changes


async def a_publication(world: ShownWorld) -> dict[str, Any]:
    return await a_draft_release(world) | {"draft": False, "latest": "true"}


async def a_reviewed_pull(world: ShownWorld) -> dict[str, Any]:
    await world.act("github_update_pull", repo=SITE, number=2, add_reviewers=["acme/web"])
    return {"repo": SITE, "number": 2, "remove_reviewers": ["alice", "acme/web"]}


async def a_running_run(world: ShownWorld) -> dict[str, Any]:
    world.sandbox._world.services["github"]["runs"][SITE][0] |= {"status": "in_progress", "conclusion": None}
    return {"repo": SITE, "run_id": 9001}


async def a_cancelled_run(world: ShownWorld) -> dict[str, Any]:
    return await a_running_run(world) | {"action": "cancel"}


async def a_killed_run(world: ShownWorld) -> dict[str, Any]:
    return await a_running_run(world) | {"action": "force_cancel"}


async def a_starred_repo(world: ShownWorld) -> dict[str, Any]:
    await world.act("github_set_star", repo=GARDEN)
    return {"repo": GARDEN, "starred": False}


async def a_milestone(world: ShownWorld) -> dict[str, Any]:
    made = await world.act("github_save_milestone", repo=SITE, title="Sowing", due_on="2027-03-04")
    return {"repo": SITE, "milestone": str(made["number"]), "due_on": "2027-04-05", "body": "Seeds"}


async def a_reaction(world: ShownWorld) -> dict[str, Any]:
    given = {"repo": SITE, "comment_id": 6101, "comment_kind": "review", "reaction": "rocket"}
    await world.act("github_react", **given)
    return given | {"remove": True}


async def a_sub_issue(world: ShownWorld) -> dict[str, Any]:
    await world.act("github_update_issue", repo=SITE, number=1, type="Task", parent=2)
    return {"repo": SITE, "number": 1, "type": "", "parent": 0}


RERUN: Final = {"repo": SITE, "run_id": 9001, "action": "rerun"}


def gone(kind: str, id: str) -> tuple[str, Any]:
    return "delete", {"kind": kind, "repo": SITE, "id": id}


ROWS: Final[list[tuple[str, Any]]] = [
    ("write_file", NEW),
    ("write_file", NEW | {"branch": "old"}),
    ("write_file", NEW | {"path": "docs/guide.md", "mode": "overwrite", "expected_sha": GUIDE_SHA}),
    ("write_file", NEW | {"path": "docs/guide.md", "mode": "append"}),
    ("write_file", NEW | LINES | {"path": "docs/guide.md", "content": "between"}),
    ("commit_files", COMMIT),
    ("create_branch", {"repo": SITE, "branch": "fix/typo"}),
    ("create_branch", {"repo": GARDEN, "branch": "fix/typo", "from_ref": "main"}),
    gone("branch", "feature/polite"),
    gone("tag", "v1.0"),
    gone("comment", "6002"),
    gone("review_comment", "6101"),
    gone("label", "help wanted"),
    gone("label", "area/ui"),
    gone("milestone", "Spring"),
    gone("release", "5001"),
    ("delete", {"kind": "gist", "id": "a" * 20}),
    ("delete", a_public_gist),
    ("merge_pull", a_merge),
    ("merge_pull", a_later_merge),
    ("review_pull", REVIEW),
    ("review_pull", {"repo": SITE, "number": 2, "event": "APPROVE"}),
    ("resolve_thread", {"thread_id": THREAD}),
    ("resolve_thread", a_resolved_thread),
    ("control_run", RERUN | {"debug": True}),
    ("control_run", RERUN | {"action": "rerun_failed"}),
    ("control_run", a_cancelled_run),
    ("control_run", a_killed_run),
    ("create_pull", NEW_PULL),
    ("create_pull", {"repo": SITE, "head": "deutsch", "title": "T", "reviewers": ["bob"]}),
    ("create_pull", PULL | {"issue": 1}),
    ("create_repo", {"name": "hutch", "description": "For rabbits"}),
    ("create_repo", {"name": "hutch", "private": False, "init": False}),
    ("create_repo", {"name": "hutch", "org": "acme"}),
    ("create_repo", {"name": "hutch", "source": SITE, "source_kind": "template"}),
    ("create_repo", {"name": "website", "source": SITE}),
    ("run_workflow", {"repo": SITE, "workflow": "Deploy", "inputs": {"colour": "mauve", "size": "queen"}}),
    ("run_workflow", {"repo": SITE, "workflow": "ci.yml", "ref": "old"}),
    ("save_release", RELEASE),
    ("save_release", RELEASE | {"draft": False, "target": "old", "generate_notes": True}),
    ("save_release", a_changed_draft),
    ("save_release", a_publication),
    ("save_release", {"repo": SITE, "tag": "v1.0", "name": "Firstborn", "draft": False}),
    ("set_star", {"repo": SITE}),
    ("set_star", a_starred_repo),
    ("update_notifications", {"thread_ids": ["3001", "3002"], "action": "mute"}),
    ("update_notifications", {"thread_ids": ["3001"], "action": "done"}),
    ("update_notifications", {"action": "read", "before": "-1h"}),
    ("update_pull", CHANGED_PULL),
    ("update_pull", {"repo": SITE, "number": 2, "body": "Polished", "append": True, "update_branch": True}),
    ("update_pull", a_reviewed_pull),
    ("write_discussion", DISCUSSION),
    ("write_discussion", {"repo": SITE, "number": 50, "body": "At the bakery"}),
    ("write_discussion", {"repo": SITE, "number": 50, "body": "At the bakery", "reply_to": "DC_comment01"}),
    ("write_discussion", {"repo": SITE, "answer_id": "DC_comment01"}),
    ("create_issue", ISSUE),
    ("create_issue", ISSUE | AROUND | {"project": "acme/1"}),
    ("update_issue", CHANGED),
    ("update_issue", {"repo": SITE, "number": 1, "body": "Even later", "append": True}),
    ("update_issue", {"repo": SITE, "number": 1, "body": ""}),
    ("update_issue", {"repo": SITE, "number": 2, "state": "closed"}),
    ("update_issue", a_labelled_issue),
    ("update_project_item", {"owner": "acme", "project": "1", "item": f"{SITE}#2", "set": {"Status": "done"}}),
    ("update_project_item", {"owner": "acme", "project": "Roadmap", "item": "501", "set": {"Status": "Done"}}),
    ("update_project_item", {"owner": "acme", "project": "1", "item": "501", "set": {"Status": "", "Points": "5"}}),
    ("update_project_item", {"owner": "acme", "project": "1", "item": "501", "remove": True}),
    ("update_project_item", {"owner": "alice", "project": "1", "item": f"{SITE}#1", "remove": True}),
    ("write_comment", {"repo": SITE, "number": 1, "body": "Forty winks"}),
    ("write_comment", REPLY),
    ("write_comment", {"repo": SITE, "comment_id": 6002, "body": "Seven sleepers"}),
    ("write_comment", {"repo": SITE, "comment_id": 6002, "body": "Seven sleepers", "append": True}),
    ("write_comment", {"repo": SITE, "comment_id": 6101, "comment_kind": "review", "body": "Eight sleepers"}),
    ("save_gist", GIST),
    ("save_gist", GIST | {"public": True}),
    ("save_gist", OLD_GIST),
    ("save_label", {"repo": SITE, "name": "burrow", "color": "d73a4a", "description": "Dug by hand"}),
    ("save_label", {"repo": SITE, "name": "bug", "new_name": "moth", "color": "#ABCDEF", "description": "Flies"}),
    ("save_label", {"repo": SITE, "name": "area/ui", "new_name": "area/web"}),
    ("save_milestone", {"repo": SITE, "title": "Harvest", "body": "Bring *baskets*", "due_on": "2027-09-03"}),
    ("save_milestone", a_milestone),
    ("save_milestone", {"repo": SITE, "milestone": "Spring", "title": "Lent", "body": "Fast", "state": "closed"}),
    ("react", {"repo": SITE, "number": 1, "reaction": "hooray"}),
    ("react", {"repo": SITE, "comment_id": 6001, "reaction": "-1"}),
    ("react", a_reaction),
    ("update_issue", {"repo": SITE, "number": 1, "type": "Feature", "parent": 2}),
    ("update_issue", a_sub_issue),
]

SEES: Final = "public, organisation, people: whoever sees the repository"
AUDIENCES: Final[dict[str, str]] = {  # who sees what a tool does
    "commit_files": SEES,
    "control_run": SEES,
    "create_branch": SEES,
    "create_issue": SEES,
    "create_pull": SEES,
    "create_repo": "self for a private one of the user's own; organisation, public",
    "delete": f"{SEES}; unknown for a secret gist",
    "merge_pull": SEES,
    "react": SEES,
    "resolve_thread": SEES,
    "review_pull": SEES,
    "run_workflow": SEES,
    "save_gist": "public; unknown for a secret one, which whoever has its address reads",
    "save_label": SEES,
    "save_milestone": SEES,
    "save_release": f"{SEES}; of a draft its members",
    "set_star": SEES,
    "update_issue": SEES,
    "update_notifications": "self",
    "update_project_item": "public, organisation, people: whoever sees the project",
    "update_pull": SEES,
    "write_comment": SEES,
    "write_discussion": SEES,
    "write_file": SEES,
}


@pytest.fixture
async def world() -> AsyncIterator[ShownWorld]:
    async with shown_world({"github": ALL}) as world:
        yield world


PLACES: Final = {
    f"{SITE} (public)": Audience.PUBLIC,
    "acme/platform (private)": Audience.ORGANISATION,
    "alice/private-notes (private: its owner and whom they have invited)": Audience.PEOPLE,
}


@pytest.mark.parametrize(("where", "audience"), PLACES.items())
async def test_preview_audience_is_that_of_the_repository(world: ShownWorld, where: str, audience: Audience) -> None:
    await world.act("github_write_comment", repo=where.partition(" ")[0], number=1, body="Words")
    assert (world.shown[-1].where, world.shown[-1].audience) == (where, audience)


async def test_auto_merge_preview_warns_about_later_commits(world: ShownWorld) -> None:
    for later in (False, True):
        await world.act("github_merge_pull", **await a_merge(world) | {"delete_branch": False, "when_ready": not later})
        said = dict(show_rows(world.shown[-1])).get("note", "")
        assert ("pushed until then" in said) is not later


async def a_merge_preview(world: ShownWorld, **store: Any) -> Preview:
    """Return the preview of a merge of pull request 2. ``store``: rows of the website to put in first."""
    for name, rows in store.items():
        world.sandbox._world.services["github"][name][SITE] = rows
    await world.act("github_merge_pull", **await a_merge(world))
    return world.shown[-1]


def check_rows(sha: str, results: dict[str, str | None]) -> list[dict[str, Any]]:
    """Return check runs of a commit, with the result of each. None: it is still running."""
    more = {"sha": sha, "run": 1, "job": 1, "annotations": []}
    return [
        {"id": 100 + n, "name": name, "conclusion": result, **more} | ({} if result else {"status": "in_progress"})
        for n, (name, result) in enumerate(results.items())
    ]


CHECKS: Final[dict[str, dict[str, str | None]]] = {
    "2 of 5 checks failed: lint, test": {
        "build": "success",
        "test": "failure",
        "lint": "timed_out",
        "docs": "skipped",
        "e2e": "success",
    },
    "1 of 2 checks failed: test; 1 still running": {"test": "failure", "lint": None},
    "1 of 2 checks are still running": {"test": "success", "lint": None},
    "all 2 checks passed": {"test": "success", "lint": "neutral"},
    "the only check passed": {"test": "success"},
    "there are no checks": {},
}


@pytest.mark.parametrize("said", CHECKS)
async def test_merge_preview_says_what_merges_and_how_its_checks_are(world: ShownWorld, said: str) -> None:
    sha = await a_head(world)
    show = await a_merge_preview(world, checks=check_rows(sha, CHECKS[said]), statuses=[])
    rows = dict(show_rows(show))
    assert (rows["checks"], rows["state"]) == (said, "it can be merged")
    assert (rows["pull request"], rows["by"]) == ("#2 Be polite", "bob")
    assert (rows["from"], rows["into"]) == ("acme:feature/polite", "main")
    assert rows["link"].endswith("/acme/website/pull/2")
    assert (rows["commits"], rows["files"], rows["lines"]) == ("1", "1", "2 added, 2 removed")
    assert show.pins["checks"] == sorted(name for name, one in CHECKS[said].items() if one in ("failure", "timed_out"))


async def test_merge_preview_says_why_a_pull_request_cannot_be_merged(world: ShownWorld) -> None:
    pull = await world.act("github_get_pull", repo=SITE, number=3)
    with pytest.raises(Conflict):
        await world.act("github_merge_pull", repo=SITE, number=3, head_sha=pull["head_sha"])
    assert dict(show_rows(world.shown[-1]))["state"] == "it conflicts with main and cannot be merged"


async def test_merge_of_a_workflow_warns_that_it_runs_by_itself(world: ShownWorld) -> None:
    assert (await a_merge_preview(world)).dangers == ()
    new = [{"path": ".github/workflows/deploy.yml", "content": "on: push\n"}, {"path": "notes.md", "content": "x\n"}]
    await world.act("github_create_branch", repo=SITE, branch="sly")
    await world.act("github_commit_files", repo=SITE, branch="sly", message="Notes", files=new)
    pull = await world.act("github_create_pull", repo=SITE, head="sly", base="main", title="Notes")
    head = (await world.act("github_get_pull", repo=SITE, number=pull["number"]))["head_sha"]
    await world.act("github_merge_pull", repo=SITE, number=pull["number"], head_sha=head)
    rows = dict(show_rows(world.shown[-1]))
    assert rows["runs by itself"] == ".github/workflows/deploy.yml"
    assert rows["warning"] == "This changes code that runs by itself."


async def test_merge_of_very_many_files_says_that_not_all_were_looked_at(world: ShownWorld) -> None:
    store = world.sandbox._world.services["github"]
    repo, history = store["repos"][SITE], store["commits"][SITE]
    head = repo["branches"]["feature/polite"]
    tree = history[head]["tree"] | {f"many/{n:03}.txt": packed("x") for n in range(302)}
    repo["branches"]["feature/polite"] = commit(history, tree, [head], "Many", "bob", "2026-11-01T00:00:00Z")
    show = await a_merge_preview(world)
    assert show.fields["not_looked_at"] == "3 files; they may run by themselves, too"


RUNS: Final = (
    *(".github/workflows/ci.yml", "web/package.json", "setup.py", "tests/conftest.py", "Makefile", "api/Dockerfile"),
    *(".pre-commit-config.yaml", "vite.config.mts", "docker-compose.prod.yml", ".GitHub/actions/x/action.yml"),
)
RUNS_NOT: Final = ("notes/readme.md", "src/main.py", "docs/package.json.md", "github/workflows.md", "my_setup.py")


@pytest.mark.parametrize("path", [*RUNS, *RUNS_NOT])
async def test_file_that_runs_by_itself_is_warned_of(world: ShownWorld, path: str) -> None:
    give = {"path": path, "content": "{}\n"}
    await world.act("github_commit_files", repo=SITE, branch="old", message="M", files=[give])
    by_commit = world.shown[-1].dangers
    await world.act("github_write_file", repo=SITE, branch="old", message="M", mode="append", **give)
    assert by_commit == world.shown[-1].dangers == ((Danger.RUNS_CODE,) if path in RUNS else ())


async def test_commit_preview_says_what_is_new_changed_and_deleted(world: ShownWorld) -> None:
    await world.act("github_commit_files", **COMMIT)
    show = world.shown[-1]
    rows = dict(show_rows(show))
    assert (rows["new files"], rows["changed files"]) == ("zebra.txt", "docs/guide.md")
    assert list(rows).index("deleted files") < list(rows).index("message")
    assert rows["deleted files"] == "README.md" and not show.destroys
