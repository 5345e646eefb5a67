"""The lines of an approval in the order in which a person decides: recipients, subject, texts, files.

All lines are complete; only their order and their look differ from the rendering in `deputize.core.tools.preview`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from deputize.core.user_requests import Approval

FIRST: Final = (
    *("to", "cc", "bcc", "answers go to", "subject", "title"),
    *("as seen", "text", "body", "message", "hidden text", "about the HTML", "html", "files", "attachments"),
)
"""The rows of a letter, in order. Other rows follow in the tool's order. An act without recipients is no letter."""
NOW: Final = " now"
PLACES: Final = ("where", "seen by")
NAMED: Final = {
    "audience": "seen by",
    "people": "who is reached",
    "destroys": "warning",
    "dangers": "warning",
    "what": "what is done",
}
"""Names of changed parts of a `Preview` that have no row of their own."""
MAX_LISTED_CHARACTERS: Final = 120
"""Characters of a text in a list of acts; the page of the act shows all of it."""


class Row(NamedTuple):
    """One line of the preview. ``changed``: it differs from the approved preview. ``now``: the text that it replaces,
    None if it replaces nothing."""

    name: str
    text: str
    changed: bool
    now: str | None = None


class Reading(NamedTuple):
    """The lines of an approval, in order. ``warnings``: one for each danger. ``changed``: the names of all
    changes, including those without a line."""

    warnings: list[Row]
    rows: list[Row]
    places: list[Row]
    changed: list[str]


def arrange_rows(approval: Approval) -> Reading:
    """Return the lines of this approval in reading order."""
    preview, dangers = approval.preview, approval.dangers
    changed = [NAMED.get(name, name) for name in approval.changed_fields]
    names = [name for name in preview if name not in dangers and not _is_shown_beside(name, preview)]
    rows = [Row(name, preview[name], name in changed, preview.get(name + NOW)) for name in names]
    rows = sorted(rows, key=_place) if "to" in preview else rows
    return Reading(
        [Row(name, line, name in changed) for name in dangers for line in preview[name].split("\n")],
        [row for row in rows if row.name not in PLACES],
        [row for row in rows if row.name in PLACES],
        changed,
    )


def _is_shown_beside(name: str, preview: Mapping[str, str]) -> bool:
    """Return True for a line that shows what another line replaces."""
    return name.endswith(NOW) and name.removesuffix(NOW) in preview


def first_line(preview: Mapping[str, str]) -> str:
    """Return the first line of the subject or text, which tells acts with the same summary apart in a list, or ""."""
    found = (preview[name].partition("\n")[0] for name in ("subject", "title", "text", "message") if name in preview)
    return _begins(next(found, ""))


def _begins(line: str) -> str:
    return line if len(line) <= MAX_LISTED_CHARACTERS else f"{line[: MAX_LISTED_CHARACTERS - 1]}…"


def _place(row: Row) -> int:
    """Return the sort key of a line. A line "to as written" stays beside "to"."""
    name = row.name.removesuffix(" as written")
    return FIRST.index(name) if name in FIRST else len(FIRST)
