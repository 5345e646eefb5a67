"""Slack: listing and reading files. A model never receives bytes: deputize stores the file and returns a handle."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal
from urllib.parse import unquote, urlsplit

from pydantic import Field

from deputize.core import Answer, Continuation, File, Keep, Need, Request, Run, Steps, any_of
from deputize.core.errors import DeputizeError, NotFound
from deputize.core.tools.steps import MIB
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared import times
from deputize.toolkits._shared.arguments import Cursor, Limit, Offset
from deputize.toolkits._shared.html import read_html
from deputize.toolkits._shared.page import Rows
from deputize.toolkits._shared.text import decode
from deputize.toolkits.slack import api, refs, rows, users, zone
from deputize.toolkits.slack import conversations as places
from deputize.toolkits.slack.api import Place
from deputize.toolkits.slack.base import SLACK, After, Asks, Before, Caller, Conversation, Json, Person, Row
from deputize.toolkits.slack.excerpts import plain_part
from deputize.toolkits.slack.text import Reader

LARGEST: Final = 25 * MIB
HOST: Final = "files.slack.com"
_READABLE: Final = ("text/", "application/json", "application/csv", "application/xml", "application/javascript")
_CANVAS: Final = ("quip", "canvas")
_CHARSET = re.compile(r"charset=\"?([\w.:-]{1,40})", re.IGNORECASE)

Types = Literal["images", "pdfs", "snippets", "canvases", "all"]


def _list_needs(arguments: Arguments) -> Sequence[Need]:
    named = arguments["conversation"]
    user = [arguments["by"]] if arguments["by"] else []
    found = [*(refs.needs_of(refs.try_read(named)) if named else []), *refs.people_needs(user)]
    return [*found, any_of("files:read", method="files.list")]


@SLACK.tool(needs=_list_needs, toolset="more")
def list_files(
    conversation: Conversation | None = None,
    by: Person = None,
    types: Annotated[list[Types] | None, Field(description="default all")] = None,
    after: After = None,
    before: Before = None,
    limit: Limit = 20,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """List files shared in a conversation or by someone."""
    caller = Caller.of(run)
    bound_to = ("slack_list_files", run.account.subject, conversation, by, types, after, before)
    place = Place.of(bound_to, cursor, limit, run.now)
    start, end = yield from zone.window(run, after, before, place.since)
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
    done = next((n for n, one in enumerate(here) if not kept.add(_file_item(one, names))), len(here))
    pages = int((answer.get("paging") or {}).get("pages") or 0)
    return {
        "items": kept.items,
        "next": place.after(done, len(page), str(place.page + 1) if pages > place.page else "", limit),
        "truncated": done < len(here),
        "time_zone": times.ZONE,
    }


def _file_item(file: Row, names: Mapping[str, str]) -> Json:
    return rows.file_row(file, names) | {"url": Reader().line(str(file.get("permalink") or ""), 160)}


# ----------------------------------------------------------------- download


@SLACK.tool(needs=[any_of("files:read", method="files.info")])
def get_file(file_id: str, offset: Offset = 0, *, run: Run) -> Steps:
    """Read a file or canvas: text if plain, and a file handle (files_read reads PDF, office by it)."""
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
        more = Continuation("slack_get_file", file_id=file_id)
        found |= plain_part(reader, text, offset, more, edited=_is_canvas(file))
    reader.mark(found)
    return found


def _content(file: Row) -> Asks[bytes | None]:
    """Return the bytes of a file, or None if Slack does not store the file. Raises `NotFound` for a sign-in page."""
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
    """Return the request for a file's address, or None for any host except Slack's file host."""
    try:
        parts = urlsplit(url)
        segments = [unquote(part, errors="strict") for part in parts.path.split("/") if part]
        known = parts.scheme == "https" and parts.netloc == HOST and bool(segments)
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
    """Return a file's text, or None if the file is not text."""
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


def load_text(file: Row) -> Asks[str | None]:
    """Return the whole current text of a file, or None if the file cannot be read."""
    try:
        content = yield from _content(file)
    except DeputizeError:
        return None
    return None if content is None else _text(file, content, Reader())
