"""Files that go along: the user's own, by their handles, and those of a mail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

from pydantic import Field

from deputize.core import Take
from deputize.core.errors import DeputizeError, InvalidInput
from deputize.toolkits._shared.mail.compose import File
from deputize.toolkits._shared.mail.incoming import Mail
from deputize.toolkits._shared.mail.parts import Part, unpacked
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.gmail import api
from deputize.toolkits.gmail.api import Asks

MOST: Final = 25 * 2**20
"""Bytes of all files of a mail: what Gmail takes, less what their encoding adds."""

Handles = Annotated[list[str] | None, Field(description="file handles")]


def taken(handles: Sequence[str] | None) -> Asks[list[File]]:
    """The user's files behind these handles. Raises `NotFound` for a handle that is not the user's own."""
    files: list[File] = []
    for handle in dict.fromkeys(handles or ()):
        found = yield Take(handle)
        name = Outside().line(found.name, 120).replace("\\", "/").rpartition("/")[2].lstrip(". ")
        files.append(File(name or "file", found.mime, found.content))
        fits(sum(len(one.data) for one in files), "Send fewer files, or a link.")
    return files


def fits(size: int, hint: str) -> None:
    """Raise `InvalidInput` for more than can be sent along."""
    if size > MOST:
        raise InvalidInput(f"The files are too large: {size} bytes in all, and at most {MOST} can be sent.", hint=hint)


def size_of(part: Part) -> int:
    """The bytes of a file in a mail, as far as is known before it is fetched."""
    return max(part.size, len(part.data) * 3 // 4)


def files_of(mail: Mail) -> Asks[list[File]]:
    """The files of a mail with their bytes. Raises `InvalidInput` for more than can be sent along."""
    parts = mail.files()
    fits(sum(map(size_of, parts)), "Forward without them: attachments=false.")
    apart_ = [part for part in parts if part.attachment and not part.data]
    answers = yield from api.many([api.get_attachment(mail.id, part.attachment) for part in apart_])
    if refused := next((one for one in answers if isinstance(one, DeputizeError)), None):
        raise refused
    fetched = {part.id: str(one.get("data", "")) for part, one in zip(apart_, answers, strict=True)}
    return [File(mail.file_name(part), part.type, unpacked(fetched.get(part.id, part.data))) for part in parts]
