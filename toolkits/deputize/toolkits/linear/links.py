"""Linear: relations between issues, links on them, and their subscribers."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from pydantic import Field

from deputize.core import Alias, Audience, Change, Effect, Preview, Run, SaveNote, Steps, Undo
from deputize.core.errors import DeputizeError, InvalidInput, NotFound, ProviderUnavailable
from deputize.core.tools.tool import Arguments
from deputize.toolkits.linear import name_lookup as names
from deputize.toolkits.linear import scalars
from deputize.toolkits.linear.api import Asks, change, get, ignore_missing, look_after, make
from deputize.toolkits.linear.base import LINEAR, READ, WRITE, Json
from deputize.toolkits.linear.create import https
from deputize.toolkits.linear.preview import as_changes, issue_place, issue_words
from deputize.toolkits.linear.preview import person as person_words
from deputize.toolkits.linear.rows import lean, line, nodes

Relation = Literal["blocks", "blocked_by", "duplicate", "related"]
_GITHUB: Final = re.compile(r"https://github\.com/[\w.-]+/[\w.-]+/(pull|issues)/[0-9]+/?")


@LINEAR.tool(
    needs=[READ, WRITE],
    effect=Effect.WRITES | Effect.SENDS,
)
def relate_issues(issue: str, related: str, type: Relation = "related", remove: bool = False, *, run: Run) -> Steps:
    """Link two issues (blocks, blocked by, duplicate, related) or remove the link."""
    left, right = (yield from names.issue(issue)), (yield from names.issue(related, "related"))
    if left["id"] == right["id"]:
        raise InvalidInput("related: must be another issue.", hint="Name the other issue.")
    if type == "blocked_by":
        left, right = right, left
    kind = "blocks" if type == "blocked_by" else type
    shown = {"type": type, "issue": issue, "related": related}
    there = yield from _relation(left, right, kind)
    call = {"issue": issue, "related": related, "type": type}
    if remove:
        if there is None:
            return shown | {"summary": "There is no such relation."}
        yield (yield from _preview("Remove this relation between issues", left, right, kind, {"relation_id": there}))
        yield from ignore_missing(change("IssueRelationDelete", id=there))
        yield Undo("linear_relate_issues", call)
        return shown | {"relation_id": there, "summary": "Removed."}
    if there is not None:
        return shown | {"relation_id": there, "existed": True}
    wanted = {"id": run.key.uuid, "issueId": left["id"], "relatedIssueId": right["id"], "type": kind}

    def look(id: str) -> Asks[Json | None]:
        found = yield from _relation(left, right, kind)
        return {"id": found} if found == id else None

    shows = yield from _preview("Relate these issues", left, right, kind, {})
    made, existed = yield from make("IssueRelationCreate", wanted, look, shows, run.noted)
    yield Undo("linear_relate_issues", call | {"remove": True}, {"relation_id": made.get("id")})
    return shown | lean({"relation_id": made.get("id"), "existed": existed})


_HOW: Final = {"blocks": "blocks", "duplicate": "is a duplicate of", "related": "is related to"}


def _preview(what: str, left: Json, right: Json, kind: str, pins: Json) -> Asks[Preview]:
    """Return the preview of a change of a relation."""
    stands = yield from issue_place([left, right])
    closes = kind == "duplicate" and not pins
    return stands.show(
        what,
        issue=issue_words(left),
        relation=_HOW[kind],
        related=issue_words(right),
        note="Linear closes an issue that becomes a duplicate." if closes else None,
        pins={"issueId": left["id"], "relatedIssueId": right["id"], "type": kind, **pins},
    )


def _relation(left: Json, right: Json, kind: str) -> Asks[str | None]:
    """Return the id of an existing relation. A "related" relation may have been created from either issue."""
    blocks = {"comments": False, "attachments": False, "relations": True, "children": False}
    node = yield from get("Issue", id=left["id"], **blocks)
    for one in nodes(node.get("relations")):
        if one.get("type") == kind and (one.get("relatedIssue") or {}).get("id") == right["id"]:
            return str(one["id"])
    for one in nodes(node.get("inverseRelations")):
        if kind == "related" and one.get("type") == kind and (one.get("issue") or {}).get("id") == right["id"]:
            return str(one["id"])
    return None


@LINEAR.tool(
    needs=[READ, WRITE],
    effect=Effect.WRITES | Effect.SENDS,
    aliases=[Alias("Linear.LinkGithubToIssue", {"github_url": "url", "issue_id": "issue"})],
)
def link_url(issue: str, url: str, title: str | None = None, remove: bool = False, *, run: Run) -> Steps:
    """Attach a link to an issue: GitHub pull request or issue, or any URL."""
    address = https(url, "url")
    found = yield from names.issue(issue)
    there = yield from _find_link(found, address)
    if remove:
        return (yield from _unlink(found, there))
    ours = there is None or bool(run.noted)  # an older link gets no undo
    existed = there is not None and title in (None, there.get("title"))
    if there is None or not existed:
        there, existed = yield from _attach(found, address, title, there, run)
    back = {"tool": "linear_link_url", "args": {"issue": found["identifier"], "url": address, "remove": True}}
    result = {
        "attachment_id": there.get("id"),
        "title": line(there.get("title")),
        "url": line(there.get("url"), 2_000),
        "kind": there.get("sourceType"),
        "issue": found["identifier"],
        "existed": existed,
        "undo": back if ours else None,
    }
    return lean(result)


def _attach(found: Json, address: str, title: str | None, there: Json | None, run: Run) -> Asks[tuple[Json, bool]]:
    """Add the link to the issue. True: an earlier attempt added it. A link to the same address gets the title."""
    kind = _GITHUB.fullmatch(address)
    stands = (yield from issue_place([found])).synced(["GitHub"] if kind else [])
    titled: Json = {"title": title} if there is None else as_changes({"title": there.get("title")}, {"title": title})
    pins = {"issue_id": found["id"], "attachment_id": there and there["id"]}
    note = "Where Linear is connected with GitHub it may name the issue there." if kind else None
    yield stands.show("Attach this link", link=address, issue=issue_words(found), pins=pins, **titled, note=note)
    if not run.noted:
        yield SaveNote({"id": run.key.uuid})
    wanted = {"id": run.key.uuid, "issueId": found["id"], "url": address, "title": title}
    try:
        made, existed = ((yield from _link({"pull": "Pr", "issues": "Issue"}[kind[1]] if kind else "", wanted)), False)
    except ProviderUnavailable as lost:
        seen = yield from look_after(_find_link(found, address), lost)
        if seen is None:
            raise lost from None
        made, existed = seen, True
    args = {"issue": found["identifier"], "url": address}
    if there is None:
        yield Undo("linear_link_url", args | {"remove": True}, {"attachment_id": made.get("id")})
    elif there.get("title"):
        yield Undo("linear_link_url", args | {"title": there["title"]}, {"title": made.get("title")})
    return made, existed


def _link(github: str, wanted: Json) -> Asks[Json]:
    """Create the link. Linear stores one link per address and issue, however often it is created."""
    if github:
        try:
            return dict((yield from change(f"AttachmentLinkGitHub{github}", **wanted))["attachment"])
        except DeputizeError as refused:  # a workspace without GitHub takes a plain link
            if refused.code in ("rate_limited", "provider_unavailable", "outcome_unknown"):
                raise
    return dict((yield from change("AttachmentLinkUrl", **wanted))["attachment"])


def _find_link(found: Json, address: str) -> Asks[Json | None]:
    """Return the issue's link to this address, or None."""
    blocks = {"comments": False, "attachments": True, "relations": False, "children": False}
    node = yield from get("Issue", id=found["id"], **blocks)
    same = [one for one in nodes(node.get("attachments")) if str(one.get("url")).rstrip("/") == address.rstrip("/")]
    return same[0] if same else None


def _unlink(found: Json, there: Json | None) -> Asks[Json]:
    if there is None:
        raise NotFound(
            "url: the issue has no link with this url.", hint="linear_get_issue with include=[attachments] lists them."
        )
    stands = yield from issue_place([found])
    pins = {"issue_id": found["id"], "attachment_id": there["id"]}
    yield stands.show(
        "Remove this link", link=there.get("url"), title=there.get("title"), issue=issue_words(found), pins=pins
    )
    yield from ignore_missing(change("AttachmentDelete", id=there["id"]))
    again = {"issue": found["identifier"], "url": there.get("url"), "title": there.get("title") or None}
    yield Undo("linear_link_url", scalars.present(again))
    return {"attachment_id": there["id"], "issue": found["identifier"], "summary": "Removed."}


def _subscription_effect(arguments: Arguments) -> Effect:
    """Return the effect: SENDS if another person starts or stops getting mail about the issue."""
    own = arguments["person"].strip().lower() == "me"
    return Effect.WRITES if own else Effect.WRITES | Effect.SENDS


Person = Annotated[str, Field(description="name, email or me")]


@LINEAR.tool(
    needs=[READ, WRITE],
    effect=_subscription_effect,
    gravest=Effect.WRITES | Effect.SENDS,
)
def set_subscription(issue: str, subscribed: bool = True, person: Person = "me", *, run: Run) -> Steps:
    """Subscribe me (or a person) to an issue, or unsubscribe."""
    who = yield from names.user(person, run.account, "person")
    found = yield from names.issue(issue, operation="IssueFollowed", who={"id": {"eq": who["id"]}})
    result = {"issue": found.get("identifier"), "person": person, "subscribed": subscribed}
    if bool(nodes(found.get("subscribers"))) == subscribed:
        return result
    own = who["id"] == names.own_id(run.account)
    yield Preview(
        _FOLLOWS[own, subscribed],
        audience=Audience.SELF if own else Audience.PEOPLE,
        people=[] if own else [str(who.get("email") or who["id"])],
        issue=issue_words(found),
        person=person_words(who),
        follows=Change("no", "yes") if subscribed else Change("yes", "no"),
        pins={"issue_id": found["id"], "person_id": who["id"]},
    )
    yield from change("IssueSubscribe" if subscribed else "IssueUnsubscribe", id=found["id"], userId=who["id"])
    back = {"issue": found["identifier"], "subscribed": not subscribed, "person": who["id"]}
    yield Undo("linear_set_subscription", back, {"follows": "yes" if subscribed else "no"})
    return result


_FOLLOWS: Final = {
    (True, True): "Follow this issue",
    (True, False): "Unfollow this issue",
    (False, True): "Make somebody else follow this issue",
    (False, False): "Make somebody else unfollow this issue",
}
