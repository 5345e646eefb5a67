"""api.github.com/graphql: what the tools ask for beside REST. Answers hold what was selected, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from deputize.sandbox.github import git
from deputize.sandbox.github.api_code import history_of
from deputize.sandbox.github.api_issues import association, row_of
from deputize.sandbox.github.api_pulls import head_of, mergeable
from deputize.sandbox.github.api_repos import drop_label
from deputize.sandbox.github.call import Call, Json
from deputize.sandbox.http_types import Refused, Reply
from deputize.sandbox.linear.graphql import Field, Unreadable, read


class Failed(Exception):
    """One field cannot be answered: GitHub's type of error, and its words."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def answer(call: Call) -> Reply:
    """200 whatever happens, with the errors beside the data."""
    sent = call.body()
    try:
        kind, fields = read(str(sent.get("query", "")), sent.get("variables") or {})
    except Unreadable as wrong:
        return call.reply({"errors": [{"message": str(wrong)}]})
    data: Json = {}
    errors: list[Json] = []
    for field in fields:
        try:
            data[field.alias] = chosen(ROOTS[field.name](call, **field.arguments), field.fields)
        except KeyError:
            message = f"Field '{field.name}' doesn't exist"
            return call.reply({"errors": [{"message": message, "extensions": {"code": "undefinedField"}}]})
        except Failed as failed:
            data[field.alias] = None
            errors.append({"type": failed.kind, "path": [field.alias], "message": str(failed)})
        except Refused:
            data[field.alias] = None
            errors.append({"type": "NOT_FOUND", "path": [field.alias], "message": "Could not resolve to a node."})
    reply = call.reply({"data": data} | ({"errors": errors} if errors else {}))
    return replace(reply, changes=kind == "mutation")


def chosen(value: Any, fields: list[Field]) -> Any:
    """What was selected of a value."""
    if not fields or value is None:
        return value
    if isinstance(value, list):
        return [chosen(one, fields) for one in value]
    told: Json = {}
    for field in fields:
        part = value[field.name]
        told[field.alias] = chosen(part(**field.arguments) if callable(part) else part, field.fields)
    return told


def connection(rows: list[Any], first: int = 30, after: str | None = None, **more: Any) -> Json:
    """A page of nodes; a cursor is the number of those before."""
    start = int(after) if after and after.isdecimal() else 0
    shown = rows[start : start + first]
    end = start + len(shown)
    info = {"hasNextPage": end < len(rows), "endCursor": str(end) if shown else None}
    return {"nodes": shown, "pageInfo": info, "totalCount": len(rows), **more}


# ----------------------------------------------------------------- repositories


def _repo(call: Call, name: str, *, write: bool = False) -> Json:
    repo = call.repo(name)
    scopes = {"repo"} if repo and repo["private"] else {"public_repo", "repo"}
    if repo is None or not call.sees(repo):
        raise Failed("NOT_FOUND", f"Could not resolve to a Repository with the name '{name}'.")
    if write and not call.permissions and not call.closed & scopes:
        message = "Your token has not been granted the required scopes to execute this query. "
        raise Failed("INSUFFICIENT_SCOPES", f"{message}requires one of the following scopes: ['public_repo'].")
    return repo


def repository(call: Call, owner: str, name: str) -> Json:
    """A repository with its branches, a pull request, and discussions."""
    repo = _repo(call, f"{owner}/{name}")
    return {
        "id": f"R_{repo['id']}",
        "nameWithOwner": repo["full_name"],
        "defaultBranchRef": {"name": repo["default_branch"]},
        "refs": lambda query=None, first=30, after=None, **_: _refs(call, repo, query, first, after),
        "pullRequest": lambda number: _pull(call, repo, number),
        "discussionCategories": lambda first: connection(call.store["categories"], first),
        "discussions": lambda first, after=None, **by: _discussions(call, repo, first, after, by),
        "discussion": lambda number: _discussion(call, repo, number),
    }


def _refs(call: Call, repo: Json, query: str | None, first: int, after: str | None) -> Json:
    history = history_of(call, repo)
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
    row = row_of(call, repo, number)
    if not row["pull"]:
        raise Failed("NOT_FOUND", "Could not resolve to a PullRequest.")
    states = [one["state"] for one in call.kept("reviews", repo) if one["number"] == number]
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
        "headRefOid": head_of(repo, row),
        "autoMergeRequest": {"mergeMethod": "SQUASH", "enabledAt": call.now} if row["pull"]["auto_merge"] else None,
        "reviewThreads": lambda first, after=None: connection(_threads(call, repo, number), first, after),
    }


def _threads(call: Call, repo: Json, number: int) -> list[Json]:
    by_thread: dict[str, list[Json]] = {}
    for row in call.kept("review_comments", repo):
        if row["number"] == number:
            by_thread.setdefault(row["thread"], []).append(row)
    return [
        {
            "id": id,
            "isResolved": call.store["threads"][id]["resolved"],
            "isOutdated": False,
            "path": rows[0]["path"],
            "line": rows[0]["line"],
            "comments": lambda first, rows=rows: connection([_line_comment(call, repo, one) for one in rows], first),
        }
        for id, rows in by_thread.items()
    ]


def _line_comment(call: Call, repo: Json, row: Json) -> Json:
    return _said(repo, row) | {
        "fullDatabaseId": str(row["id"]),
        "url": f"https://github.com/{repo['full_name']}/pull/{row['number']}#discussion_r{row['id']}",
    }


def _said(repo: Json, row: Json) -> Json:
    """Who said what, when."""
    told = {"id": row["id"], "body": row["body"], "createdAt": row["at"], "author": {"login": row["user"]}}
    return told | {"authorAssociation": association(repo, f"{row['user']}@example.test")}


# ----------------------------------------------------------------- discussions


def _discussions(call: Call, repo: Json, first: int, after: str | None, by: Mapping[str, Any]) -> Json:
    rows = [
        _brief(call, repo, row)
        for row in reversed(call.kept("discussions", repo))
        if by.get("categoryId") in (None, row["category"])
        and (not by.get("states") or ("CLOSED" if row["closed"] else "OPEN") in by["states"])
        and by.get("answered") in (None, bool(row["answer"]))
    ]
    return connection(rows, first, after)


def _brief(call: Call, repo: Json, row: Json) -> Json:
    category = next(one for one in call.store["categories"] if one["id"] == row["category"])
    return _said(repo, row) | {
        "number": row["number"],
        "title": row["title"],
        "url": f"https://github.com/{repo['full_name']}/discussions/{row['number']}",
        "updatedAt": row["at"],
        "isAnswered": bool(row["answer"]),
        "closed": row["closed"],
        "category": {"name": category["name"]},
        "answer": {"id": row["answer"]} if row["answer"] else None,
        "repository": {"nameWithOwner": repo["full_name"]},
        "comments": lambda first=30, after=None: connection(
            [_comment(repo, row, one) for one in row["comments"]], first, after
        ),
    }


def _discussion(call: Call, repo: Json, number: int) -> Json:
    row = next((one for one in call.kept("discussions", repo) if one["number"] == number), None)
    if row is None:
        raise Failed("NOT_FOUND", f"Could not resolve to a Discussion with the number of {number}.")
    return _brief(call, repo, row)


def _comment(repo: Json, discussion: Json, row: Json) -> Json:
    where = f"https://github.com/{repo['full_name']}/discussions/{discussion['number']}#{row['id']}"
    return _said(repo, row) | {
        "url": where,
        "isAnswer": discussion["answer"] == row["id"],
        "replies": lambda first: connection([_said(repo, one) for one in row["replies"]], first),
    }


def search(call: Call, query: str, first: int = 30, after: str | None = None, **_: Any) -> Json:
    """Discussions by their words, in one repository."""
    words = [one.lower() for one in query.split() if ":" not in one]
    places = [one.removeprefix("repo:") for one in query.split() if one.startswith("repo:")]
    rows = [
        _brief(call, repo, row)
        for repo in call.store["repos"].values()
        if call.sees(repo) and (not places or repo["full_name"] in places)
        for row in call.kept("discussions", repo)
        if all(word in f"{row['title']} {row['body']}".lower() for word in words)
    ]
    return connection(rows, first, after, discussionCount=len(rows))


def _find_discussion(call: Call, id: str) -> tuple[Json, Json]:
    for name, rows in call.store["discussions"].items():
        for row in rows:
            if row["id"] == id or any(one["id"] == id for one in row["comments"]):
                return _repo(call, name, write=True), row
    raise Failed("NOT_FOUND", "Could not resolve to a node.")


def node(call: Call, id: str) -> Json:
    """A comment or reply in a discussion, by its id."""
    for name, rows in call.store["discussions"].items():
        for row in rows:
            for one in [*row["comments"], *(reply for each in row["comments"] for reply in each["replies"])]:
                if one["id"] == id:
                    repo = _repo(call, name)
                    return _comment(repo, row, {"replies": [], **one}) | {"discussion": _brief(call, repo, row)}
    raise Failed("NOT_FOUND", "Could not resolve to a node.")


def create_discussion(call: Call, input: Json) -> Json:
    """A new one."""
    name = next((r["full_name"] for r in call.store["repos"].values() if f"R_{r['id']}" == input["repositoryId"]), "")
    repo = _repo(call, name, write=True)
    rows = call.kept("discussions", repo)
    row: Json = {
        "id": f"D_made{call.next_id()}",
        "number": 50 + len(rows),
        "title": input["title"],
        "body": input["body"],
    }
    row |= {
        "user": call.me,
        "category": input["categoryId"],
        "at": call.now,
        "closed": False,
        "answer": None,
        "comments": [],
    }
    rows.append(row)
    return {"discussion": _brief(call, repo, row)}


def add_comment(call: Call, input: Json) -> Json:
    """A comment, or a reply to one."""
    repo, row = _find_discussion(call, input["discussionId"])
    made: Json = {
        "id": f"DC_made{call.next_id()}",
        "user": call.me,
        "body": input["body"],
        "at": call.now,
        "replies": [],
    }
    to = next((one for one in row["comments"] if one["id"] == input.get("replyToId")), None)
    if input.get("replyToId") and to is None:
        raise Failed("NOT_FOUND", "Could not resolve to a node.")
    (to["replies"] if to else row["comments"]).append(made)
    return {"comment": _comment(repo, row, made)}


def mark_answer(call: Call, input: Json) -> Json:
    """The answer of its discussion."""
    repo, row = _find_discussion(call, input["id"])
    row["answer"] = input["id"]
    return {"discussion": _brief(call, repo, row)}


# ----------------------------------------------------------------- pull requests, commits, labels


def _resolved(resolved: bool) -> Callable[..., Json]:
    def act(call: Call, input: Json) -> Json:
        thread = call.store["threads"].get(input["threadId"])
        if thread is None:
            raise Failed("NOT_FOUND", "Could not resolve to a node.")
        _repo(call, thread["repo"], write=True)
        thread["resolved"] = resolved
        return {"thread": {"id": input["threadId"], "isResolved": resolved}}

    return act


def _find_pull(call: Call, id: str) -> tuple[Json, Json]:
    for name, repo in call.store["repos"].items():
        for row in call.store["issues"][name]:
            if f"PR_{repo['id']}_{row['number']:06d}" == id or f"I_{repo['id']}_{row['number']:06d}" == id:
                return _repo(call, name, write=True), row
    raise Failed("NOT_FOUND", "Could not resolve to a node.")


def _draft(draft: bool) -> Callable[..., Json]:
    def act(call: Call, input: Json) -> Json:
        _, row = _find_pull(call, input["pullRequestId"])
        row["pull"]["draft"] = draft
        return {"pullRequest": {"number": row["number"], "isDraft": draft}}

    return act


def auto_merge(call: Call, input: Json) -> Json:
    """Set; refused where nothing is in the way of merging at once."""
    repo, row = _find_pull(call, input["pullRequestId"])
    if input.get("expectedHeadOid") not in (None, head_of(repo, row)):
        raise Failed("UNPROCESSABLE", "Head sha didn't match expected sha")
    row["pull"]["auto_merge"] = True
    enabled = {"mergeMethod": input.get("mergeMethod"), "enabledAt": call.now}
    return {"pullRequest": {"number": row["number"], "autoMergeRequest": enabled}}


def create_commit(call: Call, input: Json) -> Json:
    """One signed commit; refused where the branch has moved."""
    branch = input["branch"]
    repo = _repo(call, branch["repositoryNameWithOwner"], write=True)
    if not call.pushes(repo):
        raise Failed("FORBIDDEN", "Resource not accessible")
    name, history = branch["branchName"], history_of(call, repo)
    head = repo["branches"].get(name)
    if head is None:
        raise Failed("NOT_FOUND", "Could not resolve to a Ref.")
    if head != input["expectedHeadOid"]:
        raise Failed("STALE_DATA", f"Expected branch to point to {input['expectedHeadOid']} but it did not.")
    tree = dict(history[head]["tree"])
    change = input["fileChanges"]
    for one in change.get("deletions", ()):
        if one["path"] not in tree:
            raise Failed("UNPROCESSABLE", "A path to delete does not exist")
        del tree[one["path"]]
    tree |= {one["path"]: one["contents"] for one in change.get("additions", ())}
    sha = git.commit(history, tree, [head], input["message"]["headline"], call.me, call.now)
    history[sha]["signed"] = True
    repo["branches"][name] = sha
    url = f"https://github.com/{repo['full_name']}/commit/{sha}"
    return {"commit": {"oid": sha, "url": url, "committedDate": call.now}, "ref": {"name": name}}


def unlabel(call: Call, input: Json) -> Json:
    """Take labels off."""
    repo, row = _find_pull(call, input["labelableId"])
    names = {f"LA_{one['id']:08d}": one["name"] for one in repo["labels"]}
    gone = {names.get(id) for id in input["labelIds"]}
    row["labels"] = [one for one in row["labels"] if one not in gone]
    return {"clientMutationId": None}


def delete_label(call: Call, input: Json) -> Json:
    """Take a label out of its repository."""
    for repo in call.store["repos"].values():
        for one in repo["labels"]:
            if f"LA_{one['id']:08d}" == input["id"] and call.pushes(repo) and call.sees(repo):
                drop_label(call, _repo(call, repo["full_name"], write=True), one["name"])
                return {"clientMutationId": None}
    raise Failed("NOT_FOUND", "Could not resolve to a node.")


ROOTS: dict[str, Callable[..., Json]] = {
    "repository": repository,
    "node": node,
    "search": search,
    "resolveReviewThread": _resolved(True),
    "unresolveReviewThread": _resolved(False),
    "markPullRequestReadyForReview": _draft(False),
    "convertPullRequestToDraft": _draft(True),
    "enablePullRequestAutoMerge": auto_merge,
    "createCommitOnBranch": create_commit,
    "createDiscussion": create_discussion,
    "addDiscussionComment": add_comment,
    "markDiscussionCommentAsAnswer": mark_answer,
    "removeLabelsFromLabelable": unlabel,
    "deleteLabel": delete_label,
}
