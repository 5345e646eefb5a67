"""``deputize retention`` lists all stored data, and settings change how long it is kept."""

from __future__ import annotations

import json
from pathlib import Path

from deputize.cli.retention import format_duration, retention_rows, wrapped
from deputize.core import Deputy
from deputize.core.settings import Settings
from deputize.core.vault.record import KINDS
from tests.cli.conftest import Command, Provider, connected


def test_every_record_kind_is_listed_once(home: Path) -> None:
    told = [kind for row in retention_rows(Settings.load(home=home)) for kind in row.kinds]
    assert sorted(told) == sorted(set(KINDS) - {"filepart"})


def test_retention_shows_durations_and_numbers(cli: Command, home: Path, provider: Provider) -> None:
    settings = connected(home, provider, "gmail.readonly") | {"DEPUTIZE_AUDIT_RETENTION_DAYS": "30"}
    said = cli("retention", "--json", DEPUTIZE_FILE_RETENTION_SECONDS="7200", **settings)
    assert said.exit_code == 0, said.stderr
    rows = {row["what"]: row for row in json.loads(said.stdout)}
    assert rows["grants"]["number"] == 1 and rows["consents"]["number"] == 1
    assert rows["files"] == {"what": "files", "kept": "2 hours", "setting": "file_retention_seconds", "number": 0}
    audit = rows["audit"]
    assert audit["kept"] == "30 days" and audit["number"] >= 1 and audit["bytes"] > 0 and audit["since"]
    plain = cli("retention", **settings)
    assert "files" in plain.stdout and "1 day  (DEPUTIZE_FILE_RETENTION_SECONDS)" in plain.stdout, plain.stdout
    assert "30 days  (DEPUTIZE_AUDIT_RETENTION_DAYS)" in plain.stdout and "since 20" in plain.stdout


def test_file_expiry_follows_the_setting(home: Path) -> None:
    with Deputy.from_settings(Settings.load(home=home / "deputize", file_retention_seconds=3600, port=0)) as deputy:
        now = 1_800_000_000.0
        deputy.files.clock = lambda: now
        kept = deputy.run(deputy.store_file("alice", "a.txt", "text/plain", b"x"))
        assert kept["expires"] == "2027-01-15T09:00:00Z"


def test_durations_are_formatted_in_words() -> None:
    assert [format_duration(one) for one in (86400, 172800, 3600, 5400, 90)] == [
        "1 day",
        "2 days",
        "1 hour",
        "90 minutes",
        "90 seconds",
    ]


def test_row_wider_than_the_terminal_wraps_below_its_column() -> None:
    row = f"{'grants':28}{1:>7}  until disconnected; that there was one, until the user is forgotten"
    first, second = wrapped(row, 80).splitlines()
    assert len(first) <= 80 and second == " " * 37 + "until the user is forgotten"
