"""Arguments of write tools, converted to Google's fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final, Literal

from deputize.core import Account, ActKey
from deputize.core.errors import InvalidInput
from deputize.toolkits._shared.mail.headers import person, single_line
from deputize.toolkits._shared.people import addresses_of
from deputize.toolkits._shared.steps import Asks
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.calendar.api import UPDATES
from deputize.toolkits.calendar.base import PRIMARY, Json
from deputize.toolkits.calendar.rows import ROOM, guests, has_hidden_guests, own_address
from deputize.toolkits.calendar.texts import LONGEST

MAX_GUESTS: Final = 200
COLOURS: Final = {  # of events; names as on Google's web page
    **{"lavender": "1", "sage": "2", "grape": "3", "flamingo": "4", "banana": "5", "tangerine": "6", "peacock": "7"},
    **{"graphite": "8", "blueberry": "9", "basil": "10", "tomato": "11"},
}
_KEPT: Final = ("id", "email", "displayName", "optional", "resource", "responseStatus", "comment", "additionalGuests")
Kind = Literal["default", "focusTime", "outOfOffice", "workingLocation"]


def fields(
    title: str | None,
    description: str | None,
    location: str | None,
    reminders: Sequence[int] | None,
    show_as: str | None,
    visibility: str | None,
    color: str | None,
) -> Json:
    """Return Google's fields for the arguments that are not None."""
    given: Json = {
        "summary": None if title is None else single_line(title, "title"),
        "description": _check_description(description),
        "location": None if location is None else single_line(location, "location"),
        "reminders": None if reminders is None else _reminders(reminders),
        "transparency": {"busy": "opaque", "free": "transparent"}.get(show_as or ""),
        "visibility": visibility,
        "colorId": None if color is None else _colour(color),
    }
    return {name: value for name, value in given.items() if value is not None}


def _check_description(text: str | None) -> str | None:
    if text is not None and len(text) > LONGEST:
        raise InvalidInput(
            f"description: has {len(text)} characters, and at most {LONGEST} fit.", hint="Shorten it, or link to it."
        )
    return None if text is None else text.replace("\0", "")


def _reminders(minutes: Sequence[int]) -> Json:
    if len(minutes) > 5 or not all(0 <= one <= 40_320 for one in minutes):
        raise InvalidInput(
            f"reminders: {str(list(minutes))[:60]} are not at most 5, each of 0 to 40320 minutes before.",
            hint="40320 minutes are four weeks.",
        )
    overrides = [{"method": "popup", "minutes": one} for one in dict.fromkeys(minutes)]
    return {"useDefault": False, "overrides": overrides}


def _colour(name: str) -> str:
    found = COLOURS.get(name.strip().lower())
    if found is None:
        raise InvalidInput(
            f"color: {name.strip()[:30]!r} is not a colour of events.", hint=f"Use one of {', '.join(COLOURS)}."
        )
    return found


def colour_name(number: Any) -> str:
    return next((name for name, one in COLOURS.items() if one == str(number)), "")


def parse_guests(
    people: Sequence[str] | None, optional: Sequence[str] | None, account: Account, calendar: str = PRIMARY
) -> Asks[list[Json]]:
    """Return the guests, each once. On the main calendar, the user is left out, who is the organizer there. Raises
    `InvalidInput` that names the entry."""
    found: dict[str, Json] = {}
    for field, named in (("attendees", people), ("optional_attendees", optional)):
        for at, one in enumerate((yield from addresses_of(named, field, account)) or ()):
            read = person(one, f"{field}[{at}]")
            guest: Json = {"email": read.address} | ({"displayName": read.name} if read.name else {})
            guest |= {"optional": True} if field == "optional_attendees" else {}
            guest |= {"resource": True} if read.key.endswith(f"@{ROOM}") else {}
            found.setdefault(read.key, guest)
    if calendar in (PRIMARY, own_address(account)):
        found.pop(own_address(account), None)
    if len(found) > MAX_GUESTS:
        raise InvalidInput(
            f"attendees: {len(found)} guests, and at most {MAX_GUESTS} fit.", hint="Invite a group's address instead."
        )
    return list(found.values())


def update_guests(event: Mapping[str, Any], add: Sequence[Json], remove: Sequence[str]) -> list[Json]:
    """Return the guest list with ``add`` and without ``remove``; other entries stay unchanged. Raises `InvalidInput` if
    Google did not return the whole list, because a write replaces all of it."""
    if has_hidden_guests(event):
        raise InvalidInput(
            "attendees: Google does not show all guests of this event, so its guest list cannot be changed here.",
            hint="The user can change it in Google Calendar, or ask the organizer.",
        )
    gone = set(_keys(remove))
    old = [{name: one[name] for name in _KEPT if name in one} for one in event.get("attendees") or ()]
    kept = [one for one in old if str(one.get("email", "")).lower() not in gone]
    there = {str(one.get("email", "")).lower() for one in kept}
    return kept + [one for one in add if one["email"].lower() not in there]


def _keys(remove: Sequence[str]) -> list[str]:
    return [person(one, f"remove_attendees[{at}]").key for at, one in enumerate(remove)]


def check_removed(event: Mapping[str, Any], remove: Sequence[str]) -> None:
    """Raise `InvalidInput` if a person to remove is not a guest."""
    there = [str(one.get("email") or "").lower() for one in guests(event)]
    for at, key in enumerate(_keys(remove)):
        if key not in there and not has_hidden_guests(event):
            near = get_close_matches(key, there, 5, 0.3) or there[:5]
            raise InvalidInput(
                f"remove_attendees[{at}]: {key[:80]} is not a guest of this event.",
                hint=f"Guests are: {Outside().line(', '.join(near), 300)}." if near else "It has no guests.",
            )


def conference(key: ActKey) -> Json:
    """Return the request for a video call. Repeats of the act have the same request id."""
    return {"createRequest": {"requestId": key.hex, "conferenceSolutionKey": {"type": "hangoutsMeet"}}}


def has_pending_call(event: Mapping[str, Any]) -> bool:
    """True if the video call is still being created."""
    status = ((event.get("conferenceData") or {}).get("createRequest") or {}).get("status") or {}
    return status.get("statusCode") == "pending"


def mail_params(notify: str, *, guests: bool) -> dict[str, str]:
    """Return the ``sendUpdates`` parameter. With guests it is always set, because Google's default is nobody."""
    return {"sendUpdates": UPDATES[notify]} if guests else {}


def kind_fields(kind: Kind, location: str | None) -> Json:
    """Return the fields of focus time, out of office or a working location. Other invitations are never declined."""
    match kind:
        case "focusTime":
            return {"eventType": kind, "focusTimeProperties": {"autoDeclineMode": "declineNone"}}
        case "outOfOffice":
            return {"eventType": kind, "outOfOfficeProperties": {"autoDeclineMode": "declineNone"}}
        case "workingLocation":
            home = (location or "home").strip().lower() == "home"
            place: Json = {"type": "homeOffice", "homeOffice": {}} if home else _custom_place(location or "")
            shown = {"visibility": "public", "transparency": "transparent"}
            return {"eventType": kind, "workingLocationProperties": place, **shown}
    return {}


def _custom_place(label: str) -> Json:
    return {"type": "customLocation", "customLocation": {"label": single_line(label, "location")}}
