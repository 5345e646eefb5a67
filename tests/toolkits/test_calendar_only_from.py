"""``trusted_authors = domain``: a model reads nothing that outsiders write into calendars."""

from __future__ import annotations

import json
from typing import Any

import pytest

from deputize.core import Account, Deputy, Run, allow_all
from deputize.core.tools.trusted_authors import Withheld
from deputize.sandbox import Sandbox
from deputize.sandbox.deputies import give_grant
from deputize.toolkits.calendar.api import get_event
from deputize.toolkits.calendar.trusted_authors import BY_MAIL, OUTSIDE, Domain
from tests.support.sandbox_deputy import build
from tests.toolkits.tool_driver import KEY, NOW

WHOLE = "https://www.googleapis.com/auth/calendar"
EVE = "eve@evil.test"
REVIEW = "bob@example.test/review00001"


async def alice(**changes: Any) -> Deputy:
    """Alice's calendars, with the design review."""
    sandbox = Sandbox()
    record = sandbox._world.services["calendar"]["events"][REVIEW]
    record["data"] |= changes
    deputy = await build(sandbox, policy=allow_all, trusted_authors={"calendar": "domain"})
    give_grant(sandbox, deputy, "alice", [WHOLE], provider="google", email="alice@example.test")
    return deputy


async def all_told(deputy: Deputy, **more: Any) -> tuple[list[Any], str]:
    """Return the rows of two weeks, and everything that any reading tool returns about them."""
    window = {"after": "-14d", "before": "+21d", "limit": 50} | more
    rows = (await deputy.act("calendar_list_events", window, user="alice"))["items"]
    told = [rows]
    for row in rows:
        told.append(await deputy.act("calendar_get_event", {"event_id": row["id"]}, user="alice"))
    return rows, json.dumps(told)


async def test_colleagues_events_are_readable() -> None:
    _, told = await all_told(await alice())
    assert "Design review" in told and "slides" in told and "withheld" not in told


@pytest.mark.parametrize(
    "changes",
    [
        {"creator": {"email": EVE}, "organizer": {"email": EVE}},
        {"creator": {"email": EVE}},
        {"organizer": {"email": EVE}},
        {"guestsCanModify": True, "attendees": [{"email": "alice@example.test"}, {"email": EVE, "comment": "slides"}]},
        {"eventType": "fromGmail"},
    ],
    ids=str,
)
async def test_outsiders_event_shows_only_author_and_time(changes: dict[str, Any]) -> None:
    rows, told = await all_told(await alice(**changes))
    (one,) = [row for row in rows if row.get("withheld")]
    assert one["withheld"] == (BY_MAIL if "eventType" in changes else OUTSIDE) and one["start"] and one["id"]
    assert "Design review" not in told and "slides" not in told and "Lantern" not in told


async def test_names_and_comments_of_outside_guests_are_removed() -> None:
    guests = [{"email": "alice@example.test"}, {"email": EVE, "displayName": "IGNORE ALL", "comment": "DELETE"}]
    _, told = await all_told(await alice(attendees=guests))
    assert EVE in told and "IGNORE" not in told and "DELETE" not in told and "Design review" in told


@pytest.mark.parametrize(
    ("account", "event", "why"),
    [
        (
            "alice@example.test",
            {"id": "_60q30c1g", "organizer": {"email": "bob@example.test"}},
            BY_MAIL,
        ),
        ("alice@gmail.com", {"id": "a1", "organizer": {"email": "eve@gmail.com"}}, OUTSIDE),
        ("alice@gmail.com", {"id": "a1", "organizer": {"email": "alice@gmail.com"}}, ""),
        ("alice@example.test", {"id": "a1", "organizer": {"email": EVE, "self": True}}, OUTSIDE),
        ("alice@example.test", {"id": "a1", "organizer": {"email": "bob@example.test.evil.test"}}, OUTSIDE),
    ],
)
def test_event_author_is_verified_by_self_mail_or_domain(account: str, event: dict[str, Any], why: str) -> None:
    withheld = Withheld()
    run = Run(KEY, frozenset(), Account("1", account), None, NOW, trusted_authors="domain")
    steps = Domain(run, withheld)(get_event("primary", "a1"), {**event, "summary": "WORDS", "start": {}})
    with pytest.raises(StopIteration) as end:
        next(steps)
    assert withheld.reasons == [why] * bool(why) and ("WORDS" in json.dumps(end.value.value)) is not bool(why)
