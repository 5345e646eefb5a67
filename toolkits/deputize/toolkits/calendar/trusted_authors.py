"""``trusted_authors = domain``: events that the user, or somebody of the user's own domain, has made and organizes.

``self`` is not asked: Google says it of the calendar that an event stands in, which may be a subscribed one. An
invitation that came by mail names its organizer itself; Google keeps it under an id that begins with an underscore, and
it is nobody's, as is what Google has read out of a mail. An event that its guests may change is theirs, too. Of an
event that is read, names and comments of guests from elsewhere are left out. gmail.com is no domain of colleagues.
developers.google.com/workspace/calendar/api/v3/reference/events
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from deputize.core import Request, Run
from deputize.core.tools.steps import Step
from deputize.core.tools.trusted_authors import Withheld
from deputize.toolkits._shared.domains import domain_of, own_domain
from deputize.toolkits._shared.redact_results import blanked
from deputize.toolkits.calendar.base import CALENDAR, PRIMARY, Asks, Json

OUTSIDE: Final = "not of the user or the user's domain"
BY_MAIL: Final = "not known to be of its organizer: it came by mail"
_GROUP: Final = "@group.calendar.google.com"
_KEPT: Final = frozenset(
    """accessRole calendar colorId conferenceId created date dateTime defaultTimeZone email etag eventType
    hangoutLink htmlLink iCalUID id kind nextPageToken nextSyncToken originalStartTime recurringEventId responseStatus
    self status timeZone transparency updated visibility""".split()
)
"""What Google chooses, or that says who and when."""
_RULES: Final = ("recurrence",)


class Domain:
    """The screen of one call."""

    def __init__(self, run: Run, withheld: Withheld) -> None:
        self.withheld = withheld
        self.own, self.domain = run.account.name.lower(), own_domain(run.account.name)

    def __call__(self, step: Step, answer: Any) -> Asks[Any]:
        """The answer without the texts of others."""
        if isinstance(step, list):
            return [self._screened(request, part) for request, part in zip(step, answer, strict=True)]
        return self._screened(step, answer) if isinstance(step, Request) else answer
        yield step

    def _screened(self, request: Request, answer: Any) -> Any:
        if not isinstance(answer, dict):
            return answer
        if "/events" in request.path:
            return self._events(request, answer)
        if request.path.startswith("/users/me/calendarList"):
            items = answer.get("items")
            return {**answer, "items": [self._entry(one) for one in items]} if items else self._entry(answer)
        return answer

    def _events(self, request: Request, answer: Json) -> Json:
        if "start" in answer or "organizer" in answer or "items" not in answer:
            return self._event(answer)
        named = (
            {}
            if self._is_ours(self._calendar(request))
            else self._bare({name: answer[name] for name in ("summary", "description") if answer.get(name)}, OUTSIDE)
        )
        return {**answer, **named, "items": [self._event(one) for one in answer["items"]]}

    def _calendar(self, request: Request) -> str:
        calendar = str(request.at.get("calendar", ""))
        return self.own if calendar == PRIMARY else calendar

    def _is_ours(self, address: Any) -> bool:
        one = str(address or "").lower()
        return one == self.own or (bool(self.domain) and domain_of(one) == self.domain)

    def _why_not(self, event: Mapping[str, Any]) -> str:
        """Why an event's words are withheld; "" where they are not."""
        organizer, creator = ((event.get(name) or {}).get("email") for name in ("organizer", "creator"))
        if str(event.get("id", "")).startswith("_") or event.get("eventType") == "fromGmail":
            return BY_MAIL
        if not any((organizer, creator)):  # nothing but when somebody is busy
            return "" if not event.get("summary") else OUTSIDE
        group = str(organizer or "").endswith(_GROUP)
        if not self._is_ours(creator or organizer) or not (group or self._is_ours(organizer or creator)):
            return OUTSIDE
        guests = [one.get("email") for one in event.get("attendees") or () if not one.get("resource")]
        return OUTSIDE if event.get("guestsCanModify") and not all(map(self._is_ours, guests)) else ""

    def _event(self, event: Json) -> Json:
        if why := self._why_not(event):
            return self._bare(event, why)
        return {**event, **{name: self._people(event[name]) for name in ("attendees",) if name in event}}

    def _people(self, guests: list[Json]) -> list[Json]:
        return [
            one if self._is_ours(one.get("email")) or one.get("resource") else dict(_unnamed(one)) for one in guests
        ]

    def _entry(self, entry: Json) -> Json:
        """A calendar of the user's list: named by who owns it, or as the user calls it."""
        if entry.get("accessRole") == "owner" or self._is_ours(entry.get("id")):
            return entry
        bare = self._bare(entry, OUTSIDE)
        return {**bare, "summaryOverride": entry["summaryOverride"]} if entry.get("summaryOverride") else bare

    def _bare(self, node: Json, why: str) -> Json:
        kept = {name: node[name] for name in _RULES if name in node}
        people = {name: dict(_unnamed(node[name])) for name in ("organizer", "creator") if name in node}
        guests = (
            {"attendees": [dict(_unnamed(one)) for one in node.get("attendees") or ()]} if "attendees" in node else {}
        )
        return {**blanked(node, self.withheld.mark_for(why), _KEPT), **kept, **people, **guests}


def _unnamed(person: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Somebody without words of their own."""
    return ((name, value) for name, value in person.items() if name not in ("displayName", "comment"))


CALENDAR.screens["domain"] = Domain
