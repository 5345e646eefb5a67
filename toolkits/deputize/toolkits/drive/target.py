"""What a writing tool changes: the file as it is now, in words for a preview, and whether the user may."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from deputize.core import Run, Undo
from deputize.core.errors import NotFound
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.drive import base
from deputize.toolkits.drive.access import access_lines
from deputize.toolkits.drive.base import FIELDS, Asks, Json, Row
from deputize.toolkits.drive.rows import file_type

_MAY: Final = "canShare,canTrash,canUntrash,canRename,canAddChildren,canComment"
TARGET: Final = FIELDS.replace("capabilities(", f"capabilities({_MAY},")


def load_target(named: str, run: Run, field: str = "file") -> Asks[Row]:
    """Return the metadata of a file that is to be changed."""
    return (yield from base.load_file(named, run, TARGET, field))


def check_may(file: Row, capability: str, verb: str) -> None:
    """Raise `NotFound` if Drive says that the user may not do this with the file."""
    if (file.get("capabilities") or {}).get(capability) is False:
        raise NotFound(f"The user may not {verb} this file.", reason="user_lacks_rights", hint="Ask its owner.")


def file_words(file: Row) -> str:
    """Return a file's name and type for a preview."""
    return f"{file.get('name') or 'a file'} ({file_type(file, Outside())})"


def seen_by(permissions: Sequence[Row] | None, file: Row) -> list[str] | None:
    """Return who can see a file, for a preview. None if only the user can, or if it is not known."""
    lines = access_lines(permissions or (), file, {}, Outside())
    return lines if len(lines) > 1 else None


def undo_call(undo: Undo) -> Json:
    """Return the undo call for the model's result."""
    return {"tool": undo.tool, "args": dict(undo.arguments)}
