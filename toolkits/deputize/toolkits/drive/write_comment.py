"""Drive: comment on a file, answer a comment, resolve it. A lost response is looked up, and nothing is sent again."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import Field

from deputize.core import Effect, Need, Preview, Request, Run, SaveNote, Steps, Wait
from deputize.core.errors import InvalidInput, OutcomeUnknown
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared.page import lean
from deputize.toolkits.drive.access import audience, load_permissions, people_of
from deputize.toolkits.drive.base import ALL, DRIVE, Asks, FileRef, Json, Row, comments_on, reads, sees
from deputize.toolkits.drive.comments import FIELDS
from deputize.toolkits.drive.contents import check_readable
from deputize.toolkits.drive.target import check_may, file_words, load_target, seen_by

_MENTION: Final = re.compile(r"[+@]([\w.%+-]{1,64}@[\w.-]{1,190}\w)")
_WRITTEN: Final = "id,content,author(me)"
_LOOKS: Final = 2
_PAUSE: Final = 3.0  # seconds before each look
_SKEW: Final = 60  # seconds by which Google's clock and this machine's may differ


def _needs(arguments: Arguments) -> Sequence[Need]:
    found = [sees("files.get", ALL), sees("permissions.list", ALL)]
    if arguments["comment"]:
        return [*found, replace(reads("comments.get"), ask=ALL), comments_on("replies.create")]
    return [*found, comments_on("comments.create")]


@DRIVE.tool(needs=_needs, effect=Effect.SENDS)
def write_comment(
    file: FileRef,
    text: Annotated[str, Field(description="@address mentions and mails somebody", max_length=4_000)] = "",
    quote: Annotated[str | None, Field(description="passage it is about, copied", max_length=2_000)] = None,
    comment: Annotated[str | None, Field(description="id, to answer it")] = None,
    resolve: Annotated[bool, Field(description="close that comment")] = False,
    *,
    run: Run,
) -> Steps:
    """Comment on a file, or answer or resolve a comment."""
    if not text.strip() and not resolve:
        raise InvalidInput("text: empty.", hint="Give the words of the comment.")
    if (resolve and not comment) or (quote and comment):
        raise InvalidInput("comment: resolve needs one, and an answer has no quote.", hint="See drive_list_comments.")
    found = yield from load_target(file, run)
    check_readable(found)
    check_may(found, "canComment", "comment on")
    id = str(found["id"])
    permissions = yield from load_permissions(found)
    answered = (yield _get(id, comment)) if comment else None
    named = list(dict.fromkeys(one.lower() for one in _MENTION.findall(text)))
    what = "Comment on this file" if not comment else "Answer this comment" if not resolve else "Resolve this comment"
    yield Preview(
        what,
        audience=audience(
            [*(permissions or ()), *map(_as_reader, named)] if permissions is not None else None, run.account
        ),
        people=[*people_of(permissions, run.account), *named],
        where=file_words(found),
        context=_answered_words(answered) if answered else None,
        text=text or None,
        about=quote,
        mail=[f"to {one}" for one in named] or None,
        can_see=seen_by(permissions, found),
        pins={"file": id, "comment": comment, "action": "resolve" if resolve else None},
        targets={"file": str(found.get("name") or "")},
    )
    body: Json = lean({"content": text, "action": "resolve" if resolve else None})
    body |= {"quotedFileContent": {"value": quote, "mimeType": "text/plain"}} if quote else {}
    made = yield from _write_once(run, id, comment, body)
    return lean({"id": comment or made.get("id"), "reply_id": made.get("id") if comment else None, "mentioned": named})


def _as_reader(address: str) -> Json:
    return {"type": "user", "emailAddress": address}


def _get(id: str, comment: str) -> Request:
    path = "/files/{id}/comments/{comment}"
    return Request("GET", path, at={"id": id, "comment": comment}, params={"fields": FIELDS})


def _answered_words(comment: Row) -> Json:
    quoted = (comment.get("quotedFileContent") or {}).get("value")
    return {
        "comment": str(comment.get("content") or ""),
        "of": str((comment.get("author") or {}).get("displayName") or "somebody"),
        "about_the_passage": quoted,
        "replies": [str(one.get("content") or "") for one in comment.get("replies") or () if not one.get("deleted")],
    }


def _write_once(run: Run, id: str, comment: str | None, body: Json) -> Asks[Row]:
    """Return the new comment or reply. Raises `OutcomeUnknown` if it may have been written and is not found."""
    if not run.noted:
        path, at = "/files/{id}/comments", {"id": id}
        if comment:
            path, at = "/files/{id}/comments/{comment}/replies", {"id": id, "comment": comment}
        try:
            made: Row = yield Request("POST", path, at=at, params={"fields": _WRITTEN}, json=body)
        except OutcomeUnknown:
            yield SaveNote({"at": run.now})
        else:
            return made
    for _ in range(_LOOKS):
        yield Wait(_PAUSE)
        if found := (yield from _look(id, comment, str(body.get("content") or ""), _started(run))):
            return found
    raise OutcomeUnknown("Google's answer was lost: the comment may have been written.", hint="List the comments.")


def _started(run: Run) -> float:
    return float((run.noted or {}).get("at", run.now)) - _SKEW


def _look(id: str, comment: str | None, text: str, since: float) -> Asks[Row | None]:
    """Return the user's own comment or reply with this text, written since a time."""
    at = f"{datetime.fromtimestamp(since, UTC):%Y-%m-%dT%H:%M:%S.000Z}"
    listed: list[Any] = []
    if comment:
        answered = yield _get(id, comment)
        listed = [one for one in answered.get("replies") or () if str(one.get("createdTime") or "") >= at]
    else:
        params = {"fields": f"comments({_WRITTEN})", "pageSize": 100, "startModifiedTime": at}
        page = yield Request("GET", "/files/{id}/comments", at={"id": id}, params=params)
        listed = list(page.get("comments") or ())
    return next((one for one in listed if _is_mine(one) and str(one.get("content") or "") == text), None)


def _is_mine(one: Mapping[str, Any]) -> bool:
    return bool((one.get("author") or {}).get("me"))
