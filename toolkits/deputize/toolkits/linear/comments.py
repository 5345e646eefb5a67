"""Linear: comments and their threads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Literal

from pydantic import Field

from deputize.core import Alias, Change, Continuation, Effect, Need, Run, Steps, Undo
from deputize.core.errors import InvalidInput, NotFound
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared.arguments import Append, Body, Cursor, IfText, Limit, Offset, Raw, Replaces
from deputize.toolkits._shared.long_text import Edit, digest
from deputize.toolkits.linear import matching
from deputize.toolkits.linear import name_lookup as names
from deputize.toolkits.linear.api import Asks, Listing, change, get, look_by_filter, make, new_text
from deputize.toolkits.linear.base import CREATES_COMMENTS, LINEAR, READ, WRITE, Json, Noted
from deputize.toolkits.linear.load_entity import comment_place, holder, load_by_id, load_existing
from deputize.toolkits.linear.preview import Place, as_changes, loses, project_place, undo, version_of
from deputize.toolkits.linear.rows import comment_row, lean, name, second
from deputize.toolkits.linear.texts import QUOTED, ROW_BODY, whole_row

Target = Literal["issue", "project", "document", "initiative", "project_update", "initiative_update"]
_FILTERS: Final = {
    "issue": "issue",
    "initiative": "initiative",
    "project_update": "projectUpdate",
    "initiative_update": "initiativeUpdate",
}


@LINEAR.tool(
    needs=[READ],
)
def list_comments(
    target: Annotated[str | None, Field(description="ENG-123, URL or id")] = None,
    target_kind: Target = "issue",
    comment_id: Annotated[str | None, Field(description="this one whole")] = None,
    offset: Offset = 0,
    raw: Raw = False,
    state: Literal["open", "resolved", "all"] = "all",
    inline: Annotated[Literal["only", "none", "all"], Field(description="quoting text")] = "all",
    limit: Limit = 20,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """Comments of an issue, project, document, initiative or status update, as threads."""
    if comment_id:
        node = yield from _comment(comment_id, "comment_id")
        row = comment_row(node, QUOTED)
        more = Continuation("linear_list_comments", comment_id=str(node["id"]))
        return whole_row(row, node, offset, raw=raw, more=more)
    if not target or offset or raw:
        raise InvalidInput("target: needed to list comments.", hint="Give target; or comment_id, to read one whole.")
    narrow = yield from _filter_for(target, target_kind)

    def wanted(node: Json) -> bool:
        fits = state == "all" or (state == "resolved") == bool(node.get("resolvedAt"))
        return fits and (inline == "all" or (inline == "only") == bool(node.get("quotedText")))

    filters = (target, target_kind, state, inline)
    listing = Listing("linear_list_comments", run.account, filters, limit, cursor, comment_row, wanted)
    return (yield from listing.of("Comments", filter=narrow))


def _filter_for(target: str, kind: Target) -> Asks[Json]:
    """Return the filter for an object's comments. Comments inside a project's text belong to that text."""
    if kind == "project":
        id = (yield from names.project(target, "target"))["id"]
        here = {"project": {"id": {"eq": id}}}
        return {"or": [here, {"documentContent": here}]}
    if kind == "document":
        found = yield from names.document(target)
        return {"documentContent": {"document": {"id": {"eq": found["id"]}}}}
    return {_FILTERS[kind]: {"id": {"eq": (yield from _id(target, kind))}}}


def _id(target: str, kind: Target) -> Asks[str]:
    if kind == "issue":
        return str((yield from names.issue(target, "target"))["id"])
    if kind == "project":
        return str((yield from names.project(target, "target"))["id"])
    if kind == "initiative":
        return str((yield from names.initiative(target, "target"))["id"])
    if not matching.is_id(target.strip()):
        raise InvalidInput("target: an update can only be named by its id.", hint="linear_list_updates lists them.")
    return target.strip()


def _write_needs(arguments: Arguments) -> Sequence[Need]:
    return [READ, WRITE if arguments["comment_id"] else CREATES_COMMENTS]


@LINEAR.tool(
    needs=_write_needs,
    effect=Effect.WRITES | Effect.SENDS,
    aliases=[
        Alias("Linear.AddComment", {"issue": "target"}),
        "Linear.UpdateComment",
    ],
)
def write_comment(
    body: Annotated[Body, Field(min_length=1, max_length=100_000, description="Markdown")],
    target: Annotated[str | None, Field(description="ENG-123, URL or id")] = None,
    target_kind: Target = "issue",
    reply_to: Annotated[str | None, Field(description="comment id")] = None,
    comment_id: Annotated[str | None, Field(description="edit this one")] = None,
    quoted_text: Annotated[str | None, Field(description="of a project or document")] = None,
    append: Append = False,
    replaces: Replaces = None,
    if_text: IfText = None,
    *,
    run: Run,
) -> Steps:
    """Comment on an issue, project, document, initiative or update; reply; or edit my comment."""
    edit = Edit(append, replaces, if_text)
    if edit != Edit() and not comment_id:
        raise InvalidInput("append, replaces, if_text: only when editing a comment.", hint="Give comment_id.")
    if comment_id:
        if target or reply_to or quoted_text:
            raise InvalidInput(
                "comment_id: an edit only takes body, append, replaces and if_text.",
                hint="Leave out the others, or leave out comment_id for a new comment.",
            )
        return (yield from _edit_comment(comment_id, body, edit, run.noted))
    if not target and not reply_to:
        raise InvalidInput("target: needed for a new comment.", hint="Give target, or reply_to.")
    if quoted_text and not target:
        raise InvalidInput(
            "quoted_text: only together with target and target_kind.", hint="Give target and target_kind."
        )
    above = (yield from _comment(reply_to, "reply_to")) if reply_to else None
    pins, stands = yield from _resolve_target(above, target, target_kind, quoted=bool(quoted_text))
    shows = stands.show(
        "Post this reply" if reply_to else "Post this comment",
        answers=above and f"{_author(above)}: {above.get('body') or ''}",
        quotes=quoted_text or None,
        text=body,
        pins=pins,
    )
    wanted = {"id": run.key.uuid, "body": body, **pins} | ({"quotedText": quoted_text} if quoted_text else {})
    made, existed = yield from make("CommentCreate", wanted, look_by_filter("Comments"), shows, run.noted)
    back = {"tool": "linear_archive", "args": {"kind": "comment", "id": made["id"], "action": "delete"}}
    yield undo(back, version=version_of(made.get("body")))
    return lean({"comment_id": made["id"], "url": made.get("url"), "target": target, "existed": existed, "undo": back})


def _resolve_target(above: Json | None, target: str | None, kind: Target, *, quoted: bool) -> Asks[tuple[Json, Place]]:
    """Return where the new comment goes: the ids to send, and the place in words.

    ``above``: the comment that is answered. A reply to a reply joins the same thread.
    """
    if above is None:
        return (yield from _place(str(target), kind, quoted=quoted))
    pins = {"parentId": above.get("parentId") or above["id"]}
    stands = yield from comment_place(above)
    if not target:
        return pins, stands
    ids, there = yield from _place(target, kind, quoted=quoted)
    return pins | ids, stands.to(there)


def _edit_comment(comment_id: str, body: str, edit: Edit, noted: Noted) -> Asks[Json]:
    """Replace a comment's text."""
    there = yield from _comment(comment_id, "comment_id")
    text = new_text(edit, "body", there.get("body"), body, ROW_BODY, noted)
    made = there
    if not text.done:
        stands = yield from comment_place(there)
        fields = as_changes({"text": text.old}, {"text": text.new})
        yield stands.show(
            "Edit this comment", pins={"comment_id": there["id"]}, destroys=loses(fields, "text"), **fields
        )
        yield text.note()
        made = (yield from change("CommentUpdate", id=there["id"], input={"body": text.new}))["comment"]
        now = str(made.get("body") or "")
        args = {"comment_id": made["id"], "body": text.old, "if_text": digest(now)}
        if text.old.strip() and now != text.old:
            yield Undo("linear_write_comment", args, holds={"text": now})
    return {"comment_id": made["id"], "url": made.get("url"), "summary": "Edited."}


_STATES: Final = {True: "resolved", False: "open"}


def _author(comment: Json) -> str:
    return name(comment.get("user")) or name(comment.get("botActor")) or "somebody"


def _comment(id: str, field: str) -> Asks[Json]:
    try:
        return (yield from load_by_id("CommentSeen", id.strip()))
    except NotFound:
        raise NotFound(
            f"{field}: no comment has this id, or it is not visible to this user.",
            hint="linear_list_comments lists them.",
        ) from None


def _place(target: str, kind: Target, *, quoted: bool) -> Asks[tuple[Json, Place]]:
    """Return the ids of the target of a comment, and its place."""
    if kind == "document":
        found = yield from names.document(target)
        stands = yield from holder(found)
        return {"documentContentId": found["documentContentId"]}, stands.inside(f"document {found.get('title')}")
    if kind == "project" and quoted:
        project = yield from names.project(target, "target")
        blocks = {"content": False, "milestones": False, "updates": False, "issues": False}
        whole = yield from get("Project", id=project["id"], **blocks)
        content = (whole.get("documentContent") or {}).get("id")
        if not content:
            raise InvalidInput("quoted_text: the project has no text.", hint="Leave quoted_text out.")
        return {"documentContentId": content}, (yield from project_place(project))
    if quoted:
        raise InvalidInput("quoted_text: only for the text of a project or document.", hint="Leave out quoted_text.")
    return (yield from _plain_place(target, kind))


def _plain_place(target: str, kind: Target) -> Asks[tuple[Json, Place]]:
    if kind == "issue":
        issue = yield from names.issue(target, "target")
        return {"issueId": issue["id"]}, (yield from holder({"issue": issue}))
    if kind == "project":
        project = yield from names.project(target, "target")
        return {"projectId": project["id"]}, (yield from project_place(project))
    if kind == "initiative":
        initiative = yield from names.initiative(target, "target")
        return {"initiativeId": initiative["id"]}, (yield from holder({"initiative": initiative}))
    update = yield from load_existing(kind, (yield from _id(target, kind)))
    field = "projectUpdateId" if kind == "project_update" else "initiativeUpdateId"
    return {field: update.id}, update.place.inside(f"a status update by {update.by}")


@LINEAR.tool(needs=[READ, WRITE], effect=Effect.SENDS)
def resolve_comment(comment_id: str, resolved: bool = True, resolving_comment_id: str | None = None) -> Steps:
    """Resolve or reopen a comment thread."""
    found = yield from _comment(comment_id, "comment_id")
    by = (yield from _comment(resolving_comment_id, "resolving_comment_id")) if resolving_comment_id else None
    stands = yield from comment_place(found)
    yield stands.show(
        "Resolve this thread of comments" if resolved else "Reopen this thread of comments",
        by=_author(found),
        text=found.get("body") or "",
        resolved_by=by and f"{_author(by)}: {by.get('body') or ''}",
        thread=Change(_STATES[bool(found.get("resolvedAt"))], _STATES[resolved]),
        pins={"comment_id": found["id"], "resolving_comment_id": by and by["id"]},
    )
    if resolved:
        made = yield from change("CommentResolve", id=found["id"], resolvingCommentId=by and by["id"])
    else:
        made = yield from change("CommentUnresolve", id=found["id"])
    if bool(found.get("resolvedAt")) != resolved:
        args = {"comment_id": found["id"], "resolved": not resolved}
        yield Undo("linear_resolve_comment", args, holds={"thread": _STATES[resolved]})
    comment = made["comment"]
    return lean(
        {"comment_id": comment["id"], "resolved_at": second(comment.get("resolvedAt")), "url": comment.get("url")}
    )
