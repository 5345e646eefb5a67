"""Texts of events: shown as a person sees them, read on to their end or as they are stored, and changed in part.

A description may hold HTML. Google shows it as such, with line ends as line ends, so it is shown as a whole and then
parted: what hides words, or their markup, may begin in another part. Offsets count the characters of what is read: the
shown text, or with ``raw`` the stored one.
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

SHOWN: Final = 3_000  # bytes of a description beside all else that an event has
LONGEST: Final = 8_192  # characters that Google takes
_MARKUP: Final = re.compile(r"<[A-Za-z/!?]|&[A-Za-z#]")
_LINK: Final = re.compile(r"https?://[^\s<>\"]{1,2000}")


def _seen(outside: Outside, text: str) -> str:
    """The text of a page, or a text without markup as it is."""
    if not _MARKUP.search(text):
        return outside.text(text)
    page = read_html(newlined(text).replace("\n", "<br>"))
    outside.hidden += page.hidden
    outside.doubts |= page.doubts
    return outside.text(page.text)


DESCRIPTION: Final = Form(outside=Outside, show=_seen, uncut=(_LINK,))
_PLAIN: Final = Form(outside=Outside, show=Outside.text, uncut=(_LINK,))
_FIELDS: Final[Mapping[str, str]] = {"title": "summary", "location": "location", "recurrence": "recurrence"}


def described(
    event: Event,
    outside: Outside,
    limit: int | None,
    more: Continuation | None = None,
    offset: int = 0,
    *,
    raw: bool = False,
) -> Json:
    """A part of an event's description, as `deputize.toolkits._shared.long_text.part` gives it."""
    stored = str(event.get("description") or "")
    if raw or not _MARKUP.search(stored):
        return part(_PLAIN, outside, stored, limit, offset, raw=raw, name="description", more=more)
    told = part(_PLAIN, Outside(), _seen(outside, stored).strip(), limit, offset, name="description", more=more)
    told.pop("text_digest", None)
    whole = "next_offset" not in told and DESCRIPTION.shows_all(stored)
    return told | ({"text_digest": digest(stored)} if whole else {})


def alone(event: Event, name: str, outside: Outside, more: Continuation, offset: int, *, raw: bool) -> Json:
    """One text of an event by itself, from ``offset`` on. ``name``: description, title, location or recurrence."""
    if name == "description":
        return described(event, outside, PART, more, offset, raw=raw)
    stored = event.get(_FIELDS[name])
    text = "\n".join(map(str, stored)) if isinstance(stored, list) else stored
    return part(_PLAIN, outside, text, PART, offset, raw=raw, name=name, more=more)


def rest_of(event: Event, calendar: str, **where: str | bool) -> Continuation:
    """The call that reads more of this event. ``where``: of which part, and whether as stored."""
    of: dict[str, str | bool] = {"event_id": str(event.get("id")), **where}
    return Continuation("calendar_get_event", **of | ({} if calendar == PRIMARY else {"calendar": calendar}))


def rows_from(rows: list[Json], offset: int, name: str, more: Continuation) -> Json:
    """Rows of an event from ``offset`` on, as many as fit."""
    if offset > len(rows):
        raise InvalidInput(f"offset: {offset} is beyond the end.", hint=f"There are {len(rows)} {name}.")
    kept = Rows()
    done = next((n for n, row in enumerate(rows[offset:]) if not kept.add(row)), len(rows) - offset)
    told: Json = {name: kept.items, "total": len(rows)}
    after = offset + done
    return told | ({"truncated": True, "next_offset": after, "more": more.at(after)} if after < len(rows) else {})


def changed_text(event: Event, edit: Edit, new: str, limit: int, noted: Noted) -> str:
    """The whole description to write over that of this event. ``limit``: as many bytes of it are in its detail.

    Raises what `Edit.of` raises.
    """
    old = str(event.get("description") or "")
    if written_before(noted, "description", old):
        return old  # an earlier run of this act has written it
    whole = edit.of(DESCRIPTION, "description", old, new, limit)
    if len(whole) > LONGEST:
        raise InvalidInput(
            f"description: would have {len(whole)} characters, and at most {LONGEST} fit.",
            hint="Shorten it, or take a part out with replaces.",
        )
    return whole


def adds_to(old: Any, new: Any) -> bool:
    """Whether a new text keeps all of the old one."""
    return str(new or "").startswith(str(old or ""))
