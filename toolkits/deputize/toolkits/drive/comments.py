"""Drive: read comments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

from pydantic import Field

from deputize.core import Need, Request, Run, Steps
from deputize.core.tools.steps import MAX_RESPONSE_BYTES
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared import times
from deputize.toolkits._shared.arguments import Cursor, Limit
from deputize.toolkits._shared.page import Rows, lean, read_cursor, tokens, write_cursor
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.drive.base import DRIVE, GETS, FileRef, Json, Row, file_id, load_file, reads
from deputize.toolkits.drive.contents import check_readable
from deputize.toolkits.drive.rows import time_of

_AUTHOR: Final = "author(displayName,emailAddress,me)"
_REPLY: Final = f"id,{_AUTHOR},content,createdTime,action,deleted,assigneeEmailAddress"
FIELDS: Final = (
    f"id,{_AUTHOR},content,createdTime,modifiedTime,resolved,deleted,quotedFileContent(value),assigneeEmailAddress,"
    f"replies({_REPLY})"
)
_REPLIES: Final = 1_200  # tokens of the replies of one comment in a list


def _needs(arguments: Arguments) -> Sequence[Need]:
    return [GETS, reads("comments.get" if arguments["comment"] else "comments.list")]


@DRIVE.tool(needs=_needs)
def list_comments(
    file: FileRef,
    comment: Annotated[str | None, Field(description="id, to read all its replies")] = None,
    resolved: Annotated[bool, Field(description="with resolved ones")] = False,
    limit: Limit = 20,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """List the comments on a file with their replies, or all replies of one comment."""
    id = file_id(file)
    bound_to = ("drive_list_comments", run.account.subject, id, comment, resolved)
    place: list[Any] = read_cursor(bound_to, cursor, (str, int)) if cursor else ["", 0]
    check_readable((yield from load_file(id, run)))
    if comment:
        return (yield from _list_replies(id, comment, place, bound_to))
    params: Json = {"fields": f"nextPageToken,comments({FIELDS})", "pageSize": limit}
    params |= {"pageToken": place[0]} if place[0] else {}
    page = yield Request("GET", "/files/{id}/comments", at={"id": id}, params=params, max_bytes=MAX_RESPONSE_BYTES)
    found = list(page.get("comments") or ())
    kept = Rows()
    done = place[1]
    for one in found[place[1] :]:
        if (resolved or not one.get("resolved")) and not one.get("deleted") and not kept.add(comment_row(one)):
            break
        done += 1
    following = page.get("nextPageToken")
    after: list[str | int] = [place[0], done] if done < len(found) else [str(following), 0]
    more = done < len(found) or bool(following)
    return {
        "items": kept.items,
        "next": write_cursor(bound_to, after) if more else None,
        "truncated": done < len(found),
        "time_zone": times.ZONE,
    }


def _list_replies(id: str, comment: str, place: list[Any], bound_to: tuple[Any, ...]) -> Steps:
    at = {"id": id, "comment": comment}
    found = yield Request("GET", "/files/{id}/comments/{comment}", at=at, params={"fields": FIELDS})
    replies = [one for one in found.get("replies") or () if not one.get("deleted")]
    kept = Rows()
    if not place[1]:
        kept.add(comment_row({**found, "replies": []}))
    done = place[1]
    for one in replies[place[1] :]:
        if not kept.add(_reply_row(one, Outside(), alone=True)):
            break
        done += 1
    more = done < len(replies)
    return {
        "items": kept.items,
        "next": write_cursor(bound_to, ["", done]) if more else None,
        "truncated": more,
        "time_zone": times.ZONE,
    }


def comment_row(comment: Row) -> Json:
    """Return a comment with its replies as a row. Drive names authors only by names that they chose."""
    outside = Outside()
    author = comment.get("author") or {}
    row: Json = {
        "id": comment.get("id"),
        "by": outside.line(str(author.get("emailAddress") or author.get("displayName") or ""), 120),
        "date": time_of(comment.get("createdTime")),
        "text": outside.text(str(comment.get("content") or "")),
        "quote": outside.text(str((comment.get("quotedFileContent") or {}).get("value") or "")),
        "assigned_to": outside.line(str(comment.get("assigneeEmailAddress") or ""), 254),
        "resolved": bool(comment.get("resolved")),
    }
    replies = [one for one in comment.get("replies") or () if not one.get("deleted")]
    left, shown = _REPLIES, list[Json]()
    for one in replies:
        reply = _reply_row(one, outside)
        left -= tokens(reply)
        if left < 0:
            row["replies_left_out"] = len(replies) - len(shown)
            break
        shown.append(reply)
    row["replies"] = shown
    if row["quote"] or outside.hidden or not all((one.get("author") or {}).get("me") for one in (comment, *replies)):
        outside.mark(row)
    return lean(row)


def _reply_row(reply: Row, outside: Outside, *, alone: bool = False) -> Json:
    author = reply.get("author") or {}
    row: Json = {
        "by": outside.line(str(author.get("emailAddress") or author.get("displayName") or ""), 120),
        "date": time_of(reply.get("createdTime")),
        "text": outside.text(str(reply.get("content") or "")),
        "action": outside.line(str(reply.get("action") or ""), 20),
        "assigned_to": outside.line(str(reply.get("assigneeEmailAddress") or ""), 254),
    }
    if alone and (outside.hidden or not author.get("me")):
        outside.mark(row)
    return lean(row)
