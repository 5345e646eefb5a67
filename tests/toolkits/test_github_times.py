"""Times at GitHub are read and written in the user's own time zone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.support.preview_coverage import ShownWorld, shown_world
from tests.toolkits.github_play import ALL, SITE


@pytest.fixture
async def world() -> AsyncIterator[ShownWorld]:
    async with shown_world({"github": ALL}) as world:
        world.deputy.services.zones.default = ZoneInfo("Asia/Tokyo")
        for row in world.sandbox._world.services["github"]["issues"][SITE]:
            row |= {"created_at": "2026-11-19T16:30:00Z", "updated_at": "2026-11-19T16:30:00Z"}
        yield world


async def test_rows_and_details_are_in_the_users_zone(world: ShownWorld) -> None:
    listed = await world.act("github_list_issues", repo=SITE)
    assert (listed["items"][0]["updated"], listed["time_zone"]) == ("2026-11-20 01:30", "Asia/Tokyo")
    shown = await world.act("github_get_issue", repo=SITE, number=1)
    assert (shown["created"], shown["time_zone"]) == ("2026-11-20T01:30:00+09:00", "Asia/Tokyo")


@pytest.mark.parametrize(
    ("after", "found"), [("2026-11-20", True), ("2026-11-20T01:31", False), ("2026-11-19T16:30:00Z", True)]
)
async def test_date_argument_is_a_day_in_the_users_zone(world: ShownWorld, after: str, found: bool) -> None:
    listed = await world.act("github_list_issues", repo=SITE, updated_after=after)
    assert bool(listed["items"]) is found


async def test_due_date_is_the_day_the_user_named(world: ShownWorld) -> None:
    given: dict[str, Any] = {"repo": SITE, "title": "Launch", "due_on": "2027-01-01"}
    await world.act("github_save_milestone", **given)
    assert world.sandbox.service("github")["repos"][SITE]["milestones"][-1]["due_on"].startswith("2027-01-01")
