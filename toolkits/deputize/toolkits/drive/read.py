"""Drive: who can see a file, its text, and its bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal

from pydantic import Field

from deputize.core import Keep, Need, Request, Run, Steps
from deputize.core.tools.steps import Try
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared import times
from deputize.toolkits._shared.arguments import Cursor, Find
from deputize.toolkits._shared.document_text import Place, read_document
from deputize.toolkits._shared.page import lean, read_cursor, room_for, tokens, write_cursor
from deputize.toolkits._shared.text import Outside, window
from deputize.toolkits.drive import base
from deputize.toolkits.drive.access import access_lines, load_permissions
from deputize.toolkits.drive.base import DRIVE, FIELDS, GETS, METADATA_READONLY, SEES, Asks, FileRef, Json, Row
from deputize.toolkits.drive.contents import EXPORTS, TEXTS, load_content, without_pictures
from deputize.toolkits.drive.rows import file_row, file_type, folder_ids, is_own, name_of, person, time_of, writer_of

_DETAIL: Final = f"{FIELDS},description,createdTime,webViewLink"
_WHOLE: Final = 3_300  # tokens of a file's data
_DESCRIPTION: Final = 1_000  # tokens
_NAME: Final = 2_000  # bytes
_MAX_REVISIONS: Final = 20

Format = Literal["pdf", "docx", "xlsx", "pptx", "md", "txt", "csv", "html", "png", "json"]


def _get_needs(arguments: Arguments) -> Sequence[Need]:
    history = [base.sees("revisions.list", METADATA_READONLY)] if arguments["history"] else []
    return [SEES, base.sees("permissions.list", METADATA_READONLY), *history]


@DRIVE.tool(needs=_get_needs)
def get_file(
    file: FileRef,
    history: Annotated[bool, Field(description="who changed it when")] = False,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """Show what a file or folder is, and who can see it and why."""
    bound_to = ("drive_get_file", run.account.subject, base.file_id(file), history)
    start, offset = read_cursor(bound_to, cursor, (int, int)) if cursor else (0, 0)
    found = yield from base.load_file(file, run, _DETAIL)
    folders = yield from _folders_of(found)
    outside = Outside()
    row = file_row(found, folders, outside, name_limit=_NAME)
    row |= {"created": time_of(found.get("createdTime"))}
    row |= {"url": outside.line(str(found.get("webViewLink") or ""), 300), "time_zone": times.ZONE}
    if history and not cursor:
        row["history"] = yield from _history(found, outside)
    permissions = yield from load_permissions(found)
    lines = ["not visible to the user"]
    if permissions is not None:
        names = {id: name_of(one, Outside()) for id, one in folders.items()}
        lines = access_lines(permissions, found, names, outside)
    if outside.hidden or any(one.get("displayName") and not one.get("emailAddress") for one in permissions or ()):
        outside.mark(row)
    return _with_parts(row, outside.text(str(found.get("description") or "")), lines, start, offset, bound_to)


def _with_parts(
    row: Json, description: str, lines: Sequence[str], start: int, offset: int, bound_to: Sequence[object]
) -> Json:
    """Return the row with the description from a character on, the lines of who can see the file from one on, and the
    cursor of what is left of both."""
    shown, until = window(description, offset, room_for(description, offset, _DESCRIPTION))
    row |= {"description": shown}
    left, here = _WHOLE - tokens(row), list[str]()
    for line in lines[start:]:
        left -= tokens(line)
        if left < 0 and here:
            break
        here.append(line)
    after = start + len(here)
    row["access"] = here
    if start or after < len(lines):
        row["total_access"] = len(lines)
    if after < len(lines) or until is not None:
        row |= {
            "truncated": True,
            "next": write_cursor(bound_to, [after, len(description) if until is None else until]),
        }
    return lean(row)


def _folders_of(file: Row) -> Asks[dict[str, Row]]:
    """Return the folder of a file by its id, if the user may see it."""
    ids = folder_ids([file])
    answers = (yield Try([base.get_file(one) for one in ids])) if ids else []
    return {id: one for id, one in zip(ids, answers, strict=True) if one}


def _history(file: Row, outside: Outside) -> Asks[list[str] | str]:
    """Return the last changes, the newest first."""
    fields = "nextPageToken,revisions(id,modifiedTime,lastModifyingUser(emailAddress))"
    params = {"fields": fields, "pageSize": 1000}
    request = Request("GET", "/files/{id}/revisions", at={"id": str(file["id"])}, params=params)
    found: list[Row] = []
    for _ in range(5):
        [page] = yield Try([request])
        if page is None:
            return "not visible to the user"
        found += page.get("revisions") or ()
        if not (token := page.get("nextPageToken")):
            break
        request = Request("GET", request.path, at=request.at, params=params | {"pageToken": str(token)})
    newest = [
        f"{time_of(one.get('modifiedTime'))} {person(one.get('lastModifyingUser'), outside) or 'somebody'}"
        for one in found[: -_MAX_REVISIONS - 1 : -1]
    ]
    return newest + ([f"and {len(found) - len(newest)} earlier"] if len(found) > len(newest) else [])


# --------------------------------------------------------------------- text


@DRIVE.tool(needs=[GETS, base.reads("files.export")], aliases=["read_document"])
def read_file(
    file: FileRef,
    cursor: Place = "1",
    find: Find = None,
    member: Annotated[str, Field(description="a file of an archive or mail")] = "",
    *,
    run: Run,
) -> Steps:
    """Read, or search, a file's text: Google Docs as Markdown, Sheets, Slides, PDF, office, text, zip."""
    found = yield from _resolve(file, run)
    outside = Outside()
    content = yield from load_content(found, TEXTS.get(file_type(found, outside), ""))
    row: Json = yield from read_document(
        without_pictures(content), cursor, member=member, find=find, outside=outside, own=is_own(found)
    )
    facts = {"id": found.get("id"), "modified": time_of(found.get("modifiedTime")), "time_zone": times.ZONE}
    facts |= {} if is_own(found) else {"by": writer_of(found, outside)}
    return lean(facts) | row


def _resolve(named: str, run: Run) -> Asks[Row]:
    """Return the metadata of a file, or of the file to which a shortcut leads."""
    found: Row = yield from base.load_file(named, run)
    details = found.get("shortcutDetails")
    target = str(details.get("targetId") or "") if isinstance(details, Mapping) else ""
    return (yield from base.load_file(target, run)) if target else found


# ----------------------------------------------------------------- download


@DRIVE.tool(needs=[GETS, base.reads("files.export")])
def download_file(
    file: FileRef,
    format: Annotated[Format | None, Field(description="of a Doc, Sheet or Slides; default office")] = None,
    *,
    run: Run,
) -> Steps:
    """Fetch a file as a file handle, to attach or for files_read."""
    found = yield from _resolve(file, run)
    outside = Outside()
    usual = next(iter(EXPORTS.get(file_type(found, outside), ())), "")
    content = yield from load_content(found, format or usual)
    kept: Mapping[str, object] = yield Keep(content)
    row: Json = {
        "id": found.get("id"),
        "name": outside.line(content.name, 160),
        "type": outside.line(content.mime, 100),
    }
    row |= {"size": len(content.content), "handle": kept["file"], "expires": kept["expires"]}
    if not is_own(found) or outside.hidden:
        outside.mark(row)
    return row
