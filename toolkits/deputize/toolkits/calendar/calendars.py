"""Calendar: who is connected, which calendars there are, and making and changing them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, tzinfo
from typing import Final, Literal

from deputize.core import Alias, Effect, Need, Note, Request, Run, Steps, any_of
from deputize.core.act.tool import Arguments
from deputize.core.errors import Conflict, InvalidInput, NotFound, OutcomeUnknown
from deputize.toolkits._shared.arguments import Cursor, Limit
from deputize.toolkits._shared.mail.headers import single_line
from deputize.toolkits._shared.page import Rows, read_cursor, write_cursor
from deputize.toolkits.calendar import api
from deputize.toolkits.calendar.base import (
    APP_CREATED,
    CALENDAR,
    CALENDARS,
    KNOWS_LIST,
    KNOWS_SETTINGS,
    PRIMARY,
    READS_OWN,
    SETTINGS,
    SETTINGS_READONLY,
    WHOLE,
    Asks,
    Json,
    Noted,
    Zone,
    is_id,
    lists,
    names,
    shares,
)
from deputize.toolkits.calendar.rows import calendar_row, lean
from deputize.toolkits.calendar.sharing import list_rules
from deputize.toolkits.calendar.when import known_zone, zone_called

_DAYS: Final = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
COLOURS: Final = {  # names as in Google's web page; the list takes any colour
    **{"tomato": "#d50000", "flamingo": "#e67c73", "tangerine": "#f4511e", "banana": "#f6bf26", "sage": "#33b679"},
    **{"basil": "#0b8043", "peacock": "#039be5", "blueberry": "#3f51b5", "lavender": "#7986cb", "grape": "#8e24aa"},
    "graphite": "#616161",
}


@CALENDAR.tool(aliases=["GoogleCalendar.WhoAmI"])
def whoami(*, run: Run) -> Steps:
    """Connected account, time zone, clock and week settings."""
    found: Json = {"email": run.account.name}
    settings: Mapping[str, str] = {}
    if run.granted & KNOWS_SETTINGS:
        settings = api.settings_in((yield from api.optional(api.SETTINGS_LIST)))
    zone: tzinfo | None = known_zone(settings.get("timezone"))
    if zone is None and run.granted & (READS_OWN | KNOWS_LIST):
        zone = yield from api.zone_of(PRIMARY, run.granted - {SETTINGS, SETTINGS_READONLY})
    found |= {"time_zone": str(zone)} if zone else {}
    found["now"] = datetime.fromtimestamp(run.now, zone or UTC).isoformat(timespec="minutes")
    if "weekStart" in settings:
        found["week_start"] = _DAYS[int(settings["weekStart"]) % 7] if settings["weekStart"].isdecimal() else ""
        found["clock"] = 24 if settings.get("format24HourTime") == "true" else 12
    return found


@CALENDAR.tool(
    needs=lambda arguments: [lists("list"), *([shares("list")] if arguments["sharing"] else [])],
    aliases=[Alias("GoogleCalendar.ListCalendars", {"show_hidden": "hidden"})],
)
def list_calendars(
    query: str | None = None,
    hidden: bool = False,
    sharing: bool = False,
    limit: Limit = 50,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """List the user's calendars, with sharing if asked."""
    bound_to = ("calendar_list_calendars", run.account.subject, query, hidden, sharing)
    start = read_cursor(bound_to, cursor, (int,))[0] if cursor else 0
    every = yield from api.all_calendars(hidden=hidden)
    wanted = (query or "").strip().casefold()
    found = [one for one in every if wanted in api.name_of(one).casefold() and not one.get("deleted")]
    page = found[start : start + limit]
    rules = (yield from _rules_of(page)) if sharing else [None] * len(page)
    rows = Rows()
    done = next((n for n, one in enumerate(page) if not rows.add(calendar_row(one, rules[n]))), len(page))
    more = start + done < len(found)
    return {
        "items": rows.items,
        "next": write_cursor(bound_to, [start + done]) if more else None,
        "total": len(found),
        "truncated": done < len(page),
    }


def _rules_of(entries: Sequence[Json]) -> Asks[list[list[Json] | None]]:
    """The access rules of the calendars that the user owns; of others nobody tells."""
    own = [n for n, one in enumerate(entries) if one.get("accessRole") == "owner"]
    found: list[list[Json] | None] = [None] * len(entries)
    for start in range(0, len(own), 10):
        part = own[start : start + 10]
        answers = yield [list_rules(str(entries[n]["id"])) for n in part]
        for n, answer in zip(part, answers, strict=True):
            found[n] = [rule for rule in answer.get("items") or () if rule.get("role") != "none"]
    return found


# ----------------------------------------------------------------- making and changing


def _manage_needs(arguments: Arguments) -> Sequence[Need]:
    action, seen = arguments["action"], bool(arguments["color"]) or arguments["hidden"] is not None
    match action:
        case "create":
            makes = any_of(APP_CREATED, CALENDARS, WHOLE, method="calendar.calendars.insert")
            return [makes, *([lists("patch")] if seen else [])]
        case "update":
            changes = bool(arguments["title"] or arguments["time_zone"]) or arguments["description"] is not None
            named = names(arguments["calendar"] or PRIMARY)
            writes = [any_of(CALENDARS, WHOLE, method="calendar.calendars.patch")] if changes or not seen else []
            return [*named, *writes, *([lists("patch")] if seen else [])]
        case "subscribe":
            return [lists("insert"), *([lists("patch")] if seen else [])]
        case _:
            return [
                *(replace(one, ask=lists("delete").ask) for one in names(arguments["calendar"] or PRIMARY)),
                lists("delete"),
            ]


def _manage_effect(arguments: Arguments) -> Effect:
    """Asks to unsubscribe, and when a title, description or time zone changes for everybody who sees the calendar."""
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
    color: str | None = None,
    hidden: bool | None = None,
    *,
    run: Run,
) -> Steps:
    """Create or change a calendar, subscribe or unsubscribe."""
    words = _words(title, description, time_zone)
    look = _look(color, hidden)
    if action == "create":
        if not title or calendar:
            raise InvalidInput("create: needs title, and takes no calendar.")
        return (yield from _create(words, look, run.granted, run.noted))
    if not calendar:
        raise InvalidInput(f"calendar: needed to {action}.")
    if action == "subscribe":
        if not is_id(calendar) or words:
            raise InvalidInput(
                "subscribe: needs the calendar's id (it looks like an email address), and takes no title."
            )
        return (yield from _subscribe(calendar, look))
    (found,) = yield from api.calendar_ids(calendar)
    if action == "unsubscribe":
        return (yield from _unsubscribe(found))
    if not words and not look:
        raise InvalidInput("Nothing to update: give title, description, time_zone, color or hidden.")
    if words:
        yield Request("PATCH", "/calendars/{id}", at={"id": found}, json=words, repeat="idem")
    entry = (yield from _looks(found, look)) if look else {}
    return lean({"id": found, "name": words.get("summary") or api.name_of(entry), "summary": "Changed."})


def _words(title: str | None, description: str | None, time_zone: str | None) -> Json:
    given = {
        "summary": single_line(title, "title") if title else None,
        "description": description,
        "timeZone": zone_called(time_zone).key if time_zone else None,
    }
    return {name: value for name, value in given.items() if value is not None}


def _look(color: str | None, hidden: bool | None) -> Json:
    """What only the user's own list shows of a calendar."""
    look: Json = {} if hidden is None else {"hidden": hidden}
    if color:
        value = COLOURS.get(color.strip().lower(), color.strip().lower())
        if not re.fullmatch(r"#[0-9a-f]{6}", value):
            raise InvalidInput("color: not a known colour.", hint=f"Use #rrggbb, or one of {', '.join(COLOURS)}.")
        look |= {"backgroundColor": value, "foregroundColor": "#000000"}
    return look


def _looks(calendar: str, look: Json) -> Asks[Json]:
    params = {"colorRgbFormat": True} if "backgroundColor" in look else {}
    path = "/users/me/calendarList/{id}"
    return dict((yield Request("PATCH", path, at={"id": calendar}, json=look, params=params, repeat="idem")))


def _create(words: Json, look: Json, granted: frozenset[str], noted: Noted) -> Asks[Json]:
    """The new calendar, or the user's own that is called so already: a name is the only key there is."""
    there = (yield from _own_called(words["summary"])) if granted & KNOWS_LIST else None
    if there:
        return lean({"id": there["id"], "name": api.name_of(there), "summary": "There is such a calendar already."})
    if noted:
        raise OutcomeUnknown(
            "Google's answer was lost: the calendar may have been created.", hint="List the calendars."
        )
    if granted & KNOWS_LIST:
        yield Note({"made": True})
    made = yield Request("POST", "/calendars", json=words)
    if look:
        yield from _looks(str(made["id"]), look)
    undo = {"tool": "calendar_manage_calendar", "args": {"action": "unsubscribe", "calendar": made["id"]}}
    return {"id": made["id"], "name": words["summary"], "undo": undo, "summary": "Created."}


def _own_called(name: str) -> Asks[Json | None]:
    every = yield from api.all_calendars()
    return next((one for one in every if one.get("summary") == name and one.get("accessRole") == "owner"), None)


def _subscribe(calendar: str, look: Json) -> Asks[Json]:
    undo = {"tool": "calendar_manage_calendar", "args": {"action": "unsubscribe", "calendar": calendar}}
    try:
        entry = yield Request("POST", "/users/me/calendarList", json={"id": calendar}, repeat="idem")
    except Conflict:
        return {"id": calendar, "summary": "It is in the list already."}
    if look:
        yield from _looks(calendar, look)
    return lean({"id": calendar, "name": api.name_of(entry), "undo": undo, "summary": "Subscribed."})


def _unsubscribe(calendar: str) -> Asks[Json]:
    if calendar == PRIMARY:
        raise InvalidInput("calendar: the primary calendar cannot be removed from the list.")
    try:
        yield Request("DELETE", "/users/me/calendarList/{id}", at={"id": calendar}, repeat="idem")
    except (NotFound, Conflict):
        return {"id": calendar, "summary": "It is not in the list, or no longer."}
    undo = {"tool": "calendar_manage_calendar", "args": {"action": "subscribe", "calendar": calendar}}
    return {"id": calendar, "undo": undo, "summary": "Unsubscribed; the calendar itself stays."}
