"""Reading methods of Drive: lists, metadata, bytes, exports, revisions and shared drives."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Final

from deputize.sandbox.google.drive.call import Call, Json, forbidden, invalid, missing
from deputize.sandbox.google.drive.records import APPS, FOLDER, content_of
from deputize.sandbox.google.drive.search import matcher
from deputize.sandbox.http_types import Reply

_LIST: Final = "kind,incompleteSearch,nextPageToken,files(kind,id,name,mimeType,resourceKey)"
_OFFICE: Final = "application/vnd.openxmlformats-officedocument"
_XLSX: Final = f"{_OFFICE}.spreadsheetml.sheet"
_BY_TIME: Final = ("createdTime", "modifiedTime")


def list_(call: Call) -> Json:
    """List the files that the caller owns, was given or finds in shared drives."""
    query, order = call.ask.one("q"), call.ask.one("orderBy")
    if order and "fullText" in query:
        raise invalid("Sorting is not supported for queries with fullText terms.", "badRequest")
    test = matcher(call, query)
    found = [one for one in call.store["files"].values() if _is_listed(call, one) and test(one)]
    for key in reversed([one.strip() for one in order.split(",") if one.strip()]):
        name, _, how = key.partition(" ")
        if name not in (*_BY_TIME, "name", "folder", "recency"):
            raise invalid("Invalid Value", "invalid")
        found.sort(key=_sorter(name), reverse=bool(how) or name == "recency")
    rows, more = call.page(found)
    listed = {"kind": "drive#fileList", "incompleteSearch": call.store["incomplete"], **more}
    return call.masked(listed | {"files": [call.view(one) for one in rows]}, _LIST)


def _sorter(name: str) -> Callable[[Json], Any]:
    if name == "folder":
        return lambda one: one["mimeType"] != FOLDER
    field = "modifiedTime" if name == "recency" else name
    return lambda one: str(one[field]).lower()


def _is_listed(call: Call, file: Json) -> bool:
    if not file["parents"] or not call.reaches(file):
        return False
    if drive := file.get("driveId"):
        if not (call.flag("supportsAllDrives") and call.flag("includeItemsFromAllDrives")):
            return False
        wanted = call.ask.one("driveId")
        if (wanted and drive != wanted) or call.ask.one("corpora") not in ("allDrives", "drive"):
            return False
    elif call.ask.one("corpora") == "drive":
        return False
    who, domain = call.person.email, call.person.email.partition("@")[2]
    return any(
        one.get("emailAddress") == who
        or who in call.store["groups"].get(one.get("emailAddress"), ())
        or (one.get("domain") == domain and one.get("allowFileDiscovery"))
        for one in call.permissions(file)
    )


def get(call: Call) -> Json | Reply:
    """Return the metadata, or with ``alt=media`` the bytes."""
    file = call.file()
    if call.ask.one("alt") != "media":
        return call.masked(call.view(file), "kind,id,name,mimeType,resourceKey")
    if not any(scope.rpartition(".")[2] in ("file", "readonly") or scope.endswith("/drive") for scope in call.scopes):
        raise forbidden("Request had insufficient authentication scopes.", "insufficientPermissions")
    if file["mimeType"].startswith(APPS):
        raise forbidden(
            "Only files with binary content can be downloaded. Use Export with Docs Editors files.",
            "fileNotDownloadable",
        )
    _check_download(call, file)
    return Reply(200, (("content-type", file["mimeType"]),), content_of(file))


def _check_download(call: Call, file: Json) -> None:
    if not call.view(file)["capabilities"]["canDownload"]:
        raise forbidden("This file cannot be downloaded by the user.", "cannotDownloadFile")


def _text(file: Json) -> bytes:
    return str(file["text"]).encode()


def _html(file: Json) -> bytes:
    return f"<html><body><pre>{file['text']}</pre></body></html>".encode()


def _pdf(file: Json) -> bytes:
    return f"%PDF-1.4\n% {file['name']}\n%%EOF\n".encode()


def _csv(file: Json) -> bytes:
    """Return the first sheet only, as Drive does."""
    into = io.StringIO()
    csv.writer(into).writerows(file["sheets"][0]["rows"])
    return into.getvalue().encode()


def _xlsx(file: Json) -> bytes:
    into = io.BytesIO()
    with import_module("xlsxwriter").Workbook(into, {"in_memory": True, "strings_to_formulas": False}) as book:
        for sheet in file["sheets"]:
            page = book.add_worksheet(sheet["title"])
            for n, row in enumerate(sheet["rows"]):
                page.write_row(n, 0, row)
    return into.getvalue()


def _docx(file: Json) -> bytes:
    into, made = io.BytesIO(), import_module("docx").Document()
    for line in file["text"].splitlines():
        made.add_paragraph(line)
    made.save(into)
    return into.getvalue()


_EXPORTS: Final[Mapping[str, Mapping[str, Callable[[Json], bytes]]]] = {
    f"{APPS}document": {
        "text/markdown": _text,
        "text/plain": _text,
        "text/html": _html,
        f"{_OFFICE}.wordprocessingml.document": _docx,
        "application/pdf": _pdf,
    },
    f"{APPS}spreadsheet": {"text/csv": _csv, _XLSX: _xlsx, "application/pdf": _pdf},
    f"{APPS}presentation": {"text/plain": _text, "application/pdf": _pdf},
}


def export(call: Call) -> Reply:
    """Return a Doc, Sheet or presentation in another format."""
    file, wanted = call.file(), call.ask.one("mimeType")
    formats = _EXPORTS.get(file["mimeType"])
    if formats is None:
        raise forbidden("Export only supports Docs Editors files.", "fileNotExportable")
    _check_download(call, file)
    if wanted not in formats:
        raise invalid("The requested conversion is not supported.", "badRequest")
    data = formats[wanted](file)
    if len(data) > 10_000_000:
        raise forbidden("This file is too large to be exported.", "exportSizeLimitExceeded")
    return Reply(200, (("content-type", wanted),), data)


def permissions(call: Call) -> Json:
    rows, more = call.page(call.permissions(call.file()))
    usual = "kind,nextPageToken,permissions(id,type,kind,role)"
    return call.masked({"kind": "drive#permissionList", **more, "permissions": rows}, usual)


def revisions(call: Call) -> Json:
    file = call.file("writer")
    rows, more = call.page(file["revisions"])
    shown = [{**one, "kind": "drive#revision", "lastModifyingUser": call.user(one["by"])} for one in rows]
    for one in shown:
        del one["by"]
    usual = "kind,nextPageToken,revisions(id,mimeType,kind,modifiedTime)"
    return call.masked({"kind": "drive#revisionList", **more, "revisions": shown}, usual)


def drives(call: Call) -> Json:
    """List the shared drives of which the caller is a member."""
    wanted = call.ask.one("q")
    test = matcher(call, wanted)
    found = [one for one in call.store["drives"].values() if _is_member(call, one) and test(one)]
    rows, more = call.page(found)
    usual = "kind,nextPageToken,drives(id,name,kind)"
    return call.masked({"kind": "drive#driveList", **more, "drives": [_drive(one) for one in rows]}, usual)


def drive(call: Call) -> Json:
    found = call.store["drives"].get(call.ids["driveId"])
    if found is None or not _is_member(call, found):
        raise missing(call.ids["driveId"])
    return call.masked(_drive(found), "id,name,kind")


def _is_member(call: Call, drive: Json) -> bool:
    return any(one["emailAddress"] == call.person.email for one in drive["members"])


def _drive(drive: Json) -> Json:
    return {"kind": "drive#drive", "hidden": False, **{name: drive[name] for name in ("id", "name", "createdTime")}}
