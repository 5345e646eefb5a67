"""``deputize preflight``, and the cron job of docs/unattended.md from its first check to its mail."""

from __future__ import annotations

import json
import re
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.cli.conftest import Command, Provider, connected
from tests.docs.blocks import block

PAGE = "docs/unattended.md"


def job_file(folder: Path) -> str:
    """Write the job of the page, with an end in ten days."""
    ends = f"{datetime.now(UTC) + timedelta(days=10):%Y-%m-%dT%H:%M:%SZ}"
    text = re.sub(r"until = \S+", f"until = {ends}", block(PAGE, "users", "toml"))
    (folder / "report.toml").write_text(text)
    return str(folder / "report.toml")


def content_of(folder: Path) -> dict[str, bytes]:
    return {str(one): one.read_bytes() for one in folder.rglob("*") if one.is_file()}


def test_documented_job_is_checked_equipped_and_run(
    cli: Command, home: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = job_file(home)
    first = cli("preflight", file, "--json", **provider.settings())
    assert first.exit_code == 1 and not (home / "deputize" / "vault.sqlite").exists()  # nothing is made
    lacking = {one["what"]: one for one in json.loads(first.stdout)["findings"] if one["state"] == "bad"}
    assert lacking.keys() == {"connection", "mandate"}
    assert lacking["connection"]["todo"].startswith("deputize connect google --user alice --scopes https://")
    settings = connected(home, provider, "gmail.send")
    kept = content_of(home / "deputize")
    second = cli("preflight", file, **settings)
    assert second.exit_code == 1 and "no mandate of alice covers it" in second.stdout, second.output
    assert {name: kept[name] for name in kept if "-shm" not in name} == {
        name: found for name, found in content_of(home / "deputize").items() if name in kept and "-shm" not in name
    }
    words = shlex.split(lacking["mandate"]["todo"])
    assert words[:3] == ["deputize", "mandates", "give"]
    documented = shlex.split(block(PAGE, "mandates give", "bash"))
    assert [one for one in words if one.startswith("--")] == ["--user", *(w for w in documented if w.startswith("--"))]
    asked = cli(*words[1:], stdin="n\n", **settings)
    assert asked.exit_code == 1 and "as any of your accounts" in asked.stderr
    assert "What it does is seen by the people named here." in asked.stderr
    wider = cli(*words[1:], "--audience", "public", stdin="n\n", **settings)
    assert wider.exit_code == 1 and "What it does is seen by everybody." in wider.stderr
    given = cli(*words[1:], "--yes", **settings)
    assert given.exit_code == 0, given.output
    third = cli("preflight", file, **settings)
    assert third.exit_code == 0 and "Ready." in third.stdout and "covers 10 of 10 calls" in third.stdout, third.output
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    for _ in range(2):  # the same call of the same day
        exec(block(PAGE, "report-{today}"), {})  # noqa: S102  # our own page
    [mandate] = json.loads(cli("mandates", "--json", **settings).stdout)
    assert mandate["used"] == 1


def test_mandate_for_a_user_of_a_tenant_is_found(cli: Command, home: Path, provider: Provider) -> None:
    file = job_file(home)
    text = Path(file).read_text().replace('users = ["alice"]', 'users = [{ id = "alice", tenant = "acme" }]')
    Path(file).write_text(text)

    def lacking() -> dict[str, str]:
        done = cli("preflight", file, "--json", **provider.settings())
        return {one["what"]: one["todo"] for one in json.loads(done.stdout)["findings"] if one["state"] == "bad"}

    given = cli(*shlex.split(lacking()["mandate"])[1:], "--yes", **provider.settings())
    assert given.exit_code == 0, given.output
    assert lacking().keys() == {"connection"}
    named = ("--user", "alice", "--tenant", "acme")
    assert "reporter" in cli("mandates", *named, **provider.settings()).stdout
    assert "Nothing" in cli("mandates", **provider.settings()).stdout, "the user of no tenant has none"


def test_file_with_a_fault_is_refused(cli: Command, home: Path) -> None:
    (home / "job.toml").write_text('version = 1\nusers = ["alice"]\nnights = 3\n')
    done = cli("preflight", str(home / "job.toml"))
    assert done.exit_code == 1 and "job.toml line 3: 'nights' is not a key here" in done.stderr
    assert "cannot be read" in cli("preflight", str(home / "none.toml")).stderr


def test_name_in_a_job_forges_no_line_and_no_command(cli: Command, home: Path, provider: Provider) -> None:
    names = r"""["al\nok    bob: ready", "a\u001b[2K'; $(id) #"]"""
    text = Path(job_file(home)).read_text().replace('["alice"]', names)
    (home / "report.toml").write_text(text)
    done = cli("preflight", str(home / "report.toml"), **provider.settings())
    lines = done.stdout.splitlines()
    assert done.exit_code == 1 and not [one for one in lines if one.startswith("ok")] and "\x1b" not in done.stdout
    commands = [shlex.split(one.partition("to do ")[2]) for one in lines if "to do deputize" in one]
    users = [words[words.index("--user") + 1] for words in commands]
    assert set(users) == {"al ok    bob: ready", "a[2K'; $(id) #"}, done.stdout
