"""Files to send, as previews display them: with the text that a person reads in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from deputize.core import File, ParseFile, shown_file
from deputize.core.errors import DeputizeError
from deputize.core.tools.preview import MAX_FILE_CHARACTERS
from deputize.toolkits._shared.steps import Asks

READER: Final = "deputize.toolkits._documents.reader"
"""The module that reads files in the parser process."""
_PARSED: Final = (b"PK\x03\x04", b"%PDF-")
_MAX_BYTES: Final = 5 * 2**20


def shown_files(files: Sequence[File]) -> Asks[list[dict[str, Any]]]:
    """Return the files for a preview. An agent may have written them, so the person who approves sees their text."""
    shown = []
    for file in files:
        shown.append(shown_file(file.name, file.mime, file.content, text=(yield from office_text(file))))
    return shown


def office_text(file: File) -> Asks[str | None]:
    """Return the text of an office file or PDF, a little more of it than a preview displays. None for other files, and
    for one that cannot be read."""
    if not file.content.startswith(_PARSED) or len(file.content) > _MAX_BYTES:
        return None
    question = {"name": file.name, "mime": file.mime, "member": "", "start": "1", "offset": 0, "find": None}
    try:
        found = yield ParseFile(READER, question | {"room": MAX_FILE_CHARACTERS + 1}, file.content)
    except DeputizeError:
        return None
    if found.get("error") or not found["parts"]:
        return None
    parts = [(f"[{found['unit']} {one['number']}]\n" if found["unit"] else "") + one["text"] for one in found["parts"]]
    return "\n\n".join(parts)
