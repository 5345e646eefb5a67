"""GitHub: repositories and their details."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from deputize.core import Need, Run, Steps
from deputize.core.errors import InvalidInput, NotFound
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared.arguments import Cursor, Limit
from deputize.toolkits._shared.long_text import part
from deputize.toolkits.github import api, documents
from deputize.toolkits.github.api import Json, List, pages
from deputize.toolkits.github.argument_types import Owner, Repo
from deputize.toolkits.github.base import GITHUB, Asks, reads
from deputize.toolkits.github.files import read_call
from deputize.toolkits.github.name_lookup import near_names
from deputize.toolkits.github.not_found import in_repo
from deputize.toolkits.github.prose import BODY, FORM, Prose, code, mask_secrets
from deputize.toolkits.github.rows import full, login, outer, repo_row, short
from deputize.toolkits.github.search import MAX_RESULTS, add_qualifiers, check_query, public_only_note

Scope = Literal["mine", "starred", "org", "all"]
_LISTS = {"mine": "/user/repos", "starred": "/user/starred", "org": "O/repos", "all": "/search/repositories"}


def _search_needs(arguments: Arguments) -> Sequence[Need]:
    scope = arguments["scope"]
    return [reads(f"GET {_LISTS[scope]}", *(("starring:read",) if scope == "starred" else ()))]


@GITHUB.tool(needs=_search_needs)
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
        raise InvalidInput("org: needed for scope=org, and only there.", hint="Add org for that, or leave it out.")
    bound = ("github_search_repos", run.account.subject, query, scope, org, type, sort)
    if scope == "all":
        q = add_qualifiers(check_query(query, fixed=False), {"is": type if type in ("public", "private") else None})
        if not q:
            raise InvalidInput("query: needed to search all of GitHub.", hint="Add query.")
        params = {"q": q, "sort": sort if sort in ("updated", "stars") else None}
        read = pages(_LISTS["all"], rows="items", params=params)
        return (yield from List(bound, read, repo_row, more={"note": MAX_RESULTS}).show(limit, cursor))
    if query.strip():
        return (yield from _rank(query, scope, org, type, limit)) | public_only_note(run.granted)
    params = {"sort": {"best": "pushed", "stars": "pushed", "name": "full_name"}.get(sort, sort)}
    params |= {"type": _kind(scope, type)} if scope != "starred" else {}
    if scope == "starred" and params["sort"] not in ("created", "updated"):
        params = {}
    read = pages(_LISTS[scope], at={"org": org} if org else {}, params=params)
    listing = List(bound, read, repo_row)
    return (yield from listing.show(limit, cursor)) | public_only_note(run.granted)


def _kind(scope: str, kind: str) -> str | None:
    """Return the kind as this list names it, or None for all."""
    known = ("public", "private", "member") if scope == "mine" else ("public", "private", "forks", "sources", "member")
    return kind if kind in known else None


def _rank(query: str, scope: str, org: str | None, kind: str, limit: int) -> Asks[Json]:
    """Return a list's repositories whose name or description matches, the nearest first."""
    params = {"type": _kind(scope, kind)} if scope != "starred" else {}
    rows = yield from api.list_rows(_LISTS[scope], "", at={"org": org} if org else {}, params=params)
    words = query.strip().lower()
    named = {str(row["full_name"]).lower(): row for row in rows}
    exact = [row for name, row in named.items() if words in (name, name.partition("/")[2])]
    near = [named[name] for name in near_names(words, named)]
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


@GITHUB.tool(needs=_repo_needs)
@in_repo()
def get_repo(repo: Repo, include: list[Extra] | None = None) -> Steps:
    """Repository facts; optionally README, languages, recent branches."""
    found = yield from api.get("R", repo)
    shown = _facts(found)
    wanted = include or []
    if "readme" in wanted:
        shown |= yield from _readme(repo, shown)
    if "languages" in wanted:
        sizes = yield from api.get("R/languages", repo)
        whole = sum(sizes.values()) or 1
        shown["languages"] = {name: f"{100 * size // whole}%" for name, size in list(sizes.items())[:10]}
    if "branches" in wanted:
        data = yield from documents.query_repo(documents.BRANCHES, repo, first=10)
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


def _readme(repo: str, facts: Json) -> Asks[Json]:
    """Return the beginning of the README. Its hidden characters are added to those in ``facts``."""
    try:
        file = yield from api.get("R/readme", repo)
    except NotFound:
        return {"readme": None}
    outside = Prose()
    text = mask_secrets(base64.b64decode(str(file.get("content") or "")).decode(errors="replace"))
    more = read_call(repo, str(file.get("path")), None)
    told = part(FORM, outside, text, 4 * BODY, name="readme", more=more)
    hidden = outside.hidden + facts.get("hidden_removed", 0)
    cut = {"readme_truncated": True, "readme_path": file.get("path"), "more": told["more"]} if "more" in told else {}
    return {"readme": told["readme"], **({"hidden_removed": hidden} if hidden else {}), **cut}


def branch_row(node: Mapping[str, Any]) -> Json:
    """Return a row for a branch from GraphQL."""
    target = node.get("target") or {}
    shown: Json = {
        "name": code(str(node.get("name", "")))[0],
        "sha": target.get("oid"),
        "updated": short(target.get("committedDate")),
        "author": login((target.get("author") or {}).get("user")),
    }
    return {name: value for name, value in shown.items() if value}
