"""The tool that follows a `Continuation`, in each toolkit that cuts texts. `CallResolver` finds what is done in its
place.

One a toolkit and not one for all, so that two lists of tools in one agent have no name twice, and a reference opens
nothing but what its own toolkit reads.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from deputize.core.errors import InvalidInput
from deputize.core.tools.steps import Steps


def read_more(
    ref: Annotated[str, Field(description="`more` of an earlier result, unchanged")],
    cursor: Annotated[str | int | None, Field(description="an offset, to go on from there instead")] = None,
) -> Steps:
    """Read what comes next of a text that was cut: an earlier result has it under `more`. Repeat until none is left."""
    raise InvalidInput("A reference is followed by a deputy alone.", fix_by="operator")
