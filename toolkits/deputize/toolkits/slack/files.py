"""Slack: files, in and out. Bytes never pass through a model: they are kept aside, and known by a handle.

docs.slack.dev/messaging/working-with-files. Putting a file up takes three steps: an address is asked for, the bytes go
there without any token, and only the last step shows the file to anybody.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal
from urllib.parse import unquote, urlsplit

from pydantic import Field

from deputize.core import (
    Answer,
    Effect,
    File,
    Keep,
    Need,
    PublicRequest,
    Request,
    Run,
    Steps,
    Take,
    any_of,
)
from deputize.core.act.request import MIB
from deputize.core.act.tool import Arguments
from deputize.core.errors import DeputizeError, InvalidInput, NotFound, OutcomeUnknown, ProviderUnavailable
from deputize.toolkits._shared import times
from deputize.toolkits._shared.arguments import Cursor, Limit, Offset
from deputize.toolkits._shared.html import read_html
from deputize.toolkits._shared.page import Rows
from deputize.toolkits._shared.text import decode, window
from deputize.toolkits.slack import api, places, refs, rows, users
from deputize.toolkits.slack.api import Place
from deputize.toolkits.slack.base import SLACK, After, Asks, Caller, Conversation, Json, Row, Ts
from deputize.toolkits.slack.mrkdwn import to_mrkdwn
from deputize.toolkits.slack.once import once
from deputize.toolkits.slack.places import Spot
from deputize.toolkits.slack.send import mentions
from deputize.toolkits.slack.text import Reader

LARGEST: Final = 25 * MIB
_HOST: Final = "files.slack.com"
_SHOWN: Final = 1_800  # bytes of a text in a result
_READABLE: Final = ("text/", "application/json", "application/csv", "application/xml", "application/javascript")
_CANVAS: Final = ("quip", "canvas")
_CHARSET = re.compile(r"charset=\"?([\w.:-]{1,40})", re.IGNORECASE)

Types = Literal["images", "pdfs", "snippets", "canvases", "all"]
Handles = Annotated[list[str], Field(min_length=1, max_length=10, description="file handles")]


def _list_needs(arguments: Arguments) -> Sequence[Need]:
    named = arguments["conversation"]
    user = [arguments["by"]] if arguments["by"] else []
    found = [*(refs.naming(refs.safely(named)) if named else []), *refs.naming_people(user)]
    return [*found, any_of("files:read", method="files.list")]


@SLACK.tool(needs=_list_needs, toolset="more")
def list_files(
    conversation: Conversation | None = None,
    by: str | None = None,
    types: list[Types] | None = None,
    after: After = None,
    before: str | None = None,
    limit: Limit = 20,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """List files shared in a conversation or by someone."""
    caller = Caller.of(run)
    bound_to = ("slack_list_files", run.account.subject, conversation, by, types, after, before)
    place = Place.of(bound_to, cursor, limit, run.now)
    start, end = times.window(after, before, place.since)
    spot = (yield from places.find(conversation, caller)) if conversation else None
    [owner] = (yield from users.find([by], "by", caller)) if by else [{}]
    asked = {
        "channel": spot.id if spot else None,
        "user": owner.get("id"),
        "types": ",".join(types) if types and "all" not in types else None,
        "ts_from": str(start) if start is not None else None,
        "ts_to": str(end) if end is not None else None,
        "count": place.size,
        "page": place.page,
        "team_id": caller.team,
    }
    answer = yield api.call("files.list", asked)
    page = [one for one in answer.get("files") or () if isinstance(one, dict)]
    here = page[place.skip :][:limit]
    names = yield from users.names(rows.writers_of(here), caller)
    kept = Rows()
    done = next((n for n, one in enumerate(here) if not kept.add(_listed(one, names))), len(here))
    pages = int((answer.get("paging") or {}).get("pages") or 0)
    return {
        "items": kept.items,
        "next": place.after(done, len(page), str(place.page + 1) if pages > place.page else "", limit),
        "truncated": done < len(here),
        "time_zone": times.ZONE,
    }


def _listed(file: Row, names: Mapping[str, str]) -> Json:
    return rows.file_row(file, names) | {"url": Reader().line(str(file.get("permalink") or ""), 160)}


# ----------------------------------------------------------------- down


@SLACK.tool(needs=[any_of("files:read", method="files.info")])
def get_file(file_id: str, offset: Offset = 0, *, run: Run) -> Steps:
    """Read a file or canvas: text if readable, and a file handle."""
    file = (yield api.call("files.info", {"file": file_id}))["file"]
    names = yield from users.names([str(file.get("user") or "")], Caller.of(run))
    reader = Reader()
    found: Json = rows.file_row(file, names) | {"url": reader.line(str(file.get("permalink") or ""), 200)}
    if int(file.get("size") or 0) > LARGEST:
        return found | {"summary": f"Too large to fetch: at most {LARGEST} bytes."}
    content = yield from _content(file)
    if content is None:
        return found | {"summary": "Slack keeps this file elsewhere; only its link is known."}
    mime, name = str(file.get("mimetype") or ""), str(file.get("name") or file.get("title") or "file")
    if not offset:
        kept = yield Keep(File(name, mime or "application/octet-stream", content))
        found |= {"handle": kept["file"], "handle_expires": kept["expires"]}
    if (text := _text(file, content, reader)) is not None:
        found |= _piece(reader.text(text), offset)
    reader.mark(found)
    return found


def _content(file: Row) -> Asks[bytes | None]:
    """The bytes of a file; None where Slack does not keep them. Raises `NotFound` for a page to log in with."""
    request = _download(str(file.get("url_private") or ""))
    if request is None:
        return None
    answer: Answer = yield request
    kind = str(answer.headers.get("content-type") or "")
    login = "html" in kind and "html" not in str(file.get("mimetype") or "") and not _is_canvas(file)
    if answer.status >= 300 or login or not isinstance(answer.data, bytes):
        raise NotFound("Slack did not return the file.", hint="The user may have to sign in to Slack again.")
    return answer.data


def _download(url: str) -> Request | None:
    """The request for a file's own address; None for any other host than Slack's for files."""
    try:
        parts = urlsplit(url)
        segments = [unquote(part, errors="strict") for part in parts.path.split("/") if part]
        known = parts.scheme == "https" and parts.netloc == _HOST and bool(segments)
    except ValueError:
        return None
    if not known:
        return None
    at = {f"s{n}": part for n, part in enumerate(segments)}
    path = "".join(f"/{{{name}}}" for name in at)
    return Request("GET", path, at=at, api="files", raw=True, whole=True, max_bytes=LARGEST)


def _is_canvas(file: Row) -> bool:
    return file.get("filetype") in _CANVAS or "slack-docs" in str(file.get("mimetype") or "")


def _text(file: Row, content: bytes, reader: Reader) -> str | None:
    """What can be read of a file; None for one that is no text."""
    mime = str(file.get("mimetype") or "").lower()
    if not mime.startswith(_READABLE) and not _is_canvas(file):
        return None
    charset = _CHARSET.search(mime)
    text = decode(content, charset[1] if charset else "")
    if "html" not in mime and not _is_canvas(file):
        return text
    page = read_html(text)
    reader.hidden += page.hidden
    reader.doubts |= page.doubts
    return page.text


def _piece(text: str, offset: int) -> Json:
    piece, more = window(text, offset, _SHOWN)
    said: Json = {"text": piece, "next": more, "total_chars": len(text) if more or offset else None}
    return {name: value for name, value in said.items() if value is not None}


# ----------------------------------------------------------------- up


def _upload_needs(arguments: Arguments) -> Sequence[Need]:
    ref = refs.safely(arguments["conversation"])
    return [*refs.naming(ref, sends=True), any_of("files:write", method="files.completeUploadExternal")]


@SLACK.tool(needs=_upload_needs, effect=Effect.SENDS)
def upload_file(
    conversation: Conversation,
    attachments: Handles,
    body: Annotated[str | None, Field(description="comment")] = None,
    title: Annotated[str | None, Field(max_length=200)] = None,
    thread_ts: Ts | None = None,
    *,
    run: Run,
) -> Steps:
    """Upload a file to a conversation or thread."""
    caller = Caller.of(run)
    ref = refs.read(conversation)
    comment = to_mrkdwn(body) if body else None
    if run.noted:
        spot = Spot.of_note(run.noted)
        ids = [str(one) for one in run.noted["files"]]
    else:
        files = yield from _taken(attachments)
        spot = yield from places.find(conversation, caller, sends=True)
        comment = to_mrkdwn(body, (yield from mentions(body, caller))) if body else None
        ids = yield from _laid_up(files)
    shown = [{"id": one, **({"title": title} if title else {})} for one in ids]
    asked = {
        "files": shown,
        "channel_id": spot.id,
        "initial_comment": comment,
        "thread_ts": thread_ts or ref.thread_ts or ref.ts or None,
    }
    done = yield from once(
        run,
        {**spot.noted, "files": ids},
        lambda: _completed(asked),
        lambda: _shared(ids, spot.id, caller),
    )
    url = next((str(one.get("permalink") or "") for one in done), "")
    return rows.lean({**spot.shown, "file_ids": ids, "url": Reader().line(url, 200), "summary": "Uploaded."})


def _taken(handles: Sequence[str]) -> Asks[list[File]]:
    """The user's files behind these handles. Raises `InvalidInput` for an empty one."""
    found: list[File] = []
    for handle in handles:
        file: File = yield Take(handle)
        if not file.content:
            raise InvalidInput("attachments: a file is empty.")
        found.append(file)
    return found


def _laid_up(files: Sequence[File]) -> Asks[list[str]]:
    """The files at Slack, seen by nobody yet; their ids. Both steps leave nothing behind that counts."""
    ids: list[str] = []
    for file in files:
        asked = {"filename": file.name, "length": len(file.content)}
        try:
            told = yield api.call("files.getUploadURLExternal", asked, repeat="idem", prepares=True)
            answer: Answer = yield _put(str(told["upload_url"]), file)
        except OutcomeUnknown:
            raise ProviderUnavailable("Slack is not available now; nothing was posted.") from None
        if answer.status >= 300:
            raise ProviderUnavailable("Slack refused the file; nothing was posted.")
        ids.append(str(told["file_id"]))
    return ids


def _put(url: str, file: File) -> PublicRequest:
    """The bytes, to the address that Slack gave: its own only, although no token goes there."""
    if not url.startswith((f"https://{_HOST}/", "https://slack.com/")):
        raise InvalidInput("Slack returned an upload address that is not its own.", fix_by="operator")
    mime = "application/octet-stream"
    return PublicRequest(url, "POST", file.content, mime, repeat="idem", prepares=True, max_bytes=MIB)


def _completed(asked: Mapping[str, object]) -> Asks[list[Row]]:
    answer = yield api.call("files.completeUploadExternal", asked, repeat="write")
    return [one for one in answer.get("files") or () if isinstance(one, dict)]


def _shared(ids: Sequence[str], conversation: str, caller: Caller) -> Asks[list[Row] | None]:
    """The files, if all of them are in the conversation; None where they are not, or nobody may look."""
    if "files:read" not in caller.granted:
        return None
    answers = yield from api.many([api.call("files.info", {"file": one}) for one in ids])
    files = [answer["file"] for answer in answers if not isinstance(answer, DeputizeError)]
    return files if len(files) == len(ids) and all(_is_in(one, conversation) for one in files) else None


def _is_in(file: Row, conversation: str) -> bool:
    shares = file.get("shares") or {}
    by_kind = [kind for kind in shares.values() if isinstance(kind, dict)] if isinstance(shares, dict) else []
    listed = [one for name in ("channels", "groups", "ims") for one in file.get(name) or ()]
    return conversation in listed or any(conversation in kind for kind in by_kind)
