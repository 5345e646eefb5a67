"""Reading a text to its end, as a model does that follows what each result says of the rest."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from tests.tasks.task import Use, use


def whole(tool: str, name: str, **arguments: Any) -> Generator[Use, Any, tuple[dict[str, Any], str]]:
    """The last result, and the text under ``name`` of all results, one after another."""
    found = yield use(tool, **arguments)
    text = str(found[name])
    while found.get("next_offset"):
        found = yield use(tool, **arguments, offset=found["next_offset"])
        text += str(found[name])
    return found, text


def full(row: dict[str, Any], name: str, tool: str, **arguments: Any) -> Generator[Use, Any, str]:
    """The text of a row, read alone where the row has cut it."""
    if not row.get("cut"):
        return str(row[name])
    _, text = yield from whole(tool, name, **arguments)
    return text


def pages(tool: str, **arguments: Any) -> Generator[Use, Any, list[Any]]:
    """All rows of a list."""
    found = yield use(tool, **arguments)
    rows = list(found["items"])
    while found.get("next"):
        found = yield use(tool, **arguments, cursor=found["next"])
        rows += found["items"]
    return rows
