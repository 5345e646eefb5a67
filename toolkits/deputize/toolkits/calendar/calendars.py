"""Calendar: the connected account, and the list of calendars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, tzinfo
from typing import Final

from deputize.core import Alias, Run, Steps, TimeZone
from deputize.core.errors import InvalidInput, NotFound
from deputize.toolkits._shared.arguments import Cursor, Limit
from deputize.toolkits._shared.page import Rows, read_cursor, write_cursor
from deputize.toolkits.calendar import api
from deputize.toolkits.calendar.base import (
    CALENDAR,
    KNOWS_SETTINGS,
    PRIMARY,
    SETTINGS,
    SETTINGS_READONLY,
    Asks,
    Json,
    lists,
    shares,
)
from deputize.toolkits.calendar.calendar_rows import calendar_description, calendar_row
from deputize.toolkits.calendar.event_times import known_zone
from deputize.toolkits.calendar.sharing import list_rules

_DAYS: Final = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")


@CALENDAR.tool(aliases=["GoogleCalendar.WhoAmI"])
def whoami(*, run: Run) -> Steps:
    """Connected account, time zone, clock and week settings."""
    found: Json = {"email": run.account.name}
    settings: Mapping[str, str] = {}
    if run.granted & KNOWS_SETTINGS:
        settings = api.parse_settings((yield from api.try_request(api.SETTINGS_LIST)))
    zone: tzinfo | None = None
    if here := known_zone(settings.get("timezone")):
        yield TimeZone(here.key)
        zone = here
    else:
        zone = yield from api.zone_of(PRIMARY, replace(run, granted=run.granted - {SETTINGS, SETTINGS_READONLY}))
    found |= {"time_zone": str(zone)} if zone else {}
    found["now"] = datetime.fromtimestamp(run.now, zone or UTC).isoformat(timespec="minutes")
    if "weekStart" in settings:
        found["week_start"] = _DAYS[int(settings["weekStart"]) % 7] if settings["weekStart"].isdecimal() else ""
        found["clock"] = 24 if settings.get("format24HourTime") == "true" else 12
    return found


@CALENDAR.tool(
    needs=lambda arguments: [lists("list"), *([shares("list")] if arguments["sharing"] else [])],
    aliases=[Alias("GoogleCalendar.ListCalendars", {"show_hidden": "hidden", "next_page_token": "cursor"})],
)
def list_calendars(
    query: str | None = None,
    hidden: bool = False,
    sharing: bool = False,
    calendar: str | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """List calendars, or read one's description."""
    if calendar:
        return (yield from _read_description(calendar, cursor or "0"))
    bound_to = ("calendar_list_calendars", run.account.subject, query, hidden, sharing)
    start = read_cursor(bound_to, cursor, (int,))[0] if cursor else 0
    every = yield from api.all_calendars(hidden=hidden)
    wanted = (query or "").strip().casefold()
    found = [one for one in every if wanted in api.name_of(one).casefold() and not one.get("deleted")]
    page = found[start : start + limit]
    rules = (yield from _load_rules(page)) if sharing else [None] * len(page)
    rows = Rows()
    done = next((n for n, one in enumerate(page) if not rows.add(calendar_row(one, rules[n]))), len(page))
    more = start + done < len(found)
    return {
        "items": rows.items,
        "next": write_cursor(bound_to, [start + done]) if more else None,
        "total": len(found),
        "truncated": done < len(page),
    }


def _read_description(name: str, cursor: str) -> Asks[Json]:
    if not cursor.isdecimal():
        raise InvalidInput("cursor: not of a calendar's description.", hint="Start without a cursor.")
    entries = yield from api.all_calendars(hidden=True)
    id = api.find_id(entries, name)
    entry = next((one for one in entries if id in (one.get("id"), PRIMARY if one.get("primary") else "")), None)
    if entry is None:
        raise NotFound("calendar: not in the list.", hint="calendar_list_calendars has what there is.")
    return calendar_description(entry, int(cursor))


def _load_rules(entries: Sequence[Json]) -> Asks[list[list[Json] | None]]:
    """Load the access rules of the calendars that the user owns; others' rules cannot be read."""
    own = [n for n, one in enumerate(entries) if one.get("accessRole") == "owner"]
    found: list[list[Json] | None] = [None] * len(entries)
    for start in range(0, len(own), 10):
        part = own[start : start + 10]
        answers = yield [list_rules(str(entries[n]["id"])) for n in part]
        for n, answer in zip(part, answers, strict=True):
            found[n] = [rule for rule in answer.get("items") or () if rule.get("role") != "none"]
    return found
