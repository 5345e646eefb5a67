"""The commands read compressed audit files like others, and name a damaged one."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from deputize.core import Deputy
from deputize.core.audit import Audit
from deputize.core.audit.compression import closed_files, compress_file
from deputize.core.audit.rows import Key
from tests.cli.conftest import Command, Provider, connected


def compressed(
    cli: Command, home: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch, at: float = 0.0
) -> tuple[dict[str, str], Path]:
    """Return the settings of a vault whose audit has three compressed files of one chain, the middle one damaged."""
    settings = connected(home, provider, "gmail.readonly")
    for variable, value in settings.items():
        monkeypatch.setenv(variable, value)
    assert cli("act", "gmail_search_emails", '{"query": "from:bob"}', **settings).exit_code == 0
    folder = home / "deputize" / "audit"
    with Deputy.from_settings() as deputy:
        assert isinstance(deputy.audit.trail, Path)
        lines = [row for row in deputy.audit.rows() if row["event"] == "act.result"]
        with_clock = {"clock": lambda: at} if at else {}
        audit = Audit(folder, deputy.vault.keys.audit, rotate_bytes=6000, **with_clock)  # type: ignore[arg-type]
        for n in range(90):
            audit._append(
                "act.result", user=lines[0]["user"], tool="gmail_search_emails", call_id=f"call-{n}", show="a" * 64
            )
            audit.flush()
        audit.close()
        ring = [Key(key) for key in deputy.vault.keys.audits]
        assert sum(compress_file(path, ring) for path in closed_files(folder, time.time() + 10_000)) > 2
    return settings, sorted(folder.glob("*.gz"))[1]


def test_audit_commands_read_compressed_files(
    cli: Command, home: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, _ = compressed(cli, home, provider, monkeypatch)
    shown = [json.loads(line) for line in cli("audit", "--json", "-n", "1000", **settings).stdout.splitlines()]
    assert {f"call-{n}" for n in range(90)} <= {row.get("call_id") for row in shown}
    assert cli("audit", "explain", "call-3", **settings).exit_code == 0
    quick, full = (cli("audit", "verify", *options, **settings) for options in ((), ("--full",)))
    assert quick.exit_code == full.exit_code == 0, quick.stdout + full.stdout
    assert "Checkpoints of compressed files proved " in quick.stdout and "Checkpoints" not in full.stdout
    assert quick.stdout.splitlines()[0] == full.stdout.splitlines()[0]
    [audit] = [row for row in json.loads(cli("retention", "--json", **settings).stdout) if row["what"] == "audit"]
    stored = list((home / "deputize" / "audit").iterdir())
    assert audit["kept"] == "400 days" and audit["number"] == len(stored)
    assert audit["bytes"] == sum(path.stat().st_size for path in stored)


def test_audit_commands_name_a_damaged_file(
    cli: Command, home: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, file = compressed(cli, home, provider, monkeypatch)
    whole = file.read_bytes()
    file.write_bytes(whole[:200] + bytes(40) + whole[240:])
    for command in (("audit",), ("audit", "--json"), ("audit", "explain", "call-3")):
        found = cli(*command, **settings)
        assert found.exit_code == 1 and f"{file.name} is damaged" in " ".join(found.stderr.split()), found.stderr
        assert "Traceback" not in found.output
    verified = cli("audit", "verify", **settings)
    assert verified.exit_code == 1 and f"{file.name} is damaged" in " ".join(verified.stdout.split())
    doctor = {
        line["what"]: line
        for line in map(json.loads, cli("doctor", "--json", "--offline", **settings).stdout.splitlines())
    }
    assert doctor["audit"]["state"] == doctor["rollback"]["state"] == doctor["acts"]["state"] == "bad"
    assert cli("act", "gmail_search_emails", "{}", **settings).exit_code == 0, "an act goes on"


def test_doctor_reports_row_retention_and_older_rows(
    cli: Command, home: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, _ = compressed(cli, home, provider, monkeypatch, at=time.time() - 50 * 86400)

    def audit(days: str) -> dict[str, str]:
        found = cli("doctor", "--json", "--offline", **settings, DEPUTIZE_AUDIT_RETENTION_DAYS=days).stdout
        [line] = [line for line in map(json.loads, found.splitlines()) if line["what"] == "audit"]
        return dict(line)

    assert audit("400")["state"] == "ok" and audit("400")["found"].endswith("kept 400 days")
    assert audit("0")["state"] == "ok" and audit("0")["found"].endswith("kept for ever")
    late = audit("10")
    assert late["state"] == "open" and "the oldest is of 20" in late["found"] and "once a day" in late["todo"]
