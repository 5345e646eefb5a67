"""Failures are reported with a message, a fix and a code on stderr; no traceback, no secret, no result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deputize.core.vault.root_keys import new_key
from tests.cli.conftest import Command, Provider, connected
from tests.cli.terminal import run

READ = "https://www.googleapis.com/auth/gmail.readonly"


def refused(found: Any, code: str, *words: str) -> None:
    """Check that it failed with a message, a fix and a code; no traceback, and nothing on stdout."""
    assert (found.exit_code, found.stdout) == (1, ""), found.output
    assert "Traceback" not in found.stderr
    assert f"[{code}]" in found.stderr, found.stderr
    assert all(word in found.stderr for word in words), found.stderr


def test_unknown_tool_error_suggests_similar_names(cli: Command, provider: Provider) -> None:
    found = cli("act", "gmail_serch_emails", "{}", **provider.settings())
    refused(found, "invalid_input", "gmail_serch_emails", "gmail_search_emails")


def test_invalid_arguments_are_named_without_their_values(cli: Command, settings: dict[str, str]) -> None:
    found = cli("act", "gmail_search_emails", '{"limit": "hush-hush"}', **settings)
    refused(found, "invalid_input", "limit")
    assert "hush-hush" not in found.stderr


@pytest.mark.parametrize("path", ["~nobody0/x", "x" * 5000, "é" * 200], ids=["unknown user", "long", "long in bytes"])
@pytest.mark.parametrize(
    "words",
    [
        ["vault", "backup", "PATH"],
        ["vault", "restore", "PATH"],
        ["store", "copy", "PATH", "copy"],
        ["import", "PATH"],
        ["sandbox", "--port=0", "--state=PATH"],
        ["--config=PATH", "accounts"],
    ],
    ids=lambda words: " ".join(words),
)
def test_impossible_path_is_refused(words: list[str], path: str, cli: Command, provider: Provider, home: Path) -> None:
    assert cli("accounts", **provider.settings()).exit_code == 0
    before = sorted(home.rglob("*"))
    refused(
        cli(*(word.replace("PATH", path) for word in words), **provider.settings()), "settings_error", "cannot be used"
    )
    assert [one for one in sorted(home.rglob("*")) if one not in before and one.parent == home] == []


@pytest.mark.parametrize("path", ["~nobody0/x", "x" * 5000, "é" * 200], ids=["unknown user", "long", "long in bytes"])
@pytest.mark.parametrize(
    "name",
    [
        "HOME",
        "VAULT",
        "KEY_FILE",
        "VAULT_FILE",
        "AUDIT_ANCHOR_FILE",
        "BRAND_LOGO",
        "CONFIG",
        "SERVE__CLIENT_SECRET_FILE",
    ],
)
def test_setting_with_an_impossible_path_is_refused(name: str, path: str, cli: Command, provider: Provider) -> None:
    found = cli("accounts", **provider.settings() | {f"DEPUTIZE_{name}": path})
    refused(found, "settings_error", "cannot be used")
    examined = cli("doctor", "--offline", **provider.settings() | {f"DEPUTIZE_{name}": path})
    assert examined.exit_code == 1 and "cannot be used" in examined.output + examined.stderr


def test_vault_file_name_may_be_invalid_unicode(cli: Command, provider: Provider, home: Path) -> None:
    name = str(home / "deputize" / "\udcff.sqlite")
    assert cli("accounts", **provider.settings(), DEPUTIZE_VAULT=name).exit_code == 0
    copied = cli("vault", "backup", str(home / "\udcfe"), **provider.settings(), DEPUTIZE_VAULT=name)
    assert copied.exit_code == 0, copied.output
    assert Path(name).is_file() and (home / "\udcfe").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "words", [["vault", "backup", "/"], ["sandbox", "--state=.", "--port=0"], ["sandbox", "--state=/dev/null/x"]]
)
def test_unwritable_file_is_refused(words: list[str], cli: Command, provider: Provider) -> None:
    refused(cli(*words, **provider.settings()), "settings_error")


def test_unreachable_address_is_wrong_usage(cli: Command) -> None:
    found = cli("mcp", "config", "claude", "--url=https://a\udcff.example/mcp")
    assert (found.exit_code, found.stdout) == (2, "")


@pytest.mark.parametrize("text", ["not json", "[1]", "'{}'", ""])
def test_arguments_that_are_not_a_json_object_are_wrong_usage(text: str, cli: Command, home: Path) -> None:
    found = cli("act", "gmail_search_emails", text)
    assert found.exit_code == 2 and "JSON" in found.stderr
    assert not (home / "deputize").exists()


@pytest.mark.parametrize("words", [["connect", "google"], ["act", "gmail_search_emails"]])
def test_missing_app_error_names_the_settings(words: list[str], cli: Command) -> None:
    refused(cli(*words), "settings_error", "DEPUTIZE_APPS__GOOGLE__CLIENT_ID")


@pytest.mark.parametrize("words", [["connect", "gogle"], ["revoke", "gogle"]])
def test_unknown_provider_error_lists_the_known_ones(words: list[str], cli: Command, provider: Provider) -> None:
    refused(cli(*words, **provider.settings()), "invalid_input", "Unknown provider 'gogle'; known: google")


def test_unknown_toolkit_error_lists_the_known_ones(cli: Command) -> None:
    refused(cli("tools", "gmial"), "invalid_input", "'gmial'", "gmail", "deputize mcp tools")


def test_misspelt_scope_is_refused_before_the_provider_sees_it(cli: Command, provider: Provider) -> None:
    found = cli("connect", "google", "--scopes", "gmail.readnly", **provider.settings())
    refused(found, "invalid_input", "gmail.readnly", "gmail.readonly")


def test_another_key_does_not_open_the_vault(cli: Command, home: Path, provider: Provider) -> None:
    settings, key = connected(home, provider, "gmail.readonly"), new_key()
    found = cli("accounts", **settings, DEPUTIZE_KEY=key)
    refused(found, "vault_error", "DEPUTIZE_KEY")
    assert key not in found.stderr


def test_invalid_key_is_not_repeated(cli: Command, provider: Provider) -> None:
    found = cli("accounts", **provider.settings(), DEPUTIZE_KEY="hush-hush")
    refused(found, "settings_error", "deputize key new")
    assert "hush-hush" not in found.stderr


def test_lost_key_stops_every_command_and_is_not_recreated(cli: Command, home: Path, settings: dict[str, str]) -> None:
    (home / "deputize" / "key").unlink()
    refused(cli("accounts", **settings), "settings_error", "There is a vault but no key")
    assert not (home / "deputize" / "key").exists()


@pytest.mark.parametrize("left", [0, 100, 5000])
def test_truncated_vault_is_refused_unchanged(left: int, cli: Command, home: Path, settings: dict[str, str]) -> None:
    vault = home / "deputize" / "vault.sqlite"
    vault.write_bytes(vault.read_bytes()[:left])
    for beside in vault.parent.glob("vault.sqlite-*"):
        beside.unlink()
    refused(cli("accounts", **settings), "vault_error")
    assert vault.stat().st_size == left


@pytest.mark.processes
def test_taken_port_is_named_with_the_setting_that_moves_it(cli: Command, provider: Provider, taken_port: int) -> None:
    found = cli("connect", "google", **provider.settings(port=taken_port))
    refused(found, "settings_error", str(taken_port), "DEPUTIZE_PORT")


def test_settings_of_the_wrong_type_are_named_without_their_values(cli: Command, home: Path) -> None:
    found = cli("accounts", DEPUTIZE_PORT="hush-hush")
    refused(found, "settings_error", "port")
    assert "hush-hush" not in found.stderr
    (home / "deputize.toml").write_text("[apps.google\nclient_secret = 'hush-hush'")
    found = cli("--config", "deputize.toml", "accounts")
    refused(found, "settings_error", "deputize.toml")
    assert "hush-hush" not in found.stderr


def test_act_without_waiting_says_how_to_connect_first(cli: Command, provider: Provider) -> None:
    found = cli("act", "gmail_search_emails", "--wait", "0", **provider.settings())
    refused(found, "consent_required", f"deputize connect google --scopes {READ}")
    assert "/connect/" not in found.stderr


@pytest.mark.processes
def test_act_not_answered_in_time_says_how_to_connect(cli: Command, provider: Provider) -> None:
    found = cli("act", "gmail_search_emails", "--wait", "2", **provider.settings())
    refused(found, "consent_required", "deputize connect google")
    assert found.stderr.count("/connect/") == 1


def test_unanswered_connect_is_reported(cli: Command, provider: Provider) -> None:
    refused(cli("connect", "google", "--wait", "0.2", **provider.settings()), "provider_unavailable", "in time")


@pytest.mark.processes
def test_provider_outage_is_reported(cli: Command, provider: Provider, settings: dict[str, str]) -> None:
    provider.sandbox.switches.down = True
    refused(cli("act", "gmail_search_emails", **settings), "provider_unavailable")


def test_web_application_mode_needs_the_user_option(cli: Command) -> None:
    web = {"DEPUTIZE_BASE_URL": "https://deputy.example.test", "DEPUTIZE_KEY": new_key()}
    refused(cli("accounts", **web), "user_required", "--user")
    assert cli("accounts", "--user", "alice", **web).exit_code == 0


@pytest.mark.parametrize("words", [["audit"], ["audit", "verify"]])
def test_missing_audit_is_reported_and_not_created(words: list[str], cli: Command, home: Path) -> None:
    refused(cli(*words), "store_unavailable", "no audit folder")
    assert not (home / "deputize").exists()


def test_missing_anchors_file_is_wrong_usage(cli: Command) -> None:
    found = cli("audit", "verify", "--anchors", "nowhere")
    assert found.exit_code == 2 and "nowhere" in found.stderr


@pytest.mark.parametrize("words", [["no-such-command"], ["accounts", "--no-such-option"], ["act"], ["demo", "--json"]])
def test_wrong_usage_exits_with_2(words: list[str], cli: Command) -> None:
    assert cli(*words).exit_code == 2


@pytest.mark.processes
def test_installed_program_fails_with_the_same_messages(home: Path, settings: dict[str, str]) -> None:
    for words, code, env in (
        (["act", "gmail_serch_emails"], 1, {}),
        (["act", "gmail_search_emails", "not json"], 2, {}),
        (["accounts"], 1, {"DEPUTIZE_KEY": new_key()}),
    ):
        found = run(*words, home=home, **settings | env)
        assert (found.returncode, found.stdout) == (code, ""), found
        assert found.stderr and "Traceback" not in found.stderr
