"""How events are shown. What others wrote is cleaned and marked; what is empty is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any, Final

from deputize.core.vault.grant import Account
from deputize.toolkits._shared.mail.headers import Person
from deputize.toolkits._shared.page import lean as lean
from deputize.toolkits._shared.text import Outside, clip
from deputize.toolkits.calendar.base import Event, Json
from deputize.toolkits.calendar.event_times import Moment, full, moment_of, short
from deputize.toolkits.calendar.texts import rest_of

_ADDRESS: Final = 254  # bytes: no longer one can be mailed to (RFC 5321 4.5.3.1.3)
MORE: Final = "\u2026"
ROOM: Final = "resource.calendar.google.com"

ANSWERS: Final = {
    "accepted": "accepted",
    "declined": "declined",
    "tentative": "tentative",
    "needsAction": "not answered",
}


def by_the_user(event: Event) -> bool:
    """Whether nobody but the user can have written an event's words."""
    creator, organizer = event.get("creator") or {}, event.get("organizer") or {}
    return bool(organizer.get("self") and creator.get("self") and not event.get("guestsCanModify"))


def marked(row: Json, outside: Outside, event: Event) -> Json:
    """The row without what is empty, marked if somebody else can have written in it."""
    if not by_the_user(event) or outside.hidden or outside.doubts:
        outside.mark(row)
    return lean(row)


def title(event: Event, outside: Outside, limit: int = 80) -> str:
    """What an event is called; what others keep private is only "busy"."""
    return outside.line(str(event.get("summary") or ""), limit) or ("busy" if not event.get("summary") else "")


def guests(event: Event) -> list[Json]:
    """The people and rooms that are invited."""
    return [one for one in event.get("attendees") or () if isinstance(one, dict)]


def hidden_guests(event: Event) -> bool:
    """Whether more may be invited than Google shows: it cut a long list, or the organizer keeps it from guests."""
    organizes = (event.get("organizer") or {}).get("self")
    return bool(event.get("attendeesOmitted") or (event.get("guestsCanSeeOtherGuests") is False and not organizes))


def names_others(people: Sequence[Json]) -> bool:
    """Whether guests besides the user are shown with words of their own: names and comments."""
    return any(not one.get("self") and (one.get("displayName") or one.get("comment")) for one in people)


def mine(event: Event) -> Json | None:
    """The user's own entry among the guests."""
    return next((one for one in guests(event) if one.get("self")), None)


def address(guest: Mapping[str, Any], outside: Outside) -> str:
    """The address of a guest, whole or not at all: a part of one would be another's."""
    line = outside.line(str(guest.get("email") or ""))
    return line if len(line.encode()) <= _ADDRESS else MORE


def guest_name(guest: Mapping[str, Any], outside: Outside) -> str:
    """A guest with the address beside the name, always."""
    return str(Person(outside.line(str(guest.get("displayName") or ""), 40), address(guest, outside)))


def others(event: Event, outside: Outside, most: int) -> list[str]:
    """The addresses of guests besides the user, the first of many."""
    found = [address(one, outside) for one in guests(event) if not one.get("self")]
    more = [f"and {len(found) - most} more"] if len(found) > most else []
    return found[:most] + more + (["and others who are not shown"] if hidden_guests(event) else [])


def meeting(event: Event) -> str:
    """The address of the video call."""
    return str(event.get("hangoutLink") or "")


def offset_of(event: Event) -> tzinfo:
    """In which an event's times are shown where they name no zone: that of their offset."""
    try:
        start = str((event.get("start") or {}).get("dateTime") or "")
        return datetime.fromisoformat(start.replace("Z", "+00:00")).tzinfo or UTC
    except ValueError:
        return UTC


def zone_named(start: Moment | None) -> str:
    """The zone in which a time is told; a day has none."""
    return "" if start is None or start.all_day else str(start.zone)


def start_of(event: Event, zone: tzinfo) -> Moment | None:
    """When it begins."""
    return moment_of(event.get("start"), zone)


def end_of(event: Event, zone: tzinfo) -> Moment | None:
    """When it ends; of an all-day event the last day."""
    end = moment_of(event.get("end"), zone)
    return end.plus(-1) if end and end.all_day else end


def place(event: Event, outside: Outside, limit: int, link: int = 0) -> str:
    """Where it is, within ``limit`` bytes. A link is there whole, with at most ``link`` bytes more, or not at all."""
    line = outside.line(str(event.get("location") or ""))
    if len(line.encode()) <= limit or "://" not in line:
        return clip(line, limit)
    kept: list[str] = []
    for word in line.split(" "):
        size = len(word.encode()) + 1
        if "://" in word and size > limit:
            fits, link = size <= link, link - size
            kept += [word] if fits else []
        elif size <= limit:
            kept.append(word)
            limit -= size
        else:
            break
    told = " ".join(kept)
    return told if told == line else f"{told}{MORE}"


def event_row(event: Event, zone: tzinfo, calendar: str, *, named: bool) -> Json:
    """An event in a list. Times in ``zone``. ``named``: whether it says on which calendar it is."""
    outside = Outside()
    start, end = start_of(event, zone), end_of(event, zone)
    own = mine(event) or {}
    status = str(event.get("status") or "")
    row: Json = {
        "id": event.get("id"),
        "calendar": calendar if named else "",
        "title": title(event, outside, 60),
        "start": short(start, zone),
        "end": short(end, zone),
        "all_day": bool(start and start.all_day),
        "where": place(event, outside, 40),
        "meet": bool(meeting(event)),
        "people": others(event, outside, 2),
        "my_response": ANSWERS.get(str(own.get("responseStatus") or ""), ""),
        "series": event.get("recurringEventId") or bool(event.get("recurrence")),
        "status": status if status in ("cancelled", "tentative") else "",
        "kind": kind(event) if kind(event) != "default" else "",
    }
    if any(str(row[one]).endswith(MORE) for one in ("title", "where")):
        row["more"] = rest_of(event, calendar)
    return marked(row, outside, event)


def kind(event: Event) -> str:
    """Focus time, out of office and the like; mostly "default"."""
    return str(event.get("eventType") or "default")


def made(event: Event, zone: tzinfo) -> Json:
    """What the result of a write says of the event it left."""
    outside = Outside()
    start, end = start_of(event, zone), end_of(event, zone)
    row: Json = {
        "id": event.get("id"),
        "title": title(event, outside, 60),
        "start": full(start),
        "end": full(end),
        "time_zone": zone_named(start),
        "people": others(event, outside, 3),
        "meet": meeting(event),
        "url": event.get("htmlLink"),
    }
    return marked(row, outside, event)


def own_name(account: Account) -> str:
    """The user's own address, in lower case."""
    return account.name.lower()
