"""Lists by key: a cursor contains the last row's value and id, and the next query requests the rows after them.

SOQL's OFFSET ends at 2,000, and new or deleted rows would shift it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Any, Final
from urllib.parse import quote, unquote

from deputize.core.errors import InvalidInput
from deputize.toolkits._shared.page import Rows, read_cursor, write_cursor
from deputize.toolkits.salesforce.base import Asks, Json, record_id, rows_of
from deputize.toolkits.salesforce.soql import literal, select, text

_LONGEST: Final = 400  # characters of a value in a cursor; a longer one is read again
_TYPES: Final = frozenset("id string double currency percent int long date datetime email phone url reference".split())


def sorts(type: str) -> bool:
    """True if values of this type compare in the order in which they are sorted. Picklists and booleans do not."""
    return type in _TYPES


def order(by: str, way: str) -> tuple[str, ...]:
    """Return the order of a list: by a field with empty values last, then by id."""
    return (f"Id {way}",) if by == "Id" else (f"{by} {way} NULLS LAST", f"Id {way}")


def page_of(records: list[Json], limit: int, bound: tuple[Any, ...], by: str, row: Callable[[Json], Json]) -> Json:
    """Return a page of a list. The list was read with one record more than the page has."""
    rows = Rows()
    taken = list(takewhile(lambda one: rows.add(row(one), whole=True), records[:limit]))
    cut = len(taken) < len(records)
    more = _cursor(bound, taken[-1], by) if cut and taken else None
    return {"items": rows.items, "next": more, "truncated": cut and len(taken) < limit}


def _cursor(bound: Sequence[Any], row: Json, by: str) -> str:
    """Return the cursor after this row."""
    value = row.get(by)
    said = "" if value is None else f"={quote(str(value))}"
    return write_cursor(bound, [said if len(said) <= _LONGEST else "?", str(row["Id"])])


def after_cursor(bound: Sequence[Any], cursor: str, kind: str, by: str, type: str, way: str) -> Asks[str]:
    """Return the condition for the rows after the cursor. Raises `InvalidInput` for another list's cursor."""
    said, id = read_cursor(bound, cursor, (str, str))
    last, sign = text(record_id(id, "cursor")), "<" if way == "DESC" else ">"
    if by == "Id":
        return f"Id {sign} {last}"
    value = unquote(said[1:]) if said != "?" else (yield from _value(kind, by, last))
    if not value:
        return f"({by} = NULL AND Id {sign} {last})"
    same = literal(value, type, by)
    return f"({by} {sign} {same} OR {by} = NULL OR ({by} = {same} AND Id {sign} {last}))"


def _value(kind: str, by: str, id: str) -> Asks[str]:
    rows = yield from rows_of(select((by,), kind, [f"Id = {id}"], limit=1))
    if not rows:
        raise InvalidInput("cursor: the record it points at was deleted or changed.", hint="Begin the list again.")
    return str(rows[0].get(by) or "")
