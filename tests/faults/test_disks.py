"""A disk that is full or read-only: a real one (tmpfs), under a real program.

Nothing is lost or done twice, the caller is told what to do, and it works again without a restart.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.cli.terminal import click
from tests.faults.conftest import Row
from tests.faults.program_driver import ALICE, Program, World, world

pytestmark = pytest.mark.processes

FULL = "The vault's disk is full."
READING = ("act", "gmail_search_emails", {"query": "x"})


def seen(answer: Any) -> str:
    """Return the answer as text."""
    return "the result" if "ok" in answer else f"{answer['error']}: {answer['message']}"


def refused(answer: Any, what: str, where: str) -> None:
    """Check that the store refused, and that the error says what to do and where."""
    assert answer["error"] == "StoreUnavailable" and what in answer["message"], answer
    assert where in answer["hint"] and answer["hint"].endswith("."), answer


async def sent(world: World, program: Program, call: str, *before: str) -> None:
    """Check that it works, once, however often it is called."""
    first, second = await program.say("send", call), await program.say("send", call)
    assert first["ok"] and first == second and world.mails() == [*before, call]


async def test_full_vault_refuses_writes_before_they_start_and_still_reads(tmp_path: Path, row: Row) -> None:
    async with world(tmp_path, "", "audit") as w, w.running() as program:
        await w.connect(program)
        program.fill(w.vault)
        told = [await program.say("send", "a"), *(await program.say("many", "b", "c", "d"))["ok"]]
        for answer in told:
            refused(answer, FULL, f"{w.vault}/vault.sqlite")
        assert "ok" in await program.say(*READING, "r")
        refused(await program.say("connect", "gmail.modify"), FULL, w.vault)
        assert w.mails() == []
        program.free(w.vault)
        await sent(w, program, "a")
        await sent(w, program, "b", "a")
        proven = (await program.say("proven"))["ok"]
        assert proven["ok"] and proven["ends"].count("store_unavailable") == 4
        row("vault's disk full", seen(told[0]), "none", "at the next act")


async def test_act_that_ends_on_a_full_disk_is_known_to_have_ended(tmp_path: Path, row: Row) -> None:
    async with world(tmp_path, "", "audit") as w, w.running() as program:
        await w.connect(program)
        w.meanwhile["/messages/send"] = lambda: program.fill(w.vault)
        first = await program.say("send", "a")
        assert first["ok"] and w.mails() == ["a"]
        refused(await program.say("send", "a"), FULL, w.vault)
        program.free(w.vault)
        assert await program.say("send", "a") == first and w.mails() == ["a"]
        program.end()
        async with w.running() as other:
            assert w.mails() == ["a"]
            assert "ok" not in await other.say("send", "a")  # a disk of its own, and so a vault of its own
        row("vault's disk full while the provider works", seen(first), "once", "the result, again")


@pytest.mark.every(2)
async def test_act_refused_on_a_full_disk_is_not_taken_for_done(tmp_path: Path, row: Row) -> None:
    async with world(tmp_path, "", "audit") as w, w.running() as program:
        await w.connect(program)
        w.sandbox.expire_access_tokens()
        w.sandbox.switches.rotate = w.sandbox.switches.reuse_kills_family = True
        w.meanwhile["/token"] = lambda: program.fill(w.vault)
        told = await program.say("send", "a")
        refused(told, "cannot keep the new token", "leave this program running")
        assert w.mails() == []
        program.free(w.vault)
        await sent(w, program, "a")
        w.sandbox.expire_access_tokens()
        await sent(w, program, "b", "a")  # with the rotated token, which was kept
        row("vault's disk full while a grant is refreshed", seen(told), "none", "within a second, the token kept")


@pytest.mark.every(2)
async def test_consent_returning_to_a_full_disk_is_requested_again_without_live_tokens(
    tmp_path: Path, row: Row
) -> None:
    async with world(tmp_path, "", "audit") as w, w.running() as program:
        asked = await program.say("connect", "gmail.readonly", "gmail.send")
        w.meanwhile["/token"] = lambda: program.fill(w.vault)
        page = await asyncio.to_thread(click, asked["ok"], as_=ALICE)
        assert "That did not work" in page.text and not any(w.sandbox.live_tokens().values())
        program.free(w.vault)
        await w.connect(program)
        await sent(w, program, "a")
        row("vault's disk full while a code is redeemed", "a page: try again", "its tokens are ended", "asked again")


@pytest.mark.parametrize("mode", ["standard", "strict"])
async def test_full_strict_audit_refuses_writes_and_loses_no_row(tmp_path: Path, row: Row, mode: str) -> None:
    async with world(tmp_path, "", "audit", DEPUTIZE_AUDIT=mode) as w, w.running() as program:
        await w.connect(program)
        program.fill(w.audit)
        told = [await program.say("send", f"{n}") for n in range(12)]
        done = [f"{n}" for n, answer in enumerate(told) if "ok" in answer]
        assert w.mails() == done and "ok" in await program.say(*READING, "r")
        if mode == "strict":
            refused(told[-1], "No space left on device", w.audit)
        else:
            assert len(done) == 12
        program.free(w.audit)
        again = [await program.say("send", f"{n}") for n in range(12)]
        assert all("ok" in answer for answer in again) and sorted(w.mails()) == sorted(f"{n}" for n in range(12))
        proven = (await program.say("proven"))["ok"]
        assert (
            proven["ok"] and len(proven["ends"]) == 25 and proven["ends"].count("store_unavailable") == 12 - len(done)
        )
        row(f"audit's disk full ({mode})", seen(told[-1]), "once each", "at the next act, no row lost")


async def test_program_on_a_read_only_disk_reads_and_says_why_it_cannot_write(tmp_path: Path, row: Row) -> None:
    async with world(tmp_path) as w:
        async with w.running() as program:
            await w.connect(program)
        there = w.vault
        async with w.running(f"mount --bind {there} {there} && mount -o remount,bind,ro {there}") as program:
            told = await program.say("send", "a")
            assert told["error"] == "StoreUnavailable" and there in told["hint"], told
            assert "Read-only file system" in told["hint"] and w.mails() == []
            assert "ok" in await program.say(*READING, "r")
        async with w.running() as program:
            await sent(w, program, "a")
        row("read-only disk", seen(told), "none", "when it can be written, at the next start")
