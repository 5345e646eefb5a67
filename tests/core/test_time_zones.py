"""A user's time zone: from the application, else from a provider, else the application's default."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from deputize.core import (
    ApprovalRequired,
    Call,
    Deputy,
    Effect,
    Instant,
    Preview,
    Request,
    Run,
    Steps,
    StoreUnavailable,
    TimeZone,
    Toolkit,
    User,
    UserTime,
    any_of,
)
from deputize.core.time_zones import ZONE_TTL, MachineZone, Zones, zone_name
from deputize.core.tools.preview import Audience
from deputize.core.tools.user_time import UTC_NAME
from deputize.core.vault.record import Record
from deputize.core.vault.vault import Vault
from deputize.sandbox import Sandbox
from deputize.sandbox.deputies import give_grant
from tests.support.sandbox_deputy import Clock, build, new_vault

READ = "https://www.googleapis.com/auth/gmail.modify"
ALICE, BOB = User("alice"), User("bob", "other")
SUMMER, WINTER = 1_782_900_000.0, 1_795_528_800.0  # 2026-07-01 10:00 UTC, 2026-11-24 14:00 UTC
BERLIN = ZoneInfo("Europe/Berlin")
KIT = Toolkit("gmail", provider="google", shows=True)


@KIT.tool(needs=[any_of(READ, method="x")])
def times(learns: str = "", *, run: Run) -> Steps:
    """A result with times in every place."""
    yield Request("GET", "/users/me/profile")
    if learns:
        yield TimeZone(learns)
    return {
        "rows": [{"at": UserTime.of(SUMMER, "short")}, [UserTime.of(WINTER)]],
        "text": "2026-07-01 10:00",
        "zone": run.zone.tzname(datetime.fromtimestamp(WINTER, UTC)),
    }


@KIT.tool(needs=[any_of(READ, method="x")])
def named() -> Steps:
    """A result that names the zone of its times."""
    yield Request("GET", "/users/me/profile")
    return {"time_zone": UTC_NAME, "at": UserTime.of(WINTER, "short")}


@KIT.tool(needs=[any_of(READ, method="x")])
def timeless() -> Steps:
    """A result without a time."""
    yield Request("GET", "/users/me/profile")
    return {"text": "no time"}


@KIT.tool(needs=[any_of(READ, method="x")], effect=Effect.SENDS)
def plan(id: str) -> Steps:
    """Does something at a time."""
    yield Preview("Plan it", audience=Audience.PUBLIC, at=Instant(WINTER))
    yield Request("POST", "/users/me/messages/{id}/modify", at={"id": id}, json={"addLabelIds": ["STARRED"]})
    return {"at": UserTime.of(WINTER)}


@pytest.fixture
async def vault() -> Vault:
    return await new_vault()


@pytest.fixture
def mail(sandbox: Sandbox) -> str:
    """Return the id of a mail of Alice's."""
    return str(sandbox.mailbox("alice@example.test").mails()[0].id)


@pytest.fixture
async def deputy(vault: Vault, sandbox: Sandbox) -> AsyncIterator[Deputy]:
    async with await build(sandbox, vault=vault, toolkits=[KIT]) as deputy:
        for user in ("alice", "bob"):
            give_grant(sandbox, deputy, user, [READ], provider="google", email=f"{user}@example.test")
        yield deputy


async def act(deputy: Deputy, tool: str = "gmail_times", user: str = "alice", **arguments: Any) -> Any:
    return await deputy.act(tool, arguments, user=user, call=Call("t", "m", tool))


async def test_times_are_utc_until_a_provider_gives_the_users_zone(deputy: Deputy) -> None:
    told = await act(deputy)
    assert told["rows"] == [{"at": "2026-07-01 10:00"}, ["2026-11-24T14:00:00+00:00"]] and "time_zone" not in told
    told = await act(deputy, learns="Europe/Berlin")
    assert told["rows"] == [{"at": "2026-07-01 12:00"}, ["2026-11-24T15:00:00+01:00"]]
    assert told["time_zone"] == "Europe/Berlin" and told["text"] == "2026-07-01 10:00"
    assert (await act(deputy))["zone"] == "CET", "from then on a tool reads times in it, too"
    assert (await act(deputy, user="bob"))["rows"][0] == {"at": "2026-07-01 10:00"}, "it is nobody else's"


async def test_result_names_its_zone_once_if_it_contains_a_time(deputy: Deputy) -> None:
    assert await act(deputy, "gmail_named") == {"time_zone": "UTC", "at": "2026-11-24 14:00"}
    await act(deputy, learns="Asia/Kolkata")
    assert await act(deputy, "gmail_named") == {"time_zone": "Asia/Kolkata", "at": "2026-11-24 19:30"}
    assert await act(deputy, "gmail_timeless") == {"text": "no time"}


async def test_approvals_and_recorded_results_use_the_same_zone(deputy: Deputy, mail: str) -> None:
    await act(deputy, learns="America/New_York")
    with pytest.raises(ApprovalRequired) as asked:
        await act(deputy, "gmail_plan", id=mail)
    assert "09:00 (America/New_York)" in asked.value.approval.preview["at"]
    await deputy.decide(asked.value.approval, "approve", by="alice")
    first = await act(deputy, "gmail_plan", id=mail)
    assert first == {"at": "2026-11-24T09:00:00-05:00", "time_zone": "America/New_York"}
    assert await act(deputy, "gmail_plan", id=mail) == first


async def test_write_is_recorded_when_zones_cannot_be_read_afterwards(
    vault: Vault, sandbox: Sandbox, mail: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, kit = Clock(time.time()), Toolkit("gmail", provider="google")
    get = vault.get

    async def fail_for_zones(kind: str, key: str) -> Record | None:
        if kind == "zone":
            raise StoreUnavailable("The disk is away.")
        return await get(kind, key)

    @kit.tool(needs=[any_of(READ, method="x")], effect=Effect.WRITES)
    def star(id: str) -> Steps:
        """Star a mail."""
        yield Request("POST", "/users/me/messages/{id}/modify", at={"id": id}, json={"addLabelIds": ["STARRED"]})
        clock.now += ZONE_TTL
        monkeypatch.setattr(vault, "get", fail_for_zones)
        return {"starred": id}

    async with await build(sandbox, vault=vault, toolkits=[kit], clock=clock) as deputy:
        give_grant(sandbox, deputy, "alice", [READ], provider="google", email="alice@example.test")
        assert await act(deputy, "gmail_star", id=mail) == {"starred": mail}
        assert await act(deputy, "gmail_star", id=mail) == {"starred": mail}
        assert len([one for one in deputy.audit.rows() if one["event"] == "act.intent"]) == 1


async def test_applications_zone_for_a_user_has_priority(vault: Vault) -> None:
    zones = Zones(vault, lambda user: ZoneInfo("Asia/Tokyo") if user == ALICE else None)
    await zones.learn(ALICE, "google", "Europe/Berlin")
    assert str(await zones.of(ALICE)) == "Asia/Tokyo" and await zones.of(BOB) is None
    assert await Zones(vault).of(ALICE) is UTC, "nothing was kept"


async def test_applications_default_zone_applies_if_no_other_is_known(vault: Vault) -> None:
    zones = Zones(vault, ZoneInfo("Asia/Tokyo"))
    assert str(await zones.of(ALICE)) == "Asia/Tokyo"
    await zones.learn(ALICE, "google", "Europe/Berlin")
    assert await zones.of(ALICE) == BERLIN and str(await zones.of(BOB)) == "Asia/Tokyo"


@pytest.mark.parametrize("name", ["", "Nowhere/Town", "../../etc/passwd", "/etc/localtime", "Europe", "x" * 5000, "\0"])
async def test_invalid_zone_name_is_ignored(vault: Vault, name: str) -> None:
    zones = Zones(vault)
    await zones.learn(ALICE, "google", "Europe/Berlin")
    await zones.learn(ALICE, "google", name)
    assert await zones.of(ALICE) == BERLIN


async def test_last_changed_zone_of_two_providers_is_used(vault: Vault) -> None:
    zones = Zones(vault)
    for provider, name, expected in (
        ("google", "Europe/Berlin", "Europe/Berlin"),
        ("slack", "Asia/Tokyo", "Asia/Tokyo"),
        ("google", "Europe/Berlin", "Asia/Tokyo"),
        ("google", "Europe/Paris", "Europe/Paris"),
        ("slack", "Asia/Tokyo", "Europe/Paris"),
    ):
        await zones.learn(ALICE, provider, name)
        assert str(await zones.of(ALICE)) == expected == str(await Zones(vault).of(ALICE))


async def test_other_process_learns_a_new_zone_within_a_minute(vault: Vault) -> None:
    clock = Clock(time.time())
    here, there = Zones(vault, clock=clock), Zones(vault, clock=clock)
    assert await there.of(ALICE) is UTC
    await here.learn(ALICE, "google", "Europe/Berlin")
    clock.now += ZONE_TTL
    assert await there.of(ALICE) == BERLIN


async def test_zone_is_erased_with_the_user(deputy: Deputy) -> None:
    await act(deputy, learns="Europe/Berlin")
    await deputy.erase("alice")
    assert await deputy.services.zones.of(ALICE) is UTC and await deputy.vault.scan("zone", "") == []


def test_local_zone_keeps_its_daylight_saving_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        zone = MachineZone()
        for at in (SUMMER, WINTER, 1_792_890_000.0, 1_792_893_600.0):  # the last two lie on both sides of a change
            there = datetime.fromtimestamp(at, zone)
            assert there.replace(tzinfo=BERLIN) == datetime.fromtimestamp(at, BERLIN)
            assert there.timestamp() == at and there.tzname() in ("CET", "CEST")
        assert zone_name(None, WINTER) == "UTC+0100" and zone_name(zone, SUMMER) == "UTC+0200"
    finally:
        monkeypatch.undo()
        time.tzset()
    assert zone_name(UTC, WINTER) == "UTC" and zone_name(BERLIN, WINTER) == "Europe/Berlin"
    assert UserTime.of(datetime.fromtimestamp(WINTER, UTC) + timedelta(seconds=1)) == "2026-11-24T14:00:01+00:00"
    with pytest.raises(ValueError, match="zone"):
        UserTime.of(datetime(2026, 1, 1))  # noqa: DTZ001
