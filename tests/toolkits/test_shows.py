"""Every tool that can write previews everything it will do: all words that are sent were shown."""

from __future__ import annotations

import re
from typing import Any, Final

import pytest

from deputize.core import Effect
from deputize.core.tools.plugins import find_toolkits
from deputize.core.tools.preview import show_rows
from tests.support import preview_coverage as shown
from tests.support.preview_coverage import shown_world, words
from tests.support.sandbox_deputy import Clock
from tests.toolkits.shown_rows import AUDIENCES, FORMATS, ROWS, SCOPES, Row
from tests.toolkits.tool_driver import NOW

FIRST: Final = [next(row for row in ROWS if row.kit == kit) for kit in SCOPES]
by_row: Final = pytest.mark.parametrize(
    "rows",
    [
        pytest.param(FIRST, id="first of each toolkit"),
        *(pytest.param([row], id=f"{n}-{row.tool}", marks=pytest.mark.sweep) for n, row in enumerate(ROWS)),
    ],
)
OTHERWISE: Final = {
    "calendar_update_event": {"accepted"},  # the answers of guests, which stay as they are
    "linear_update_notifications": set(words("2026-11-26T14:00:00Z")),  # "+2d", which a person reads in their own zone
}
VERBS: Final = frozenset(
    "Accept Add Answer Approve Archive Ask Attach Cancel Change Comment Commit Create Decline Delete Edit Follow Fork "
    "Forward Invite Join Leave Log Make Mark Merge Move Mute Open Pin Post Publish React Record Relate Remove Rename "
    "Reopen Replace Report Request Resolve Restore Review Run Save Send Set Share Snooze Star Start Stop Take Turn "
    "Unfollow Unpin Upload Watch Write".split()
)
"""First words of a preview's ``what``, which continues "Your agent wants to ..."."""
MARKS: Final = {
    "drive": re.compile("(made|session)[0-9]{8}"),
    "github": re.compile("[0-9a-f]{16}"),
    "slack": re.compile("[0-9a-f]{32}"),
}
"""What makes a text of an act findable, which these providers do not show."""


def tools_that(*, write: bool, show: bool) -> list[str]:
    tools = [tool for kit in find_toolkits().values() for tool in kit.tools.values()]
    return [tool.name for tool in tools if (tool.gravest is not Effect.READS) is write and tool.shows is show]


def test_exactly_the_writing_tools_preview() -> None:
    assert tools_that(write=True, show=False) == [] and tools_that(write=False, show=True) == []
    assert len(tools_that(write=True, show=True)) >= 72


def test_every_writing_tool_has_a_row_and_an_audience() -> None:
    assert {row.tool for row in ROWS} == set(tools_that(write=True, show=True)) == set(AUDIENCES)


async def unseen_words(row: Row) -> list[str]:
    """Return the words that were sent and not shown, except an act's own marks and the digest of a pinned file."""
    async with shown_world(**row.world) as world:
        unseen = await world.unseen(row.tool, row.make, formats=FORMATS[row.kit] | OTHERWISE.get(row.tool, set()))
        pinned = any(one.get("pin") for one in world.shown[0].fields.get("files") or () if row.kit == "gmail")
        known = MARKS.get(row.kit, re.compile("[0-9a-f]{64}" if pinned else "(?!)"))
        what = world.shown[0].what
        assert what.split()[0] in VERBS and not re.search(r"[.:;@]", what), row
        assert world.shown[0].where or row.kit not in ("salesforce", "slack"), row
        return [word for word in unseen if not known.fullmatch(word)]


@by_row
async def test_everything_sent_was_previewed(rows: list[Row]) -> None:
    for row in rows:
        assert await unseen_words(row) == [], row


@by_row
async def test_preview_and_audience_are_stable_while_nothing_changes(rows: list[Row]) -> None:
    for row in rows:
        clock = Clock(NOW)
        given: dict[str, Any] = {**row.world, "clock": clock}
        async with shown_world(**given) as world:
            seen = await world.asked_over(row.tool, row.make, clock)
            assert len(seen) >= 3 and len({one.digest for one in seen}) == 1, (row, seen[-1].differs(seen[0]))
            assert {one.audience.name.lower() for one in seen} <= words(AUDIENCES[row.tool]), row


@pytest.mark.parametrize(
    ("kit", "number", "hidden", "word"),
    [
        ("calendar", 1, "description", "slides"),
        ("github", 0, "message", "jot"),
        ("gmail", 0, "bcc", "secretly"),
        ("linear", 0, "description", "delta"),
        ("salesforce", 0, "Email", "reynard"),
        ("slack", 0, "text", "hello"),
    ],
)
async def test_unpreviewed_text_is_detected(
    monkeypatch: pytest.MonkeyPatch, kit: str, number: int, hidden: str, word: str
) -> None:
    row = [one for one in ROWS if one.kit == kit][number]
    monkeypatch.setattr(shown, "show_rows", lambda show: [one for one in show_rows(show) if one[0] != hidden])
    assert word in await unseen_words(row)
