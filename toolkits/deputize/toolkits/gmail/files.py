"""Files to send: the user's own, by their handles, and those of an original mail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final

from pydantic import Field

from deputize.core import File as StoredFile
from deputize.core import Take, shown_file
from deputize.core.errors import DeputizeError, InvalidInput
from deputize.toolkits._shared.attached import office_text
from deputize.toolkits._shared.mail.compose import File, Letter, Picture
from deputize.toolkits._shared.mail.incoming import Mail
from deputize.toolkits._shared.mail.original import Original
from deputize.toolkits._shared.mail.parts import Part, decode_base64
from deputize.toolkits._shared.mail_raw import content_at
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.gmail import api
from deputize.toolkits.gmail.api import Asks

WITHOUT_FILES: Final = "Forward without its own files: attachments=false."
MAX_BYTES: Final = 25 * 2**20
"""Most bytes of all files of a mail: Gmail's limit less the encoding."""

Handles = Annotated[list[str] | None, Field(description="file handles (file_...)")]


def take_files(handles: Sequence[str] | None) -> Asks[list[File]]:
    """Load the user's files with these handles. Raises `NotFound` for a handle that is not the user's own."""
    files: list[File] = []
    for handle in dict.fromkeys(handles or ()):
        found = yield Take(handle)
        name = Outside().line(found.name, 120).replace("\\", "/").rpartition("/")[2].lstrip(". ")
        files.append(File(name or "file", found.mime, found.content))
        check_size(sum(len(one.data) for one in files), "Send fewer files, or a link.")
    return (yield from with_texts(files))


def with_texts(files: Sequence[File]) -> Asks[list[File]]:
    """Return the files with the texts of office files and PDFs, for a preview."""
    read = []
    for file in files:
        read.append(file._replace(text=(yield from office_text(StoredFile(file.name, file.type, file.data)))))
    return read


def check_size(size: int, hint: str) -> None:
    """Raise `InvalidInput` if the files are too large to be sent."""
    if size > MAX_BYTES:
        raise InvalidInput(
            f"The files are too large: {size} bytes in all, and at most {MAX_BYTES} can be sent.", hint=hint
        )


def size_of(part: Part) -> int:
    """Return the bytes of a file in a mail, as far as the number is known before the file is fetched."""
    return max(part.size, len(part.data) * 3 // 4)


def fetch_texts(mail: Mail) -> Asks[dict[str, str]]:
    """Fetch the texts of a mail that Gmail stores separately. Return them by part id."""
    apart = [part for part in mail.texts() if part.attachment and not part.data]
    answers = yield from api.many([api.get_attachment(mail.id, part.attachment) for part in apart])
    return {
        part.id: str(answer.get("data", ""))
        for part, answer in zip(apart, answers, strict=True)
        if isinstance(answer, dict)
    }


def fetch_files(mail: Mail, parts: Sequence[Part]) -> Asks[list[File]]:
    """Fetch these parts of a mail. Raises `InvalidInput` if they are too large to be sent."""
    check_size(sum(map(size_of, parts)), WITHOUT_FILES)
    apart = [part for part in parts if part.attachment and not part.data]
    answers = yield from api.many([api.get_attachment(mail.id, part.attachment) for part in apart])
    if refused := next((one for one in answers if isinstance(one, DeputizeError)), None):
        raise refused
    data = {part.id: decode_base64(str(one.get("data", ""))) for part, one in zip(apart, answers, strict=True)}
    data |= yield from _fetch_nested(mail, parts)
    kept = [data.get(part.id, decode_base64(part.data)) for part in parts]
    return [File(mail.file_name(part), part.type, bytes_) for part, bytes_ in zip(parts, kept, strict=True)]


def _fetch_nested(mail: Mail, parts: Sequence[Part]) -> Asks[dict[str, bytes]]:
    """Return mails and reports inside a mail by part id. Gmail parses them, so they are cut out of the raw bytes."""
    wanted = [part.id for part in parts if part.type.startswith("message/") and not (part.data or part.attachment)]
    if not wanted:
        return {}
    answer = yield api.get_message(mail.id, "raw")
    raw = decode_base64(str(answer.get("raw", "")))
    return {one: content_at(raw, one) for one in wanted}


@dataclass(frozen=True, slots=True)
class Enclosed:
    """Pictures and attachments of an original mail that are sent along with the new one.

    Their bytes are fetched after the approval, which is safe because a stored mail never changes. ``files``: the
    attachments.
    """

    mail: Mail
    original: Original
    files: Sequence[Part] = ()

    def preview_rows(self) -> list[dict[str, Any]]:
        """Return the pictures and files for the preview."""
        parts = [*self.original.pictures.values(), *self.files]
        return [shown_file(self.mail.file_name(one), one.type, size=size_of(one), pin=one.id) for one in parts]

    def attach_to(self, letter: Letter) -> Asks[Letter]:
        """Return the letter with these pictures and files. Raises `InvalidInput` if they are too large to be sent."""
        pictures = self.original.pictures if letter.text.html else {}
        parts = [*pictures.values(), *self.files]
        found = (yield from fetch_files(self.mail, parts)) if parts else []
        seen = list(map(Picture, pictures, found))
        files = [*found[len(seen) :], *letter.files]
        check_size(sum(len(one.data) for one in [*found, *letter.files]), WITHOUT_FILES)
        return replace(letter, pictures=seen, files=files)
