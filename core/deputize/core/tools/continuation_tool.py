"""The tool that follows a `Continuation`, in each toolkit that cuts texts. `CallResolver` replaces it by the referenced
call.

Each toolkit has its own ``read_more``, which only accepts the toolkit's references. So tool names stay unique in an
agent with two lists of tools.
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
    raise InvalidInput("Only a deputy can follow a reference.", fix_by="operator")
