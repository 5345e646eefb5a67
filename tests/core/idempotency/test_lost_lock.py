"""At most once, even if an act's lock is lost in progress because its holder's session was cut."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from deputize.core import (
    ApprovalRequired,
    Call,
    Deputy,
    Effect,
    OutcomeUnknown,
    Request,
    Run,
    SaveNote,
    Steps,
    StoreUnavailable,
    Toolkit,
    allow_all,
    any_of,
    ask_before_sending,
)
from deputize.core.acts import provider_requests as exchange
from deputize.core.audit.events import ActIntent, Event
from deputize.core.idempotency import ledger
from deputize.core.vault.stores import Store, open_store
from deputize.core.vault.stores.postgres.address import Address
from deputize.core.vault.stores.postgres.schema import migrate
from deputize.core.vault.vault import Vault
from deputize.sandbox import Sandbox
from tests.support.cut_locks import CutLocksStore
from tests.support.faults import Line
from tests.support.gmail_toolkit import MAIL, READ, SEND, SENDING, raw
from tests.support.postgres import postgres
from tests.support.sandbox_deputy import build, consent

MESSAGES = ("gmail.googleapis.com", "/gmail/v1/users/me/messages")
SENT = ("gmail.googleapis.com", "/gmail/v1/users/me/messages/send")

kit = Toolkit("gmail", provider="google")


@kit.tool(needs=[any_of(READ), any_of(SEND)], effect=Effect.SENDS, shows=False)
def noted(to: str, subject: str, body: str, *, run: Run) -> Steps:
    """Send a mail; a run that was cut off is looked up by what it noted, and done where it is not found."""
    if run.noted is None:
        yield SaveNote({"mark": subject})
    found = yield Request("GET", "/users/me/messages", params={"q": f"in:sent subject:{subject}"})
    if run.noted is not None and found.get("messages"):
        return {"found": True}
    sent = yield Request("POST", SENDING, json={"raw": raw(to, subject, body)})
    return {"id": sent["id"]}


@kit.tool(needs=[any_of(READ), any_of(SEND)], effect=Effect.SENDS, shows=False)
def plain(to: str, subject: str, body: str) -> Steps:
    """Send two mails, with a look in between; nothing is noted."""
    yield Request("POST", SENDING, json={"raw": raw(to, subject, body)})
    yield Request("GET", "/users/me/messages")
    sent = yield Request("POST", SENDING, json={"raw": raw(to, f"{subject} again", body)})
    return {"id": sent["id"]}


@dataclass
class Two:
    """Two machines with one vault, each with its own connection to the same providers."""

    sandbox: Sandbox
    deputies: list[Deputy]
    lines: list[Line]
    cut: Callable[[], Awaitable[None]]

    async def act(self, machine: int, tool: str = "noted") -> Any:
        return await self.deputies[machine].act(f"gmail_{tool}", MAIL, user="alice", call=Call("t", "m", "c"))

    @property
    def mails(self) -> int:
        return len(self.sandbox.sent("alice@example.test"))

    def begun(self, machine: int, tool: str, held: tuple[str, str]) -> asyncio.Task[Any]:
        """Begin an act of this machine that hangs at a request to this address."""
        self.lines[machine].held = held
        return asyncio.create_task(self.act(machine, tool))


async def machines(stores: list[Store], cut: Callable[[], Awaitable[None]]) -> Two:
    sandbox, deputies, lines = Sandbox(), list[Deputy](), list[Line]()
    for store in stores:
        vault = await Vault.open(store, [b"k" * 32])
        lines.append(Line(sandbox.transport()))
        deputies.append(await build(sandbox, vault=vault, toolkits=[kit], transport=lines[-1], policy=allow_all))
    asked = await deputies[0].connect("alice", "google", scopes=[READ, SEND])
    assert (await consent(deputies[0], sandbox, asked[0])).status == "granted"
    return Two(sandbox, deputies, lines, cut)


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.counterpart)])
async def two(request: pytest.FixtureRequest) -> AsyncIterator[Two]:
    async with AsyncExitStack() as ends:
        if request.param == "memory":
            store = CutLocksStore()
            stores: list[Store] = [store, store]

            async def cut() -> None:
                store.cut()
        else:
            server = ends.enter_context(postgres())
            url = "postgresql:///postgres?" + "&".join(server.split()[:2])
            migrate(Address.of(url))
            stores = [open_store(url, create=True) for _ in range(2)]

            async def cut() -> None:
                with psycopg.connect(server, autocommit=True) as admin:
                    admin.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")

        made = await machines(stores, cut)
        for deputy in made.deputies:
            ends.push_async_callback(deputy.close)
        yield made


async def test_run_that_lost_its_lock_before_writing_writes_nothing(two: Two) -> None:
    first = two.begun(0, "noted", MESSAGES)
    await two.lines[0].until_held()
    await two.cut()
    assert "id" in await two.act(1)
    two.lines[0].release()
    with pytest.raises(StoreUnavailable, match="lost"):
        await first
    assert two.mails == 1 and two.lines[0].count(SENT) == 0
    assert await two.act(0) == await two.act(1)


@pytest.mark.processes
async def test_recovery_waits_for_a_request_in_flight(two: Two) -> None:
    first = two.begun(0, "noted", SENT)
    await two.lines[0].until_held()
    await two.cut()
    second = asyncio.create_task(two.act(1))
    await asyncio.sleep(0.5)
    assert two.lines[1].count(MESSAGES) == 0 and not second.done()
    two.lines[0].release()
    assert await first == await second  # the one that waited is handed what was recorded meanwhile
    assert two.mails == 1


@pytest.mark.processes
async def test_recovery_continues_after_the_longest_request_time(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "REQUEST_TIMEOUT_SECONDS", 0.6)
    monkeypatch.setattr(ledger, "CLAIM_MARGIN_SECONDS", 0.2)
    first = two.begun(0, "noted", SENT)
    await two.lines[0].until_held()
    await two.cut()
    assert "id" in await two.act(1)
    with pytest.raises(OutcomeUnknown):  # it had no answer in its time
        await first
    assert two.mails == 1


async def test_act_that_lost_its_lock_after_writing_stops_and_is_not_repeated(two: Two) -> None:
    first = two.begun(0, "plain", MESSAGES)
    two.lines[0].held = ("gmail.googleapis.com", "/gmail/v1/users/me/messages")
    two.lines[0].held_after = True  # of the first mail, which is sent
    await two.lines[0].until_held()
    await two.cut()
    two.lines[0].release()
    with pytest.raises(OutcomeUnknown):
        await first
    assert two.mails == 1
    with pytest.raises(OutcomeUnknown):
        await two.act(1, "plain")
    assert two.mails == 1


async def test_act_with_its_lock_continues_despite_a_different_store_clock(two: Two) -> None:
    sent = await two.act(0, "noted")
    assert await two.act(1, "noted") == sent and two.mails == 1
    assert [one.json["state"] for one in await two.deputies[0].vault.scan("act")] == ["done"]


@pytest.mark.parametrize(("ahead", "asked"), [(0.0, 2), (3600.0, 3)])  # once more to learn the store's clock
async def test_lock_is_checked_before_every_write_and_no_read(ahead: float, asked: int) -> None:
    store = CutLocksStore()
    store.ahead = ahead

    async def cut() -> None:
        store.cut()

    two = await machines([store], cut)
    before = store.asked
    await two.act(0, "plain")
    assert (store.asked - before, two.lines[0].count(SENT)) == (asked, 2)
    await two.deputies[0].close()


@pytest.mark.parametrize("ahead", [0.0, 3600.0, -3600.0])
async def test_claim_names_the_end_of_its_requests_by_the_clock_of_the_store(ahead: float) -> None:
    store = CutLocksStore()
    store.ahead = ahead

    async def cut() -> None:
        store.cut()

    two = await machines([store], cut)
    run = two.begun(0, "plain", SENT)
    await two.lines[0].until_held()
    [row] = await two.deputies[0].vault.scan("act")
    left = row.json["until"] - (time.time() + store.ahead)
    assert exchange.REQUEST_TIMEOUT_SECONDS < left <= exchange.REQUEST_TIMEOUT_SECONDS + ledger.CLAIM_MARGIN_SECONDS
    two.lines[0].release()
    await run
    await two.deputies[0].close()


@pytest.mark.parametrize("confirmed", [ledger.CONFIRMATION_SECONDS, 0.0])
async def test_approved_act_that_loses_its_lock_after_its_claim_is_done_once(
    confirmed: float, two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within a second the claim itself keeps others out. After that the lock is asked for again, and the approval is
    free for the next run."""
    monkeypatch.setattr(ledger, "CONFIRMATION_SECONDS", confirmed)
    first, call = two.deputies[0], Call("t", "m", "c")
    if isinstance(first.vault.store, CutLocksStore):
        first.vault.store.ahead = 0.0  # else the claim is saved once more, and the loss is noticed then
    for deputy in two.deputies:
        deputy.policy = ask_before_sending
    with pytest.raises(ApprovalRequired) as asked:
        await two.act(0, "plain")
    await two.deputies[1].decide(asked.value.approval, "approve", by="alice")
    record, cuts = first.audit.record, list[str]()

    async def cutting(event: Event) -> None:
        await record(event)
        if isinstance(event, ActIntent):
            await two.cut()
            cuts.append("cut")

    monkeypatch.setattr(first.audit, "record", cutting)
    failure = StoreUnavailable if confirmed == 0 else OutcomeUnknown  # its second mail asks anew
    with pytest.raises(failure):
        await first.act("gmail_plain", MAIL, user="alice", call=call)
    assert two.mails == (0 if confirmed == 0 else 1) and len(cuts) == 1
    [approval] = await first.vault.scan("approval")
    assert approval.json["status"] == ("approved" if confirmed == 0 else "used")
    if confirmed == 0:
        assert await two.act(1, "plain")
        assert two.mails == 2  # the two of one act
    else:
        with pytest.raises(OutcomeUnknown):
            await two.act(1, "plain")
        assert two.mails == 1
