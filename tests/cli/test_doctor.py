"""``doctor`` finds each obstacle, says how to remove it, and changes nothing."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deputize.core import Deputy, User
from deputize.core.settings import Settings
from deputize.core.vault.root_keys import new_key
from tests.cli.conftest import Command, Provider, connected


def lines(found: Any) -> dict[str, dict[str, str]]:
    """Return the findings by subject."""
    return {line["what"]: line for line in map(json.loads, found.stdout.splitlines())}


def test_doctor_on_a_new_machine_misses_only_an_app(cli: Command, home: Path) -> None:
    found = cli("doctor", "--json", DEPUTIZE_PORT="0")
    told = lines(found)
    assert found.exit_code == 0, told
    assert [what for what, line in told.items() if line["state"] != "ok"] == ["apps"]
    assert "DEPUTIZE_APPS__GOOGLE__CLIENT_ID" in told["apps"]["todo"]
    assert not (home / "deputize").exists()


def test_doctor_says_to_start_a_missing_sandbox(cli: Command) -> None:
    app = {"DEPUTIZE_APPS__GOOGLE__CLIENT_ID": "id", "DEPUTIZE_APPS__GOOGLE__CLIENT_SECRET": "secret"}
    found = cli("doctor", "--json", DEPUTIZE_PORT="0", DEPUTIZE_SANDBOX_URL="http://127.0.0.1:1", **app)
    assert "deputize sandbox" in lines(found)["Google"]["todo"]


def test_doctor_reports_ok_for_everything(cli: Command, home: Path, provider: Provider) -> None:
    found = cli("doctor", "--json", **connected(home, provider, "gmail.readonly"))
    told = lines(found)
    assert found.exit_code == 0 and {line["state"] for line in told.values()} == {"ok"}
    assert "1 grant in" in told["vault"]["found"]
    assert told["app google"]["found"].endswith("/callback/google")
    assert "answers" in told["Google"]["found"] and "whole" in told["audit"]["found"]
    assert int(told["toolkit gmail"]["found"].split()[0]) > 5


def test_doctor_prints_one_line_per_finding_and_what_to_do(cli: Command) -> None:
    found = cli("doctor")
    assert "todo  apps: no OAuth app" in found.stdout and "to do Set DEPUTIZE_APPS" in found.stdout


def bad(found: Any, what: str, *words: str) -> None:
    line = lines(found)[what]
    assert (found.exit_code, line["state"]) == (1, "bad"), line
    assert all(word in line["found"] + line["todo"] for word in words), line


def test_doctor_reports_unreadable_settings_first(cli: Command) -> None:
    bad(cli("doctor", "--json", DEPUTIZE_PORT="hush-hush"), "settings", "port")


def test_doctor_finds_a_wrong_key(cli: Command, settings: dict[str, str]) -> None:
    bad(cli("doctor", "--json", **settings, DEPUTIZE_KEY=new_key()), "vault", "DEPUTIZE_KEY")


def test_doctor_finds_a_lost_key_and_creates_none(cli: Command, home: Path, settings: dict[str, str]) -> None:
    (home / "deputize" / "key").unlink()
    bad(cli("doctor", "--json", **settings), "key", "no key")
    assert not (home / "deputize" / "key").exists()


def test_doctor_finds_a_missing_key_of_a_web_application(cli: Command) -> None:
    web = {"DEPUTIZE_BASE_URL": "https://deputy.example.test"}
    bad(cli("doctor", "--json", "--offline", **web), "key", "DEPUTIZE_KEY")


def test_doctor_finds_a_home_open_to_others(cli: Command, home: Path) -> None:
    (home / "deputize").mkdir(mode=0o755)
    (home / "deputize").chmod(0o755)
    bad(cli("doctor", "--json"), "home", "chmod 700")


@pytest.mark.parametrize("named", ["~nosuchuser/x", "/home/" + "x" * 300, "/home" + "/xxxxxxxxx" * 600])
def test_doctor_finds_an_impossible_home_folder(cli: Command, named: str) -> None:
    bad(cli("doctor", "--json", DEPUTIZE_HOME=named), "settings", "cannot be used", "DEPUTIZE_HOME")


def test_doctor_finds_a_taken_port(cli: Command, taken_port: int) -> None:
    bad(cli("doctor", "--json", DEPUTIZE_PORT=str(taken_port)), "pages", str(taken_port), "DEPUTIZE_PORT")


def test_doctor_finds_an_unreachable_provider_unless_offline(cli: Command, provider: Provider) -> None:
    settings = {**provider.settings(), "DEPUTIZE_SANDBOX_URL": "http://127.0.0.1:9"}
    bad(cli("doctor", "--json", **settings), "Google", "127.0.0.1:9")
    assert cli("doctor", "--json", "--offline", **settings).exit_code == 0


def test_doctor_names_the_setting_of_an_unreachable_issuer(cli: Command) -> None:
    app = {
        "ISSUER": "https://127.0.0.1:9",
        "ALLOW_PRIVATE_NETWORK": "true",
        "CLIENT_ID": "id",
        "CLIENT_SECRET": "secret",
    }
    settings = {f"DEPUTIZE_APPS__CRM__{name}": value for name, value in app.items()}
    bad(cli("doctor", "--json", **settings), "crm", "firewall", "issuer in [apps.crm] is https://127.0.0.1:9")


def test_doctor_names_the_setting_of_the_callers_unreachable_issuer(cli: Command) -> None:
    served = {"DEPUTIZE_SERVE__ISSUER": "http://127.0.0.1:9", "DEPUTIZE_SERVE__CLIENT_ID": "id"}
    found = cli("doctor", "--json", DEPUTIZE_BASE_URL="http://127.0.0.1:9", DEPUTIZE_KEY=new_key(), **served)
    bad(found, "serve", "firewall", "serve.issuer is http://127.0.0.1:9")


def test_doctor_finds_app_whose_provider_returns_to_other_host(cli: Command) -> None:
    app = {"DEPUTIZE_APPS__SALESFORCE__CLIENT_ID": "id", "DEPUTIZE_APPS__SALESFORCE__CLIENT_SECRET": "secret"}
    at = {"DEPUTIZE_KEY": new_key(), "DEPUTIZE_BASE_URL": "http://127.0.0.1:8000/agents"}
    found = cli("doctor", "--json", "--offline", **app, **at)
    bad(found, "app salesforce", "http://localhost:8000/agents", "cookies")
    for good in ({**at, "DEPUTIZE_BASE_URL": "http://localhost:8000/agents"}, {}):  # local mode hands browsers on
        assert cli("doctor", "--json", "--offline", **app, **good).exit_code == 0


def test_doctor_finds_an_app_of_an_unknown_provider(cli: Command) -> None:
    bad(cli("doctor", "--json", DEPUTIZE_APPS__GOGLE__CLIENT_ID="x"), "app gogle", "'gogle'", "google")


def test_doctor_describes_apps_without_consent_pages(cli: Command, tmp_path: Path) -> None:
    source = """
    [providers.crm.oauth]
    authorize_url = "https://login.example.com/authorize"
    token_url = "https://login.example.com/token"

    [providers.crm.apis]
    roots = { crm = "https://crm.example.com/api" }
    identity = { url = "https://login.example.com/userinfo" }
    """
    sources = {
        "crm": 'kind = "exchange"',
        "bot": 'kind = "service_account"\norganisation = "Acme Ltd"\nscopes = ["crm.read"]',
        "jag": 'kind = "identity_assertion"\nidentity_app = "nowhere"\ntoken_audience = "https://login.example.com"',
    }
    sources["hub"] = sources["bot"]
    for name, one in sources.items():
        provider = "github_app" if name == "hub" else "crm"
        source += f'\n[apps.{name}]\nprovider = "{provider}"\nclient_id = "x"\nclient_secret = "y"\n'
        source += f"[apps.{name}.source]\n{one}\n"
    (tmp_path / "apps.toml").write_text(source)
    found = cli("doctor", "--json", "--offline", DEPUTIZE_CONFIG=str(tmp_path / "apps.toml"), DEPUTIZE_PORT="0")
    told = lines(found)
    assert told["app bot"]["found"].startswith("service account of Acme Ltd, for crm.read; it acts only where")
    assert "redirect" not in told["app bot"]["found"]
    assert told["app crm"]["found"].startswith(
        "grants by exchange of the session that token_for gives; by hand, redirect"
    )
    bad(found, "app hub", "no service accounts", "let users consent")
    bad(found, "app jag", "'nowhere', which is no app", "[apps.nowhere]")


def test_doctor_finds_an_altered_audit(cli: Command, home: Path, settings: dict[str, str]) -> None:
    for file in (home / "deputize" / "audit").glob("*.jsonl"):
        file.write_bytes(file.read_bytes().replace(b"google", b"gogole"))
    bad(cli("doctor", "--json", **settings), "audit", "not whole", "deputize audit verify")


@pytest.mark.parametrize("secret", ["hush-hush"])
def test_doctor_shows_no_secret(secret: str, cli: Command, provider: Provider) -> None:
    settings = provider.settings() | {"DEPUTIZE_APPS__GOOGLE__CLIENT_SECRET": secret, "DEPUTIZE_KEY": secret}
    found = cli("doctor", **settings)
    assert found.exit_code == 1 and secret not in found.output


def test_V2_doctor_finds_a_rolled_back_vault_with_audited_generations(
    cli: Command, home: Path, settings: dict[str, str]
) -> None:
    vault = home / "deputize" / "vault.sqlite"
    before = vault.read_bytes()
    assert cli("revoke", "google", **settings).exit_code == 0
    vault.write_bytes(before)
    found = cli("doctor", "--json", "--offline", **settings)
    bad(found, "rollback", "alice@example.test of alice", "generation 1", "saw 2")


@pytest.mark.processes
def test_R36_doctor_counts_live_grants_and_lists_queued_revocations_without_tokens(
    cli: Command, provider: Provider, settings: dict[str, str]
) -> None:
    assert lines(cli("doctor", "--json", "--offline", **settings))["grants"]["found"].startswith("1 live, 0 lost, 0 ")
    provider.sandbox.switches.down = True
    cli("revoke", "google", **settings)
    told, queue = lines(cli("doctor", "--json", "--offline", **settings)), "revocations queued for google"
    assert told["grants"]["found"] == "0 live, 0 lost, 1 disconnected"
    families = "1 may be alive: 0 active, 0 superseded, 0 received, 1 pending revocation"
    assert (told["token families"]["state"], told["token families"]["found"]) == ("ok", families)
    assert (told[queue]["state"], told[queue]["todo"]) == ("open", "deputize revoke --queued")
    assert "1 tokens are still to be revoked" in told[queue]["found"]
    assert "1//" not in str(told) and "ya29" not in str(told)
    assert "0 sent, 1 still" in cli("revoke", "--queued", **settings).stdout
    provider.sandbox.switches.down = False
    assert "1 sent, 0 still" in cli("revoke", "--queued", **settings).stdout
    assert provider.sandbox.live_tokens()["alice@example.test"] == 0
    assert queue not in lines(cli("doctor", "--json", "--offline", **settings))
    assert "No revocation is queued." in cli("revoke", "--queued", **settings).stdout


def test_doctor_reports_records_under_an_older_key(cli: Command, home: Path, settings: dict[str, str]) -> None:
    file = home / "deputize" / "key"
    file.write_text(f"{new_key()}\n{file.read_text()}")
    told = lines(cli("doctor", "--json", "--offline", **settings))
    assert (told["sealing"]["state"], told["sealing"]["todo"]) == ("open", "deputize key reseal")


def test_doctor_changes_nothing_even_expired_records(cli: Command, home: Path, settings: dict[str, str]) -> None:
    file = home / "deputize" / "vault.sqlite"
    with Deputy.from_settings(Settings.load(home=home / "deputize", port=0)) as deputy:
        deputy.run(deputy.vault.insert("ticket", "late", {"expires": 1.0}))
    cli("doctor", "--offline", **settings)
    with closing(sqlite3.connect(file)) as db:
        assert db.execute("SELECT count(*) FROM vault WHERE key = 'ticket/late'").fetchone() == (1,)


def test_doctor_reports_an_ignored_settings_file_in_the_working_directory(cli: Command, home: Path) -> None:
    (home / "deputize.toml").write_text('base_url = "https://evil.example"\n')
    (home / "deputize.toml").chmod(0o600)
    rows = [json.loads(line) for line in cli("doctor", "--json", "--offline").stdout.splitlines()]
    told = [row for row in rows if row["what"] == "settings"]
    assert [row["state"] for row in told] == ["ok", "open"] and "local mode" in told[0]["found"]
    assert "is not read" in told[1]["found"] and "DEPUTIZE_CONFIG" in told[1]["todo"]
    rows = [
        json.loads(r) for r in cli("--config", "deputize.toml", "doctor", "--json", "--offline").stdout.splitlines()
    ]
    told = [row for row in rows if row["what"] == "settings"]
    assert [row["state"] for row in told] == ["ok"] and "https://evil.example" in told[0]["found"]
    assert "DEPUTIZE_CONFIG" not in os.environ


def test_doctor_refuses_a_sandbox_for_a_vault_of_real_providers(
    cli: Command, home: Path, settings: dict[str, str]
) -> None:
    with Deputy.from_settings(Settings.load(home=home / "deputize", port=0)) as deputy:
        [grant] = deputy.run(deputy.vault.list_grants(User("alice")))
        assert deputy.run(deputy.vault.replace(grant, replace(grant, origin=None)))
    found = cli("doctor", "--json", "--offline", **settings)
    bad(found, "vault", "grants of real providers")


def test_doctor_finds_a_deleted_act_outcome(cli: Command, home: Path, provider: Provider) -> None:
    settings = {**connected(home, provider, "gmail.send"), "DEPUTIZE_POLICY": "allow_all"}
    mail = json.dumps({"to": ["bob@example.test"], "subject": "Lunch", "body": "Yes"})
    assert cli("act", "gmail_send_email", mail, **settings).exit_code == 0
    assert lines(cli("doctor", "--json", **settings))["acts"]["state"] == "ok"
    with closing(sqlite3.connect(home / "deputize" / "vault.sqlite")) as db:
        db.execute("DELETE FROM vault WHERE key LIKE 'act/%'")
        db.commit()
    bad(cli("doctor", "--json", **settings), "acts", "gmail_send_email", "would be done again", "do not run that call")


def test_doctor_finds_a_deleted_audit(cli: Command, home: Path, settings: dict[str, str]) -> None:
    shutil.rmtree(home / "deputize" / "audit")
    bad(cli("doctor", "--json", **settings), "audit", "not whole", "deputize audit verify")
    proven = cli("audit", "verify", **settings)
    assert proven.exit_code == 1 and "truncated" in proven.stdout and "NOT whole" in proven.stdout
