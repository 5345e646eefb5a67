"""The claim of an act and the yes that it happens on, written together: in that order, and never one of them alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from deputize.core import ApprovalRequired, Call, Deputy, StoreUnavailable
from deputize.core.act.use_up import use_up
from deputize.core.vault.stores.sqlite import SqliteStore
from deputize.core.vault.stores.sqlite_writer import Writer
from deputize.core.vault.stores.writer_thread import Write
from deputize.core.vault.vault import Record, Vault
from deputize.sandbox import Sandbox
from tests.support.graphs import SEND
from tests.support.house import build, connect, new_vault

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


async def test_they_share_a_transaction_and_the_claim_is_first_in_it(
    deputy: Deputy, monkeypatch: pytest.MonkeyPatch
) -> None:
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


async def waiting(vault: Vault) -> Record:
    made = await vault.insert("approval", "one", {"status": "approved"})
    assert made is not None
    return made


@pytest.mark.parametrize("in_order", [True, False])
async def test_a_claim_that_cannot_be_written_leaves_the_yes(
    in_order: bool, deputy: Deputy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SqliteStore, "in_order", in_order)
    record = await waiting(deputy.vault)

    async def claim() -> None:
        raise StoreUnavailable("The disk is full.")

    with pytest.raises(StoreUnavailable):
        await use_up(deputy.vault, record, {"status": "used"}, claim)
    left = await deputy.vault.get("approval", "one")
    assert left is not None and left.json == {"status": "approved"}


@pytest.mark.parametrize("in_order", [True, False])
async def test_a_yes_that_another_was_quicker_to_use_is_not_used_again(
    in_order: bool, deputy: Deputy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SqliteStore, "in_order", in_order)
    record, claims = await waiting(deputy.vault), list[int]()

    async def claim() -> None:
        claims.append(1)

    both = await asyncio.gather(*(use_up(deputy.vault, record, {"status": "used"}, claim) for _ in range(2)))
    assert sorted(both) == [False, True] and len(claims) == 2


async def test_a_store_that_keeps_no_order_is_asked_for_one_after_the_other(
    deputy: Deputy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SqliteStore, "in_order", False)
    record, steps = await waiting(deputy.vault), list[str]()
    swap = deputy.vault.swap

    async def swapping(*given: Any) -> Any:
        steps.append("yes")
        return await swap(*given)

    async def claim() -> None:
        await asyncio.sleep(0.01)
        steps.append("claimed")

    monkeypatch.setattr(deputy.vault, "swap", swapping)
    assert await use_up(deputy.vault, record, {"status": "used"}, claim)
    assert steps == ["claimed", "yes"]
