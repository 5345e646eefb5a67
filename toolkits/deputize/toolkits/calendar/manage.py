"""Calendar: create and change calendars, subscribe and unsubscribe."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Final, Literal

from pydantic import Field

from deputize.core import Audience, Change, Effect, Need, Preview, Request, Run, SaveNote, Steps, Undo, any_of
from deputize.core.errors import Conflict, InvalidInput, NotFound, OutcomeUnknown
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared.long_text import digest
from deputize.toolkits._shared.mail.headers import single_line
from deputize.toolkits.calendar import api
from deputize.toolkits.calendar.base import (
    APP_CREATED,
    CALENDAR,
    CALENDARS,
    CALENDARS_READONLY,
    KNOWS_LIST,
    PRIMARY,
    READONLY,
    WHOLE,
    Asks,
    Json,
    Noted,
    Zone,
    is_id,
    lists,
    names,
)
from deputize.toolkits.calendar.calendar_rows import ROLES, calendar_name, check_description
from deputize.toolkits.calendar.event_times import parse_zone
from deputize.toolkits.calendar.rows import lean
from deputize.toolkits.calendar.sharing import ACCESS
from deputize.toolkits.calendar.show_fields import calendar_text, undo_call

COLOURS: Final = {  # names as on Google's web page; the list accepts any colour
    **{"tomato": "#d50000", "flamingo": "#e67c73", "tangerine": "#f4511e", "banana": "#f6bf26", "sage": "#33b679"},
    **{"basil": "#0b8043", "peacock": "#039be5", "blueberry": "#3f51b5", "lavender": "#7986cb", "grape": "#8e24aa"},
    "graphite": "#616161",
}


def _manage_needs(arguments: Arguments) -> Sequence[Need]:
    action, seen = arguments["action"], bool(arguments["color"]) or arguments["hidden"] is not None
    match action:
        case "create":
            makes = any_of(APP_CREATED, CALENDARS, WHOLE, method="calendar.calendars.insert")
            return [makes, *([lists("patch")] if seen else [])]
        case "update":
            changes = bool(arguments["title"] or arguments["time_zone"]) or arguments["description"] is not None
            named = names(arguments["calendar"] or PRIMARY)
            both = [
                any_of(CALENDARS, CALENDARS_READONLY, READONLY, WHOLE, method="calendar.calendars.get"),
                any_of(CALENDARS, WHOLE, method="calendar.calendars.patch"),
            ]
            return [*named, *(both if changes or not seen else []), *([lists("patch")] if seen else [])]
        case "subscribe":
            return [lists("insert"), *([lists("patch")] if seen else [])]
        case _:
            return [
                replace(lists("list"), ask=lists("delete").ask),
                lists("delete"),
            ]


def _manage_effect(arguments: Arguments) -> Effect:
    """Return DESTRUCTIVE to unsubscribe, SENDS to change a title, description or time zone, which all viewers see."""
    if arguments["action"] == "unsubscribe":
        return Effect.DESTRUCTIVE
    said = any(arguments[name] is not None for name in ("title", "description", "time_zone"))
    return Effect.SENDS if arguments["action"] == "update" and said else Effect.WRITES


@CALENDAR.tool(
    needs=_manage_needs,
    effect=_manage_effect,
    gravest=Effect.DESTRUCTIVE | Effect.SENDS,
    toolset="more",
)
def manage_calendar(
    action: Literal["create", "update", "subscribe", "unsubscribe"],
    calendar: str | None = None,
    title: str | None = None,
    description: str | None = None,
    time_zone: Zone = None,
    color: Annotated[str | None, Field(description="name or #rrggbb")] = None,
    hidden: bool | None = None,
    if_text: str | None = None,
    *,
    run: Run,
) -> Steps:
    """Create, change, subscribe or unsubscribe a calendar."""
    words = _calendar_fields(title, description, time_zone)
    look = _look(color, hidden)
    if if_text is not None and (action != "update" or description is None):
        raise InvalidInput("if_text: only together with description, to update.", hint="Leave if_text out.")
    if action == "create":
        if not title or calendar:
            raise InvalidInput(
                "create: needs title, and takes no calendar.", hint="The new calendar's id is in the result."
            )
        return (yield from _create(words, look, run.granted, run.noted))
    if not calendar:
        raise InvalidInput(
            f"calendar: needed to {action}.", hint="An id or a name, as calendar_list_calendars gives it."
        )
    if action == "subscribe":
        if not is_id(calendar) or words:
            raise InvalidInput(
                "subscribe: needs the calendar's id, and takes no title, description or time_zone.",
                hint=f"An id looks like an email address; {calendar[:60]!r} "
                + ("is one." if is_id(calendar) else "is a name, and whose it is cannot be found."),
            )
        return (yield from _subscribe(calendar, look))
    if action == "unsubscribe":
        return (yield from _unsubscribe(calendar))
    if not words and not look:
        raise InvalidInput("Nothing to update.", hint="Give title, description, time_zone, color or hidden.")
    (found,) = yield from api.calendar_ids(calendar)
    return (yield from _update(calendar, found, words, look, if_text))


def _update(calendar: str, found: str, words: Json, look: Json, if_text: str | None) -> Asks[Json]:
    """Change a calendar for everybody, if it is unchanged since it was read, and its entry in the user's own list."""
    now: Json = dict((yield Request("GET", "/calendars/{id}", at={"id": found}))) if words else {}
    words = {name: value for name, value in words.items() if value != str(now.get(name) or "")}
    if not words and not look:
        return lean({"id": found, **calendar_name(now), "summary": "It is so already."})
    if "description" in words:
        check_description(str(now.get("description") or ""), if_text)
    said = {_ARGUMENTS[name]: Change(str(now.get(name) or ""), value) for name, value in words.items()}
    yield Preview(
        "Change this calendar",
        audience=Audience.UNKNOWN if words else Audience.SELF,  # the people it is shared with cannot be read
        where=calendar_text(calendar, found),
        destroys=bool(now.get("description")) and "description" in words,
        **({"title": now.get("summary")} | said if words else {}),
        **_look_preview(look),
        pins={"calendar": found, "text_color": look.get("foregroundColor")},
    )
    if words:
        only = {"if-match": str(now["etag"])} if now.get("etag") else {}
        yield Request("PATCH", "/calendars/{id}", at={"id": found}, json=words, headers=only, repeat="idem")
    entry = (yield from _patch_list_entry(found, look)) if look else {}
    named = {"name": words["summary"]} if "summary" in words else calendar_name(entry) if entry else {}
    result = lean({"id": found, **named, "summary": "Changed."})
    if look:
        return result
    args = {"action": "update", "calendar": found, **{name: change.before for name, change in said.items()}}
    args |= {"if_text": digest(words["description"])} if words.get("description") else {}
    undo = Undo("calendar_manage_calendar", args, {name: change.after for name, change in said.items()})
    yield undo
    return result | {"undo": undo_call(undo)}


_ARGUMENTS: Final = {"summary": "title", "description": "description", "timeZone": "time_zone"}


def _look_preview(look: Json) -> Json:
    colour = look.get("backgroundColor")
    named = next((f"{name} ({value})" for name, value in COLOURS.items() if value == colour), colour)
    return {"color": named, "hidden": look.get("hidden")}


def _calendar_fields(title: str | None, description: str | None, time_zone: str | None) -> Json:
    given = {
        "summary": single_line(title, "title") if title else None,
        "description": description,
        "timeZone": parse_zone(time_zone).key if time_zone else None,
    }
    return {name: value for name, value in given.items() if value is not None}


def _look(color: str | None, hidden: bool | None) -> Json:
    """Return the fields of the user's own list entry."""
    look: Json = {} if hidden is None else {"hidden": hidden}
    if color:
        value = COLOURS.get(color.strip().lower(), color.strip().lower())
        if not re.fullmatch(r"#[0-9a-f]{6}", value):
            raise InvalidInput(
                f"color: {color.strip()[:30]!r} is not a known colour.",
                hint=f"Use #rrggbb, or one of {', '.join(COLOURS)}.",
            )
        look |= {"backgroundColor": value, "foregroundColor": "#000000"}
    return look


def _patch_list_entry(calendar: str, look: Json) -> Asks[Json]:
    params = {"colorRgbFormat": True} if "backgroundColor" in look else {}
    path = "/users/me/calendarList/{id}"
    return dict((yield Request("PATCH", path, at={"id": calendar}, json=look, params=params, repeat="idem")))


def _create(words: Json, look: Json, granted: frozenset[str], noted: Noted) -> Asks[Json]:
    """Create a calendar, or return the user's own calendar of this name, because calendars have no other key."""
    there = (yield from _find_own(words["summary"])) if granted & KNOWS_LIST else None
    if there:
        return lean({"id": there["id"], **calendar_name(there), "summary": "There is such a calendar already."})
    if noted:
        raise OutcomeUnknown(
            "Google's answer was lost: the calendar may have been created.", hint="List the calendars."
        )
    yield Preview(
        "Create this calendar",
        audience=Audience.SELF,
        **{_ARGUMENTS[name]: value for name, value in words.items()},
        **_look_preview(look),
        pins={"text_color": look.get("foregroundColor")},
    )
    if granted & KNOWS_LIST:
        yield SaveNote({"made": True})
    made = yield Request("POST", "/calendars", json=words)
    if look:
        yield from _patch_list_entry(str(made["id"]), look)
    undo = _unsubscribe_undo(str(made["id"]), words["summary"])
    yield undo
    return {"id": made["id"], "name": words["summary"], "undo": undo_call(undo), "summary": "Created."}


def _unsubscribe_undo(calendar: str, name: str) -> Undo:
    """Return the call that unsubscribes, which works only while the calendar has this name."""
    return Undo("calendar_manage_calendar", {"action": "unsubscribe", "calendar": calendar}, {"name": name})


def _find_own(name: str) -> Asks[Json | None]:
    every = yield from api.all_calendars()
    return next((one for one in every if one.get("summary") == name and one.get("accessRole") == "owner"), None)


def _subscribe(calendar: str, look: Json) -> Asks[Json]:
    yield Preview(
        "Add this calendar to your list",
        audience=Audience.SELF,
        calendar=calendar,
        **_look_preview(look),
        pins={"text_color": look.get("foregroundColor")},
    )
    try:
        entry = yield Request("POST", "/users/me/calendarList", json={"id": calendar}, repeat="idem")
    except Conflict:
        return {"id": calendar, "summary": "It is in the list already."}
    if look:
        yield from _patch_list_entry(calendar, look)
    undo = _unsubscribe_undo(calendar, api.name_of(entry))
    yield undo
    return lean({"id": calendar, **calendar_name(entry), "undo": undo_call(undo), "summary": "Subscribed."})


def _unsubscribe(name: str) -> Asks[Json]:
    entries = yield from api.all_calendars()
    calendar = api.find_id(entries, name)
    entry = next((one for one in entries if calendar in (one.get("id"), PRIMARY if one.get("primary") else "")), None)
    if calendar == PRIMARY or (entry and entry.get("primary")):
        raise InvalidInput(
            "calendar: the primary calendar cannot be removed from the list.", hint="Other calendars can."
        )
    if entry is None:
        return {"id": calendar, "summary": "It is not in the list, or no longer."}
    yield Preview(
        "Remove this calendar from your list",
        audience=Audience.SELF,
        destroys=True,  # its colour, reminders and the user's own name for it
        name=api.name_of(entry),
        access=ACCESS.get(ROLES.get(str(entry.get("accessRole")), "")),
        note="The calendar itself stays, with its events.",
        pins={"calendar": calendar},
    )
    try:
        yield Request("DELETE", "/users/me/calendarList/{id}", at={"id": calendar}, repeat="idem")
    except (NotFound, Conflict):
        return {"id": calendar, "summary": "It is not in the list, or no longer."}
    undo = Undo("calendar_manage_calendar", {"action": "subscribe", "calendar": calendar})
    if not entry.get("summaryOverride"):  # a name of the user's own cannot be restored
        yield undo
    return {"id": calendar, "undo": undo_call(undo), "summary": "Unsubscribed; the calendar itself stays."}
