"""The Linear toolkit, and its scopes.

API: linear.app/developers/graphql. Scopes: linear.app/developers/oauth-2-0-authentication. The provider's definition
says which scope includes which, so a need names only the narrowest scope.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from deputize.core import Toolkit, any_of
from deputize.toolkits._shared.arguments import ACCEPTS
from deputize.toolkits._shared.text import FACTS, WRITERS

LINEAR = Toolkit(
    "linear",
    provider="linear",
    accepts=ACCEPTS,
    facts=FACTS,
    writers=WRITERS,
    shows="changes",
    cuts=True,
    words=("ticket", "sprint"),
)

READ: Final = any_of("read", "write", "admin", method="query")
WRITE: Final = any_of("write", "admin", method="mutation")
CREATES_ISSUES: Final = any_of("issues:create", "write", "admin", method="issueCreate")
CREATES_COMMENTS: Final = any_of("comments:create", "write", "admin", method="commentCreate")
ADMIN: Final = any_of("admin", method="projectStatusCreate")

Json = dict[str, Any]
Noted = Mapping[str, Any] | None
Priority = Literal["none", "urgent", "high", "medium", "low"]
PRIORITIES: Final[Sequence[str]] = ("none", "urgent", "high", "medium", "low")
Health = Literal["onTrack", "atRisk", "offTrack"]
Status = Literal["Proposed", "Planned", "Active", "Completed", "Canceled"]
Title = Annotated[str, Field(min_length=1, max_length=512)]
LONGEST: Final = 100_000  # characters of a text
Text = Annotated[str, Field(max_length=LONGEST)]
