"""Old rows are dropped by whole files, and the rest verifies as before."""

from __future__ import annotations

import json
import logging
import os
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deputize.cli.app import app
from deputize.core import Deputy, SettingsError
from deputize.core.audit import Audit, Finding
from deputize.core.audit.events import VaultCopied
from deputize.core.settings import Settings
from deputize.core.vault import retention
from deputize.core.vault.audit_pruning import DAY
from deputize.core.vault.chain_heads import ChainHeads, verify_audit
from deputize.core.vault.retention import COMPRESSION_INTERVAL_SECONDS, Retention
from deputize.core.vault.rollback import GenerationMismatch, find_rolled_back
from tests.core.vault.test_chain_heads import home, run_of_a_program
from tests.core.vault.test_rollback import ALICE, Place
from tests.support.sandbox_deputy import connect

__all__ = ["home"]


@pytest.fixture(autouse=True)
def own_retention(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test's own `Retention` is the only one that drops rows."""
    if "home" in request.fixturenames:  # which clears the environment
        request.getfixturevalue("home")
    monkeypatch.setenv("DEPUTIZE_AUDIT_RETENTION_DAYS", "0")


def later(deputy: Deputy, folder: Path, *, days: int = 30, after: float = 40.0) -> Retention:
    """Return the retention this many days from now."""
    return Retention(deputy.vault, deputy.audit, folder, days, lambda: time.time() + after * DAY)


def found(deputy: Deputy, folder: Path, anchors: list[str] | None = None) -> tuple[Finding, ...]:
    deputy.audit.flush()
    return deputy.run(verify_audit(deputy.vault, folder, anchors or ())).findings


def test_ended_chains_are_dropped_when_all_their_rows_are_old(home: Path) -> None:
    folder = home / "audit"
    writers = {run_of_a_program() for _ in range(3)}
    with Deputy.from_settings() as deputy:
        deputy.audit.write(VaultCopied())
        assert found(deputy, folder) == ()
        assert deputy.run(later(deputy, folder, after=20).turn()) == 0
        keep = later(deputy, folder)
        assert deputy.run(keep.turn()) == 3
        assert {path.name.partition(".")[0] for path in folder.glob("*.jsonl")} == {deputy.audit.writer}
        assert found(deputy, folder) == ()
        assert deputy.audit.rows()[-1]["event"] in ("audit.dropped", "chain.anchor")
        heads = deputy.run(ChainHeads(deputy.vault).load()) or []
        assert not writers & {head.writer for head in heads}
        assert deputy.run(keep.turn()) == 0, "once a day"
    with Deputy.from_settings() as deputy:
        assert found(deputy, folder) == ()
    told = CliRunner().invoke(app, ["audit", "verify"])
    assert told.exit_code == 0 and "whole." in told.output and "were dropped" in told.output


def test_dropped_chain_is_not_missed_by_any_anchor(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder, anchors = home / "audit", tmp_path / "anchors"
    monkeypatch.setenv("DEPUTIZE_AUDIT_ANCHOR_FILE", str(anchors))
    dropped = run_of_a_program()
    with Deputy.from_settings() as deputy:
        assert deputy.run(later(deputy, folder).turn()) == 1
        assert found(deputy, folder, anchors.read_text().splitlines()) == ()
    deleted = run_of_a_program()
    for path in folder.glob(f"{deleted}.*"):
        path.unlink()
    with Deputy.from_settings() as deputy:
        wrong = {one.writer for one in found(deputy, folder)}
        assert wrong == {deleted} and dropped not in wrong


def test_nothing_is_dropped_from_a_damaged_audit(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder, writer = home / "audit", run_of_a_program()
    run_of_a_program()
    [path] = folder.glob(f"{writer}.*")
    path.write_bytes(path.read_bytes().replace(b"vault.copied", b"vault.nothin"))
    with Deputy.from_settings() as deputy, caplog.at_level(logging.WARNING):
        assert deputy.run(later(deputy, folder).turn()) == 0
    assert path.exists() and "not whole" in caplog.text


@pytest.mark.parametrize("removed", [0, 1, 2])
def test_process_killed_while_dropping_leaves_a_verifiable_audit(
    home: Path, monkeypatch: pytest.MonkeyPatch, removed: int
) -> None:
    folder = home / "audit"
    for _ in range(3):
        run_of_a_program()
    with Deputy.from_settings() as deputy:
        with monkeypatch.context() as patch:
            patch.setattr(retention, "_remove", lambda files: _dies(list(files), removed))
            with pytest.raises(KeyboardInterrupt):
                deputy.run(later(deputy, folder).turn())
        assert found(deputy, folder) == ()
        assert deputy.run(later(deputy, folder).turn()) == 3 - removed
        assert found(deputy, folder) == ()


@pytest.mark.parametrize("removed", [1, 2])
def test_partly_dropped_chain_stays_verifiable(home: Path, monkeypatch: pytest.MonkeyPatch, removed: int) -> None:
    folder = home / "audit"
    run_of_a_program()
    with Deputy.from_settings() as deputy:
        ended = Audit(folder, deputy.vault.keys.audit, rotate_bytes=1000)
        for _ in range(20):
            ended.write(VaultCopied())
            ended.flush()
        ended.close()
        with monkeypatch.context() as patch:
            patch.setattr(retention, "_remove", lambda files: _dies([[one] for some in files for one in some], removed))
            with pytest.raises(KeyboardInterrupt):
                deputy.run(later(deputy, folder).turn())
        assert found(deputy, folder) == () and len(list(folder.glob(f"{ended.writer}.*"))) > 1
        deputy.run(later(deputy, folder).turn())
        assert found(deputy, folder) == () and not list(folder.glob(f"{ended.writer}.*"))


def _dies(chains: list[list[retention.Old]], removed: int) -> None:
    for [one] in chains[:removed]:
        one.path.unlink()
    raise KeyboardInterrupt


def test_first_files_of_a_running_chain_are_dropped(home: Path) -> None:
    folder = home / "audit"
    run_of_a_program()
    with Deputy.from_settings() as deputy:
        audit = Audit(folder, deputy.vault.keys.audit, rotate_bytes=2000)
        for _ in range(60):
            audit.write(VaultCopied())
            audit.flush()
        mine = sorted(folder.glob(f"{audit.writer}.*"))
        keep = Retention(deputy.vault, audit, folder, 30, lambda: time.time() + 40 * DAY)
        assert len(mine) > 4 and deputy.run(keep.turn()) == len(mine)
        assert len(list(folder.glob(f"{audit.writer}.*"))) < 3
        assert found(deputy, folder) == ()
        for _ in range(60):
            audit.write(VaultCopied())
            audit.flush()
        assert found(deputy, folder) == ()
        left = sorted(folder.glob(f"{audit.writer}.*"), key=lambda path: int(path.suffixes[0][1:]))
        left[0].unlink()
        assert {one.kind for one in found(deputy, folder)} == {"beginning"}
        audit.close()


def test_long_silent_process_continues_after_its_file_was_dropped(home: Path) -> None:
    folder = home / "audit"
    with Deputy.from_settings() as deputy:
        silent = Audit(folder, deputy.vault.keys.audit)
        silent.write(VaultCopied())
        silent.flush()
        assert deputy.run(later(deputy, folder).turn()) == 1
        silent.write(VaultCopied())
        silent.flush()
        assert [path.name for path in folder.glob(f"{silent.writer}.*")] == [f"{silent.writer}.1.jsonl"]
        assert found(deputy, folder) == ()
        silent.close()


async def test_generations_for_rollback_detection_are_repeated_before_dropping(tmp_path: Path) -> None:
    key = await Place(tmp_path).open()
    await connect(key.deputy, key.sandbox, "readonly")
    older = key.rows()
    await connect(key.deputy, key.sandbox, "send")
    newer = key.rows()
    await connect(key.deputy, key.sandbox, "readonly", user="bob", as_="bob@example.test")
    await key.deputy.revoke("bob")
    stones = key.rows()
    await key.deputy.close()
    again = await Place(tmp_path).open()
    again.sandbox = key.sandbox
    assert await later(again.deputy, tmp_path / "audit").turn() == 1
    assert await again.behind() == []
    told = [row for row in again.deputy.audit.rows() if row["event"] == "grant.snapshot"]
    assert sorted((row["grant_gen"], row.get("revoked", False)) for row in told) == [(2, False), (2, True)]
    again.put_back(stones | older)
    assert await again.behind() == [GenerationMismatch(ALICE, "google", "google", "alice@example.test", 1, 2)]
    again.put_back(newer)
    assert await find_rolled_back(again.vault, tmp_path / "audit") == []
    await again.deputy.close()


def test_closed_files_are_compressed_then_dropped_when_old(home: Path) -> None:
    folder = home / "audit"
    run_of_a_program()
    with Deputy.from_settings() as deputy:
        ended = Audit(folder, deputy.vault.keys.audit, rotate_bytes=5000)
        for _ in range(120):
            ended.write(VaultCopied())
            ended.flush()
        ended.close()
        keep = Retention(deputy.vault, deputy.audit, folder, 30)
        assert deputy.run(keep.compress()) == 0 and not list(folder.glob("*.gz"))
        keep.clock = lambda: time.time() + COMPRESSION_INTERVAL_SECONDS + 1
        number = len(list(folder.glob(f"{ended.writer}.*"))) - 1
        assert deputy.run(keep.compress()) in (number, number + 1) and number > 2
        assert deputy.run(keep.compress()) == 0
        report = deputy.run(verify_audit(deputy.vault, folder))
        assert report.ok and report.by_checkpoint > 50
        assert deputy.run(later(deputy, folder).turn()) > number
        assert not list(folder.glob(f"{ended.writer}.*")) and found(deputy, folder) == ()


def test_chain_with_dropped_compressed_files_continues_from_checkpoints(home: Path) -> None:
    folder = home / "audit"
    run_of_a_program()
    with Deputy.from_settings() as deputy:
        now = time.time() - 40 * DAY
        audit = Audit(folder, deputy.vault.keys.audit, rotate_bytes=5000, clock=lambda: now)
        for n in range(240):
            now += DAY / 2 if n > 120 else 0
            audit.write(VaultCopied())
            audit.flush()
        for path in folder.glob(f"{audit.writer}.*"):
            written = json.loads(path.read_bytes().splitlines()[-1])["ts"]
            os.utime(path, ns=(written, written))
        keep = Retention(deputy.vault, audit, folder, 30)
        keep._next_compression = 0.0
        assert deputy.run(keep.compress()) > 4
        before = deputy.run(verify_audit(deputy.vault, folder))
        assert before.ok and 0 < deputy.run(keep.turn()) < 7
        after = deputy.run(verify_audit(deputy.vault, folder))
        assert after.findings == () and 0 < after.by_checkpoint < before.by_checkpoint
        first = min(folder.glob(f"{audit.writer}.*"), key=lambda path: int(path.name.split(".")[1]))
        first.unlink()
        assert {one.kind for one in found(deputy, folder)} == {"beginning"}
        audit.close()


def test_damaged_file_is_kept_as_evidence_and_nothing_is_dropped(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = home / "audit"
    run_of_a_program()
    with Deputy.from_settings() as deputy:
        ended = Audit(folder, deputy.vault.keys.audit)
        for _ in range(60):
            ended.write(VaultCopied())
        ended.close()
        keep = later(deputy, folder)
        keep._next_compression = 0.0
        assert deputy.run(keep.compress()) == 1
        [path] = folder.glob("*.gz")
        path.write_bytes(path.read_bytes()[:-9])
        number = len(list(folder.iterdir()))
        with caplog.at_level(logging.WARNING):
            assert deputy.run(keep.turn()) == 0
        assert len(list(folder.iterdir())) == number and "not whole" in caplog.text
        assert "damaged" in {one.kind for one in found(deputy, folder)}


def test_full_disk_does_not_stop_retention_and_is_logged(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(path: Path, ring: object) -> bool:
        raise OSError(28, "No space left on device")

    folder = home / "audit"
    with Deputy.from_settings() as deputy:
        ended = Audit(folder, deputy.vault.keys.audit)
        for _ in range(60):
            ended.write(VaultCopied())
        ended.close()
        keep = later(deputy, folder)
        keep._next_compression = 0.0
        monkeypatch.setattr(retention, "compress_file", refuse)
        with caplog.at_level(logging.WARNING):
            assert deputy.run(keep.compress()) == 0
        assert "No space left on device" in caplog.text and found(deputy, folder) == ()


@pytest.mark.parametrize(("setting", "days"), [("", 400), ("90", 90), ("0", 0)])
def test_old_rows_are_dropped_after_400_days_or_the_setting(
    home: Path, monkeypatch: pytest.MonkeyPatch, setting: str, days: int
) -> None:
    run_of_a_program()
    monkeypatch.setenv("DEPUTIZE_AUDIT_RETENTION_DAYS", setting)
    if not setting:
        monkeypatch.delenv("DEPUTIZE_AUDIT_RETENTION_DAYS")
    with Deputy.from_settings() as deputy:
        deputy.run(deputy.sweeper.stop())
        jobs = [job for job in deputy.sweeper.jobs if isinstance(getattr(job, "__self__", None), Retention)]
        keep: Retention = jobs[0].__self__  # type: ignore[attr-defined]
        assert keep.days == days and jobs == [keep.turn, keep.compress]
        keep.clock, keep._next = lambda: time.time() + (days - 1) * DAY, 0.0
        assert deputy.run(keep.turn()) == 0
        keep.clock, keep._next = lambda: time.time() + (days + 1) * DAY, 0.0
        assert deputy.run(keep.turn()) == (1 if days else 0)


@pytest.mark.parametrize("days", ["-1", "1", "6"])
def test_retention_below_a_week_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch, days: str) -> None:
    monkeypatch.setenv("DEPUTIZE_AUDIT_RETENTION_DAYS", days)
    with pytest.raises(SettingsError, match="audit_retention_days"):
        Settings.load()
