"""The Drive toolkit, its scopes, and the requests and records of files.

API: developers.google.com/workspace/drive/api/reference/rest/v3. The accepted scopes are from its discovery document,
drive.v3 of 2026-11-06, without scopes for other apps' data. drive.file allows only the files that this app made or
opened. A search for all files does not accept it; a call with a file's id does, and reports what it cannot see.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Final

from pydantic import Field

from deputize.core import Need, Request, Run, Toolkit, any_of
from deputize.core.errors import InvalidInput, NotFound
from deputize.toolkits._shared.arguments import ACCEPTS
from deputize.toolkits._shared.steps import Asks as Asks
from deputize.toolkits._shared.text import FACTS

DRIVE: Final = Toolkit(
    "drive",
    provider="google",
    label="Google Drive",
    accepts={
        **ACCEPTS,
        **dict.fromkeys(("file_id", "document_id", "item_id"), "file"),
        **dict.fromkeys(("folder_id", "parent", "parent_id"), "folder"),
        "filename": "query",
    },
    facts=FACTS | {"folder_id", "modified", "created", "size", "type", "role", "handle", "expires"},
    writers=("by", "owner"),
    shows="changes",
    words=("file", "folder", "document", "doc", "sheet", "slides", "share", "upload"),
)

SCOPE: Final = "https://www.googleapis.com/auth/drive"
ALL: Final = SCOPE
FILE, READONLY, METADATA, METADATA_READONLY = (
    f"{SCOPE}.{name}" for name in "file readonly metadata metadata.readonly".split()
)
SEES_ALL: Final = frozenset({READONLY, METADATA, METADATA_READONLY, ALL})
"""Scopes for all files of the user, not only for those of this app."""

FOLDER: Final = "application/vnd.google-apps.folder"
SHORTCUT: Final = "application/vnd.google-apps.shortcut"
ROOT: Final = "root"
MARK: Final = "deputize"
"""The key of the app's own property on files that deputize made. Their text may be anybody's."""

Json = dict[str, Any]
Row = Mapping[str, Any]
FileRef = Annotated[str, Field(description="id or link")]

_PEOPLE: Final = "emailAddress,displayName,me"
PERMISSIONS: Final = "id,type,role,emailAddress,displayName,domain,allowFileDiscovery,expirationTime,deleted,view"
FIELDS: Final = (
    f"id,name,mimeType,size,parents,driveId,owners({_PEOPLE}),ownedByMe,lastModifyingUser({_PEOPLE}),modifiedTime,"
    "trashed,trashedTime,shared,sharedWithMeTime,shortcutDetails(targetId),"
    "permissions(type,role,emailAddress,domain,deleted),appProperties,"
    "capabilities(canAccessViaGenAi,canDownload)"
)
"""The fields of a row, and those that decide whether others may have written it."""

_LINK: Final = re.compile(r"https?://(?:drive|docs)\.google\.com/\S*?(?:/d/|/folders/|[?&]id=)([\w-]{3,200})\S*")
_ID: Final = re.compile(r"[\w-]{1,200}")


def file_id(named: str, field: str = "file") -> str:
    """Return the id in an argument that is an id or a link. Raises `InvalidInput` for anything else."""
    text = named.strip()
    found = _LINK.fullmatch(text)
    if found or _ID.fullmatch(text):
        return found[1] if found else text
    raise InvalidInput(f"{field}: neither an id nor a link of Google Drive.", hint="drive_search_files finds ids.")


def get_file(id: str, fields: str = FIELDS) -> Request:
    params = {"fields": fields, "supportsAllDrives": True}
    return Request("GET", "/files/{id}", at={"id": id}, params=params)


def load_file(named: str, run: Run, fields: str = FIELDS, field: str = "file") -> Asks[Row]:
    """Return the metadata of a file. Raises `NotFound` that says so if the app may see only its own files."""
    try:
        found: Row = yield get_file(file_id(named, field), fields)
    except NotFound as missing:
        if not SEES_ALL & run.granted:
            missing.hint = "It may see only files that this app made or opened. drive_search_files can ask for more."
        raise
    return found


def sees(method: str, ask: str = READONLY) -> Need:
    """Return the need of a method that reads metadata."""
    scopes = [ask, *(one for one in (METADATA_READONLY, FILE, READONLY, METADATA, ALL) if one != ask)]
    return any_of(*scopes, method=f"drive.{method}")


def reads(method: str) -> Need:
    """Return the need of a method that reads contents or comments."""
    return any_of(READONLY, FILE, ALL, method=f"drive.{method}")


def lists_all(*, text: bool) -> Need:
    """Return the need of a list of all files. ``text``: their text is searched, so metadata is not enough."""
    if text:
        return any_of(READONLY, ALL, method="drive.files.list")
    return any_of(METADATA_READONLY, READONLY, METADATA, ALL, method="drive.files.list")


def changes(method: str) -> Need:
    """Return the need of a method that changes a file's data, not its content."""
    return any_of(METADATA, FILE, ALL, method=f"drive.{method}")


def creates(method: str, ask: str = FILE) -> Need:
    """Return the need of a method that creates files. drive.file suffices in My Drive's top folder."""
    return any_of(ask, ALL if ask == FILE else FILE, method=f"drive.files.{method}")


def shares(method: str) -> Need:
    """Return the need of a method that changes who can see a file."""
    return any_of(ALL, FILE, method=f"drive.permissions.{method}")


def comments_on(method: str) -> Need:
    """Return the need of a method that writes comments."""
    return any_of(ALL, FILE, method=f"drive.{method}")


LISTS_OWN: Final = any_of(FILE, METADATA_READONLY, READONLY, METADATA, ALL, method="drive.files.list")
LISTS_DRIVES: Final = any_of(READONLY, ALL, method="drive.drives.list")
SEES: Final = sees("files.get", METADATA_READONLY)
GETS: Final = replace(SEES, ask=READONLY)
