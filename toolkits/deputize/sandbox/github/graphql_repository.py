"""GraphQL: a repository with its branches, pull requests and discussions."""

from __future__ import annotations

from deputize.sandbox.github import shapes
from deputize.sandbox.github.api_code import load_history
from deputize.sandbox.github.api_pulls import head_sha, mergeable
from deputize.sandbox.github.call import Call, Json
from deputize.sandbox.github.graphql_discussions import comment_node, discussion, discussions
from deputize.sandbox.github.graphql_nodes import Failed, connection, find_repo, format_comment
from deputize.sandbox.github.issues import find_issue


def repository(call: Call, owner: str, name: str) -> Json:
    repo = find_repo(call, f"{owner}/{name}")
    return {
        "id": f"R_{repo['id']}",
        "nameWithOwner": repo["full_name"],
        "defaultBranchRef": {"name": repo["default_branch"]},
        "refs": lambda query=None, first=30, after=None, **_: _refs(call, repo, query, first, after),
        "pullRequest": lambda number: _pull(call, repo, number),
        "discussionCategories": lambda first: connection(call.store["categories"], first),
        "discussions": lambda first, after=None, **by: discussions(call, repo, first, after, by),
        "discussion": lambda number: discussion(call, repo, number),
    }


def node(call: Call, id: str) -> Json:
    """Return a review thread, or a comment in a discussion, by its id."""
    thread = call.store["threads"].get(id)
    if thread is None:
        return comment_node(call, id)
    repo = find_repo(call, thread["repo"])
    number = next(row["number"] for row in call.records("review_comments", repo) if row["thread"] == id)
    [found] = [one for one in _threads(call, repo, number) if one["id"] == id]
    shown = shapes.repository(repo)
    about = {"databaseId": repo["id"], "nameWithOwner": repo["full_name"], "visibility": shown["visibility"].upper()}
    owner = {"__typename": shown["owner"]["type"]}
    pull = {"number": number, "title": find_issue(call, repo, number)["title"]}
    return found | {"pullRequest": pull, "repository": about | {"owner": owner}}


def _refs(call: Call, repo: Json, query: str | None, first: int, after: str | None) -> Json:
    history = load_history(call, repo)
    rows = []
    for name, sha in repo["branches"].items():
        if query and query.lower() not in name.lower():
            continue
        row = history[sha]
        target = {"oid": sha, "committedDate": row["at"], "messageHeadline": row["message"].partition("\n")[0]}
        rows.append({"name": name, "target": target | {"author": {"user": {"login": row["author"]}}}})
    rows.sort(key=lambda one: str(one["target"]["committedDate"]), reverse=True)
    return connection(rows, first, after)


def _pull(call: Call, repo: Json, number: int) -> Json:
    row = find_issue(call, repo, number)
    if not row["pull"]:
        raise Failed("NOT_FOUND", "Could not resolve to a PullRequest.")
    states = [one["state"] for one in call.records("reviews", repo) if one["number"] == number]
    decisions = [one for one in states if one in ("APPROVED", "CHANGES_REQUESTED")]
    fine = mergeable(call, repo, row)
    return {
        "id": f"PR_{repo['id']}_{number:06d}",
        "number": number,
        "isDraft": row["pull"]["draft"],
        "mergeable": "UNKNOWN" if fine is None else "MERGEABLE" if fine else "CONFLICTING",
        "mergeStateStatus": "DRAFT"
        if row["pull"]["draft"]
        else "UNKNOWN"
        if fine is None
        else "CLEAN"
        if fine
        else "DIRTY",
        "reviewDecision": decisions[-1] if decisions else None,
        "isInMergeQueue": False,
        "headRefOid": head_sha(repo, row),
        "autoMergeRequest": {"mergeMethod": "SQUASH", "enabledAt": call.now} if row["pull"]["auto_merge"] else None,
        "reviewThreads": lambda first, after=None: connection(_threads(call, repo, number), first, after),
    }


def _threads(call: Call, repo: Json, number: int) -> list[Json]:
    by_thread: dict[str, list[Json]] = {}
    for row in call.records("review_comments", repo):
        if row["number"] == number:
            by_thread.setdefault(row["thread"], []).append(row)
    return [
        {
            "id": id,
            "isResolved": call.store["threads"][id]["resolved"],
            "isOutdated": False,
            "path": rows[0]["path"],
            "line": rows[0]["line"],
            "comments": lambda first, after=None, rows=rows: connection(
                [_line_comment(call, repo, one) for one in rows], first, after
            ),
        }
        for id, rows in by_thread.items()
    ]


def _line_comment(call: Call, repo: Json, row: Json) -> Json:
    return format_comment(repo, row) | {
        "fullDatabaseId": str(row["id"]),
        "url": f"https://github.com/{repo['full_name']}/pull/{row['number']}#discussion_r{row['id']}",
    }
