"""The pages on backup, keys, retention and failures: their commands run, and each row names an existing test."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Final

import pytest

from deputize.cli.retention import format_duration, retention_rows
from deputize.core.settings import Settings
from tests.cli.conftest import Command
from tests.docs.blocks import ROOT, text
from tests.docs.commands import commands

FAILURES: Final = "docs/failures.md"
ROWS: Final = [line for line in text(FAILURES).splitlines() if line.startswith("| ") and "::" in line]


def test_each_failure_names_an_existing_test() -> None:
    for row in ROWS:
        [(path, name)] = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", row)
        assert re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE), f"{path}::{name}"


def test_every_row_of_the_failures_table_names_a_test() -> None:
    table = [line for line in text(FAILURES).splitlines() if line.startswith("| ")]
    assert len(table) == len(ROWS) + 1 and len(ROWS) > 15


@pytest.mark.processes
@pytest.mark.parametrize("page", ["docs/backup-and-keys.md", "docs/retention.md"])
def test_commands_of_the_page_run_as_written(cli: Command, page: str, tmp_path: Path, settings: dict[str, str]) -> None:
    block = text(page).partition("```bash\n")[2].partition("```")[0]
    later = text(page).partition("```bash\n")[2].partition("```bash\n")[2].partition("```")[0]
    lines = [shlex.split(line, comments=True) for line in (block + later).splitlines() if line]
    assert lines == [shlex.split(line) for line in commands(page)[: len(lines)]]
    for line in (line for line in lines if line[1:3] != ["store", "prune-audit"]):  # tests/cli/test_store.py
        words = [word.replace("/backups/vault", str(tmp_path / "copy")) for word in line[1:]]
        done = cli(*words, *(["--yes"] if words[0].startswith("erase") else []), **settings)
        assert done.exit_code == 0, (line, done.stdout, done.stderr)


def test_durations_of_the_page_match_the_program(home: Path) -> None:
    page = text("docs/retention.md")
    rows = {row.what: row for row in retention_rows(Settings.load(home=home))}
    assert (
        rows["outcomes of acts"].how_long
        == rows["files"].how_long
        == rows["consents"].how_long
        == format_duration(86400)
    )
    assert rows["links"].how_long == "2 days at most" and rows["sign-in sessions"].how_long.endswith("12 hours at most")
    assert rows["approvals, questions"].how_long.startswith("1 hour")
    for setting in filter(None, (row.setting for row in rows.values())):
        assert f"`DEPUTIZE_{setting.upper()}`" in page
