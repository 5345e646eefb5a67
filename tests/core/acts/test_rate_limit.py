"""One user's agents cannot use up the rate limit that an app's users share at a provider."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from deputize.core import Call, OutcomeUnknown, PublicRequest, RateLimited, Request, SettingsError, Steps, User
from deputize.core.acts.rate_limit import MAX_BUCKETS, MAX_BUDGET_WAIT_SECONDS, WINDOW_SECONDS, Budgets
from tests.support.faults import GMAIL_API, answer
from tests.support.probe_toolkit import Probe, probing
from tests.support.sandbox_deputy import Clock, set_sleep

ALICE, BOB = User("alice"), User("bob")
GET = Request("GET", "/users/me/messages")
START = 1_800_000_000.0


def spent(budgets: Budgets, user: User = ALICE, provider: str = "google") -> int:
    """Return how many requests may be sent now without waiting."""
    n = 0
    try:
        while budgets.take(user, provider) == 0.0:
            n += 1
    except RateLimited:
        return n
    return n


def test_rate_limit_allows_a_minutes_burst_then_refills() -> None:
    clock = Clock(START)
    budgets = Budgets(60, clock)
    assert spent(budgets) == 60
    clock.now += 10
    assert spent(budgets) in (8, 9)  # one was waited for above
    clock.now += 1000
    assert spent(budgets) == 60


def test_short_wait_is_returned_and_long_wait_is_refused_with_retry_after() -> None:
    clock = Clock(START)
    budgets = Budgets(60, clock)
    for _ in range(60):
        assert budgets.take(ALICE, "google") == 0.0
    assert [budgets.take(ALICE, "google") for _ in range(2)] == [pytest.approx(1), pytest.approx(2)]
    with pytest.raises(RateLimited) as caught:
        budgets.take(ALICE, "google")
    assert caught.value.retry_after == pytest.approx(3) and "requests_per_minute" in caught.value.hint
    clock.now += 1
    assert budgets.take(ALICE, "google") == pytest.approx(2)


def test_refused_request_costs_no_budget() -> None:
    clock = Clock(START)
    budgets = Budgets(60, clock)
    spent(budgets)
    for _ in range(1000):
        with pytest.raises(RateLimited):
            for _ in range(3):
                budgets.take(ALICE, "google")
    clock.now += MAX_BUDGET_WAIT_SECONDS + 1
    assert budgets.take(ALICE, "google") <= MAX_BUDGET_WAIT_SECONDS


@pytest.mark.parametrize(
    ("user", "provider"),
    [(BOB, "google"), (User("alice", "acme"), "google"), (ALICE, "slack"), (User("google"), "alice")],
)
def test_rate_limit_is_per_user_and_provider(user: User, provider: str) -> None:
    budgets = Budgets(5, Clock(START))
    assert spent(budgets) == 5 and spent(budgets, user, provider) == 5


def test_unavoidable_request_is_sent_at_once_and_counted() -> None:
    clock = Clock(START)
    budgets = Budgets(5, clock)
    assert [budgets.take(ALICE, "google", unavoidable=True) for _ in range(5)] == [0.0] * 5
    for _ in range(20):
        assert budgets.take(ALICE, "google", unavoidable=True) <= MAX_BUDGET_WAIT_SECONDS
    with pytest.raises(RateLimited):
        budgets.take(ALICE, "google")
    clock.now += WINDOW_SECONDS + MAX_BUDGET_WAIT_SECONDS
    assert spent(budgets) > 0  # what was owed is not held against the user for ever


def test_clock_set_back_does_not_lock_users_out() -> None:
    clock = Clock(START)
    budgets = Budgets(60, clock)
    spent(budgets)
    clock.now -= 86400
    with pytest.raises(RateLimited) as caught:
        spent(budgets)
        for _ in range(5):
            budgets.take(ALICE, "google")
    assert caught.value.retry_after is not None and caught.value.retry_after < 10
    clock.now += WINDOW_SECONDS + MAX_BUDGET_WAIT_SECONDS
    assert spent(budgets) > 50


def test_infinite_rate_limit_is_unlimited_and_below_one_is_refused() -> None:
    budgets = Budgets(math.inf, Clock(START))
    assert all(budgets.take(ALICE, "google") == 0.0 for _ in range(10_000))
    for wrong in (0, -1, math.nan):
        with pytest.raises(SettingsError):
            Budgets(wrong)


def test_rate_limit_memory_is_bounded_with_many_users() -> None:
    clock = Clock(START)
    budgets = Budgets(60, clock)
    for n in range(3 * MAX_BUCKETS):
        clock.now += 2
        budgets.take(User(f"user-{n}"), "google")
    assert len(budgets._full_at) <= MAX_BUCKETS


def test_rate_limit_holds_across_threads() -> None:
    budgets = Budgets(500, Clock(START))

    def some(_: int) -> int:
        return spent(budgets)

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(some, range(8))) == 500


# ------------------------------------------------------------- in an act


@pytest.fixture
async def probe() -> AsyncIterator[Probe]:
    async with probing(requests_per_minute=5, clock=Clock(START)) as made:
        yield made


async def test_act_over_the_rate_limit_gets_retry_after_and_sends_nothing(probe: Probe) -> None:
    await probe.run(*[GET] * 5)
    with pytest.raises(RateLimited) as caught:
        await probe.run(GET)
    assert caught.value.retry_after == pytest.approx(12) and len(probe.line.sent) == 5
    assert probe.deputy.audit.rows()[-1]["decision"] == "rate_limited"


async def test_one_batch_of_requests_over_the_limit_is_stopped(probe: Probe) -> None:
    with pytest.raises(RateLimited):
        await probe.run([GET] * 50)
    assert len(probe.line.sent) == 5


async def test_each_retry_counts_against_the_rate_limit(probe: Probe) -> None:
    probe.line.answers[GMAIL_API] = [answer(503)] * 2
    await probe.run(GET)
    probe.line.answers[GMAIL_API] = [answer(503)] * 9
    with pytest.raises(RateLimited):
        await probe.run(GET)
    assert len(probe.line.sent) == 5


async def test_tool_can_return_partial_results_when_rate_limited(probe: Probe) -> None:
    def body() -> Steps:
        got = 0
        try:
            for got in range(10):  # noqa: B007
                yield GET
        except RateLimited:
            return {"got": got}

    assert await probe.script(body) == {"got": 5}


async def test_unsent_write_can_be_retried_after_rate_limit(probe: Probe) -> None:
    clock: Any = probe.deputy.clock
    call = Call("t", "m", "c")
    await probe.run(*[GET] * 5)
    probe.line.answers[GMAIL_API] = [answer(200, {"id": "1"})]

    def body() -> Steps:
        made = yield Request("POST", "/users/me/messages", json={})
        return made

    with pytest.raises(RateLimited):
        await probe.script(body, tool="write", call=call)
    clock.now += 60
    assert await probe.script(body, tool="write", call=call) == {"id": "1"}


async def test_act_that_started_writing_is_not_rate_limited(probe: Probe) -> None:
    probe.line.answers[GMAIL_API] = [answer(200, {"id": "1"})] * 9

    def body() -> Steps:
        for _ in range(9):
            yield Request("POST", "/users/me/messages", json={})

    assert await probe.script(body, tool="write") is None
    assert len(probe.line.sent) == 9
    with pytest.raises(RateLimited):
        await probe.run(GET)


async def test_engine_waits_out_a_short_rate_limit() -> None:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    async with probing(requests_per_minute=60, clock=Clock(START)) as probe:
        set_sleep(probe.deputy, sleep)
        await probe.run([GET] * 61)
        assert len(probe.line.sent) == 61 and waited == [pytest.approx(1)]


async def test_rate_limit_of_alice_does_not_stop_bob(probe: Probe) -> None:
    await probe.run(*[GET] * 5)
    with pytest.raises(RateLimited):
        await probe.run(GET)
    with pytest.raises(Exception) as caught:
        await probe.run(GET, user="bob")
    assert not isinstance(caught.value, RateLimited | OutcomeUnknown)  # he has not connected, and that is all


@pytest.mark.parametrize("less", [0.5, 0.999, 1e-9])
def test_rate_limit_that_allows_no_request_is_refused(less: float) -> None:
    with pytest.raises(SettingsError):
        Budgets(less)
    assert Budgets(1, Clock(START)).take(ALICE, "google") == 0.0


def test_rate_limit_scans_rarely_with_many_users() -> None:
    """More users than entries, none of them with a full budget: the scan for free entries runs rarely, not every
    time."""
    clock, looks = Clock(START), 0

    class Counted(dict[Any, float]):
        def items(self) -> Any:
            nonlocal looks
            looks += 1
            return super().items()

    budgets = Budgets(60, clock, Counted())
    for n in range(3 * MAX_BUCKETS):
        budgets.take(User(f"user-{n}"), "google")
        budgets._full_at = Counted(budgets._full_at) if type(budgets._full_at) is dict else budgets._full_at
    assert looks < 10
    clock.now += 2 * WINDOW_SECONDS
    for n in range(4 * MAX_BUCKETS):
        budgets.take(User(f"new-{n}"), "google")
        clock.now += 1
    assert len(budgets._full_at) <= 2 * MAX_BUCKETS


async def test_public_requests_have_their_own_rate_limit(probe: Probe) -> None:
    probe.line.answers["logs.example.test", "/"] = [answer(200)] * 50
    with pytest.raises(RateLimited):
        await probe.run(*[PublicRequest("https://logs.example.test/")] * 50)
    assert len(probe.line.sent) == 5
    await probe.run(GET)


async def test_retry_after_token_refresh_counts_against_the_rate_limit(probe: Probe) -> None:
    probe.line.answers[GMAIL_API] = [answer(401)]
    await probe.run(*[GET] * 4)
    with pytest.raises(RateLimited):
        await probe.run(GET)
    assert probe.line.count(GMAIL_API) == 5
