"""``trusted_authors = domain``: events that the user, or a member of the user's domain, created and organizes.

``self`` is not used: Google sets it for the calendar with the event, which may be a subscribed one. An invitation by
mail names its organizer itself; Google stores it under an id that begins with an underscore. It is withheld, and so are
events that Google extracted from mail. An event that its guests may change counts as theirs too. Names and comments of
guests from other domains are left out. gmail.com does not count as a shared domain.
developers.google.com/workspace/calendar/api/v3/reference/events
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from deputize.core import Request, Run
from deputize.core.tools.steps import Step
from deputize.core.tools.trusted_authors import Withheld
from deputize.toolkits._shared.redact_results import blanked, domain_of, own_domain
from deputize.toolkits.calendar.base import CALENDAR, PRIMARY, Asks, Json

OUTSIDE: Final = "not of the user or the user's domain"
BY_MAIL: Final = "not known to be of its organizer: it came by mail"
_GROUP: Final = "@group.calendar.google.com"
_KEPT: Final = frozenset(
    """accessRole calendar colorId conferenceId created date dateTime defaultTimeZone email etag eventType
    hangoutLink htmlLink iCalUID id kind nextPageToken nextSyncToken originalStartTime recurringEventId responseStatus
    self status timeZone transparency updated visibility""".split()
)
"""Fields that Google sets, or that identify people and times."""
_RULES: Final = ("recurrence",)


class Domain:
    """The screen of one call."""

    def __init__(self, run: Run, withheld: Withheld) -> None:
        self.withheld = withheld
        self.own, self.domain = run.account.name.lower(), own_domain(run.account.name)

    def __call__(self, step: Step, answer: Any) -> Asks[Any]:
        """Return the response without the texts of untrusted authors."""
        if isinstance(step, list):
            return [self._screen(request, part) for request, part in zip(step, answer, strict=True)]
        return self._screen(step, answer) if isinstance(step, Request) else answer
        yield step

    def _screen(self, request: Request, answer: Any) -> Any:
        if not isinstance(answer, dict):
            return answer
        if "/events" in request.path:
            return self._screen_events(request, answer)
        if request.path.startswith("/users/me/calendarList"):
            items = answer.get("items")
            return {**answer, "items": [self._entry_row(one) for one in items]} if items else self._entry_row(answer)
        return answer

    def _screen_events(self, request: Request, answer: Json) -> Json:
        if "start" in answer or "organizer" in answer or "items" not in answer:
            return self._screen_event(answer)
        named = (
            {}
            if self._is_own(self._calendar(request))
            else self._redact({name: answer[name] for name in ("summary", "description") if answer.get(name)}, OUTSIDE)
        )
        return {**answer, **named, "items": [self._screen_event(one) for one in answer["items"]]}

    def _calendar(self, request: Request) -> str:
        calendar = str(request.at.get("calendar", ""))
        return self.own if calendar == PRIMARY else calendar

    def _is_own(self, address: Any) -> bool:
        one = str(address or "").lower()
        return one == self.own or (bool(self.domain) and domain_of(one) == self.domain)

    def _reason_to_withhold(self, event: Mapping[str, Any]) -> str:
        """Return the reason why an event's texts are withheld, or ""."""
        organizer, creator = ((event.get(name) or {}).get("email") for name in ("organizer", "creator"))
        if str(event.get("id", "")).startswith("_") or event.get("eventType") == "fromGmail":
            return BY_MAIL
        if not any((organizer, creator)):  # a busy time only
            return "" if not event.get("summary") else OUTSIDE
        group = str(organizer or "").endswith(_GROUP)
        if not self._is_own(creator or organizer) or not (group or self._is_own(organizer or creator)):
            return OUTSIDE
        guests = [one.get("email") for one in event.get("attendees") or () if not one.get("resource")]
        return OUTSIDE if event.get("guestsCanModify") and not all(map(self._is_own, guests)) else ""

    def _screen_event(self, event: Json) -> Json:
        if why := self._reason_to_withhold(event):
            return self._redact(event, why)
        return {**event, **{name: self._screen_guests(event[name]) for name in ("attendees",) if name in event}}

    def _screen_guests(self, guests: list[Json]) -> list[Json]:
        return [
            one if self._is_own(one.get("email")) or one.get("resource") else dict(_nameless(one)) for one in guests
        ]

    def _entry_row(self, entry: Json) -> Json:
        """Return an entry of the calendar list. The owner's name for the calendar is withheld unless trusted."""
        if entry.get("accessRole") == "owner" or self._is_own(entry.get("id")):
            return entry
        bare = self._redact(entry, OUTSIDE)
        return {**bare, "summaryOverride": entry["summaryOverride"]} if entry.get("summaryOverride") else bare

    def _redact(self, node: Json, why: str) -> Json:
        kept = {name: node[name] for name in _RULES if name in node}
        people = {name: dict(_nameless(node[name])) for name in ("organizer", "creator") if name in node}
        guests = (
            {"attendees": [dict(_nameless(one)) for one in node.get("attendees") or ()]} if "attendees" in node else {}
        )
        return {**blanked(node, self.withheld.mark_for(why), _KEPT), **kept, **people, **guests}


def _nameless(person: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield a person's fields without the texts that the person wrote."""
    return ((name, value) for name, value in person.items() if name not in ("displayName", "comment"))


CALENDAR.screens["domain"] = Domain
