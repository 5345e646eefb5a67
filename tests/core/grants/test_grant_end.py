"""The known end of a grant is told before the grant fails, once, and never invented."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from deputize.core import Connection, Deputy, ReconsentRequired, SettingsError, allow_all
from deputize.core.grants.grant_end import END_NOTICE_SECONDS, GrantEnd
from deputize.core.oauth.app import ServiceAccount
from deputize.core.settings import Settings
from deputize.core.vault.grant import Grant, SecretBytes
from deputize.core.web.ops.metrics import Metrics, render_metrics
from deputize.sandbox import Sandbox
from deputize.sandbox.deputies import apps
from tests.core.consent.test_consents import House
from tests.support.faults import TOKEN, Line, answer
from tests.support.sandbox_deputy import Clock, build, consent
from tests.support.token_sources import World, bot_app, deputy_with

DAY = 86400.0
START = 1_800_000_000.0
WEEK = 604_800
ABSENT: Any = object()


class Saying(httpx.AsyncBaseTransport):
    """A transport to the providers whose token replies contain other fields. ``says``: these fields."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self.inner, self.says = inner, dict[str, Any]()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        reply = await self.inner.handle_async_request(request)
        if request.url.path != "/token" or not self.says:
            return reply
        body = json.loads(await reply.aread()) | self.says
        text = json.dumps({name: value for name, value in body.items() if value is not ABSENT})
        return httpx.Response(200, content=text.replace('"HUGE"', "9" * 400).encode())


class Ending(House):
    """A house whose provider says when its refresh tokens end."""

    def __init__(self, says: Any = WEEK) -> None:
        super().__init__()
        self.provider = Saying(self.sandbox.transport())
        self.provider.says = {"refresh_token_expires_in": says}
        self.line = Line(self.provider)

    async def ready(self) -> Ending:
        await self.begin()
        await self.connected("readonly", "send")
        return self

    async def process(self) -> Deputy:
        """Return another deputy of the same vault, as of another process."""
        other = Ending()
        other.sandbox, other.clock, other.store, other.line = self.sandbox, self.clock, self.store, self.line
        return (await other.begin()).deputy

    @property
    def told(self) -> list[Mapping[str, Any]]:
        return told_by(self.deputy)

    async def connection(self) -> Connection:
        [found] = await self.deputy.connections("alice")
        return found

    async def end(self) -> GrantEnd | None:
        return (await self.connection()).end

    async def stored(self) -> Grant:
        found = await self.grant()
        assert found
        return found


def told_by(deputy: Deputy) -> list[Mapping[str, Any]]:
    return [row for row in deputy.audit.rows() if row["event"] == "grant.ends_soon"]


def job(every: str = "", days: float = 0.0, now: float = START) -> dict[str, Any]:
    call = {"tool": "gmail_search", "args": {}}
    more = {"every": every, "until": datetime.fromtimestamp(now + days * DAY, UTC)} if every else {}
    return {"version": 1, "users": ["alice"], "calls": [call], **more}


async def test_end_that_google_names_is_stored_and_survives_refreshes() -> None:
    house = await Ending().ready()
    assert await house.end() == GrantEnd(START + WEEK, "refresh_token")
    house.provider.says = {}
    house.clock.now += DAY
    await house.act()
    assert (await house.stored()).expires_at > house.clock.now  # it was refreshed
    assert await house.end() == GrantEnd(START + WEEK, "refresh_token")


@pytest.mark.parametrize(
    "says", [ABSENT, None, True, False, -1, 0, "-5", 1e9, 1e300, "HUGE", "soon", "NaN", "inf", [7], {}]
)
async def test_forged_end_is_no_end(says: Any) -> None:
    house = await Ending(says).ready()
    assert await house.end() is None and (await house.deputy.preflight(job("1d", 300))).is_ready
    house.provider.says = {"refresh_token_expires_in": WEEK}
    house.clock.now += DAY
    await house.act()
    known = await house.end()
    house.provider.says = {"refresh_token_expires_in": says}
    house.clock.now += DAY
    await house.act(message="m2")  # a refresh whose reply says nothing keeps the end of the same token
    assert await house.end() == known


@pytest.mark.parametrize("text", [str(WEEK), float(WEEK)])
async def test_end_may_be_a_string_or_a_fraction(text: Any) -> None:
    assert await (await Ending(text).ready()).end() == GrantEnd(START + WEEK, "refresh_token")


async def test_end_of_a_replaced_refresh_token_does_not_apply_to_the_new_one() -> None:
    house = await Ending().ready()
    house.provider.says, house.sandbox.switches.rotate = {}, True
    house.clock.now += DAY
    await house.act()
    assert await house.end() is None


async def test_token_that_works_after_its_end_has_an_unknown_end() -> None:
    house = await Ending(1000).ready()
    house.provider.says = {}
    house.clock.now += DAY
    assert await house.end() == GrantEnd(START + 1000, "refresh_token")
    await house.act()
    assert await house.end() is None


async def test_ended_grant_stays_ended_whatever_end_a_reply_names() -> None:
    house = await Ending().ready()
    house.line.answers[TOKEN] = [answer(400, {"error": "invalid_grant", "refresh_token_expires_in": 60})]
    house.clock.now += DAY
    with pytest.raises(ReconsentRequired):
        await house.act()
    dead = await house.stored()
    assert (dead.status, dead.refresh_ends_at, dead.end_told_at) == ("needs_reauth", 0.0, 0.0)
    assert await house.end() is None and house.told == []


async def test_audit_and_metric_tell_once_of_a_thousand_calls_in_two_processes() -> None:
    house = await Ending().ready()
    metrics = Metrics(house.deputy)
    for number in range(10):
        await house.act(message=f"a{number}")
    assert house.told == []  # more than three days before
    house.provider.says = {}
    house.clock.now = START + WEEK - END_NOTICE_SECONDS + 60
    other = await house.process()
    acts = [one.act("gmail_search", {}, user="alice") for one in (house.deputy, other) for _ in range(500)]
    await asyncio.gather(*acts)
    [row] = told = [row for one in (house.deputy, other) for row in told_by(one)]
    assert (row["ends_at"], row["reason"], row["provider"]) == (int(START + WEEK), "refresh_token", "google")
    assert "alice@example.test" not in str(row)
    counted = 'deputize_ending_grants_total{provider="google"} 1' in render_metrics([metrics.ending])
    assert counted == (row in told_by(house.deputy))
    house.provider.says = {"refresh_token_expires_in": END_NOTICE_SECONDS - 60}
    for hour in range(24):  # a reply that moves the end a little each time
        house.clock.now += 3600
        await house.act(message=f"b{hour}")
    assert [row for one in (house.deputy, other) for row in told_by(one)] == told
    await other.close()


async def test_notice_comes_again_for_the_grant_that_replaced_it() -> None:
    house = await Ending(DAY).ready()
    await house.act()
    assert len(house.told) == 1
    house.clock.now += 3600
    [again] = await house.deputy.connect("alice", "google", renew=True)
    assert (await consent(house.deputy, house.provider, again)).status == "granted"
    await house.act(message="m2")
    assert len(house.told) == 2


async def test_lost_audit_store_does_not_fail_the_act() -> None:
    house = await Ending(DAY).ready()
    house.store.failing["swap", "grant"] = 1
    await house.act()
    assert house.told == []
    await house.act(message="m2")
    assert len(house.told) == 1


async def test_renewal_asks_for_the_same_scopes_and_ends_with_the_new_grant() -> None:
    house = await Ending().ready()
    before = await house.stored()
    house.clock.now += 5 * DAY
    assert await house.deputy.connect("alice", "google") == []
    [asked] = await house.deputy.connect("alice", "google", renew=True)
    assert (asked.reason_code, asked.account) == ("ends_soon", "alice@example.test")
    assert set(asked.scopes) == {scope for scope in before.scopes if "gmail" in scope}
    [still] = await house.deputy.wait_for_consents([asked], timeout=0)
    assert still.status == "pending"  # the scopes that the old grant has are not enough
    ended = await consent(house.deputy, house.provider, asked)
    assert ended.status == "granted" and await house.end() == GrantEnd(house.clock.now + WEEK, "refresh_token")


async def test_renewal_of_another_users_account_is_refused() -> None:
    house = await Ending().ready()
    mine = (await house.connection()).id
    [asked] = await house.deputy.connect("bob", "google", account=mine, renew=True)
    assert asked.account == mine and asked.scopes == () and asked.reason_code == ""


async def test_preflight_says_that_the_job_runs_longer_than_the_grant() -> None:
    house = await Ending().ready()
    house.clock.now += 5 * DAY
    now = house.clock.now
    found = await house.deputy.preflight(job("1d", 10, now))
    [bad] = [one for one in found.findings if one.state == "bad"]
    assert bad.end == GrantEnd(START + WEEK, "refresh_token") and bad.what == "connection"
    assert bad.found == (
        "alice@example.test at Google ends at 2027-01-22 08:00 UTC, and the job runs until 2027-01-30 08:00 UTC"
    )
    assert bad.todo == "deputize connect google --user alice --renew" and bad.code == "consent_required"
    for fine in (job(), job("1d", 1.5, now)):
        found = await house.deputy.preflight(fine)
        assert found.is_ready and found.findings[0].end == GrantEnd(START + WEEK, "refresh_token")
    house.clock.now += 3 * DAY
    late = await house.deputy.preflight(job())
    assert not late.is_ready and "has ended at 2027-01-22 08:00 UTC" in late.findings[0].found


async def test_grant_without_a_refresh_token_ends_with_its_access_token() -> None:
    house = Ending()
    house.provider.says = {"refresh_token": ABSENT, "refresh_token_expires_in": WEEK}
    await house.ready()
    assert (await house.end()) == GrantEnd((await house.stored()).expires_at, "no_refresh_token")
    house.provider.says = {"refresh_token": ABSENT, "expires_in": ABSENT}
    endless = Ending()
    endless.provider.says = house.provider.says
    await endless.ready()
    assert await endless.end() is None


async def test_grant_of_an_earlier_version_has_no_known_end() -> None:
    grant = await (await Ending().ready()).stored()
    plain = grant.pack().reveal()
    parts = plain.split(b"\0")
    opened = Grant.unpack(SecretBytes(plain), grant.generation)
    assert opened == grant and opened.refresh_ends_at == START + WEEK
    assert parts[-1] == repr(START + WEEK).encode()
    older = Grant.unpack(SecretBytes(b"\0".join(parts[:-1])), grant.generation)
    assert older.refresh_ends_at == 0.0


async def test_grant_that_each_refresh_extends_ends_only_if_it_is_not_used() -> None:
    clock = Clock(START)
    sandbox = Sandbox(clock=clock)
    sandbox.switches.rotate = True  # GitHub's tokens then end, as those of an App do
    async with await build(sandbox, apps=apps(), clock=clock, policy=allow_all) as deputy:
        [asked] = await deputy.connect("alice", "github", scopes=["repo"])
        assert (await consent(deputy, sandbox, asked)).status == "granted"
        [held] = await deputy.connections("alice")
        half_a_year = 15_897_600
        assert held.end == GrantEnd(START + half_a_year, "unused")
        call = {"tool": "github_search_repos", "args": {"query": "website"}}
        work: dict[str, Any] = {"version": 1, "users": ["alice"], "calls": [call]}
        daily = work | {"every": "1d", "until": datetime.fromtimestamp(START + 2 * half_a_year, UTC)}
        assert (await deputy.preflight(daily)).is_ready
        rare = await deputy.preflight(daily | {"every": "27w"})
        assert [one.end for one in rare.findings if one.state == "bad"] == [held.end]
        clock.now += half_a_year - DAY
        await deputy.act("github_search_repos", {"query": "website"}, user="alice")
        [held] = await deputy.connections("alice")
        assert held.end == GrantEnd(clock.now + half_a_year, "unused") and told_by(deputy) == []


async def test_end_of_a_service_accounts_key_is_told_before(tmp_path: Path) -> None:
    world = World(Clock(START))
    bot = bot_app(world)
    assert isinstance(bot.source, ServiceAccount)
    ends = replace(bot, source=replace(bot.source, valid_until=START + DAY))
    job: dict[str, Any] = {
        "version": 1,
        "users": ["alice"],
        "calls": [{"tool": "notes_count_notes", "args": {}, "app": "bot"}],
        "every": "1d",
        "until": datetime.fromtimestamp(START + 5 * DAY, UTC),
    }
    async with await deputy_with(world, ends) as deputy:
        for _ in range(2):  # before its first token, and with one
            [bad] = [one for one in (await deputy.preflight(job)).findings if one.state == "bad"]
            assert bad.end == GrantEnd(START + DAY, "key") and "valid_until in [apps.bot.source]" in bad.todo
            await deputy.act("notes_count_notes", {}, user="alice", app="bot")
        await deputy.act("notes_count_notes", {}, user="alice", app="bot")
        assert [row["reason"] for row in told_by(deputy)] == ["key"]
    async with await deputy_with(world, bot) as deputy:
        assert (await deputy.preflight(job)).is_ready


def test_end_of_a_key_comes_from_settings(tmp_path: Path) -> None:
    source = {"kind": "service_account", "organisation": "Acme Ltd", "scopes": ["a"]}
    app = {"client_id": "an-id", "client_secret": "a-secret"}
    known = source | {"valid_until": datetime(2027, 1, 22, 8, tzinfo=UTC)}
    [made] = Settings.load(home=tmp_path, apps={"google": app | {"source": known}}).all_apps()
    assert isinstance(made.source, ServiceAccount) and made.source.valid_until == START + WEEK
    for wrong in ("soon", True, datetime(2027, 1, 22)):  # noqa: DTZ001
        with pytest.raises(SettingsError, match="valid_until"):
            Settings.load(home=tmp_path, apps={"google": app | {"source": source | {"valid_until": wrong}}})
