"""The drills of docs/backup-and-keys.md, run unchanged by a shell."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from deputize.core.vault.key_sources.file import KeyFile
from deputize.core.vault.seal import id_of
from deputize.core.vault.stores.sqlite.store import SqliteStore
from deputize.core.vault.vault import Vault
from tests.cli.conftest import Command, Provider, connected
from tests.cli.terminal import environment
from tests.core.vault.test_rotation import sealers
from tests.docs.blocks import block

pytestmark = pytest.mark.processes

PAGE = "docs/backup-and-keys.md"


def drill(word: str, home: Path, settings: dict[str, str]) -> str:
    """Run the block of the page that contains this word, with a test folder for the backups. Return its output."""
    backups = home / "backups"
    backups.mkdir()
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-e", "-c", block(PAGE, word, "bash").replace("/backups", str(backups))],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=180,
        env=environment(home, PATH=path, **settings),
        cwd=home,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def fill(folder: Path, records: int) -> None:
    """Add records, so that encrypting them takes a while."""

    async def insert() -> None:
        vault = await Vault.open(
            SqliteStore.open(folder / "vault.sqlite", create=False), KeyFile(folder / "key").read_keys()
        )
        await asyncio.gather(*(vault.insert("act", f"row{n:05d}", {"expires": 1e12}, None) for n in range(records)))
        await vault.close()

    asyncio.run(insert())


def test_two_rotations_and_a_backup_at_once_leave_both_intact(cli: Command, home: Path, provider: Provider) -> None:
    settings = connected(home, provider, "gmail.readonly")
    fill(home / "deputize", records=3000)
    said = drill("during-rotation", home, settings)
    newest, *older = [id_of(key) for key in KeyFile(home / "deputize" / "key").read_keys()]
    assert len(older) == 2 and sealers(home / "deputize" / "vault.sqlite") == {newest}
    assert [line.split("  ")[:2] for line in said.splitlines() if "  " in line] == [[newest, "newest"]] + [
        [id, "older"] for id in older
    ]
    back = cli("vault", "restore", str(home / "backups" / "during-rotation"), **settings)
    assert back.exit_code == 0 and re.search(r"Restored\. 1 grant|; 1 with\s+newer", back.stdout), back.output
    assert cli("act", "gmail_search_emails", "{}", **settings).exit_code == 0


def test_lost_machine_is_restored(cli: Command, home: Path, provider: Provider) -> None:
    settings = connected(home, provider, "gmail.readonly")
    said = drill("drill-key", home, settings)
    assert ": whole." in said.splitlines()[-20:] or said.count("whole") >= 2, said
    assert "ok    grants: 1 live, 0 lost, 0 disconnected" in said and "bad  " not in said, said
    assert cli("act", "gmail_search_emails", "{}", **settings).exit_code == 0
