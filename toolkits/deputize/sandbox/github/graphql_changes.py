"""GraphQL: changes of pull requests, commits and labels."""

from __future__ import annotations

from collections.abc import Callable

from deputize.sandbox.github import git
from deputize.sandbox.github.api_code import load_history
from deputize.sandbox.github.api_labels import change_label, drop_label
from deputize.sandbox.github.api_pulls import head_sha
from deputize.sandbox.github.call import Call, Json
from deputize.sandbox.github.graphql_nodes import Failed, find_repo


def resolve_thread(resolved: bool) -> Callable[..., Json]:
    """Return the mutation that resolves or reopens a review thread."""

    def act(call: Call, input: Json) -> Json:
        thread = call.store["threads"].get(input["threadId"])
        if thread is None:
            raise Failed("NOT_FOUND", "Could not resolve to a node.")
        find_repo(call, thread["repo"], write=True)
        thread["resolved"] = resolved
        return {"thread": {"id": input["threadId"], "isResolved": resolved}}

    return act


def _find_pull(call: Call, id: str) -> tuple[Json, Json]:
    for name, repo in call.store["repos"].items():
        for row in call.store["issues"][name]:
            if f"PR_{repo['id']}_{row['number']:06d}" == id or f"I_{repo['id']}_{row['number']:06d}" == id:
                return find_repo(call, name, write=True), row
    raise Failed("NOT_FOUND", "Could not resolve to a node.")


def set_draft(draft: bool) -> Callable[..., Json]:
    """Return the mutation that makes a pull request a draft, or ready for review."""

    def act(call: Call, input: Json) -> Json:
        _, row = _find_pull(call, input["pullRequestId"])
        row["pull"]["draft"] = draft
        return {"pullRequest": {"number": row["number"], "isDraft": draft}}

    return act


def auto_merge(call: Call, input: Json) -> Json:
    """Enable auto-merge. Refuse it if the pull request can be merged at once."""
    repo, row = _find_pull(call, input["pullRequestId"])
    if input.get("expectedHeadOid") not in (None, head_sha(repo, row)):
        raise Failed("UNPROCESSABLE", "Head sha didn't match expected sha")
    row["pull"]["auto_merge"] = True
    enabled = {"mergeMethod": input.get("mergeMethod"), "enabledAt": call.now}
    return {"pullRequest": {"number": row["number"], "autoMergeRequest": enabled}}


def create_commit(call: Call, input: Json) -> Json:
    """Create one signed commit. Refuse it if the branch has moved."""
    branch = input["branch"]
    repo = find_repo(call, branch["repositoryNameWithOwner"], write=True)
    if not call.pushes(repo):
        raise Failed("FORBIDDEN", "Resource not accessible")
    name, history = branch["branchName"], load_history(call, repo)
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


def remove_labels(call: Call, input: Json) -> Json:
    repo, row = _find_pull(call, input["labelableId"])
    names = {f"LA_{one['id']:08d}": one["name"] for one in repo["labels"]}
    gone = {names.get(id) for id in input["labelIds"]}
    row["labels"] = [one for one in row["labels"] if one not in gone]
    return {"clientMutationId": None}


def delete_label(call: Call, input: Json) -> Json:
    repo, row = _find_label(call, input["id"])
    drop_label(call, repo, row["name"])
    return {"clientMutationId": None}


def update_label(call: Call, input: Json) -> Json:
    repo, row = _find_label(call, input["id"])
    told = change_label(call, repo, row, input)
    return {"label": {"id": told["node_id"], "name": told["name"]}}


def _find_label(call: Call, id: str) -> tuple[Json, Json]:
    for repo in call.store["repos"].values():
        for one in repo["labels"]:
            if f"LA_{one['id']:08d}" == id and call.pushes(repo) and call.sees(repo):
                return find_repo(call, repo["full_name"], write=True), one
    raise Failed("NOT_FOUND", "Could not resolve to a node.")
