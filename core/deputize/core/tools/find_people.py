"""The core's tool that finds people in all accounts of a user. It belongs to no provider: see `PeopleSearch`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from deputize.core.visible_text import visible, without_hidden

if TYPE_CHECKING:
    from deputize.core.tools.people import Looked, Someone
    from deputize.core.tools.tool import Tool

MAX_PEOPLE_LISTED: Final = 10
_MAX_REASON_CHARACTERS: Final = 120
_MAX_NAME_CHARACTERS: Final = 80

FIND_PEOPLE: Final = "find_people"


@cache
def find_people() -> Tool:
    """Return the tool. It is declared at the first call, because importing pydantic takes a third of the core's import
    time."""
    from deputize.core.tools.find_people_tool import TOOL

    return TOOL


def found_people(found: Sequence[Someone], looked: Looked) -> dict[str, Any]:
    """Return the tool's result: the people found, similar names, and the accounts that were not searched."""
    result: dict[str, Any] = {"people": [_describe_person(one) for one in found[:MAX_PEOPLE_LISTED]]}
    if len(found) > MAX_PEOPLE_LISTED:
        result["truncated"] = True
    if looked.not_looked:
        result["not_looked_at"] = [
            visible(f"{one.where}: {one.why.rstrip('.')}")[:_MAX_REASON_CHARACTERS] for one in looked.not_looked
        ]
    return result


def _describe_person(person: Someone) -> dict[str, Any]:
    """Return one person for a model: the names in each product, and the lists that contain them."""
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
        "addresses": sorted(set().union(*(one.addresses for one in rows)))[:6],
        **{name: ids[0] if len(ids) == 1 else ids for name, ids in products.items()},
        "organisation": next((said for one in rows if (said := _line(one.row.get("organisation")))), ""),
        "found_in": list(dict.fromkeys(f"{one.toolkit}: {_line(one.row.get('where')) or 'person'}" for one in rows)),
        "untrusted": not any(one.known for one in rows) or any(one.row.get("untrusted") for one in rows),
    }
    return {name: value for name, value in shown.items() if value}


def _line(text: object) -> str:
    """Return a text on one line without hidden characters, or ""."""
    return " ".join(without_hidden(text).split())[:_MAX_NAME_CHARACTERS] if isinstance(text, str) else ""
