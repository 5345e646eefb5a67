"""Repositories: list, star, create, copy, and their people."""

from __future__ import annotations

from deputize.sandbox.github import git
from deputize.sandbox.github.api_orgs import team
from deputize.sandbox.github.call import Call, Json
from deputize.sandbox.github.routes import route
from deputize.sandbox.github.seed import new_repo
from deputize.sandbox.github.shapes import repository
from deputize.sandbox.http_types import Refused, Reply


@route("GET", "/user/repos")
def own_repositories(call: Call) -> Reply:
    """Return the repositories that the caller can access."""
    rows = [row for row in call.store["repos"].values() if call.sees(row)]
    kind = call.ask.one("visibility") or call.ask.one("type")
    rows = [row for row in rows if kind not in ("public", "private") or row["private"] == (kind == "private")]
    if call.ask.one("sort") == "full_name":
        rows.sort(key=lambda row: row["full_name"])
    return call.page([repository(row) for row in rows], accepted=("repo", "public_repo"))


@route("GET", "/user/starred", "starring:read")
def starred_repositories(call: Call) -> Reply:
    return call.page([repository(r) for r in call.store["repos"].values() if call.me in r["stars"] and call.sees(r)])


@route("GET", "/user/starred/{owner}/{repo}", "starring:read")
def is_starred(call: Call, repo: Json) -> Reply:
    """Return 204 if the caller has starred it, else 404."""
    if call.me not in repo["stars"]:
        raise Refused(call.refusal(404, "Not Found"))
    return call.empty_reply()


@route("PUT", "/user/starred/{owner}/{repo}", "starring:write")
def star(call: Call, repo: Json) -> Reply:
    """Return 204, also if it was starred before."""
    repo["stars"] = sorted({*repo["stars"], call.me})
    return call.empty_reply()


@route("DELETE", "/user/starred/{owner}/{repo}", "starring:write")
def unstar(call: Call, repo: Json) -> Reply:
    repo["stars"] = [name for name in repo["stars"] if name != call.me]
    return call.empty_reply()


@route("GET", "R")
def get(call: Call, repo: Json) -> Reply:
    """Return a repository with the caller's permissions."""
    push = call.pushes(repo)
    rights = {"admin": push, "maintain": push, "push": push, "triage": push, "pull": True}
    open_ = sum(row["state"] == "open" for row in call.store["issues"].get(repo["full_name"], ()))
    accepted = ("repo",) if repo["private"] else ()
    return call.reply(repository(repo) | {"permissions": rights, "open_issues_count": open_}, accepted=accepted)


@route("GET", "R/readme", "contents:read")
def readme(call: Call, repo: Json) -> Reply:
    tree = call.store["commits"][repo["full_name"]][repo["branches"][repo["default_branch"]]]["tree"]
    content = tree.get("README.md")
    if content is None:
        raise call.not_found()
    told = {"type": "file", "encoding": "base64", "name": "README.md", "path": "README.md", "content": content}
    return call.reply({**told, "sha": git.blob_sha(content)})


@route("GET", "R/languages")
def languages(call: Call, repo: Json) -> Reply:
    """Return bytes by language."""
    return call.reply({repo["language"]: 900, "HTML": 100})


@route("GET", "R/collaborators")
def collaborators(call: Call, repo: Json) -> Reply:
    """Return the members. 403 without push access."""
    if not call.pushes(repo):
        return call.refusal(403, "Must have push access to view repository collaborators.", accepted=("repo",))
    return call.page([{**(call.user(name) or {}), "role_name": "write"} for name in repo["members"]])


@route("GET", "R/collaborators/{username}/permission")
def permission(call: Call, repo: Json, username: str) -> Reply:
    """Return a user's permission. 403 without push access."""
    if not call.pushes(repo):
        return call.refusal(403, "Must have push access to view collaborator permission.", accepted=("repo",))
    right = "write" if username in repo["members"] else "read"
    return call.reply({"permission": right, "role_name": right, "user": call.user(username)})


@route("GET", "R/assignees", "issues:read")
def assignees(call: Call, repo: Json) -> Reply:
    return call.page([call.user(name) or {} for name in repo["members"]])


@route("GET", "R/assignees/{assignee}", "issues:read")
def assignee(call: Call, repo: Json, assignee: str) -> Reply:
    """Return 204 for a person who can be assigned, else 404."""
    if assignee not in repo["members"]:
        raise call.not_found()
    return call.empty_reply()


@route("GET", "R/contributors")
def contributors(call: Call, repo: Json) -> Reply:
    count: dict[str, int] = {}
    for row in call.store["commits"][repo["full_name"]].values():
        count[row["author"]] = count.get(row["author"], 0) + 1
    return call.page([{**(call.user(name) or {}), "contributions": n} for name, n in count.items()])


@route("GET", "R/stargazers")
def stargazers(call: Call, repo: Json) -> Reply:
    return call.page([call.user(name) or {} for name in repo["stars"]])


@route("GET", "R/teams", "administration:read")
def repo_teams(call: Call, repo: Json) -> Reply:
    org = call.store["orgs"].get(repo["full_name"].partition("/")[0], {"teams": []})
    return call.page([team(call, name, repo["full_name"].partition("/")[0]) for name in org["teams"]])


# ----------------------------------------------------------------- new repositories


@route("POST", "/user/repos", "administration:write", scopes=("repo", "public_repo"))
def create(call: Call) -> Reply:
    return _create(call, call.me, call.body())


@route("POST", "/orgs/{org}/repos", "administration:write", scopes=("repo", "public_repo"))
def create_for_org(call: Call, org: str) -> Reply:
    """Create an organization's repository, for its members."""
    if call.me not in call.store["orgs"].get(org, {"members": {}})["members"]:
        raise call.not_found()
    return _create(call, org, call.body())


@route("POST", "R/forks", "administration:write")
def fork(call: Call, repo: Json) -> Reply:
    """Return 202 with a copy, or with the fork that exists."""
    body = call.body()
    owner = body.get("organization") or call.me
    there = next(
        (r for r in call.store["repos"].values() if r["fork_of"] == repo["full_name"] and call.me in r["members"]), None
    )
    if there is not None:
        return call.reply(repository(there), 202)
    name = body.get("name") or repo["full_name"].partition("/")[2]
    made = _new(call, f"{owner}/{name}", repo["private"])
    made["fork_of"] = repo["full_name"]
    _copy(call, repo, made)
    repo["forks"] += 1
    return call.reply(repository(made), 202)


@route("POST", "R/generate", "administration:write")
def generate(call: Call, repo: Json) -> Reply:
    """Create a repository from a template."""
    body = call.body()
    if not repo["template"]:
        return call.refusal(422, "Repository is not a template.")
    made = _new(call, f"{body.get('owner') or call.me}/{body.get('name')}", bool(body.get("private")))
    _copy(call, repo, made)
    return call.reply(repository(made), 201)


def _create(call: Call, owner: str, body: Json) -> Reply:
    made = _new(call, f"{owner}/{body.get('name')}", bool(body.get("private")))
    made["description"] = body.get("description")
    if body.get("auto_init"):
        tree = {"README.md": git.packed(f"# {body['name']}\n")}
        history = call.store["commits"][made["full_name"]]
        made["branches"]["main"] = git.commit(history, tree, [], "Initial commit", call.me, call.now)
    return call.reply(repository(made), 201)


def _new(call: Call, name: str, private: bool) -> Json:
    if call.repo(name) is not None:
        errors = {"resource": "Repository", "code": "custom", "field": "name"}
        message = "name already exists on this account"
        raise Refused(call.refusal(422, "Repository creation failed.", errors | {"message": message}))
    made = new_repo(call.next_id(), name, private, (call.me,), call.now)
    call.store["repos"][name] = made
    call.store["installed"] += [name] if call.permissions else []
    call.store["issues"][name], call.store["commits"][name] = [], {}
    return made


def _copy(call: Call, source: Json, made: Json) -> None:
    call.store["commits"][made["full_name"]] = dict(call.store["commits"][source["full_name"]])
    made["branches"] = {source["default_branch"]: source["branches"][source["default_branch"]]}
    made["default_branch"] = source["default_branch"]
