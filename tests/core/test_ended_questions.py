"""`ended_questions`: which conversation may go on, across processes and restarts, and never another user's."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest

from deputize.core import (
    ApprovalRequired,
    Call,
    Consent,
    ConsentRequired,
    Decision,
    InvalidInput,
    QuestionChange,
    StoreUnavailable,
    User,
    Verdict,
    allow_all,
    ask_before_sending,
)
from deputize.core import ended_questions as module
from deputize.core.approvals.record import APPROVAL_TTL
from deputize.core.vault.stores.memory import MemoryStore
from tests.core.web.web_application import World, make

NOTE = {"to": "bob@example.test", "body": "Hello Bob"}
SECONDS = 10.0


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PACE_SECONDS", 0.0)


async def ask(
    world: World, thread: str, call: str = "1", user: User | str = "alice", tool: str = "notes_send_note"
) -> Any:
    """Return the consent or the approval for which a call of this conversation waits."""
    arguments = NOTE if tool == "notes_send_note" else {}
    try:
        await world.deputy.act(tool, arguments, user=user, call=Call(thread, f"message of {thread}", call))
    except ConsentRequired as waits:
        return waits.consent
    except ApprovalRequired as waits:
        return waits.approval
    raise AssertionError("nothing was asked")


async def connected(**more: Any) -> World:
    world = await make(**more)
    await world.connected("send")
    return world


async def take(stream: AsyncGenerator[QuestionChange], count: int = 1) -> list[QuestionChange]:
    """Return the next items of a stream."""
    async with asyncio.timeout(SECONDS):
        return [await anext(stream) for _ in range(count)]


async def is_silent(stream: AsyncGenerator[QuestionChange]) -> bool:
    """Return True if the stream yields nothing for a while. The stream is closed then."""
    try:
        async with asyncio.timeout(0.6):
            await anext(stream)
    except TimeoutError:
        return True
    return False


def summary(found: list[QuestionChange]) -> set[tuple[str, str, str, str]]:
    return {(one.thread, one.user.id, one.change, one.question.status) for one in found}


async def test_questions_that_ended_earlier_come_first() -> None:
    world = await connected()
    for thread in ("approved", "rejected", "expired", "waits"):
        asked = await ask(world, thread)
        if thread in ("approved", "rejected"):
            await world.deputy.decide(asked, "approve" if thread == "approved" else "reject", by="alice")
        if thread == "expired":
            world.clock.now += APPROVAL_TTL
    stream = world.deputy.ended_questions()
    expected = {("approved", "alice", "decided", "approved"), ("rejected", "alice", "decided", "rejected")}
    assert summary(await take(stream, 3)) == expected | {("expired", "alice", "expired", "pending")}
    assert await is_silent(stream)


async def test_question_is_yielded_when_it_ends_and_only_once() -> None:
    world = await connected()
    async with aclosing(world.deputy.ended_questions()) as stream:
        first, second = (
            await ask(world, "one"),
            await ask(world, "two", user=User("bob", "acme"), tool="notes_list_notes"),
        )
        waiting = asyncio.create_task(take(stream))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        await world.deputy.decide(first, "approve", by="alice")
        [told] = await waiting
        assert (told.thread, told.user, told.question.id) == ("one", User("alice"), first.id)
        await world.deputy.act("notes_send_note", NOTE, user="alice", call=Call("one", "message of one", "1"))
        await world.deputy.consents.cancel(User("bob", "acme"), "google", "google")
        [told] = await take(stream)
        assert (told.thread, told.user, told.question.id) == ("two", User("bob", "acme"), second.id)
        assert told.question.status == "cancelled" and await is_silent(stream)


async def test_consent_is_yielded_for_each_conversation_that_waits() -> None:
    world = await make()
    asked = [await ask(world, thread) for thread in ("one", "two", "one")]
    assert len({one.id for one in asked}) == 1
    await world.browser().allow(asked[0].link, as_="alice@example.test")
    stream = world.deputy.ended_questions()
    expected = {("one", "alice", "decided", "granted"), ("two", "alice", "decided", "granted")}
    assert summary(await take(stream, 2)) == expected and await is_silent(stream)


async def test_consent_for_scopes_that_were_granted_elsewhere_has_ended() -> None:
    world = await make()
    asked = await ask(world, "one")
    stream = world.deputy.ended_questions()
    waiting = asyncio.create_task(take(stream, 2))
    world.clock.now += 700
    await asyncio.sleep(0.5)
    await world.connected("send", "readonly")
    expired, granted = await waiting
    assert (expired.change, granted.change) == ("expired", "decided") and expired.thread == granted.thread == "one"
    assert isinstance(granted.question, Consent) and granted.question.id == asked.id
    assert (granted.question.status, granted.question.reason_code) == ("granted", "elsewhere")


async def test_refused_consent_is_yielded_after_another_one_replaced_it() -> None:
    world = await make()
    await world.browser().deny((await ask(world, "one")).link)
    await ask(world, "two")
    found = await take(world.deputy.ended_questions())
    assert summary(found) == {("one", "alice", "decided", "denied")}


async def test_replaced_question_is_not_yielded() -> None:
    world = await connected()
    asked = await ask(world, "one")
    stream = world.deputy.ended_questions()
    waiting = asyncio.create_task(take(stream))
    await asyncio.sleep(0.3)
    world.deputy.policy = lambda act: Decision(Verdict.ASK, "four eyes", "", "finance")
    await ask(world, "one")
    await asyncio.sleep(0.3)
    assert not waiting.done()
    world.deputy.policy = ask_before_sending
    again = await ask(world, "one")
    await world.deputy.decide(again, "approve", by="alice")
    [told] = await waiting
    assert told.question.id == again.id != asked.id


async def test_question_without_which_the_act_began_is_superseded() -> None:
    world = await connected()
    asked = await ask(world, "one")
    world.deputy.policy = allow_all
    await world.deputy.act("notes_send_note", NOTE, user="alice", call=Call("one", "message of one", "1"))
    [told] = await take(world.deputy.ended_questions())
    assert (told.change, told.question.id) == ("superseded", asked.id)


async def test_question_without_a_conversation_is_not_yielded() -> None:
    world = await connected()
    await world.deputy.decide(await world.approval(), "approve", by="alice")
    assert await is_silent(world.deputy.ended_questions())


async def test_expired_approval_outlives_the_sweeper_by_a_day() -> None:
    world = await connected()
    asked = await ask(world, "one")
    world.clock.now += APPROVAL_TTL + 3600
    await world.deputy.sweeper.turn()
    [told] = await take(world.deputy.ended_questions())
    assert (told.change, told.question.id) == ("expired", asked.id)
    assert await world.deputy.pending("alice") == []
    world.clock.now += 86400
    await world.deputy.sweeper.turn()
    assert await world.deputy.get_approval(asked, by="alice") is None
    assert await is_silent(world.deputy.ended_questions())


async def test_one_listener_receives_until_it_ends_and_other_applications_too() -> None:
    world = await connected()
    await world.deputy.decide(await ask(world, "one"), "approve", by="alice")
    first, second, other = (world.deputy.ended_questions(name=name) for name in ("", "", "another application"))
    assert summary(await take(first)) == summary(await take(other)) == {("one", "alice", "decided", "approved")}
    waiting = asyncio.create_task(take(second))
    await asyncio.sleep(0.5)
    assert not waiting.done()
    await first.aclose()
    assert summary(await waiting) == {("one", "alice", "decided", "approved")}


async def test_closed_deputy_ends_the_stream() -> None:
    world = await connected()
    found = list[QuestionChange]()

    async def listen() -> None:
        found.extend([one async for one in world.deputy.ended_questions()])

    listening = asyncio.create_task(listen())
    await asyncio.sleep(0.2)
    await world.deputy.close()
    async with asyncio.timeout(SECONDS):
        await listening
    assert not found


async def test_unreachable_vault_is_read_again(caplog: pytest.LogCaptureFixture) -> None:
    class Flaky(MemoryStore):
        failures = 0

        async def tails(self, kind: str, prefix: str = "") -> list[tuple[str, bytes]]:
            if self.failures:
                self.failures -= 1
                raise StoreUnavailable("The vault cannot be reached.")
            return [(key, value[-16:]) for key, value in await self.scan(kind, prefix)]

    store = Flaky()
    world = await connected(store=store)
    await world.deputy.decide(await ask(world, "one"), "approve", by="alice")
    store.failures = 1
    with caplog.at_level(logging.WARNING, "deputize"):
        assert summary(await take(world.deputy.ended_questions())) == {("one", "alice", "decided", "approved")}
    assert "cannot be read" in caplog.text


@pytest.mark.parametrize("failing", ["record", "question"])
async def test_outage_between_two_questions_loses_none(monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    monkeypatch.setattr(module, "OUTAGE_PAUSE_SECONDS", 0.0)
    world, calls = await connected(), list[Any]()
    for thread in ("one", "two", "three"):
        await world.deputy.decide(await ask(world, thread), "approve", by="alice")
    place = world.deputy.vault if failing == "record" else world.deputy.approvals
    name = "get" if failing == "record" else "public"
    whole = getattr(place, name)

    async def flaky(*arguments: Any) -> Any:
        if arguments[0] == "approval" or failing != "record":
            calls.append(arguments)
            if len(calls) == 2:
                raise StoreUnavailable("The vault cannot be reached.")
        return await whole(*arguments)

    monkeypatch.setattr(place, name, flaky)
    found = await take(world.deputy.ended_questions(), 3)
    assert {one.thread for one in found} == {"one", "two", "three"}


async def test_busy_conversation_does_not_hold_up_the_others() -> None:
    world, go_on, heard = await connected(), asyncio.Event(), asyncio.Event()
    for call in range(3):
        await world.deputy.decide(await ask(world, "busy", str(call)), "approve", by="alice")
    handled = list[str]()

    async def resume(told: QuestionChange) -> None:
        if told.thread == "busy":
            await go_on.wait()
        else:
            heard.set()
        handled.append(told.thread)

    handling = asyncio.create_task(world.deputy.handle_ended_questions(resume, max_concurrent=2))
    await asyncio.sleep(0.3)
    await world.deputy.decide(await ask(world, "other"), "approve", by="alice")
    async with asyncio.timeout(SECONDS):
        await heard.wait()
        go_on.set()
        await world.deputy.close()
        await handling
    assert sorted(handled) == ["busy", "busy", "busy", "other"]


async def test_function_that_cancels_itself_is_called_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_RETRY_SECONDS", 0.05)
    world, calls, done = await connected(), list[str](), asyncio.Event()
    await world.deputy.decide(await ask(world, "one"), "approve", by="alice")

    async def resume(told: QuestionChange) -> None:
        calls.append(told.thread)
        if len(calls) == 1:
            raise asyncio.CancelledError
        done.set()

    handling = asyncio.create_task(world.deputy.handle_ended_questions(resume))
    async with asyncio.timeout(SECONDS):
        await done.wait()
        await world.deputy.close()
        await handling
    assert calls == ["one", "one"]


async def test_cancelled_listener_ends_although_its_function_fails_then() -> None:
    world, called = await connected(), asyncio.Event()
    await world.deputy.decide(await ask(world, "one"), "approve", by="alice")

    async def resume(told: QuestionChange) -> None:
        called.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise RuntimeError("not closed") from None

    handling = asyncio.create_task(world.deputy.handle_ended_questions(resume))
    async with asyncio.timeout(SECONDS):
        await called.wait()
        handling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await handling


async def test_function_that_fails_is_called_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "FIRST_RETRY_SECONDS", 0.05)
    world, calls, done = await connected(), list[str](), asyncio.Event()
    await world.deputy.decide(await ask(world, "one"), "approve", by="alice")

    async def resume(told: QuestionChange) -> None:
        calls.append(told.thread)
        if len(calls) < 3:
            raise RuntimeError("the secret question")
        done.set()

    handling = asyncio.create_task(world.deputy.handle_ended_questions(resume))
    async with asyncio.timeout(SECONDS):
        await done.wait()
        await world.deputy.close()
        await handling
    assert calls == ["one"] * 3 and "RuntimeError" in caplog.text and "secret" not in caplog.text


async def test_closed_deputy_waits_for_no_retry() -> None:
    world, called = await connected(), asyncio.Event()
    await world.deputy.decide(await ask(world, "one"), "approve", by="alice")

    async def resume(told: QuestionChange) -> None:
        called.set()
        raise RuntimeError

    handling = asyncio.create_task(world.deputy.handle_ended_questions(resume))
    async with asyncio.timeout(SECONDS):
        await called.wait()
        await world.deputy.close()
        await handling


async def test_one_call_at_a_time_runs_for_each_conversation() -> None:
    world, running, most = await connected(), list[str](), list[int]()
    for thread, call in (("one", "1"), ("one", "2"), ("two", "1"), ("three", "1")):
        await world.deputy.decide(await ask(world, thread, call), "approve", by="alice")
    done = asyncio.Semaphore(0)

    async def resume(told: QuestionChange) -> None:
        assert told.thread not in running
        running.append(told.thread)
        most.append(len(running))
        await asyncio.sleep(0.1)
        running.remove(told.thread)
        done.release()

    handling = asyncio.create_task(world.deputy.handle_ended_questions(resume, max_concurrent=2))
    async with asyncio.timeout(SECONDS):
        for _ in range(4):
            await done.acquire()
        await world.deputy.close()
        await handling
    assert max(most) == 2


@pytest.mark.parametrize("function", [None, "acme:resume", lambda told: None])
async def test_only_an_async_function_handles_ended_questions(function: Any) -> None:
    world = await make()
    with pytest.raises(InvalidInput, match="takes an async function"):
        await world.deputy.handle_ended_questions(function)


@pytest.mark.parametrize("name", ["", "\ud800", "a\0b", "x" * 10_000, "../all.lock"])
async def test_any_text_names_an_application(name: str) -> None:
    world = await connected()
    await world.deputy.decide(await ask(world, "one"), "approve", by="alice")
    [told] = await take(world.deputy.ended_questions(name=name))
    assert told.thread == "one"


@pytest.mark.parametrize("limit", [0, -1, True, 1.5, "8"])
async def test_limit_of_concurrent_calls_is_a_positive_number(limit: Any) -> None:
    async def resume(told: QuestionChange) -> None: ...

    world = await make()
    with pytest.raises(InvalidInput, match="max_concurrent"):
        await world.deputy.handle_ended_questions(resume, max_concurrent=limit)
