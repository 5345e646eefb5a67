"""Requests to Calendar's API, lookup of calendars by name, and the user's time zone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from difflib import get_close_matches
from typing import Any, Final
from zoneinfo import ZoneInfo

from deputize.core import Request, Run, TimeZone
from deputize.core.errors import DeputizeError, InvalidInput
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.calendar.base import (
    KNOWS_LIST,
    KNOWS_SETTINGS,
    PRIMARY,
    READS_ALL,
    READS_OWN,
    Asks,
    Json,
    is_id,
)
from deputize.toolkits.calendar.event_times import known_zone, named_zone, stamp

_PAGE: Final = 250
_MAX_PAGES: Final = 8
SETTINGS_LIST: Final = Request("GET", "/users/me/settings")
UPDATES: Final = {"all": "all", "external": "externalOnly", "none": "none"}


def get_event(calendar: str, event_id: str) -> Request:
    return Request("GET", "/calendars/{calendar}/events/{event}", at={"calendar": calendar, "event": event_id})


def list_events(calendar: str, params: Mapping[str, Any]) -> Request:
    return Request("GET", "/calendars/{calendar}/events", at={"calendar": calendar}, params=params)


def list_instances(calendar: str, series_id: str, params: Mapping[str, Any]) -> Request:
    at = {"calendar": calendar, "event": series_id}
    return Request("GET", "/calendars/{calendar}/events/{event}/instances", at=at, params=params)


def insert_event(calendar: str, body: Json, params: Mapping[str, Any]) -> Request:
    """Return an events.insert request. After a lost response, the event is looked up, not inserted again."""
    return Request("POST", "/calendars/{calendar}/events", at={"calendar": calendar}, json=body, params=params)


def patch_event(calendar: str, event: Mapping[str, Any], body: Json, params: Mapping[str, Any]) -> Request:
    """Return an events.patch request that fails if the event changed since it was read."""
    return Request(
        "PATCH",
        "/calendars/{calendar}/events/{event}",
        at={"calendar": calendar, "event": str(event.get("id", ""))},
        json=body,
        params=params,
        headers={"if-match": str(event["etag"])} if event.get("etag") else {},
        repeat="idem",
    )


def delete_event(calendar: str, event: Mapping[str, Any], params: Mapping[str, Any]) -> Request:
    """Return an events.delete request that fails if the event changed since it was read."""
    return Request(
        "DELETE",
        "/calendars/{calendar}/events/{event}",
        at={"calendar": calendar, "event": str(event.get("id", ""))},
        params=params,
        headers={"if-match": str(event["etag"])} if event.get("etag") else {},
        repeat="idem",
    )


def move_event(calendar: str, event_id: str, destination: str, params: Mapping[str, Any]) -> Request:
    at = {"calendar": calendar, "event": event_id}
    return Request(
        "POST",
        "/calendars/{calendar}/events/{event}/move",
        at=at,
        params={"destination": destination, **params},
        repeat="idem",
    )


# ----------------------------------------------------------------- calendars by name


def all_calendars(*, hidden: bool = True) -> Asks[list[Json]]:
    """List all calendars of the user (calendarList.list)."""
    found: list[Json] = []
    params: dict[str, Any] = {"maxResults": _PAGE, "showHidden": hidden}
    for _ in range(_MAX_PAGES):
        page = yield Request("GET", "/users/me/calendarList", params=params)
        found += page.get("items") or ()
        if not page.get("nextPageToken"):
            break
        params["pageToken"] = str(page["nextPageToken"])
    return found


def name_of(entry: Mapping[str, Any]) -> str:
    """Return the user's name of a calendar."""
    return str(entry.get("summaryOverride") or entry.get("summary") or "")


def find_id(entries: Sequence[Json], calendar: str) -> str:
    """Return the id of a calendar given by id or name. Raises the errors of `calendar_ids`."""
    return calendar if is_id(calendar) else _match_name(calendar, entries, "calendar")


def calendar_ids(*calendars: str, field: str = "calendar") -> Asks[list[str]]:
    """Return ids of calendars given by id or name. Raises `InvalidInput` with candidates for an unclear name."""
    if all(map(is_id, calendars)):
        return list(calendars)
    entries = yield from all_calendars()
    return [one if is_id(one) else _match_name(one, entries, field) for one in calendars]


def _match_name(name: str, entries: Sequence[Json], field: str) -> str:
    by_id = [one for one in entries if one.get("id") == name]
    alike = [one for one in entries if name_of(one).strip().casefold() == name.strip().casefold()]
    found = by_id or alike
    if len(found) == 1:
        return PRIMARY if found[0].get("primary") else str(found[0]["id"])
    shown = ", ".join(_candidate(one) for one in (found or _similar(name, entries))[:5])
    what = "several calendars have the name" if found else "no calendar has the name"
    raise InvalidInput(
        f"{field}: {what} {name[:60]!r}.", hint=f"There are: {shown}." if shown else "List the calendars."
    )


def _candidate(entry: Mapping[str, Any]) -> str:
    return f"{Outside().line(name_of(entry), 60)} ({entry.get('id')}, {entry.get('accessRole')})"


def _similar(name: str, entries: Sequence[Json]) -> list[Json]:
    by_name = {name_of(one).casefold(): one for one in entries}
    wanted = name[:200].casefold()
    parts = [one for other, one in by_name.items() if wanted in other or other in wanted]
    close = [by_name[other] for other in get_close_matches(wanted, list(by_name), 5, 0.5)]
    return list({id(one): one for one in [*parts, *close]}.values()) or list(entries)


# ----------------------------------------------------------------- zones


def zone_of(calendar: str, run: Run) -> Asks[tzinfo | None]:
    """Return the user's zone from their settings, else from their main calendar, as far as the grant allows; else the
    runtime's known zone; else the zone of ``calendar``, or None. The runtime stores the zone that Google reports."""
    granted = run.granted
    if granted & KNOWS_SETTINGS:
        settings = yield from try_request(SETTINGS_LIST)
        if zone := known_zone(parse_settings(settings).get("timezone")):
            yield TimeZone(zone.key)
            return zone
    known = named_zone(run.zone)
    if calendar != PRIMARY and known and run.zone_known:
        return known
    if zone := (yield from _calendar_zone(PRIMARY, granted)):
        yield TimeZone(zone.key)
        return zone
    return known or ((yield from _calendar_zone(calendar, granted)) if calendar != PRIMARY else None)


def _calendar_zone(calendar: str, granted: frozenset[str]) -> Asks[ZoneInfo | None]:
    if granted & (READS_OWN if calendar == PRIMARY else READS_ALL):
        far = stamp(datetime(2100, 1, 1, tzinfo=UTC))
        page = yield from try_request(list_events(calendar, {"maxResults": 1, "timeMin": far}))
        if zone := known_zone((page or {}).get("timeZone")):
            return zone
    if granted & KNOWS_LIST:
        for one in (yield from all_calendars()):
            if one.get("id") == calendar or (calendar == PRIMARY and one.get("primary")):
                return known_zone(one.get("timeZone"))
    return None


def parse_settings(answer: Any) -> dict[str, str]:
    """Return the settings in a response of settings.list."""
    return {str(one.get("id")): str(one.get("value")) for one in (answer or {}).get("items") or ()}


def try_request(request: Request) -> Asks[Any]:
    """Return the response, or None if the request fails. For optional information."""
    try:
        return (yield request)
    except DeputizeError:
        return None
