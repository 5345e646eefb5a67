"""The number of pending requests of one user is limited; more are refused, and none replaces another."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from deputize.core import Approval, ApprovalRequired, Call, Deputy, RateLimited, User
from deputize.core.approvals.pending import MAX_PENDING_APPROVALS
from deputize.core.approvals.record import APPROVAL_TTL
from deputize.core.vault.stores.sqlite.store import SqliteStore
from deputize.core.vault.vault import Vault
from deputize.sandbox import Sandbox
from tests.support.gmail_toolkit import ALL, MAIL, gmail
from tests.support.sandbox_deputy import PAGES, Clock, build, connect


@pytest.fixture
async def deputy() -> AsyncIterator[Deputy]:
    sandbox = Sandbox(clock=(clock := Clock(1_800_000_000.0)))
    async with await build(sandbox, toolkits=[gmail], clock=clock) as deputy:
        for user in ("alice", "bob"):
            await connect(deputy, sandbox, *ALL, user=user)
        yield deputy


async def asked(deputy: Deputy, number: int, user: str = "alice") -> Approval:
    with pytest.raises(ApprovalRequired) as needed:
        await deputy.act("gmail_send", MAIL, user=user, call=Call("t", "m", str(number)))
    return needed.value.approval


async def test_approval_above_the_pending_limit_is_refused_and_lists_the_pending(deputy: Deputy) -> None:
    before = [await asked(deputy, n) for n in range(MAX_PENDING_APPROVALS)]
    for call in ("more", "more"):
        with pytest.raises(RateLimited, match="20 approvals are pending") as refused:
            await deputy.act("gmail_send", MAIL, user="alice", call=Call("t", "m", call))
        assert f"{PAGES}/connections" in refused.value.hint and refused.value.retry_after == APPROVAL_TTL
    [way] = await deputy.check_calls([("gmail_send", MAIL, Call("t", "m", "more"))], user="alice")
    assert isinstance(way, RateLimited)
    assert {one.id for one in await deputy.pending("alice")} == {one.id for one in before}
    assert (await asked(deputy, 0)).id == before[0].id, "what waits is asked about as before"
    await asked(deputy, 0, "bob")
    await deputy.decide(before[0], "reject", by="alice")
    await asked(deputy, 99)


async def test_expired_approvals_do_not_count_towards_the_limit(deputy: Deputy) -> None:
    for n in range(MAX_PENDING_APPROVALS):
        await asked(deputy, n)
    deputy.clock.now += APPROVAL_TTL  # type: ignore[attr-defined]
    for n in range(MAX_PENDING_APPROVALS):
        await asked(deputy, n)


async def test_call_whose_approval_has_expired_needs_room_like_a_new_one(deputy: Deputy) -> None:
    await asked(deputy, 0)
    deputy.clock.now += APPROVAL_TTL  # type: ignore[attr-defined]
    for n in range(MAX_PENDING_APPROVALS):
        await asked(deputy, n + 1)
    with pytest.raises(RateLimited):
        await deputy.act("gmail_send", MAIL, user="alice", call=Call("t", "m", "0"))


async def test_concurrent_requests_do_not_exceed_the_pending_limit(deputy: Deputy) -> None:
    calls = [deputy.act("gmail_send", MAIL, user="alice", call=Call("t", "m", str(n))) for n in range(30)]
    ended = await asyncio.gather(*calls, return_exceptions=True)
    assert [sum(isinstance(one, kind) for one in ended) for kind in (ApprovalRequired, RateLimited)] == [20, 10]
    assert len(await deputy.pending("alice")) == MAX_PENDING_APPROVALS


@pytest.mark.parametrize("stores", [1, 2])
async def test_two_requesters_of_one_user_do_not_exceed_the_pending_limit(stores: int, tmp_path: Path) -> None:
    sandbox = Sandbox(clock=(clock := Clock(1_800_000_000.0)))
    opened = [SqliteStore.open(tmp_path / "vault.db", create=True) for _ in range(stores)]
    made = [
        await build(sandbox, toolkits=[gmail], clock=clock, vault=await Vault.open(opened[n % stores], [b"k" * 32]))
        for n in range(2)
    ]
    await connect(made[0], sandbox, *ALL)
    waiting, turns = list[Approval](), random.Random(stores)  # noqa: S311
    for n in range(60):
        try:
            waiting.append(await asked(turns.choice(made), n))
        except RateLimited:
            assert len(waiting) == MAX_PENDING_APPROVALS
            await made[0].decide(waiting.pop(), "reject", by="alice")
        assert len(waiting) <= MAX_PENDING_APPROVALS
        if turns.random() < 0.2:
            await turns.choice(made).decide(waiting.pop(0), "reject", by="alice")
    for store in opened:
        await store.close()


async def test_past_decisions_are_not_decrypted_for_the_next_request(
    deputy: Deputy, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(3 * MAX_PENDING_APPROVALS):
        await deputy.decide(await asked(deputy, n), "reject", by="alice")
    opened, unsealed = list[str](), deputy.vault.unsealed

    def noted(kind: str, key: str, sealed: bytes) -> Any:
        opened.append(kind)
        return unsealed(kind, key, sealed)

    monkeypatch.setattr(deputy.vault, "unsealed", noted)
    for n in range(MAX_PENDING_APPROVALS):
        await asked(deputy, 1000 + n)
    monkeypatch.undo()
    assert opened.count("approval") <= MAX_PENDING_APPROVALS, "what was not known yet, once in twenty"
    with pytest.raises(RateLimited):
        await deputy.act("gmail_send", MAIL, user="alice", call=Call("t", "m", "more"))


async def test_decided_approvals_are_decrypted_once_and_pending_ones_always(
    deputy: Deputy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user who has answered hundreds of requests is asked the next one as fast as the first."""
    answered = [await asked(deputy, n) for n in range(5)]
    for one in answered:
        await deputy.decide(one, "reject", by="alice")
    opened = list[str]()
    unsealed = deputy.vault.unsealed

    def counting(kind: str, key: str, sealed: bytes) -> Any:
        opened.extend([key] if kind == "approval" else [])
        return unsealed(kind, key, sealed)

    monkeypatch.setattr(deputy.vault, "unsealed", counting)
    waits = await asked(deputy, 5)
    assert opened == [], "so few cannot be too many"
    assert len(await deputy.approvals.list_pending(User("alice"))) == 1
    opened.clear()
    for _ in range(2):
        assert [one.id for one in await deputy.approvals.list_pending(User("alice"))] == [waits.id]
    assert len(opened) == 2, "the one that waits, twice"
    await deputy.decide(answered[0].id, "reject", by="alice")
    await deputy.decide(waits, "approve", by="alice")
    assert await deputy.approvals.list_pending(User("alice")) == []
