"""GitHub: open and change pull requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from deputize.core import Account, Need, Run, Steps, Wait
from deputize.core.act.tool import Arguments
from deputize.core.errors import Conflict, DeputizeError, InvalidInput
from deputize.toolkits._shared.arguments import Append, IfText, Replaces
from deputize.toolkits._shared.long_text import Edit
from deputize.toolkits.github import api, documents, names
from deputize.toolkits.github.api import Json, rest
from deputize.toolkits.github.argument_types import Branch, Head, Number, Repo, Reviewer
from deputize.toolkits.github.base import GITHUB, PULL, SENDS, Asks, changes, reads
from deputize.toolkits.github.not_found import in_repo
from deputize.toolkits.github.once import LOST, raise_if_unsent
from deputize.toolkits.github.prose import Body, Prose, Title, checked_edit, new_body
from deputize.toolkits.github.pulls import reviewers_of
from deputize.toolkits.github.rows import state_of

_ASKS: Final = f"POST {PULL}/requested_reviewers"


def _create_needs(arguments: Arguments) -> Sequence[Need]:
    found = changes("POST R/pulls", "pull_requests:write")
    if arguments["reviewers"]:
        found += changes(_ASKS, "pull_requests:write")
    return found if arguments["base"] else [*found, reads("GET R")]


@GITHUB.tool(needs=_create_needs, effect=SENDS, aliases=["GitHub.CreatePullRequest"])
@in_repo("this branch")
def create_pull(
    repo: Repo,
    head: Annotated[Head, Field(description="branch or user:branch")],
    title: Title,
    base: Branch | None = None,
    body: Body = "",
    draft: bool = False,
    reviewers: Annotated[list[Reviewer] | None, Field(description="logins; org/team for teams")] = None,
    issue: Annotated[Number | None, Field(description="convert this issue")] = None,
    maintainer_can_modify: bool = True,
    *,
    run: Run,
) -> Steps:
    """Open a pull request, optionally with reviewers."""
    onto = base or str((yield from api.get("R", repo))["default_branch"])
    given: Json = {"head": head, "base": onto, "draft": draft, "maintainer_can_modify": maintainer_can_modify}
    given |= {"issue": issue} if issue else {"title": title, "body": body}
    row, existed = yield from _opened(repo, head, onto, given)
    warnings: list[str] = []
    if reviewers:
        row, warnings = yield from _asked(repo, row, reviewers, run.account)
    return {
        "number": row.get("number"),
        "url": row.get("html_url"),
        "title": Prose().title(row.get("title")),
        "draft": bool(row.get("draft")),
        "head_sha": (row.get("head") or {}).get("sha"),
        "reviewers": reviewers_of(row),
        "existed": existed,
        **({"warnings": warnings} if warnings else {}),
        "summary": "There was one already for this branch." if existed else "Opened.",
    }


def _opened(repo: str, head: str, base: str, given: Json) -> Asks[tuple[Json, bool]]:
    """The pull request, and whether it was there before. Head and base are GitHub's own key."""
    before = yield from _between(repo, head, base)
    if before is not None:
        return before, True
    try:
        return (yield from api.sent(rest("POST R/pulls", repo, json=given))), False
    except LOST as lost:
        raise_if_unsent(lost)
        yield Wait(2)
        there = yield from _between(repo, head, base)
        if there is None:
            raise
        return there, False
    except (Conflict, InvalidInput):
        there = yield from _between(repo, head, base)
        if there is None:
            raise
        return there, True


def _between(repo: str, head: str, base: str) -> Asks[Json | None]:
    """The open pull request from one branch to the other."""
    whole = head if ":" in head else f"{repo.partition('/')[0]}:{head}"
    rows = yield from api.get("R/pulls", repo, params={"head": whole, "base": base, "state": "open"})
    same = [row for row in rows if (row.get("head") or {}).get("ref") == whole.partition(":")[2]]
    return dict(same[0]) if same else None


def _asked(repo: str, row: Json, reviewers: Sequence[str], account: Account) -> Asks[tuple[Json, list[str]]]:
    people, teams = names.reviewers(reviewers, account)
    body = {"reviewers": people, "team_reviewers": teams}
    try:
        answer = yield from api.send(rest(_ASKS, repo, at={"pull_number": row["number"]}, json=body, repeat="idem"))
    except DeputizeError as refused:
        return row, [f"The pull request was opened, but nobody was asked to review: {refused.message}"]
    return dict(answer.data), []


# ----------------------------------------------------------------- change one


def _update_needs(arguments: Arguments) -> Sequence[Need]:
    methods = [f"PATCH {PULL}"] if any(arguments[one] for one in ("title", "body", "state", "base")) else []
    methods += [_ASKS] if arguments["add_reviewers"] else []
    methods += [f"DELETE {PULL}/requested_reviewers"] if arguments["remove_reviewers"] else []
    if arguments["draft"] is not None:
        methods.append("GRAPHQL PullDraft" if arguments["draft"] else "GRAPHQL PullReady")
    found = [need for method in methods for need in changes(method, "pull_requests:write")]
    if arguments["update_branch"]:
        found += changes(f"PUT {PULL}/update-branch", "pull_requests:write")
        found += changes(f"PUT {PULL}/update-branch", "contents:write")
    return [*found, reads(f"GET {PULL}", "pull_requests:read")]


@GITHUB.tool(
    needs=_update_needs,
    effect=SENDS,
    aliases=["GitHub.UpdatePullRequest", "GitHub.ManagePullRequestReviewers"],
)
@in_repo("this pull request")
def update_pull(
    repo: Repo,
    number: Number,
    title: Title | None = None,
    body: Body | None = None,
    append: Append = False,
    replaces: Replaces = None,
    if_text: IfText = None,
    state: Literal["open", "closed"] | None = None,
    base: Branch | None = None,
    draft: bool | None = None,
    add_reviewers: Annotated[list[Reviewer] | None, Field(description="logins; org/team for teams")] = None,
    remove_reviewers: list[Reviewer] | None = None,
    update_branch: bool = False,
    *,
    run: Run,
) -> Steps:
    """Change a pull request: text, state, base, draft, reviewers, or bring its branch up to date."""
    at = {"pull_number": number}
    row = yield from api.get(PULL, repo, at=at)
    patch: Json = {"title": title, "body": body, "state": state, "base": base}
    patch = {name: value for name, value in patch.items() if value is not None}
    edit = Edit(append, replaces, if_text)
    checked_edit(edit, body)
    if body is not None:
        patch |= new_body(row, body, edit, run.key)
    changed: list[str] = []
    warnings: list[str] = []
    if patch:
        change: Asks[Any] = api.send(rest(f"PATCH {PULL}", repo, at=at, json=patch, repeat="idem"))
        yield from api.attempt(change, ", ".join(patch), changed, warnings)
    if draft is not None and draft != bool(row.get("draft")):
        change = documents.query(documents.DRAFT if draft else documents.READY, "idem", id=str(row["node_id"]))
        yield from api.attempt(change, "draft", changed, warnings)
    for method, who in (("POST", add_reviewers), ("DELETE", remove_reviewers)):
        if who:
            people, teams = names.reviewers(who, run.account)
            given: Json = {"reviewers": people} | ({"team_reviewers": teams} if teams else {})
            request = rest(f"{method} {PULL}/requested_reviewers", repo, at=at, json=given, repeat="idem")
            yield from api.attempt(api.send(request), "reviewers", changed, warnings)
    if update_branch:
        given = {"expected_head_sha": row["head"]["sha"]}
        change = api.send(rest(f"PUT {PULL}/update-branch", repo, at=at, json=given, repeat="idem"))
        yield from api.attempt(change, "branch", changed, warnings)
    if not changed and draft is None and not append:
        raise InvalidInput("Nothing to change.", hint="Give at least one thing to change.")
    row = yield from api.get(PULL, repo, at=at)
    return {
        "number": number,
        "url": row.get("html_url"),
        "state": state_of(row),
        "draft": bool(row.get("draft")),
        "base": (row.get("base") or {}).get("ref"),
        "reviewers": reviewers_of(row),
        "changed": list(dict.fromkeys(", ".join(changed).split(", "))) if changed else [],
        **({"warnings": warnings} if warnings else {}),
    }
