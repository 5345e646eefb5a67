"""Reading a text to its end, as a model does that follows each result's references."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

from tests.tasks.task import Use, use


def whole(tool: str, name: str, **arguments: Any) -> Generator[Use, Any, tuple[dict[str, Any], str]]:
    """Return the last result, and the joined text under ``name`` of all results."""
    found = yield use(tool, **arguments)
    return (yield from _on(found, name, tool, arguments))


def full(row: Mapping[str, Any], name: str, tool: str, **arguments: Any) -> Generator[Use, Any, str]:
    """Return the text of a row; the omitted part is read separately."""
    if row.get("cut") and not _rest(row, tool, arguments):
        _, text = yield from whole(tool, name, **arguments)
    else:
        _, text = yield from _on(row, name, tool, arguments)
    return text


def pages(tool: str, **arguments: Any) -> Generator[Use, Any, list[Any]]:
    """Return all rows of a list."""
    found = yield use(tool, **arguments)
    rows = list(found["items"])
    while found.get("next"):
        found = yield use(tool, **arguments, cursor=found["next"])
        rows += found["items"]
    return rows


def first_free(found: Mapping[str, Any]) -> str:
    """Return the start of the first free time: ``2026-11-25T09:15``."""
    row = found["items"][0]
    return f"{row['date']}T{row['free'][0][:5]}"


def _on(
    part: Mapping[str, Any], name: str, tool: str, arguments: Mapping[str, Any]
) -> Generator[Use, Any, tuple[dict[str, Any], str]]:
    part = _alone(part, name)
    text = str(part[name])
    while rest := _rest(part, tool, arguments):
        part = _alone((yield rest), name)
        text += str(part[name])
    return dict(part), text


def _alone(part: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return what contains the text: the result itself, or its only row."""
    if name in part:
        return part
    [row] = part["items"]
    return dict(row)


def _rest(part: Mapping[str, Any], tool: str, arguments: Mapping[str, Any]) -> Use | None:
    if more := part.get("more"):
        return use(f"{tool.partition('_')[0]}_read_more", ref=more)
    at = part.get("next_offset") or part.get("next")
    return use(tool, **arguments, offset=at) if isinstance(at, int) else None
