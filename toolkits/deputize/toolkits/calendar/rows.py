"""Rows of events. Text that others wrote is cleaned and marked, and empty fields are left out."""

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
from deputize.toolkits.calendar.texts import rest_call

_ADDRESS: Final = 254  # bytes, the longest valid address (RFC 5321 4.5.3.1.3)
MORE: Final = "\u2026"
ROOM: Final = "resource.calendar.google.com"

ANSWERS: Final = {
    "accepted": "accepted",
    "declined": "declined",
    "tentative": "tentative",
    "needsAction": "not answered",
}


def is_written_by_user(event: Event) -> bool:
    """True if only the user can have written an event's texts."""
    creator, organizer = event.get("creator") or {}, event.get("organizer") or {}
    return bool(organizer.get("self") and creator.get("self") and not event.get("guestsCanModify"))


def mark_row(row: Json, outside: Outside, event: Event) -> Json:
    """Return the row without empty fields, marked as untrusted if somebody else may have written a part of it."""
    if not is_written_by_user(event) or outside.hidden or outside.doubts:
        outside.mark(row)
    return lean(row)


def title(event: Event, outside: Outside, limit: int = 80) -> str:
    """Return an event's title. Events that others keep private are "busy"."""
    return outside.line(str(event.get("summary") or ""), limit) or ("busy" if not event.get("summary") else "")


def guests(event: Event) -> list[Json]:
    return [one for one in event.get("attendees") or () if isinstance(one, dict)]


def has_hidden_guests(event: Event) -> bool:
    """True if Google may not return all guests: it cut a long list, or the organizer hides the guests."""
    organizes = (event.get("organizer") or {}).get("self")
    return bool(event.get("attendeesOmitted") or (event.get("guestsCanSeeOtherGuests") is False and not organizes))


def shows_others_words(people: Sequence[Json]) -> bool:
    """True if guests other than the user have names or comments, which they wrote themselves."""
    return any(not one.get("self") and (one.get("displayName") or one.get("comment")) for one in people)


def own_guest(event: Event) -> Json | None:
    """Return the user's own entry among the guests."""
    return next((one for one in guests(event) if one.get("self")), None)


def address(guest: Mapping[str, Any], outside: Outside) -> str:
    """Return a guest's address, whole or not at all, because a part could be another person's address."""
    line = outside.line(str(guest.get("email") or ""))
    return line if len(line.encode()) <= _ADDRESS else MORE


def guest_name(guest: Mapping[str, Any], outside: Outside) -> str:
    """Return the name and the address of a guest."""
    return str(Person(outside.line(str(guest.get("displayName") or ""), 40), address(guest, outside)))


def other_guests(event: Event, outside: Outside, most: int) -> list[str]:
    """Return the first ``most`` addresses of guests other than the user, and the number of the other guests."""
    found = [address(one, outside) for one in guests(event) if not one.get("self")]
    more = [f"and {len(found) - most} more"] if len(found) > most else []
    return found[:most] + more + (["and others who are not shown"] if has_hidden_guests(event) else [])


def meeting(event: Event) -> str:
    """Return the address of the video call, or ""."""
    return str(event.get("hangoutLink") or "")


def offset_of(event: Event) -> tzinfo:
    """Return the offset of an event's start, for times without a zone."""
    try:
        start = str((event.get("start") or {}).get("dateTime") or "")
        return datetime.fromisoformat(start.replace("Z", "+00:00")).tzinfo or UTC
    except ValueError:
        return UTC


def zone_name(start: Moment | None) -> str:
    """Return the zone of a time, or "" for a day."""
    return "" if start is None or start.all_day else str(start.zone)


def start_of(event: Event, zone: tzinfo) -> Moment | None:
    return moment_of(event.get("start"), zone)


def end_of(event: Event, zone: tzinfo) -> Moment | None:
    """Return the end of an event; for an all-day event its last day."""
    end = moment_of(event.get("end"), zone)
    return end.plus(-1) if end and end.all_day else end


def place(event: Event, outside: Outside, limit: int, link: int = 0) -> str:
    """Return the location in ``limit`` bytes. A link is whole, in at most ``link`` more bytes, or left out."""
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
    text = " ".join(kept)
    return text if text == line else f"{text}{MORE}"


def event_row(event: Event, zone: tzinfo, calendar: str, *, named: bool) -> Json:
    """Return an event as a row, times in ``zone``. ``named``: include the calendar."""
    outside = Outside()
    start, end = start_of(event, zone), end_of(event, zone)
    own = own_guest(event) or {}
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
        "people": other_guests(event, outside, 2),
        "my_response": ANSWERS.get(str(own.get("responseStatus") or ""), ""),
        "series": event.get("recurringEventId") or bool(event.get("recurrence")),
        "status": status if status in ("cancelled", "tentative") else "",
        "kind": kind(event) if kind(event) != "default" else "",
    }
    if any(str(row[one]).endswith(MORE) for one in ("title", "where")):
        row["more"] = rest_call(event, calendar)
    return mark_row(row, outside, event)


def kind(event: Event) -> str:
    """Return the event type, such as focusTime; mostly "default"."""
    return str(event.get("eventType") or "default")


def result_row(event: Event, zone: tzinfo) -> Json:
    """Return the row of an event in the result of a write."""
    outside = Outside()
    start, end = start_of(event, zone), end_of(event, zone)
    row: Json = {
        "id": event.get("id"),
        "title": title(event, outside, 60),
        "start": full(start),
        "end": full(end),
        "time_zone": zone_name(start),
        "people": other_guests(event, outside, 3),
        "meet": meeting(event),
        "url": event.get("htmlLink"),
    }
    return mark_row(row, outside, event)


def own_address(account: Account) -> str:
    """Return the user's address in lower case."""
    return account.name.lower()
