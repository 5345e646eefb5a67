"""How calendars are shown. Names that others gave are cleaned and marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from deputize.toolkits._shared.page import lean
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.calendar.base import Json

_NAME: Final = 200  # bytes; it has to be named whole
_DESCRIPTION: Final = 400  # bytes
_RULES: Final = 20


def calendar_name(entry: Mapping[str, Any]) -> Json:
    """What a calendar is called, and what is said of it; marked if others wrote that."""
    outside = Outside()
    row: Json = {
        "name": outside.line(str(entry.get("summaryOverride") or entry.get("summary") or ""), _NAME),
        "description": outside.line(str(entry.get("description") or ""), _DESCRIPTION),
    }
    theirs = not entry.get("summaryOverride") or row["description"]
    if theirs and not entry.get("primary") and entry.get("accessRole") != "owner":
        outside.mark(row)
    return row


def calendar_row(entry: Mapping[str, Any], shared: Sequence[Json] | None = None) -> Json:
    """A calendar in the user's list."""
    row: Json = {
        "id": entry.get("id"),
        **calendar_name(entry),
        "role": ROLES.get(str(entry.get("accessRole")), entry.get("accessRole")),
        "primary": bool(entry.get("primary")),
        "time_zone": entry.get("timeZone"),
        "colour": entry.get("backgroundColor"),
        "hidden": bool(entry.get("hidden")),
        "shared_with": _rules(shared or ()),
    }
    return lean(row)


ROLES: Final = {
    "freeBusyReader": "free_busy",
    "reader": "reader",
    "writerWithoutPrivateAccess": "writer",
    "writer": "writer",
    "owner": "owner",
    "none": "none",
}


def _rules(shared: Sequence[Json]) -> list[str]:
    more = [f"and {len(shared) - _RULES} more"] if len(shared) > _RULES else []
    return [_rule(one) for one in shared[:_RULES]] + more


def _rule(rule: Mapping[str, Any]) -> str:
    scope = rule.get("scope") or {}
    who = "public" if scope.get("type") == "default" else str(scope.get("value") or "")
    return f"{Outside().line(who, 254)}: {ROLES.get(str(rule.get('role')), '')}"
