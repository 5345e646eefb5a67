"""Drive: upload a file by its handle, or create a folder, at most once.

The file's id is fetched and noted before anything is made. A second request with the same id makes nothing, and a lost
response is looked up by the id. developers.google.com/workspace/drive/api/guides/create-file
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final
from urllib.parse import parse_qs, urlsplit

from pydantic import Field

from deputize.core import Answer, Audience, Effect, File, Need, Preview, Request, Run, SaveNote, Steps, Take, Undo
from deputize.core.errors import Conflict, InvalidInput, NotFound, OutcomeUnknown, ProviderUnavailable
from deputize.core.tools.steps import Try
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared.attached import shown_files
from deputize.toolkits._shared.mail.headers import single_line
from deputize.toolkits._shared.page import lean
from deputize.toolkits.drive.access import audience, load_permissions, people_of
from deputize.toolkits.drive.base import ALL, DRIVE, FOLDER, MARK, ROOT, Asks, Json, Row, creates, get_file, sees
from deputize.toolkits.drive.changes import load_folder
from deputize.toolkits.drive.search import quoted
from deputize.toolkits.drive.target import seen_by, undo_call

_OF_GOOGLE: Final = "application/vnd.google-apps."
_ANY: Final = "application/octet-stream"
_MADE: Final = "id,name,parents,webViewLink"
_MARKED: Final = "made by an agent"
_LOST: Final = "Google's answer was lost: the file may have been created."


def _needs(arguments: Arguments) -> Sequence[Need]:
    if _is_root(arguments["folder"]):
        return [creates("generateIds"), creates("create")]
    reads = [sees("files.get", ALL), sees("permissions.list", ALL)]
    return [*reads, creates("generateIds", ask=ALL), creates("create", ask=ALL)]


def _is_root(folder: str) -> bool:
    return folder.strip() == ROOT


def _effect(arguments: Arguments) -> Effect:
    return Effect.WRITES if _is_root(arguments["folder"]) else Effect.WRITES | Effect.SENDS


@DRIVE.tool(needs=_needs, effect=_effect, gravest=Effect.WRITES | Effect.SENDS, aliases=["upload_file"])
def create_file(
    file: Annotated[str | None, Field(description="handle, file_...; without it a folder is made")] = None,
    name: Annotated[str | None, Field(min_length=1, max_length=250)] = None,
    folder: Annotated[str, Field(description="id, link or root")] = ROOT,
    *,
    run: Run,
) -> Steps:
    """Upload a file by its handle, or create a folder."""
    given: File | None = (yield Take(file)) if file else None
    if given is None and not name:
        raise InvalidInput("name: needed for a folder.", hint="Give a name, or the handle of a file.")
    called = single_line(name or (given.name if given else ""), "name")
    into: Row | None = None if _is_root(folder) else (yield from load_folder(folder, run))
    permissions = (yield from load_permissions(into)) if into else []
    same = yield from _count_same(called, str(into["id"]) if into else ROOT)
    kind = FOLDER if given is None else given.mime if not given.mime.startswith(_OF_GOOGLE) else _ANY
    yield Preview(
        "Create this folder in Google Drive" if given is None else "Upload this file to Google Drive",
        audience=audience(permissions, run.account) if into else Audience.SELF,
        people=people_of(permissions, run.account),
        where=str(into.get("name")) if into else "My Drive",
        name=called,
        files=(yield from shown_files([given])) if given else None,
        can_see=seen_by(permissions, into) if into else None,
        pins={"folder": into.get("id") if into else ROOT, "type": kind, "mark": [MARK, _MARKED]},
        targets={"folder": str(into.get("name") or "") if into else ROOT},
    )
    made = yield from _make_once(run, _metadata(called, kind, str(into["id"]) if into else ROOT), given)
    result: Json = lean({"id": made.get("id"), "name": called, "folder_id": into["id"] if into else ""})
    if same:
        result["note"] = f"Others of this name that were in the folder already, and are unchanged: {same}."
    undo = Undo("drive_trash_file", {"file": str(made["id"])}, {"state": "in use"})
    yield undo
    return result | {"undo": undo_call(undo), "summary": "Uploaded." if given else "Created."}


def _count_same(name: str, folder: str) -> Asks[int]:
    """Return how many files of this name are in the folder already, as far as the grant allows to see them."""
    params = {
        **{"q": f"name = {quoted(name)} and {quoted(folder)} in parents and trashed = false", "fields": "files(id)"},
        **{"corpora": "allDrives", "supportsAllDrives": True, "includeItemsFromAllDrives": True},
    }
    [page] = yield Try([Request("GET", "/files", params=params)])
    return len((page or {}).get("files") or ())


def _metadata(name: str, kind: str, folder: str) -> Json:
    return {"name": name, "mimeType": kind, "parents": [folder], "appProperties": {MARK: _MARKED}}


def _make_once(run: Run, about: Json, given: File | None) -> Asks[Row]:
    """Return the new file. A later run of the same act finds it by the noted id, or makes it with that id."""
    id = str((run.noted or {}).get("id") or "")
    if id:
        if there := (yield from _find(id)):
            return there
    else:
        params = {"count": 1, "space": "drive", "type": "files"}
        id = str((yield Request("GET", "/files/generateIds", params=params))["ids"][0])
        yield SaveNote({"id": id})
    try:
        return (yield from (_create(id, about) if given is None else _upload(id, about, given)))
    except (Conflict, OutcomeUnknown) as unsure:  # there is such a file: an earlier request of this act made it
        if there := (yield from _find(id)):
            return there
        if isinstance(unsure, OutcomeUnknown):
            raise OutcomeUnknown(_LOST, hint="Look in Google Drive before doing it again.") from None
        raise


def _find(id: str) -> Asks[Row | None]:
    try:
        found: Row = yield get_file(id, _MADE)
    except NotFound:
        return None
    return found


_PARAMS: Final[Json] = {"ignoreDefaultVisibility": True, "supportsAllDrives": True, "fields": _MADE}
"""Without the first, an admin's default may make a new file visible to the whole domain."""


def _create(id: str, about: Json) -> Asks[Row]:
    made: Row = yield Request("POST", "/files", params=_PARAMS, json={"id": id, **about}, repeat="idem")
    return made


def _upload(id: str, about: Json, given: File) -> Asks[Row]:
    """Open an upload, which makes nothing, and send the bytes."""
    opening = Request(
        "POST",
        "/files",
        params={"uploadType": "resumable", **_PARAMS},
        json={"id": id, **about},
        headers={"x-upload-content-type": about["mimeType"]},
        api="drive_upload",
        repeat="idem",
        prepares=True,
        whole=True,
    )
    try:
        opened: Answer = yield opening
    except OutcomeUnknown:
        raise ProviderUnavailable(
            "Google Drive is not available now; nothing was uploaded.", hint="Try again later."
        ) from None
    params: dict[str, Any] = {"uploadType": "resumable", "upload_id": _session(opened), **_PARAMS}
    made: Row = yield Request(
        "PUT",
        "/files",
        params=params,
        content=given.content,
        content_type=about["mimeType"],
        api="drive_upload",
        repeat="write",
        idle_timeout=60.0,
    )
    return made


def _session(opened: Answer) -> str:
    """Return the id of an upload from the address that Google answered. It is only used at Google's upload address."""
    parts = urlsplit(str(opened.headers.get("location") or ""))
    found = parse_qs(parts.query).get("upload_id") or [""]
    if not parts.path.endswith("/upload/drive/v3/files") or not found[0]:
        raise InvalidInput("Google did not open the upload.", hint="Report it to deputize.", fix_by="operator")
    return found[0]
