"""Requests to Gmail's API, many of them at a time, and pages of its lists."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from deputize.core import Request
from deputize.core.errors import DeputizeError
from deputize.core.tools.steps import MAX_BYTES
from deputize.toolkits._shared.page import Rows, read_cursor, write_cursor
from deputize.toolkits._shared.steps import AT_ONCE as AT_ONCE
from deputize.toolkits._shared.steps import Asks as Asks
from deputize.toolkits._shared.steps import many as many

HEADERS: Final = ("From", "To", "Cc", "Subject")


def get_message(message_id: str, form: str = "full", headers: Sequence[str] = HEADERS) -> Request:
    """messages.get: whole (full), as bytes (raw), its headers (metadata) or its state (minimal)."""
    params: dict[str, Any] = {"format": form}
    if form == "metadata":
        params["metadataHeaders"] = list(headers)
    made = Request("GET", "/users/me/messages/{id}", at={"id": message_id}, params=params)
    return replace(made, max_bytes=MAX_BYTES) if form == "raw" else made


def get_draft(draft_id: str, form: str = "full") -> Request:
    """drafts.get: full, metadata, minimal or raw."""
    path = "/users/me/drafts/{id}"
    return Request("GET", path, at={"id": draft_id}, params={"format": form}, max_bytes=MAX_BYTES)


def get_thread(thread_id: str, form: str = "full") -> Request:
    """threads.get: full, metadata or minimal."""
    params: dict[str, Any] = {"format": form}
    if form == "metadata":
        params["metadataHeaders"] = list(HEADERS)
    return Request("GET", "/users/me/threads/{id}", at={"id": thread_id}, params=params)


def get_attachment(message_id: str, attachment_id: str) -> Request:
    """messages.attachments.get: the bytes of a part that Gmail keeps apart."""
    return Request(
        "GET",
        "/users/me/messages/{message}/attachments/{id}",
        at={"message": message_id, "id": attachment_id},
        max_bytes=MAX_BYTES,
    )


LIST_LABELS: Final = Request("GET", "/users/me/labels")


def fill(
    rows: Rows,
    ids: Sequence[str],
    request: Callable[[str], Request],
    row: Callable[[Any], dict[str, Any]],
) -> Asks[int]:
    """Fetch what has these ids, ten at a time, until the rows are full. How many ids were worked off."""
    done = 0
    for start in range(0, len(ids), AT_ONCE):
        for answer in (yield from many([request(one) for one in ids[start : start + AT_ONCE]])):
            if not isinstance(answer, DeputizeError) and not rows.add(row(answer)):
                return done
            done += 1
    return done


# ----------------------------------------------------------------- pages


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a list of Gmail's a result starts: a page of ``size``, ``skip`` rows into it. ``since`` is the time
    from which relative times are counted, the same on all pages."""

    bound_to: tuple[Any, ...]
    token: str
    skip: int
    size: int
    since: int

    @classmethod
    def of(cls, bound_to: tuple[Any, ...], cursor: str | None, limit: int, now: float) -> Place:
        """The place a cursor says, or the start. Raises `InvalidInput` for a cursor of another list."""
        if not cursor:
            return cls(bound_to, "", 0, limit, int(now))
        token, skip, size, since = read_cursor(bound_to, cursor, (str, int, int, int))
        return cls(bound_to, token, skip, min(max(size, 1), 100), since)

    @property
    def params(self) -> dict[str, Any]:
        """What Gmail needs to give this page."""
        return {"maxResults": self.size} | ({"pageToken": self.token} if self.token else {})

    def after(self, done: int, page: int, following: object, limit: int) -> str | None:
        """The cursor after ``done`` rows from here. ``page``: rows of this page; ``following``: token of the next."""
        if self.skip + done < page:
            return write_cursor(self.bound_to, [self.token, self.skip + done, self.size, self.since])
        return write_cursor(self.bound_to, [str(following), 0, limit, self.since]) if following else None


def list_aliases() -> Request:
    """settings.sendAs.list: the addresses the user may write from."""
    return Request("GET", "/users/me/settings/sendAs")
