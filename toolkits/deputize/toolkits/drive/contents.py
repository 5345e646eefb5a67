"""The bytes of files: as they are, or of Google's own types exported."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from deputize.core import File, Request
from deputize.core.errors import InvalidInput, OrgBlocked
from deputize.core.tools.steps import MIB
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.drive.base import FOLDER, SHORTCUT, Asks, Row
from deputize.toolkits.drive.rows import file_type, name_of

MAX_BYTES: Final = 25 * MIB
"""Most bytes of a file that deputize keeps."""
_OFFICE: Final = "application/vnd.openxmlformats-officedocument"
FORMATS: Final[Mapping[str, str]] = {
    "pdf": "application/pdf",
    "docx": f"{_OFFICE}.wordprocessingml.document",
    "xlsx": f"{_OFFICE}.spreadsheetml.sheet",
    "pptx": f"{_OFFICE}.presentationml.presentation",
    "md": "text/markdown",
    "txt": "text/plain",
    "csv": "text/csv",
    "html": "text/html",
    "png": "image/png",
    "json": "application/vnd.google-apps.script+json",
}
EXPORTS: Final[Mapping[str, tuple[str, ...]]] = {
    "doc": ("docx", "md", "txt", "html", "pdf"),
    "sheet": ("xlsx", "csv", "pdf"),
    "slides": ("pptx", "txt", "pdf"),
    "drawing": ("pdf", "png"),
    "script": ("json",),
}
"""The formats of Google's own types, the usual one first."""
TEXTS: Final[Mapping[str, str]] = {"doc": "md", "sheet": "xlsx", "slides": "txt", "drawing": "pdf", "script": "json"}
"""The formats in which they are read."""
_PICTURE: Final = re.compile(rb"<data:[a-z]+/[\w.+-]+;base64,[^>]*>|data:[a-z]+/[\w.+-]+;base64,[A-Za-z0-9+/=]+")


def check_readable(file: Row) -> None:
    """Raise `OrgBlocked` if the owner or an admin does not let agents, or anybody, take the content."""
    may = file.get("capabilities") or {}
    if may.get("canAccessViaGenAi") is False:
        raise OrgBlocked(
            "The file's owner or an admin does not let AI read it.", hint="Only they can change that, in Google Drive."
        )
    if may.get("canDownload") is False:
        raise OrgBlocked("The file's owner or an admin does not let readers download it.", hint="Ask the file's owner.")


def load_content(file: Row, form: str) -> Asks[File]:
    """Return the bytes of a file. ``form``: a name of `FORMATS` for Google's own types, else "".

    Raises `InvalidInput` for a folder and the like, for a format that there is not, and for a file that is too large.
    """
    outside = Outside()
    kind, name = file_type(file, outside), name_of(file, outside) or "file"
    if file.get("mimeType") == FOLDER:
        raise InvalidInput("file: it is a folder.", hint="List it: drive_search_files with folder.")
    if file.get("mimeType") == SHORTCUT:
        raise InvalidInput("file: it is a shortcut to a shortcut.", hint="Use the id of the file itself.")
    check_readable(file)
    at = {"id": str(file["id"])}
    if not str(file.get("mimeType")).startswith("application/vnd.google-apps."):
        if form:
            raise InvalidInput("format: only Google's own files have other formats.", hint="Leave format out.")
        if int(file.get("size") or 0) > MAX_BYTES:
            raise InvalidInput(
                f"file: too large, at most {MAX_BYTES} bytes.",
                reason="too_large",
                fix_by="user",
                hint="Open it in Google Drive.",
            )
        params = {"alt": "media", "supportsAllDrives": True}
        data = yield Request("GET", "/files/{id}", at=at, params=params, raw=True, max_bytes=MAX_BYTES)
        return File(name, str(file.get("mimeType")), data)
    if form not in EXPORTS.get(kind, ()):
        listed = ", ".join(EXPORTS.get(kind, ()))
        raise InvalidInput(
            f"format: a {kind} cannot be exported {f'as {form}' if form else ''}".rstrip() + ".",
            hint=f"Formats: {listed}." if listed else "It has no text that can be exported.",
        )
    params = {"mimeType": FORMATS[form]}
    path = "/files/{id}/export"
    data = yield Request("GET", path, at=at, params=params, raw=True, max_bytes=MAX_BYTES)
    return File(f"{name}.{form}", FORMATS[form], data)


def without_pictures(file: File) -> File:
    """Return an exported text without the bytes of its pictures."""
    if not file.mime.startswith("text/"):
        return file
    return File(file.name, file.mime, _PICTURE.sub(b"<picture>", file.content))
