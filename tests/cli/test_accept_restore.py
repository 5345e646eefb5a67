"""``deputize audit accept-restore``: an operator accepts a restore, and no attacker can hide other changes behind
it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Command, Provider, connected

pytestmark = pytest.mark.processes

WHY = "disk failed, copy of last night"


class Desk:
    """A home with Alice's grant and an audit, and copies of both from before her last calls."""

    def __init__(self, cli: Command, home: Path, provider: Provider) -> None:
        self.cli, self.home, self.provider = cli, home, provider
        self.folder, self.vault, self.rows = home / "deputize", home / "deputize" / "vault.sqlite", home / "old audit"
        self.settings = connected(home, provider, "gmail.readonly")
        provider.sandbox.switches.rotate = provider.sandbox.switches.reuse_kills_family = True
        self.act()
        assert self("vault", "backup", str(home / "backup")).exit_code == 0
        shutil.copytree(self.folder / "audit", self.rows)
        shutil.copyfile(self.vault, home / "old vault")
        self.act()
        self.act()

    def __call__(self, *words: str, **more: Any) -> Any:
        return self.cli(*words, **more, **self.settings)

    def act(self) -> None:
        assert self("act", "gmail_search_emails", "{}").exit_code == 0

    def lose_audit(self) -> None:
        """Replace the audit's folder by an older copy of it."""
        shutil.rmtree(self.folder / "audit")
        shutil.copytree(self.rows, self.folder / "audit")

    def accept(self) -> Any:
        return self("audit", "accept-restore", "--reason", WHY, "--yes")

    def accepted(self) -> list[dict[str, Any]]:
        rows = [json.loads(line) for line in self("audit", "--json").stdout.splitlines()]
        return [row for row in rows if row["event"] == "restore.accepted"]


@pytest.fixture
def desk(cli: Command, home: Path, provider: Provider) -> Desk:
    return Desk(cli, home, provider)


def test_audit_restored_from_an_older_copy_verifies_after_acceptance(desk: Desk) -> None:
    desk.lose_audit()
    broken = desk("audit", "verify")
    assert broken.exit_code == 1 and "truncated" in broken.stdout and "accept-restore" in broken.stderr
    assert "audit: not whole" in desk("doctor", "--offline").stdout
    done = desk.accept()
    assert done.exit_code == 0 and done.stdout.count("gone ") == 2, done.output
    for _ in range(2):
        whole = desk("audit", "verify")
        assert whole.exit_code == 0 and WHY in whole.stdout and "without 2 parts" in whole.stdout, whole.output
        desk.act()
    assert [(row["justification"], len(row["gaps"])) for row in desk.accepted()] == [(WHY, 2)]
    assert "nothing" not in desk("doctor", "--offline").stdout
    again = desk.accept()
    assert again.exit_code == 0 and "no restore to accept" in again.stdout and len(desk.accepted()) == 1


def test_acceptance_needs_a_reason_and_a_confirmation(desk: Desk) -> None:
    desk.lose_audit()
    assert desk("audit", "accept-restore", "--yes").exit_code == 2
    assert desk("audit", "accept-restore", "--reason", " ", "--yes").exit_code == 2
    assert desk("audit", "accept-restore", "--reason", WHY, stdin="n\n").exit_code == 1
    assert desk("audit", "verify").exit_code == 1 and desk.accepted() == []


def test_acceptance_hides_no_further_truncation(desk: Desk) -> None:
    desk.lose_audit()
    assert desk.accept().exit_code == 0
    desk.act()
    whole = {file: file.read_bytes() for file in (desk.folder / "audit").iterdir() if file.suffix == ".jsonl"}
    assert len(whole) > 3
    for number, (file, content) in enumerate(whole.items()):
        lines = content.splitlines(keepends=True)
        cut = b"".join([lines[:-1], [lines[0], *lines[2:]], []][number % 3])
        file.write_bytes(cut) if cut else file.unlink()
        assert desk("audit", "verify").exit_code == 1, (file.name, len(lines))
        file.write_bytes(content)
        file.chmod(0o600)
    assert desk("audit", "verify").exit_code == 0


def test_vault_and_audit_older_than_the_acceptance_do_not_verify(desk: Desk) -> None:
    desk.lose_audit()
    before = desk.home / "before"
    shutil.copytree(desk.folder, before)
    assert desk.accept().exit_code == 0
    shutil.rmtree(desk.folder)
    shutil.copytree(before, desk.folder)
    assert desk("audit", "verify").exit_code == 1


def test_acceptance_without_the_vaults_key_is_ignored(desk: Desk) -> None:
    desk.lose_audit()
    before = desk.home / "before"
    shutil.copytree(desk.folder, before)
    assert desk.accept().exit_code == 0
    [row] = desk.accepted()
    forged = {**row, "gaps": row["gaps"], "writer": "f" * 16, "seq": 0}
    shutil.rmtree(desk.folder)
    shutil.copytree(before, desk.folder)
    (desk.folder / "audit" / "20260101T000000Z-ffffffffffffffff.jsonl").write_text(json.dumps(forged) + "\n")
    assert desk("audit", "verify").exit_code == 1


def test_altered_rows_are_never_accepted(desk: Desk) -> None:
    desk.lose_audit()
    file = max((desk.folder / "audit").glob("*.jsonl"), key=lambda one: one.stat().st_size)
    file.write_bytes(file.read_bytes().replace(b'"user":"p-', b'"user":"q-', 1))
    refused = desk.accept()
    assert refused.exit_code == 1 and "altered" in refused.output and desk.accepted() == []


def test_backup_copied_over_the_vault_does_not_verify_before_acceptance(desk: Desk) -> None:
    desk.vault.write_bytes((desk.home / "backup").read_bytes())
    desk.cli("act", "gmail_search_emails", "{}", "--wait", "1", **desk.settings)  # it takes the backup into use
    found = desk("audit", "verify")
    assert found.exit_code == 1 and "restored" in found.stdout
    assert "audit: not whole" in desk("doctor", "--offline").stdout
    assert desk.accept().exit_code == 0 and desk("audit", "verify").exit_code == 0
    desk.vault.write_bytes((desk.home / "backup").read_bytes())  # once more: the acceptance was of the first time
    desk.cli("act", "gmail_search_emails", "{}", "--wait", "1", **desk.settings)
    assert desk("audit", "verify").exit_code == 1


@pytest.mark.parametrize("lost", [False, True])
def test_restore_by_command_needs_no_acceptance(desk: Desk, lost: bool) -> None:
    if lost:
        desk.vault.unlink()
    assert desk("vault", "restore", str(desk.home / "backup")).exit_code == 0
    whole = desk("audit", "verify")
    assert whole.exit_code == 0, whole.output


def test_vault_from_a_machine_snapshot_is_used_with_doubt_after_acceptance(desk: Desk) -> None:
    desk.provider.sandbox.expire_access_tokens()
    desk.act()  # a generation that the older vault lacks
    shutil.copyfile(desk.home / "old vault", desk.vault)
    told = desk("doctor", "--offline")
    assert "rollback" in told.stdout and told.exit_code == 1
    done = desk.accept()
    assert done.exit_code == 0 and "older     1 grant" in done.stdout, done.output
    told = desk("doctor", "--offline")
    assert "no grant is older" in told.stdout, told.stdout
    before = desk.provider.sandbox.count("oauth2.googleapis.com", "/token")
    desk("act", "gmail_search_emails", "{}", "--wait", "1")
    assert desk.provider.sandbox.count("oauth2.googleapis.com", "/token") == before + 1  # confirmed before use
