"""Times in arguments are in the user's zone, which Slack knows: it is asked if no other source has given it."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

import pytest

from deputize.core import ask_before_sending
from deputize.core.errors import ApprovalRequired, InvalidInput
from tests.toolkits.slack_world import ALICE, ENG, EVERYTHING, World, world

NINE = "2026-11-26T09:00"
NINE_IN_BERLIN, NINE_IN_UTC = 1_795_680_000, 1_795_683_600


def asked_about_alice(alice: World) -> int:
    return sum(one["user"] == ALICE for one in alice.wire.sent("users.info"))


async def test_scheduled_time_is_in_the_users_zone_before_it_is_known(slack: World) -> None:
    planned = await slack.act("send_message", conversation=ENG, body="Morning", send_at=NINE)
    [entry] = slack.sandbox.service("slack")["scheduled"]
    assert entry["post_at"] == NINE_IN_BERLIN
    assert planned["post_at"] == "2026-11-26T09:00:00+01:00" and planned["time_zone"] == "Europe/Berlin"
    [row] = (await slack.act("list_scheduled"))["items"]
    assert row["post_at"] == "2026-11-26 09:00"
    assert asked_about_alice(slack) == 1
    await slack.act("send_message", conversation=ENG, body="Noon", send_at="2026-11-26 12:00")
    assert asked_about_alice(slack) == 1, "it is known from then on"


async def test_approval_shows_the_time_in_the_users_zone(slack: World) -> None:
    slack.deputy.policy = ask_before_sending
    with pytest.raises(ApprovalRequired) as asked:
        await slack.act("send_message", conversation=ENG, body="Morning", send_at=NINE)
    assert "09:00 (Europe/Berlin)" in asked.value.approval.preview["at"]


@pytest.mark.parametrize("send_at", ["2026-11-26T08:00:00Z", "2026-11-26T09:00+01:00", "+42h"])
async def test_absolute_time_needs_no_zone_lookup(send_at: str, slack: World) -> None:
    await slack.act("send_message", conversation=ENG, body="Morning", send_at=send_at)
    [entry] = slack.sandbox.service("slack")["scheduled"]
    assert entry["post_at"] == NINE_IN_BERLIN and asked_about_alice(slack) == 0


async def test_applications_zone_for_the_user_is_used(slack: World) -> None:
    slack.deputy.services.zones.default = lambda user: ZoneInfo("Asia/Tokyo")
    await slack.act("send_message", conversation=ENG, body="Morning", send_at=NINE)
    assert asked_about_alice(slack) == 0
    assert slack.sandbox.service("slack")["scheduled"][0]["post_at"] == NINE_IN_UTC - 9 * 3600


async def test_hour_is_refused_without_scope_to_read_the_zone() -> None:
    async with world(*(EVERYTHING - {"users:read"})) as alice:
        with pytest.raises(InvalidInput, match="send_at: names a day or an hour"):
            await alice.act("send_message", conversation=ENG, body="Morning", send_at=NINE)
        assert not alice.sandbox.service("slack").get("scheduled")


@pytest.mark.parametrize(
    ("tool", "more", "method", "field", "after", "before"),
    [
        ("get_messages", {"conversation": ENG}, "conversations.history", ("oldest", "latest"), ".000000", ".000000"),
        ("search", {"query": "x"}, "assistant.search.context", ("after", "before"), "", ""),
        ("list_files", {}, "files.list", ("ts_from", "ts_to"), "", ""),
    ],
)
async def test_windows_are_days_of_the_users_calendar(
    tool: str, more: Any, method: str, field: tuple[str, str], after: str, before: str, slack: World
) -> None:
    await slack.act(tool, after="2026-11-20", before="today", **more)
    [asked] = slack.wire.sent(method)
    midnights = (1_795_129_200, 1_795_474_800)  # 23:00 UTC, the evening before
    assert (asked[field[0]], asked[field[1]]) == (f"{midnights[0]}{after}", f"{midnights[1]}{before}")


async def test_status_ends_in_the_users_zone(slack: World) -> None:
    told = await slack.act("set_status", text="Away", until="2026-11-26T09:00")
    assert told["until"] == "2026-11-26T09:00:00+01:00"
    assert f'"status_expiration":{NINE_IN_BERLIN}' in slack.wire.sent("users.profile.set")[0]["profile"]


async def test_whoami_also_reports_the_users_zone(slack: World) -> None:
    await slack.act("whoami")
    count = asked_about_alice(slack)
    rows = await slack.act("get_messages", conversation=ENG, after="2026-11-20")
    assert asked_about_alice(slack) <= count + 1 and rows["time_zone"] == "Europe/Berlin"  # names of who writes
