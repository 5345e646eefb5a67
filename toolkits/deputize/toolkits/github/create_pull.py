"""GitHub: opening pull requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

from pydantic import Field

from deputize.core import Account, Need, Preview, Run, Steps, Wait
from deputize.core.errors import Conflict, DeputizeError, InvalidInput
from deputize.core.tools.tool import Arguments
from deputize.toolkits.github import api
from deputize.toolkits.github import name_lookup as names
from deputize.toolkits.github.api import Json, rest
from deputize.toolkits.github.argument_types import Branch, Head, Number, Repo, Reviewer
from deputize.toolkits.github.base import GITHUB, PULL, SENDS, Asks, changes, reads
from deputize.toolkits.github.idempotent_create import LOST, raise_if_unsent
from deputize.toolkits.github.not_found import in_repo
from deputize.toolkits.github.prose import Body, Prose, Title
from deputize.toolkits.github.pulls import reviewers_of
from deputize.toolkits.github.show_fields import HOME, Home, home_of, issue_of, title_of

ASKS: Final = f"POST {PULL}/requested_reviewers"


def _create_needs(arguments: Arguments) -> Sequence[Need]:
    found = changes("POST R/pulls", "pull_requests:write")
    if arguments["reviewers"]:
        found += changes(ASKS, "pull_requests:write")
    if arguments["issue"]:
        found.append(reads("GET R/issues/{issue_number}", "issues:read", "pull_requests:read"))
    return [*found, HOME]


@GITHUB.tool(needs=_create_needs, effect=SENDS)
@in_repo("this branch")
def create_pull(
    repo: Repo,
    head: Annotated[Head, Field(description="branch or user:branch")],
    title: Title,
    base: Annotated[Branch | None, Field(description="else the default branch")] = None,
    body: Body = "",
    draft: bool = False,
    reviewers: Annotated[list[Reviewer] | None, Field(description="logins or names; org/team for teams")] = None,
    issue: Annotated[Number | None, Field(description="convert this issue")] = None,
    maintainer_can_modify: bool = True,
    *,
    run: Run,
) -> Steps:
    """Open a pull request, optionally with reviewers."""
    home = yield from home_of(repo)
    repo, onto = home.name, base or home.default_branch
    given: Json = {"head": head, "base": onto, "draft": draft, "maintainer_can_modify": maintainer_can_modify}
    given |= {"issue": issue} if issue else {"title": title, "body": body}
    row, warnings = (yield from _find_between(repo, head, onto)), list[str]()
    existed = row is not None
    reviewers = yield from names.logins_of(reviewers or [], "reviewers")
    if row is None or reviewers:
        yield _show(home, given, reviewers or [], row, (yield from issue_of(home, issue)) if issue else None)
    asks = bool(reviewers)
    if row is None:
        row, existed = yield from _open(repo, head, onto, given)
        if asks and existed:  # not what the user approved
            asks, warnings = False, ["Somebody has opened it meanwhile, so nobody was asked to review it."]
    if asks:
        row, warnings = yield from _ask_reviewers(repo, row, reviewers or [], run.account)
    return {
        "number": row.get("number"),
        "url": row.get("html_url"),
        "title": Prose().title(row.get("title")),
        "draft": bool(row.get("draft")),
        "head_sha": (row.get("head") or {}).get("sha"),
        "reviewers": reviewers_of(row),
        "existed": existed,
        **({"untrusted": True} if existed or issue else {}),
        **({"warnings": warnings} if warnings else {}),
        "summary": "There was one already for this branch." if existed else "Opened.",
    }


def _show(home: Home, given: Json, reviewers: Sequence[str], there: Json | None, issue: Json | None) -> Preview:
    """Preview the new pull request, or the request for reviews. ``there``: the pull request that is open already."""
    if there:
        pins = {"pull_request": there.get("node_id"), "number": there.get("number")}
        asked = sorted(set(reviewers))
        return home.shows(
            "Ask for a review of this pull request",
            pull_request=title_of(there),
            reviewers=asked,
            context={"link": there.get("html_url")},
            pins=pins,
        )
    return home.shows(
        "Turn this issue into a pull request" if issue else "Open this pull request",
        title=given.get("title"),
        issue=title_of(issue) if issue else None,
        text=given.get("body") or None,
        from_=given["head"],
        into=given["base"],
        reviewers=sorted(set(reviewers)) or None,
        draft=given["draft"] or None,
        maintainers_may_change_it=None if given["maintainer_can_modify"] else False,
        pins={"issue": issue.get("id") if issue else None},
    )


def _open(repo: str, head: str, base: str, given: Json) -> Asks[tuple[Json, bool]]:
    """Open the pull request. Return it and whether it existed. Head and base are GitHub's own key."""
    try:
        return (yield from api.write(rest("POST R/pulls", repo, json=given))), False
    except LOST as lost:
        raise_if_unsent(lost)
        yield Wait(2)
        there = yield from _find_between(repo, head, base)
        if there is None:
            raise
        return there, False
    except (Conflict, InvalidInput):
        there = yield from _find_between(repo, head, base)
        if there is None:
            raise
        return there, True


def _find_between(repo: str, head: str, base: str) -> Asks[Json | None]:
    """Return the open pull request from one branch to the other, or None."""
    whole = head if ":" in head else f"{repo.partition('/')[0]}:{head}"
    rows = yield from api.get("R/pulls", repo, params={"head": whole, "base": base, "state": "open"})
    same = [row for row in rows if (row.get("head") or {}).get("ref") == whole.partition(":")[2]]
    return dict(same[0]) if same else None


def _ask_reviewers(repo: str, row: Json, reviewers: Sequence[str], account: Account) -> Asks[tuple[Json, list[str]]]:
    people, teams = names.reviewers(reviewers, account)
    body = {"reviewers": people, "team_reviewers": teams}
    try:
        answer = yield from api.send(rest(ASKS, repo, at={"pull_number": row["number"]}, json=body, repeat="idem"))
    except DeputizeError as refused:
        return row, [f"The pull request was opened, but nobody was asked to review: {refused.message}"]
    return dict(answer.data), []
