"""Pull requests: list, open, change, merge, files and commits."""

from __future__ import annotations

from deputize.sandbox.github import git
from deputize.sandbox.github.api_code import format_commit, load_history
from deputize.sandbox.github.call import Call, Json
from deputize.sandbox.github.issues import add_event, find_issue, format_issue, load_issues
from deputize.sandbox.github.routes import route
from deputize.sandbox.github.seed_code import issue as new_issue
from deputize.sandbox.github.shapes import repository
from deputize.sandbox.http_types import Refused, Reply

PULL = "R/pulls/{pull_number}"
READ, WRITE = "pull_requests:read", "pull_requests:write"


def find_pull(call: Call, repo: Json, number: str | int) -> Json:
    """Return a pull request's row. Raise 404 for an issue."""
    row = find_issue(call, repo, number)
    if not row["pull"]:
        raise call.not_found()
    return row


def head_sha(repo: Json, row: Json) -> str:
    """Return the newest commit of a pull request."""
    pull = row["pull"]
    return str(pull["head_sha"] if pull.get("head_sha") else repo["branches"].get(pull["head"], ""))


def base_sha(call: Call, repo: Json, row: Json) -> str:
    """Return the merge base of a pull request."""
    pull = row["pull"]
    if pull["merged_at"]:
        return str(pull["base_sha"])
    return git.merge_base(load_history(call, repo), repo["branches"][pull["base"]], head_sha(repo, row))


def format_pull(call: Call, repo: Json, row: Json, *, whole: bool = False) -> Json:
    """Return a pull request in GitHub's format; ``whole``: as a single reply, not in a list."""
    pull, owner = row["pull"], repo["full_name"].partition("/")[0]
    base = {"label": f"{owner}:{pull['base']}", "ref": pull["base"], "repo": repository(repo)}
    head = {"label": f"{owner}:{pull['head']}", "ref": pull["head"], "repo": repository(repo)}
    told = {name: value for name, value in format_issue(call, repo, row).items() if name in _SAME}
    told |= {
        "node_id": f"PR_{repo['id']}_{row['number']:06d}",
        "draft": pull["draft"],
        "merged_at": pull["merged_at"],
        "merge_commit_sha": pull["sha"],
        "requested_reviewers": [one for name in pull["reviewers"] if (one := call.user(name))],
        "requested_teams": [{"slug": slug, "name": slug} for slug in pull["teams"]],
        "base": base | {"sha": repo["branches"].get(pull["base"], "")},
        "head": head | {"sha": head_sha(repo, row)},
        "auto_merge": {"merge_method": "squash"} if pull["auto_merge"] else None,
    }
    if whole:
        files = changed_files(call, repo, row)
        told |= {"merged": bool(pull["merged_at"]), "mergeable": mergeable(call, repo, row), "comments": 0}
        told |= {"mergeable_state": _state(call, repo, row), "changed_files": len(files)}
        told |= {kind: sum(one[kind] for one in files) for kind in ("additions", "deletions")}
        told |= {"commits": len(own_commits(call, repo, row))}
    return told


_SAME = {
    *("id", "url", "html_url", "number", "state", "title", "body", "user", "labels", "assignees", "milestone"),
    *("locked", "author_association", "created_at", "updated_at", "closed_at"),
}


def changed_files(call: Call, repo: Json, row: Json) -> list[Json]:
    """Return the changed files."""
    history = load_history(call, repo)
    base, head = base_sha(call, repo, row), head_sha(repo, row)
    return git.changes(history[base]["tree"], history[head]["tree"]) if base and head else []


def own_commits(call: Call, repo: Json, row: Json) -> list[str]:
    """Return the commits of a pull request, newest first."""
    history, base, head = load_history(call, repo), base_sha(call, repo, row), head_sha(repo, row)
    before = set(git.ancestors(history, base)) if base else set[str]()
    return [sha for sha in git.ancestors(history, head) if sha not in before] if head else []


def mergeable(call: Call, repo: Json, row: Json) -> bool | None:
    """Return True if nothing conflicts; None if the pull request is closed or the answer is still computed."""
    if row["state"] != "open":
        return None
    if row["pull"].get("computing", 0) > 0:
        row["pull"]["computing"] -= 1
        return None
    head = head_sha(repo, row)
    return bool(head) and git.merge(load_history(call, repo), repo["branches"][row["pull"]["base"]], head) is not None


def _state(call: Call, repo: Json, row: Json) -> str:
    return "draft" if row["pull"]["draft"] else "clean" if mergeable(call, repo, row) else "dirty"


@route("GET", "R/pulls", READ)
def pulls(call: Call, repo: Json) -> Reply:
    ask, owner = call.ask, repo["full_name"].partition("/")[0]
    state, base, head = (
        ask.one("state", "open"),
        ask.one("base"),
        ask.one("head").removeprefix(f"{owner}:"),
    )
    found = [
        row
        for row in reversed(load_issues(call, repo))
        if row["pull"]
        and state in ("all", row["state"])
        and base in ("", row["pull"]["base"])
        and head in ("", row["pull"]["head"])
    ]
    return call.page([format_pull(call, repo, row) for row in found])


@route("POST", "R/pulls", WRITE)
def create(call: Call, repo: Json) -> Reply:
    """Return 201. Raise 422 for an open pull request of the same branches, a missing branch, or no difference."""
    given = call.body()
    head, base = str(given.get("head", "")).rpartition(":")[2], given.get("base")
    for field, name in (("head", head), ("base", base)):
        if name not in repo["branches"]:
            raise call.invalid("PullRequest", field)
    same = [r for r in load_issues(call, repo) if r["pull"] and r["state"] == "open"]
    if any((r["pull"]["head"], r["pull"]["base"]) == (head, base) for r in same):
        owner = repo["full_name"].partition("/")[0]
        message = f"A pull request already exists for {owner}:{head}."
        raise call.invalid("PullRequest", "", "custom", message)
    history = load_history(call, repo)
    if repo["branches"][head] in set(git.ancestors(history, repo["branches"][base])):
        raise call.invalid("PullRequest", "", "custom", f"No commits between {base} and {head}")
    row = _new_pull(call, repo, given)
    row["pull"] = {"head": head, "base": base, "head_repo": repo["full_name"], "draft": bool(given.get("draft"))}
    row["pull"] |= {"merged_at": None, "sha": None, "reviewers": [], "teams": [], "auto_merge": False}
    return call.reply(format_pull(call, repo, row, whole=True), 201, ("public_repo", "repo"))


def _new_pull(call: Call, repo: Json, given: Json) -> Json:
    """Return the issue that becomes a pull request, or a new one."""
    if given.get("issue"):
        return find_issue(call, repo, given["issue"])
    if not str(given.get("title") or "").strip():
        raise call.invalid("PullRequest", "title", "missing_field")
    rows = load_issues(call, repo)
    row = new_issue(len(rows) + 1, call.person.email, given["title"], given.get("body"), call.now)
    rows.append(row)
    return row


@route("GET", PULL, READ)
def pull(call: Call, repo: Json, pull_number: str) -> Reply:
    return call.reply(format_pull(call, repo, find_pull(call, repo, pull_number), whole=True))


@route("PATCH", PULL, WRITE)
def change(call: Call, repo: Json, pull_number: str) -> Reply:
    row, given = find_pull(call, repo, pull_number), call.body()
    if given.get("base") and given["base"] not in repo["branches"]:
        raise call.invalid("PullRequest", "base")
    row |= {name: given[name] for name in ("title", "body") if name in given}
    row["pull"]["base"] = given.get("base") or row["pull"]["base"]
    if given.get("state") in ("open", "closed"):
        row["state"] = given["state"]
        row["closed_at"] = call.now if given["state"] == "closed" else None
    row["updated_at"] = call.now
    return call.reply(format_pull(call, repo, row, whole=True))


@route("GET", f"{PULL}/files", READ)
def files(call: Call, repo: Json, pull_number: str) -> Reply:
    return call.page(changed_files(call, repo, find_pull(call, repo, pull_number)))


@route("GET", f"{PULL}/commits", READ)
def commits(call: Call, repo: Json, pull_number: str) -> Reply:
    """Return the commits, oldest first."""
    own = own_commits(call, repo, find_pull(call, repo, pull_number))
    return call.page([format_commit(call, repo, sha) for sha in reversed(own)])


@route("POST", f"{PULL}/requested_reviewers", WRITE, push=True)
def request_reviews(call: Call, repo: Json, pull_number: str) -> Reply:
    """Request reviews. Raise 422 for a person who is not a member, and for the author."""
    row, given = find_pull(call, repo, pull_number), call.body()
    wrong = [name for name in given.get("reviewers", ()) if name not in repo["members"]]
    if wrong or call.world.person(row["user"]) in [call.find_person(name) for name in given.get("reviewers", ())]:
        raise Refused(call.refusal(422, "Reviews may only be requested from collaborators."))
    pull = row["pull"]
    pull["reviewers"] = list(dict.fromkeys([*pull["reviewers"], *given.get("reviewers", ())]))
    pull["teams"] = list(dict.fromkeys([*pull["teams"], *given.get("team_reviewers", ())]))
    return call.reply(format_pull(call, repo, row), 201)


@route("DELETE", f"{PULL}/requested_reviewers", WRITE, push=True)
def unrequest_reviews(call: Call, repo: Json, pull_number: str) -> Reply:
    """Remove requests for reviews; ignore others."""
    pull, given = find_pull(call, repo, pull_number)["pull"], call.body()
    pull["reviewers"] = [name for name in pull["reviewers"] if name not in given.get("reviewers", ())]
    pull["teams"] = [name for name in pull["teams"] if name not in given.get("team_reviewers", ())]
    return call.reply(format_pull(call, repo, find_pull(call, repo, pull_number)))


@route("PUT", f"{PULL}/update-branch", WRITE, push=True)
def update_branch(call: Call, repo: Json, pull_number: str) -> Reply:
    """Return 202. Raise 422 if the head is not the expected one."""
    row = find_pull(call, repo, pull_number)
    head, pull = head_sha(repo, row), row["pull"]
    if call.body().get("expected_head_sha", head) != head:
        raise Refused(call.refusal(422, "expected head sha didn't match current head ref."))
    history = load_history(call, repo)
    tree = git.merge(history, head, repo["branches"][pull["base"]])
    if tree is None:
        raise Refused(call.refusal(422, "merge conflict between base and head"))
    parents = [head, repo["branches"][pull["base"]]]
    repo["branches"][pull["head"]] = git.commit(history, tree, parents, "Merge base", call.me, call.now)
    return call.reply({"message": "Updating pull request branch.", "url": ""}, 202)


@route("PUT", f"{PULL}/merge", "contents:write", push=True)
def merge(call: Call, repo: Json, pull_number: str) -> Reply:
    """Merge. Raise 405 if it cannot be merged, 409 if the head has moved."""
    row, given = find_pull(call, repo, pull_number), call.body()
    pull, head = row["pull"], head_sha(repo, row)
    if row["state"] != "open" or pull["draft"] or not mergeable(call, repo, row):
        raise Refused(call.refusal(405, "Pull Request is not mergeable"))
    if given.get("sha", head) != head:
        raise Refused(call.refusal(409, "Head branch was modified. Review and try the merge again."))
    history, base = load_history(call, repo), repo["branches"][pull["base"]]
    tree = git.merge(history, base, head) or {}
    parents = [base] if given.get("merge_method") == "squash" else [base, head]
    message = given.get("commit_title") or f"{row['title']} (#{row['number']})"
    pull |= {"base_sha": base_sha(call, repo, row), "head_sha": head, "merged_at": call.now}
    pull["sha"] = repo["branches"][pull["base"]] = git.commit(history, tree, parents, message, call.me, call.now)
    row |= {"state": "closed", "closed_at": call.now}
    add_event(call, row, "merged")
    return call.reply({"sha": pull["sha"], "merged": True, "message": "Pull Request successfully merged"})
