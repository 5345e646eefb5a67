"""One call to Calendar's API: what it may see, and the errors it can raise."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from deputize.sandbox.google.calendar.methods import BOOLEANS, COMMON, ENUMS, NUMBERS, Method, full_scope
from deputize.sandbox.google.calendar.schemas import SCHEMAS
from deputize.sandbox.google.errors import api_error, scope_missing
from deputize.sandbox.http_types import Ask, Refused
from deputize.sandbox.people import Person
from deputize.sandbox.world import World

Json = dict[str, Any]
HOST = "www.googleapis.com"
ROLES = ("none", "freeBusyReader", "reader", "writer", "owner")
OWN_ONLY = {full_scope("events.owned"), full_scope("events.owned.readonly")}
APP_ONLY, BUSY_ONLY, PUBLIC_ONLY = (
    full_scope("app.created"),
    full_scope("events.freebusy"),
    full_scope("events.public.readonly"),
)


@dataclass(frozen=True)
class Call:
    """A call: its request, person, token scopes, method and ids."""

    ask: Ask = field(repr=False)
    world: World = field(repr=False)
    person: Person
    scopes: frozenset[str]
    method: Method
    ids: Mapping[str, str]

    @property
    def store(self) -> Json:
        """All calendars of the sandbox."""
        return self.world.services["calendar"]

    @property
    def now(self) -> datetime:
        """The sandbox's time."""
        return datetime.fromtimestamp(self.world.clock(), UTC)

    def body(self) -> Json:
        """Return the JSON body. Raise 400 for fields or types that the method's schema lacks."""
        try:
            found = json.loads(self.ask.body or b"{}")
        except ValueError:
            raise invalid("Parse Error", "parseError") from None
        _check(found, self.method.body, "")
        return dict(found)

    def flag(self, name: str) -> bool:
        """Return a boolean of the query."""
        return self.ask.one(name) == "true"

    def calendar_id(self, id: str = "") -> str:
        """Return the calendar's id; ``primary`` is the caller's address."""
        id = id or self.ids["calendarId"]
        return self.person.email if id == "primary" else id

    def calendar(self, least: str, id: str = "") -> Json:
        """Return a calendar if the caller has at least the role ``least`` and the token's scopes allow access to it."""
        found: Json | None = self.store["calendars"].get(self.calendar_id(id))
        if found is None or self.role(found) == "none":
            raise not_found()
        if ROLES.index(self.role(found)) < ROLES.index(least):
            words = "You need to have writer access to this calendar."
            raise Refused(api_error(403, words, "requiredAccessLevel", "PERMISSION_DENIED"))
        if not self._reaches(found):
            raise Refused(scope_missing(HOST, self.method.rpc, self.method.scopes))
        return found

    def _reaches(self, calendar: Json) -> bool:
        """Return True if one of the token's scopes allows access to this calendar."""
        having = set(self.method.scopes) & self.scopes
        own, made = self.role(calendar) == "owner", bool(calendar.get("made_by_app"))
        public = any(rule["scope"]["type"] == "default" for rule in calendar["acl"])
        return bool(
            having - OWN_ONLY - {APP_ONLY, PUBLIC_ONLY}
            or (having & OWN_ONLY and own)
            or (APP_ONLY in having and made)
            or (PUBLIC_ONLY in having and public)
        )

    def sees_times_only(self, calendar: Json) -> bool:
        """True if titles and people are hidden, because of the caller's role or of the token's only scope."""
        return self.role(calendar) == "freeBusyReader" or set(self.method.scopes) & self.scopes <= {BUSY_ONLY}

    def role(self, calendar: Json) -> str:
        """Return the caller's role on a calendar."""
        if calendar["owner"] == self.person.email:
            return "owner"
        domain = self.person.email.partition("@")[2]
        mine = {("user", self.person.email), ("domain", domain), ("default", "")}
        found = [r["role"] for r in calendar["acl"] if (r["scope"]["type"], r["scope"].get("value", "")) in mine]
        return max(found, key=ROLES.index, default="none")

    def zone(self, calendar: Json) -> ZoneInfo:
        """Return the time zone of the reply's times."""
        return load_zone(self.ask.one("timeZone") or calendar["timeZone"])

    def moment(self, name: str) -> datetime | None:
        """Return a time of the query. Raise 400 if it has no UTC offset."""
        text = self.ask.one(name)
        return parse_time(text) if text else None

    def page(self, rows: Sequence[Any], usual: int = 250) -> tuple[list[Any], Json]:
        """Return one page of rows, and the field with the token of the next page."""
        size, token = int(self.ask.one("maxResults") or usual), self.ask.one("pageToken")
        start = 0
        if token:
            if not token.startswith("page-") or not token[5:].isdecimal():
                raise invalid("Invalid page token value.")
            start = int(token[5:])
        end = start + max(size, 1)
        return list(rows[start:end]), {"nextPageToken": f"page-{end}"} if end < len(rows) else {}

    def check_query(self) -> None:
        """Raise 400 for a parameter that the method lacks, or for a value of the wrong type."""
        for name, values in self.ask.query.items():
            if name not in self.method.query | COMMON:
                raise invalid(f"Unknown query parameter {name}.")
            for value in values:
                _check_value(name, value)


def parse_time(text: str) -> datetime:
    """Parse a time with a UTC offset (RFC 3339). Raise 400 if the offset is missing."""
    try:
        read = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise invalid("Bad Request", "badRequest") from None
    if read.tzinfo is None:
        raise invalid("Bad Request", "badRequest")
    return read.astimezone(UTC)


def load_zone(name: str) -> ZoneInfo:
    """Return a zone of the IANA database. Raise 400 for an unknown name."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise invalid("Invalid time zone definition.") from None


def _check_value(name: str, value: str) -> None:
    if name in BOOLEANS and value not in ("true", "false"):
        raise invalid(f"Invalid boolean value for {name}.")
    if name in NUMBERS and not (value.isdecimal() and int(value) <= NUMBERS[name]):
        raise invalid(f"Invalid value for {name}.")
    if name in ENUMS and value not in ENUMS[name]:
        raise invalid(f"Invalid value for {name}: {value[:40]}.")


def _check(value: Any, kind: str, where: str) -> None:
    """Raise 400 for a value outside the schema. None removes a field."""
    if value is None and where:
        return
    if kind.startswith("["):
        if not isinstance(value, list):
            raise invalid(f"Invalid value at {where}.")
        for one in value:
            _check(one, kind[1:-1], where + "[]")
    elif kind in SCHEMAS:
        if not isinstance(value, dict):
            raise invalid(f"Invalid value at {where or 'body'}.")
        for name, one in value.items():
            if name not in SCHEMAS[kind]:
                raise invalid(f'Unknown name "{name}": Cannot find field.')
            _check(one, SCHEMAS[kind][name], f"{where}.{name}")
    elif not _is(value, kind):
        raise invalid(f"Invalid value at {where}.")


def _is(value: Any, kind: str) -> bool:
    match kind:
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "object":
            return isinstance(value, dict)
    return True


def invalid(message: str, reason: str = "invalid") -> Refused:
    """Return a 400 error."""
    return Refused(api_error(400, message, reason, "INVALID_ARGUMENT"))


def not_found() -> Refused:
    """Return the 404 of a record that does not exist or that this person may not see."""
    return Refused(api_error(404, "Not Found", "notFound", "NOT_FOUND"))
