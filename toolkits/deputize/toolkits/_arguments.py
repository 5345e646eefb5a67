"""Arguments that mean the same in every toolkit. Each also answers to the names that other toolkits gave it."""

from __future__ import annotations

from typing import Annotated

from pydantic import AliasChoices, Field

Limit = Annotated[
    int, Field(ge=1, le=100, validation_alias=AliasChoices("limit", "max_results", "n_emails", "n_drafts"))
]
Cursor = Annotated[
    str | None,
    Field(
        description="next from the previous result",
        validation_alias=AliasChoices("cursor", "page_token", "next_cursor", "page"),
    ),
]
Body = Annotated[str, Field(validation_alias=AliasChoices("body", "message", "text"))]
Offset = Annotated[int, Field(ge=0)]
