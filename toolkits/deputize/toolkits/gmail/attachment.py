"""Gmail: fetch an attachment. deputize stores its bytes under a handle; a model reads at most its text."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import Field

from deputize.core import Continuation, File, Keep, Steps
from deputize.core.errors import InvalidInput
from deputize.toolkits._shared.arguments import Offset
from deputize.toolkits._shared.html import read_html
from deputize.toolkits._shared.mail.incoming import Mail
from deputize.toolkits._shared.mail.parts import Part
from deputize.toolkits._shared.mail_raw import RawMail
from deputize.toolkits._shared.text import clip, decode
from deputize.toolkits.gmail import api
from deputize.toolkits.gmail.base import GETS, GMAIL, reads
from deputize.toolkits.gmail.excerpt import ALONE, piece
from deputize.toolkits.gmail.files import MAX_BYTES, fetch_files

_READABLE: Final = frozenset({"application/json", "application/csv", "application/ics"})


@GMAIL.tool(needs=[GETS, reads("messages.attachments.get")])
def get_attachment(
    message_id: str,
    part: Annotated[str, Field(description="part id or file name")],
    offset: Annotated[Offset, Field(description="next_offset from the previous result")] = 0,
) -> Steps:
    """Fetch an attachment: its text if plain, and a file handle, to attach or for files_read (PDF, office)."""
    mail = Mail((yield api.get_message(message_id)))
    found = _find_part(mail, part)
    name = mail.file_name(found)
    row: dict[str, Any] = {"name": clip(name, 120), "type": mail.outside.line(found.type, 100), "size": found.size}
    if found.size > MAX_BYTES:
        mail.outside.mark(row)
        return row | {"summary": f"Too large to be fetched: at most {MAX_BYTES} bytes."}
    (fetched,) = yield from fetch_files(mail, [found])
    content = fetched.data
    row |= {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    if not offset:
        kept: Mapping[str, Any] = yield Keep(File(name, found.type, content))
        row |= {"handle": kept["file"], "expires": kept["expires"]}
    row |= _text_fields(content, found, offset, mail)
    mail.outside.mark(row)
    return row


def _find_part(mail: Mail, wanted: str) -> Part:
    """Return the file with this part id or name. Raises `InvalidInput` that lists the files if not exactly one fits."""
    files = mail.files()
    names = [mail.file_name(one) for one in files]
    by_id = [one for one in files if one.id == wanted]
    by_name = [one for one, name in zip(files, names, strict=True) if name.casefold() == wanted.strip().casefold()]
    found = by_id or by_name
    if len(found) == 1:
        return found[0]
    listed = ", ".join(f"{one.id} ({clip(name, 60)})" for one, name in zip(files[:10], names, strict=False))
    what = "several files are called so" if found else "no such file in this email"
    raise InvalidInput(f"part: {what}.", hint=f"There are: {listed}." if listed else "It has no files.")


def _text_fields(content: bytes, part: Part, offset: int, mail: Mail) -> dict[str, Any]:
    """Return the text of a text file from ``offset``, or {} for other types."""
    if not (part.type.startswith(("text/", "message/")) or part.type in _READABLE):
        return {}
    name, outside = mail.file_name(part), mail.outside
    before, text, markup = _split_text(content, part)
    if markup:
        page = read_html(markup)
        outside.hidden += page.hidden
        outside.doubts |= page.doubts
        text = page.text
    text = outside.text(before + text)
    shown, following = piece(text, offset, ALONE)
    fields: dict[str, Any] = {"text": shown}
    if following:
        more = Continuation("gmail_get_attachment", message_id=mail.id, part=part.id or name, offset=following)
        fields |= {"next_offset": following, "more": more}
    return fields | ({"total_chars": len(text)} if following or offset else {})


def _split_text(content: bytes, part: Part) -> tuple[str, str, str]:
    """Return the lines above the text, the plain text, and the HTML that readers see instead, or ""."""
    if part.type != "message/rfc822":
        text = decode(content, part.charset)
        return "", text, text if part.type == "text/html" else ""
    mail = RawMail.of(content)
    people = [f"{name}: {', '.join(map(str, named))}" for name, named in mail.people.items() if named]
    return "\n".join([*people, f"Subject: {mail.subject}", "", ""]), mail.plain, mail.html
