"""Budgets of a policy file: acts that a period allows, counted in the vault."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from deputize.core import Act, ApprovalRequired, Call, DeputizeError, PolicyDenied, policy_file
from deputize.core.audit import Audit
from deputize.core.policy.budgets import KIND, period
from deputize.core.policy.policy_tests import act_of
from deputize.core.vault.stores import open_store
from deputize.core.vault.stores.postgres.address import Address
from deputize.core.vault.stores.postgres.schema import migrate
from deputize.core.vault.vault import Vault
from tests.core.policy.test_policy import Asking
from tests.core.policy.test_policy_file import written
from tests.support.faults import GMAIL_API, answer
from tests.support.gmail_toolkit import ALL, MAIL
from tests.support.postgres import postgres_server

NOW = 1_800_000_000.0
HEAD = 'version = 1\ndefault = "allow"\n'
BUDGET = HEAD + '[[budgets]]\nid = "mails-a-day"\nwhen = { effect = "sends" }\nper = ["user", "agent"]\nmax = 60\n'
TWO = BUDGET.replace("60", "2")


def act(message: str) -> Act:
    """Return one act of Alice."""
    made = act_of({"tool": "gmail_send", "effect": "sends"}, lambda name: None)
    return Act(**{**vars(made), "call": Call("t", message, "c")})


def quiet_audit(vault: Vault) -> Audit:
    """Return an audit in memory."""
    return Audit(None, vault.keys.audit)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Asking]:
    made = await Asking().begin()
    await made.connected(*ALL)
    made.deputy.policy = policy_file(written(tmp_path, TWO))
    yield made
    await made.deputy.close()


async def test_act_beyond_the_budget_is_denied_until_the_period_ends(house: Asking) -> None:
    for message in ("m1", "m2"):
        await house.act("send", message, **MAIL)
    with pytest.raises(PolicyDenied) as denied:
        await house.act("send", "m3", **MAIL)
    assert denied.value.rule == "mails-a-day"
    assert str(denied.value) == (
        "gmail_send is not allowed here: the budget of 2 calls a day is used up; free again at 2027-01-16 00:00 UTC."
    )
    assert await house.act("search")
    house.clock.now = datetime(2027, 1, 16, tzinfo=ZoneInfo("UTC")).timestamp()
    await house.act("send", "m3", **MAIL)
    assert house.mails == 3
    assert house.events().count("budget.spent") == 3


async def test_repeat_of_an_act_is_counted_once(house: Asking) -> None:
    for _ in range(5):
        await house.act("send", "m1", **MAIL)
    await house.act("send", "m2", **MAIL)
    assert house.mails == 2


async def test_act_that_did_nothing_is_given_back(house: Asking) -> None:
    for number in range(4):
        house.line.answers[GMAIL_API] = [answer(403, {"error": {"code": 403, "message": "no", "status": "X"}})]
        with pytest.raises(DeputizeError):
            await house.act("send", f"failing-{number}", **MAIL)
    assert house.events().count("budget.released") == 4
    for message in ("m1", "m2"):
        await house.act("send", message, **MAIL)
    assert house.mails == 2


async def test_concurrent_acts_never_exceed_the_budget(house: Asking) -> None:
    house.store.pause = 0.001
    found = await asyncio.gather(
        *(house.act("send", f"m{number}", **MAIL) for number in range(12)), return_exceptions=True
    )
    assert house.mails == 2 and sum(isinstance(one, PolicyDenied) for one in found) == 10


async def test_budget_that_asks_lets_the_user_approve_more(house: Asking, tmp_path: Path) -> None:
    house.deputy.policy = policy_file(written(tmp_path, TWO + 'then = "ask"\nreason = "Two mails a day."\n'))
    for message in ("m1", "m2"):
        await house.act("send", message, **MAIL)
    with pytest.raises(ApprovalRequired) as asked:
        await house.act("send", "m3", **MAIL)
    assert asked.value.approval.preview["operator's rule"].startswith("Two mails a day; free again at")
    await house.deputy.decide(asked.value.approval, "approve", by="alice")
    await house.act("send", "m3", **MAIL)
    assert house.mails == 3


async def test_other_agent_and_other_user_have_their_own_budget(house: Asking) -> None:
    for message in ("m1", "m2"):
        await house.act("send", message, **MAIL)
    await house.deputy.act("gmail_send", MAIL, user="alice", call=Call("t", "m3", "c"), agent="helper")
    assert house.mails == 3


async def test_erased_user_leaves_no_counter(house: Asking) -> None:
    await house.act("send", "m1", **MAIL)
    assert await house.deputy.vault.scan(KIND)
    await house.deputy.revoke("alice", "google")
    await house.deputy.erase("alice")
    assert not await house.deputy.vault.scan(KIND)


async def test_killed_between_count_and_claim_counts(house: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound is an upper bound: the act is counted, and its next run finds its own count."""
    judge = house.deputy.judge
    real = judge.spend

    async def killed(act: Act) -> None:
        await real(act)
        raise asyncio.CancelledError

    monkeypatch.setattr(judge, "spend", killed)
    with pytest.raises(asyncio.CancelledError):
        await house.act("send", "m1", **MAIL)
    monkeypatch.undo()
    await house.act("send", "m2", **MAIL)
    with pytest.raises(PolicyDenied):
        await house.act("send", "m3", **MAIL)
    assert house.mails == 1


def test_day_has_the_hours_of_its_zone() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    begins, ends = period(datetime(2026, 10, 25, 12, tzinfo=berlin).timestamp(), "day", berlin)
    assert ends - begins == 25 * 3600  # clocks are set back
    begins, ends = period(datetime(2026, 12, 2, 12, 30, tzinfo=berlin).timestamp(), "week", berlin)
    assert datetime.fromtimestamp(begins, berlin).isoformat() == "2026-11-30T00:00:00+01:00"
    begins, ends = period(NOW, "hour", berlin)
    assert begins <= NOW < ends and ends - begins == 3600


def start(command: list[str]) -> subprocess.Popen[str]:
    """Start a process that waits for a line."""
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


async def spend_in_processes(place: str, processes: int) -> None:
    """Let processes begin more acts than the budget allows, all at once, and check that exactly 60 were counted."""
    vault = await Vault.open(open_store(place, create=True), [b"k" * 32])
    command = [sys.executable, "-m", "tests.core.policy.budget_process", place]
    running = [start([*command, str(number), str(120 // processes)]) for number in range(processes)]
    counted = await asyncio.gather(*(asyncio.to_thread(one.communicate, "go\n", 60) for one in running))
    assert sum(int(out) for out, _ in counted) == 60
    [record] = await vault.scan(KIND)
    assert len(record.json["spent"]) == 60
    await vault.close()


@pytest.mark.processes
async def test_processes_together_never_exceed_the_budget(tmp_path: Path) -> None:
    await spend_in_processes(str(tmp_path / "vault.sqlite"), 4)


@pytest.mark.counterpart
@pytest.mark.processes
async def test_processes_on_postgres_never_exceed_the_budget() -> None:
    with postgres_server() as server:
        await asyncio.to_thread(migrate, Address.of(server.url))
        await spend_in_processes(server.url, 2)


async def test_daily_equal_calls_of_a_job_each_count_in_the_week(house: Asking, tmp_path: Path) -> None:
    """A job may give its call the same id each day. After the outcome is forgotten, it is another act."""
    house.deputy.policy = policy_file(written(tmp_path, TWO + 'every = "week"\n'))
    for _ in range(2):
        await house.act("send", "nightly", **MAIL)
        await house.act("send", "nightly", **MAIL)  # a repeat
        house.clock.now += 86400.0
        house.line.answers[GMAIL_API] = [answer(403, {"error": {"code": 403, "message": "no", "status": "X"}})]
        with pytest.raises(DeputizeError):  # gives back its own use only
            await house.act("send", "nightly", **MAIL)
    with pytest.raises(PolicyDenied):
        await house.act("send", "nightly", **MAIL)
    assert house.mails == 2
    assert [house.events().count(f"budget.{one}") for one in ("spent", "released")] == [3, 1]
