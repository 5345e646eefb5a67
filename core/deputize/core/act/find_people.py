"""The tool of the core that finds people in all accounts of a user. It has no provider: see `PeopleSearch`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import Field

from deputize.core.act.people import Looked, Someone
from deputize.core.act.request import EVERYBODY, Steps, Whom
from deputize.core.act.toolkit import Toolkit
from deputize.core.text import visible, without_hidden

if TYPE_CHECKING:
    from deputize.core.act.tool import Tool

MOST: Final = 10
_LONGEST: Final = 120
_NAME: Final = 80

_FIND: Final = Toolkit("find", provider="")


@_FIND.tool()
def people(
    who: Annotated[str, Field(description="name, email address or handle", min_length=1, max_length=200)],
) -> Steps:
    """Find a person in all connected accounts: addresses, and their id in each product. Two of one name stay two."""
    return (yield Whom(who, "who", EVERYBODY))


FIND_PEOPLE: Final[Tool] = _FIND.tools["find_people"]


def found_people(found: Sequence[Someone], looked: Looked) -> dict[str, Any]:
    """The result of the tool: those who come near, and where nobody was looked for."""
    result: dict[str, Any] = {"people": [_told_of(one) for one in found[:MOST]]}
    if len(found) > MOST:
        result["truncated"] = True
    if looked.not_looked:
        result["not_looked_at"] = [
            visible(f"{one.where}: {one.why.rstrip('.')}")[:_LONGEST] for one in looked.not_looked
        ]
    return result


def _told_of(person: Someone) -> dict[str, Any]:
    """One person as a model reads them: what they are called in each product, and where that stands."""
    rows = sorted(person.rows, key=lambda one: not one.known)
    called = [_line(name) for one in rows for name in one.names]
    names = list({name.casefold(): name for name in reversed(called) if name}.values())[::-1]
    products: dict[str, list[str]] = {}
    for one in rows:
        if one.id:
            products.setdefault(one.toolkit, []).append(visible(one.id))
    shown: dict[str, Any] = {
        "name": names[0] if names else "",
        "also_called": [one for one in names[1:] if one.lower() not in names[0].lower()][:3],
        "addresses": _listed(sorted(set().union(*(one.addresses for one in rows)))),
        **{name: ids[0] if len(ids) == 1 else ids for name, ids in products.items()},
        "organisation": next((said for one in rows if (said := _line(one.row.get("organisation")))), ""),
        "found_in": list(dict.fromkeys(f"{one.toolkit}: {_line(one.row.get('where')) or 'person'}" for one in rows)),
        "from_outside": not any(one.known for one in rows) or any(one.row.get("from_outside") for one in rows),
    }
    return {name: value for name, value in shown.items() if value}


def _line(text: object) -> str:
    """What somebody wrote, on one line, without what a person would not see."""
    return " ".join(without_hidden(text).split())[:_NAME] if isinstance(text, str) else ""


def _listed(values: Sequence[str]) -> list[str]:
    return list(values[:6])
