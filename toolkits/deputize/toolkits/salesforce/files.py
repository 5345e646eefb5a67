"""Salesforce: listing, fetching and uploading files on records (ContentVersion).

A file is a document (069...) with versions (068...), and a link attaches it to a record. An upload creates file and
link in the same request, so nothing is left half done.
"""

from __future__ import annotations

import base64
import hashlib
import mimetypes
from pathlib import PurePosixPath
from typing import Annotated, Any, Final

from pydantic import Field

from deputize.core import Audience, Continuation, Effect, File, Keep, Preview, Request, Run, Steps, Take
from deputize.core.errors import DeputizeError, InvalidInput, NotFound
from deputize.core.tools.stored_files import MAX_FILE_BYTES
from deputize.toolkits._shared.arguments import Cursor, Limit, Offset
from deputize.toolkits._shared.attached import shown_files
from deputize.toolkits._shared.file_text import file_text
from deputize.toolkits._shared.long_text import PART, part
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.salesforce import preview
from deputize.toolkits.salesforce.base import API, DATA, SALESFORCE, Asks, Json, record_id, rows_of
from deputize.toolkits.salesforce.idempotent_create import creation, make_once
from deputize.toolkits.salesforce.paging import after_cursor, order, page_of
from deputize.toolkits.salesforce.rich_text import PLAIN
from deputize.toolkits.salesforce.soql import select, text

_LINK: Final = "ContentDocumentLink"
_NOTE: Final = "SNOTE"  # the type of notes, which are read as such


@SALESFORCE.tool(needs=[API])
def list_files(
    record: Annotated[str, Field(description="record id")], limit: Limit = 20, cursor: Cursor = None, *, run: Run
) -> Steps:
    """Files and notes on a record."""
    at = record_id(record, "record")
    bound = ("salesforce_list_files", run.account.subject, at)
    fields = [
        f"ContentDocument.{name}" for name in ("Title", "FileExtension", "FileType", "ContentSize", "CreatedDate")
    ]
    where = [f"LinkedEntityId = {text(at)}"]
    if cursor:
        where.append((yield from after_cursor(bound, cursor, _LINK, "Id", "id", "ASC")))
    wanted = ("Id", "ContentDocumentId", *fields)
    every = yield from rows_of(select(wanted, _LINK, where, order("Id", "ASC"), limit + 1))
    return page_of(every, limit, bound, "Id", _file_row)


def _file_row(link: Json) -> Json:
    outside = Outside()
    kind = str(link.get("ContentDocument.FileType") or "")
    title = outside.line(str(link.get("ContentDocument.Title") or ""), 120)
    id = link.get("ContentDocumentId")
    if kind == _NOTE:
        row: Json = {"object": "ContentNote", "record": id, "title": title}
    else:
        row = {"file": id, "title": title, "type": kind, "size": link.get("ContentDocument.ContentSize")}
    outside.mark(row)
    return row


@SALESFORCE.tool(needs=[API])
def get_file(
    file: Annotated[str, Field(description="as salesforce_list_files has it")],
    offset: Annotated[Offset, Field(description="into its text")] = 0,
) -> Steps:
    """Fetch a file: its text if plain, and a file handle (files_read reads PDF, office by it)."""
    at = record_id(file, "file")
    version = yield from _version(at)
    outside = Outside()
    name = _name(version)
    mime = mimetypes.guess_type(name)[0] or "application/octet-stream"
    size = int(version.get("ContentSize") or 0)
    told: Json = {"name": outside.line(name, 255), "mime": mime, "size": size}
    if size > MAX_FILE_BYTES:
        outside.mark(told)
        return told | {"summary": f"Too large to be fetched: at most {MAX_FILE_BYTES} bytes."}
    content: bytes = yield Request(
        "GET",
        f"{DATA}/sobjects/ContentVersion/{{id}}/VersionData",
        at={"id": str(version["Id"])},
        raw=True,
        max_bytes=MAX_FILE_BYTES,
    )
    if not offset:
        kept = yield Keep(File(name, mime, content))
        told |= {"handle": kept["file"], "expires": kept["expires"]}
    if (said := file_text(content, mime, outside)) is not None:
        shown = part(PLAIN, outside, said, PART, offset, more=Continuation("salesforce_get_file", file=at))
        told |= {what: value for what, value in shown.items() if what != "text_digest"}
    outside.mark(told)
    return told


def _version(id: str) -> Asks[Json]:
    """Return the version of this id, or the latest version of the document of this id. Raises `NotFound`."""
    where = [f"Id = {text(id)}"] if id.startswith("068") else [f"ContentDocumentId = {text(id)}", "IsLatest = TRUE"]
    fields = ("Id", "Title", "FileExtension", "ContentSize")
    rows = yield from rows_of(select(fields, "ContentVersion", where, (), 1))
    if not rows:
        raise NotFound(
            "file: no file has this id, or it is not visible to this user.", hint="salesforce_list_files lists them."
        )
    return rows[0]


def _document(version: str) -> Asks[str]:
    """Return the id of a version's document, by which lists name a file, or the version's id if it cannot be read."""
    try:
        rows = yield from rows_of(select(("ContentDocumentId",), "ContentVersion", [f"Id = {text(version)}"], (), 1))
    except DeputizeError:  # the file exists in any case
        return version
    return str(rows[0].get("ContentDocumentId") or version) if rows else version


def _name(version: Json) -> str:
    title, ending = str(version.get("Title") or "file"), str(version.get("FileExtension") or "")
    return title if not ending or title.lower().endswith(f".{ending.lower()}") else f"{title}.{ending}"


@SALESFORCE.tool(needs=[API], effect=Effect.WRITES | Effect.SENDS)
def upload_file(
    record: Annotated[str, Field(description="id of the record that it is put on")],
    attachment: Annotated[str, Field(description="file handle")],
    title: Annotated[str | None, Field(min_length=1, max_length=255)] = None,
    *,
    run: Run,
) -> Steps:
    """Put a file on a record."""
    at = record_id(record, "record")
    file: File = yield Take(attachment)
    if not file.content:
        raise InvalidInput("attachment: the file is empty.", hint="Give another one.")
    said = title or PurePosixPath(file.name).stem or file.name
    values: dict[str, Any] = {"Title": said, "PathOnClient": file.name, "FirstPublishLocationId": at}
    if not (run.noted and run.noted.get("sent")):
        names = yield from preview.load_names([at])
        [shown] = yield from shown_files([file])
        yield Preview(
            "Add this file to a record",
            audience=Audience.UNKNOWN,
            where=preview.record_text(preview.kind_of(at), at, names.get(at)),
            title=said,
            file=shown,
            undo="it can be deleted in Salesforce",
            pins={"record": at},
        )
    md5 = hashlib.md5(file.content, usedforsecurity=False).hexdigest()
    alike = [f"Title = {text(said)}", f"Checksum = {text(md5)}", f"FirstPublishLocationId = {text(at)}"]
    request = creation("ContentVersion", values | {"VersionData": base64.b64encode(file.content).decode()})
    id, existed = yield from make_once(request, alike, run.account, run.noted, run.now)
    result = {"file": (yield from _document(id)), "record": at, "title": Outside().line(said, 255)}
    return result | ({"existed": True} if existed else {})
