"""Rows of calendars. Names that others chose are cleaned and marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from deputize.core import Continuation
from deputize.toolkits._shared.long_text import PART, check_read
from deputize.toolkits._shared.page import lean
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.calendar.base import Json
from deputize.toolkits.calendar.texts import DESCRIPTION, description_part

_NAME: Final = 1_000  # bytes; calendars are looked up by the whole name
_SHOWN: Final = 400  # bytes of a description in a row
_RULES: Final = 20


def calendar_name(entry: Mapping[str, Any]) -> Json:
    """Return name and description of a calendar, marked if others wrote them."""
    outside = Outside()
    row: Json = {"name": outside.line(str(entry.get("summaryOverride") or entry.get("summary") or ""), _NAME)}
    description = description_part(entry, outside, _SHOWN)
    row |= {"description": description["description"]}
    row |= {"cut": True, "more": _with_cursor(entry, description)["more"]} if "next_offset" in description else {}
    theirs = not entry.get("summaryOverride") or row["description"]
    if theirs and not entry.get("primary") and entry.get("accessRole") != "owner":
        outside.mark(row)
    return row


def calendar_description(entry: Mapping[str, Any], offset: int) -> Json:
    """Return the description of a calendar as stored, from ``offset``."""
    outside = Outside()
    text = description_part(entry, outside, PART, None, offset, raw=True)
    if not entry.get("primary") and entry.get("accessRole") != "owner":
        outside.mark(text)
    return {"id": entry.get("id"), **(_with_cursor(entry, text) if "next_offset" in text else text)}


def check_description(old: str, if_text: str | None) -> None:
    """Check with `check_read`, before the description of a calendar is replaced."""
    cut = bool(old.strip()) and (len(old.encode(errors="replace")) > _SHOWN or not DESCRIPTION.shows_all(old))
    check_read("description", old, if_text, _HOW, cut=cut)


_HOW: Final = "Read it with calendar_list_calendars and calendar, on from more to its end; if_text is its text_digest."


def _with_cursor(entry: Mapping[str, Any], description: Json) -> Json:
    """Return a part of a description with the cursor that continues it."""
    after = str(description["next_offset"])
    more = Continuation("calendar_list_calendars", calendar=str(entry.get("id")), cursor=after)
    return {name: value for name, value in description.items() if name != "next_offset"} | {"next": after, "more": more}


def calendar_row(entry: Mapping[str, Any], shared: Sequence[Json] | None = None) -> Json:
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
