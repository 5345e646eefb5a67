"""Linear: relations between issues, links on them, and who follows them."""

from __future__ import annotations

import re
from typing import Final, Literal

from deputize.core import Alias, Effect, Run, Steps
from deputize.core.act.tool import Arguments
from deputize.core.errors import DeputizeError, InvalidInput, NotFound, ProviderUnavailable
from deputize.toolkits.linear import names
from deputize.toolkits.linear.api import Asks, change, found_after, get, gone_is_done, make, remember
from deputize.toolkits.linear.base import LINEAR, READ, WRITE, Json
from deputize.toolkits.linear.create import https
from deputize.toolkits.linear.rows import lean, nodes, said

Relation = Literal["blocks", "blocked_by", "duplicate", "related"]
_GITHUB: Final = re.compile(r"https://github\.com/[\w.-]+/[\w.-]+/(pull|issues)/[0-9]+/?")


@LINEAR.tool(
    needs=[READ, WRITE],
    effect=Effect.WRITES | Effect.SENDS,
    aliases=[Alias("Linear.CreateIssueRelation", {"related_issue": "related"})],
)
def relate_issues(issue: str, related: str, type: Relation = "related", remove: bool = False, *, run: Run) -> Steps:
    """Link two issues (blocks, blocked by, duplicate, related) or remove the link."""
    left, right = (yield from names.issue(issue)), (yield from names.issue(related, "related"))
    if left["id"] == right["id"]:
        raise InvalidInput("related: must be another issue.")
    if type == "blocked_by":
        left, right = right, left
    kind = "blocks" if type == "blocked_by" else type
    shown = {"type": type, "issue": issue, "related": related}
    there = yield from _relation(left, right, kind)
    if remove:
        if there is None:
            return shown | {"summary": "There is no such relation."}
        yield from gone_is_done(change("IssueRelationDelete", id=there))
        return shown | {"relation_id": there, "summary": "Removed."}
    if there is not None:
        return shown | {"relation_id": there, "existed": True}
    yield from remember(run.noted, run.key.uuid)
    wanted = {"id": run.key.uuid, "issueId": left["id"], "relatedIssueId": right["id"], "type": kind}

    def look(id: str) -> Asks[Json | None]:
        found = yield from _relation(left, right, kind)
        return {"id": found} if found == id else None

    made, existed = yield from make("IssueRelationCreate", wanted, look)
    return shown | lean({"relation_id": made.get("id"), "existed": existed})


def _relation(left: Json, right: Json, kind: str) -> Asks[str | None]:
    """The id of a relation that is there already; "related" may have been made from either side."""
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
    if remove:
        return (yield from _unlinked(found, address))
    yield from remember(run.noted, run.key.uuid)
    kind = _GITHUB.fullmatch(address)
    wanted = {"id": run.key.uuid, "issueId": found["id"], "url": address, "title": title}
    existed = False
    try:
        made = yield from _linked({"pull": "Pr", "issues": "Issue"}[kind[1]] if kind else "", wanted)
    except ProviderUnavailable as lost:
        there = yield from found_after(_there(found, address), lost)
        if there is None:
            raise lost from None
        made, existed = there, True
    result = {
        "attachment_id": made.get("id"),
        "title": said(made.get("title")),
        "url": said(made.get("url"), 2_000),
        "kind": made.get("sourceType"),
        "issue": found["identifier"],
        "existed": existed,
        "undo": {"tool": "linear_link_url", "args": {"issue": found["identifier"], "url": address, "remove": True}},
    }
    return lean(result)


def _linked(github: str, wanted: Json) -> Asks[Json]:
    """The link. The same address on the same issue is one link at Linear, however often it is made."""
    if github:
        try:
            return dict((yield from change(f"AttachmentLinkGitHub{github}", **wanted))["attachment"])
        except DeputizeError as refused:  # a workspace that is not connected with GitHub: a plain link serves as well
            if refused.code in ("rate_limited", "provider_unavailable", "outcome_unknown"):
                raise
    return dict((yield from change("AttachmentLinkUrl", **wanted))["attachment"])


def _there(found: Json, address: str) -> Asks[Json | None]:
    """The link on an issue that leads to this address."""
    blocks = {"comments": False, "attachments": True, "relations": False, "children": False}
    node = yield from get("Issue", id=found["id"], **blocks)
    same = [one for one in nodes(node.get("attachments")) if str(one.get("url")).rstrip("/") == address.rstrip("/")]
    return same[0] if same else None


def _unlinked(found: Json, address: str) -> Asks[Json]:
    there = yield from _there(found, address)
    if there is None:
        raise NotFound(
            "url: the issue has no link with this url.", hint="linear_get_issue with include=[attachments] lists them."
        )
    yield from gone_is_done(change("AttachmentDelete", id=there["id"]))
    return {"attachment_id": there["id"], "issue": found["identifier"], "summary": "Removed."}


def _follows(arguments: Arguments) -> Effect:
    """Asks when somebody else than the user gets mail of the issue, or no longer does."""
    own = arguments["person"].strip().lower() == "me"
    return Effect.WRITES if own else Effect.WRITES | Effect.SENDS


@LINEAR.tool(
    needs=[READ, WRITE],
    effect=_follows,
    gravest=Effect.WRITES | Effect.SENDS,
    aliases=["Linear.ManageIssueSubscription"],
)
def set_subscription(issue: str, subscribed: bool = True, person: str = "me", *, run: Run) -> Steps:
    """Subscribe me (or a person) to an issue, or unsubscribe."""
    found = yield from names.issue(issue)
    who = yield from names.user_id(person, run.account, "person")
    yield from change("IssueSubscribe" if subscribed else "IssueUnsubscribe", id=found["id"], userId=who)
    return {"issue": found.get("identifier"), "person": person, "subscribed": subscribed}
