"""Rows of files: what a file is, whose, where, and who may have written it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from deputize.core import UserTime
from deputize.toolkits._shared.page import lean
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.drive.base import FOLDER, MARK, Json, Row

_APPS: Final = "application/vnd.google-apps."
TYPES: Final[Mapping[str, str]] = {
    **{"document": "doc", "spreadsheet": "sheet", "presentation": "slides", "drawing": "drawing", "form": "form"},
    **{"folder": "folder", "shortcut": "shortcut", "script": "script", "site": "site", "vid": "video"},
}
"""Google's own types, by the end of their media type."""
WRITING: Final = frozenset(("writer", "fileOrganizer", "organizer", "owner"))
_NAME: Final = 160  # bytes


def file_type(file: Row, outside: Outside) -> str:
    """Return "doc", "folder" and the like, or the media type of a file with bytes."""
    mime = str(file.get("mimeType") or "")
    own = TYPES.get(mime.removeprefix(_APPS)) if mime.startswith(_APPS) else None
    return own or outside.line(mime, 80)


def is_own(file: Row) -> bool:
    """True if only the user can have written a file: it is the user's, nobody else may write it, the user changed it
    last, and not deputize, which may have put anybody's text into it."""
    by = file.get("lastModifyingUser") or {}
    if not file.get("ownedByMe") or file.get("driveId") or MARK in (file.get("appProperties") or {}):
        return False
    if by and not by.get("me"):
        return False
    return not file.get("shared") or _has_no_other_writer(file.get("permissions"))


def _has_no_other_writer(permissions: Any) -> bool:
    """True if the permissions are known, and only the owner may write."""
    known = [one for one in permissions or () if isinstance(one, Mapping) and not one.get("deleted")]
    return bool(known) and [one.get("role") for one in known if one.get("role") in WRITING] == ["owner"]


def person(user: Any, outside: Outside) -> str:
    """Return a person's address, else the name that the person chose."""
    user = user if isinstance(user, Mapping) else {}
    return outside.line(str(user.get("emailAddress") or user.get("displayName") or ""), 254)


def writer_of(file: Row, outside: Outside) -> str:
    """Return who changed a file last. After a change by the user, others may still have written the rest."""
    by = file.get("lastModifyingUser") or {}
    return "several people" if by.get("me") and not is_own(file) else person(by, outside)


def name_of(file: Row, outside: Outside, limit: int = _NAME) -> str:
    return outside.line(str(file.get("name") or ""), limit)


def file_row(file: Row, folders: Mapping[str, Row], outside: Outside | None = None, *, name_limit: int = _NAME) -> Json:
    """Return a file as a row. ``folders``: known folders by id. ``name_limit``: bytes of its name.

    It is marked if others may have written its words.
    """
    outside = outside or Outside()
    parent = next(iter(file.get("parents") or ()), "")
    folder = folders.get(parent)
    owner = next(iter(file.get("owners") or ()), None)
    row: Json = {
        "id": file.get("id"),
        "name": name_of(file, outside, name_limit),
        "type": file_type(file, outside),
        "folder": name_of(folder, outside) if folder else "",
        "folder_id": parent,
        "owner": person(owner, outside) or ("shared drive" if file.get("driveId") else ""),
        "modified": time_of(file.get("modifiedTime")),
        "by": writer_of(file, outside),
        "size": int(file["size"]) if str(file.get("size") or "").isdecimal() else None,
        "shared": bool(file.get("shared")),
        "shared_with_user": time_of(file.get("sharedWithMeTime")),
        "target_id": (file.get("shortcutDetails") or {}).get("targetId"),
        "trashed": time_of(file.get("trashedTime")) or bool(file.get("trashed")),
    }
    if row["by"] == row["owner"]:
        del row["by"]
    if not is_own(file) or (folder and not is_own(folder)) or outside.hidden:
        outside.mark(row)
    return lean(row)


def time_of(stamp: Any) -> str:
    """Return a time of Drive for a row, or "" for a missing one."""
    try:
        return UserTime.of(int(datetime.fromisoformat(str(stamp)).timestamp()), "short")
    except (ValueError, OverflowError, OSError):
        return ""


def folder_ids(files: Iterable[Row]) -> list[str]:
    """Return the ids of the folders of these files, each once."""
    return list(dict.fromkeys(str(one) for file in files for one in (file.get("parents") or ())[:1]))


def is_folder(file: Row) -> bool:
    return file.get("mimeType") == FOLDER
