"""GitHub: repositories, their facts, labels and milestones; a new one."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from deputize.core import Alias, Effect, Need, Run, Steps, Wait
from deputize.core.act.tool import Arguments
from deputize.core.errors import Conflict, DeputizeError, InvalidInput, NotFound
from deputize.toolkits._shared.arguments import Cursor, Limit
from deputize.toolkits._shared.text import window
from deputize.toolkits.github import api, documents
from deputize.toolkits.github.api import Json, List, in_repo, pages, rest
from deputize.toolkits.github.argument_types import NewName, Owner, Repo, RepoName
from deputize.toolkits.github.base import GITHUB, SENDS, Asks, needs, reads
from deputize.toolkits.github.names import near_to
from deputize.toolkits.github.once import LOST, raise_if_unsent
from deputize.toolkits.github.prose import BODY, Content, Prose, code
from deputize.toolkits.github.rows import full, login, outer, repo_row, short
from deputize.toolkits.github.search import MOST, checked, private_left_out, qualified

Scope = Literal["mine", "starred", "org", "all"]
_LISTS = {"mine": "/user/repos", "starred": "/user/starred", "org": "O/repos", "all": "/search/repositories"}


def _search_needs(arguments: Arguments) -> Sequence[Need]:
    scope = arguments["scope"]
    return [reads(f"GET {_LISTS[scope]}", *(("starring:read",) if scope == "starred" else ()))]


@GITHUB.tool(
    needs=_search_needs, aliases=["GitHub.SearchMyRepos", Alias("GitHub.ListOrgRepositories", sets={"scope": "org"})]
)
def search_repos(
    query: str = "",
    scope: Scope = "mine",
    org: Owner | None = None,
    type: Literal["all", "public", "private", "forks", "sources", "member"] = "all",
    sort: Literal["best", "updated", "pushed", "created", "stars", "name"] = "best",
    limit: Limit = 20,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """Find repositories: mine, starred, of an organization, or all of GitHub."""
    if (scope == "org") != bool(org):
        raise InvalidInput("org: needed for scope org, and for nothing else.")
    bound = ("github_search_repos", run.account.subject, query, scope, org, type, sort)
    if scope == "all":
        q = qualified(checked(query, fixed=False), {"is": type if type in ("public", "private") else None})
        if not q:
            raise InvalidInput("query: needed to search all of GitHub.")
        params = {"q": q, "sort": sort if sort in ("updated", "stars") else None}
        read = pages(_LISTS["all"], rows="items", params=params)
        return (yield from List(bound, read, repo_row, more={"note": MOST}).show(limit, cursor))
    if query.strip():
        return (yield from _ranked(query, scope, org, type, limit)) | private_left_out(run.granted)
    params = {"sort": {"best": "pushed", "stars": "pushed", "name": "full_name"}.get(sort, sort)}
    params |= {"type": _kind(scope, type)} if scope != "starred" else {}
    if scope == "starred" and params["sort"] not in ("created", "updated"):
        params = {}
    read = pages(_LISTS[scope], at={"org": org} if org else {}, params=params)
    listing = List(bound, read, repo_row)
    return (yield from listing.show(limit, cursor)) | private_left_out(run.granted)


def _kind(scope: str, kind: str) -> str | None:
    """The kind as this list knows it, or None for all."""
    known = ("public", "private", "member") if scope == "mine" else ("public", "private", "forks", "sources", "member")
    return kind if kind in known else None


def _ranked(query: str, scope: str, org: str | None, kind: str, limit: int) -> Asks[Json]:
    """Repositories of a list whose name or description fits, the nearest first."""
    params = {"type": _kind(scope, kind)} if scope != "starred" else {}
    rows = yield from api.every(_LISTS[scope], "", at={"org": org} if org else {}, params=params)
    words = query.strip().lower()
    named = {str(row["full_name"]).lower(): row for row in rows}
    exact = [row for name, row in named.items() if words in (name, name.partition("/")[2])]
    near = [named[name] for name in near_to(words, named)]
    near += [r for r in rows if words in f"{r['full_name']} {r.get('description') or ''}".lower()]
    ranked = {str(row["full_name"]): row for row in [*exact, *near]}
    items = [
        {
            name: value
            for name, value in (repo_row(row) | {"exact": row in exact}).items()
            if value not in (None, "", False)
        }
        for row in list(ranked.values())[:limit]
    ]
    return {"items": items, "next": None, "truncated": len(ranked) > limit}


# ----------------------------------------------------------------- one repository

Extra = Literal["readme", "languages", "branches"]


def _repo_needs(arguments: Arguments) -> Sequence[Need]:
    wanted = arguments["include"] or ()
    return [
        reads("GET R"),
        *([reads("GET R/readme", "contents:read")] if "readme" in wanted else []),
        *([reads("GET R/languages")] if "languages" in wanted else []),
        *([reads("GRAPHQL BranchesByRecency", "contents:read")] if "branches" in wanted else []),
    ]


@GITHUB.tool(needs=_repo_needs, aliases=["GitHub.GetRepository", "GitHub.CountStargazers"])
@in_repo()
def get_repo(repo: Repo, include: list[Extra] | None = None) -> Steps:
    """Repository facts; optionally README, languages, recent branches."""
    found = yield from api.get("R", repo)
    shown = _facts(found)
    wanted = include or []
    if "readme" in wanted:
        shown |= yield from _readme(repo)
    if "languages" in wanted:
        sizes = yield from api.get("R/languages", repo)
        whole = sum(sizes.values()) or 1
        shown["languages"] = {name: f"{100 * size // whole}%" for name, size in list(sizes.items())[:10]}
    if "branches" in wanted:
        data = yield from documents.of_repo(documents.BRANCHES, repo, first=10)
        shown["branches"] = [branch_row(node) for node in documents.page_of(data["refs"]).rows]
    return shown


def _facts(row: Mapping[str, Any]) -> Json:
    outside = Prose()
    shown: Json = {
        "repo": row.get("full_name"),
        "id": row.get("id"),
        "private": bool(row.get("private")),
        "visibility": row.get("visibility") or ("private" if row.get("private") else "public"),
        "description": outside.line(str(row.get("description") or ""), 300),
        "default_branch": row.get("default_branch"),
        "stars": row.get("stargazers_count"),
        "forks": row.get("forks_count"),
        "open_issues": row.get("open_issues_count"),
        "topics": [outside.line(str(one), 50) for one in (row.get("topics") or ())[:20]],
        "license": (row.get("license") or {}).get("spdx_id"),
        "permissions": sorted(name for name, has in (row.get("permissions") or {}).items() if has),
        "archived": bool(row.get("archived")),
        "pushed": full(row.get("pushed_at")),
        "url": row.get("html_url"),
    }
    return outer(shown, outside)


def _readme(repo: str) -> Asks[Json]:
    try:
        file = yield from api.get("R/readme", repo)
    except NotFound:
        return {"readme": None}
    outside = Prose()
    text = outside.prose(base64.b64decode(str(file.get("content") or "")).decode(errors="replace"))
    piece, more = window(text, 0, 4 * BODY)
    return {"readme": piece} | ({"readme_truncated": True, "readme_path": file.get("path")} if more else {})


def branch_row(node: Mapping[str, Any]) -> Json:
    """A branch, as GraphQL tells it."""
    target = node.get("target") or {}
    shown: Json = {
        "name": code(str(node.get("name", "")))[0],
        "sha": target.get("oid"),
        "updated": short(target.get("committedDate")),
        "author": login((target.get("author") or {}).get("user")),
    }
    return {name: value for name, value in shown.items() if value}


# ----------------------------------------------------------------- labels and milestones


def _label_needs(arguments: Arguments) -> Sequence[Need]:
    return [reads(f"GET R/{arguments['kind']}", "issues:read", "pull_requests:read")]


@GITHUB.tool(needs=_label_needs, aliases=["GitHub.ListRepositoryLabels"])
@in_repo()
def list_labels(
    repo: Repo,
    kind: Literal["labels", "milestones"] = "labels",
    query: str = "",
    limit: Limit = 20,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """Labels or milestones defined in a repository."""
    words = query.strip().lower()
    params = {"state": "all"} if kind == "milestones" else {}
    row_of = _label if kind == "labels" else _milestone
    listing = List(
        ("github_list_labels", run.account.subject, repo, kind, query),
        pages(f"R/{kind}", repo, params=params),
        lambda row: row_of(row) if words in str(row.get("name") or row.get("title")).lower() else None,
    )
    return (yield from listing.show(limit, cursor))


def _label(row: Mapping[str, Any]) -> Json:
    outside = Prose()
    shown: Json = {"name": outside.line(str(row.get("name", "")), 60)}
    shown["description"] = outside.line(str(row.get("description") or ""), 100)
    return outer(shown, outside)


def _milestone(row: Mapping[str, Any]) -> Json:
    outside = Prose()
    shown: Json = {
        "number": row.get("number"),
        "title": outside.title(row.get("title")),
        "state": row.get("state"),
        "due": str(row.get("due_on") or "")[:10],
        "open": row.get("open_issues"),
        "closed": row.get("closed_issues"),
    }
    return outer(shown, outside)


# ----------------------------------------------------------------- a new one


def _create_needs(arguments: Arguments) -> Sequence[Need]:
    made = {"fork": "POST R/forks", "template": "POST /repos/{template_owner}/{template_repo}/generate"}
    plain = "POST O/repos" if arguments["org"] else "POST /user/repos"
    method = made[arguments["source_kind"]] if arguments["source"] else plain
    hidden = arguments["private"] and not (arguments["source"] and arguments["source_kind"] == "fork")
    accepted = ("repo",) if hidden else ("public_repo", "repo")
    return [needs(method, *accepted, app=("administration:write",)), reads("GET R")]


def _create_effect(arguments: Arguments) -> Effect:
    """Asks when it is public, a fork (as public as its source), or of an organization, whose members see it."""
    forks = arguments["source"] and arguments["source_kind"] == "fork"
    shown = not arguments["private"] or forks or arguments["org"]
    return SENDS if shown else Effect.WRITES


@GITHUB.tool(needs=_create_needs, effect=_create_effect, gravest=SENDS, toolset="repos")
def create_repo(
    name: NewName,
    org: Owner | None = None,
    description: Content = "",
    private: bool = True,
    source: RepoName | None = None,
    source_kind: Literal["fork", "template"] = "fork",
    init: bool = True,
    *,
    run: Run,
) -> Steps:
    """Create a repository: empty, from a template, or as a fork."""
    owner = org or run.account.name
    full_name = f"{owner}/{name}"
    if source and "/" not in source:
        raise InvalidInput("source: write owner/name.")
    body: Json = {"name": name, "description": " ".join(description.split()), "private": private}
    if source and source_kind == "template":
        first, _, second = source.partition("/")
        at = {"template_owner": first, "template_repo": second}
        request = rest("POST /repos/{template_owner}/{template_repo}/generate", at=at, json=body | {"owner": owner})
    elif source:
        fork: Json = {"name": name} | ({"organization": org} if org else {})
        request = rest("POST R/forks", source, json=fork, repeat="idem")
    else:
        at = {"org": org} if org else {}
        request = rest("POST O/repos" if org else "POST /user/repos", at=at, json=body | {"auto_init": init})
    try:
        made = (yield from api.send(request)).data
    except LOST as lost:
        raise_if_unsent(lost)
        made = yield from _there(full_name, lost, run.now if not source else None)
    except (Conflict, InvalidInput) as refused:
        raise (yield from _taken(full_name, refused)) from None
    found = yield from _ready(str(made["full_name"]))
    existed = bool(source) and source_kind == "fork" and str(made.get("name")) != name
    return {
        "repo": found["full_name"],
        "url": found.get("html_url"),
        "private": bool(found.get("private")),
        "default_branch": found.get("default_branch"),
        "existed": existed,
        "summary": "This fork was there already." if existed else "Created.",
    }


def _there(repo: str, lost: DeputizeError, since: float | None) -> Asks[Json]:
    """The repository that a lost answer was about; the loss, if there is none, or one that is older."""
    yield Wait(2)
    try:
        found = dict((yield from api.get("R", repo)))
    except NotFound:
        raise lost from None
    made = str(found.get("created_at") or "")
    if since is not None and made < f"{datetime.fromtimestamp(since - 60, UTC):%Y-%m-%dT%H:%M:%SZ}":
        raise lost
    return found


def _taken(repo: str, refused: DeputizeError) -> Asks[DeputizeError]:
    """What a refusal means: the name is taken, or something else."""
    try:
        yield from api.get("R", repo)
    except NotFound:
        return refused
    return Conflict(f"{repo} is there already.", reason="exists", hint="Choose another name.")


def _ready(repo: str) -> Asks[Json]:
    """The repository, once GitHub has made it: a fork takes a moment."""
    for pause in (2, 4, 8, 10, 0):
        try:
            return dict((yield from api.get("R", repo)))
        except NotFound:
            if pause:
                yield Wait(pause)
    return {"full_name": repo}
