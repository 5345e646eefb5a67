"""Calls of every GitHub tool that together make every request it can make."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from deputize.sandbox.faults import bad_gateway
from tests.toolkits.github_play import GARDEN, GUIDE_SHA, SITE, Play


class Case(NamedTuple):
    """A call, and what happens before it."""

    tool: str
    arguments: dict[str, Any]
    before: Callable[[Play], None] = lambda play: None


def lose(path: str, times: int = 1) -> Callable[[Play], None]:
    """Perform the next writes below this path, and lose their responses."""
    return lambda play: play.sandbox.switches.drop_after_commit.extend([path] * times)


def break_(method: str, path: str) -> Callable[[Play], None]:
    """Answer the next such request as a broken gateway, without effect."""

    def spoil(play: Play) -> None:
        play.sandbox.switches.faults.setdefault((method, path), []).append(bad_gateway())

    return spoil


def without_graphql(play: Play) -> None:
    """Remove GraphQL from the host."""
    play.sandbox.switches.faults["POST", "/graphql"] = [(404, {}, {"message": "Not Found"})]


def planned(play: Play) -> None:
    """Add an item to Alice's own project."""
    play.store["projects"][1]["items"].append({"id": 601, "repo": SITE, "number": 1, "values": {}})


def pull(number: int, **changes: Any) -> Callable[[Play], None]:
    """Set the state of a pull request of the website."""

    def spoil(play: Play) -> None:
        play.store["issues"][SITE][number - 1]["pull"] |= copy.deepcopy(changes)

    return spoil


def large(play: Play) -> None:
    """Give the website a file of more than a megabyte."""
    from deputize.sandbox.github.git import commit, packed

    repo, history = play.store["repos"][SITE], play.store["commits"][SITE]
    head = repo["branches"]["main"]
    tree = history[head]["tree"] | {"large.txt": packed("line\n" * 300_000)}
    repo["branches"]["main"] = commit(history, tree, [head], "Large", "alice", "2026-01-01T00:00:00Z")


def issue(**changes: Any) -> Callable[[Play], None]:
    """Set the state of the website's first issue."""
    return lambda play: play.store["issues"][SITE][0].update(copy.deepcopy(changes))


def settled(play: Play) -> None:
    """Resolve the website's review thread."""
    play.store["threads"]["PRRT_thread0001"]["resolved"] = True


def starred(play: Play) -> None:
    """Star Alice's garden as Alice."""
    play.store["repos"][GARDEN]["stars"].append("alice")


def running(play: Play) -> None:
    """Make the website's run unfinished."""
    play.store["runs"][SITE][0] |= {"status": "in_progress", "conclusion": None}


def reacted(to: str, content: str = "eyes") -> Callable[[Play], None]:
    """Add a reaction of Alice's to something of the website's."""
    row = {"id": 7, "user": "alice", "content": content, "at": "2026-11-02T00:00:00Z"}
    return lambda play: play.store.setdefault(f"reactions/{to}", {}).setdefault(SITE, []).append(dict(row))


HEAD: Final = "$head:feature/polite"
CONTENTS: Final = f"/repos/{SITE}/contents/"
ISSUES: Final = f"/repos/{SITE}/issues"
PULLS: Final = f"/repos/{SITE}/pulls"
IN: Final = {"repo": SITE}
OVER: Final = {"mode": "overwrite", "expected_sha": GUIDE_SHA}

CASES: Final = [
    Case("whoami", {}),
    *(
        Case("get_my_work", {"kind": k})
        for k in ("all", "review_requests", "my_pulls", "assigned", "mentions", "recent")
    ),
    Case("search_repos", {}),
    Case("search_repos", {"query": "garden", "type": "public"}),
    Case("search_repos", {"sort": "name", "type": "private"}),
    Case("search_repos", {"scope": "starred"}),
    Case("search_repos", {"scope": "starred", "sort": "updated"}),
    Case("search_repos", {"scope": "org", "org": "acme", "type": "sources", "sort": "created"}),
    Case("search_repos", {"scope": "all", "query": "website", "sort": "stars"}),
    Case("get_repo", {"repo": SITE, "include": ["readme", "languages", "branches"]}),
    Case("get_repo", {"repo": "website"}),
    *(
        Case("list_people", {"repo": SITE, "role": role})
        for role in ("collaborators", "assignees", "contributors", "stargazers", "teams", "any")
    ),
    Case("list_people", {"repo": SITE, "role": "collaborators", "permission": "push", "affiliation": "direct"}),
    Case("list_people", {"org": "acme", "role": "members"}),
    Case("list_people", {"org": "acme", "role": "teams"}),
    Case("list_people", {"query": "bob"}),
    Case("list_labels", IN),
    Case("list_labels", {"repo": SITE, "kind": "milestones"}),
    Case("list_labels", {"repo": SITE, "milestone": "Spring", "raw": True}),
    Case("save_label", {"repo": SITE, "name": "triage", "color": "#D73A4A", "description": "To be looked at"}),
    Case("save_label", {"repo": SITE, "name": "triage"}, lose(f"/repos/{SITE}/labels")),
    Case("save_label", {"repo": SITE, "name": "area/ui", "new_name": "area/web", "color": "ffffff"}),
    Case("save_milestone", {"repo": SITE, "title": "Autumn", "body": "Leaves", "due_on": "2026-12-01"}),
    Case("save_milestone", {"repo": SITE, "title": "Autumn"}, lose(f"/repos/{SITE}/milestones")),
    Case("save_milestone", {"repo": SITE, "milestone": "Spring", "title": "Summer", "state": "closed"}),
    Case("react", {"repo": SITE, "number": 1, "reaction": "+1"}),
    Case("react", {"repo": SITE, "comment_id": 6001, "reaction": "eyes"}),
    Case("react", {"repo": SITE, "comment_id": 6101, "comment_kind": "review", "reaction": "heart"}),
    Case("react", {"repo": SITE, "number": 1, "reaction": "+1", "remove": True}, reacted("issue/1", "+1")),
    Case("react", {"repo": SITE, "comment_id": 6001, "reaction": "eyes", "remove": True}, reacted("comments/6001")),
    Case(
        "react",
        {"repo": SITE, "comment_id": 6101, "comment_kind": "review", "reaction": "eyes", "remove": True},
        reacted("review_comments/6101"),
    ),
    Case("get_file", {"repo": SITE, "path": "src/main.py", "ref": "feature/polite"}),
    Case("get_file", {"repo": SITE}),
    Case("get_file", {"repo": SITE, "path": "docs"}),
    Case("get_file", {"repo": SITE, "path": "docs", "recursive": True}),
    Case("get_file", {"repo": SITE, "path": "logo.png"}),
    Case("get_file", {"repo": SITE, "path": "large.txt", "start_line": 5}, large),
    Case("search_code", {"query": "greet"}),
    Case("search_code", {"query": "greet", "repo": SITE, "language": "python", "path": "src"}),
    Case("write_file", {"repo": SITE, "path": "new.txt", "message": "New", "content": "x\n", "branch": "old"}),
    Case("write_file", {"repo": SITE, "path": "docs/guide.md", "message": "M", "content": "x"} | OVER),
    Case(
        "write_file",
        {"repo": SITE, "path": "docs/guide.md", "message": "M", "content": "x", "mode": "append"},
        lose(CONTENTS),
    ),
    Case(
        "write_file",
        {
            "repo": SITE,
            "path": "docs/guide.md",
            "message": "M",
            "content": "2",
            "mode": "replace_lines",
            "start_line": 2,
        },
        break_("PUT", CONTENTS),
    ),
    Case("write_file", {"repo": SITE, "path": ".github/workflows/x.yml", "message": "M", "content": "x"}),
    Case(
        "commit_files",
        {
            "repo": SITE,
            "branch": "old",
            "message": "M",
            "files": [{"path": "a.txt", "content": "a"}],
            "delete_paths": ["README.md"],
        },
    ),
    Case(
        "commit_files",
        {
            "repo": SITE,
            "branch": "main",
            "message": "M",
            "files": [{"path": "docs/guide.md", "content": "a", "sha": GUIDE_SHA}],
        },
    ),
    Case(
        "commit_files",
        {"repo": SITE, "branch": "old", "message": "M", "files": [{"path": "a", "content": "a"}]},
        lose("/graphql"),
    ),
    Case("list_refs", {"repo": SITE, "query": "polite"}),
    Case("list_refs", {"repo": SITE, "kind": "tags"}),
    Case("list_refs", IN, without_graphql),
    Case("create_branch", {"repo": SITE, "branch": "fix/one"}),
    Case("create_branch", {"repo": SITE, "branch": "feature/polite", "from_ref": "feature/polite"}),
    Case(
        "list_commits",
        {"repo": SITE, "ref": "main", "path": "docs", "author": "alice", "after": "2020-01-01", "before": "now"},
    ),
    Case("list_commits", {"repo": SITE, "pull": 2}),
    Case("get_commit", {"repo": SITE, "ref": "feature/polite"}),
    Case("get_commit", {"repo": SITE, "ref": "feature/polite", "include_diff": True}),
    Case("compare", {"repo": SITE, "base": "main", "head": "acme:feature/polite", "include_diff": True}),
    Case(
        "list_activity",
        {"repo": SITE, "kind": "push", "actor": "alice", "ref": "main", "period": "year", "sort": "oldest"},
    ),
    Case("list_issues", IN),
    Case(
        "list_issues",
        {
            "repo": SITE,
            "state": "all",
            "assignee": "none",
            "author": "@me",
            "labels": ["bug"],
            "milestone": "Spring",
            "updated_after": "-90d",
        },
    ),
    Case(
        "list_issues", {"repo": SITE, "query": "greeting", "assignee": "@me", "labels": ["help wanted"], "state": "all"}
    ),
    Case(
        "list_issues",
        {"org": "acme", "assignee": "none", "updated_after": "-90d", "milestone": "Spring", "author": "bob"},
    ),
    Case("get_issue", {"repo": SITE, "number": 1, "include": ["comments", "timeline", "sub_issues"]}),
    Case("get_issue", {"repo": "acme/homepage", "number": 1}),
    Case("create_issue", {"repo": SITE, "title": "T"}),
    Case("create_issue", {"repo": SITE, "title": "T"}, lose(ISSUES)),
    Case(
        "create_issue",
        {
            "repo": SITE,
            "title": "T",
            "body": "B",
            "labels": ["bug"],
            "assignees": ["@me", "bob"],
            "milestone": "Spring",
            "type": "Bug",
            "parent": 1,
            "project": "acme/1",
        },
    ),
    Case(
        "update_issue",
        {
            "repo": SITE,
            "number": 1,
            "title": "T",
            "body": "B",
            "state": "closed",
            "reason": "not_planned",
            "add_labels": ["help wanted"],
            "remove_labels": ["bug", "area/ui"],
            "add_assignees": ["bob"],
            "remove_assignees": ["@me"],
            "milestone": "",
            "locked": True,
        },
        issue(labels=["bug", "area/ui"], assignees=["alice"], milestone=1),
    ),
    Case("update_issue", {"repo": SITE, "number": 1, "milestone": "Spring", "locked": False}, issue(locked=True)),
    Case("update_issue", {"repo": SITE, "number": 1, "body": "More.", "append": True}),
    Case("update_issue", {"repo": SITE, "number": 1, "type": "Bug", "parent": 2}),
    Case("update_issue", {"repo": SITE, "number": 1, "type": "", "parent": 0}, issue(parent=2, type="Bug")),
    Case("list_comments", {"repo": SITE, "number": 1, "updated_after": "-90d"}),
    Case("list_comments", {"repo": SITE, "sort": "newest", "updated_after": "-90d"}),
    Case("list_comments", {"repo": SITE, "kind": "review"}),
    Case("list_comments", {"repo": SITE, "comment_id": 6001, "raw": True}),
    Case("list_comments", {"repo": SITE, "comment_id": 6101, "kind": "review"}),
    Case("list_comments", {"repo": SITE, "kind": "review", "number": 2, "unresolved_only": True}),
    Case("list_comments", {"repo": SITE, "thread_id": "PRRT_thread0001"}),
    Case("write_comment", {"repo": SITE, "number": 1, "body": "B"}),
    Case("write_comment", {"repo": SITE, "number": 1, "body": "B"}, lose(ISSUES)),
    Case("write_comment", {"repo": SITE, "number": 2, "reply_to": 6101, "body": "B"}),
    Case("write_comment", {"repo": SITE, "number": 2, "reply_to": 6101, "body": "B"}, lose(PULLS)),
    Case("write_comment", {"repo": SITE, "comment_id": 6002, "body": "B"}),
    Case("write_comment", {"repo": SITE, "comment_id": 6101, "comment_kind": "review", "body": "B"}),
    Case("list_pulls", {"repo": SITE, "base": "main", "head": "feature/polite", "sort": "long-running"}),
    Case(
        "list_pulls",
        {
            "org": "acme",
            "query": "polite",
            "state": "all",
            "author": "bob",
            "base": "main",
            "head": "acme:feature/polite",
        },
    ),
    Case("list_pulls", {"reviewer": "@me", "draft": False, "sort": "popularity"}),
    Case("list_pulls", {"repo": SITE, "state": "merged"}),
    Case("get_pull", {"repo": SITE, "number": 2, "include": ["files", "diff", "reviews"]}),
    Case("get_pull", {"repo": SITE, "number": 2, "review_id": 6201, "raw": True}),
    Case("get_pull", {"repo": SITE, "number": 2, "path": "src"}, pull(2, computing=3)),
    Case(
        "create_pull",
        {
            "repo": SITE,
            "head": "release",
            "base": "old",
            "title": "T",
            "body": "B",
            "draft": True,
            "reviewers": ["bob", "acme/web"],
        },
    ),
    Case("create_pull", {"repo": SITE, "head": "deutsch", "base": "old", "title": "T"}, lose(PULLS)),
    Case("create_pull", {"repo": SITE, "head": "feature/polite", "title": "T"}),
    Case("create_pull", {"repo": SITE, "head": "feature/polite", "base": "old", "title": "T", "issue": 1}),
    Case(
        "update_pull",
        {
            "repo": SITE,
            "number": 3,
            "title": "T",
            "body": "B",
            "state": "open",
            "base": "main",
            "draft": True,
            "add_reviewers": ["bob", "acme/web"],
            "remove_reviewers": ["alice", "acme/docs"],
        },
        pull(3, reviewers=["alice"], teams=["docs"]),
    ),
    Case("update_pull", {"repo": SITE, "number": 2, "body": "more", "append": True, "update_branch": True}),
    Case("update_pull", {"repo": SITE, "number": 2, "draft": False}, pull(2, draft=True)),
    Case("review_pull", {"repo": SITE, "number": 2, "event": "APPROVE"}),
    Case("review_pull", {"repo": SITE, "number": 2, "event": "APPROVE"}, lose(PULLS)),
    Case(
        "review_pull",
        {
            "repo": SITE,
            "number": 2,
            "event": "REQUEST_CHANGES",
            "body": "B",
            "head_sha": HEAD,
            "comments": [
                {"path": "src/main.py", "body": "line", "line": 2},
                {"path": "src/main.py", "body": "lines", "line": 3, "start_line": 2},
                {"path": "src/main.py", "body": "file"},
            ],
        },
    ),
    Case(
        "review_pull",
        {"repo": SITE, "number": 2, "comments": [{"path": "src/main.py", "body": "file"}]},
        lose(f"{PULLS}/2/comments"),
    ),
    Case("resolve_thread", {"thread_id": "PRRT_thread0001"}),
    Case("resolve_thread", {"thread_id": "PRRT_thread0001", "resolved": False}, settled),
    Case(
        "merge_pull", {"repo": SITE, "number": 2, "head_sha": HEAD, "title": "T", "message": "M", "delete_branch": True}
    ),
    Case("merge_pull", {"repo": SITE, "number": 2, "head_sha": HEAD, "method": "rebase"}, lose(f"{PULLS}/2/merge")),
    Case("merge_pull", {"repo": SITE, "number": 2, "head_sha": HEAD, "when_ready": True, "title": "T", "message": "M"}),
    Case("get_checks", {"repo": SITE, "pull": 2, "annotations": True}),
    Case("get_checks", {"repo": SITE, "ref": "feature/polite", "failed_only": True}),
    Case("get_checks", IN),
    Case("get_checks", {"repo": SITE, "check_id": 9201}),
    Case(
        "list_runs",
        {
            "repo": SITE,
            "workflow": "CI",
            "branch": "feature/polite",
            "status": "failure",
            "event": "push",
            "actor": "bob",
            "head_sha": HEAD,
            "after": "-90d",
        },
    ),
    Case("list_runs", IN),
    Case("get_run", {"repo": SITE, "run_id": 9001, "include": ["jobs", "logs", "artifacts"]}),
    Case("get_run", {"repo": SITE, "run_id": 9001, "job_id": 9101, "offset": 0}),
    Case("get_artifact", {"repo": SITE, "artifact_id": 9002}),
    Case("run_workflow", {"repo": SITE, "workflow": "Deploy", "inputs": {"to": "prod"}}),
    Case("run_workflow", {"repo": SITE, "workflow": "ci.yml", "ref": "main"}, lose(f"/repos/{SITE}/actions/")),
    *(Case("control_run", {"repo": SITE, "run_id": 9001, "action": action}) for action in ("rerun", "rerun_failed")),
    Case("control_run", {"repo": SITE, "run_id": 9001, "action": "rerun", "debug": True}),
    *(
        Case("control_run", {"repo": SITE, "run_id": 9001, "action": action}, running)
        for action in ("cancel", "force_cancel")
    ),
    Case("list_releases", IN),
    Case("list_releases", {"repo": SITE, "tag": "v1.0"}),
    Case("list_releases", {"repo": SITE, "tag": "latest"}),
    Case("list_releases", {"repo": SITE, "tag": "v1.0", "raw": True}),
    Case(
        "save_release",
        {"repo": SITE, "tag": "v2.0", "name": "N", "body": "B", "target": "main", "generate_notes": True},
    ),
    Case("save_release", {"repo": SITE, "tag": "v1.0", "name": "N", "draft": False}),
    Case("save_release", {"repo": SITE, "tag": "v3.0", "draft": False}, lose(f"/repos/{SITE}/releases")),
    Case("list_notifications", {"all": True, "participating": True, "after": "-90d"}),
    Case("list_notifications", IN),
    *(
        Case("update_notifications", {"thread_ids": ["3001"], "action": action})
        for action in ("read", "done", "mute", "subscribe")
    ),
    Case("update_notifications", {"action": "read", "before": "now"}),
    Case("set_star", IN),
    Case("set_star", {"repo": GARDEN, "starred": False}, starred),
    Case("create_repo", {"name": "fresh", "description": "D"}),
    Case("create_repo", {"name": "fresh", "org": "acme", "private": False}),
    Case("create_repo", {"name": "copy", "source": SITE, "source_kind": "template"}),
    Case("create_repo", {"name": "website", "source": SITE}),
    Case("create_repo", {"name": "lost"}, lose("/user/repos")),
    Case("list_gists", {}),
    Case("list_gists", {"owner": "bob"}),
    Case("list_gists", {"gist_id": "a" * 20}),
    Case("list_gists", {"gist_id": "a" * 20, "file": "notes.md", "raw": True}),
    Case("save_gist", {"files": {"a.txt": "A"}, "description": "D"}),
    Case("save_gist", {"files": {"a.txt": "A"}}, lose("/gists")),
    Case("save_gist", {"gist_id": "a" * 20, "files": {"notes.md": "", "b.txt": "B"}}),
    Case("list_discussions", IN),
    Case("list_discussions", {"repo": SITE, "category": "Q&A", "answered": False, "state": "all"}),
    Case("list_discussions", {"repo": SITE, "query": "hello", "answered": False}),
    Case("list_discussions", {"repo": SITE, "number": 50}),
    Case("list_discussions", {"repo": SITE, "number": 50, "raw": True}),
    Case("list_discussions", {"repo": SITE, "comment_id": "DC_comment01"}),
    Case("list_discussions", {"repo": SITE, "comment_id": "DC_comment01", "raw": True}),
    Case("write_discussion", {"repo": SITE, "category": "General", "title": "T", "body": "B"}),
    Case("write_discussion", {"repo": SITE, "category": "General", "title": "T", "body": "B"}, lose("/graphql", 1)),
    Case("write_discussion", {"repo": SITE, "number": 50, "body": "B", "reply_to": "DC_comment01"}),
    Case("write_discussion", {"repo": SITE, "answer_id": "DC_comment01"}),
    Case("list_projects", {"owner": "acme", "project": "Roadmap", "query": "road"}),
    Case("list_projects", {"owner": "alice", "project": "1"}),
    Case(
        "list_project_items",
        {"owner": "acme", "project": "Roadmap", "query": "greeting", "fields": ["Status", "points"]},
    ),
    Case("list_project_items", {"owner": "alice", "project": "1"}),
    Case("list_project_items", {"owner": "alice", "project": "1", "item_id": 601}, planned),
    Case("list_project_items", {"owner": "acme", "project": "1", "item_id": 501, "fields": ["Status"]}),
    Case(
        "update_project_item",
        {"owner": "acme", "project": "1", "item": f"{SITE}#2", "set": {"Status": "done", "Points": "5"}},
    ),
    Case("update_project_item", {"owner": "acme", "project": "1", "item": "501", "remove": True}),
    Case("update_project_item", {"owner": "alice", "project": "1", "item": f"{SITE}#1", "set": {"Status": ""}}),
    Case("update_project_item", {"owner": "alice", "project": "1", "item": f"{SITE}#1", "remove": True}),
    *(Case("list_alerts", {"repo": SITE, "kind": kind}) for kind in ("code_scanning", "dependabot", "secret_scanning")),
    Case("list_alerts", {"repo": SITE, "kind": "dependabot", "severity": "medium", "state": "open"}),
    Case("delete", {"kind": "branch", "repo": SITE, "id": "feature/polite"}),
    Case("delete", {"kind": "tag", "repo": SITE, "id": "v1.0"}),
    Case("delete", {"kind": "comment", "repo": SITE, "id": "6002"}),
    Case("delete", {"kind": "review_comment", "repo": SITE, "id": "6101"}),
    Case("delete", {"kind": "label", "repo": SITE, "id": "help wanted"}),
    Case("delete", {"kind": "label", "repo": SITE, "id": "area/ui"}),
    Case("delete", {"kind": "milestone", "repo": SITE, "id": "Spring"}),
    Case("delete", {"kind": "release", "repo": SITE, "id": "5001"}),
    Case("delete", {"kind": "gist", "id": "a" * 20}),
]
IDS: Final = [f"{n}-{case.tool}" for n, case in enumerate(CASES)]
