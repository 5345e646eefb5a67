"""``deputize key`` and ``deputize vault``: keys and copies change while programs run, and nothing is lost."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deputize.core.settings import Settings
from deputize.core.vault.key_sources.file import KeyFile
from deputize.core.vault.root_keys import new_key
from deputize.core.vault.seal import id_of
from tests.cli.conftest import Command, Provider, connected
from tests.cli.terminal import environment
from tests.cli.test_refusals import refused
from tests.core.vault.test_rotation import sealers
from tests.support.key_source import KeysInMemory

ACTING = """
import sys, threading
from deputize.core import DeputizeError, Deputy

done = threading.Event()
threading.Thread(target=lambda: (sys.stdin.readline(), done.set()), daemon=True).start()
good, errors = 0, []
with Deputy.from_settings() as deputy:
    print("ready", flush=True)
    while not done.is_set() or not good:
        try:
            good += bool(deputy.run(deputy.act("gmail_search_emails", {}, user="alice")))
        except DeputizeError as e:
            errors.append(e.code)
print(good > 0, errors, flush=True)
"""


def ids(found: Any) -> dict[str, dict[str, Any]]:
    """Return the keys in ``key list --json`` by id."""
    return {row["id"]: row for row in json.loads(found.stdout)}


@pytest.mark.processes
def test_V6_four_programs_act_during_two_key_rotations(
    cli: Command, home: Path, provider: Provider, settings: dict[str, str]
) -> None:
    provider.sandbox.switches.rotate = provider.sandbox.switches.reuse_kills_family = True
    provider.sandbox.switches.access_ttl = 2
    provider.sandbox.expire_access_tokens()
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", ACTING], stdin=-1, stdout=-1, text=True, env=environment(home, **settings), cwd=home
        )
        for _ in range(4)
    ]
    try:
        for program in programs:
            assert program.stdout and program.stdout.readline() == "ready\n"
        for _ in range(2):
            turned = cli("key", "rotate", **settings)
            assert turned.exit_code == 0, turned.output
        said = [program.communicate("\n", timeout=60)[0].strip() for program in programs]
    finally:
        for program in programs:
            program.kill()
            program.communicate()
    assert said == ["True []"] * 4
    assert cli("key", "reseal", **settings).exit_code == 0
    keys = KeyFile(home / "deputize" / "key").read_keys()
    assert len(keys) == 3 and sealers(home / "deputize" / "vault.sqlite") == {id_of(keys[0])}


@pytest.mark.processes
def test_V6_key_in_use_is_not_removed_and_a_removed_one_is_not_lost(
    cli: Command, home: Path, settings: dict[str, str]
) -> None:
    file = home / "deputize" / "key"
    [old] = KeyFile(file).read_keys()
    alone = file.read_text()
    assert cli("key", "rotate", **settings).exit_code == 0
    new, _ = KeyFile(file).read_keys()
    file.write_text(alone)  # a program that was not restarted seals with the old key alone
    refused(cli("accounts", **settings), "vault_error", id_of(new))
    file.write_text(f"{alone.strip()}\n")
    both = "\n".join([_text(new), alone.strip()])
    file.write_text(both)
    refused(cli("key", "remove", id_of(new), **settings), "settings_error", "records sealed with the key")
    refused(cli("key", "remove", "0" * 16, **settings), "settings_error", "not in the key file")
    assert cli("key", "remove", id_of(old), **settings).exit_code == 0
    assert KeyFile(file).read_keys() == [new] and cli("accounts", **settings).exit_code == 0
    kept = file.with_name(f"key.{id_of(old)}")
    assert KeyFile(kept).read_keys() == [old] and stat.S_IMODE(kept.stat().st_mode) == 0o600
    rows = [json.loads(line) for line in cli("audit", "--json", **settings).stdout.splitlines()]
    told = {row["event"]: row for row in rows if row["event"].startswith("key.")}
    assert told["key.added"]["key"] == told["key.resealed"]["key"] == id_of(new)
    assert told["key.resealed"]["records"] > 0 and told["key.removed"]["key"] == id_of(old)
    assert alone.strip() not in str(rows)


@pytest.mark.processes  # a command after another, until the old key is gone
def test_key_rotation_is_immediate_and_keeps_the_old_key_for_a_while(
    cli: Command, home: Path, settings: dict[str, str]
) -> None:
    [old] = KeyFile(home / "deputize" / "key").read_keys()
    later = cli("key", "rotate", "--later", **settings)
    assert later.exit_code == 0 and "in the background" in later.stdout
    for _ in range(50):  # each command is a program of the vault, too
        if not ids(cli("key", "list", "--json", **settings)).get(id_of(old), {}).get("records"):
            break
        if cli("key", "remove", id_of(old), **settings).exit_code == 0:
            break
    assert cli("accounts", **settings).exit_code == 0
    assert cli("key", "reseal", **settings).exit_code == 0
    left = ids(cli("key", "list", "--json", **settings)).get(id_of(old), {})  # none if it could be removed
    assert not left.get("records")


@pytest.mark.processes
def test_V6_old_key_stays_while_a_record_needs_it(cli: Command, home: Path, settings: dict[str, str]) -> None:
    file = home / "deputize" / "key"
    [old] = KeyFile(file).read_keys()
    file.write_text(f"{new_key()}\n{file.read_text()}")
    listed = ids(cli("key", "list", "--json", **settings))
    assert listed[id_of(old)]["records"] > 0 and all(row["given"] for row in listed.values())
    refused(cli("key", "remove", id_of(old), **settings), "settings_error", "deputize key reseal")
    assert cli("key", "reseal", **settings).exit_code == 0
    assert ids(cli("key", "list", "--json", **settings))[id_of(old)]["records"] == 0
    assert "older  0 records" in cli("key", "list", **settings).stdout
    assert cli("key", "remove", id_of(old), **settings).exit_code == 0


def test_environment_keys_can_only_be_changed_by_the_operator(cli: Command, home: Path, provider: Provider) -> None:
    settings, first, second = provider.settings(), new_key(), new_key()
    assert cli("accounts", **settings, DEPUTIZE_KEY=first).exit_code == 0
    refused(cli("key", "rotate", **settings, DEPUTIZE_KEY=first), "settings_error", "deputize key new")
    assert cli("key", "reseal", **settings, DEPUTIZE_KEY=f"{second},{first}").exit_code == 0
    refused(cli("accounts", **settings, DEPUTIZE_KEY=f"{first},{second}"), "settings_error", "wrong order")
    assert cli("accounts", **settings, DEPUTIZE_KEY=second).exit_code == 0
    refused(cli("accounts", **settings, DEPUTIZE_KEY=first), "vault_error", "DEPUTIZE_KEY")
    assert not (home / "deputize" / "key").exists()


@pytest.mark.processes
def test_U10_audit_rekey_keeps_old_rows_verifiable(cli: Command, home: Path, settings: dict[str, str]) -> None:
    assert cli("audit", "rekey", **settings).exit_code == 0
    cli("act", "gmail_search_emails", "{}", **settings)
    proven = cli("audit", "verify", **settings)
    assert (proven.exit_code, "whole." in proven.stdout) == (0, True), proven.stdout
    rows = [json.loads(line) for line in cli("audit", "--json", **settings).stdout.splitlines()]
    assert "key.rotated" in {row["event"] for row in rows}
    for file in (home / "deputize" / "audit").glob("*.jsonl"):
        file.write_bytes(file.read_bytes().replace(b"consent.granted", b"consent.ignored"))
    assert cli("audit", "verify", **settings).exit_code == 1


@pytest.mark.processes
def test_U4_anchors_are_stored_as_configured_and_find_a_truncation(
    cli: Command, home: Path, provider: Provider
) -> None:
    settings = connected(home, provider, "gmail.readonly") | {"DEPUTIZE_AUDIT_ANCHOR_FILE": str(home / "anchors")}
    cli("act", "gmail_search_emails", "{}", **settings)
    assert stat.S_IMODE((home / "anchors").stat().st_mode) == 0o600
    assert cli("audit", "verify", **settings).exit_code == 0
    anchored = {json.loads(line)["writer"] for line in (home / "anchors").read_text().splitlines()}
    for file in (home / "deputize" / "audit").glob("*.jsonl"):
        if file.name.partition(".")[0] in anchored:
            file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:-1]))
    found = cli("audit", "verify", **settings)
    assert found.exit_code == 1 and "truncated" in found.stdout


def _text(key: bytes) -> str:
    import base64

    return base64.urlsafe_b64encode(key).decode().rstrip("=")


@pytest.mark.processes
def test_V10_backup_is_made_and_restored_from_the_command_line(
    cli: Command, home: Path, settings: dict[str, str]
) -> None:
    copy = home / "copy"
    assert cli("vault", "backup", str(copy), **settings).exit_code == 0
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    refused(cli("vault", "backup", str(copy), **settings), "settings_error", "already")
    assert cli("revoke", "google", **settings).exit_code == 0
    back = cli("vault", "restore", str(copy), **settings)
    assert back.exit_code == 0 and "Restored. 0 grants" in back.stdout, back.output
    assert json.loads(cli("accounts", "--json", **settings).stdout) == []  # what was revoked since stays so
    refused(cli("vault", "restore", str(home / "nowhere"), **settings), "store_unavailable")


@pytest.mark.processes
def test_W14_backup_copied_back_by_hand_is_reported_by_doctor_and_doubted(
    cli: Command, home: Path, provider: Provider, settings: dict[str, str]
) -> None:
    provider.sandbox.switches.rotate = provider.sandbox.switches.reuse_kills_family = True
    cli("vault", "backup", str(home / "copy"), **settings)
    vault = home / "deputize" / "vault.sqlite"
    vault.write_bytes((home / "copy").read_bytes())
    told = cli("doctor", "--offline", **settings)
    assert "backup: the vault is a restored backup of" in told.stdout
    before = provider.sandbox.count("oauth2.googleapis.com", "/token")
    assert cli("act", "gmail_search_emails", "{}", **settings).exit_code == 0
    assert provider.sandbox.count("oauth2.googleapis.com", "/token") == before + 1
    assert "backup:" not in cli("doctor", "--offline", **settings).stdout


def test_V4_key_given_instead_of_an_id_is_not_shown(cli: Command, home: Path, settings: dict[str, str]) -> None:
    key = (home / "deputize" / "key").read_text().strip()
    told = cli("key", "remove", "--", key, **settings)  # it may begin with a dash
    refused(told, "settings_error", "deputize key list")
    assert key not in told.output


@pytest.mark.processes
def test_V10_lost_vault_is_restored_with_its_key_and_not_recreated(
    cli: Command, home: Path, settings: dict[str, str]
) -> None:
    folder, copy = home / "deputize", home / "copy"
    key, vault = folder / "key", folder / "vault.sqlite"
    assert cli("vault", "backup", str(copy), **settings).exit_code == 0
    vault.unlink()
    kept = key.read_text()
    key.unlink()
    refused(cli("vault", "restore", str(copy), **settings), "settings_error", "no key")
    assert not key.exists() and not vault.exists()
    key.write_text(f"{new_key()}\n")
    key.chmod(0o600)
    refused(cli("vault", "restore", str(copy), **settings), "vault_error")
    assert not vault.exists()
    key.write_text(kept)
    back = cli("vault", "restore", str(copy), **settings)
    assert back.exit_code == 0 and "Restored." in back.stdout, back.output
    assert [one["account"] for one in json.loads(cli("accounts", "--json", **settings).stdout)] == [
        "alice@example.test"
    ]
    assert "backup:" not in cli("doctor", "--offline", **settings).stdout


@pytest.mark.parametrize("wide", [("--all",), ("--tenant", "acme"), ("--owed",)])
@pytest.mark.parametrize("narrow", [("--account", "bob"), ("--app", "google")])
def test_revoke_for_all_users_refuses_a_narrowing_option(
    cli: Command, wide: tuple[str, ...], narrow: tuple[str, ...], settings: dict[str, str]
) -> None:
    assert cli("revoke", *wide, *narrow, "--yes", **settings).exit_code == 2
    assert json.loads(cli("accounts", "--json", **settings).stdout)


def test_key_commands_work_with_any_writable_source(cli: Command, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = KeysInMemory()
    monkeypatch.setattr(Settings, "key_source", property(lambda _: source))
    [old] = source.make_key()
    assert cli("key", "list").exit_code == 0
    turned = cli("key", "rotate")
    assert turned.exit_code == 0, turned.output
    new, _ = source.keys
    assert ids(cli("key", "list", "--json"))[id_of(new)]["records"] > 0
    removed = cli("key", "remove", id_of(old))
    assert removed.exit_code == 0 and "It is kept in memory." in removed.output
    assert (source.keys, source.removed) == ([new], [old])
    assert not (home / "deputize" / "key").exists()


@pytest.mark.parametrize("down", [False, True])
def test_doctor_reports_any_key_source(cli: Command, monkeypatch: pytest.MonkeyPatch, down: bool) -> None:
    source = KeysInMemory()
    monkeypatch.setattr(Settings, "key_source", property(lambda _: source))
    assert "none yet: made with the vault" in cli("doctor", "--offline").output
    assert cli("key", "list").exit_code == 0
    source.fails = ConnectionError() if down else None
    said = cli("doctor", "--offline").output
    assert ("1 found" in said) is not down
    assert (f"cannot be read from {source.name}: ConnectionError" in said) is down


def test_read_only_key_source_is_not_changed(cli: Command) -> None:
    given = {"DEPUTIZE_KEY": new_key()}
    refused(cli("key", "rotate", **given), "settings_error", "come from DEPUTIZE_KEY, which only you can change")
