"""The Calendar toolkit, its scopes, and the scopes that each API method accepts.

API: developers.google.com/workspace/calendar/api/v3/reference. The accepted scopes are from its discovery document,
calendar.v3 of 2026-10-30, without scopes that are not enough for the tools: calendar.app.created allows only calendars
that the app created, calendar.events.freebusy returns no titles, calendar.events.public.readonly allows public
calendars only. calendar.events.owned allows the user's own calendars; only ``primary`` is known in advance to be one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from deputize.core import Need, Toolkit, any_of
from deputize.toolkits._shared.arguments import ACCEPTS
from deputize.toolkits._shared.steps import Asks as Asks
from deputize.toolkits._shared.text import FACTS, WRITERS

CALENDAR = Toolkit(
    "calendar",
    provider="google",
    label="Google Calendar",
    accepts=ACCEPTS,
    facts=FACTS,
    writers=WRITERS,
    shows="changes",
    cuts=True,
    words=("meeting", "event", "appointment"),
)

WHOLE: Final = "https://www.googleapis.com/auth/calendar"
READONLY, EVENTS, EVENTS_READONLY, OWNED, OWNED_READONLY = (
    f"{WHOLE}.{name}" for name in "readonly events events.readonly events.owned events.owned.readonly".split()
)
FREEBUSY, EVENTS_FREEBUSY, LIST, LIST_READONLY, CALENDARS, APP_CREATED = (
    f"{WHOLE}.{name}"
    for name in "freebusy events.freebusy calendarlist calendarlist.readonly calendars app.created".split()
)
CALENDARS_READONLY: Final = f"{CALENDARS}.readonly"
ACLS, ACLS_READONLY, SETTINGS, SETTINGS_READONLY = (
    f"{WHOLE}.{name}" for name in "acls acls.readonly settings settings.readonly".split()
)

PRIMARY: Final = "primary"
KNOWS_SETTINGS: Final = frozenset({SETTINGS_READONLY, SETTINGS, READONLY, WHOLE})
KNOWS_LIST: Final = frozenset({LIST_READONLY, LIST, READONLY, WHOLE})
READS_OWN: Final = frozenset({OWNED_READONLY, OWNED, EVENTS_READONLY, EVENTS, READONLY, WHOLE})
READS_ALL: Final = frozenset({EVENTS_READONLY, EVENTS, READONLY, WHOLE})

VALUES: Final[Mapping[str, Mapping[str | bool, Any]]] = {
    "notify": {"externalOnly": "external", "external_only": "external"},
    "visibility": {"confidential": "private"},  # Google's value
}
"""Other toolkits' names of argument values: ``values`` of an `Alias`."""

Json = dict[str, Any]
Event = Mapping[str, Any]
Noted = Mapping[str, Any] | None

CalendarName = Annotated[str, Field(description="id or name")]
Notify = Literal["all", "external", "none"]
Until = Annotated[str, Field(description="or 30m")]
Start = Annotated[str, Field(description="tomorrow 16:00 or ISO; date = all day")]
Zone = str | None
ShowAs = Literal["busy", "free"]
Visibility = Literal["default", "public", "private"]
Rules = Annotated[list[str], Field(description="RRULE lines")]
Minutes = Annotated[list[int], Field(description="minutes before")]


def is_id(calendar: str) -> bool:
    """True if a calendar is given by its id, so that no list is needed."""
    return calendar == PRIMARY or "@" in calendar


def reads(method: str, *calendars: str) -> list[Need]:
    """Return the needs of a method that reads events on these calendars."""
    name = f"calendar.events.{method}"
    if all(one == PRIMARY for one in calendars):
        return [any_of(OWNED_READONLY, EVENTS_READONLY, READONLY, OWNED, EVENTS, WHOLE, method=name)]
    return [any_of(EVENTS_READONLY, READONLY, EVENTS, WHOLE, method=name), *names(*calendars)]


def writes(methods: str, *calendars: str) -> list[Need]:
    """Return the needs of methods that write events on these calendars and read them before, under one scope."""
    ask = OWNED if all(one == PRIMARY for one in calendars) else EVENTS
    return [
        *(replace(need, ask=ask) for need in reads("get", *calendars) if need.method == "calendar.events.get"),
        *(_write_need(ask, method) for method in methods.split()),
        *names(*calendars),
    ]


def _write_need(ask: str, method: str) -> Need:
    broader = (EVENTS, WHOLE) if ask == OWNED else (WHOLE,)
    return any_of(ask, *broader, method=f"calendar.events.{method}")


def names(*calendars: str) -> list[Need]:
    """Return the need of finding calendars by name."""
    return [] if all(map(is_id, calendars)) else [lists("list")]


def lists(method: str) -> Need:
    if method == "list":
        return any_of(LIST_READONLY, LIST, READONLY, WHOLE, method="calendar.calendarList.list")
    return any_of(LIST, WHOLE, method=f"calendar.calendarList.{method}")


def shares(method: str) -> Need:
    if method == "list":
        return any_of(ACLS_READONLY, ACLS, WHOLE, method="calendar.acl.list")
    return any_of(ACLS, WHOLE, method=f"calendar.acl.{method}")
