"""A yes that comes with the resume of one write alone: recorded with the act's claim, and heard again until it is."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from langgraph.types import Command

from deputize.core import Approval, Call, DeputizeError, Deputy, StoreUnavailable, Verdict
from deputize.core.act.approval import Approvals
from deputize.core.vault.stores.memory import MemoryStore
from deputize.core.vault.stores.sqlite import SqliteStore
from deputize.core.vault.stores.sqlite_writer import Writer
from deputize.core.vault.stores.writer_thread import Write
from deputize.sandbox import Sandbox
from tests.support.graphs import SEND, Context, Graph, approvals_of, asking, config, plain, tool_messages
from tests.support.house import Clock, build, connect, new_vault

ROOT = Path(__file__).parents[2]
ALICE, BOB = Context("alice"), Context("bob")
MINE = "alice@example.test"


class World:
    """Alice's graph, which waits for her yes."""

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
        return [set(one) - {"more"} for one in await approvals_of(self.graph, config())]

    async def left(self) -> dict[str, Any]:
        """All that anybody can see afterwards."""
        rows = sorted(row.json["status"] for row in await self.deputy.vault.scan("approval"))
        acts = sorted(row.json["state"] for row in await self.deputy.vault.scan("act"))
        told = [row["event"] for row in self.deputy.audit.rows() if row["event"].startswith(("approval.", "act."))]
        waits = [one.tool for one in await self.deputy.pending("alice") if isinstance(one, Approval)]
        return {"rows": rows, "acts": acts, "told": told, "waits": waits, "sent": len(self.sandbox.sent(MINE))}


async def begun(sandbox: Sandbox, deputy: Deputy, clock: Clock) -> World:
    await connect(deputy, sandbox, "readonly", "send")
    world = World(sandbox, deputy, plain(deputy), clock)
    await world.graph.ainvoke(asking(SEND), config(), context=ALICE)
    return world


async def says(world: World, *whats: Any, who: Context = ALICE, ids: Sequence[str] = ()) -> list[Any]:
    return [await world.resume(what, who, ids) for what in whats]


async def plainly(world: World) -> list[Any]:
    return await says(world, "approve")


async def no(world: World) -> list[Any]:
    return await says(world, "reject")


async def faulty_edit(world: World) -> list[Any]:
    return await says(world, {"decision": "edit", "arguments": {**SEND["args"], "to": 7}}, "approve")


async def edit(world: World) -> list[Any]:
    return await says(world, {"decision": "edit", "arguments": {**SEND["args"], "body": "No."}}, "approve")


async def by_a_stranger(world: World) -> list[Any]:
    old = [one["approval_id"] for one in await approvals_of(world.graph, config())]
    his = await says(world, "approve", who=BOB)
    return [his, await says(world, "approve", ids=old), await says(world, "approve")]


async def about_another(world: World) -> list[Any]:
    [one] = [one["approval_id"] for one in await approvals_of(world.graph, config())]
    return await says(world, "approve", ids=[f"{one[:-8]}00000000"])


async def and_about_another(world: World) -> list[Any]:
    [one] = [one["approval_id"] for one in await approvals_of(world.graph, config())]
    return await says(world, "approve", ids=[one, f"{one[:-8]}00000000"])


async def too_late(world: World) -> list[Any]:
    world.clock.now += 4000
    return await says(world, "approve", "approve")


async def denied(world: World) -> list[Any]:
    world.deputy.policy = lambda act: Verdict.DENY
    return await says(world, "approve")


async def unasked(world: World) -> list[Any]:
    world.deputy.policy = lambda act: Verdict.ALLOW
    return await says(world, "approve")


async def disconnected(world: World) -> list[Any]:
    await world.deputy.revoke("alice")
    return await says(world, "approve")


async def rejected_elsewhere(world: World) -> list[Any]:
    for one in await approvals_of(world.graph, config()):
        await world.deputy.decide(one["approval_id"], "reject", by="alice")
    return await says(world, "approve")


async def done_elsewhere(world: World) -> list[Any]:
    policy, world.deputy.policy = world.deputy.policy, lambda act: Verdict.ALLOW
    [call] = [row.json for row in await world.deputy.vault.scan("approval")]
    message = (await world.graph.aget_state(config())).values["messages"][1].id
    where = Call(call["thread"], message, "send")
    await world.deputy.act(SEND["name"], SEND["args"], user="alice", call=where)
    world.deputy.policy = policy
    return await says(world, "approve")


async def fails(world: World) -> list[Any]:
    async def failing(*_: Any, **__: Any) -> Any:
        raise ConnectionError("A bug.")

    allowed, world.deputy.planner.allowed = world.deputy.planner.allowed, failing  # type: ignore[method-assign]
    with pytest.raises(ConnectionError):
        await says(world, "approve")
    world.deputy.planner.allowed = allowed  # type: ignore[method-assign]
    state = await world.graph.ainvoke(None, config(), context=ALICE)
    return [tool_messages(state)["send"].status]


Case = Callable[[World], Awaitable[list[Any]]]
CASES: Sequence[Case] = (
    *(plainly, no, faulty_edit, edit, by_a_stranger, about_another, and_about_another, too_late, denied, unasked),
    *(disconnected, rejected_elsewhere, done_elsewhere, fails),
)


@pytest.mark.usefixtures("whoever_resumes")
@pytest.mark.parametrize("case", CASES)
async def test_everything_is_as_if_the_yes_had_been_recorded_before_the_act(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def first(*_: Any, **__: Any) -> None:
        """The yes has to be recorded first."""

    found = []
    for before in (True, False):
        sandbox, clock = Sandbox(), Clock(time.time())
        with monkeypatch.context() as patches:
            if before:
                patches.setattr(Approvals, "at_hand", first)
            async with await build(sandbox, clock=clock) as deputy:
                world = await begun(sandbox, deputy, clock)
                found.append([await case(world), await world.left()])
    assert found[0] == found[1]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    sandbox, clock, vault = Sandbox(), Clock(time.time()), await new_vault(tmp_path / "vault.sqlite", b"k" * 32)
    async with await build(sandbox, vault=vault, clock=clock) as deputy:
        yield await begun(sandbox, deputy, clock)


async def test_from_the_resume_to_its_end_an_approved_write_makes_two_transactions(
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
    assert kinds == ["act", "approval", "act"] and len(transactions) <= 3
    [row] = await world.deputy.vault.scan("approval")
    assert (row.json["status"], row.generation) == ("used", 2)


async def test_a_store_that_keeps_no_order_has_the_yes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryStore, "in_order", False)
    sandbox, clock = Sandbox(), Clock(time.time())
    async with await build(sandbox, clock=clock) as deputy:
        world = await begun(sandbox, deputy, clock)
        assert await world.resume() == ("success", "")
        [row] = await deputy.vault.scan("approval")
        assert (row.json["status"], row.generation) == ("used", 3)


async def of_child(folder: Path, step: str) -> dict[str, Any] | int:
    """What a process showed that did this step; or what ended it."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.yes_child", str(folder), step,
        stdout=subprocess.PIPE, cwd=ROOT, env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    shown, _ = await asyncio.wait_for(child.communicate(), 60)
    return dict(json.loads(shown)) if child.returncode == 0 else int(child.returncode or 0)


@pytest.mark.processes
@pytest.mark.parametrize("then", ["wake", "nudge"])
@pytest.mark.parametrize("where", ["heard", "claim", "heard map", "claim map", "written", "sent"])
async def test_wherever_the_process_is_killed_nothing_is_sent_twice_and_a_lost_yes_is_heard_or_asked_for_again(
    where: str, then: str, tmp_path: Path
) -> None:
    """``wake``: with nothing, which hears what LangGraph has kept of the resume; ``nudge``: with an answer that decides
    nothing, which it takes in place of that. It keeps nothing of a resume by interrupt ids (``map``)."""
    asked, approved, used = "approval.asked", "approval.approved", "approval.used"
    assert isinstance(await of_child(tmp_path, "ask"), dict)
    assert await of_child(tmp_path, where) == -signal.SIGKILL
    after = await of_child(tmp_path, then)
    assert isinstance(after, dict)
    if where.startswith(("heard", "claim")):
        if then == "nudge" or where.endswith("map"):
            waits = {"answers": [], "pauses": 1, "rows": ["pending"], "told": [asked], "sent": 0}
            assert after == waits
            after = await of_child(tmp_path, "approve")
        done = {"answers": ["success"], "pauses": 0, "rows": ["used"], "told": [asked, approved, used], "sent": 1}
        assert after == done
    else:
        assert after["rows"] == ["used"] and after["sent"] == (where == "sent") and after["pauses"] == 0
        assert after["told"] == ([asked, approved, used] if where == "sent" else [asked])


@pytest.mark.usefixtures("whoever_resumes")
@pytest.mark.parametrize("form", ["bare", "map"])
async def test_a_yes_that_the_store_cannot_take_fails_the_run_and_is_heard_again(
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
    assert told == ["approval.asked", "approval.approved", "approval.used"]


@pytest.mark.usefixtures("whoever_resumes")
@pytest.mark.parametrize("turns", range(0, 120, 6))
async def test_a_resume_that_is_cancelled_anywhere_is_gone_on_with_and_sends_once(turns: int) -> None:
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
