"""Old rows are dropped by whole files, and what is left proves as much as before."""

from __future__ import annotations

import logging
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
from deputize.core.vault.retention import Retention
from deputize.core.vault.rollback import GenerationMismatch, find_rolled_back
from tests.core.vault.test_chain_heads import home, run_of_a_program
from tests.core.vault.test_rollback import ALICE, Place
from tests.support.sandbox_deputy import connect

__all__ = ["home"]


def later(deputy: Deputy, folder: Path, *, days: int = 30, after: float = 40.0) -> Retention:
    """Retention, so many days from now."""
    return Retention(deputy.vault, deputy.audit, folder, days, lambda: time.time() + after * DAY)


def found(deputy: Deputy, folder: Path, anchors: list[str] | None = None) -> tuple[Finding, ...]:
    deputy.audit.flush()
    return deputy.run(verify_audit(deputy.vault, folder, anchors or ())).findings


def test_files_of_chains_that_have_ended_go_when_all_their_rows_are_old(home: Path) -> None:
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


def test_a_chain_that_was_dropped_is_missed_by_no_anchor_and_one_that_was_deleted_is(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
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


def test_nothing_is_dropped_of_an_audit_that_is_not_whole(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder, writer = home / "audit", run_of_a_program()
    run_of_a_program()
    [path] = folder.glob(f"{writer}.*")
    path.write_bytes(path.read_bytes().replace(b"vault.copied", b"vault.nothin"))
    with Deputy.from_settings() as deputy, caplog.at_level(logging.WARNING):
        assert deputy.run(later(deputy, folder).turn()) == 0
    assert path.exists() and "not whole" in caplog.text


@pytest.mark.parametrize("removed", [0, 1, 2])
def test_a_process_that_dies_while_it_drops_leaves_an_audit_that_is_whole(
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
def test_it_is_whole_too_where_a_part_of_a_chain_that_has_ended_is_left(
    home: Path, monkeypatch: pytest.MonkeyPatch, removed: int
) -> None:
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


def test_the_first_files_of_a_chain_that_goes_on_are_dropped(home: Path) -> None:
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


def test_a_process_that_was_silent_for_so_long_goes_on_after_its_file_was_dropped(home: Path) -> None:
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


async def test_what_rollback_detection_goes_by_is_said_again(tmp_path: Path) -> None:
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


def test_the_setting_turns_it_on_and_a_week_is_the_least(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Deputy.from_settings() as deputy:
        assert not _drops_rows(deputy)
    monkeypatch.setenv("DEPUTIZE_AUDIT_RETENTION_DAYS", "90")
    with Deputy.from_settings() as deputy:
        assert _drops_rows(deputy)
    monkeypatch.setenv("DEPUTIZE_AUDIT_RETENTION_DAYS", "6")
    with pytest.raises(SettingsError, match="audit_retention_days"):
        Settings.load()


def _drops_rows(deputy: Deputy) -> bool:
    return any(isinstance(getattr(job, "__self__", None), Retention) for job in deputy.sweeper.jobs)
