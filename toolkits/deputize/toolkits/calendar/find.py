"""Calendar: find events, and read one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import Field

from deputize.core import Alias, Need, Request, Run, Steps, TimeZone
from deputize.core.errors import InvalidInput
from deputize.core.tools.tool import Arguments
from deputize.toolkits._shared import times
from deputize.toolkits._shared.arguments import Cursor, Limit, Offset
from deputize.toolkits._shared.page import Rows, read_cursor, write_cursor
from deputize.toolkits._shared.text import Outside
from deputize.toolkits.calendar import api, texts
from deputize.toolkits.calendar.base import CALENDAR, PRIMARY, Asks, CalendarName, Json, reads
from deputize.toolkits.calendar.detail import event_detail, guest_row
from deputize.toolkits.calendar.event_times import known_zone, moment_of, named_zone, stamp
from deputize.toolkits.calendar.rows import event_row, guests, has_hidden_guests, mark_row, shows_others_words

_EMPTY_PAGES: Final = 5
_DONE: Final = "-"  # in a cursor: this calendar has no more events
_MAX_CALENDARS: Final = 10
_WEEK: Final = timedelta(days=7)

Kind = Literal["default", "focusTime", "outOfOffice", "workingLocation", "birthday", "fromGmail"]
Part = Literal["title", "location", "people", "recurrence"]


def _list_needs(arguments: Arguments) -> Sequence[Need]:
    return reads("instances" if arguments["series_id"] else "list", *(arguments["calendars"] or (PRIMARY,)))


@CALENDAR.tool(
    needs=_list_needs,
    aliases=[
        Alias(
            "GoogleCalendar.ListEvents",
            {"min_end_datetime": "after", "max_start_datetime": "before", "calendar_id": "calendars[]"},
        )
    ],
)
def list_events(
    calendars: Annotated[list[str] | None, Field(description="default primary")] = None,
    query: str | None = None,
    after: Annotated[str | None, Field(description="ISO or -7d, default now")] = None,
    before: Annotated[str | None, Field(description="default after+7d")] = None,
    series_id: Annotated[str | None, Field(description="series of a row")] = None,
    expand: Annotated[bool, Field(description="occurrences, not series")] = True,
    kinds: list[Kind] | None = None,
    updated_after: Annotated[str | None, Field(description="includes cancelled")] = None,
    limit: Limit = 25,
    cursor: Cursor = None,
    *,
    run: Run,
) -> Steps:
    """List or search events in a time window, or the occurrences of a series."""
    wanted = list(dict.fromkeys(calendars or [PRIMARY]))
    if len(wanted) > _MAX_CALENDARS:
        raise InvalidInput(
            f"calendars: {len(wanted)} calendars, and at most {_MAX_CALENDARS} are listed together.",
            hint="List them in several calls.",
        )
    if series_id and (query or kinds or updated_after or len(wanted) > 1):
        raise InvalidInput(
            "series_id: cannot be combined with query, kinds, updated_after or several calendars.",
            hint="Leave these out, or series_id.",
        )
    filters = (wanted, query, after, before, series_id, expand, kinds, updated_after)
    bound_to = ("calendar_list_events", run.account.subject, *filters)
    place = Position.of(bound_to, cursor, len(wanted), limit, run.now)
    ids = yield from api.calendar_ids(*wanted, field="calendars")
    dated = any(map(times.names_a_day, (after, before, updated_after)))
    zone = (yield from api.zone_of(ids[0], run)) if dated else None
    if dated and zone is None:
        raise InvalidInput(
            "after, before: dates without a time zone, and the calendars have different ones.",
            hint="Give date-times with an offset.",
        )
    params = _window(after, before, updated_after, place.since, zone, bounded=not (series_id or updated_after))
    if not series_id:
        params |= {"singleEvents": expand, **({"orderBy": "startTime"} if expand else {})}
        params |= {"q": query.strip()} if query and query.strip() else {}
        params |= {"eventTypes": list(kinds)} if kinds else {}
    pages = []
    for at, one in enumerate(ids):
        page = yield from _load_page(place, at, one, series_id, params)
        pages.append(page)
    here = next((page.zone for one, page in zip(ids, pages, strict=True) if one == PRIMARY and page.zone), None)
    if here:
        yield TimeZone(here.key)
    zone = zone or here or named_zone(run.zone) or next((found for page in pages if (found := page.zone)), None) or UTC
    rows, taken = Rows(), [0] * len(pages)
    short = _merge(pages, wanted, zone, rows, taken, limit)
    following = [page.position_after(place, at, taken[at]) for at, page in enumerate(pages)]
    more = any(token != _DONE for token, _ in following)
    result: Json = {
        "items": rows.items,
        "next": place.write(following) if more else None,
        "truncated": short,
        "time_zone": str(zone),
    }
    return result | ({} if rows.items or more or cursor else {"summary": _no_event_summary(params, zone)})


def _no_event_summary(params: Mapping[str, Any], zone: tzinfo) -> str:
    ends = {
        word: f"{datetime.fromisoformat(str(params[name])).astimezone(zone):%Y-%m-%d %H:%M}"
        for word, name in (("from", "timeMin"), ("to", "timeMax"))
        if name in params
    }
    return " ".join(["No event", *(f"{word} {at}" for word, at in ends.items())]) + "."


def _window(
    after: str | None, before: str | None, updated: str | None, since: int, zone: tzinfo | None, *, bounded: bool
) -> dict[str, Any]:
    """Return parameters for events that overlap [after, before): Google's timeMin bounds the end, timeMax the start."""
    here = zone or UTC
    start = times.moment(after, since, "after", here, coming=True) if after else datetime.fromtimestamp(since, UTC)
    end = times.moment(before, since, "before", here, coming=True) if before else None
    if bounded and end is None:
        end = (start.astimezone(here) + _WEEK).astimezone(UTC)
    if end is not None and end <= start:
        raise InvalidInput("after: must be earlier than before.", hint="after is the earlier end of the window.")
    params = {"timeMin": stamp(start)} if after or not updated else {}
    params |= {"timeMax": stamp(end)} if end else {}
    return params | ({"updatedMin": stamp(times.moment(updated, since, "updated_after", here))} if updated else {})


@dataclass(frozen=True, slots=True)
class Position:
    """A position in a list: for each calendar a page token, and the number of rows already returned.

    ``since``: the time from which relative times count, the same on all pages. ``size``: rows of Google's pages.
    """

    bound_to: tuple[Any, ...]
    since: int
    size: int
    tokens: Sequence[tuple[str, int]]

    @classmethod
    def of(cls, bound_to: tuple[Any, ...], cursor: str | None, count: int, limit: int, now: float) -> Position:
        """Return the position in a cursor, or the start. Raises `InvalidInput` for a cursor of another list."""
        if not cursor:
            return cls(bound_to, int(now), limit, [("", 0)] * count)
        since, size, *rest = read_cursor(bound_to, cursor, (int, int, *(str, int) * count))
        return cls(bound_to, since, min(max(size, 1), 100), list(zip(rest[::2], rest[1::2], strict=True)))

    def write(self, tokens: Sequence[tuple[str, int]]) -> str:
        """Return the cursor of the next page."""
        return write_cursor(self.bound_to, [self.since, self.size, *(part for one in tokens for part in one)])


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of one calendar that were not returned yet. ``token``: the page's token. ``skip``: rows returned."""

    items: Sequence[Mapping[str, Any]]
    token: str
    skip: int
    following: str
    zone: ZoneInfo | None

    def position_after(self, place: Position, at: int, taken: int) -> tuple[str, int]:
        """Return the position at which this calendar continues after ``taken`` rows."""
        if taken < len(self.items):
            return self.token, self.skip + taken
        return (self.following, 0) if self.following else (_DONE, 0)


def _load_page(place: Position, at: int, calendar: str, series: str | None, params: Mapping[str, Any]) -> Asks[Page]:
    """Load the next rows of a calendar, skipping empty pages."""
    token, skip = place.tokens[at]
    if token == _DONE:
        return Page((), _DONE, 0, "", None)
    page = Page((), token, skip, "", None)
    for _ in range(_EMPTY_PAGES):
        answer = yield _request(calendar, series, {**params, "maxResults": place.size}, token)
        items, following = list(answer.get("items") or ())[skip:], str(answer.get("nextPageToken") or "")
        page = Page(items, token, skip, following, known_zone(answer.get("timeZone")))
        if items or not following:
            break
        token, skip = following, 0
    return page


def _request(calendar: str, series_id: str | None, params: Mapping[str, Any], token: str) -> Request:
    params = {**params, "pageToken": token} if token else params
    return api.list_instances(calendar, series_id, params) if series_id else api.list_events(calendar, params)


def _merge(pages: Sequence[Page], names: Sequence[str], zone: tzinfo, rows: Rows, taken: list[int], limit: int) -> bool:
    """Add rows of all calendars by start, up to ``limit``. Return True if the budget ended the list."""
    while len(rows.items) < limit:
        open_ = [at for at, page in enumerate(pages) if taken[at] < len(page.items)]
        if not open_ or any(page.following and taken[at] == len(page.items) for at, page in enumerate(pages)):
            return False  # the next row of a calendar is on a page that is not loaded
        at = min(open_, key=lambda at: _order(pages[at].items[taken[at]], zone))
        if not rows.add(event_row(pages[at].items[taken[at]], zone, names[at], named=len(names) > 1)):
            return True
        taken[at] += 1
    return False


def _order(event: Mapping[str, Any], zone: tzinfo) -> datetime:
    start = moment_of(event.get("start") or event.get("originalStartTime"), zone)
    if start is None:
        return datetime.max.replace(tzinfo=UTC)
    return start.at if not start.all_day else start.at.replace(tzinfo=zone).astimezone(UTC)


# ----------------------------------------------------------------- one event


@CALENDAR.tool(needs=lambda arguments: reads("get", arguments["calendar"]), aliases=["GoogleCalendar.GetEvent"])
def get_event(
    event_id: str,
    calendar: CalendarName = PRIMARY,
    part: Part | None = None,
    offset: Offset = 0,
    raw: bool = False,
    *,
    run: Run,
) -> Steps:
    """Read one event in full; offset and raw (as stored) read its description, or part, alone."""
    (found,) = yield from api.calendar_ids(calendar)
    event: Json = yield api.get_event(found, event_id)
    alone, outside = part or ("description" if offset or raw else None), Outside()
    if alone is None:
        return event_detail(event, calendar, run.zone)
    more = texts.rest_call(event, calendar, **{"part": part} if part else {}, **{"raw": True} if raw else {})
    if alone != "people":
        result = texts.read_field(event, alone, outside, more, offset, raw=raw)
        return {alone: ""} | mark_row({"id": event.get("id")} | result, outside, event)
    if raw:
        raise InvalidInput("raw: guests are not a text.", hint="Give raw for a title, location or the description.")
    result = texts.rows_from([guest_row(one, outside, alone=True) for one in guests(event)], offset, "people", more)
    if shows_others_words(guests(event)):
        outside.mark(result)
    hidden = {"people_hidden": True} if has_hidden_guests(event) else {}
    return mark_row({"id": event.get("id")} | result | hidden, outside, event)
