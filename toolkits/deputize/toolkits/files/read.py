"""Files: read a file from a position, in parts of a few thousand tokens, as its readers see it."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from deputize.core import File, Steps, Take, Toolkit
from deputize.toolkits._shared.arguments import ACCEPTS, Find
from deputize.toolkits._shared.document_text import Place, read_document

FILES: Final = Toolkit("files", provider="", shows=True, accepts={**ACCEPTS, "handle": "file", "file_id": "file"})


@FILES.tool(aliases=["read_file"])
def read(
    file: Annotated[str, Field(description="handle, file_...")],
    cursor: Place = "1",
    member: Annotated[str, Field(description="a file of an archive or mail, by its name in members")] = "",
    find: Find = None,
) -> Steps:
    """Read, or search, a file: PDF, docx, xlsx, pptx, csv, HTML, eml, text, zip; of a picture its size."""
    taken: File = yield Take(file)
    return (yield from read_document(taken, cursor, member=member, find=find))
