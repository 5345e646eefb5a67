"""A rival that locks the vault, forks before and after the first act, a program terminated during an act."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.faults.conftest import Row
from tests.faults.program_driver import World, world
from tests.faults.test_disks import READING, refused, seen, sent

pytestmark = pytest.mark.processes


@contextmanager
def locked(world: World) -> Iterator[None]:
    """Hold the vault's write lock in another program."""
    with closing(sqlite3.connect(Path(world.vault, "vault.sqlite"), isolation_level=None)) as rival:
        rival.execute("BEGIN EXCLUSIVE")
        yield
        rival.execute("ROLLBACK")


async def test_vault_locked_for_a_second_is_waited_for_and_longer_is_refused(tmp_path: Path, row: Row) -> None:
    async with world(tmp_path) as w, w.running() as program:
        await w.connect(program)
        with locked(w):
            program.tell("send", "a")
            await asyncio.sleep(1)
        first = await program.heard()
        assert first["ok"] and w.mails() == ["a"]
        with locked(w):
            began = time.monotonic()
            told = await program.say("send", "b")
            took = time.monotonic() - began
            assert "ok" in await program.say(*READING, "r")
        refused(told, "locked by another program", f"{w.vault}/vault.sqlite")
        assert took < 10 and w.mails() == ["a"]
        await sent(w, program, "b", "a")
        row("vault locked for a second", seen(first), "once", "-")
        row("vault locked for long", seen(told), "none", "when it is free")


async def test_forked_children_act_once_each_and_lose_no_row(tmp_path: Path, row: Row) -> None:
    async with world(tmp_path) as w, w.running() as program:
        [lacking] = (await program.say("forked", "a"))["ok"]  # before this process has used anything
        assert lacking["error"] == "ConsentRequired"
        await w.connect(program)
        told = (await program.say("forked", "a", "b", "c", "c"))["ok"]
        assert all("ok" in one for one in told) and told[2] == told[3] and sorted(w.mails()) == ["a", "b", "c"]
        assert (await program.say("send", "c")) == told[2]
        proven = (await program.say("proven"))["ok"]
        assert proven["ok"] and sorted(proven["ends"]) == ["consent_required", *["done"] * 5]
        row("forked before and after the first act", seen(told[2]), "once each", "-")


async def test_program_stopped_during_an_act_leaves_nothing_to_repeat(tmp_path: Path, row: Row) -> None:
    async with world(tmp_path) as w:
        async with w.running() as program:
            await w.connect(program)
            w.meanwhile["/messages/send"] = lambda: program.process.send_signal(signal.SIGTERM)
            assert await program.say("send", "a") is None and program.process.wait(30) == 143
        there = w.mails()
        async with w.running() as program:
            told = await program.say("send", "a")
            assert told["error"] == "OutcomeUnknown" and "Check" in told["hint"] and w.mails() == there
            await sent(w, program, "b", *there)
            proven = (await program.say("proven"))["ok"]
            assert proven["ok"] and proven["ends"][:2] == ["interrupted", "outcome_unknown"]
        row("SIGTERM in the middle of an act", seen(told), "at most once", "at the next start")
