"""The approval in the resume of a single write is recorded before the act runs, and no crash sends a write twice."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from langgraph.types import Command

from deputize.core import Approval, Call, DeputizeError, Deputy, StoreUnavailable, Verdict
from deputize.core.vault.stores.sqlite.store import SqliteStore
from deputize.core.vault.stores.sqlite.writer import Write, Writer
from deputize.sandbox import Sandbox
from tests.support.graphs import SEND, Context, Graph, approvals_of, asking, config, plain, tool_messages
from tests.support.sandbox_deputy import Clock, build, connect, new_vault

ROOT = Path(__file__).parents[2]
ALICE, BOB = Context("alice"), Context("bob")
MINE = "alice@example.test"


class World:
    """Alice's graph, waiting for her approval."""

    def __init__(self, sandbox: Sandbox, deputy: Deputy, graph: Graph, clock: Clock) -> None:
        self.sandbox, self.deputy, self.graph, self.clock = sandbox, deputy, graph, clock

    async def resume(
        self, what: Any = "approve", who: Context = ALICE, ids: Sequence[str] = (), form: str = "bare"
    ) -> Any:
        """What came of it: the answer's status and what it is about, or what the graph pauses for, or the error.

        ``form``: a bare resume, or a ``map`` of interrupt ids.
        """
        asked = ids or [one["approval_id"] for one in await approvals_of(self.graph, config())]
        try:
            said = {"decisions": dict.fromkeys(asked, what)}
            [pause] = (await self.graph.aget_state(config())).interrupts if form == "map" else [None]
            answer: Command[Any] = Command(resume={pause.id: said} if pause else said)
            state = await self.graph.ainvoke(answer, config(), context=who)
        except DeputizeError as error:
            return error.code
        if found := tool_messages(state).get("send"):
            return found.status, (found.artifact or {}).get("error", "")
        return [set(one) - {"truncated"} for one in await approvals_of(self.graph, config())]

    async def left(self) -> dict[str, Any]:
        """Return everything that is observable afterwards."""
        rows = sorted(row.json["status"] for row in await self.deputy.vault.scan("approval"))
        acts = sorted(row.json["state"] for row in await self.deputy.vault.scan("act"))
        mine = [row for row in self.deputy.audit.rows() if row.get("tool") == SEND["name"]]
        told = [row["event"] for row in mine if row["event"].startswith(("approval.", "act."))]
        waits = [one.tool for one in await self.deputy.pending("alice") if isinstance(one, Approval)]
        return {"rows": rows, "acts": acts, "told": told, "waits": waits, "sent": len(self.sandbox.sent(MINE))}


async def begun(sandbox: Sandbox, deputy: Deputy, clock: Clock) -> World:
    await connect(deputy, sandbox, "readonly", "send")
    world = World(sandbox, deputy, plain(deputy), clock)
    await world.graph.ainvoke(asking(SEND), config(), context=ALICE)
    return world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    sandbox, clock, vault = Sandbox(), Clock(time.time()), await new_vault(tmp_path / "vault.sqlite", b"k" * 32)
    async with await build(sandbox, vault=vault, clock=clock) as deputy:
        yield await begun(sandbox, deputy, clock)


@pytest.mark.usefixtures("whoever_resumes")
async def test_approval_of_unknown_id_decides_nothing(world: World) -> None:
    [one] = [one["approval_id"] for one in await approvals_of(world.graph, config())]
    unknown = f"{one[:-8]}00000000"
    assert isinstance(await world.resume(ids=[unknown]), list), "the pause stays open"
    assert await world.left() == {
        "rows": ["pending"],
        "acts": [],
        "told": ["approval.requested"],
        "waits": [SEND["name"]],
        "sent": 0,
    }
    assert await world.resume(ids=[one, unknown]) == ("success", "")


@pytest.mark.usefixtures("whoever_resumes")
@pytest.mark.parametrize("what", ["approve", "reject"])
async def test_decision_is_recorded_when_policy_no_longer_asks(what: str, world: World) -> None:
    world.deputy.policy = lambda act: Verdict.ALLOW
    came, left = await world.resume(what), await world.left()
    assert came == (("success", "") if what == "approve" else ("error", "declined"))
    assert left["rows"] == ["used" if what == "approve" else "rejected"]
    assert left["sent"] == (what == "approve")


@pytest.mark.usefixtures("whoever_resumes")
async def test_resume_sends_nothing_when_the_act_was_done_elsewhere(world: World) -> None:
    policy, world.deputy.policy = world.deputy.policy, lambda act: Verdict.ALLOW
    [call] = [row.json for row in await world.deputy.vault.scan("approval")]
    message = (await world.graph.aget_state(config())).values["messages"][1].id
    where = Call(call["thread"], message, "send")
    await world.deputy.act(SEND["name"], SEND["args"], user="alice", call=where)
    world.deputy.policy = policy
    assert await world.resume() == ("success", "")
    assert (await world.left())["sent"] == 1


async def test_approval_is_recorded_in_its_own_transaction_before_the_claim(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    transactions, commit = list[list[str]](), Writer.commit

    def noting(self: Writer, writes: Sequence[Write]) -> Any:
        places = [str(value) for write in writes for value in write.values if isinstance(value, str)]
        transactions.append([place.partition("/")[0] for place in places])
        return commit(self, writes)

    monkeypatch.setattr(Writer, "commit", noting)
    assert await world.resume() == ("success", "")
    kinds = [kind for one in transactions for kind in one if kind in ("act", "approval")]
    assert kinds == ["approval", "act", "approval", "act"], "the yes, the claim with the used yes, the outcome"
    assert transactions[0] == ["approval"] and len(transactions) <= 4


async def of_child(folder: Path, step: str) -> dict[str, Any] | int:
    """Return the output of a process that ran this step, or how the process ended."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.approve_child", str(folder), step,
        stdout=subprocess.PIPE, cwd=ROOT, env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    shown, _ = await asyncio.wait_for(child.communicate(), 60)
    return dict(json.loads(shown)) if child.returncode == 0 else int(child.returncode or 0)


@pytest.mark.processes
@pytest.mark.parametrize("then", ["wake", "nudge"])
@pytest.mark.parametrize("where", ["heard", "recorded", "claim", "heard map", "recorded map", "written", "sent"])
async def test_killed_process_sends_once_and_keeps_the_approval(where: str, then: str, tmp_path: Path) -> None:
    """``wake`` resumes with nothing: LangGraph hands over the bare value of the killed run, which may be anybody's.
    ``nudge`` resumes with a value that decides nothing: LangGraph keeps it instead of the bare value. It keeps no value
    of a resume by interrupt ids (``map``)."""
    asked, approved, used = "approval.requested", "approval.approved", "approval.used"
    assert isinstance(await of_child(tmp_path, "ask"), dict)
    assert await of_child(tmp_path, where) == -signal.SIGKILL
    after = await of_child(tmp_path, then)
    assert isinstance(after, dict)
    told = after.pop("told")
    if where.startswith("heard"):
        assert after == {"answers": [], "pauses": 1, "rows": ["pending"], "sent": 0} and told == [asked]
        after = await of_child(tmp_path, "approve")
        assert isinstance(after, dict)
        told = after.pop("told")
        assert told == [asked, approved, used]
    elif where.startswith(("recorded", "claim")):
        assert [event for event in told if event != approved] == [asked, used], "a kill may lose the last audit rows"
    else:
        assert (used in told) == (where == "sent")
    if where in ("written", "sent"):
        assert after["rows"] == ["used"] and after["sent"] == (where == "sent") and after["pauses"] == 0
    else:
        assert after == {"answers": ["success"], "pauses": 0, "rows": ["used"], "sent": 1}


@pytest.mark.usefixtures("whoever_resumes")
@pytest.mark.parametrize("form", ["bare", "map"])
async def test_approval_is_used_after_a_full_store_recovers(
    form: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    swap = SqliteStore.swap

    async def full(self: SqliteStore, kind: str, key: str, old: bytes, new: bytes) -> bool:
        if kind == "approval":
            raise StoreUnavailable("The vault's disk is full.")
        return await swap(self, kind, key, old, new)

    with monkeypatch.context() as patches:
        patches.setattr(SqliteStore, "swap", full)
        assert await world.resume(form=form) == "store_unavailable"
        assert (await world.left())["rows"] == ["pending"]
    state = await world.graph.ainvoke(None, config(), context=ALICE)
    assert tool_messages(state)["send"].status == "success"
    left = await world.left()
    assert left["sent"] == 1 and left["rows"] == ["used"]
    told = [event for event in left["told"] if event.startswith("approval.")]
    assert told == ["approval.requested", "approval.approved", "approval.used"]


@pytest.mark.usefixtures("whoever_resumes")
@pytest.mark.parametrize("turns", range(0, 120, 6))
async def test_cancelled_resume_sends_once_when_the_graph_continues(turns: int) -> None:
    sandbox, clock = Sandbox(), Clock(time.time())
    async with await build(sandbox, clock=clock) as deputy:
        world = await begun(sandbox, deputy, clock)
        run = asyncio.create_task(world.resume())
        for _ in range(turns):
            await asyncio.sleep(0)
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)
        await asyncio.sleep(0.02)
        left = await world.left()
        assert left["told"].count("approval.approved") == (left["rows"] != ["pending"])
        assert left["rows"] == ["used"] or not left["sent"]
        await world.graph.ainvoke(None, config(), context=ALICE)
        while (await world.graph.aget_state(config())).interrupts:
            assert left["rows"] == ["pending"], "whoever has said yes is not asked again"
            await world.resume()
        left = await world.left()
        assert left["sent"] <= 1 and left["told"].count("approval.approved") == 1 and left["rows"] == ["used"]
