"""Deletions in the audit's folder are detected: the vault knows each chain, and its last position."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from deputize.core import Deputy
from deputize.core.audit import Audit, Head, Report, verify
from deputize.core.audit.events import VaultCopied
from deputize.core.background_loop import portal
from deputize.core.from_settings import open_vault
from deputize.core.settings import Settings
from deputize.core.vault import chain_heads
from deputize.core.vault.backup import back_up, restore
from deputize.core.vault.chain_heads import ChainHeads, verify_audit
from deputize.core.vault.stores.memory import MemoryStore
from deputize.core.vault.vault import Vault
from tests.core.audit.audit_files import OLD
from tests.core.vault.test_lost import edit, grant


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name in [name for name in os.environ if name.startswith(("DEPUTIZE_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DEPUTIZE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DEPUTIZE_PORT", "0")
    monkeypatch.chdir(tmp_path)
    yield tmp_path / "home"


def run_of_a_program(rows: int = 3) -> str:
    """Write the rows of a program: a start, some rows, an end; return its writer."""
    with Deputy.from_settings() as deputy:
        for _ in range(rows):
            deputy.audit.write(VaultCopied())
        return deputy.audit.writer


def proven(home: Path) -> Report:
    async def walk() -> Report:
        vault = await open_vault(Settings.load())
        try:
            return await verify_audit(vault, home / "audit")
        finally:
            await vault.close()

    return portal().run(walk())


def found(report: Report) -> list[tuple[str, str, int]]:
    return [(one.kind, one.writer, one.seq) for one in report.findings]


def file_of(home: Path, writer: str) -> Path:
    return home / "audit" / f"{writer}.0.jsonl"


def test_closed_chain_ends_with_a_closing_row(home: Path) -> None:
    writer = run_of_a_program()
    assert b'"event":"chain.anchor","ended":true' in file_of(home, writer).read_bytes().splitlines()[-1]
    report = proven(home)
    assert report.ok and report.open == () and report.writers == 1


def test_missing_audit_file_of_one_run_is_reported(home: Path) -> None:
    first, second = run_of_a_program(), run_of_a_program()
    file_of(home, first).unlink()
    assert found(proven(home)) == [("truncated", first, 0)]
    assert verify(home / "audit", portal_keys(home)).ok  # the folder alone does not tell
    assert file_of(home, second).exists()


def portal_keys(home: Path) -> list[bytes]:
    async def keys() -> list[bytes]:
        vault = await open_vault(Settings.load())
        await vault.close()
        return vault.keys.audits

    return portal().run(keys())


@pytest.mark.parametrize("kept", [1, 3])
def test_truncated_chain_is_found(home: Path, kept: int) -> None:
    file = file_of(home, writer := run_of_a_program())
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:kept]))
    assert found(proven(home)) == [("truncated", writer, kept)]


def test_missing_audit_folder_is_reported_at_start_and_verification(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    writer = run_of_a_program()
    shutil.rmtree(home / "audit")
    assert found(proven(home)) == [("truncated", writer, 0)]
    with caplog.at_level(logging.WARNING, "deputize"):
        run_of_a_program()
    assert "The audit of this vault is gone" in caplog.text
    assert found(proven(home)) == [("truncated", writer, 0)]


def test_missing_audit_folder_is_reported_without_the_vaults_record(home: Path) -> None:
    run_of_a_program()

    async def connected() -> None:
        vault = await open_vault(Settings.load())
        await vault.add(grant())
        await vault.close()

    portal().run(connected())
    edit(home, "DELETE FROM vault WHERE key = 'meta/chains'")
    assert [kind for kind, *_ in found(proven(home))] == ["gone"]
    shutil.rmtree(home / "audit")
    assert [kind for kind, *_ in found(proven(home))] == ["gone"]


def test_exit_without_close_stores_the_chain_head(home: Path) -> None:
    deputy = Deputy.from_settings()
    deputy.audit.write(VaultCopied())
    deputy.audit.flush()
    file = file_of(home, writer := deputy.audit.writer)
    until_known(home, writer)
    assert proven(home).open == (writer,)
    whole = file.read_bytes()
    file.write_bytes(b"")
    assert found(proven(home)) == [("truncated", writer, 0)]
    file.write_bytes(whole)
    deputy.run(deputy.close())
    assert proven(home).open == ()


def test_heads_of_many_chains_move_into_a_vouching_chain(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain_heads, "MAX_HEADS", 3)
    writers = [run_of_a_program(1) for _ in range(4)]
    last = run_of_a_program(1)
    assert {head.writer for head in heads(home)} == {last}
    assert proven(home).ok
    file_of(home, writers[1]).unlink()
    assert found(proven(home)) == [("truncated", writers[1], 0)]
    file_of(home, last).unlink()
    assert found(proven(home)) == [("truncated", last, 0)]


def until_known(home: Path, writer: str) -> None:
    """Wait until a head was stored in the background."""
    deadline = time.monotonic() + 10
    while writer not in {head.writer for head in heads(home)}:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def heads(home: Path) -> list[Head]:
    async def known() -> list[Head]:
        vault = await open_vault(Settings.load())
        found = await ChainHeads(vault).load()
        await vault.close()
        return found or []

    return portal().run(known())


def test_running_chain_head_stays_and_a_killed_one_moves_after_a_day(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain_heads, "MAX_HEADS", 0)

    async def fold(later: float) -> set[str]:
        vault = await open_vault(Settings.load())
        audit = Audit(home / "audit", vault.keys.audit)
        await ChainHeads(vault).fold(audit, time.time() + later)
        audit.close()
        left = {head.writer for head in await ChainHeads(vault).load() or ()}
        await vault.close()
        return left

    running = Deputy.from_settings()
    running.audit.write(VaultCopied())
    running.audit.flush()
    until_known(home, running.audit.writer)
    assert running.audit.writer in portal().run(fold(60))
    assert running.audit.writer not in portal().run(fold(90_000))
    running.run(running.close())
    assert running.audit.writer in {head.writer for head in heads(home)}


def test_closing_row_under_an_old_key_excuses_no_missing_beginning(tmp_path: Path) -> None:
    """An attacker with the old key can write rows under it; a chain without its beginning stays incomplete."""
    audit = Audit(tmp_path / "audit", OLD)
    for _ in range(5):
        audit.write(VaultCopied())
    audit.close()
    file = tmp_path / "audit" / f"{audit.writer}.0.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[2:]))
    forger = Audit(tmp_path / "audit", OLD)
    forger._append("chain.closed", closed=audit.writer, closed_seq=1, closed_mac=lines[1][-35:-3].decode())
    forger.close()
    assert "beginning" in {one.kind for one in verify(tmp_path / "audit", [OLD]).findings}


async def nothing(vault: Vault, grant: object, *, replaced: bool = False) -> None:
    """No revocation is queued."""


@pytest.mark.processes
def test_restored_backup_knows_later_chains(home: Path, tmp_path: Path) -> None:
    writer = run_of_a_program()
    with Deputy.from_settings() as deputy:
        deputy.run(back_up(deputy.vault, tmp_path / "backup", 1.0))
        later = run_of_a_program()
        deputy.run(restore(deputy.vault, tmp_path / "backup", deputy.audit, home / "audit", nothing))
        known = deputy.run(ChainHeads(deputy.vault).load())
    assert known and {writer, later} <= {head.writer for head in known}


def test_forked_child_does_not_wait_for_its_parents_head_write(monkeypatch: pytest.MonkeyPatch) -> None:
    async def settled() -> None:
        heads = ChainHeads(await Vault.open(MemoryStore(), [b"k" * 32]))
        heads._saving.add(Future())
        monkeypatch.setattr(os, "getpid", lambda: -1)
        async with asyncio.timeout(30):
            await heads.settled()

    asyncio.run(settled())
