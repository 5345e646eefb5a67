"""`on_question`: what an application receives about consents and approvals, in order, and never at a call's expense."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any

import pytest

from deputize.core import Decision, InvalidInput, QuestionChange, SettingsError, User, Verdict
from deputize.core.plugins import find_function
from deputize.core.question_feed import MAX_WAITING, QuestionFeed
from deputize.core.user_requests import Approval
from tests.core.web.web_application import SEND, World, make


class Received:
    """A function of the application, and all that it received."""

    def __init__(self) -> None:
        self.changes: list[QuestionChange] = []

    async def __call__(self, told: QuestionChange) -> None:
        self.changes.append(told)

    async def settled(self, deputy: Any) -> list[tuple[str, str, str]]:
        await deputy.services.question_feed.wait()
        return [(one.change, one.question.id, one.question.status) for one in self.changes]


async def asking(received: Any, **more: Any) -> tuple[World, Approval]:
    world = await make(**more)
    await world.connected("send")
    world.deputy.on_question(received)
    return world, await world.approval()


async def test_application_receives_the_payload_that_frameworks_get() -> None:
    received = Received()
    world, asked = await asking(received)
    await received.settled(world.deputy)
    [told] = received.changes
    assert (told.change, told.user, told.approvers) == ("asked", User("alice"), "")
    about = {"change": "asked", "user": "alice", "tenant": "", "status": "pending"}
    assert told.payload() == about | asked.payload()
    [consent] = await world.deputy.connect("bob", "google", scopes=[SEND])
    await received.settled(world.deputy)
    about = {"change": "asked", "user": "bob", "tenant": "", "status": "pending"}
    assert received.changes[-1].payload() == about | consent.payload()


async def test_decision_of_an_approval_is_reported_once() -> None:
    received = Received()
    world, asked = await asking(received)
    for _ in range(2):
        await world.deputy.decide(asked, "approve", by="alice")
    await world.deputy.decide(asked, "reject", by="alice")
    expected = [("asked", "pending"), ("decided", "approved"), ("decided", "rejected")]
    assert await received.settled(world.deputy) == [(change, asked.id, status) for change, status in expected]


async def test_end_of_a_consent_is_reported() -> None:
    received, world = Received(), await make()
    world.deputy.on_question(received)
    [consent] = await world.deputy.connect("alice", "google", scopes=[SEND])
    assert (await world.deputy.connect("alice", "google", scopes=[SEND]))[0].id == consent.id
    await world.deputy.revoke("alice", "google")
    expected = [("asked", consent.id, "pending"), ("decided", consent.id, "cancelled")]
    assert await received.settled(world.deputy) == expected


async def test_renewed_consent_link_is_reported_under_the_same_id() -> None:
    received, world = Received(), await make()
    world.deputy.on_question(received)
    [first] = await world.deputy.connect("alice", "google", scopes=[SEND])
    world.clock.now += 700
    [second] = await world.deputy.connect("alice", "google", scopes=[SEND])
    await received.settled(world.deputy)
    assert [one.question.link for one in received.changes] == [first.link, second.link]
    assert first.id == second.id and first.link != second.link


async def test_changed_question_closes_the_old_one() -> None:
    received = Received()
    world, asked = await asking(received)
    world.deputy.policy = lambda act: Decision(Verdict.ASK, "four eyes", "", "finance")
    again = await world.approval()
    expected = [("asked", asked.id), ("superseded", asked.id), ("asked", again.id)]
    told = [one[:2] for one in await received.settled(world.deputy)]
    assert sorted(told) == sorted(expected) and told.index(expected[0]) < told.index(expected[1])


async def test_offboarding_closes_the_questions_of_the_user() -> None:
    received = Received()
    world, asked = await asking(received)
    await world.deputy.offboard("alice", "left")
    assert ("decided", asked.id, "rejected") in await received.settled(world.deputy)


async def test_expiry_is_reported_once_and_only_without_a_decision() -> None:
    received = Received()
    world, asked = await asking(received)
    other = await world.approval("Another", "2")
    consent = (await world.deputy.connect("bob", "google", scopes=[SEND]))[0]
    await world.deputy.decide(other, "approve", by="alice")
    await received.settled(world.deputy)
    received.changes.clear()
    world.clock.now += 3601
    for _ in range(2):
        await world.deputy.report_expired()
    expired = [(change, name) for change, name, _ in await received.settled(world.deputy)]
    assert sorted(expired) == sorted([("expired", asked.id), ("expired", consent.id)])


async def test_decision_of_another_process_is_no_expiry() -> None:
    received = Received()
    world, asked = await asking(received)
    functions, world.deputy.services.question_feed.functions = world.deputy.services.question_feed.functions, []
    await world.deputy.decide(asked, "approve", by="alice")  # as another process does, which reports nothing here
    world.deputy.services.question_feed.functions = functions
    world.clock.now += 3601
    await world.deputy.report_expired()
    assert [one[0] for one in await received.settled(world.deputy)] == ["asked"]


def fails(told: QuestionChange) -> None:
    raise RuntimeError(f"secret of {told.user.id}")


async def fails_later(told: QuestionChange) -> None:
    fails(told)


@pytest.mark.parametrize("function", [fails, fails_later, lambda told: fails_later(told)])
async def test_failing_function_neither_fails_the_call_nor_reveals_the_question(
    function: Callable[[QuestionChange], Awaitable[None] | None], caplog: pytest.LogCaptureFixture
) -> None:
    received = Received()
    world, asked = await asking(function)
    world.deputy.on_question(received)
    await world.deputy.decide(asked, "approve", by="alice")
    await received.settled(world.deputy)
    assert [one.change for one in received.changes] == ["decided"]
    assert "on_question failed: RuntimeError" in caplog.text and "secret" not in caplog.text


async def test_slow_function_delays_no_call_and_keeps_the_order() -> None:
    changes, go_on = list[str](), threading.Event()

    def work(told: QuestionChange) -> None:
        go_on.wait(10)
        changes.append(told.change)

    world, asked = await asking(work)
    await world.deputy.decide(asked, "approve", by="alice")
    assert changes == []
    go_on.set()
    await world.deputy.services.question_feed.wait()
    assert changes == ["asked", "decided"]


async def test_stuck_function_cannot_fill_the_memory(caplog: pytest.LogCaptureFixture) -> None:
    feed, go_on = QuestionFeed(), Future[None]()

    async def wait(told: QuestionChange) -> None:
        await asyncio.wrap_future(go_on)

    feed.functions.append(wait)
    with caplog.at_level(logging.WARNING):
        for number in range(MAX_WAITING + 5):
            feed.tell("asked", User("alice"), Approval(str(number), "t", "sends"))
    go_on.set_result(None)
    await feed.wait()
    assert caplog.text.count("was not reported") == 5
    assert len(feed.take_expired(1.0)) == MAX_WAITING


def test_setting_names_a_function() -> None:
    assert find_function("on_question", "tests.core.test_question_feed:fails", "takes one") is fails
    for name in ("nowhere:f", "tests.core.test_question_feed:nothing", "os:getcwd"):
        with pytest.raises(SettingsError, match="on_question"):
            find_function("on_question", name, "takes one QuestionChange")


async def test_anything_but_a_function_is_refused() -> None:
    world = await make()
    with pytest.raises(InvalidInput, match="on_question takes a function, not str"):
        world.deputy.on_question("acme:send")  # type: ignore[arg-type]
