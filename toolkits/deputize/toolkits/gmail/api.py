"""Requests to Gmail's API, batches of them, pages of its lists, and the user's time zone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from deputize.core import Request, Run
from deputize.core.errors import DeputizeError
from deputize.core.tools.steps import MAX_RESPONSE_BYTES, Try
from deputize.toolkits._shared.page import Rows, read_cursor, write_cursor
from deputize.toolkits._shared.steps import AT_ONCE as AT_ONCE
from deputize.toolkits._shared.steps import Asks as Asks
from deputize.toolkits._shared.steps import many as many

HEADERS: Final = ("From", "To", "Cc", "Subject", "Auto-Submitted")


def get_message(message_id: str, form: str = "full", headers: Sequence[str] = HEADERS) -> Request:
    """Return a messages.get request. ``form``: full, raw (bytes), metadata (headers) or minimal (labels)."""
    params: dict[str, Any] = {"format": form}
    if form == "metadata":
        params["metadataHeaders"] = list(headers)
    made = Request("GET", "/users/me/messages/{id}", at={"id": message_id}, params=params)
    return replace(made, max_bytes=MAX_RESPONSE_BYTES) if form == "raw" else made


def get_draft(draft_id: str, form: str = "full") -> Request:
    path = "/users/me/drafts/{id}"
    return Request("GET", path, at={"id": draft_id}, params={"format": form}, max_bytes=MAX_RESPONSE_BYTES)


def get_thread(thread_id: str, form: str = "full") -> Request:
    """Return a threads.get request. ``form``: full, metadata or minimal."""
    params: dict[str, Any] = {"format": form}
    if form == "metadata":
        params["metadataHeaders"] = list(HEADERS)
    return Request("GET", "/users/me/threads/{id}", at={"id": thread_id}, params=params)


def get_attachment(message_id: str, attachment_id: str) -> Request:
    """Return a messages.attachments.get request, for a part whose bytes Gmail stores separately."""
    return Request(
        "GET",
        "/users/me/messages/{message}/attachments/{id}",
        at={"message": message_id, "id": attachment_id},
        max_bytes=MAX_RESPONSE_BYTES,
    )


LIST_LABELS: Final = Request("GET", "/users/me/labels")


def fill(
    rows: Rows,
    ids: Sequence[str],
    request: Callable[[str], Request],
    row: Callable[[Any], dict[str, Any]],
) -> Asks[int]:
    """Fetch these ids, ten at a time, until the rows are full. Return the number of processed ids."""
    done = 0
    for start in range(0, len(ids), AT_ONCE):
        for answer in (yield from many([request(one) for one in ids[start : start + AT_ONCE]])):
            if not isinstance(answer, DeputizeError) and not rows.add(row(answer)):
                return done
            done += 1
    return done


# ----------------------------------------------------------------- pages


@dataclass(frozen=True, slots=True)
class ListPosition:
    """A position in one of Gmail's lists: page size ``size``, ``skip`` rows into the page. ``since``: the time from
    which relative times count, the same on all pages."""

    bound_to: tuple[Any, ...]
    token: str
    skip: int
    size: int
    since: int

    @classmethod
    def of(cls, bound_to: tuple[Any, ...], cursor: str | None, limit: int, now: float) -> ListPosition:
        """Return the position in a cursor, or the start. Raises `InvalidInput` for a cursor of another list."""
        if not cursor:
            return cls(bound_to, "", 0, limit, int(now))
        token, skip, size, since = read_cursor(bound_to, cursor, (str, int, int, int))
        return cls(bound_to, token, skip, min(max(size, 1), 100), since)

    @property
    def params(self) -> dict[str, Any]:
        """The request parameters of this page."""
        return {"maxResults": self.size} | ({"pageToken": self.token} if self.token else {})

    def next_cursor(self, done: int, page: int, following: object, limit: int) -> str | None:
        """Return the cursor after ``done`` rows. ``page``: rows in this page. ``following``: token of the next page."""
        if self.skip + done < page:
            return write_cursor(self.bound_to, [self.token, self.skip + done, self.size, self.since])
        return write_cursor(self.bound_to, [str(following), 0, limit, self.since]) if following else None


def list_aliases() -> Request:
    """Return a settings.sendAs.list request, for the addresses from which the user may write."""
    return Request("GET", "/users/me/settings/sendAs")


def ask_zone(run: Run) -> Asks[object]:
    """Return the zone in the user's calendar settings, else of the main calendar, as far as the grant allows."""
    from deputize.toolkits.calendar.api import SETTINGS_LIST, list_events, parse_settings  # few calls need it
    from deputize.toolkits.calendar.base import KNOWS_SETTINGS, PRIMARY, READS_OWN

    if run.granted & KNOWS_SETTINGS:
        [settings] = yield Try([replace(SETTINGS_LIST, api="calendar")])
        if name := parse_settings(settings).get("timezone"):
            return name
    if run.granted & READS_OWN:
        [page] = yield Try([replace(list_events(PRIMARY, {"maxResults": 1}), api="calendar")])
        return (page or {}).get("timeZone")
    return None
