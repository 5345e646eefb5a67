"""Texts of events: displayed, read in parts or as stored, and edited.

A description may contain HTML, which Google renders with its line breaks. It is rendered as a whole and then split,
because markup that hides words may begin in another part. Offsets count characters of the text that is read: the
displayed text, or with ``raw`` the stored one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from deputize.core import Continuation
from deputize.core.errors import InvalidInput
from deputize.toolkits._shared.html import read_html
from deputize.toolkits._shared.long_text import PART, Edit, Form, digest, part, written_before
from deputize.toolkits._shared.page import Rows
from deputize.toolkits._shared.text import Outside, newlined
from deputize.toolkits.calendar.base import PRIMARY, Event, Json, Noted

SHOWN: Final = 3_000  # bytes of a description in an event's detail
LONGEST: Final = 8_192  # characters that Google accepts
_MARKUP: Final = re.compile(r"<[A-Za-z/!?]|&[A-Za-z#]")
_LINK: Final = re.compile(r"https?://[^\s<>\"]{1,2000}")


def _visible_text(outside: Outside, text: str) -> str:
    """Return the visible text of HTML, or plain text unchanged."""
    if not _MARKUP.search(text):
        return outside.text(text)
    page = read_html(newlined(text).replace("\n", "<br>"))
    outside.hidden += page.hidden
    outside.doubts |= page.doubts
    return outside.text(page.text)


DESCRIPTION: Final = Form(outside=Outside, show=_visible_text, uncut=(_LINK,))
_PLAIN: Final = Form(outside=Outside, show=Outside.text, uncut=(_LINK,))
_FIELDS: Final[Mapping[str, str]] = {"title": "summary", "location": "location", "recurrence": "recurrence"}


def description_part(
    event: Event,
    outside: Outside,
    limit: int | None,
    more: Continuation | None = None,
    offset: int = 0,
    *,
    raw: bool = False,
) -> Json:
    """Return a part of a description, as `deputize.toolkits._shared.long_text.part` does."""
    stored = str(event.get("description") or "")
    if raw or not _MARKUP.search(stored):
        return part(_PLAIN, outside, stored, limit, offset, raw=raw, name="description", more=more)
    text = _visible_text(outside, stored).strip()
    shown = part(_PLAIN, Outside(), text, limit, offset, name="description", more=more)
    shown.pop("text_digest", None)
    whole = "next_offset" not in shown and DESCRIPTION.shows_all(stored)
    return shown | ({"text_digest": digest(stored)} if whole else {})


def read_field(event: Event, name: str, outside: Outside, more: Continuation, offset: int, *, raw: bool) -> Json:
    """Return one field from ``offset``. ``name``: description, title, location or recurrence."""
    if name == "description":
        return description_part(event, outside, PART, more, offset, raw=raw)
    stored = event.get(_FIELDS[name])
    text = "\n".join(map(str, stored)) if isinstance(stored, list) else stored
    return part(_PLAIN, outside, text, PART, offset, raw=raw, name=name, more=more)


def rest_call(event: Event, calendar: str, **where: str | bool) -> Continuation:
    """Return the call that reads more of this event. ``where``: the part to read, and whether as stored."""
    of: dict[str, str | bool] = {"event_id": str(event.get("id")), **where}
    return Continuation("calendar_get_event", **of | ({} if calendar == PRIMARY else {"calendar": calendar}))


def rows_from(rows: list[Json], offset: int, name: str, more: Continuation) -> Json:
    """Return the rows from ``offset`` that fit in a result."""
    if offset > len(rows):
        raise InvalidInput(f"offset: {offset} is beyond the end.", hint=f"There are {len(rows)} {name}.")
    kept = Rows()
    done = next((n for n, row in enumerate(rows[offset:]) if not kept.add(row)), len(rows) - offset)
    shown: Json = {name: kept.items, "total": len(rows)}
    after = offset + done
    return shown | ({"truncated": True, "next_offset": after, "more": more.at(after)} if after < len(rows) else {})


def edit_description(event: Event, edit: Edit, new: str, limit: int, noted: Noted) -> str:
    """Return the whole new description. ``limit``: bytes of the old one that its detail contains.

    Raises the errors of `Edit.of`.
    """
    old = str(event.get("description") or "")
    if written_before(noted, "description", old):
        return old  # an earlier run of this act wrote it
    whole = edit.of(DESCRIPTION, "description", old, new, limit)
    if len(whole) > LONGEST:
        raise InvalidInput(
            f"description: would have {len(whole)} characters, and at most {LONGEST} fit.",
            hint="Shorten it, or take a part out with replaces.",
        )
    return whole


def is_extension(old: Any, new: Any) -> bool:
    return str(new or "").startswith(str(old or ""))
