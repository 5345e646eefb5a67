"""Results of generated tools: the useful fields, cleaned, within a model's budget, readable to their end in parts.

A result that is too long has ``next_part``, to pass as ``part`` of the same call. ``"12"`` continues at row 12;
``"12+3500"`` continues in row 12, as JSON, at its character 3,500.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Final

from pydantic import Field

from deputize.core.errors import InvalidInput
from deputize.toolkits._shared.page import Rows, lean, room_for, tokens
from deputize.toolkits._shared.text import Outside, window

Number = Annotated[float, Field(allow_inf_nan=False)]
"""A number that JSON can express."""
Part = Annotated[str | None, Field(description="next_part of the last result")]
"""The next part of an answer that did not fit."""

Json = dict[str, Any]
ALONE: Final = 3_400
"""Tokens of a row that is read alone."""
_PLACE: Final = re.compile(r"([0-9]{1,9})(?:\+([0-9]{1,9}))?")
_DEEPEST: Final = 20


def fitted(
    found: Any,
    fields: Sequence[str] = (),
    *,
    rows: str = "",
    page: int | None = None,
    size: int | None = None,
    part: str | None = None,
) -> Json:
    """Return the result of a tool.

    ``found``: the API's response, as JSON or, if requested raw, as the bytes of a text. ``fields``: the fields to keep
    of each row, such as ``user.login``; empty keeps all. ``rows``: the member with the list, if the response is an
    object around one. ``page``, ``size``: the call's page and page size, if the API numbers pages: a full page has a
    ``next_page``. Raises `InvalidInput` for an invalid part.
    """
    if found is None or found == b"":
        return {"done": True}
    if isinstance(found, bytes):
        found = found.decode(errors="replace")
    outside, part = Outside(), part or ""
    listed = _find_list(found, rows)
    if listed is None:
        shown = _object(_clean(_keep_fields(found, fields), outside), part)
    else:
        around = _clean({} if listed is found else {k: v for k, v in found.items() if k != rows}, outside)
        shown = _rows([_clean(_keep_fields(one, fields), outside) for one in listed], around, rows or "rows", part)
        if page is not None and size is not None and len(listed) >= size and "next_part" not in shown:
            shown["next_page"] = page + 1
    outside.mark(shown)
    return shown


def given(optional: Mapping[str, Any], clear: Iterable[str] | None = None) -> Json:
    """Return the optional members of a body that are not None. ``clear``: members to set to null. Raises `InvalidInput`
    for a member in both: the user approved a value that would not be sent."""
    there = {name: value for name, value in optional.items() if value is not None}
    emptied = dict.fromkeys(clear or (), None)
    if both := sorted(there.keys() & emptied.keys()):
        raise InvalidInput(f"clear: {both[0]} has a value in the same call.", hint="Give the value, or clear it.")
    return there | emptied


def as_text(value: Any) -> str | None:
    """Return a value as JSON, so that a `Preview` contains no object that could be mistaken for another kind, such as a
    file."""
    return None if value is None else json.dumps(value, ensure_ascii=False, indent=1)


def joined(values: Iterable[Any] | None, separator: str) -> str | None:
    """Return a list as one value of a query (OpenAPI, ``explode: false``)."""
    return None if values is None else separator.join(_word(value) for value in values)


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


# ----------------------------------------------------------------- kept fields


def _find_list(found: Any, rows: str) -> list[Any] | None:
    """Return the list that a response is or contains, or None for a single object."""
    if isinstance(found, list):
        return found
    inside = found.get(rows) if rows and isinstance(found, dict) else None
    return inside if isinstance(inside, list) else None


def _keep_fields(value: Any, fields: Sequence[str]) -> Any:
    """Return the fields of a row, or the whole row if it has none of them."""
    if not fields or not isinstance(value, dict):
        return value
    kept = {name: _value_at(value, name.split(".")) for name in fields}
    return kept if any(one is not None for one in kept.values()) else value


def _value_at(value: Any, path: Sequence[str]) -> Any:
    if isinstance(value, list):
        return [there for one in value if (there := _value_at(one, path)) is not None]
    if not path:
        return value
    return _value_at(value.get(path[0]), path[1:]) if isinstance(value, dict) else None


def _clean(value: Any, outside: Outside, depth: int = 0) -> Any:
    """Return the value without empty values, and without text that a person cannot see."""
    if isinstance(value, str):
        return outside.text(value)
    if depth >= _DEEPEST:
        return outside.text(json.dumps(value, ensure_ascii=False)) if isinstance(value, list | dict) else value
    if isinstance(value, list):
        return [_clean(one, outside, depth + 1) for one in value]
    if isinstance(value, dict):
        whole = {outside.line(str(name), 200): _clean(one, outside, depth + 1) for name, one in value.items()}
        return {name: one for name, one in whole.items() if one is False or name in lean(whole)}
    return value


# ----------------------------------------------------------------- within the budget


def _object(value: Any, part: str) -> Json:
    row, start = _place(part)
    if row:
        raise _no_part()
    shown: Json = _without_next_part(value) if isinstance(value, dict) else {"value": value}
    return shown if not part and tokens(shown) <= ALONE else _piece(shown, 0, start)


def _rows(values: Sequence[Any], around: Json, name: str, part: str) -> Json:
    first, start = _place(part)
    if part and first >= len(values):
        raise _no_part()
    shown: Json = _without_next_part(around) if tokens(around) <= ALONE // 4 else {}
    if "+" in part or (values and tokens(values[first]) > ALONE):
        shown |= _piece(values[first], first, start)
        if "next_part" not in shown and first + 1 < len(values):
            shown["next_part"] = str(first + 1)
        return shown
    kept, taken = Rows(), list[Any]()
    for value in values[first:]:
        if tokens(value) > ALONE or not kept.add(value if isinstance(value, dict) else {"value": value}, whole=True):
            break
        taken.append(value)
    shown[name] = taken
    if (end := first + len(taken)) < len(values):
        shown |= {"next_part": str(end), "total_rows": len(values)}
    return shown


def _without_next_part(answer: Json) -> Json:
    """Rename a member ``next_part``, so that a caller does not mistake it for deputize's and follow it forever."""
    return {f"{name}_of_answer" if name == "next_part" else name: value for name, value in answer.items()}


def _piece(value: Any, row: int, start: int) -> Json:
    """Return a part of a too long row, as JSON."""
    text = json.dumps(value, ensure_ascii=False)
    if start >= len(text):
        raise _no_part()
    piece, following = window(text, start, room_for(text, start, ALONE))
    shown: Json = {"json": piece, "total_chars": len(text)}
    return shown | ({"next_part": f"{row}+{following}"} if following is not None else {})


def _place(part: str) -> tuple[int, int]:
    found = _PLACE.fullmatch(part) if part else None
    if part and not found:
        raise _no_part()
    return (int(found[1]), int(found[2] or 0)) if found else (0, 0)


def _no_part() -> InvalidInput:
    return InvalidInput(
        "part: there is no such part.", hint="Pass next_part of the result before, with the same filters."
    )
