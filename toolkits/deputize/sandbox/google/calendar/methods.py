"""Calendar's methods: paths, query parameters, and scopes, of which one suffices.

From Google's discovery document calendar.v3, revision 20261030.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import unquote

ROOT = "/calendar/v3"
SCOPE = "https://www.googleapis.com/auth/calendar"
COMMON = frozenset({"alt", "fields", "key", "prettyPrint", "quotaUser", "userIp", "oauth_token"})
BOOLEANS = frozenset(
    {
        *("showHidden", "showDeleted", "singleEvents", "sendNotifications", "colorRgbFormat", "alwaysIncludeEmail"),
        *("supportsAttachments", "showHiddenInvitations", "showOwnOrganizationOnly"),
    }
)
NUMBERS: Mapping[str, int] = {
    "maxResults": 2500,
    "maxAttendees": 10**6,
    "conferenceDataVersion": 1,
    "eventLabelVersion": 1,
}
ENUMS: Mapping[str, tuple[str, ...]] = {
    "sendUpdates": ("all", "externalOnly", "none"),
    "orderBy": ("startTime", "updated"),
    "eventTypes": ("birthday", "default", "focusTime", "fromGmail", "outOfOffice", "workingLocation"),
    "minAccessRole": ("freeBusyReader", "owner", "reader", "writer", "writerWithoutPrivateAccess"),
}


def full_scope(short: str) -> str:
    """Return a scope's full name; ``all`` is the scope for everything."""
    return SCOPE if short == "all" else f"{SCOPE}.{short}"


@dataclass(frozen=True)
class Method:
    """One method: its id without ``calendar.``, verb, path, query parameters, sufficient scopes, and its body."""

    id: str
    verb: str
    path: str
    query: frozenset[str]
    scopes: tuple[str, ...]
    body: str

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The pattern of the whole path."""
        return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", ROOT + self.path))

    @property
    def rpc(self) -> str:
        """The method's name in Google's errors."""
        thing, verb = self.id.split(".")
        return f"calendar.v3.{thing[0].upper()}{thing[1:]}.{verb[0].upper()}{verb[1:]}"

    def ids_in(self, path: str) -> dict[str, str] | None:
        """Return the ids in a path of this method; None if the path belongs to another."""
        found = self.pattern.fullmatch(path)
        return {name: unquote(value) for name, value in found.groupdict().items()} if found else None


def _method(id: str, verb: str, path: str, query: str, scopes: str, body: str = "") -> Method:
    return Method(id, verb, path, frozenset(query.split()), tuple(map(full_scope, scopes.split())), body)


_PAGES = "maxResults pageToken"
_EVENT = "alwaysIncludeEmail maxAttendees"
_SENT = "sendNotifications sendUpdates"
_WRITTEN = f"conferenceDataVersion eventLabelVersion maxAttendees supportsAttachments {_SENT}"
_WINDOW = f"{_PAGES} {_EVENT} showDeleted timeMax timeMin timeZone"
_READ = (
    "all app.created events events.freebusy events.owned events.owned.readonly events.public.readonly events.readonly "
    "readonly"
)
_CHANGE = "all app.created events events.owned"
_EVENTS = "/calendars/{calendarId}/events"
_ACL = "/calendars/{calendarId}/acl"

METHODS = (
    _method("acl.list", "GET", _ACL, f"{_PAGES} showDeleted syncToken", "all acls acls.readonly"),
    _method("acl.insert", "POST", _ACL, "sendNotifications", "all acls", "AclRule"),
    _method("acl.patch", "PATCH", f"{_ACL}/{{ruleId}}", "sendNotifications", "all acls", "AclRule"),
    _method("acl.delete", "DELETE", f"{_ACL}/{{ruleId}}", "", "all acls"),
    _method(
        "calendarList.list",
        "GET",
        "/users/me/calendarList",
        f"{_PAGES} minAccessRole showDeleted showHidden showOwnOrganizationOnly syncToken",
        "all calendarlist calendarlist.readonly readonly",
    ),
    _method(
        "calendarList.insert",
        "POST",
        "/users/me/calendarList",
        "colorRgbFormat",
        "all calendarlist",
        "CalendarListEntry",
    ),
    _method(
        "calendarList.patch",
        "PATCH",
        "/users/me/calendarList/{calendarId}",
        "colorRgbFormat",
        "all app.created calendarlist",
        "CalendarListEntry",
    ),
    _method("calendarList.delete", "DELETE", "/users/me/calendarList/{calendarId}", "", "all app.created calendarlist"),
    _method(
        "calendars.get", "GET", "/calendars/{calendarId}", "", "all app.created calendars calendars.readonly readonly"
    ),
    _method("calendars.insert", "POST", "/calendars", "", "all app.created calendars", "Calendar"),
    _method("calendars.patch", "PATCH", "/calendars/{calendarId}", "", "all app.created calendars", "Calendar"),
    _method(
        "events.list",
        "GET",
        _EVENTS,
        f"{_WINDOW} eventTypes iCalUID orderBy privateExtendedProperty q sharedExtendedProperty showHiddenInvitations "
        "singleEvents syncToken updatedMin",
        _READ,
    ),
    _method("events.insert", "POST", _EVENTS, _WRITTEN, _CHANGE, "Event"),
    _method("events.get", "GET", f"{_EVENTS}/{{eventId}}", f"{_EVENT} timeZone", _READ),
    _method("events.patch", "PATCH", f"{_EVENTS}/{{eventId}}", f"alwaysIncludeEmail {_WRITTEN}", _CHANGE, "Event"),
    _method("events.delete", "DELETE", f"{_EVENTS}/{{eventId}}", _SENT, _CHANGE),
    _method("events.instances", "GET", f"{_EVENTS}/{{eventId}}/instances", f"{_WINDOW} originalStart", _READ),
    _method("events.move", "POST", f"{_EVENTS}/{{eventId}}/move", f"destination {_SENT}", "all events events.owned"),
    _method("freebusy.query", "POST", "/freeBusy", "", "all events.freebusy freebusy readonly", "FreeBusyRequest"),
    _method(
        "settings.list", "GET", "/users/me/settings", f"{_PAGES} syncToken", "all readonly settings settings.readonly"
    ),
)
