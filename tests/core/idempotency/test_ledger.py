"""At most once: however often an act is run again, concurrently or after a crash."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from deputize.core import (
    ActKey,
    Call,
    DeputizeError,
    Effect,
    OutcomeUnknown,
    Request,
    Run,
    SaveNote,
    Steps,
    Toolkit,
    User,
    allow_all,
    any_of,
)
from deputize.core.idempotency import ledger
from deputize.sandbox import Sandbox
from tests.core.consent.test_consents import House
from tests.support.faults import Line, answer, broken
from tests.support.gmail_toolkit import ALL, MAIL, SEND, gmail
from tests.support.sandbox_deputy import Clock, build, connect, new_vault

SENDING = ("gmail.googleapis.com", "/gmail/v1/users/me/messages/send")
DRAFTS = ("gmail.googleapis.com", "/gmail/v1/users/me/drafts")
DRAFT_SENDING = ("gmail.googleapis.com", "/gmail/v1/users/me/drafts/send")


async def state(house: House) -> list[str]:
    return [record.json["state"] for record in await house.deputy.vault.scan("act")]


# ------------------------------------------------------------- one key


async def test_fifty_concurrent_runs_of_one_act_send_once(house: House) -> None:
    results = await asyncio.gather(*(house.act("send", **MAIL) for _ in range(50)))
    assert house.mails == 1 and len({one["id"] for one in results}) == 1


async def test_later_run_returns_the_recorded_result_without_requests(house: House) -> None:
    first = await house.act("send", **MAIL)
    house.line.seen.clear()
    assert await house.act("send", **MAIL) == first and house.line.seen == []
    await house.deputy.revoke("alice", "google")
    assert await house.act("send", **MAIL) == first  # what was done stays done


@pytest.mark.parametrize("other", [Call("t", "m2", "c"), Call("t", "m1", "c2"), Call("t2", "m1", "c"), Call()])
async def test_other_message_call_or_thread_is_another_act(house: House, other: Call) -> None:
    await house.act("send", **MAIL)
    await house.deputy.act("gmail_send", MAIL, user="alice", call=other)
    assert house.mails == 2


async def test_act_key_parts_cannot_collide() -> None:
    parts = [
        ("a", "bc"),
        ("ab", "c"),
        ("a", "b", "c"),
        ("abc",),
        ('a","b', "c"),
        ("a", 'b","c'),
        ("", "abc"),
        ("abc", ""),
    ]
    assert len({ActKey.of(*one).hex for one in parts}) == len(parts)
    key = ActKey.of("x")
    assert len({key.hex, key.nth(1).hex, key.nth(2).hex, key.nth(1).nth(1).hex}) == 4


async def test_same_call_of_another_user_is_another_act(house: House) -> None:
    await house.connected(*ALL, user="bob", as_="bob@example.test")
    await house.act("send", **MAIL)
    await house.deputy.act("gmail_send", MAIL, user="bob", call=Call("t", "m1", "c"))
    assert house.mails == 1 and len(house.sandbox.sent("bob@example.test")) == 1


async def test_acts_sharing_a_lock_stay_independent(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "STRIPES", 1)
    monkeypatch.setattr(ledger, "LOCK_TIMEOUT_SECONDS", 0.05)
    house.line.held = SENDING
    first = asyncio.create_task(house.act("send", **MAIL))
    await house.line.until_held()
    with pytest.raises(DeputizeError) as caught:
        await house.act("label", message="m2", name="Lunch")
    assert not isinstance(caught.value, OutcomeUnknown)  # it has not begun
    house.line.release()
    await first


async def test_recorded_result_is_encrypted(house: House) -> None:
    sent = await house.act("send", **MAIL)
    rows = await house.store.scan("act")
    assert rows and not any(sent["id"].encode() in value for _, value in rows)


async def test_reads_are_not_recorded(house: House) -> None:
    await house.act("search")
    assert await state(house) == []


# ------------------------------------------------------------- what is unknown stays unknown


async def test_failed_lookup_after_an_ambiguous_write_does_not_repeat_it(house: House) -> None:
    house.sandbox.switches.drop_after_commit.append("/gmail")
    house.line.answers["gmail.googleapis.com", "/gmail/v1/users/me/messages/lookup"] = [broken()] * 3
    with pytest.raises(OutcomeUnknown):
        await house.act("careful", **MAIL)
    with pytest.raises(OutcomeUnknown):
        await house.act("careful", **MAIL)
    assert house.mails == 1


@pytest.mark.parametrize("refusal", [401, 403, 404, 429])
async def test_refused_lookup_does_not_repeat_an_ambiguous_write(house: House, refusal: int) -> None:
    house.sandbox.switches.drop_after_commit.append("/gmail")
    body = {"error": {"errors": [{"reason": "insufficientPermissions"}]}} if refusal == 403 else {}
    house.line.answers["gmail.googleapis.com", "/gmail/v1/users/me/messages/lookup"] = [answer(refusal, body)] * 4
    for _ in range(2):
        with suppress(DeputizeError):
            await house.act("careful", **MAIL)
    assert house.mails == 1


@pytest.mark.parametrize("failures", [[503] * 3, [401] * 2], ids=["no answer", "a refused token"])
async def test_failed_lookup_after_a_crash_keeps_the_note(house: House, failures: list[int]) -> None:
    """Claimed and noted by a process that died; the next one's lookup fails, and a later one's succeeds."""
    await _interrupted(house)
    house.line.answers[DRAFTS] = [answer(status) for status in failures]
    with pytest.raises(DeputizeError):
        await house.act("two_step", **MAIL)
    await house.act("two_step", **MAIL)
    assert house.mails == 1


async def _interrupted(house: House) -> None:
    """A two-step act whose draft was created, and whose process died before recording it."""
    house.line.held, house.line.held_after = DRAFT_SENDING, True
    acting = asyncio.create_task(house.act("two_step", **MAIL))
    await house.line.until_held()
    [row] = await house.deputy.vault.scan("act")
    acting.cancel()
    with suppress(asyncio.CancelledError):
        await acting
    house.line.release()
    [now] = await house.deputy.vault.scan("act")
    assert await house.deputy.vault.swap(now, row.json)  # as kill -9 leaves it
    assert row.json["state"] == "claimed" and house.mails == 1
    house.line.seen.clear()


async def test_interrupted_act_with_a_note_finds_that_it_was_done(house: House) -> None:
    await _interrupted(house)
    assert await house.act("two_step", **MAIL) == {"sent": True, "found": True}
    assert house.mails == 1


async def test_act_that_failed_without_effect_may_run_again(house: House) -> None:
    house.line.answers[SENDING] = [answer(400, {"error": {"errors": [{"reason": "invalidArgument"}]}})]
    with pytest.raises(DeputizeError):
        await house.act("send", **MAIL)
    assert await state(house) == []
    await house.act("send", **MAIL)
    assert house.mails == 1


async def test_failure_after_a_partial_write_makes_the_act_unknown(house: House) -> None:
    """A run that left a note is resumed where it stopped: one draft, one mail, however often it is run again."""
    house.line.answers[DRAFT_SENDING] = [answer(400, {"error": {"errors": [{"reason": "invalidArgument"}]}})]
    with pytest.raises(OutcomeUnknown):
        await house.act("two_step", **MAIL)
    assert house.mails == 0
    for _ in range(2):
        await house.act("two_step", **MAIL)
    assert house.mails == 1 and house.sandbox.mailbox("alice@example.test").drafts() == []


# ------------------------------------------------------------- cancelled


@pytest.mark.parametrize("after", [False, True])
async def test_cancelled_write_is_unknown_and_not_repeated(house: House, after: bool) -> None:
    house.line.held, house.line.held_after = SENDING, after
    acting = asyncio.create_task(house.act("send", **MAIL))
    await house.line.until_held()
    acting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await acting
    house.line.release()
    with pytest.raises(OutcomeUnknown):
        await house.act("send", **MAIL)
    assert house.mails == int(after) and house.line.count(SENDING) == 1


async def test_act_cancelled_before_its_write_may_run_again(house: House) -> None:
    house.line.held = ("gmail.googleapis.com", "/gmail/v1/users/me/messages")
    acting = asyncio.create_task(house.act("look_then_send", **MAIL))
    await house.line.until_held()
    acting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await acting
    house.line.release()
    assert (await house.act("look_then_send", **MAIL))["id"] and house.mails == 1


async def test_cancelled_act_has_an_audit_result(house: House) -> None:
    house.line.held = SENDING
    acting = asyncio.create_task(house.act("send", **MAIL))
    await house.line.until_held()
    acting.cancel()
    await asyncio.gather(acting, return_exceptions=True)
    house.line.release()
    last = house.deputy.audit.rows()[-1]
    assert last["event"] == "act.result" and last["decision"] not in ("done", "")


# ------------------------------------------------------------- when the store fails


async def test_act_is_not_sent_when_its_claim_cannot_be_written(house: House) -> None:
    house.store.failing["insert", "act"] = 1
    with pytest.raises(DeputizeError) as caught:
        await house.act("send", **MAIL)
    assert caught.value.code == "store_unavailable" and house.line.count(SENDING) == 0
    await house.act("send", **MAIL)
    assert house.mails == 1


async def test_unwritten_outcome_is_returned_and_not_repeated(house: House) -> None:
    house.store.failing["swap", "act"] = 2
    sent = await house.act("send", **MAIL)
    with pytest.raises(DeputizeError) as caught:  # it cannot be written yet
        await house.act("send", **MAIL)
    assert caught.value.code == "store_unavailable"
    assert await house.act("send", **MAIL) == sent
    assert house.mails == 1 and "ledger.save_failed" in house.events() and not house.deputy.ledger.unsaved


async def test_unwritten_outcome_is_written_later_in_the_background(house: House) -> None:
    house.store.failing["swap", "act"] = 1
    sent = await house.act("send", **MAIL)
    await house.deputy.ledger.unsaved.settle_all()
    [row] = await house.deputy.vault.scan("act")
    assert row.json["state"] == "done" and row.json["result"] == sent


async def test_unwritten_unknown_outcome_is_raised_as_unknown(house: House) -> None:
    house.sandbox.switches.drop_after_commit.append("/gmail")
    house.store.failing["swap", "act"] = 1
    for _ in range(2):
        with pytest.raises(OutcomeUnknown):
            await house.act("send", **MAIL)
    assert house.mails == 1


async def test_act_stops_when_its_note_cannot_be_written(house: House) -> None:
    house.store.failing["swap", "act"] = 1
    with pytest.raises(DeputizeError):
        await house.act("two_step", **MAIL)
    with suppress(DeputizeError):
        await house.act("two_step", **MAIL)
    assert house.mails <= 1 and house.line.count(DRAFTS, "POST") <= 3


# ------------------------------------------------------------- kill -9

DYING = """
import asyncio, os, signal, sys
from pathlib import Path
from deputize.core import Call, allow_all
from deputize.sandbox import Sandbox
from tests.support.sandbox_deputy import build, new_vault
from tests.support.gmail_toolkit import MAIL, gmail

folder, tool, place, when = Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]

async def main():
    sandbox = Sandbox(state=folder / "sandbox.json")
    inner = sandbox.transport()
    handle = inner.handle_async_request

    async def handling(request):
        here = request.method == "POST" and request.url.path.endswith(place)
        if here and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        response = await handle(request)
        if here and when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return response

    inner.handle_async_request = handling
    vault = await new_vault(folder / "vault" / "vault.sqlite", b"k" * 32)
    deputy = await build(vault=vault, toolkits=[gmail], transport=inner, policy=allow_all)
    print(await deputy.act("gmail_" + tool, MAIL, user="alice", call=Call("t", "m", "c")), flush=True)
    await deputy.close()

asyncio.run(main())
"""


async def _killed(folder: Path, tool: str, place: str, when: str) -> None:
    """Alice is connected; a process died in the middle of her act."""
    sandbox = Sandbox(state=folder / "sandbox.json")
    deputy = await build(sandbox, vault=await new_vault(folder / "vault" / "vault.sqlite", b"k" * 32), toolkits=[gmail])
    await connect(deputy, sandbox, *ALL)
    await deputy.close()
    command = [sys.executable, "-c", DYING, str(folder), tool, place, when]
    ended = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == -signal.SIGKILL and ended.stdout == "", ended.stderr


async def _again(folder: Path, tool: str) -> tuple[Any, int]:
    """Return what another process is told about the same act, and how many mails there are."""
    sandbox = Sandbox(state=folder / "sandbox.json")
    vault = await new_vault(folder / "vault" / "vault.sqlite", b"k" * 32)
    deputy = await build(sandbox, vault=vault, toolkits=[gmail], policy=allow_all)
    try:
        said: Any = await deputy.act(f"gmail_{tool}", MAIL, user="alice", call=Call("t", "m", "c"))
    except DeputizeError as e:
        said = type(e)
    finally:
        await deputy.close()
    return said, len(sandbox.sent("alice@example.test"))


@pytest.mark.parametrize(("when", "sent"), [pytest.param("before", 0, marks=pytest.mark.processes), ("after", 1)])
async def test_W11_act_of_a_killed_process_is_unknown_and_not_repeated(tmp_path: Path, when: str, sent: int) -> None:
    await _killed(tmp_path, "send", "/messages/send", when)
    for _ in range(2):
        assert await _again(tmp_path, "send") == (OutcomeUnknown, sent)


@pytest.mark.processes
@pytest.mark.parametrize(("when", "found"), [("before", True), ("after", True)])
async def test_W11_two_step_act_of_a_killed_process_is_finished_once(tmp_path: Path, when: str, found: bool) -> None:
    await _killed(tmp_path, "two_step", "/drafts/send", when)
    for _ in range(2):
        assert await _again(tmp_path, "two_step") == ({"sent": True, "found": found}, 1)


@pytest.mark.processes
async def test_W11_two_step_act_killed_before_its_note_is_unknown(tmp_path: Path) -> None:
    await _killed(tmp_path, "two_step", "/drafts", "after")
    assert await _again(tmp_path, "two_step") == (OutcomeUnknown, 0)


# ------------------------------------------------------------- time


async def test_recorded_outcome_expires_after_a_day(house: House) -> None:
    await house.act("send", **MAIL)
    house.clock.now += ledger.OUTCOME_TTL - 1
    await house.act("send", **MAIL)
    assert house.mails == 1
    house.clock.now += 2
    await house.act("send", **MAIL)
    assert house.mails == 2


async def test_sweep_keeps_unexpired_outcomes(house: House) -> None:
    await house.act("send", **MAIL)
    assert await house.deputy.sweeper.turn() == 0 and await state(house) == ["done"]
    house.clock.now += 2 * ledger.OUTCOME_TTL
    assert await house.deputy.sweeper.turn() > 0 and await state(house) == []
    assert (await house.deputy.vault.find_grant(User("alice"), "google", "google")) is not None


# ------------------------------------------------------------- notes, run after run


def noting() -> tuple[Toolkit, list[Any]]:
    """Return a tool that adds one note at each run, and the notes it was given."""
    kit, told = Toolkit("notes", "google", api="gmail"), list[Any]()

    @kit.tool(needs=[any_of(SEND)], effect=Effect.SENDS, shows=False)
    def send(*, run: Run) -> Steps:
        """Note, and send."""
        told.append(run.noted)
        yield SaveNote({f"run{len(told)}": len(told)})
        return (yield Request("POST", "/users/me/messages/send", json={}))

    return kit, told


async def test_resumed_run_keeps_the_notes_of_earlier_runs() -> None:
    """Otherwise the third run would repeat what the first one has prepared."""
    kit, told = noting()
    sandbox = Sandbox()
    line = Line(sandbox.transport())
    async with await build(sandbox, toolkits=[kit], transport=line, policy=allow_all) as deputy:
        await connect(deputy, sandbox, "send")
        line.answers[SENDING] = [broken(), broken(), answer(200, {"id": "1"})]
        for _ in range(2):
            with pytest.raises(OutcomeUnknown):
                await deputy.act("notes_send", {}, user="alice", call=Call("t", "m", "c"))
        assert await deputy.act("notes_send", {}, user="alice", call=Call("t", "m", "c")) == {"id": "1"}
        assert told == [None, {"run1": 1}, {"run1": 1, "run2": 2}]


async def test_act_resumed_just_before_expiry_is_still_known_afterwards() -> None:
    kit, told = Toolkit("notes", "google", api="gmail"), list[Any]()

    @kit.tool(needs=[any_of(SEND)], effect=Effect.SENDS, shows=False)
    def send(*, run: Run) -> Steps:
        """Note once, and send."""
        told.append(run.noted)
        if run.noted is None:
            yield SaveNote({"draft": "1"})
        yield Request("POST", "/users/me/messages/send", json={})

    sandbox, clock = Sandbox(), Clock(time.time())
    line = Line(sandbox.transport())
    async with await build(sandbox, toolkits=[kit], transport=line, policy=allow_all, clock=clock) as deputy:
        await connect(deputy, sandbox, "send")
        line.answers[SENDING] = [broken()] * 3
        for later in (0, ledger.OUTCOME_TTL - 10, 20):
            clock.now += later
            with suppress(DeputizeError):
                await deputy.act("notes_send", {}, user="alice", call=Call("t", "m", "c"))
    assert told == [None, {"draft": "1"}, {"draft": "1"}]
