"""The declaration of the tool that finds people: see `find_people`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field

from deputize.core.tools.steps import EVERYBODY, ResolvePerson, Steps
from deputize.core.tools.toolkit import Toolkit

if TYPE_CHECKING:
    from deputize.core.tools.tool import Tool

_FIND: Final = Toolkit("find", provider="")


@_FIND.tool()
def people(
    who: Annotated[str, Field(description="name, email address or handle", min_length=1, max_length=200)],
) -> Steps:
    """Find a person in all connected accounts: addresses, and their id in each product. Two of one name stay two."""
    return (yield ResolvePerson(who, "who", EVERYBODY))


TOOL: Final[Tool] = _FIND.tools["find_people"]
