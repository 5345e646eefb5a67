"""Event reads: one event, lists, the instances of a series, and free/busy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from deputize.sandbox.google.calendar.call import ROLES, Call, Json, invalid, load_zone, not_found, parse_time
from deputize.sandbox.google.calendar.times import convert_to_zone, span
from deputize.sandbox.google.calendar.times import instances as occurrences_of

FAR = timedelta(days=2 * 366)
LONGEST = timedelta(days=62)


def records(store: Json, calendar: str) -> Iterator[Json]:
    """Yield the events of a calendar: its own, and those to which its owner is invited."""
    for record in store["events"].values():
        invited = any(one["email"].lower() == calendar for one in record["data"].get("attendees", ()))
        if record["home"] == calendar or (invited and calendar not in record["removed"]):
            yield record


def find_record(call: Call, id: str = "") -> tuple[Json, str]:
    """Return the record of an event on the call's calendar, and the id of the instance, or ""."""
    id = id or call.ids["eventId"]
    series, _, suffix = id.partition("_")
    here = {record["id"]: record for record in records(call.store, call.calendar_id())}
    if id in here:
        return here[id], ""
    if suffix and series in here and here[series]["data"].get("recurrence"):
        if any(one["id"] == id for one in occurrences_of(here[series], call.now + 5 * FAR)):
            return here[series], id
    raise not_found()


def get(call: Call) -> Json:
    """Run events.get, which also returns cancelled events."""
    calendar = call.calendar("freeBusyReader")
    record, occurrence = find_record(call)
    return view(call, calendar, record, _data(record, occurrence))


def _data(record: Json, occurrence: str) -> Json:
    if not occurrence:
        return {**record["data"], "id": record["id"]}
    return next(one for one in occurrences_of(record, datetime.max.replace(tzinfo=UTC)) if one["id"] == occurrence)


def view(call: Call, calendar: Json, record: Json, data: Json) -> Json:
    """Return the event as this caller sees it."""
    zone = call.zone(calendar)
    times: Json = {
        name: convert_to_zone(data[name], zone) for name in ("start", "end", "originalStartTime") if name in data
    }
    hidden = data.get("visibility") == "private" and ROLES.index(call.role(calendar)) < ROLES.index("writer")
    base = {"kind": "calendar#event", "etag": f'"{record["etag"]}"', "id": data["id"], "status": data["status"]}
    if data["status"] == "cancelled" and "recurringEventId" in data:
        return {**base, "recurringEventId": data["recurringEventId"], "originalStartTime": times["originalStartTime"]}
    if hidden or call.sees_times_only(calendar):
        return {**base, **times, "visibility": "private"}
    seen = {**data, **base, **times}
    for name in ("creator", "organizer"):
        seen[name] = _person(data[name], call)
    if "attendees" in data:
        seen["attendees"] = [
            {**one, **_self(one["email"], call), **({"organizer": True} if _is_organizer(one, data) else {})}
            for one in data["attendees"]
        ]
    own = record["own"].get(call.person.email, {})
    link = f"https://www.google.com/calendar/event?eid={data['id']}"
    return {"reminders": {"useDefault": True}, **seen, **own, "htmlLink": link}


def _is_organizer(one: Mapping[str, Any], data: Json) -> bool:
    return bool(one["email"].lower() == data["organizer"]["email"])


def _person(one: Json, call: Call) -> Json:
    return {**one, **_self(one["email"], call)}


def _self(email: str, call: Call) -> Json:
    return {"self": True} if email.lower() == call.calendar_id() else {}


def list_(call: Call) -> Json:
    calendar = call.calendar("freeBusyReader")
    single, ordered = call.flag("singleEvents"), call.ask.one("orderBy")
    if ordered == "startTime" and not single:
        raise invalid("The requested ordering is not available for the particular query.")
    start, end, updated = call.moment("timeMin"), call.moment("timeMax"), call.ask.one("updatedMin")
    if start and end and end <= start:
        raise invalid("The specified time range is empty.", "timeRangeEmpty")
    deleted = call.flag("showDeleted") or bool(updated)
    zone, found = call.zone(calendar), list[tuple[datetime, Json]]()
    for record in records(call.store, call.calendar_id()):
        if updated and parse_time(record["data"]["updated"]) < parse_time(updated):
            continue
        for data in _single(record, end or call.now + FAR) if single else [{**record["data"], "id": record["id"]}]:
            begins, ends = span(data, zone)
            inside = (not end or begins < end) and (not start or ends > start or begins == ends == start)
            gone = data["status"] == "cancelled" and not deleted
            if (inside or (not single and data.get("recurrence"))) and not gone and _matches_filters(call, data):
                found.append((begins, view(call, calendar, record, data)))
    found.sort(key=lambda one: (one[0], one[1]["id"]))
    return _listing(call, calendar, [one for _, one in found])


def _single(record: Json, until: datetime) -> Iterator[Json]:
    if not record["data"].get("recurrence"):
        yield {**record["data"], "id": record["id"]}
    elif record["data"]["status"] != "cancelled":
        yield from occurrences_of(record, until)


def _matches_filters(call: Call, data: Json) -> bool:
    kinds = call.ask.every("eventTypes")
    if kinds and data["eventType"] not in kinds:
        return False
    people = [str(one.get(name, "")) for one in data.get("attendees", ()) for name in ("email", "displayName")]
    text = " ".join([*(str(data.get(name, "")) for name in ("summary", "description", "location")), *people]).lower()
    return all(word in text for word in call.ask.one("q").lower().split())


def _listing(call: Call, calendar: Json, events: list[Json]) -> Json:
    rows, more = call.page(events)
    return {
        "kind": "calendar#events",
        "etag": f'"{call.store["etag"]}"',
        "summary": calendar["summary"],
        "updated": f"{call.now:%Y-%m-%dT%H:%M:%S.000Z}",
        "timeZone": call.zone(calendar).key,
        "accessRole": call.role(calendar),
        "defaultReminders": [],
        "items": rows,
        **(more or {"nextSyncToken": "sync-1"}),
    }


def instances(call: Call) -> Json:
    calendar = call.calendar("freeBusyReader")
    record, occurrence = find_record(call)
    if occurrence or not record["data"].get("recurrence"):
        raise invalid("Not a recurring event.")
    start, end = call.moment("timeMin"), call.moment("timeMax")
    found = []
    for data in occurrences_of(record, end or call.now + FAR):
        gone = data["status"] == "cancelled" and not call.flag("showDeleted")
        if not gone and (not start or span(data, call.zone(calendar))[1] > start):
            found.append(view(call, calendar, record, data))
    return _listing(call, calendar, found)


# ----------------------------------------------------------------- free and busy


def query(call: Call) -> Json:
    """Run freebusy.query. People of one domain see each other's times."""
    body = call.body()
    if not body.get("timeMin") or not body.get("timeMax") or not body.get("items"):
        raise invalid("Missing parameter.", "required")
    start, end = parse_time(body["timeMin"]), parse_time(body["timeMax"])
    if end <= start:
        raise invalid("The specified time range is empty.", "timeRangeEmpty")
    if end - start > LONGEST or len(body["items"]) > min(body.get("calendarExpansionMax", 50), 50):
        raise invalid("The requested time range is too long.", "timeRangeTooLong")
    zone = load_zone(body.get("timeZone") or "UTC")
    asked = [str(one.get("id", "")) for one in body["items"]]
    told = {one: _busy(call, call.calendar_id(one), start, end, zone) for one in asked}
    times = {name: f"{at:%Y-%m-%dT%H:%M:%S.000Z}" for name, at in (("timeMin", start), ("timeMax", end))}
    return {"kind": "calendar#freeBusy", **times, "calendars": told}


def _busy(call: Call, id: str, start: datetime, end: datetime, zone: ZoneInfo) -> Json:
    calendar = call.store["calendars"].get(id)
    if calendar is None or not (call.role(calendar) != "none" or _colleague(call, calendar)):
        return {"errors": [{"domain": "global", "reason": "notFound"}], "busy": []}
    blocks: list[tuple[datetime, datetime]] = []
    for record in records(call.store, id):
        for data in _single(record, end):
            begins, ends = span(data, load_zone(calendar["timeZone"]))
            if _keeps_busy(data, id) and begins < end and ends > start:
                blocks.append((max(begins, start), min(ends, end)))
    return {
        "busy": [
            {"start": _format_time(one, zone), "end": _format_time(two, zone)} for one, two in _merge_blocks(blocks)
        ]
    }


def is_free(call: Call, id: str, start: datetime, end: datetime, besides: str) -> bool:
    """Return True if no other event than the one with the iCalUID ``besides`` keeps a calendar busy."""
    zone = load_zone(call.store["calendars"][id]["timeZone"])
    return not any(
        data["iCalUID"] != besides
        and _keeps_busy(data, id)
        and span(data, zone)[0] < end
        and span(data, zone)[1] > start
        for record in records(call.store, id)
        for data in _single(record, end)
    )


def _colleague(call: Call, calendar: Json) -> bool:
    owner = str(calendar["owner"])
    return owner.partition("@")[2] == call.person.email.partition("@")[2] and calendar["free_busy"]


def _keeps_busy(data: Json, calendar: str) -> bool:
    own: Json = next((one for one in data.get("attendees", ()) if one["email"].lower() == calendar), {})
    return bool(
        data["status"] != "cancelled"
        and data.get("transparency") != "transparent"
        and own.get("responseStatus") != "declined"
    )


def _merge_blocks(blocks: list[tuple[datetime, datetime]]) -> list[tuple[datetime, datetime]]:
    joined: list[tuple[datetime, datetime]] = []
    for start, end in sorted(blocks):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined


def _format_time(at: datetime, zone: ZoneInfo) -> str:
    return at.astimezone(zone).isoformat(timespec="seconds").replace("+00:00", "Z")
