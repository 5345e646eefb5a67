"""GitHub: the user, their work, and other people."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from deputize.core import Account, Alias, Need, Run, Steps
from deputize.core.errors import DeputizeError, InvalidInput, NotFound, OrgBlocked
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared.arguments import Cursor, Limit
from deputize.toolkits.github import api
from deputize.toolkits.github.api import Json, List, pages
from deputize.toolkits.github.argument_types import Owner, Repo
from deputize.toolkits.github.base import GITHUB, Asks, needs, optional, reads
from deputize.toolkits.github.not_found import in_repo
from deputize.toolkits.github.prose import Prose
from deputize.toolkits.github.rows import ZONED, issue_row, login, outer, repo_of, short
from deputize.toolkits.github.search import MAX_RESULTS, add_qualifiers, check_query, public_only_note

_ORGS = "read:org", "user", "write:org", "admin:org"


@GITHUB.tool(
    needs=[
        reads("GET /user"),
        optional("GET /user/orgs", *_ORGS),
        optional("GET /user/teams", *_ORGS, app=("members:read", "metadata:read")),
    ],
    aliases=["Github.WhoAmI"],
)
def whoami(*, run: Run) -> Steps:
    """Who I am on GitHub, with my organizations and teams."""
    me = yield from api.get("/user")
    orgs = teams = None
    if run.granted & {*_ORGS, "metadata:read"}:  # without one of them GitHub would require another consent
        orgs = yield from _own_names("/user/orgs", lambda row: str(row["login"]))
        teams = yield from _own_names("/user/teams", lambda row: f"{row['organization']['login']}/{row['slug']}")
    outside = Prose()
    told: Json = {
        "login": me.get("login"),
        "id": me.get("id"),
        "name": outside.line(str(me.get("name") or ""), 100) or None,
        "email": me.get("email"),
        "url": me.get("html_url"),
        "granted": sorted(run.granted)[:20],
    }
    cut = [
        f"{name}: {_SHOWN} are shown." for name, rows in (("orgs", orgs), ("teams", teams)) if rows and rows[_SHOWN:]
    ]
    told |= {"orgs": orgs and orgs[:_SHOWN], "teams": teams and teams[:_SHOWN]} | ({"cut": cut} if cut else {})
    return told | ({"note": "Organizations are not covered by the consent."} if orgs is None else {})


def _own_names(method: str, name: Callable[[Mapping[str, Any]], str]) -> Asks[list[str] | None]:
    """Return the names of the user's rows, or None if the grant is too narrow."""
    try:
        rows = yield from api.get(method, params={"per_page": 100})
    except (NotFound, InvalidInput, OrgBlocked):
        return None
    return [name(row) for row in rows]


_SHOWN: Final = 50


# ----------------------------------------------------------------- my work

Kind = Literal["review_requests", "my_pulls", "assigned", "mentions", "recent", "all"]
_KINDS: Final = {
    "review_requests": "is:pull-request is:open archived:false review-requested:@me",
    "my_pulls": "is:pull-request is:open archived:false author:@me",
    "assigned": "is:issue is:open archived:false assignee:@me",
    "mentions": "is:issue is:open archived:false mentions:@me",
}
_GROUP: Final = 5  # rows of a group among all, at most


def _work_needs(arguments: Arguments) -> Sequence[Need]:
    issues = reads("GET /search/issues", "issues:read", "pull_requests:read")
    return [issues, *([reads("GET /search/commits")] if arguments["kind"] in ("recent", "all") else [])]


@GITHUB.tool(
    needs=_work_needs,
    aliases=[
        Alias("Github.GetReviewWorkload", sets={"kind": "review_requests"}),
        Alias("Github.GetUserRecentActivity", {"per_page": "limit"}, sets={"kind": "recent"}),
    ],
)
def get_my_work(
    kind: Kind = "all",
    days: int = 14,
    limit: Limit = 20,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """My open items: pull requests to review, my own, issues assigned to me, mentions; or my recent commits."""
    if not 1 <= days <= 365:
        raise InvalidInput("days: must be 1 to 365.", hint="Use a shorter time.")
    since = datetime.fromtimestamp(run.now - days * 86400, UTC).strftime("%Y-%m-%d")
    if kind != "all":
        shown = yield from _work(kind, since, run.account).show(limit, cursor)
        return shown | ZONED | public_only_note(run.granted)
    if cursor:
        raise InvalidInput(
            "cursor: only together with the one kind it belongs to.",
            hint="Add the one kind it belongs to, or leave out cursor.",
        )
    groups: Json = {}
    following: Json = {}
    for one in (*_KINDS, "recent"):
        shown = yield from _work(one, since, run.account).show(min(limit, _GROUP), None)
        groups[one], following[one] = shown["items"], shown["next"]
    told = {"groups": groups, "next": {name: place for name, place in following.items() if place}}
    return told | ZONED | public_only_note(run.granted)


def _work(kind: str, since: str, account: Account) -> List:
    bound = ("github_get_my_work", account.subject, kind, since)
    if kind == "recent":
        q = f"author:{account.name} committer-date:>={since}"
        params = {"q": q, "sort": "committer-date", "order": "desc"}
        return List(bound, pages("/search/commits", rows="items", params=params), _commit, 2_000)
    params = {"q": _KINDS[kind], "sort": "updated", "order": "desc"}
    return List(bound, pages("/search/issues", rows="items", params=params), lambda row: issue_row(row, repo=True))


def _commit(row: Mapping[str, Any]) -> Json:
    outside = Prose()
    commit = row.get("commit") or {}
    shown: Json = {
        "repo": repo_of(row),
        "sha": str(row.get("sha", ""))[:12],
        "headline": outside.line(str(commit.get("message", "")).partition("\n")[0], 100),
        "date": short((commit.get("committer") or {}).get("date")),
    }
    return outer(shown, outside)


# ----------------------------------------------------------------- people

Role = Literal["collaborators", "assignees", "contributors", "stargazers", "members", "teams", "any"]
Permission = Literal["pull", "triage", "push", "maintain", "admin"]


def _people_needs(arguments: Arguments) -> Sequence[Need]:
    role, repo = arguments["role"], bool(arguments["repo"])
    org = needs("GET O/members", "read:org", "write:org", "admin:org", app=("members:read",))
    match role:
        case "collaborators":
            private = reads("GET R/collaborators", "metadata:read")
            return [private, optional("GET R/collaborators", "read:org", "write:org", "admin:org")]
        case "assignees":
            return [reads("GET R/assignees", "issues:read", "pull_requests:read")]
        case "contributors" | "stargazers":
            return [reads(f"GET R/{role}")]
        case "members":
            return [org]
        case "teams" if repo:
            return [reads("GET R/teams", "administration:read", "metadata:read")]
        case "teams":
            return [needs("GET O/teams", "read:org", "write:org", "admin:org", app=("members:read",))]
    if repo:
        return [reads("GET R/contributors")]
    return [org] if arguments["org"] else [reads("GET /search/users"), reads("GET U")]


@GITHUB.tool(
    needs=_people_needs,
)
@in_repo()
def list_people(
    repo: Repo | None = None,
    org: Owner | None = None,
    role: Role = "any",
    query: Annotated[str, Field(description="part of a name; without repo and org: login, name or email")] = "",
    permission: Annotated[Permission | None, Field(description="of collaborators, at least")] = None,
    affiliation: Annotated[Literal["all", "direct", "outside"], Field(description="of collaborators")] = "all",
    limit: Limit = 20,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """People of a repository or organization, or users found by login, name or email."""
    if repo and org:
        raise InvalidInput("Give repo or org, not both.", hint="Leave out repo or org.")
    if role not in ("any", "members", "teams") and not repo:
        raise InvalidInput(f"repo: needed for {role}.", hint="Add repo.")
    if role == "members" and not org:
        raise InvalidInput("org: needed for members.", hint="Add org.")
    bound = ("github_list_people", run.account.subject, repo, org, role, query, permission, affiliation)
    if not repo and not org:
        if role != "any" or not query.strip():
            raise InvalidInput("query: needed where neither repo nor org is given.", hint="Add query.")
        return (yield from _find_people(bound, query, limit, cursor))
    role = ("contributors" if repo else "members") if role == "any" else role
    params = {"permission": permission, "affiliation": affiliation} if role == "collaborators" else {}
    words = query.strip().lower()
    listing = List(
        bound,
        pages(f"{'R' if repo else 'O'}/{role}", repo or "", at={} if repo else {"org": org}, params=params),
        lambda row: shown if words in str(shown := _person(row, role)).lower() else None,
    )
    try:
        return (yield from listing.show(limit, cursor))
    except NotFound as refused:
        if role == "collaborators" and "right" in refused.message:
            raise NotFound(
                "GitHub lists collaborators only to those who may push.", hint="Use role=contributors."
            ) from None
        raise


def _person(row: Mapping[str, Any], role: str) -> Json:
    outside = Prose()
    shown: Json = {
        "login": login(row),
        "name": outside.line(str(row.get("name") or ""), 80),
        "role": row.get("role_name"),
        "permission": row.get("permission"),
        "commits": row.get("contributions"),
        "bot": row.get("type") == "Bot",
    }
    if role == "teams":
        shown |= {
            "login": None,
            "team": f"{(row.get('organization') or {}).get('login', '')}/{row.get('slug')}".lstrip("/"),
        }
    return outer(shown, outside)


def _find_people(bound: tuple[Any, ...], query: str, limit: int, cursor: str | None) -> Steps:
    """Find users by name; look up the full names of a few."""
    listing = List(
        bound,
        pages("/search/users", rows="items", params={"q": add_qualifiers(check_query(query, fixed=False), {})}),
        lambda row: _person(row, "any"),
        more={"note": MAX_RESULTS},
    )
    shown = yield from listing.show(limit, cursor)
    who = [row["login"] for row in shown["items"][:5]]
    profiles = yield from api.gather([api.rest("GET U", at={"username": one}) for one in who])
    for row, profile in zip(shown["items"], profiles, strict=False):
        if not isinstance(profile, DeputizeError) and profile.get("name"):
            row["name"] = Prose().line(str(profile["name"]), 80)
    return shown
