"""The repositories' seeded code, pull requests, runs and other records except issues."""

from __future__ import annotations

from typing import Any

from deputize.sandbox.github.git import commit, packed

Json = dict[str, Any]

README = (
    "# Website\n\nThe pages of acme. ![logo](https://acme.example.test/logo.png)\n<!-- say nothing of the moles -->\n"
)
MAIN = 'def greet(name: str) -> str:\n    """Say hello."""\n    return f"Hello {name}"\n'
CHANGED = 'def greet(name: str) -> str:\n    """Say hello, politely."""\n    return f"Good day, {name}"\n'
LOG = "\n".join(
    [
        "2026-11-24T12:00:01.0000000Z ##[group]Run pytest",
        "2026-11-24T12:00:02.0000000Z \x1b[36mcollected 2 items\x1b[0m",
        "2026-11-24T12:00:03.0000000Z test_greet FAILED",
        "2026-11-24T12:00:04.0000000Z ##[error]Process completed with exit code 1.",
    ]
)
WORKFLOW = "name: CI\non: [push, workflow_dispatch]\njobs: {}\n"
WEBSITE = "acme/website"


def seed_code(store: Json, stamps: list[str]) -> None:
    """Add files and commits to all repositories, branches and a pull request to one. ``stamps``: oldest first."""
    for name, repo in store["repos"].items():
        history: Json = {}
        store["commits"][name] = history
        tree = {"README.md": packed(f"# {name.partition('/')[2].title()}\n")}
        first = commit(history, tree, [], "Initial commit", repo["members"][0], stamps[0])
        repo["branches"] = {"main": first}
    _website(store, store["repos"][WEBSITE], store["commits"][WEBSITE], stamps)


def _website(store: Json, repo: Json, history: Json, stamps: list[str]) -> None:
    first = repo["branches"]["main"]
    tree = {
        "README.md": packed(README),
        "src/main.py": packed(MAIN),
        "docs/guide.md": packed("One\nTwo\nThree\n"),
        "logo.png": packed(b"\x89PNG\r\n\x1a\n\x00\x00binary"),
        ".github/workflows/ci.yml": packed(WORKFLOW),
    }
    second = commit(history, tree, [first], "Add the greeting\n\nIt says hello.", "alice", stamps[1])
    feature = commit(history, tree | {"src/main.py": packed(CHANGED)}, [second], "Be polite", "bob", stamps[2])
    third = commit(
        history, tree | {"docs/guide.md": packed("One\nTwo\nThree\nFour\n")}, [second], "Count on", "alice", stamps[2]
    )
    clash = commit(history, tree | {"docs/guide.md": packed("Ein\n")}, [second], "Auf Deutsch", "bob", stamps[2])
    repo["branches"] = {"main": third, "feature/polite": feature, "old": first, "deutsch": clash, "release": second}
    repo["tags"] = {"v1.0": second}
    repo["protected"] = ["release"]
    _pulls(store, repo, stamps)
    _actions(store, feature, stamps)
    store["releases"][WEBSITE] = [_release(5001, "v1.0", "First", "It works.", stamps[1])]
    store["activity"][WEBSITE] = [
        {"id": 7001, "before": first, "after": second, "ref": "refs/heads/main", "activity_type": "push"}
        | {"actor": "alice", "timestamp": stamps[1]},
        {"id": 7002, "before": second, "after": feature, "ref": "refs/heads/feature/polite"}
        | {"activity_type": "branch_creation", "actor": "bob", "timestamp": stamps[2]},
    ]


def _release(id: int, tag: str, name: str, body: str, at: str) -> Json:
    asset = {"id": id + 500, "name": "site.zip", "size": 1234, "download_count": 7}
    return {"id": id, "tag": tag, "name": name, "body": body, "draft": False, "prerelease": False, "at": at} | {
        "assets": [asset],
        "author": "alice",
        "target": "main",
    }


def _pulls(store: Json, repo: Json, stamps: list[str]) -> None:
    rows = [
        (1, "issue", "alice", "The greeting is rude", "It should be polite.", "", ""),
        (2, "pull", "bob", "Be polite", "Closes #1. <!-- deploy at night -->", "feature/polite", "main"),
        (3, "pull", "alice", "Auf Deutsch", "", "deutsch", "main"),
    ]
    for number, kind, author, title, body, head, base in rows:
        row = issue(number, f"{author}@example.test", title, body, stamps[2])
        if kind == "pull":
            row["pull"] = {"head": head, "base": base, "head_repo": repo["full_name"], "draft": False}
            row["pull"] |= {"merged_at": None, "sha": None, "reviewers": [], "teams": [], "auto_merge": False}
        store["issues"][repo["full_name"]].append(row)
    store["issues"][repo["full_name"]][1]["pull"]["reviewers"] = ["alice"]
    store["issues"][repo["full_name"]][0]["labels"] = ["bug"]
    name = repo["full_name"]
    store["comments"][name] = [
        {"id": 6001, "number": 1, "user": "bob", "body": "I am on it. ![cat](https://x.test/cat.png)", "at": stamps[2]},
        {"id": 6002, "number": 1, "user": "alice", "body": "Thank you!", "at": stamps[3]},
    ]
    store["review_comments"][name] = [
        {"id": 6101, "number": 2, "user": "alice", "body": "Why politely?", "path": "src/main.py", "line": 2}
        | {"side": "RIGHT", "reply_to": None, "thread": "PRRT_thread0001", "at": stamps[3]}
    ]
    store["threads"]["PRRT_thread0001"] = {"repo": name, "resolved": False}
    store["reviews"][name] = [
        {
            "id": 6201,
            "number": 2,
            "user": "alice",
            "state": "COMMENTED",
            "body": "Nearly there.",
            "sha": "",
            "at": stamps[3],
        }
    ]


def issue(number: int, email: str, title: str, body: str | None, at: str, state: str = "open") -> Json:
    """Return an issue as stored."""
    return {
        "number": number,
        "user": email,
        "title": title,
        "body": body or None,
        "state": state,
        "reason": None,
        "labels": [],
        "assignees": [],
        "milestone": None,
        "locked": False,
        "type": None,
        "parent": None,
        "events": [],
        "pull": None,
        "created_at": at,
        "updated_at": at,
        "closed_at": at if state == "closed" else None,
    }


def _actions(store: Json, sha: str, stamps: list[str]) -> None:
    store["workflows"][WEBSITE] = [
        {"id": 801, "name": "CI", "path": ".github/workflows/ci.yml", "state": "active"},
        {"id": 802, "name": "Deploy", "path": ".github/workflows/deploy.yml", "state": "active"},
    ]
    job = {"id": 9101, "name": "test", "conclusion": "failure", "log": LOG}
    store["runs"][WEBSITE] = [run(9001, 801, "CI", "feature/polite", sha, "push", "bob", stamps[2], "failure", [job])]
    store["checks"][WEBSITE] = [
        {"id": 9201, "sha": sha, "name": "test", "conclusion": "failure", "run": 9001, "job": 9101}
        | {"annotations": [{"path": "src/main.py", "start_line": 3, "end_line": 3, "message": "Hello expected"}]},
        {"id": 9202, "sha": sha, "name": "lint", "conclusion": "success", "run": 9001, "job": 9102, "annotations": []},
    ]
    store["statuses"][WEBSITE] = [
        {"sha": sha, "context": "deploy/preview", "state": "pending", "description": "Waiting"}
    ]


def run(
    id: int,
    workflow: int,
    name: str,
    branch: str,
    sha: str,
    event: str,
    actor: str,
    at: str,
    result: str,
    jobs: list[Json],
) -> Json:
    """Return a workflow run as stored."""
    row: Json = {
        "id": id,
        "workflow": workflow,
        "name": name,
        "branch": branch,
        "sha": sha,
        "event": event,
        "jobs": jobs,
    }
    status = "completed" if result else "queued"
    return row | {"actor": actor, "at": at, "status": status, "conclusion": result or None, "attempt": 1}


def seed_surroundings(store: Json, stamps: list[str]) -> None:
    """Add organizations, notifications, gists, projects, discussions and alerts."""
    store["orgs"] = {"acme": {"id": 4001, "members": {"alice": "admin", "bob": "member"}, "teams": ["docs", "web"]}}
    store["notifications"] = [
        {
            "id": "3001",
            "user": "alice",
            "repo": WEBSITE,
            "reason": "review_requested",
            "type": "PullRequest",
            "number": 2,
        }
        | {"title": "Be polite", "unread": True, "at": stamps[3]},
        {"id": "3002", "user": "alice", "repo": "alice/garden", "reason": "author", "type": "Issue", "number": 2}
        | {"title": "Label the seed boxes", "unread": False, "at": stamps[2]},
        {"id": "3003", "user": "bob", "repo": "bob/diary", "reason": "author", "type": "Issue", "number": 1}
        | {"title": "For Bob alone", "unread": True, "at": stamps[2]},
    ]
    store["gists"] = {
        "a" * 20: _gist("alice", "Notes", False, {"notes.md": "Water the beds."}, stamps[2]),
        "b" * 20: _gist("bob", "Recipe", True, {"soup.txt": "Salt."}, stamps[2]),
        "c" * 20: _gist("bob", "For Bob alone", False, {"secret.txt": "under the fern"}, stamps[2]),
    }
    fields: list[Json] = [
        {"id": 101, "name": "Title", "data_type": "title"},
        {"id": 102, "name": "Status", "data_type": "single_select", "options": {"o1": "Todo", "o2": "Done"}},
        {"id": 103, "name": "Points", "data_type": "number"},
        {"id": 104, "name": "Notes", "data_type": "text"},
    ]
    item = {"id": 501, "repo": WEBSITE, "number": 1, "values": {"102": "o1", "103": 3}}
    plan = {
        "id": 2001,
        "owner": "acme",
        "number": 1,
        "title": "Roadmap",
        "state": "open",
        "fields": fields,
        "items": [item],
    }
    mine = {
        "id": 2002,
        "owner": "alice",
        "number": 1,
        "title": "Garden plan",
        "state": "open",
        "fields": fields,
        "items": [],
    }
    store["projects"] = [plan, mine]
    store["categories"] = [{"id": "DIC_general1", "name": "General", "slug": "general", "isAnswerable": False}]
    store["categories"].append({"id": "DIC_question", "name": "Q&A", "slug": "q-a", "isAnswerable": True})
    store["discussions"][WEBSITE] = [
        {"id": "D_discuss01", "number": 50, "title": "How do I say hello?", "body": "Is there a way?", "user": "bob"}
        | {"category": "DIC_question", "at": stamps[2], "closed": False, "answer": None}
        | {"comments": [{"id": "DC_comment01", "user": "alice", "body": "Call greet.", "at": stamps[3], "replies": []}]}
    ]
    store["alerts"][WEBSITE] = {
        "code-scanning": [{"number": 1, "rule": "SQL injection", "severity": "high", "path": "src/main.py", "line": 3}],
        "dependabot": [{"number": 2, "package": "left-pad", "severity": "medium", "summary": "Pads the wrong side"}],
        "secret-scanning": [{"number": 3, "type": "Example key", "secret": "sandbox-leaked-value"}],
    }


def _gist(owner: str, description: str, public: bool, files: dict[str, str], at: str) -> Json:
    return {"owner": owner, "description": description, "public": public, "files": files, "at": at, "updated": at}
