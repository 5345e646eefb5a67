"""Argument types that all toolkits share, and the names that other toolkits use for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import Field

ACCEPTS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("page_token", "next_cursor", "page"), "cursor"),
    **dict.fromkeys(("max_results", "n_emails", "n_drafts"), "limit"),
    **dict.fromkeys(("message", "text"), "body"),
    **dict.fromkeys(("channel", "channel_name", "channel_id", "conversation_id"), "conversation"),
    "calendar_id": "calendar",
    "summary": "title",
    "email_id": "message_id",
    "content_type": "body_format",
    "append_body": "append",
}
"""Names that are accepted but not listed: ``Toolkit(..., accepts=ACCEPTS)``."""

Limit = Annotated[int, Field(ge=1, le=100)]
Cursor = Annotated[str | None, Field(description="next of last result")]
Body = str
Offset = Annotated[int, Field(ge=0)]
Find = Annotated[str | None, Field(description="words to find, with the lines around", max_length=200)]
Raw = Annotated[bool, Field(description="the text as stored")]
Append = Annotated[bool, Field(description="behind the old text")]
Replaces = Annotated[str | None, Field(description="part of the old text")]
IfTexts = Annotated[dict[str, str] | None, Field(description="names to text_digest, as read")]
IfText = Annotated[str | None, Field(description="text_digest, as read")]
