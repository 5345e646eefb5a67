"""An act's claim and the use of its approval are written together, in that order, and never only one of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from deputize.core import ApprovalRequired, Call, Deputy, OutcomeUnknown, StoreUnavailable
from deputize.core.approvals.record import ApprovalRecord
from deputize.core.approvals.repository import Claim
from deputize.core.vault.seal import Sealer
from deputize.core.vault.stores.sqlite.store import SqliteStore
from deputize.core.vault.stores.sqlite.writer import Write, Writer
from deputize.sandbox import Sandbox
from deputize.sandbox.deputies import give_grant
from tests.core.approvals.test_mandates import MODIFY, World
from tests.support.graphs import SEND
from tests.support.kill_points import Died, Fate
from tests.support.sandbox_deputy import build, connect, new_vault

CALL = Call("thread", "message", "1")


@pytest.fixture
async def deputy(tmp_path: Path) -> Any:
    vault = await new_vault(tmp_path / "vault" / "vault.sqlite", b"k" * 32)
    async with await build(sandbox := Sandbox(), vault=vault) as deputy:
        await connect(deputy, sandbox, "readonly", "send")
        yield deputy


async def approved(deputy: Deputy) -> None:
    with pytest.raises(ApprovalRequired) as asked:
        await deputy.act(SEND["name"], SEND["args"], user="alice", call=CALL)
    await deputy.decide(asked.value.approval, "approve", by="alice")


async def test_claim_is_first_in_the_shared_transaction(deputy: Deputy, monkeypatch: pytest.MonkeyPatch) -> None:
    await approved(deputy)
    transactions, commit = list[list[str]](), Writer.commit

    def noting(self: Writer, writes: Sequence[Write]) -> Any:
        places = [str(value) for write in writes for value in write.values if isinstance(value, str)]
        transactions.append([place.partition("/")[0] for place in places])
        return commit(self, writes)

    monkeypatch.setattr(Writer, "commit", noting)
    await deputy.act(SEND["name"], SEND["args"], user="alice", call=CALL)
    kinds = [kind for one in transactions for kind in one if kind in ("act", "approval")]
    assert kinds == ["act", "approval", "act"], "the claim, the yes, the outcome"
    assert len(transactions) <= 3  # where the writer is quick enough to begin with the claim alone
    assert isinstance(deputy.vault.store, SqliteStore) and deputy.vault.store.in_order


async def test_nothing_is_encrypted_between_claim_and_approval_writes(
    deputy: Deputy, monkeypatch: pytest.MonkeyPatch
) -> None:
    await approved(deputy)
    steps, seal, write = list[str](), Sealer.seal, SqliteStore._write

    def sealing(self: Sealer, kind: str, *rest: Any) -> bytes:
        steps.append(f"seal {kind}")
        return seal(self, kind, *rest)

    async def writing(self: SqliteStore, statement: str, *values: object) -> bool:
        steps.append(f"write {statement.partition(' ')[0]}")
        return await write(self, statement, *values)

    monkeypatch.setattr(Sealer, "seal", sealing)
    monkeypatch.setattr(SqliteStore, "_write", writing)
    await deputy.act(SEND["name"], SEND["args"], user="alice", call=CALL)
    at = steps.index("write INSERT")
    assert steps[at - 2 : at + 2] == ["seal approval", "seal act", "write INSERT", "write UPDATE"]


def made_by(claim: Callable[[], Awaitable[None]]) -> Claim:
    async def make(_: object) -> bool:
        await claim()
        return True

    return Claim(make, lambda write: None)


async def consuming(deputy: Deputy, claim: Callable[[], Awaitable[None]], times: int = 1) -> list[bool]:
    """Use an approval this many times at once, with this claim; return whether each succeeded."""
    await approved(deputy)
    [row] = await deputy.vault.scan("approval")
    record, rows = ApprovalRecord.of(row), deputy.approvals.rows
    act = await deputy.resolver.resolve(SEND["name"], SEND["args"], "alice", None, CALL, "")
    return await asyncio.gather(*(rows.consume(record, act, made_by(claim)) for _ in range(times)))


@pytest.mark.parametrize("in_order", [True, False])
async def test_failed_claim_write_leaves_the_approval_unused(
    in_order: bool, deputy: Deputy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SqliteStore, "in_order", in_order)

    async def claim() -> None:
        raise StoreUnavailable("The disk is full.")

    with pytest.raises(StoreUnavailable):
        await consuming(deputy, claim)
    [left] = await deputy.vault.scan("approval")
    assert left.json["status"] == "approved" and "act" not in left.json


@pytest.mark.parametrize("in_order", [True, False])
async def test_consumed_approval_cannot_be_consumed_again(
    in_order: bool, deputy: Deputy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SqliteStore, "in_order", in_order)
    claims = list[int]()

    async def claim() -> None:
        claims.append(1)

    both = await consuming(deputy, claim, times=2)
    assert sorted(both) == [False, True] and len(claims) == 2


async def test_store_without_transactions_is_written_in_sequence(
    deputy: Deputy, monkeypatch: pytest.MonkeyPatch
) -> None:
    await approved(deputy)
    monkeypatch.setattr(SqliteStore, "in_order", False)
    steps, insert, swap = list[str](), SqliteStore.insert, SqliteStore.swap

    async def inserting(self: SqliteStore, kind: str, key: str, value: bytes) -> bool:
        done = await insert(self, kind, key, value)
        steps.append(f"inserted {kind}")
        return done

    async def swapping(self: SqliteStore, kind: str, key: str, old: bytes, new: bytes) -> bool:
        steps.append(f"swaps {kind}")
        return await swap(self, kind, key, old, new)

    monkeypatch.setattr(SqliteStore, "insert", inserting)
    monkeypatch.setattr(SqliteStore, "swap", swapping)
    await deputy.act(SEND["name"], SEND["args"], user="alice", call=CALL)
    of_the_act = [one for one in steps if one.split()[1] in ("act", "approval")]
    assert of_the_act == ["inserted act", "swaps approval", "swaps act"]


async def test_claim_goes_if_the_yes_cannot_be_used(deputy: Deputy, monkeypatch: pytest.MonkeyPatch) -> None:
    await approved(deputy)
    monkeypatch.setattr(SqliteStore, "in_order", False)
    swap = SqliteStore.swap

    async def full(self: SqliteStore, kind: str, *rest: Any) -> bool:
        if kind == "approval":
            raise StoreUnavailable("The vault's disk is full.")
        return await swap(self, kind, *rest)

    with monkeypatch.context() as patches:
        patches.setattr(SqliteStore, "swap", full)
        with pytest.raises(StoreUnavailable):
            await deputy.act(SEND["name"], SEND["args"], user="alice", call=CALL)
    assert await deputy.vault.scan("act") == []
    assert await deputy.act(SEND["name"], SEND["args"], user="alice", call=CALL)


async def test_approval_consumed_on_a_full_disk_is_released_at_the_next_run(
    deputy: Deputy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk had room for the approval only, neither for the claim before it nor for the one after it."""
    await approved(deputy)
    swap, swaps = SqliteStore.swap, list[str]()

    async def full(*_: Any) -> bool:
        raise StoreUnavailable("The vault's disk is full.")

    async def swapping(self: SqliteStore, kind: str, key: str, old: bytes, new: bytes) -> bool:
        swaps.append(kind)
        return await (swap(self, kind, key, old, new) if swaps == ["approval"] else full())

    with monkeypatch.context() as patches:
        patches.setattr(SqliteStore, "insert", full)
        patches.setattr(SqliteStore, "swap", swapping)
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                await deputy.act(SEND["name"], SEND["args"], user="alice", call=CALL)
    assert swaps == ["approval"] * 3 and len(deputy.ledger.unsaved) == 1
    assert await deputy.act(SEND["name"], SEND["args"], user="alice", call=CALL)
    assert not len(deputy.ledger.unsaved)


async def test_failed_claim_leaves_the_approval_when_its_caller_is_cancelled(
    deputy: Deputy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store was locked while both were written, and too long while the claim was."""
    await approved(deputy)
    asked = asyncio.Event()

    async def locked(*_: Any) -> bool:
        asked.set()
        await asyncio.sleep(0.05)
        raise StoreUnavailable("The vault is locked by another program.")

    with monkeypatch.context() as patches:
        patches.setattr(SqliteStore, "insert", locked)
        run = asyncio.create_task(deputy.act(SEND["name"], SEND["args"], user="alice", call=CALL))
        await asked.wait()
        await asyncio.sleep(0.01)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        await asyncio.sleep(0.1)
        async with asyncio.timeout(10):
            while (await deputy.vault.scan("approval"))[0].json["status"] != "approved":  # noqa: ASYNC110 - its store's
                await asyncio.sleep(0.01)
    assert await deputy.act(SEND["name"], SEND["args"], user="alice", call=CALL)


async def test_consumed_approval_without_a_claim_stays_after_its_expiry(deputy: Deputy) -> None:
    await approved(deputy)
    await deputy.act(SEND["name"], SEND["args"], user="alice", call=CALL)
    [row] = await deputy.vault.scan("act")
    await deputy.vault.delete(row)
    with pytest.raises(OutcomeUnknown):
        await deputy.act(SEND["name"], SEND["args"], user="alice", call=CALL)
    [used] = await deputy.vault.scan("approval")
    await deputy.vault.swap(used, used.json | {"expires": 0})
    with pytest.raises(OutcomeUnknown):
        await deputy.act(SEND["name"], SEND["args"], user="alice", call=CALL)


async def test_crash_between_failed_claim_and_release_is_unknown_and_sends_nothing() -> None:
    world, fate = World(), Fate()
    world.deputy, killed = await world.process(), await world.process(fate)
    give_grant(world.sandbox, world.deputy, "alice", [MODIFY], provider="google", email="alice@example.test")
    await world.deputy.decide(await world.asked(id="a"), "approve", by="alice")
    store, alive = killed.vault.store, world.deputy
    swap = store.swap

    async def full(*_: Any) -> bool:
        raise StoreUnavailable("The disk is full.")

    async def swapped(*given: Any) -> bool:
        done = await swap(*given)
        fate.dead = True  # before anything else is written
        return done

    store.insert, store.swap = full, swapped  # type: ignore[method-assign, assignment]
    world.deputy = killed
    with pytest.raises(Died):
        await world.act(id="a")
    world.deputy = alive
    assert ([row.json["status"] for row in await alive.vault.scan("approval")], world.sent) == (["used"], 0)
    for _ in range(2):
        with pytest.raises(OutcomeUnknown):
            await world.act(id="a")
    assert world.sent == 0
