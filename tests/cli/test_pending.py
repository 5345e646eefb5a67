"""``deputize pending`` lists what waits for a user, and grants that end soon are told on the command line."""

from __future__ import annotations

import json
import shlex
import time
from dataclasses import replace
from pathlib import Path

import pytest

from deputize.core import ApprovalRequired, Call, Deputy, User
from deputize.core.settings import Settings
from tests.cli.conftest import Command, Provider, connected
from tests.cli.test_doctor import lines

MAIL = {"to": ["bob@example.test"], "subject": "Report", "body": "All is well."}


def ask(settings: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """Make a call as a job does that nobody watches. Return the id of the approval that waits."""
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    call = Call("job", "m", "mail")
    with Deputy.from_settings() as deputy, pytest.raises(ApprovalRequired) as waits:
        deputy.run(deputy.act("gmail_send_email", MAIL, user=User("alice", unattended=True), call=call))
    return waits.value.approval.id


def test_pending_lists_the_users_own_requests_and_answers_none(
    cli: Command, home: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = connected(home, provider, "gmail.send", "gmail.readonly")
    assert cli("pending", "--user", "alice", **settings).stdout == "Nothing waits for an answer.\n"
    approval = ask(settings, monkeypatch)
    shown = cli("pending", "--user", "alice", **settings)
    assert shown.exit_code == 0 and approval in shown.stdout and "deputize open --user alice" in shown.stdout
    [one] = json.loads(cli("pending", "--user", "alice", "--json", **settings).stdout)
    assert (one["type"], one["approval_id"]) == ("deputize.approval", approval)
    assert one["expires_at"] - time.time() > 3 * 86400
    assert json.loads(cli("pending", "--user", "bob", "--json", **settings).stdout) == []
    assert not provider.sandbox.sent("alice@example.test")
    [still] = json.loads(cli("pending", "--user", "alice", "--json", **settings).stdout)
    assert still == one


def test_pending_consent_names_account_and_scopes(cli: Command, home: Path, provider: Provider) -> None:
    settings = provider.settings()
    assert cli("connect", "google", "--user", "alice", "--no-browser", "--wait", "0", **settings).exit_code == 1
    shown = cli("pending", "--user", "alice", **settings).stdout
    assert "asks to connect Google" in shown
    [one] = json.loads(cli("pending", "--user", "alice", "--json", **settings).stdout)
    assert one["type"] == "deputize.consent" and one["provider"] == "google"


def let_end(
    settings: dict[str, str], home: Path, seconds: float, name: str = "alice@example.test", *, default: bool = True
) -> None:
    """Let Alice's grant end in this time, as if the provider had said so. ``name``: of her account there. ``default``:
    whether calls that name no account use it."""
    loaded = Settings.load(home=home / "deputize", sandbox_url=settings["DEPUTIZE_SANDBOX_URL"], port=0)
    with Deputy.from_settings(loaded) as deputy:
        [grant] = deputy.run(deputy.vault.list_grants(User("alice")))
        ends = replace(
            grant, refresh_ends_at=time.time() + seconds, account=replace(grant.account, name=name), default=default
        )
        assert deputy.run(deputy.vault.replace(grant, ends))


def test_grant_that_ends_soon_is_told_and_connected_again(cli: Command, home: Path, provider: Provider) -> None:
    settings = connected(home, provider, "gmail.readonly")
    let_end(settings, home, 10 * 86400)
    assert "ends 20" in cli("accounts", "--user", "alice", **settings).stdout
    assert "grant" not in lines(cli("doctor", "--json", "--offline", **settings))
    let_end(settings, home, 2 * 86400)
    found = lines(cli("doctor", "--json", "--offline", **settings))["grant"]
    assert found["state"] == "open" and "alice@example.test at google of alice ends 20" in found["found"]
    words = shlex.split(found["todo"])
    assert words == ["deputize", "connect", "google", "--user", "alice", "--app", "google", "--renew"]
    asked = cli(*words[1:], "--no-browser", "--wait", "0", **settings)
    assert "the connection ends soon" in asked.stderr and "/connect/" in asked.stderr
    [facts] = json.loads(cli("accounts", "--user", "alice", "--json", **settings).stdout)
    assert facts["end"]["reason"] == "refresh_token" and facts["end"]["at"] > time.time()
    let_end(settings, home, 2 * 86400, default=False)
    words = shlex.split(lines(cli("doctor", "--json", "--offline", **settings))["grant"]["todo"])
    assert words[-2:] == ["--account", "alice@example.test"]  # else the default account is connected again
    let_end(settings, home, 2 * 86400, "alice\x1b[2J\u202e")
    for command in (("accounts", "--user", "alice"), ("doctor", "--offline")):
        shown = cli(*command, **settings).stdout
        assert "ends 20" in shown and "\x1b" not in shown and "\u202e" not in shown
