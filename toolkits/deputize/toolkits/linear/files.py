"""Linear: fetching uploads as file handles. Only Linear's file host receives the API's token."""

from __future__ import annotations

import mimetypes
from email.message import Message
from typing import Annotated, Any, Final
from urllib.parse import unquote, urlsplit

from pydantic import Field

from deputize.core import Answer, Continuation, File, Keep, PublicRequest, Request, Steps
from deputize.core.errors import InvalidInput, NotFound
from deputize.core.tools.stored_files import MAX_FILE_BYTES
from deputize.toolkits._shared.arguments import Offset
from deputize.toolkits._shared.file_text import file_text
from deputize.toolkits._shared.long_text import PART, Form, part
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.linear.api import Asks
from deputize.toolkits.linear.base import LINEAR, READ, Json
from deputize.toolkits.linear.texts import UPLOADS

_PLAIN: Final = Form(outside=Outside, show=Outside.text)
_REDIRECTS: Final = (301, 302, 303, 307, 308)


@LINEAR.tool(needs=[READ])
def get_file(
    url: Annotated[str, Field(description=f"{UPLOADS}..., from files of a result")],
    offset: Annotated[Offset, Field(description="into its text")] = 0,
) -> Steps:
    """Fetch a file uploaded to Linear: its text if plain, and a file handle (files_read reads PDF, office by it)."""
    request = _request(url)
    answer = yield from _fetch(request)
    mime = str(answer.headers.get("content-type") or "").partition(";")[0].strip().lower()
    outside = Outside()
    name = outside.line(_name(answer, request, mime), 120)
    found: Json = {"name": name, "mime": outside.line(mime, 100), "size": len(answer.data)}
    if not offset:
        kept = yield Keep(File(name, mime or "application/octet-stream", answer.data))
        found |= {"handle": kept["file"], "expires": kept["expires"]}
    if (text := file_text(answer.data, mime, outside)) is not None:
        told = part(_PLAIN, outside, text, PART, offset, more=Continuation("linear_get_file", url=url.strip()))
        found |= {what: value for what, value in told.items() if what != "text_digest"}
    outside.mark(found)
    return found


def _request(url: str) -> Request:
    """Return the request for an upload. Raises `InvalidInput` for any other host, because the token is sent along."""
    try:
        parts = urlsplit(url.strip())
        segments = [unquote(one, errors="strict") for one in parts.path.split("/") if one]
    except ValueError:
        parts, segments = urlsplit(""), []
    if f"{parts.scheme}://{parts.netloc}/" != UPLOADS or not segments:
        raise InvalidInput("url: not the address of a file that was uploaded to Linear.", hint=f"{UPLOADS}...")
    at = {f"s{number}": one for number, one in enumerate(segments)}
    path = "".join(f"/{{{name}}}" for name in at)
    return Request("GET", path, at=at, api="uploads", raw=True, whole=True, max_bytes=MAX_FILE_BYTES)


def _fetch(request: Request) -> Asks[Answer]:
    """Return the file. A redirect to another address is followed without the token."""
    answer: Answer = yield request
    if answer.status in _REDIRECTS:
        answer = yield PublicRequest(str(answer.headers.get("location") or ""), max_bytes=MAX_FILE_BYTES)
    if answer.status >= 300 or not isinstance(answer.data, bytes):
        raise NotFound("url: no file is there, or it is not visible to this user.", hint="Read the text with its link.")
    return answer


def _name(answer: Answer, request: Request, mime: str) -> str:
    """Return the file's name: Linear's, or else a name made from its address and type."""
    header: Message[Any, Any] = Message()
    header["content-disposition"] = str(answer.headers.get("content-disposition") or "")
    if said := header.get_filename():
        return said
    last = list(request.at.values())[-1]
    return last if "." in last else f"{last}{mimetypes.guess_extension(mime) or ''}"
