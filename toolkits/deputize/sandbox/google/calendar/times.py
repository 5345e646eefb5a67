"""Event times as stored, and the instances of a series. The toolkit's code for both is not used here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from deputize.sandbox.google.calendar.call import Json, invalid, load_zone
from deputize.sandbox.google.calendar.recurrence import Time, occurrences, series

MAX_RESULTS = 2_500
DAY = re.compile(r"\d{4}-\d\d-\d\d")
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?")  # RFC 3339; the offset may be missing


def check_time(time: Any, usual: str) -> Json:
    """Return a start or end as stored. Raise 400 unless it is a day, or a time with an offset or a zone."""
    if not isinstance(time, dict):
        raise invalid("Missing time.", "required")
    time = {name: value for name, value in time.items() if value is not None}
    if ("date" in time) == ("dateTime" in time):
        raise invalid("Start and end times must either both be date or both be dateTime.")
    zone = load_zone(str(time.get("timeZone") or usual))
    at = _read(time, zone)
    if not isinstance(at, datetime):
        return {"date": time["date"]}
    if "timeZone" not in time and MOMENT.fullmatch(time["dateTime"])[2] is None:  # type: ignore[index]
        raise invalid("Missing time zone definition for start time.", "required")
    named = {"timeZone": time["timeZone"]} if "timeZone" in time else {}
    return {"dateTime": _stamp(at, zone), **named}


def _read(time: Mapping[str, Any], zone: ZoneInfo) -> Time:
    """Return the day, or the moment in its own zone or else in ``zone``. Raise 400 for anything else."""
    text, form = (time["date"], DAY) if "date" in time else (time["dateTime"], MOMENT)
    if not form.fullmatch(text):
        raise invalid("Bad Request", "badRequest")
    own = ZoneInfo(time["timeZone"]) if time.get("timeZone") else zone
    try:
        if form is DAY:
            return date.fromisoformat(text)
        at = datetime.fromisoformat(text).replace(microsecond=0)
        return (at if at.tzinfo else at.replace(tzinfo=own)).astimezone(UTC).astimezone(own)
    except (ValueError, OverflowError):
        raise invalid("Bad Request", "badRequest") from None


def _stamp(at: datetime, zone: ZoneInfo) -> str:
    return at.astimezone(zone).isoformat(timespec="seconds")


def convert_to_zone(time: Mapping[str, Any], zone: ZoneInfo) -> Json:
    """Return a time in a zone, as replies contain it."""
    at = _read(time, zone)
    if not isinstance(at, datetime):
        return dict(time)
    return {**time, "dateTime": _stamp(at, zone), "timeZone": time.get("timeZone") or zone.key}


def span(event: Mapping[str, Any], zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return when an event begins and ends; days count in the calendar's zone."""
    begins, ends = (_read(event.get(name) or event["originalStartTime"], zone) for name in ("start", "end"))
    return _moment(begins, zone), _moment(ends, zone)


def _moment(time: Time, zone: ZoneInfo) -> datetime:
    at = time if isinstance(time, datetime) else datetime(time.year, time.month, time.day, tzinfo=zone)
    return at.astimezone(UTC)


def lines(event: Json) -> list[str]:
    """Return the recurrence of an event. Raise 400 if it is invalid."""
    given = event.get("recurrence") or []
    start = _read(event["start"], ZoneInfo("UTC"))
    if given and isinstance(start, datetime) and not all("timeZone" in event[name] for name in ("start", "end")):
        raise invalid("Missing time zone definition for start time.", "required")
    series(given, start)
    return list(given)


def instances(record: Json, until: datetime) -> Iterator[Json]:
    """Yield the instances of a series that begin before ``until``, with the changes made to each."""
    data, utc = record["data"], ZoneInfo("UTC")
    start, end = (_read(data[name], utc) for name in ("start", "end"))
    length = _moment(end, utc) - _moment(start, utc)
    for n, one in enumerate(occurrences(series(data["recurrence"], start))):
        if _moment(one, utc) >= until or n >= MAX_RESULTS:
            return
        id = f"{record['id']}_{one:%Y%m%dT%H%M%SZ}" if isinstance(one, datetime) else f"{record['id']}_{one:%Y%m%d}"
        begins, ends = _stored_time(one, data["start"]), _stored_time(one + length, data["end"])
        plain = {name: value for name, value in data.items() if name != "recurrence"}
        more = {"recurringEventId": record["id"], "originalStartTime": begins}
        yield {**plain, "start": begins, "end": ends, **record["exceptions"].get(id, {}), **more, "id": id}


def _stored_time(time: Time, like: Mapping[str, Any]) -> Json:
    """Return a time as stored, in the zone of ``like``."""
    if not isinstance(time, datetime):
        return {"date": time.isoformat()}
    return {"dateTime": _stamp(time, ZoneInfo(like["timeZone"])), "timeZone": like["timeZone"]}
