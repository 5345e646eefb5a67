"""The lines of an approval in the order in which a person decides: recipients, subject, texts, files.

All lines are complete; only their order and their look differ from the rendering in `deputize.core.tools.preview`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from deputize.core.user_requests import Approval

FIRST: Final = (
    *("to", "cc", "bcc", "answers go to", "subject", "title"),
    *("text", "body", "message", "html", "files", "attachments"),
)
"""What is read first, where an act has it; everything else follows as the tool has it."""
WARNINGS: Final = ("first contact", "warning", "comes from")
PLACES: Final = ("where", "seen by")
NAMED: Final = {
    "audience": "seen by",
    "people": "who is reached",
    "destroys": "warning",
    "dangers": "warning",
    "what": "what is done",
}
"""Names of changed parts of a `Preview` that have no row of their own."""
SCROLLING_CHARACTERS: Final = 400
"""Characters from which on a text scrolls, like one with more lines than `MAX_LINES`."""
MAX_LINES: Final = 8
MAX_LISTED_CHARACTERS: Final = 120
"""Characters of a text in a list of acts; the page of the act shows all of it."""


class Row(NamedTuple):
    """One line of the preview. ``long``: True if it scrolls. ``changed``: it differs from the approved preview."""

    name: str
    text: str
    changed: bool
    long: bool


class Reading(NamedTuple):
    """The lines of an approval, in order. ``changed``: the names of all changes, including those without a line."""

    warnings: list[Row]
    rows: list[Row]
    places: list[Row]
    changed: list[str]


def arrange_rows(approval: Approval) -> Reading:
    """Return the lines of this approval in reading order."""
    changed = [NAMED.get(name, name) for name in approval.changed_fields]
    rows = sorted((_row(name, text, changed) for name, text in approval.preview.items()), key=_place)
    return Reading(
        [row for row in rows if row.name in WARNINGS],
        [row for row in rows if row.name not in (*WARNINGS, *PLACES)],
        [row for row in rows if row.name in PLACES],
        changed,
    )


def first_line(preview: Mapping[str, str]) -> str:
    """Return the recipients or the subject, which tell one act from others in a list, or ""."""
    found = [
        _begins(preview[name].partition("\n")[0]) for name in ("to", "subject", "title", "where") if name in preview
    ]
    return " · ".join(found[:2])


def _begins(line: str) -> str:
    return line if len(line) <= MAX_LISTED_CHARACTERS else f"{line[: MAX_LISTED_CHARACTERS - 1]}…"


def _row(name: str, text: str, changed: list[str]) -> Row:
    return Row(name, text, name in changed, len(text) > SCROLLING_CHARACTERS or text.count("\n") >= MAX_LINES)


def _place(row: Row) -> int:
    """Return the sort key of a line. A line "text now" or "to as written" stays beside "text" and "to"."""
    name = row.name.removesuffix(" now").removesuffix(" as written")
    return FIRST.index(name) if name in FIRST else len(FIRST)
