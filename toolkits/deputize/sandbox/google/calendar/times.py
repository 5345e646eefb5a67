"""Times of events as they are kept, and the occurrences of a series."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from deputize.core.errors import InvalidInput
from deputize.sandbox.google.calendar.call import Json, invalid, zone_named
from deputize.toolkits.calendar.rules import read_recurrence
from deputize.toolkits.calendar.series import occurrences
from deputize.toolkits.calendar.when import Moment, moment_of

MOST = 2_500


def checked(time: Any, usual: str) -> Json:
    """A start or end as it is kept; refused unless it is a day, or a time with an offset or a zone."""
    if not isinstance(time, dict):
        raise invalid("Missing time.", "required")
    time = {name: value for name, value in time.items() if value is not None}
    if ("date" in time) == ("dateTime" in time):
        raise invalid("Start and end times must either both be date or both be dateTime.")
    zone = zone_named(str(time.get("timeZone") or usual))
    moment = moment_of(time, zone)
    if moment is None or moment.all_day != ("date" in time):
        raise invalid("Bad Request", "badRequest")
    if moment.all_day:
        return {"date": time["date"]}
    if "timeZone" not in time and datetime.fromisoformat(time["dateTime"].replace("Z", "+00:00")).tzinfo is None:
        raise invalid("Missing time zone definition for start time.", "required")
    shown = Moment.of(moment.at, zone)
    named = {"timeZone": time["timeZone"]} if "timeZone" in time else {}
    return {"dateTime": _stamp(shown, zone), **named}


def _stamp(moment: Moment, zone: ZoneInfo) -> str:
    return moment.at.astimezone(zone).isoformat(timespec="seconds")


def shown(time: Mapping[str, Any], zone: ZoneInfo) -> Json:
    """A time in a zone, as answers have it."""
    moment = moment_of(time, zone)
    if moment is None or moment.all_day:
        return dict(time)
    return {**time, "dateTime": _stamp(moment, zone), "timeZone": time.get("timeZone") or zone.key}


def span(event: Mapping[str, Any], zone: ZoneInfo) -> tuple[datetime, datetime]:
    """When an event begins and ends; days in the calendar's zone."""
    found = []
    for name in ("start", "end"):
        moment = moment_of(event.get(name) or event.get("originalStartTime"), zone)
        assert moment is not None  # noqa: S101  # `checked` let nothing else in
        found.append(moment.at.replace(tzinfo=zone).astimezone(UTC) if moment.all_day else moment.at)
    return found[0], found[1]


def lines(event: Json) -> list[str]:
    """The recurrence of an event, checked."""
    given = event.get("recurrence") or []
    start = moment_of(event["start"], ZoneInfo("UTC"))
    if given and start and not start.all_day and not ("timeZone" in event["start"] and "timeZone" in event["end"]):
        raise invalid("Missing time zone definition for start time.", "required")
    try:
        read_recurrence(given, start or Moment(datetime.now(UTC)))
    except InvalidInput:
        raise invalid("Invalid recurrence rule.") from None
    return list(given)


def instances(record: Json, until: datetime) -> Iterator[Json]:
    """The occurrences of a series that begin before then, with what was changed in each."""
    data = record["data"]
    start, end = (moment_of(data[name], ZoneInfo("UTC")) for name in ("start", "end"))
    assert start and end  # noqa: S101
    length: timedelta = end.at - start.at
    for n, one in enumerate(occurrences(read_recurrence(data["recurrence"], start), start)):
        if one.at >= until or n >= MOST:
            return
        suffix = f"{one.at:%Y%m%d}" if one.all_day else f"{one.at:%Y%m%dT%H%M%SZ}"
        id = f"{record['id']}_{suffix}"
        last = one.plus(length.days) if one.all_day else one.plus(0, length)
        due = {**one.resource, **({} if one.all_day else {"timeZone": data["start"]["timeZone"]})}
        until_ = {**last.resource, **({} if one.all_day else {"timeZone": data["end"]["timeZone"]})}
        plain = {name: value for name, value in data.items() if name != "recurrence"}
        more = {"recurringEventId": record["id"], "originalStartTime": due}
        yield {**plain, "start": due, "end": until_, **record["exceptions"].get(id, {}), **more, "id": id}
