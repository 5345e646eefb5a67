"""The happy path of each command: its output, and the files it leaves."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from shutil import copy
from typing import Any

import httpx
import pytest

from deputize.core import Deputy
from deputize.core.vault.rollback import all_grants
from deputize.core.vault.root_keys import parse_keys
from deputize.sandbox import Browser
from tests.cli.conftest import Command, Provider, connected
from tests.cli.terminal import run, talk

READ = "https://www.googleapis.com/auth/gmail.readonly"
MAIL = json.dumps({"to": ["bob@example.test"], "subject": "Hello", "body": "Are you there?"})


def test_connected_account_is_not_requested_again(cli: Command, home: Path, provider: Provider) -> None:
    settings = connected(home, provider, "gmail.readonly", "gmail.send")
    again = cli("connect", "google", "--scopes", "gmail.send", **settings)
    assert (again.exit_code, "/connect/" in again.stderr) == (0, False)
    assert "send email as you" in again.stdout


def test_accounts_are_listed_for_people_and_programs_without_a_token(cli: Command, settings: dict[str, str]) -> None:
    seen, told = cli("accounts", **settings), cli("accounts", "--json", **settings)
    assert "alice@example.test" in seen.stdout and "read your email" in seen.stdout
    [grant] = json.loads(told.stdout)
    assert READ in grant["scopes"] and grant["status"] == "active"
    assert not any(mark in told.stdout + seen.stdout for mark in ("ya29.", "1//0", "token"))


def test_accounts_are_listed_for_their_own_user(cli: Command, settings: dict[str, str]) -> None:
    assert cli("accounts", "--user", "bob", **settings).stdout.strip() == "Nothing is connected."


def test_revoke_ends_the_grant_here_and_at_the_provider(
    cli: Command, provider: Provider, settings: dict[str, str]
) -> None:
    assert provider.sandbox.live_tokens()["alice@example.test"] > 0
    ended = cli("revoke", "google", **settings)
    assert ended.exit_code == 0
    assert "Disconnected alice@example.test. Google ended its tokens too." in ended.stdout
    assert provider.sandbox.live_tokens()["alice@example.test"] == 0
    assert json.loads(cli("accounts", "--json", **settings).stdout) == []
    assert "Nothing was connected" in cli("revoke", "google", **settings).stdout


def test_revoke_reports_that_the_provider_was_unreachable(
    cli: Command, provider: Provider, settings: dict[str, str]
) -> None:
    provider.sandbox.switches.down = True
    ended = cli("revoke", "google", **settings)
    assert "Google could not be reached; the revocation is queued." in ended.stdout
    assert json.loads(cli("accounts", "--json", **settings).stdout) == []


@pytest.mark.processes
def test_R35_revoke_everything_ends_a_user_a_tenant_or_everybody(
    cli: Command, home: Path, provider: Provider, settings: dict[str, str]
) -> None:
    assert "Nothing was connected" in cli("revoke", "--everything", "--user", "bob", **settings).stdout
    assert "Nothing was connected" in cli("revoke", "--tenant", "acme", "--yes", **settings).stdout
    refused = cli("revoke", "--all", stdin="n\n", **settings)
    assert refused.exit_code == 1 and provider.sandbox.live_tokens()["alice@example.test"] > 0
    ended = cli("revoke", "--all", "--leaked", stdin="y\n", **settings)
    assert "Disconnected alice@example.test. Google ended its tokens too." in ended.stdout
    assert provider.sandbox.live_tokens()["alice@example.test"] == 0
    connected(home, provider, "gmail.readonly")
    assert "Disconnected alice@example.test." in cli("revoke", "--everything", **settings).stdout


def test_R35_revoke_of_many_accounts_shows_numbers_only(
    cli: Command, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str]
) -> None:
    monkeypatch.setattr("deputize.cli.revoke.NAMED", 0)
    ended = cli("revoke", "--all", "--yes", **settings)
    assert ended.stdout.strip() == "Ended here. 1 account removed; at the providers 1 ended."
    assert json.loads(cli("accounts", "--json", **settings).stdout) == []


def test_erase_disconnects_and_erases_a_user(cli: Command, provider: Provider, settings: dict[str, str]) -> None:
    me = "alice"
    assert cli("erase", me, stdin="n\n", **settings).exit_code == 1
    assert provider.sandbox.live_tokens()["alice@example.test"] > 0
    gone = cli("erase", me, "--yes", **settings)
    assert "Google ended its tokens too." in gone.stdout and f"Nothing is kept of {me} any more." in gone.stdout
    assert provider.sandbox.live_tokens()["alice@example.test"] == 0
    assert json.loads(cli("accounts", "--json", **settings).stdout) == []
    assert cli("erase", "nobody", "--yes", **settings).stdout.strip() == "Nothing is kept of nobody any more."


def test_erase_tenant_erases_its_users_and_its_data_key(
    cli: Command, home: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deputize.core.base_deputy.ERASURE_WAIT_SECONDS", 0.1)
    for tenant in ("acme", "zenith", ""):
        settings = connected(home, provider, "gmail.readonly", tenant=tenant)
    vault, backup = home / "deputize" / "vault.sqlite", home / "backup"
    assert cli("vault", "backup", str(backup), **settings).exit_code == 0
    assert cli("erase-tenant", "acme", stdin="n\n", **settings).exit_code == 1
    assert users(settings, monkeypatch) == {("alice", "acme"), ("alice", "zenith"), ("alice", "")}
    with monkeypatch.context() as interrupted:
        interrupted.setattr("deputize.core.base_deputy.delete_rows", None)
        assert cli("erase-tenant", "acme", "--yes", **settings).exit_code == 1
    found = [json.loads(line) for line in cli("doctor", "--json", **settings).stdout.splitlines()]
    [told] = [line for line in found if line["what"] == "erasure"]
    assert told["state"] == "open" and "acme is closed" in told["found"]
    assert told["todo"].endswith("deputize erase-tenant acme")
    gone = cli("erase-tenant", "acme", "--yes", **settings)
    assert gone.exit_code == 0, gone.stderr
    assert "Google ended its tokens too." in gone.stdout
    assert "Nothing is kept of the tenant acme any more." in gone.stdout
    assert users(settings, monkeypatch) == {("alice", "zenith"), ("alice", "")}
    assert '"erasure"' not in cli("doctor", "--json", **settings).stdout
    assert cli("store", "check", **settings).exit_code == 0
    assert cli("audit", "verify", **settings).exit_code == 0

    assert cli("vault", "restore", str(backup), **settings).exit_code == 0
    assert users(settings, monkeypatch) == {("alice", "zenith"), ("alice", "")}
    for path in vault.parent.glob("vault.sqlite*"):
        path.unlink()
    copy(backup, vault)
    assert ("alice", "acme") in users(settings, monkeypatch)
    again = cli("erase-tenant", "acme", "--yes", **settings)
    assert again.exit_code == 0, again.stderr
    assert users(settings, monkeypatch) == {("alice", "zenith"), ("alice", "")}


def users(settings: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> set[tuple[str, str]]:
    """Return the users of all grants in the vault, with or without tokens."""

    async def found(deputy: Deputy) -> set[tuple[str, str]]:
        return {(grant.user.id, grant.user.tenant) async for grant in all_grants(deputy.vault)}

    for variable, value in settings.items():
        monkeypatch.setenv(variable, value)
    with Deputy.from_settings() as deputy:
        return deputy.run(found(deputy))


def test_revoke_needs_a_target(cli: Command, provider: Provider) -> None:
    for words in ([], ["google", "--all"], ["--tenant", "a", "--everything"], ["google", "--queued"]):
        assert cli("revoke", *words, **provider.settings()).exit_code == 2


def test_act_prints_only_json_on_stdout(cli: Command, settings: dict[str, str]) -> None:
    found = cli("act", "gmail_search_emails", '{"query": "from:bob"}', **settings)
    assert found.exit_code == 0, found.stderr
    assert {row["from"] for row in json.loads(found.stdout)["items"]} == {"Bob Brown <bob@example.test>"}


def test_act_previews_the_draft_and_sends_after_approval_only(cli: Command, home: Path, provider: Provider) -> None:
    settings = connected(home, provider, "gmail.send")
    refused = cli("act", "gmail_send_email", MAIL, stdin="n\n", **settings)
    assert (refused.exit_code, provider.sandbox.sent("alice@example.test")) == (1, [])
    assert "Are you there?" in refused.stderr and "[declined]" in refused.stderr
    sent = cli("act", "gmail_send_email", MAIL, stdin="y\n", **settings)
    assert sent.exit_code == 0, sent.stderr
    assert json.loads(sent.stdout)["subject"] == "Hello"
    assert [mail.subject for mail in provider.sandbox.sent("alice@example.test")] == ["Hello"]


@pytest.mark.processes
def test_reply_preview_names_its_recipient_instead_of_an_id(cli: Command, home: Path, provider: Provider) -> None:
    settings = connected(home, provider, "gmail.readonly", "gmail.send")
    [mail, *_] = json.loads(cli("act", "gmail_search_emails", '{"query": "from:bob"}', **settings).stdout)["items"]
    answer = json.dumps({"message_id": mail["id"], "body": "Yes."})
    asked = cli("act", "gmail_reply_email", answer, stdin="n\n", **settings)
    assert "to: Bob Brown <bob@example.test>" in asked.stderr and f"Re: {mail['subject']}" in asked.stderr


@pytest.mark.processes
def test_act_without_a_terminal_decides_nothing(cli: Command, home: Path, provider: Provider) -> None:
    settings = connected(home, provider, "gmail.send")
    found = cli("act", "gmail_send_email", MAIL, stdin="", **settings)
    assert found.exit_code == 1 and "[approval_required]" in found.stderr and "--yes" in found.stderr
    assert provider.sandbox.sent("alice@example.test") == []


@pytest.mark.processes
@pytest.mark.parametrize(("decision", "typed", "sent"), [("approve", "y", 1), ("reject", "y", 0), ("approve", "n", 0)])
def test_act_can_be_decided_on_its_page(home: Path, provider: Provider, decision: str, typed: str, sent: int) -> None:
    settings = connected(home, provider, "gmail.send")
    with talk("act", "gmail_send_email", MAIL, home=home, terminal=False, env=settings) as acting:
        link = acting.hear(r"(http://127\.0\.0\.1:\d+/me/\S+/approve/\S+)")[1]

        async def decide() -> str:
            async with httpx.AsyncHTTPTransport() as network:
                browser = Browser(network)
                page = await browser.open(link)
                [form] = [one for one in page.forms if decision in one.offers("decision")]
                await browser.submit(page, form, decision=decision)
                return page.text

        assert "Are you there?" in asyncio.run(decide())
        acting.say(typed)
        assert acting.ends() == (0 if sent else 1)
    assert len(provider.sandbox.sent("alice@example.test")) == sent


def test_act_with_yes_does_not_ask(cli: Command, home: Path, provider: Provider) -> None:
    settings = connected(home, provider, "gmail.send")
    assert cli("act", "gmail_send_email", MAIL, "--yes", **settings).exit_code == 0
    assert len(provider.sandbox.sent("alice@example.test")) == 1


def test_tools_are_listed_without_settings(cli: Command, home: Path) -> None:
    seen = cli("tools")
    assert seen.exit_code == 0 and "gmail_search_emails  reads; asks for gmail.readonly; about " in seen.stdout
    assert {len(line) - len(line.lstrip()) for line in seen.stdout.splitlines()} == {0, 2}  # no column gets too narrow
    told = {tool["name"]: tool for tool in json.loads(cli("tools", "gmail", "--json").stdout)}
    search, send = told["gmail_search_emails"], told["gmail_send_email"]
    assert (search["effect"], send["effect"]) == ("reads", "sends")
    assert search["parameters"]["properties"]["query"]
    assert "gmail.users.messages.list" in {need["method"] for need in search["needs"]}
    assert all(need["asks"] in need["accepts"] for tool in told.values() for need in tool["needs"])
    assert 200 < search["bytes"] < 4000
    assert search["toolset"] == "core" and 150 < search["tokens"] < 350
    assert cli("tools", "gmail:nosuch").exit_code != 0
    [one] = json.loads(cli("tools", "gmail_search_emails", "--json").stdout)
    assert one == search
    assert not (home / "deputize").exists()


@pytest.mark.processes
def test_audit_shows_and_verifies_acts(cli: Command, settings: dict[str, str]) -> None:
    cli("act", "gmail_search_emails", "{}", **settings)
    seen = cli("audit", **settings)
    assert "consent.granted" in seen.stdout and "gmail_search_emails" in seen.stdout
    [row] = [json.loads(line) for line in cli("audit", "--json", "-n", "1", **settings).stdout.splitlines()]
    assert (row["event"], row["user"], row["decision"]) == ("act.result", "alice", "done")
    proven = cli("audit", "verify", **settings)
    assert (proven.exit_code, "whole." in proven.stdout) == (0, True), proven.stderr


@pytest.mark.processes
def test_audit_names_users_until_they_are_erased(
    cli: Command, home: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str]
) -> None:

    def told(*options: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in cli("audit", "--json", *options, **settings).stdout.splitlines()]

    ours = told("--user", "alice")
    assert ours and {row["user"] for row in ours} == {"alice"} and told("--user", "bob") == []
    [name] = {row["pseudonym"] for row in ours}
    assert told("--user", name) == ours
    for variable, value in settings.items():
        monkeypatch.setenv(variable, value)
    with Deputy.from_settings() as deputy:
        deputy.run(deputy.erase("alice"))
    assert told("--user", "alice") == [] and {row["user"] for row in told("--user", name)} == {name}
    assert "alice" not in cli("audit", **settings).stdout and cli("audit", "verify", **settings).exit_code == 0
    (home / "deputize" / "key").write_bytes(b"another")
    seen = cli("audit", **settings)
    assert name in seen.stdout and "by their pseudonyms" in seen.stderr


def test_altered_audit_is_reported(cli: Command, home: Path, settings: dict[str, str]) -> None:
    [file] = [path for path in (home / "deputize" / "audit").glob("*.jsonl") if b"consent.granted" in path.read_bytes()]
    file.write_bytes(file.read_bytes().replace(b"consent.granted", b"consent.ignored"))
    found = cli("audit", "verify", **settings)
    assert found.exit_code == 1
    assert "altered" in found.stdout and "NOT whole" in found.stdout


def test_key_new_prints_a_key_that_opens_a_vault(cli: Command, home: Path, provider: Provider) -> None:
    made = cli("key", "new")
    assert len(parse_keys(made.stdout)) == 1
    assert cli("accounts", **provider.settings(), DEPUTIZE_KEY=made.stdout.strip()).exit_code == 0
    assert not (home / "deputize" / "key").exists()


@pytest.mark.processes
def test_installed_program_acts_and_lists_accounts(home: Path, settings: dict[str, str]) -> None:
    found = run("act", "gmail_search_emails", '{"query": "from:bob"}', home=home, **settings)
    assert (found.returncode, len(json.loads(found.stdout)["items"]) > 0) == (0, True), found.stderr
    assert "read your email" in run("accounts", home=home, **settings).stdout
    assert run("revoke", "google", home=home, **settings).returncode == 0
    assert run("audit", "verify", home=home, **settings).returncode == 0
    assert "gmail_search_emails" in run("tools", home=home).stdout
    assert len(parse_keys(run("key", "new", home=home).stdout)) == 1
